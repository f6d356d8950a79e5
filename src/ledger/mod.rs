//! A file that can only grow: every line holds the hash of the one before it, so that any changed byte is found.
//!
//! ```text
//! <folder>/<name>.log    NDJSON, one entry per line, each with the hash of the one before it
//! <folder>/<name>.head   number and hash of the newest entry: a log that was cut off does not reach it
//! <name>.head            the same beside the folder, for whoever loses the folder; it may lag after a crash
//! ```
//!
//! The audit log and the receipts of consent are ledgers. Who owns the folder can still write a new log from its
//! beginning: keep a copy of the head elsewhere if that matters. Never knows what its entries say, never changes a byte
//! that was written. Bound: [`ENTRY_BYTES`] per entry.

mod chain;
mod file;
mod place;
mod verify;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use chain::ENTRY_BYTES;
pub(crate) use chain::{hex, open};
#[cfg(test)]
pub(crate) use file::TAIL_BYTES;
pub use file::{Damaged, Ledger};
pub(crate) use place::{keep_owner, make_folder};
pub use verify::{Problem, Verified, verify};

/// An entry of a ledger.
pub trait Chained: Clone + Serialize + DeserializeOwned {
    /// Its number, from 1, without holes, and the hash of the entry before it.
    fn link(&self) -> (u64, &str);
    /// Gives it its place.
    fn set_link(&mut self, n: u64, prev: &str);
    /// What it tells of the end of the log that its writer found, if it is an entry for that.
    fn interruption(&self) -> Option<Interruption>;
    /// The entry that tells of an interruption, written just before `next`.
    fn telling(interruption: Interruption, next: &Self) -> Self;
}

/// What is wrong with the end of a log: bytes that a killed writer left, or entries that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interruption {
    /// Bytes before this entry that are no entry.
    pub bytes: Option<u64>,
    /// Their SHA-256.
    pub sha256: Option<String>,
    /// Entries that the head knew and that are gone.
    pub lost: Option<u64>,
    /// The head was missing or not readable although there were entries.
    pub head: Option<String>,
}
