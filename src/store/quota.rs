//! A file goes before its time because the records have reached their size: what is done about it, journal or segment.
//!
//! The audit log says so before and after, its records count as lost by kind, and what its gap records said is told
//! again. Without a written intention nothing goes, except when the disk has no room for one: then the file makes it, and
//! both entries come after. Never decides what goes. Bound: one file.

use std::io;
use std::path::Path;

use super::gap::Held;
use super::stats::{LossReason, Stats};
use crate::audit::{AuditError, AuditLog, Destruction, Method, Outcome};
use crate::clock::Timestamp;
use crate::record::Class;
use crate::seal::Day;

/// A file that goes.
pub(super) struct Going<'g> {
    /// The data folder.
    pub(super) dir: &'g Path,
    /// Time of its last record.
    pub(super) last: Timestamp,
    /// Its records.
    pub(super) records: u64,
    /// What all files may have, in bytes.
    pub(super) limit: u64,
    pub(super) now: Timestamp,
}

impl Going<'_> {
    /// Removes the file by `remove`, which says whether it was still there; what it held is `held`.
    pub(super) fn carry_out<E: From<io::Error>>(
        &self,
        held: &Held,
        stats: &Stats,
        remove: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let (day, reason) = (Day::of(self.last).to_string(), format!("records.max_bytes is {}", self.limit));
        let (class, method) = (Class::Clear.label(), Method::Files);
        let rows = self.records;
        let what = Destruction { class, day: &day, method, files: 1, rows, keys: 0, reason: &reason };
        let intend = || -> Result<(AuditLog, u64), AuditError> {
            let log = AuditLog::open(self.dir)?;
            let n = log.intend(&what, self.now)?;
            Ok((log, n))
        };
        let begun = match intend() {
            Err(cause) if is_full(&cause) => None,
            begun => Some(begun.map_err(io::Error::other)?),
        };
        let removed = remove();
        if matches!(removed, Ok(true)) {
            stats.lose_all(&held.lost(self.records), LossReason::Quota, self.last);
            stats.tell_again(&held.notes);
        }
        let outcome = if matches!(removed, Ok(true)) { Outcome::Complete } else { Outcome::Broken };
        let ended =
            begun.map_or_else(intend, Ok).and_then(|(log, n)| log.destroyed(n, &what, outcome, self.now));
        let removed = removed?;
        ended.map_err(io::Error::other)?;
        Ok(removed)
    }
}

fn is_full(error: &AuditError) -> bool {
    let AuditError::Disk { cause, .. } = error else { return false };
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
