//! `kelisim logs`: follow, search and count the records of a running or stopped gateway.
//!
//! [`run`] turns arguments into a granted read and prints what it finds. Needs no running gateway. Never opens a file
//! before the purpose has been checked, never prints a byte from the wire that a terminal would act on. Bound: the
//! limits of [`crate::store::query`].

mod args;
pub(in crate::cli) mod cell;
mod charts;
mod clf;
pub(in crate::cli) mod escape;
mod read;
mod rows;
mod tail;
pub(in crate::cli) mod terminal;

use std::ffi::OsString;
use std::io::{self, Write};

pub use args::{
    FieldsArgs, Format, HistArgs, LogsArgs, LogsCommand, Order, QueryArgs, ReadArgs, TailArgs, TopArgs,
};

use read::{Failure, Output};
use terminal::Terminal;

use crate::clock::Timestamp;

/// Runs a command and returns the process's exit code: 0 fine, 1 nothing found with `--fail`, 2 wrong usage, 70 our
/// own fault. A reader that closes its end of the pipe ends the command quietly.
#[must_use]
pub fn run(args: &LogsArgs) -> u8 {
    let terminal = Terminal::of_stdout();
    execute(args, crate::clock::now(), &mut io::stdout().lock(), terminal)
}

/// Like [`run`], but prints to `out` as to a pipe. `now` fixes relative times.
#[must_use]
pub fn run_to(args: &LogsArgs, now: Timestamp, out: &mut dyn Write) -> u8 {
    execute(args, now, out, Terminal::default())
}

fn execute(args: &LogsArgs, now: Timestamp, out: &mut dyn Write, terminal: Terminal) -> u8 {
    let mut out = Output::new(out, terminal);
    let outcome = match &args.command {
        LogsCommand::Tail(args) => tail::run(args, now, &mut out),
        LogsCommand::Query(args) => read::query(args, now, &mut out),
        LogsCommand::Top(args) => read::top(args, now, &mut out),
        LogsCommand::Hist(args) => read::hist(args, now, &mut out),
        LogsCommand::Fields(args) => read::fields(args, &mut out),
    };
    match outcome {
        Ok(0) if args.fail() => NOTHING,
        Ok(_) => FINE,
        Err(Failure::Output(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => FINE,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            USAGE
        }
        Err(Failure::Output(cause)) => {
            eprintln!("error: the output cannot be written: {cause}");
            OUR_FAULT
        }
        Err(Failure::Read(cause)) => {
            eprintln!("error: the records cannot be read: {cause}");
            OUR_FAULT
        }
    }
}

/// Marks negated terms of a filter, `-ip:10.0.0.0/8`, so that the argument parser does not take them for options.
/// Give it the arguments of the process before they are parsed.
pub fn shield_negations(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut logs = false;
    let mut ended = false;
    args.into_iter()
        .enumerate()
        .map(|(i, arg)| {
            logs |= i == 1 && arg == "logs";
            ended |= arg == "--";
            if logs && !ended && arg.to_str().is_some_and(is_negation) {
                let mut shielded = OsString::from(" ");
                shielded.push(arg);
                return shielded;
            }
            arg
        })
        .collect()
}

/// A minus, a field name of at least two characters, an operator. Options have two minuses or one letter.
fn is_negation(arg: &str) -> bool {
    let Some(rest) = arg.strip_prefix('-') else { return false };
    let name =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))).unwrap_or(rest.len());
    name >= 2 && rest[name..].starts_with(['=', '!', '>', '<', '~', ':'])
}

const FINE: u8 = 0;
const NOTHING: u8 = 1;
const USAGE: u8 = 2;
const OUR_FAULT: u8 = 70;

#[cfg(test)]
mod journal_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn shielded(args: &[&str]) -> Vec<String> {
        shield_negations(args.iter().map(OsString::from))
            .into_iter()
            .filter_map(|a| a.into_string().ok())
            .collect()
    }

    #[test]
    fn negated_terms_are_not_options() {
        assert_eq!(
            shielded(&["kelisim", "logs", "query", "-ip:10.0.0.0/8", "-n", "5", "-n=5", "--limit=5", "-f"]),
            ["kelisim", "logs", "query", " -ip:10.0.0.0/8", "-n", "5", "-n=5", "--limit=5", "-f"]
        );
        assert_eq!(shielded(&["kelisim", "run", "-ip:1"]), ["kelisim", "run", "-ip:1"]);
        assert_eq!(shielded(&["kelisim", "logs", "query", "--", "-ip:1"])[4], "-ip:1");
    }
}
