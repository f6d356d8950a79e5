//! The commands: one file per verb.
//!
//! Reads arguments, calls the library, prints, and returns an exit code: 0 fine, 1 the answer is no, 2 wrong usage,
//! 64 bad configuration at start, 70 our own fault. Never holds logic that a test could not reach without a terminal.

pub mod check;
pub mod config;
pub mod consent;
pub mod cookies;
pub mod demo;
pub mod geoip;
pub mod logs;
mod new_file;
pub mod run;
pub mod subject;
pub mod test_request;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The configuration is bad, found at start.
pub const BAD_CONFIGURATION: u8 = 64;
/// Our own fault, or the machine's.
pub const OWN_FAULT: u8 = 70;

/// A reverse proxy that keeps a website's privacy policy by machine.
#[derive(Debug, Parser)]
#[command(name = "kelisim", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Try it: kelisim demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a demo site with the gateway in front of it, on loopback
    Demo(demo::Args),
    /// Run the gateway
    Run(run::Args),
    /// Check a configuration file and tell all its mistakes
    #[command(visible_short_flag_alias = 't')]
    Check {
        /// Configuration file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Print the mistakes as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the effective configuration, or every key that there is
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the records
    #[command(visible_alias = "log")]
    Logs(logs::LogsArgs),
    /// Find, give out, block or erase one person's records
    Subject(subject::SubjectArgs),
    /// Report the cookies of a site, or explain what is done with one
    #[command(subcommand)]
    Cookies(CookiesCommand),
    /// Check, count or show the proofs of consent; renew the key of the consent cookie
    #[command(subcommand)]
    Consent(consent::ConsentCommand),
    /// Tell what would be done with a request, without sending it anywhere
    TestRequest(test_request::Args),
    /// Ask the location databases
    Geoip(geoip::GeoipArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration, secrets masked
    Print {
        /// Configuration file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print every key with its type, unit and default
    Reference,
}

#[derive(Debug, Subcommand)]
enum CookiesCommand {
    /// Show the cookies that browsers really send, with category, rule and counts
    Report(logs::ReportArgs),
    /// Tell which rule decides about a cookie, and why
    Explain(cookies::ExplainArgs),
}

/// Runs the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(logs::shield_negations(args)) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
            return ended(error.print().map(|()| code));
        }
    };
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check { config, json } => check::check(&config, json),
        Command::Config(ConfigCommand::Print { config }) => config::print(&config),
        Command::Config(ConfigCommand::Reference) => config::reference(),
        Command::Logs(args) => Ok(ExitCode::from(logs::run(&args))),
        Command::Subject(args) => Ok(ExitCode::from(subject::run(&args))),
        Command::Cookies(CookiesCommand::Explain(args)) => cookies::explain(&args),
        Command::Cookies(CookiesCommand::Report(args)) => Ok(cookies::report(&args)),
        Command::Consent(command) => consent::run(&command, crate::clock::now()),
        Command::TestRequest(args) => test_request::run(&args),
        Command::Geoip(args) => geoip(&args),
    };
    ended(done)
}

/// The exit code; what kept the output from being written is told.
fn ended(done: io::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kelisim: {error}");
            ExitCode::from(OWN_FAULT)
        }
    }
}

/// The databases that the configuration names, or the shipped one.
fn geoip(args: &geoip::GeoipArgs) -> io::Result<ExitCode> {
    let configured = match &args.config {
        None => None,
        Some(file) => match crate::config::read(file, crate::config::environment()) {
            Ok(config) => Some(config.geoip),
            Err(problems) => {
                eprint!("{}", problems.render(io::stderr().is_terminal()));
                return Ok(ExitCode::from(BAD_CONFIGURATION));
            }
        },
    };
    geoip::run(args, configured, crate::clock::now())
}

/// Sends log events to standard error. `level` holds unless `KELISIM_LOG` says otherwise.
pub fn log_to_stderr(level: &str) {
    crate::log::to_stderr(level);
}
