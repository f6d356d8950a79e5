//! The journal's figures on the page.
//!
//! Reads atomics that the journal's threads keep. Never touches the disk. Bound: kinds times reasons.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::metrics as table;
use super::source::{Samples, Source};
use crate::clock;
use crate::record::{Class, Kind};
use crate::seal::KeyClass;
use crate::store::segments::SegmentStats;
use crate::store::subjects::Board;
use crate::store::{LossReason, Stats};

/// The figures of one journal.
#[derive(Debug)]
pub struct JournalSource {
    /// What its threads keep.
    pub stats: Arc<Stats>,
    /// `records.ring_bytes` of all threads together.
    pub ring_bytes: u64,
    /// `records.max_bytes`.
    pub limit_bytes: u64,
}

impl Source for JournalSource {
    fn collect(&self, out: &mut Samples) {
        let stats = &self.stats;
        for kind in [Kind::Access, Kind::Open, Kind::Gap] {
            out.counter(table::JOURNAL_RECORDS, [kind.label()], stats.records(kind));
        }
        for reason in LossReason::ALL {
            for kind in Kind::ALL {
                let dropped = stats.dropped(kind, reason);
                // The kinds that are lost day by day are always there, so that an alert can see the first loss.
                if dropped > 0 || kind == Kind::Access {
                    out.counter(table::JOURNAL_DROPPED, [kind.label(), reason.label()], dropped);
                }
            }
        }
        let fill = stats.ring_bytes.load(Relaxed) as f64 / self.ring_bytes.max(1) as f64;
        out.gauge(table::JOURNAL_RING_FILL, [], fill);
        out.counter(table::JOURNAL_PAUSES, [], stats.pauses.load(Relaxed));
        out.histogram(table::JOURNAL_WRITE_SECONDS, [], &stats.write.snapshot());
        out.histogram(table::JOURNAL_FSYNC_SECONDS, [], &stats.fsync.snapshot());
        for (operation, errors) in [
            ("write", &stats.write_errors),
            ("fsync", &stats.fsync_errors),
            ("file", &stats.file_errors),
            ("seal", &stats.seal_errors),
            ("key", &stats.key_errors),
        ] {
            out.counter(table::JOURNAL_ERRORS, [operation], errors.load(Relaxed));
        }
        for class in KeyClass::ALL {
            let (live, destroyed) = stats.keys(class);
            out.gauge(table::RECORD_KEYS, [class.label(), "live"], live as f64);
            out.gauge(table::RECORD_KEYS, [class.label(), "destroyed"], destroyed as f64);
        }
        let lost = stats.lost_subject_keys.load(Relaxed);
        out.gauge(table::RECORD_KEYS, ["subject", "lost"], lost as f64);
        out.gauge(table::JOURNAL_UNSYNCED, [], stats.unsynced_age(clock::now()).as_secs_f64());
        out.counter(table::JOURNAL_AGENTS_SKIPPED, [], stats.agents_skipped.load(Relaxed));
        for (tag, result, count) in stats.tags() {
            out.counter(table::JOURNAL_TAGS, [tag, result], count);
        }
        out.counter(table::JOURNAL_TORN, [], stats.torn_bytes.load(Relaxed));
        out.gauge(table::JOURNAL_FILES, [], stats.files.load(Relaxed) as f64);
        out.gauge(table::JOURNAL_SIZE, [], stats.journal_bytes.load(Relaxed) as f64);
        out.gauge(table::JOURNAL_LIMIT, [], self.limit_bytes as f64);
        out.counter(table::JOURNAL_REMOVED, ["age"], stats.files_expired.load(Relaxed));
        out.counter(table::JOURNAL_REMOVED, ["size"], stats.files_over_quota.load(Relaxed));
    }
}

/// The figures of the blocked and the erased.
impl Source for Board {
    fn collect(&self, out: &mut Samples) {
        for (state, count) in ["blocked", "erasing", "erased"].into_iter().zip(&self.tombstones) {
            out.gauge(table::SUBJECT_TOMBSTONES, [state], count.load(Relaxed) as f64);
        }
        out.counter(table::SUBJECT_HIDDEN, [], self.marked.load(Relaxed));
        out.counter(table::SUBJECT_ERRORS, [], self.errors.load(Relaxed));
    }
}

/// The figures of the segments.
impl Source for SegmentStats {
    fn collect(&self, out: &mut Samples) {
        out.gauge(table::SEGMENTS, [], self.segments.load(Relaxed) as f64);
        out.gauge(table::SEGMENTS_SIZE, [], self.bytes.load(Relaxed) as f64);
        out.counter(table::SEGMENTS_RECORDS, [], self.records.load(Relaxed));
        out.gauge(table::SEGMENTS_LAG, [], self.lag(clock::now()).as_secs_f64());
        out.counter(table::SEGMENTS_ERRORS, [], self.errors.load(Relaxed));
        out.gauge(table::SEGMENTS_DAMAGED, [], self.damaged.load(Relaxed) as f64);
        out.gauge(table::SEGMENTS_UNLISTED, [], self.unlisted.load(Relaxed) as f64);
        out.counter(table::SEGMENTS_REMOVED, ["age"], self.removed_age.load(Relaxed));
        out.counter(table::SEGMENTS_REMOVED, ["size"], self.removed_size.load(Relaxed));
        out.counter(table::SEGMENTS_REWRITTEN, [], self.columns_dropped.load(Relaxed));
        out.counter(table::RETENTION_RUNS, ["complete"], self.retention_runs.load(Relaxed));
        out.counter(table::RETENTION_RUNS, ["failed"], self.retention_errors.load(Relaxed));
        out.gauge(table::RETENTION_LAG, [], self.retention_lag(clock::now()).as_secs_f64());
        out.gauge(table::RETENTION_HOLDS, [], self.holds.load(Relaxed) as f64);
        for class in Class::ALL {
            out.gauge(table::RETENTION_HELD, [class.label()], self.held_days(class) as f64);
        }
    }
}
