//! The steps of a compaction, a rewrite and a destruction, in the order in which a crash may fall between them.
//!
//! Production passes [`NoFaults`]; tests stop after any step and look at what a crash would leave. Bound: none.

use std::io;

/// What has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Some rows are in the temporary file.
    Begun,
    /// The temporary file is whole and synced.
    FileSynced,
    /// It has its name.
    Renamed,
    /// The name is synced.
    NameSynced,
    /// The manifest has its line, perhaps not on the disk.
    ManifestWritten,
    /// The line is on the disk: the pointer.
    ManifestSynced,
    /// One file is removed.
    Unlinked,
    /// All of them are, and the folder is synced.
    Done,
    /// The audit log says what will be destroyed.
    Intended,
    /// One key is destroyed.
    KeyDestroyed,
    /// The audit log says that it is destroyed.
    Ended,
}

/// Where a test can stop a compaction.
pub(super) trait Faults: Send {
    /// Called after each step; an error ends the compaction there.
    ///
    /// # Errors
    /// In tests only.
    fn at(&self, step: Step) -> io::Result<()>;
}

/// Nothing is stopped.
pub(super) struct NoFaults;

impl Faults for NoFaults {
    fn at(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}
