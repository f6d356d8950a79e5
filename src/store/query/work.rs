//! How far a scan has come, and the wish that it ends.
//!
//! Shared between the scanning threads and whoever shows the progress. Never holds anything of a record. Bound: three
//! numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The work of one scan, in bytes of the files that it reads.
#[derive(Debug, Default)]
pub struct Work {
    total: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
}

impl Work {
    /// Bytes done, and bytes in all; both 0 before the scan knows.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let total = self.total.load(Relaxed);
        (self.done.load(Relaxed).min(total), total)
    }

    /// Ends the scan at its next row group or file.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Whether the scan was told to end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(super) fn begin(&self, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
    }

    pub(super) fn did(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }
}
