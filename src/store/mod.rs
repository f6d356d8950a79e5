//! Records on the disk: written before the client has the end of the answer, synced soon after, counted when lost.
//!
//! ```text
//! worker ──encode──► own ring ─┐
//! worker ──encode──► own ring ─┼─► writer thread ──one sealed write per batch──► journal files
//! worker ──encode──► own ring ─┘        └─► syncer thread: fdatasync, new files and keys, old files
//! ```
//!
//! [`journal`] starts and stops it, [`recorder`] is a worker's side, [`reader`], [`follow`] and [`query`] read running
//! and stopped journals alike. No field of a record is ever written in the clear ([`sealed`]). Never blocks a worker,
//! never appends to a file of an earlier run, never drops a record without a count and a gap record. Bound:
//! `records.ring_bytes` per worker, `records.max_bytes` on the disk.

pub mod disk;
pub mod enrich;
pub mod files;
pub mod follow;
pub mod frame;
mod gap;
pub mod head;
pub mod holds;
pub mod journal;
pub mod lent;
mod lock;
pub(crate) mod named;
pub mod query;
mod quota;
pub mod reader;
mod recent;
pub mod recorder;
mod recovery;
mod retention;
mod ring;
pub mod sealed;
pub mod segments;
pub mod stats;
pub mod subjects;
mod sync;
pub mod table;
pub mod terms;
pub mod verify;
mod visit;
mod writer;

pub use enrich::{Complete, Enrich, Facts};
pub use follow::{Came, Follower};
pub use journal::{Journal, JournalOptions, StartError};
pub use reader::{Reader, Scanned, TimeRange};
pub use recorder::{Full, Outcome, Recorder, RecorderHandle, Ticket};
pub use stats::{LossReason, Stats};
pub use terms::{Hold, Terms};

/// Whether a process that lives writes records in this data folder.
///
/// # Errors
/// The folder cannot be read.
pub fn is_written(dir: &std::path::Path) -> std::io::Result<bool> {
    Ok(!lock::living(&dir.join(journal::FOLDER))?.is_empty())
}

#[cfg(test)]
mod tests;
