//! Tells whether every byte of the audit log is as it was written, and which reads have no end.
//!
//! A log that is not there is told apart from one that never was: by its heads, and by tombstones, which nobody sets without
//! an entry. Never writes. Bound: that of [`ledger::verify`].

use std::io;
use std::path::Path;

use super::entry::{Entry, Kind};
use super::log::NAME;
use crate::ledger::{self, Ledger, Problem};
use crate::store::subjects;

/// What a log holds and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Whole entries.
    pub entries: u64,
    /// Reads, disclosures, destructions and changes of keys without an end: still going on, or killed.
    pub unended: u64,
    /// Entries that a killed writer left half-written, each told by the entry after it or at the very end.
    pub interrupted: u64,
    /// Hash of the newest entry.
    pub head: String,
    /// What is not as it was written; empty for a log that is whole.
    pub problems: Vec<Problem>,
    /// Problems beyond those that are told one by one.
    pub more: u64,
}

/// Checks the log of a records folder and hands every whole entry to `each` with its line.
///
/// # Errors
/// When it cannot be read; `NotFound` when there is no log, and nothing says that there was one.
pub fn verify(records: &Path, mut each: impl FnMut(&Entry, &str)) -> io::Result<Verified> {
    let mut unended = 0_u64;
    let found = ledger::verify(&Ledger::at(records, NAME), |entry: &Entry, line| {
        match entry.kind {
            Kind::Read | Kind::Disclosure | Kind::Destruction | Kind::KeyChange => unended += 1,
            Kind::End => unended = unended.saturating_sub(1),
            Kind::Interrupted | Kind::Hold => {}
        }
        each(entry, line);
    });
    let found = match found {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && subjects::were_changed(records) => {
            ledger::Verified::missing("the log is gone; tombstones say that there was one".to_owned())
        }
        found => found?,
    };
    let ledger::Verified { entries, interrupted, head, problems, more } = found;
    Ok(Verified { entries, unended, interrupted, head, problems, more })
}
