//! `kelisim demo`: a demo site, the gateway in front of it, and the admin listener, all on loopback.
//!
//! The gateway is the one that `kelisim run` starts; only its configuration is made here. Data are in a temporary
//! folder that goes with the demo. Never listens on anything but loopback. Bound: one site thread, and the gateway's.

mod body;
mod gateway;
mod guide;
mod pages;
mod received;
mod server;
mod site;
mod texts;
mod visit;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::guide::Guide;
use super::check::is_coloured;
use super::{OWN_FAULT, log_to_stderr};
use crate::clock;
use crate::error::chain;
use crate::server::{Source, start};

/// Arguments of `kelisim demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port of the site behind the gateway; another is taken if it is in use
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Port of the admin listener; another is taken if it is in use
    #[arg(long, value_name = "PORT", default_value_t = 9180)]
    admin_port: u16,
}

/// Runs the demo until a signal ends it: INT, TERM, QUIT and HUP all do, with exit code 0.
///
/// # Errors
/// No port, thread or temporary folder can be had, or standard output is gone.
pub fn run(args: &Args) -> io::Result<ExitCode> {
    // The location database is as old as it is: nobody acts on it here, and the guide is to stay readable.
    log_to_stderr("warn,kelisim::server::start=error");
    let data = tempfile::Builder::new().prefix("kelisim-demo-").tempdir()?;
    let site = server::start()?;
    let (port, admin) = gateway::choose_ports(args.port, args.admin_port)?;
    let config = gateway::config(port, admin, site.address, data.path(), clock::now());
    let config = config.map_err(|problems| io::Error::other(problems.render(false)))?;
    // Before the gateway, so that no signal from now on can leave the folder behind.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ends = runtime.block_on(async { Ends::listen() })?;
    let gateway = match start(&config, Source::Arguments) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("kelisim: {}", chain(&error));
            return Ok(ExitCode::from(OWN_FAULT));
        }
    };
    let program = std::env::args().next().unwrap_or_else(|| "kelisim".into());
    let mut out = io::stdout().lock();
    let colour = is_coloured(out.is_terminal());
    let guide =
        Guide { program: &program, site: port, admin, direct: site.address, data: data.path(), colour };
    let printed = out.write_all(guide.render().as_bytes()).and_then(|()| out.flush());
    if printed.is_ok() {
        runtime.block_on(ends.any());
    }
    // Open event streams would keep a drain waiting for nothing.
    let _ended = gateway.stop();
    drop(site);
    data.close()?;
    printed.map(|()| ExitCode::SUCCESS)
}

/// The signals that end the demo.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Ends {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
