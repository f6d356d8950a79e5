//! `kelisim subject`: one person's records, found, given out, blocked or erased.
//!
//! [`run`] turns arguments into a person, enters what is going to be done in the audit log, does it, and prints what it
//! came to. Needs no running gateway. Never prints an identifier that was given, but tags. Bound: those of
//! [`crate::store::subjects`].

mod args;
mod certificate;
mod change;
mod export;
mod find;
mod receipts;
mod who;

use std::io::{self, Write};

pub use args::{
    ChangeArgs, EraseArgs, ExportArgs, ExportFormat, FindArgs, Format, Secret, SubjectArgs, SubjectCommand,
    WhoArgs,
};

use crate::audit::AuditError;
use crate::seal::KeyError;
use crate::store::subjects::SubjectError;

/// Why a command ended without doing what it should.
#[derive(Debug)]
enum Failure {
    /// The arguments make no sense here.
    Usage(String),
    /// The audit log cannot be written, so nothing is done.
    Audit(AuditError),
    /// The keys cannot be used.
    Keys(KeyError),
    /// What was to be done failed.
    Subject(Box<SubjectError>),
    /// The receipts of consent cannot be read.
    Receipts(io::Error),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<SubjectError> for Failure {
    fn from(error: SubjectError) -> Self {
        Self::Subject(Box::new(error))
    }
}

/// Runs a command and returns the process's exit code: 0 fine, 1 nobody was found, files are damaged, a key
/// was lost or something keeps the records, 2 wrong usage, 70 our own fault.
#[must_use]
pub fn run(args: &SubjectArgs) -> u8 {
    let mut out = io::stdout().lock();
    let done = match &args.command {
        SubjectCommand::Find(args) => find::run(args, &mut out),
        SubjectCommand::Export(args) => export::run(args, &mut out),
        SubjectCommand::Block(args) => change::block(args, &mut out),
        SubjectCommand::Unblock(args) => change::unblock(args, &mut out),
        SubjectCommand::Erase(args) => change::erase(args, &mut out),
    };
    let flushed = out.flush().map_err(Failure::Output);
    match done.and_then(|found| flushed.map(|()| found)) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(failure) => told(&failure),
    }
}

/// Says on standard error what went wrong; the exit code.
fn told(failure: &Failure) -> u8 {
    match failure {
        Failure::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return 0,
        Failure::Usage(message) => {
            eprintln!("error: {message}");
            return 2;
        }
        Failure::Audit(cause) => {
            eprintln!("error: {cause}\n  hint: without an entry in the audit log nothing is done");
        }
        Failure::Keys(cause @ (KeyError::Missing(_) | KeyError::NoVersion(..))) => {
            eprintln!("error: {}\n  hint: name the keys folder with --keys DIR", chain(cause));
        }
        Failure::Keys(cause) => eprintln!("error: {}", chain(cause)),
        Failure::Subject(cause) if matches!(**cause, SubjectError::Held(_)) => {
            eprintln!("error: {cause}\n  hint: --despite-hold says why they go all the same");
            return 1;
        }
        Failure::Subject(cause) => eprintln!("error: {}", chain(&**cause)),
        Failure::Receipts(cause) => eprintln!("error: the receipts of consent cannot be read: {cause}"),
        Failure::Output(cause) => eprintln!("error: the output cannot be written: {cause}"),
    }
    super::OWN_FAULT
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
