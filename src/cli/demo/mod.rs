//! `kelisim demo` (in work)

use std::io;
use std::process::ExitCode;

/// Arguments of `kelisim demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the demo.
///
/// # Errors
/// None yet.
pub fn run(_args: &Args) -> io::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
