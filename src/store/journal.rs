//! Starts and stops the journal of one process.
//!
//! [`Journal::start`] recovers what a killed process left, takes an instance number, makes the first file and starts
//! two threads; it hands out one [`RecorderHandle`] per worker. Start-up fails only when the folder cannot be written.
//! Never shares a file with another process. Bound: see [`JournalOptions`].

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::{Disk, OsDisk};
use super::enrich::{Enrich, Enriched};
use super::files;
use super::gap::Note;
use super::lock::{Claim, Starting};
use super::recorder::{Lane, RecorderHandle, Shared};
use super::recovery;
use super::retention::{self, Limits};
use super::ring::ring;
use super::sealed::FileKeys;
use super::stats::Stats;
use super::subjects::{Board, Linking, Tagger, Watch, Watched};
use super::sync::{SyncQueue, Syncer};
use super::terms::Terms;
use super::visit::{self, VisitTags};
use super::writer::{Ended, Writer};
use crate::agents::Agents;
use crate::clock::{Timestamp, monotonic};
use crate::config::{Durability, Records};
use crate::record::event::RECORD_BYTES;
use crate::seal::{Day, KeyError, KeyProvider, LocalKeys};

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Data folder; the journal lies in `journal/` below it.
    pub dir: PathBuf,
    /// Folder of the keys that seal it.
    pub keys_dir: PathBuf,
    /// What a ticket waits for.
    pub durability: Durability,
    /// Longest time from a write to its fsync.
    pub group_commit: Duration,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// How long one file is written; also closed at midnight UTC.
    pub rotate_after: Duration,
    /// Bytes of each worker's ring; at least two of the largest records are taken.
    pub ring_bytes: usize,
    /// Bytes of all files; the oldest closed file goes first.
    pub max_bytes: u64,
    /// How long records are kept: what is held does not go for want of room. The compactor's thread removes what is
    /// over.
    pub terms: Terms,
    /// How long a record is held when the ring or the disk is full, before it is shed and counted.
    pub hold: Duration,
    /// Name of this node.
    pub node: String,
    /// How many workers record.
    pub workers: usize,
}

impl JournalOptions {
    /// The options that the configuration gives.
    #[must_use]
    pub fn from_config(records: &Records, workers: usize) -> Self {
        Self {
            dir: records.dir.clone(),
            keys_dir: records.keys_dir(),
            durability: records.durability,
            group_commit: records.group_commit,
            file_bytes: records.file_bytes,
            rotate_after: records.segment_time().unwrap_or(Duration::MAX),
            ring_bytes: records.ring_bytes,
            max_bytes: records.max_bytes,
            terms: Terms::from_config(records),
            hold: records.hold,
            node: records.node.clone(),
            workers,
        }
    }
}

/// Why a journal cannot be started. Damage left by an earlier run is never a reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be made or read.
    #[error("the journal folder cannot be used")]
    Folder(#[source] io::Error),
    /// The keys cannot be made or read: without them nothing may be written.
    #[error("the keys that seal records cannot be used")]
    Keys(#[source] KeyError),
    /// The instance number cannot be taken.
    #[error("the journal's instance number cannot be taken")]
    Claim(#[source] io::Error),
    /// There is no room for the first file, or no permission.
    #[error("the first journal file cannot be made")]
    File(#[source] io::Error),
    /// A thread cannot be started.
    #[error("a journal thread cannot be started")]
    Thread(#[source] io::Error),
}

/// The running journal. Dropping it without [`Journal::stop`] is an unclean stop.
pub struct Journal {
    shared: Arc<Shared>,
    queue: Arc<SyncQueue>,
    lanes: Vec<Arc<Lane>>,
    keys: Arc<dyn KeyProvider>,
    writer: JoinHandle<Ended>,
    syncer: JoinHandle<bool>,
    watch: JoinHandle<bool>,
    claim: Claim,
}

impl Journal {
    /// Starts the journal; one handle per worker. `now` is the wall clock.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        options: JournalOptions,
        now: fn() -> Timestamp,
    ) -> Result<(Self, Vec<RecorderHandle>), StartError> {
        Self::start_enriched(options, now, Box::new(Agents::built_in()))
    }

    /// [`Self::start`] with something else to add to the records before they are written.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_enriched(
        options: JournalOptions,
        now: fn() -> Timestamp,
        enrich: Box<dyn Enrich>,
    ) -> Result<(Self, Vec<RecorderHandle>), StartError> {
        let keys = LocalKeys::prepare(&options.keys_dir).map_err(StartError::Keys)?.of_records(&options.dir);
        Self::start_with(Arc::new(OsDisk), Arc::new(keys), options, now, enrich)
    }

    /// [`Self::start`] on a given disk, with a given keeper of keys.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_on(
        disk: Arc<dyn Disk>,
        keys: Arc<dyn KeyProvider>,
        options: JournalOptions,
        now: fn() -> Timestamp,
    ) -> Result<(Self, Vec<RecorderHandle>), StartError> {
        Self::start_with(disk, keys, options, now, Box::new(Agents::built_in()))
    }

    /// [`Self::start_on`] with something else to add to the records before they are written.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with(
        disk: Arc<dyn Disk>,
        keys: Arc<dyn KeyProvider>,
        options: JournalOptions,
        now: fn() -> Timestamp,
        enrich: Box<dyn Enrich>,
    ) -> Result<(Self, Vec<RecorderHandle>), StartError> {
        let stats = Arc::new(Stats::default());
        let limits = Limits {
            file_bytes: options.file_bytes,
            max_bytes: options.max_bytes,
            terms: options.terms.clone(),
        };
        // First, so that a start without keys changes nothing.
        let first_keys = FileKeys::make(&*keys, Day::of(now())).map_err(StartError::Keys)?;
        stats.count_keys(&*keys);
        if let Err(error) = visit::prepare(&options.dir, &*keys, Day::of(now())) {
            tracing::warn!(%error, "the key of today's visit tags could not be made");
        }
        let folder = options.dir.join(FOLDER);
        let tagger = Tagger::new(&*keys).map_err(StartError::Keys)?;
        tell_lost(&tagger, &stats);
        let (claim, notes) = claim(&folder, &stats, now())?;
        // After the number was taken: who blocks somebody asks whoever has a number, and the others read this.
        let watched = Watched::begin(&options.dir, Arc::clone(&keys));
        let board = watched.board();
        retention::expire((&options.dir, &keys), now(), &limits, &stats);
        let queue = Arc::new(SyncQueue::default());
        let first = disk.create(&files::path(&folder, claim.instance, 0), limits.file_bytes);
        queue.put_first(first.map_err(StartError::File)?, first_keys);
        let shared = Arc::new(Shared {
            stats,
            durability: options.durability,
            hold: options.hold,
            now,
            closed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            writer: OnceLock::new(),
            board: Arc::clone(&board),
            compactor: OnceLock::new(),
        });
        let (handles, rings) = lanes(&options, &shared);
        let lanes: Vec<_> = handles.iter().map(|h| h.lane.clone()).collect();
        let syncer = Syncer {
            queue: queue.clone(),
            shared: shared.clone(),
            lanes: lanes.clone(),
            disk,
            keys: keys.clone(),
            dir: options.dir.clone(),
            folder,
            instance: claim.instance,
            group_commit: options.group_commit,
            limits,
            swept: monotonic(),
            spare_failed: false,
        };
        let writer = Writer::new(
            (rings, lanes.clone()),
            (shared.clone(), queue.clone()),
            (options.node, options.file_bytes, options.rotate_after),
            (claim.instance, claim.first_seq()),
            notes,
            Enriched::by(enrich, VisitTags::of(options.dir, Arc::clone(&keys)), Linking::new(tagger, board)),
        );
        let watch = Watch { watched, shared: shared.clone(), queue: queue.clone(), instance: claim.instance };
        let syncer = spawn("journal-sync", || syncer.run())?;
        let writer = match spawn("journal-write", || writer.run()) {
            Ok(writer) => writer,
            Err(cause) => {
                queue.stop();
                return Err(cause);
            }
        };
        // Set once, here.
        let _ = shared.writer.set(writer.thread().clone());
        let watch = match spawn("subjects", || watch.run()) {
            Ok(watch) => watch,
            Err(cause) => {
                shared.closed.store(true, SeqCst);
                queue.stop();
                return Err(cause);
            }
        };
        Ok((Self { shared, queue, lanes, keys, writer, syncer, watch, claim }, handles))
    }

    /// Figures for metrics; may be kept and read by any thread.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.shared.stats.clone()
    }

    /// What is known of the blocked; for metrics.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        self.shared.board.clone()
    }

    /// The keys that seal what is written.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyProvider> {
        self.keys.clone()
    }

    /// Unparks that thread whenever a file has been closed. The first one that is named stays.
    pub fn tell_closed(&self, thread: std::thread::Thread) {
        // Named once, at the start.
        let _ = self.shared.compactor.set(thread);
    }

    /// The instance number: all its `seq` lie between `number << 40` and the next.
    #[must_use]
    pub const fn instance(&self) -> u32 {
        self.claim.instance
    }

    /// Takes nothing more, writes and syncs what was taken, and marks the clean stop. Blocks until done: call it when
    /// the workers have ended. `false` when the stop is not clean; the next start will say so in a gap record.
    pub fn stop(self) -> bool {
        self.shared.closed.store(true, SeqCst);
        self.writer.thread().unpark();
        self.watch.thread().unpark();
        let written = self.writer.join().ok();
        self.queue.stop();
        let synced = self.syncer.join().unwrap_or(false);
        self.shared.finished.store(true, SeqCst);
        if self.watch.join().is_err() {
            tracing::error!("the thread that watches for blocks ended early");
        }
        self.lanes.iter().for_each(|lane| lane.wake_always());
        // Without it nobody knows what is lost: the start after this one says so.
        let Some(written) = written else { return false };
        let clean = written.clean && synced;
        let untold = written.untold(&self.shared.stats);
        let all = clean && untold.is_empty();
        let marked = if all { self.claim.release() } else { leave(self.claim, &untold) };
        if let Err(cause) = &marked {
            tracing::error!(error = %cause, "the stop could not be marked");
        }
        clean && marked.is_ok()
    }
}

/// Leaves what no gap record tells to the next start.
fn leave(claim: Claim, untold: &[Note]) -> io::Result<()> {
    let records = untold.iter().filter_map(|note| note.count).fold(0, u64::saturating_add);
    tracing::warn!(records, "lost records could not be told in a gap record: the next start tells them");
    claim.leave(untold)
}

/// Recovers the dead and takes a number, while nobody else starts.
fn claim(folder: &std::path::Path, stats: &Stats, now: Timestamp) -> Result<(Claim, Vec<Note>), StartError> {
    super::disk::private_folder(folder).map_err(StartError::Folder)?;
    let starting = Starting::enter(folder).map_err(StartError::Claim)?;
    let notes = recovery::recover_all(&starting, folder, stats, now);
    Ok((starting.claim().map_err(StartError::Claim)?, notes))
}

/// Says at every start that records cannot be found by person any more; the gauge says so until the key is back.
fn tell_lost(tagger: &Tagger, stats: &Stats) {
    let lost = tagger.lost();
    stats.lost_subject_keys.store(lost.len() as u64, Relaxed);
    if !lost.is_empty() {
        tracing::error!(
            versions = ?lost,
            "versions of the subject key are missing: records that were made with them are found for nobody; put keys/lasting back from a backup of the keys"
        );
    }
}

fn lanes(
    options: &JournalOptions,
    shared: &Arc<Shared>,
) -> (Vec<RecorderHandle>, Vec<super::ring::RingReader>) {
    let bytes = options.ring_bytes.max(2 * RECORD_BYTES);
    let lane = |_| {
        let (writer, reader) = ring(bytes);
        (RecorderHandle { lane: Arc::default(), shared: shared.clone(), ring: writer }, reader)
    };
    (0..options.workers).map(lane).unzip()
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)
}

/// The folder of the journal inside the data folder.
pub const FOLDER: &str = "journal";
