//! The beginning and the end of a read, as entries of a [`Ledger`].
//!
//! An entry is on the disk when [`AuditLog::begin`] returns. Never removes or changes a byte. Bound: that of the ledger.

use std::io;
use std::path::{Path, PathBuf};

use super::entry::{Destruction, Entry, Kind, Outcome, Reading, TEXT_BYTES};
use super::secret::Literals;
use super::who::Who;
use crate::clock::Timestamp;
use crate::ledger::{Damaged, Ledger};

/// Why an entry could not be written; the read is refused then.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder, the key or the file cannot be used.
    #[error("the audit log in {} cannot be written: {cause}", folder.display())]
    Disk {
        /// The folder of the log.
        folder: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// There is no whole entry near the end of the file.
    #[error("the audit log in {} is damaged; `kelisim logs audit verify` tells where", .0.display())]
    Damaged(PathBuf),
    /// A text is longer than an entry may hold.
    #[error("{0} is longer than {TEXT_BYTES} bytes, which the audit log does not hold")]
    TooLong(&'static str),
}

/// The audit log of a records folder.
pub struct AuditLog {
    ledger: Ledger,
    who: Who,
    literals: Literals,
}

/// Proof that the entry of a read is on the disk. Only [`AuditLog::begin`] makes one.
#[must_use = "the read must be ended with its number of rows"]
pub struct Audited {
    log: AuditLog,
    n: u64,
}

impl AuditLog {
    /// The log of a records folder (the one above `journal`); made when there is none.
    ///
    /// # Errors
    /// When the folder or its key cannot be made or read.
    pub fn open(records: &Path) -> Result<Self, AuditError> {
        let ledger = Ledger::at(records, NAME);
        let prepare = || {
            let file = ledger.open()?;
            // One at a time makes the key.
            file.lock()?;
            Literals::of(records)
        };
        let literals =
            prepare().map_err(|cause| AuditError::Disk { folder: ledger.folder().to_owned(), cause })?;
        Ok(Self { ledger, who: Who::of_this_process(), literals })
    }

    /// What stands in the log for a value of a sealed column.
    #[must_use]
    pub fn hash(&self, column: &str, literal: &str) -> String {
        self.literals.hash(column, literal)
    }

    /// Writes the entry of a read and brings it to the disk.
    ///
    /// # Errors
    /// When that is not possible: then nothing may be read.
    pub fn begin(self, reading: &Reading<'_>, now: Timestamp) -> Result<Audited, AuditError> {
        let texts = [
            ("the reason", reading.reason.map_or(0, str::len)),
            ("the recipient", reading.disclosure.map_or(0, |d| d.recipient.len())),
            ("the filter", reading.filter.len()),
            ("the statement", reading.sql.map_or(0, str::len)),
        ];
        if let Some((what, _)) = texts.into_iter().find(|(_, len)| *len > TEXT_BYTES) {
            return Err(AuditError::TooLong(what));
        }
        let entry = Entry::reading(reading, &self.who, now);
        let n = self.append(entry)?;
        Ok(Audited { log: self, n })
    }

    /// Writes that records are about to be destroyed and brings it to the disk; the number of the entry.
    ///
    /// # Errors
    /// When that is not possible: then nothing may be destroyed.
    pub fn intend(&self, what: &Destruction<'_>, now: Timestamp) -> Result<u64, AuditError> {
        self.append(Entry::destruction(Kind::Destruction, what, &self.who, now))
    }

    /// Writes how the destruction that entry `of` began has ended.
    ///
    /// # Errors
    /// When the log cannot be written; it must be tried again.
    pub fn destroyed(
        &self,
        of: u64,
        what: &Destruction<'_>,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        let entry = Entry::destruction(Kind::End, what, &self.who, now);
        self.append(Entry { of: Some(of), outcome: Some(outcome), ..entry }).map(drop)
    }

    /// Writes that the records of a class and day are kept beyond their time, and by what.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn held(&self, class: &str, day: &str, by: &str, now: Timestamp) -> Result<(), AuditError> {
        self.append(Entry::hold(class, day, by, &self.who, now)).map(drop)
    }

    /// Writes that keys are about to be changed and brings it to the disk; the number of the entry.
    ///
    /// # Errors
    /// When that is not possible: then nothing may be changed.
    pub fn change_keys(
        &self,
        command: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<u64, AuditError> {
        if reason.is_some_and(|reason| reason.len() > TEXT_BYTES) {
            return Err(AuditError::TooLong("the reason"));
        }
        self.append(Entry::key_change(command, reason, &self.who, now))
    }

    /// Writes how the change of keys that entry `of` began has ended, and how many keys are gone.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn keys_changed(
        &self,
        of: u64,
        gone: u64,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        let entry = Entry::new(Kind::End, &self.who, now);
        let end = Entry { of: Some(of), keys: Some(gone), outcome: Some(outcome), ..entry };
        self.append(end).map(drop)
    }

    /// Appends an entry; its number.
    fn append(&self, entry: Entry) -> Result<u64, AuditError> {
        let folder = || self.ledger.folder().to_owned();
        self.ledger.append(vec![entry]).map_err(|cause| match cause.downcast::<Damaged>() {
            Ok(Damaged) => AuditError::Damaged(folder()),
            Err(cause) => AuditError::Disk { folder: folder(), cause },
        })
    }
}

impl Audited {
    /// The number of the entry.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.n
    }

    /// The records folder of the log.
    #[must_use]
    pub fn records(&self) -> &Path {
        self.log.ledger.records()
    }

    /// Writes how the read ended: how many records were shown, counted or given.
    ///
    /// # Errors
    /// When the log cannot be written; the entry of the beginning is there.
    pub fn end(self, rows: u64, outcome: Outcome, now: Timestamp) -> Result<(), AuditError> {
        let mut entry = Entry::new(Kind::End, &self.log.who, now);
        (entry.of, entry.rows, entry.outcome) = (Some(self.n), Some(rows), Some(outcome));
        self.log.append(entry).map(drop)
    }
}

/// Redacted: what was read is in the log, not in a message.
impl std::fmt::Debug for Audited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audited({})", self.n)
    }
}

/// Name of the log, and of its folder below the records folder.
pub(super) const NAME: &str = "audit";

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
