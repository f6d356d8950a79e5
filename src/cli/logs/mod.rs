//! `kelisim logs`: follow, search and count the records of a running or stopped gateway.
//!
//! [`run`] turns arguments into a granted read and prints what it finds. Needs no running gateway. Never opens a file
//! before the purpose has been checked, never prints a byte from the wire that a terminal would act on. Bound: the
//! limits of [`crate::store::query`].

pub(in crate::cli) mod args;
mod audit;
pub(in crate::cli) mod cell;
mod charts;
mod clf;
mod cookies;
pub(in crate::cli) mod escape;
mod explain;
mod export;
mod help;
mod interrupt;
mod progress;
pub(in crate::cli) mod read;
mod rows;
mod sql;
mod tail;
pub(in crate::cli) mod terminal;
mod verify;
mod views;
mod withdrawn;

use std::ffi::OsString;
use std::io::{self, Write};

pub use args::{
    AuditArgs, AuditCommand, ExportArgs, ExportFormat, FieldsArgs, Format, Ground, HistArgs, Level, LogsArgs,
    LogsCommand, Order, Program, QueryArgs, ReadArgs, Spelling, SqlArgs, TailArgs, TopArgs,
};

pub use cookies::ReportArgs;
pub use verify::{VerifyArgs, VerifyFormat};

pub(super) use read::tell_damage;
use read::{Failure, Output};
use terminal::Terminal;

use crate::clock::Timestamp;
use crate::cookies::catalogue::Catalogue;

/// Runs a command and returns the process's exit code: 0 fine, 1 nothing found with `--fail` or a changed audit log, 2
/// wrong usage, 70 our own fault, 130 interrupted. A reader that closes its end of the pipe ends the command quietly.
#[must_use]
pub fn run(args: &LogsArgs) -> u8 {
    let terminal = Terminal::of_stdout();
    execute(args, crate::clock::now(), &mut io::stdout().lock(), terminal)
}

/// `kelisim cookies report`, with these rules; exit codes as for [`run`].
#[must_use]
pub fn report(args: &ReportArgs, catalogue: &Catalogue) -> u8 {
    let mut stdout = io::stdout().lock();
    let mut out = Output::new(&mut stdout, Terminal::of_stdout());
    if args.read.explain_access {
        return code_of(explain::run(args.read.purpose, &mut out), false);
    }
    code_of(cookies::run(args, catalogue, crate::clock::now(), &mut out), args.read.fail)
}

/// Like [`run`], but prints to `out` as to a pipe. `now` fixes relative times.
#[must_use]
pub fn run_to(args: &LogsArgs, now: Timestamp, out: &mut dyn Write) -> u8 {
    execute(args, now, out, Terminal::default())
}

fn execute(args: &LogsArgs, now: Timestamp, out: &mut dyn Write, terminal: Terminal) -> u8 {
    let mut out = Output::new(out, terminal);
    if let Some(read) = args.read().filter(|read| read.explain_access) {
        return code_of(explain::run(read.purpose, &mut out), false);
    }
    let outcome = match &args.command {
        LogsCommand::Tail(args) => tail::run(args, now, &mut out),
        LogsCommand::Query(args) => read::query(args, now, &mut out),
        LogsCommand::Top(args) => read::top(args, now, &mut out),
        LogsCommand::Hist(args) => read::hist(args, now, &mut out),
        LogsCommand::Sql(args) => sql::run(args, now, &mut out),
        LogsCommand::Fields(args) => read::fields(args, &mut out),
        LogsCommand::Verify(args) => verify::run(args, &mut out).map(u64::from),
        LogsCommand::Export(args) => export::run(args, now, &mut out),
        LogsCommand::Audit(args) => audit::run(args, &mut out),
    };
    code_of(outcome, args.fail())
}

/// The exit code of an outcome; says on standard error what went wrong.
fn code_of(outcome: Result<u64, Failure>, fail: bool) -> u8 {
    match outcome {
        Ok(0) if fail => NOTHING,
        Ok(_) => FINE,
        Err(Failure::Output(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => FINE,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            USAGE
        }
        Err(Failure::Changed) => NOTHING,
        Err(Failure::Interrupted) => INTERRUPTED,
        Err(Failure::Audit(cause)) => {
            eprintln!("error: {cause}\n  hint: without an entry in the audit log nothing is read");
            OUR_FAULT
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
/// As a shell tells a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod verify_tests;

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
