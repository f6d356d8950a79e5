//! Closed journal files become Parquet segments, which any tool reads and only a purpose opens.
//!
//! ```text
//! journal files ──► temporary file ──► segment ──► MANIFEST (the pointer) ──► journal files removed
//! ```
//!
//! [`Compactor`] is the thread that does it, [`Manifest`] says which segments exist, [`verify()`] checks them.
//! A record is in a segment or in the journal, for a reader never in neither or both. Never delays the journal's
//! writer. Bound: one row group and one batch of memory.

mod background;
mod cells;
mod compact;
mod damaged;
mod erasing;
mod expire;
mod manifest;
mod material;
mod orphans;
mod read;
mod retire;
mod rewrite;
mod rows;
mod schema;
mod shared;
mod sole;
mod stats;
mod step;
mod verify;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use background::{Compactor, CompactorOptions};
pub(super) use cells::{Cells, Values};
pub(super) use erasing::Erasing;
pub use manifest::{Change, Entry, Manifest, ManifestError, Removed, Rewritten};
pub(super) use orphans::{listed, unlisted};
pub(super) use read::{Segment, Wanted};
pub use rewrite::{Editor, Without};
pub(super) use rows::Batch;
pub use schema::Shape;
pub use stats::SegmentStats;
pub(in crate::store) use verify::told;
pub use verify::{Finding, KeyReport, Report, verify, verify_keys};

use crate::audit::AuditError;
use crate::seal::KeyError;
use crate::store::subjects::SubjectError;

/// The folder of the segments inside the data folder.
pub const FOLDER: &str = "segments";

/// Why a segment cannot be made or read. Never tells anything of a record.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file or folder.
    #[error("a file of the segments cannot be used")]
    File(#[from] io::Error),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The audit log, without which nothing is destroyed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A key.
    #[error("a key of a segment cannot be used")]
    Key(#[from] KeyError),
    /// The Parquet file.
    #[error("a segment cannot be written or read")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The columns.
    #[error("the columns of a segment do not fit")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A closed journal file ends before its last record; it stays as it is.
    #[error("journal file {0} is damaged: it is kept and not made into a segment")]
    Damaged(String),
    /// A segment's columns cannot all be opened, and would be lost in a new file.
    #[error("segment {0} stays as it is: a key is missing that was not destroyed")]
    Locked(String),
    /// A newer version made the segment, with columns that this one does not know.
    #[error("segment {0} stays as it is: a newer version wrote it")]
    Newer(String),
    /// The manifest names a segment as no version does.
    #[error("{0} is not the name of a segment")]
    Name(String),
    /// What is done for the rights of a person.
    #[error(transparent)]
    Subject(Box<SubjectError>),
    /// Segments of which the manifest says nothing, and whose records are nowhere else.
    #[error(
        "{0} segments are in no line of the manifest and their records are not in the journal: put segments/MANIFEST back from a backup, or take the files away; until then no segment is made or written anew"
    )]
    Unlisted(u64),
    /// One segment, by name.
    #[error("{}: {source}", path.display())]
    Of {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<SegmentError>,
    },
    /// The process ends.
    #[error("stopped")]
    Stopped,
}

impl SegmentError {
    /// Whether the file is not what was written: cut, or changed.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Parquet(_) | Self::Arrow(_) => true,
            Self::File(cause) => {
                // The last: it is no regular file.
                matches!(
                    cause.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                )
            }
            Self::Of { source, .. } => source.is_damage(),
            _ => false,
        }
    }

    /// The same, with the name of the file.
    #[must_use]
    pub fn of(self, path: &Path) -> Self {
        Self::Of { path: path.to_owned(), source: Box::new(self) }
    }
}

impl From<SegmentError> for io::Error {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::File(cause) => cause,
            other => Self::other(other),
        }
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
