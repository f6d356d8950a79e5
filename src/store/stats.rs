//! What the journal counts: figures that another thread may read, and exact accounts of what was lost.
//!
//! The counters are the one source of gap records, so the two cannot disagree. Never a name, path or address.
//! Bound: a fixed table of atomics, and a note for each sort of gap.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::gap::{self, Note};
use super::recent::Found;
use crate::admin::cells::DurationHistogram;
use crate::admin::metrics::{JOURNAL_FSYNC_SECONDS, JOURNAL_WRITE_SECONDS};
use crate::clock::Timestamp;
use crate::record::Kind;
use crate::seal::{KeyClass, KeyId, KeyProvider};

/// Why records are missing. The label is a metric label and the value of `gap.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LossReason {
    /// The worker's ring stayed full for the time a response may be held.
    RingFull,
    /// The disk took no more.
    DiskFull,
    /// A write failed for another reason.
    WriteError,
    /// An fsync failed: what it should have covered counts as lost.
    FsyncError,
    /// The end of a file could not be read as frames.
    TornTail,
    /// The previous run did not stop cleanly; how many are missing is not known.
    UncleanStop,
    /// The oldest closed file went because the journal had reached its size.
    Quota,
}

impl LossReason {
    /// Every reason, in order.
    pub const ALL: [Self; 7] = [
        Self::RingFull,
        Self::DiskFull,
        Self::WriteError,
        Self::FsyncError,
        Self::TornTail,
        Self::UncleanStop,
        Self::Quota,
    ];

    /// The stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::DiskFull => "disk_full",
            Self::WriteError => "write_error",
            Self::FsyncError => "fsync_error",
            Self::TornTail => "torn_tail",
            Self::UncleanStop => "unclean_stop",
            Self::Quota => "quota",
        }
    }

    /// The reason of that name; `None` for one of a newer version.
    #[must_use]
    pub fn from_label(label: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label().as_bytes() == label)
    }
}

/// Figures of one journal. Every counter only grows; gauges say so.
#[derive(Debug)]
pub struct Stats {
    records: [AtomicU64; KINDS],
    losses: [[Loss; KINDS]; REASONS],
    /// What gap records said that are gone, and whether there is any.
    again: Mutex<Vec<Note>>,
    tells_again: AtomicBool,
    /// Frames written: one per batch.
    pub batches: AtomicU64,
    /// Times that the writer rested after a batch of many.
    pub pauses: AtomicU64,
    /// Bytes written.
    pub bytes_written: AtomicU64,
    /// Times of single writes.
    pub write: DurationHistogram,
    /// Times of single fsyncs.
    pub fsync: DurationHistogram,
    /// Writes that failed.
    pub write_errors: AtomicU64,
    /// Batches that could not be sealed.
    pub seal_errors: AtomicU64,
    /// Keys that could not be made or used.
    pub key_errors: AtomicU64,
    /// Fsyncs that failed.
    pub fsync_errors: AtomicU64,
    /// Files that could not be made, closed or removed.
    pub file_errors: AtomicU64,
    /// Gauge: when the oldest record that is not synced was written, µs since 1970; 0 when there is none.
    oldest_unsynced: AtomicI64,
    /// Records whose user agent was not looked at, because the batch's time for it was used up.
    pub agents_skipped: AtomicU64,
    /// Tags of visits and of persons: known, made, made in the place of another.
    tags: [[AtomicU64; 3]; 2],
    /// Bytes cut off by recovery.
    pub torn_bytes: AtomicU64,
    /// Gauge: bytes of all journal files of the folder.
    pub journal_bytes: AtomicU64,
    /// Gauge: number of journal files of the folder.
    pub files: AtomicU64,
    /// Files removed because their days were over.
    pub files_expired: AtomicU64,
    /// Files removed because the journal had reached its size.
    pub files_over_quota: AtomicU64,
    /// Gauge: bytes that waited in all rings when the writer last looked.
    pub ring_bytes: AtomicU64,
    /// Gauges: keys that live and keys that were destroyed, by class.
    keys: [[AtomicU64; KeyClass::ALL.len()]; 2],
    /// Versions of the subject key that were missing at the start.
    pub lost_subject_keys: AtomicU64,
    /// `seq` of the newest record that is on the disk for certain: what may be passed on to others.
    pub synced_seq: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            records: Default::default(),
            losses: Default::default(),
            again: Mutex::default(),
            tells_again: AtomicBool::new(false),
            batches: Default::default(),
            pauses: Default::default(),
            bytes_written: Default::default(),
            write: DurationHistogram::of(JOURNAL_WRITE_SECONDS),
            fsync: DurationHistogram::of(JOURNAL_FSYNC_SECONDS),
            write_errors: Default::default(),
            seal_errors: Default::default(),
            key_errors: Default::default(),
            keys: Default::default(),
            lost_subject_keys: AtomicU64::default(),
            fsync_errors: Default::default(),
            file_errors: Default::default(),
            oldest_unsynced: Default::default(),
            agents_skipped: Default::default(),
            tags: Default::default(),
            torn_bytes: Default::default(),
            journal_bytes: Default::default(),
            files: Default::default(),
            files_expired: Default::default(),
            files_over_quota: Default::default(),
            ring_bytes: Default::default(),
            synced_seq: Default::default(),
        }
    }
}

impl Stats {
    /// Records of that kind written.
    #[must_use]
    pub fn records(&self, kind: Kind) -> u64 {
        self.records[kind as usize].load(Relaxed)
    }

    /// Records of that kind lost for that reason.
    #[must_use]
    pub fn dropped(&self, kind: Kind, reason: LossReason) -> u64 {
        self.losses[reason as usize][kind as usize].count.load(Relaxed)
    }

    /// Keys of a class that live, and that were destroyed, when they were last counted.
    #[must_use]
    pub fn keys(&self, class: KeyClass) -> (u64, u64) {
        let [live, destroyed] = &self.keys;
        (live[class as usize].load(Relaxed), destroyed[class as usize].load(Relaxed))
    }

    /// Counts the keys again: after every change, and from time to time since other processes change them too.
    pub fn count_keys(&self, provider: &dyn KeyProvider) {
        for (gauges, listed) in self.keys.iter().zip([provider.list(), provider.destroyed()]) {
            let count = |keys: &[KeyId], class| keys.iter().filter(|key| key.class == class).count() as u64;
            match listed {
                Ok(keys) => {
                    KeyClass::ALL.iter().for_each(|c| gauges[*c as usize].store(count(&keys, *c), Relaxed));
                }
                Err(error) => {
                    self.key_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "the keys cannot be counted");
                }
            }
        }
    }

    /// How long the oldest record that is not synced has waited.
    #[must_use]
    pub fn unsynced_age(&self, now: Timestamp) -> Duration {
        match self.oldest_unsynced.load(Relaxed) {
            0 => Duration::ZERO,
            at => now.since(Timestamp::from_micros(at)),
        }
    }

    /// How often the writer knew a tag of visits or of persons (`visit`, `subject`): by tag and result.
    pub fn tags(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let tags = ["visit", "subject"].into_iter().zip(&self.tags);
        tags.flat_map(|(of, counters)| {
            let counts = ["hit", "miss", "evicted"].into_iter().zip(counters);
            counts.map(move |(result, counter)| (of, result, counter.load(Relaxed)))
        })
    }

    pub(super) fn count_tags(&self, found: [Found; 2]) {
        for (counters, Found { hits, misses, evicted }) in self.tags.iter().zip(found) {
            for (counter, n) in counters.iter().zip([hits, misses, evicted]) {
                counter.fetch_add(n, Relaxed);
            }
        }
    }

    pub(super) fn count(&self, counts: &KindCounts) {
        for (counter, n) in self.records.iter().zip(counts) {
            counter.fetch_add(*n, Relaxed);
        }
    }

    pub(super) fn lose(&self, kind: Kind, reason: LossReason, count: u64, at: Timestamp) {
        self.losses[reason as usize][kind as usize].add(count, at);
    }

    pub(super) fn lose_all(&self, counts: &KindCounts, reason: LossReason, at: Timestamp) {
        for (kind, n) in Kind::ALL.into_iter().zip(counts).filter(|(_, n)| **n > 0) {
            self.lose(kind, reason, *n, at);
        }
    }

    /// What gap records said that are gone: it is in the counters, or in those of an earlier run, and has to be told in
    /// new ones.
    pub(super) fn tell_again(&self, notes: &[Note]) {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().for_each(|note| gap::join(&mut again, note));
        self.tells_again.store(!again.is_empty(), Relaxed);
    }

    /// Whether there is something to tell again.
    pub(super) fn tells_again(&self) -> bool {
        self.tells_again.load(Relaxed)
    }

    /// Takes it.
    pub(super) fn take_again(&self) -> Vec<Note> {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        self.tells_again.store(false, Relaxed);
        std::mem::take(&mut *again)
    }

    /// Remembers the first write since the last sync.
    pub(super) fn unsynced_since(&self, at: Timestamp) {
        // A failure means that there is an older one.
        let _ = self.oldest_unsynced.compare_exchange(0, at.as_micros(), Relaxed, Relaxed);
    }

    /// After a sync: the oldest write that it did not cover.
    pub(super) fn oldest_unsynced_is(&self, ts: Option<Timestamp>) {
        self.oldest_unsynced.store(ts.map_or(0, Timestamp::as_micros), Relaxed);
    }

    pub(super) fn synced(&self, seq: u64) {
        self.synced_seq.fetch_max(seq, Relaxed);
    }
}

/// Counts by kind, in the order of the codes.
pub(super) type KindCounts = [u64; KINDS];

/// How many were lost, and when.
#[derive(Debug)]
struct Loss {
    count: AtomicU64,
    first: AtomicI64,
    last: AtomicI64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), first: AtomicI64::new(i64::MAX), last: AtomicI64::new(0) }
    }
}

impl Loss {
    fn add(&self, count: u64, at: Timestamp) {
        self.first.fetch_min(at.as_micros(), Relaxed);
        self.last.fetch_max(at.as_micros(), Relaxed);
        self.count.fetch_add(count, std::sync::atomic::Ordering::Release);
    }
}

/// One gap that has not been written down yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) kind: Kind,
    pub(super) reason: LossReason,
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// What of the losses is already in gap records: the journal writer's.
#[derive(Default)]
pub(super) struct Reported([[u64; KINDS]; REASONS]);

impl Reported {
    /// The losses that no gap record tells yet.
    pub(super) fn open<'s>(&'s self, stats: &'s Stats) -> impl Iterator<Item = Gap> + 's {
        let pairs = LossReason::ALL.into_iter().flat_map(|reason| Kind::ALL.map(move |kind| (reason, kind)));
        pairs.filter_map(|(reason, kind)| {
            let loss = &stats.losses[reason as usize][kind as usize];
            let total = loss.count.load(std::sync::atomic::Ordering::Acquire);
            let count = total.saturating_sub(self.0[reason as usize][kind as usize]);
            (count > 0).then(|| Gap {
                kind,
                reason,
                count,
                // `first` may just have been given back: then the last time is all there is.
                first: Timestamp::from_micros(loss.first.load(Relaxed).min(loss.last.load(Relaxed))),
                last: Timestamp::from_micros(loss.last.load(Relaxed)),
            })
        })
    }

    /// A gap record has been written.
    pub(super) fn close(&mut self, gap: &Gap, stats: &Stats) {
        self.0[gap.reason as usize][gap.kind as usize] += gap.count;
        let first = &stats.losses[gap.reason as usize][gap.kind as usize].first;
        let _ = first.compare_exchange(gap.first.as_micros(), i64::MAX, Relaxed, Relaxed);
    }
}

const KINDS: usize = Kind::ALL.len();
const REASONS: usize = LossReason::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_tell_exactly_what_the_counters_tell() {
        let (stats, mut reported) = (Stats::default(), Reported::default());
        stats.lose(Kind::Access, LossReason::RingFull, 2, Timestamp::from_secs(5));
        stats.lose(Kind::Access, LossReason::RingFull, 1, Timestamp::from_secs(7));
        let gaps: Vec<_> = reported.open(&stats).collect();
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            (gaps[0].count, gaps[0].first, gaps[0].last),
            (3, Timestamp::from_secs(5), Timestamp::from_secs(7))
        );
        reported.close(&gaps[0], &stats);
        assert_eq!(reported.open(&stats).count(), 0);
        stats.lose(Kind::Access, LossReason::RingFull, 4, Timestamp::from_secs(9));
        let again: Vec<_> = reported.open(&stats).collect();
        assert_eq!((again[0].count, again[0].first), (4, Timestamp::from_secs(9)));
        assert_eq!(stats.dropped(Kind::Access, LossReason::RingFull), 7);
    }
}
