//! `kelisim run`: the gateway.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::{BAD_CONFIGURATION, OWN_FAULT, log_to_stderr};
use crate::config::{self, Config, Problems};
use crate::error::chain;
use crate::server::{self, Ended, Source, signals};

/// Arguments of `kelisim run`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["config", "upstream"])))]
pub struct Args {
    /// Configuration file
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["listen", "data"])]
    config: Option<PathBuf>,
    /// The site's own server, for a gateway without a configuration file
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where to accept traffic, with --upstream
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    listen: Option<String>,
    /// Data folder, with --upstream
    #[arg(long, value_name = "DIR", requires = "upstream")]
    data: Option<PathBuf>,
}

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// The terminal or the signals cannot be used.
pub fn run(args: &Args) -> io::Result<ExitCode> {
    log_to_stderr("info");
    let (config, source) = match configuration(args) {
        Ok(both) => both,
        Err(problems) => {
            eprint!("{}", problems.render(io::IsTerminal::is_terminal(&io::stderr())));
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    crate::log::set_level(&config.log.level);
    let signals = signals::Listener::new()?;
    let server = match server::start(&config, source) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("kelisim: {}", chain(&error));
            let code = if error.is_configuration() { BAD_CONFIGURATION } else { OWN_FAULT };
            return Ok(ExitCode::from(code));
        }
    };
    for address in &server.addresses {
        tracing::info!(%address, "accepting traffic");
    }
    if let Some(address) = server.admin {
        tracing::info!(%address, "admin listener");
    }
    signals::notify_ready();
    Ok(match signals.serve(server)? {
        Ended::Clean => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Ended::Cut(connections) => {
            tracing::warn!(connections, "ended; open connections were cut");
            ExitCode::from(1)
        }
        Ended::Unrecorded => {
            tracing::error!("ended; not every record is on the disk");
            ExitCode::from(1)
        }
    })
}

fn configuration(args: &Args) -> Result<(Config, Source), Problems> {
    match (&args.config, &args.upstream) {
        (Some(file), _) => Ok((config::read(file, config::environment())?, Source::File(file.clone()))),
        (None, upstream) => {
            let url = upstream.as_deref().unwrap_or_default();
            Ok((
                config::for_upstream(url, args.listen.as_deref(), args.data.clone(), config::environment())?,
                Source::Arguments,
            ))
        }
    }
}
