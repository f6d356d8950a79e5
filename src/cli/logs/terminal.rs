//! What the output goes to: its width, and whether colour is wanted.
//!
//! Colour only on a terminal, never with `NO_COLOR` or `TERM=dumb`. Bound: one question to the terminal per command.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

/// What standard output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Terminal {
    /// Columns of a terminal; `None` for a pipe or a file, which get whole lines.
    pub(in crate::cli) width: Option<usize>,
    /// Whether to colour.
    pub(in crate::cli) colour: bool,
}

impl Terminal {
    /// Asks standard output and the environment.
    pub(in crate::cli) fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let asked = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        let width = asked.filter(|columns| *columns > 0).unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH);
        let colour =
            wants_colour(std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref());
        Self { width: Some(width), colour }
    }
}

/// `NO_COLOR` counts when it is not empty (no-color.org).
fn wants_colour(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|t| t != "dumb")
}

const USUAL_WIDTH: usize = 80;
const LEAST_WIDTH: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_is_respected() {
        assert!(wants_colour(None, None));
        assert!(wants_colour(Some(OsStr::new("")), Some(OsStr::new("xterm"))));
        assert!(!wants_colour(Some(OsStr::new("0")), None));
        assert!(!wants_colour(None, Some(OsStr::new("dumb"))));
    }
}
