//! The right to change the segments of a folder, which one process has at a time.
//!
//! It is a lock on a file, so it ends with its process. Who has it may append to the manifest and remove segments;
//! reading needs none. Bound: a wait that the caller sets.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::clock::monotonic;

/// Proof that nobody else changes the segments; they may again when it is dropped.
#[derive(Debug)]
pub(super) struct Sole {
    _lock: File,
}

impl Sole {
    /// Takes the right, unless somebody has it. `folder` is that of the segments.
    pub(super) fn try_take(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join("compactor.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    /// Takes the right as soon as nobody has it, within that time.
    pub(super) fn wait(folder: &Path, patience: Duration) -> io::Result<Self> {
        let begun = monotonic();
        loop {
            if let Some(sole) = Self::try_take(folder)? {
                return Ok(sole);
            }
            if begun.elapsed() >= patience {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process changes the segments"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Pause between two attempts; the system has no wait with an end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
