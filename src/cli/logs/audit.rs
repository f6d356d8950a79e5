//! `audit`: who read which records and why; `audit verify`: whether that log is as it was written.
//!
//! Opens no record. Never prints a byte that a terminal would act on. Bound: the entries that are shown.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;

use super::args::{AuditArgs, AuditCommand};
use super::escape::push_text;
use super::read::{Failure, Output, folder_of};
use super::rows::fit;
use crate::audit::{Entry, Kind, Verified, verify};

/// `logs audit` and `logs audit verify`.
pub(super) fn run(args: &AuditArgs, out: &mut Output<'_>) -> Result<u64, Failure> {
    let records = folder_of(&args.data)?;
    let mut newest = VecDeque::new();
    let show = |entry: &Entry, line: &str| {
        if newest.len() == args.limit.clamp(1, ENTRIES) {
            newest.pop_front();
        }
        newest.push_back(if args.json { format!("{line}\n") } else { shown(entry) });
    };
    let verified = match verify(&records, show) {
        Ok(verified) => verified,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            out.write("there is no audit log, and nothing says that there was one\n")?;
            out.flush()?;
            return Ok(0);
        }
        Err(cause) => return Err(Failure::Read(cause)),
    };
    if matches!(args.command, Some(AuditCommand::Verify)) {
        out.write(&report(&verified))?;
    } else if args.limit > 0 {
        for line in &mut newest {
            if !args.json {
                line.pop();
                fit(line, out.terminal());
                line.push('\n');
            }
            out.write(line)?;
        }
    }
    out.flush()?;
    if verified.problems.is_empty() {
        return Ok(verified.entries);
    }
    for problem in &verified.problems {
        match problem.line {
            Some(line) => eprintln!("error: audit log, line {line}: {}", problem.what),
            None => eprintln!("error: audit log: {}", problem.what),
        }
    }
    if verified.more > 0 {
        eprintln!("error: audit log: {} more", verified.more);
    }
    Err(Failure::Changed)
}

fn report(verified: &Verified) -> String {
    let mut out = format!("{} entries", verified.entries);
    if verified.unended > 0 {
        let _ = write!(out, ", {} reads without an end (still running, or killed)", verified.unended);
    }
    if verified.interrupted > 0 {
        let _ = write!(out, ", {} half-written by a killed process", verified.interrupted);
    }
    let state = if verified.problems.is_empty() { "whole" } else { "CHANGED" };
    let _ = write!(out, "\nhead {}\nthe log is {state}\n", verified.head);
    out
}

/// One line: time, number, who, what.
fn shown(entry: &Entry) -> String {
    let mut out = format!("{}  {:>5}  ", entry.time.get(..19).unwrap_or(&entry.time), entry.n);
    let mut words = |text: &str| push_text(&mut out, text.as_bytes());
    match &entry.who.user {
        Some(user) => words(user),
        None => words(&entry.who.uid.to_string()),
    }
    if let Some(login) = entry.who.login_uid.filter(|uid| *uid != entry.who.uid) {
        words(&format!(" (login {login})"));
    }
    match entry.kind {
        Kind::End if entry.rows.is_none() => {
            let gone = entry.keys.unwrap_or_default();
            words(&format!(" ended {}: {gone} keys are gone", entry.of.unwrap_or_default()));
            if entry.outcome == Some(crate::audit::Outcome::Broken) {
                words(", broken off");
            }
        }
        Kind::KeyChange => {
            words(&format!(" {}", entry.command.as_deref().unwrap_or_default()));
            if let Some(reason) = &entry.reason {
                words(&format!(" because: {reason}"));
            }
        }
        Kind::End => {
            let rows = entry.rows.unwrap_or_default();
            words(&format!(" ended {}: {rows} records", entry.of.unwrap_or_default()));
            if entry.outcome == Some(crate::audit::Outcome::Broken) {
                words(", broken off");
            }
        }
        Kind::Interrupted => {
            words(&format!(" found {} bytes of a killed writer", entry.bytes.unwrap_or_default()));
            if let Some(lost) = entry.lost {
                words(&format!(", {lost} ENTRIES GONE"));
            }
        }
        Kind::Destruction | Kind::Hold => {
            let text = |of: &Option<String>| of.clone().unwrap_or_default();
            let (class, day, why) = (text(&entry.class), text(&entry.day), text(&entry.reason));
            match (entry.kind, entry.rows, entry.keys) {
                (Kind::Hold, ..) => words(&format!(" keeps {class} of {day} because of {why}")),
                (_, rows, keys) => words(&format!(
                    " destroys {class} of {day}: {} records in {} files, {} keys, because of {why}",
                    rows.unwrap_or_default(),
                    entry.files.unwrap_or_default(),
                    keys.unwrap_or_default(),
                )),
            }
        }
        Kind::Read | Kind::Disclosure => {
            let text = |of: &Option<String>| of.clone().unwrap_or_default();
            words(&format!(" {} --purpose {}", text(&entry.command), text(&entry.purpose)));
            if let Some(basis) = entry.basis {
                words(&format!(" for {} ({basis})", text(&entry.recipient)));
            }
            if let Some(reason) = &entry.reason {
                words(&format!(" because: {reason}"));
            }
            words(&format!(" | {} | {}", text(&entry.filter), entry.columns.join(",")));
            if let Some(sql) = &entry.sql {
                words(&format!(" | {sql}"));
            }
        }
    }
    out.push('\n');
    out
}

/// Most entries that are shown.
const ENTRIES: usize = 100_000;
