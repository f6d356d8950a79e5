//! The compactor's thread: destroys what is over, wakes when a journal file is closed to make a segment of it, and
//! finishes blocks and erasures that were interrupted.
//!
//! It runs with lowered priority, outside the runtime, and shares nothing with the journal's writer but the disk. Of
//! two processes on one folder one works at a time. After an error it tries again, later each time. Never stops the
//! gateway. Bound: one segment at a time.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::SegmentError;
use super::compact::Work;
use super::expire::Expiry;
use super::manifest::Manifest;
use super::sole::Sole;
use super::stats::SegmentStats;
use super::step::NoFaults;
use crate::clock::Timestamp;
use crate::seal::KeyProvider;
use crate::store::enrich::Complete;
use crate::store::stats::Stats;
use crate::store::subjects::{SubjectError, finish_pending, tidy};
use crate::store::terms::Terms;

/// How segments are made and kept.
#[derive(Clone, Debug)]
pub struct CompactorOptions {
    /// The data folder.
    pub dir: PathBuf,
    /// How long records are kept.
    pub terms: Terms,
    /// Bytes of journal and segments together; beyond it the oldest segment goes.
    pub max_bytes: u64,
    /// Whether closed journal files become segments; without it the thread only destroys what is over.
    pub segments: bool,
}

/// The running thread.
pub struct Compactor {
    stop: Arc<AtomicBool>,
    stats: Arc<SegmentStats>,
    thread: JoinHandle<()>,
}

impl Compactor {
    /// Starts the thread. `journal` are the figures of the journal in the same folder; `now` is the wall clock;
    /// `complete` adds what records had no time for when they were written.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        options: CompactorOptions,
        keys: Arc<dyn KeyProvider>,
        journal: Arc<Stats>,
        now: fn() -> Timestamp,
        complete: Option<Box<dyn Complete>>,
    ) -> io::Result<Self> {
        let (stop, stats) = (Arc::<AtomicBool>::default(), Arc::<SegmentStats>::default());
        // Until the first run nothing is known to be late.
        stats.retention_is_done(now());
        let work = Work {
            dir: options.dir,
            keys,
            stats: Arc::clone(&stats),
            stop: Arc::clone(&stop),
            faults: Box::new(NoFaults),
            journal: Some(Arc::clone(&journal)),
            settle: SETTLE,
            unsettled: false,
            damaged: BTreeSet::new(),
            complete,
            stuck: BTreeSet::new(),
            gone: Arc::default(),
        };
        let background = Background {
            work,
            expiry: Expiry::new(options.terms),
            max_bytes: options.max_bytes,
            segments: options.segments,
            journal,
            now,
            failures: 0,
            late: false,
            more: false,
            begun: false,
            tidied: None,
        };
        let thread = std::thread::Builder::new().name("compactor".to_owned()).spawn(|| background.run())?;
        Ok(Self { stop, stats, thread })
    }

    /// Figures for metrics; may be kept and read by any thread.
    #[must_use]
    pub fn stats(&self) -> Arc<SegmentStats> {
        Arc::clone(&self.stats)
    }

    /// The thread, to be unparked when a journal file has been closed.
    #[must_use]
    pub fn thread(&self) -> Thread {
        self.thread.thread().clone()
    }

    /// Ends the thread. A segment that is not finished is begun anew by the next process. Blocks until done.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the compactor ended early");
        }
    }
}

/// The thread's own state.
struct Background {
    work: Work,
    expiry: Expiry,
    max_bytes: u64,
    segments: bool,
    journal: Arc<Stats>,
    now: fn() -> Timestamp,
    failures: u32,
    /// Retention failed the last time, and the log says so.
    late: bool,
    /// There are more segments to write anew.
    more: bool,
    /// It had a turn.
    begun: bool,
    /// The day on which the book of tombstones was last tidied.
    tidied: Option<i64>,
}

impl Background {
    fn run(mut self) {
        // Linux: of this thread only. Without it the work is done all the same.
        if let Err(cause) = rustix::process::setpriority_process(None, NICE) {
            tracing::warn!(error = %io::Error::from(cause), "the compactor runs with normal priority");
        }
        while !self.work.stop.load(Relaxed) {
            let pause = match self.turn() {
                Ok(()) => {
                    self.failures = 0;
                    match (self.more, self.work.unsettled) {
                        (true, _) => Duration::ZERO,
                        (false, true) => self.work.settle,
                        (false, false) => LOOK_EVERY,
                    }
                }
                Err(SegmentError::Stopped) => break,
                Err(error) => self.failed(&error),
            };
            std::thread::park_timeout(pause);
        }
    }

    /// Works once, unless another process does: it may be another gateway, or a command that erases.
    fn turn(&mut self) -> Result<(), SegmentError> {
        let folder = self.work.folder()?;
        let Some(_sole) = Sole::try_take(&folder)? else { return Ok(()) };
        let now = (self.now)();
        // Whoever had the right before may not have ended well.
        self.work.sweep()?;
        let mut manifest = Manifest::read(&folder)?;
        let looked = self.expiry.is_due(now);
        // First, so that no segment is made of what is over.
        let expired = self.work.expire(&mut self.expiry, &mut manifest, now, &self.journal);
        self.told_expired(expired.err().as_ref());
        if let Err(error) = self.work.accounted() {
            // Blocks hide what is found; nothing else is touched.
            self.subjects(false).map_err(|error| SegmentError::Subject(Box::new(error)))?;
            return Err(error);
        }
        if self.segments {
            self.work.settle = settle(self.journal.journal_bytes.load(Relaxed), self.max_bytes);
            self.work.pass(&mut manifest, now)?;
        }
        self.work.retire(&mut manifest, now, (&self.expiry.terms, self.max_bytes), &self.journal)?;
        if looked || self.more {
            // After an error as well.
            self.more = true;
            self.more = self.work.drop_columns(&mut manifest, now)?;
        }
        self.subjects(true).map_err(|error| SegmentError::Subject(Box::new(error)))
    }

    /// Tells once that retention fails; it is tried again at the next turn.
    fn told_expired(&mut self, error: Option<&SegmentError>) {
        use std::error::Error as _;
        if let Some(error) = error {
            self.work.stats.retention_errors.fetch_add(1, Relaxed);
            if !self.late {
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "records whose time is over could not be destroyed; it is tried again");
            }
        }
        self.late = error.is_some();
    }

    /// Finishes blocks and erasures that were interrupted. The first time also those that were only just begun, and
    /// records that were erased before and have come back with a backup. Without `erases` segments stay as they are.
    fn subjects(&mut self, erases: bool) -> Result<(), SubjectError> {
        let (dir, keys) = (self.work.dir.clone(), Arc::clone(&self.work.keys));
        let found = finish_pending(&dir, &keys, !self.begun, self.now)?;
        if !erases {
            return Ok(());
        }
        for id in found {
            self.work.carry_out(id, self.now, &|_| Ok(()))?;
        }
        if !self.begun {
            self.work.erase_again(self.now)?;
        }
        self.begun = true;
        let today = (self.now)();
        if self.tidied != Some(today.day()) {
            let kept = Duration::from_secs(86_400 * u64::from(self.expiry.terms.longest()));
            tidy(&dir, today.minus(kept), today)?;
            self.tidied = Some(today.day());
        }
        Ok(())
    }

    /// Tells an error; how long to wait until the next attempt.
    fn failed(&mut self, error: &SegmentError) -> Duration {
        use std::error::Error as _;
        self.work.stats.errors.fetch_add(1, Relaxed);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let again_in = pause.as_secs();
        let what = match error {
            SegmentError::Subject(_) => {
                "a block or an erasure could not be finished; its records stay hidden"
            }
            SegmentError::Unlisted(_) => {
                "the manifest of the segments is not whole; they stay, and so does the journal"
            }
            _ => "journal files could not be made into segments; they stay",
        };
        tracing::error!(%error, cause, again_in, "{what}");
        pause
    }
}

/// How long a closed file stays. Where the journal has half of all room, not long: the files that come after it push it
/// out, and then its records are lost.
const fn settle(journal_bytes: u64, max_bytes: u64) -> Duration {
    if journal_bytes > max_bytes / 2 { PRESSED } else { SETTLE }
}

/// The lowest priority but one.
const NICE: i32 = 15;
/// How often closed files are looked for when nobody says that there is one.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a closed journal file stays: followers look at the files five times a second.
pub(super) const SETTLE: Duration = Duration::from_secs(2);
/// How long it stays when room is short: two looks of a follower.
const PRESSED: Duration = Duration::from_millis(400);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the journal would be full of files that only wait, and the oldest would go before it is a segment.
    #[test]
    fn a_closed_file_does_not_wait_long_when_room_is_short() {
        assert_eq!(settle(4 << 20, 8 << 20), SETTLE);
        assert_eq!(settle((4 << 20) + 1, 8 << 20), PRESSED);
        assert_eq!(settle(u64::MAX, u64::MAX), PRESSED);
    }
}
