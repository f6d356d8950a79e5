//! The compactor's thread: wakes when a journal file is closed, makes segments, removes old ones.
//!
//! It runs with lowered priority, outside the runtime, and shares nothing with the journal's writer but the disk. Of
//! two processes on one folder the one that holds the lock file works; the other waits for it. After an error it tries
//! again, later each time. Never stops the gateway. Bound: one segment at a time.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::SegmentError;
use super::compact::Work;
use super::retire::Kept;
use super::stats::SegmentStats;
use super::step::NoFaults;
use crate::clock::Timestamp;
use crate::seal::KeyProvider;
use crate::store::enrich::Complete;
use crate::store::stats::Stats;

/// How segments are made and kept.
#[derive(Clone, Debug)]
pub struct CompactorOptions {
    /// The data folder.
    pub dir: PathBuf,
    /// Days that segments are kept, counted after their last day.
    pub retention_days: u32,
    /// Bytes of journal and segments together; beyond it the oldest segment goes.
    pub max_bytes: u64,
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
        let kept = Kept { days: options.retention_days, bytes: options.max_bytes };
        let work = Work {
            dir: options.dir,
            keys,
            stats: Arc::clone(&stats),
            stop: Arc::clone(&stop),
            faults: Box::new(NoFaults),
            settle: SETTLE,
            unsettled: false,
            damaged: BTreeSet::new(),
            complete,
        };
        let background = Background { work, kept, journal, now, lock: None, failures: 0 };
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
    kept: Kept,
    journal: Arc<Stats>,
    now: fn() -> Timestamp,
    lock: Option<File>,
    failures: u32,
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
                    if self.work.unsettled { SETTLE } else { LOOK_EVERY }
                }
                Err(SegmentError::Stopped) => break,
                Err(error) => self.failed(&error),
            };
            std::thread::park_timeout(pause);
        }
    }

    fn turn(&mut self) -> Result<(), SegmentError> {
        if !self.locked()? {
            return Ok(());
        }
        let now = (self.now)();
        self.work.pass(now)?;
        self.work.retire(now, self.kept, &self.journal)
    }

    /// Takes the lock if nobody has it, and cleans up after whoever had it.
    fn locked(&mut self) -> Result<bool, SegmentError> {
        if self.lock.is_some() {
            return Ok(true);
        }
        let path = self.work.folder()?.join("compactor.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(cause)) => return Err(cause.into()),
        }
        self.work.sweep()?;
        self.lock = Some(file);
        Ok(true)
    }

    /// Tells an error; how long to wait until the next attempt.
    fn failed(&mut self, error: &SegmentError) -> Duration {
        use std::error::Error as _;
        self.work.stats.errors.fetch_add(1, Relaxed);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let again_in = pause.as_secs();
        tracing::error!(%error, cause, again_in, "journal files could not be made into segments; they stay");
        pause
    }
}

/// The lowest priority but one.
const NICE: i32 = 15;
/// How often closed files are looked for when nobody says that there is one.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a closed journal file stays: followers look at the files five times a second.
const SETTLE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
