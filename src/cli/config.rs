//! `kelisim config print` and `kelisim config reference`.
//!
//! Never starts anything. Bound: the configuration.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::check::is_coloured;
use crate::config::{self, reference as keys};

/// Writes the effective configuration as TOML to standard output; its mistakes, if any, to standard error with
/// exit code 1.
///
/// # Errors
/// When an output cannot be written.
pub fn print(file: &Path) -> io::Result<ExitCode> {
    match config::effective(file, config::environment()) {
        Ok(toml) => {
            io::stdout().lock().write_all(toml.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            let mut err = io::stderr().lock();
            let colour = is_coloured(err.is_terminal());
            err.write_all(problems.render(colour).as_bytes())?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Writes every key with kind, bounds, default and variable to standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn reference() -> io::Result<ExitCode> {
    io::stdout().lock().write_all(keys::render().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
