//! Proof of every choice: receipts in a hash-chained log, on the disk before the choice is answered.
//!
//! ```text
//! <records.dir>/receipts/receipts.log    one entry per event, a ledger
//! <records.dir>/receipts/receipts.head   its newest entry
//! <records.dir>/receipts/texts/<sha256>  the exact texts and policies that the entries name by hash
//! <records.keys_dir>/receipts/2026-11.key   seals address and user agent of that month; destroyed after the proof term
//! ```
//!
//! [`Receipts`] is the workers' end: one thread of its own writes, syncs once for all that wait, and finds a person's
//! own receipt. Never answers before the entry is durable, never holds an address in the clear. Bounds:
//! [`QUEUE`] choices wait, each for [`PATIENCE`]; beyond that a choice is refused, counted, and not stored.

mod client;
mod entry;
mod find;
mod thread;

pub use client::{Client, ClientKeys, ClientReader, Seen};
pub(in crate::consent) use entry::PURPOSES;
pub use entry::{Controller, Details, Found, Kind, PurposeState, Receipt, Sealed, Shown, State};
pub use find::line_of;
pub use thread::CLASS;
pub use thread::{Filing, PATIENCE, QUEUE, Receipts, Stats, Unfiled};

use std::path::Path;

use ring::digest::{SHA256, digest};

use crate::ledger::{Ledger, hex};

/// The log of a records folder.
#[must_use]
pub fn ledger(records: &Path) -> Ledger {
    Ledger::at(records, "receipts")
}

/// The hash under which a text is named and kept, as 64 hex digits.
#[must_use]
pub fn hash_of(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Folder of the texts, below that of the log.
pub const TEXTS: &str = "texts";
