//! Who read which records, why, to whom they were given, and when they were destroyed: a log that can only grow.
//!
//! ```text
//! <records.dir>/audit/audit.log    NDJSON, one entry per line, each with the hash of the one before it
//! <records.dir>/audit/audit.head   number and hash of the newest entry: a log that was cut off does not reach it
//! <records.dir>/audit.head         the same, for whoever loses the folder
//! <records.dir>/keys/audit/literals.key   so that values of sealed columns are in the log as keyed hashes only
//! ```
//!
//! [`AuditLog::begin`] writes the entry of a read and brings it to the disk; only then is there an [`Audited`], which
//! every grant needs. [`verify`] finds every changed byte. Who owns the folder can still write a new log from its
//! beginning: keep a copy of the head elsewhere if that matters.
//! Never holds a value of a sealed column, never changes a byte that was written. Bound: [`ENTRY_BYTES`] per entry.

mod entry;
mod log;
mod secret;
mod verify;
mod who;

pub use crate::ledger::{ENTRY_BYTES, Problem};
pub use entry::{Basis, Destruction, Disclosure, Entry, Kind, Method, Outcome, Reading};
pub use log::{AuditError, AuditLog, Audited};
pub use verify::{Verified, verify};
