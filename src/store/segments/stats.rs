//! Figures of the compaction, read by the metrics page.
//!
//! Never a name or a path. Bound: a fixed set of atomics.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::record::Class;

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
    /// Segments written anew without columns that nobody can open any more.
    pub columns_dropped: AtomicU64,
    /// Times that everything was brought to what the terms of retention say.
    pub retention_runs: AtomicU64,
    /// Times that this failed; it is tried again.
    pub retention_errors: AtomicU64,
    /// Gauge: named holds.
    pub holds: AtomicU64,
    /// Gauges: days of a class that only a hold keeps.
    held_days: [AtomicU64; Class::ALL.len()],
    /// When retention was last done, or the process began, µs since 1970.
    retention_done: AtomicI64,
    /// Gauge: closed journal files that are damaged and stay as they are.
    pub damaged: AtomicU64,
    /// Gauge: segments of which the manifest says nothing, and whose records are nowhere else.
    pub unlisted: AtomicU64,
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

    /// Since when something may be there whose time is over.
    #[must_use]
    pub fn retention_lag(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_micros(self.retention_done.load(Relaxed)))
    }

    /// Days of a class that only a hold keeps.
    #[must_use]
    pub fn held_days(&self, class: Class) -> u64 {
        self.held_days[class as usize].load(Relaxed)
    }

    pub(super) fn retention_is_done(&self, now: Timestamp) {
        self.retention_done.store(now.as_micros(), Relaxed);
    }

    pub(super) fn held(&self, days: &[u64; Class::ALL.len()], holds: u64) {
        self.held_days.iter().zip(days).for_each(|(gauge, n)| gauge.store(*n, Relaxed));
        self.holds.store(holds, Relaxed);
    }

    pub(super) fn waiting(&self, since: Option<Timestamp>) {
        self.waiting_since.store(since.map_or(0, Timestamp::as_micros), Relaxed);
    }
}
