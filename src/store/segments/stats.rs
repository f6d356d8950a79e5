//! Figures of the compaction, read by the metrics page.
//!
//! Never a name or a path. Bound: a fixed set of atomics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Timestamp;

/// Figures of the segments of one folder, as its compactor knows them.
#[derive(Debug, Default)]
pub struct SegmentStats {
    /// Gauge: segments that exist.
    pub segments: AtomicU64,
    /// Gauge: bytes of all of them.
    pub bytes: AtomicU64,
    /// Records put into segments.
    pub records: AtomicU64,
    /// Compactions that failed and are tried again.
    pub errors: AtomicU64,
    /// Segments removed because their days were over.
    pub removed_age: AtomicU64,
    /// Segments removed because the records had reached their size.
    pub removed_size: AtomicU64,
    /// Gauge: closed journal files that are damaged and stay as they are.
    pub damaged: AtomicU64,
    /// Last record of the oldest closed file that is not in a segment, µs since 1970; 0 when there is none.
    waiting_since: AtomicI64,
}

impl SegmentStats {
    /// How long the oldest closed journal file has waited for its segment; zero when none waits.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Duration {
        match self.waiting_since.load(Relaxed) {
            0 => Duration::ZERO,
            since => now.since(Timestamp::from_micros(since)),
        }
    }

    pub(super) fn waiting(&self, since: Option<Timestamp>) {
        self.waiting_since.store(since.map_or(0, Timestamp::as_micros), Relaxed);
    }
}
