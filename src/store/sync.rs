//! The syncer thread: everything about files that may take long, so that the writer never waits for it.
//!
//! It syncs what was written, at the latest `group_commit` after the first write; closes files that are full; keeps a
//! spare file and new keys for it ready, before midnight also those of the next day; removes files whose time is over.
//! After a failed fsync the file is never touched again: what it should have covered counts as lost. Never writes a
//! record. Bound: one entry per file that is not synced yet.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile};
use super::files;
use super::frame::{FRAME_HEAD_BYTES, Mark, encode_mark};
use super::recorder::{Lane, Shared};
use super::retention::{self, Limits};
use super::sealed::FileKeys;
use super::stats::{KindCounts, LossReason, Stats};
use super::visit;
use crate::clock::{Timestamp, monotonic};
use crate::seal::{Day, KeyError, KeyProvider};

/// A journal file of this instance.
pub(super) struct JournalFile {
    pub(super) disk: Box<dyn DiskFile>,
    pub(super) number: u32,
    /// It failed; it is neither written nor synced again.
    pub(super) abandoned: AtomicBool,
}

/// What was written to one file since its last sync.
pub(super) struct Dirty {
    file: Arc<JournalFile>,
    counts: KindCounts,
    marks: Vec<u64>,
    seq: u64,
}

/// A file that is full, and where it ends.
pub(super) struct Closed {
    pub(super) file: Arc<JournalFile>,
    pub(super) end: u64,
    /// How many frames there are.
    pub(super) frames: u32,
    pub(super) next_seq: u64,
    pub(super) ts: Timestamp,
}

#[derive(Default)]
struct State {
    dirty: Vec<Dirty>,
    /// When the oldest of them was written.
    since: Option<(Instant, Timestamp)>,
    urgent: bool,
    closed: Vec<Closed>,
    spare: Option<io::Result<Arc<JournalFile>>>,
    spare_wanted: bool,
    next_number: u32,
    /// Keys that are ready: for today, and shortly before midnight for tomorrow.
    keys: Vec<FileKeys>,
    /// Keys that were begun to be made before this changed are not used.
    keys_epoch: u64,
    /// The day whose keys are to be made.
    keys_wanted: Option<Day>,
    /// The writer waits for them; why they could not be made.
    keys_failed: Option<KeyError>,
    keys_awaited: bool,
    stop: bool,
}

/// What the writer leaves for the syncer.
#[derive(Default)]
pub(super) struct SyncQueue {
    state: Mutex<State>,
    changed: Condvar,
}

impl SyncQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first file and its keys, made at the start.
    pub(super) fn put_first(&self, disk: Box<dyn DiskFile>, keys: FileKeys) {
        let mut state = self.lock();
        state.keys.push(keys);
        state.spare = Some(Ok(Arc::new(JournalFile { disk, number: 0, abandoned: AtomicBool::new(false) })));
        state.next_number = 1;
    }

    /// A batch has been written: so many records by kind, up to these marks per worker and this `seq`.
    pub(super) fn wrote(
        &self,
        file: &Arc<JournalFile>,
        counts: &KindCounts,
        (marks, seq): (&[u64], u64),
        (ts, urgent): (Timestamp, bool),
        stats: &Stats,
    ) {
        let mut state = self.lock();
        stats.unsynced_since(ts);
        match state.dirty.last_mut().filter(|d| Arc::ptr_eq(&d.file, file)) {
            Some(dirty) => {
                dirty.counts.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
                dirty.marks.copy_from_slice(marks);
                dirty.seq = seq;
            }
            None => {
                let marks = marks.to_vec();
                state.dirty.push(Dirty { file: file.clone(), counts: *counts, marks, seq });
            }
        }
        let first = state.since.is_none();
        state.since.get_or_insert_with(|| (monotonic(), ts));
        state.urgent |= urgent;
        drop(state);
        if first || urgent {
            self.changed.notify_all();
        }
    }

    /// The writer is done with a file.
    pub(super) fn close(&self, closed: Closed) {
        self.lock().closed.push(closed);
        self.changed.notify_all();
    }

    /// The spare file; waits until the syncer has made it, and asks for the next.
    pub(super) fn take_spare(&self) -> io::Result<Arc<JournalFile>> {
        let mut state = self.lock();
        loop {
            if let Some(spare) = state.spare.take() {
                state.spare_wanted = true;
                drop(state);
                self.changed.notify_all();
                return spare;
            }
            state.spare_wanted = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// New keys for a file of that day; waits until the syncer has made them, and asks for the next.
    pub(super) fn take_keys(&self, day: Day) -> Result<FileKeys, KeyError> {
        let mut state = self.lock();
        loop {
            state.keys_wanted = Some(day);
            self.changed.notify_all();
            // Days do not come back: keys that were made ahead for one that passed unused are dropped.
            state.keys.retain(|keys| keys.day() >= day);
            if let Some(at) = state.keys.iter().position(|keys| keys.day() == day) {
                state.keys_awaited = false;
                return Ok(state.keys.swap_remove(at));
            }
            if let Some(error) = state.keys_failed.take() {
                state.keys_awaited = false;
                return Err(error);
            }
            state.keys_awaited = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets the keys that are ready: newer ones are to be used from now on.
    pub(super) fn forget_keys(&self) {
        let mut state = self.lock();
        state.keys.clear();
        state.keys_epoch += 1;
    }

    /// Syncs everything and ends the thread.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }
}

/// The thread's own state.
pub(super) struct Syncer {
    pub(super) queue: Arc<SyncQueue>,
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) keys: Arc<dyn KeyProvider>,
    /// The data folder, and the journal in it.
    pub(super) dir: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) instance: u32,
    pub(super) group_commit: Duration,
    pub(super) limits: Limits,
    pub(super) swept: Instant,
    /// The last attempt to make a spare file failed, and the log says so.
    pub(super) spare_failed: bool,
}

impl Syncer {
    /// Works until [`SyncQueue::stop`]; `true` when the last of what was written is on the disk.
    pub(super) fn run(mut self) -> bool {
        loop {
            let Work { dirty, closed, make_spare, make_keys, stop } = self.wait();
            let clean = self.sync(&dirty);
            for file in &closed {
                self.close(file);
            }
            if let Some(compactor) = self.shared.compactor.get().filter(|_| !closed.is_empty()) {
                compactor.unpark();
            }
            if let Some(day) = make_keys.filter(|_| !stop) {
                self.make_keys(day);
            }
            if make_spare && !stop {
                self.make_spare();
            }
            // Not at the end: nobody could tell any more what goes.
            if !stop && (!closed.is_empty() || self.swept.elapsed() >= SWEEP_EVERY) {
                self.swept = monotonic();
                let (of, now) = ((self.dir.as_path(), &self.keys), (self.shared.now)());
                retention::expire(of, now, &self.limits, &self.shared.stats);
                self.shared.stats.count_keys(&*self.keys);
                // Before midnight, so that the writer need not wait for them then.
                self.make_keys(Day::of((self.shared.now)().plus(2 * SWEEP_EVERY)));
            }
            if stop {
                self.drop_spare();
                return clean;
            }
        }
    }

    fn wait(&self) -> Work {
        let mut state = self.queue.lock();
        loop {
            let due = state.since.map(|(since, _)| self.group_commit.saturating_sub(since.elapsed()));
            let make_spare = state.spare_wanted && state.spare.is_none();
            let sync = state.urgent || state.stop || due == Some(Duration::ZERO);
            let make_keys = state.keys_wanted.take();
            if sync
                || make_spare
                || make_keys.is_some()
                || !state.closed.is_empty()
                || self.swept.elapsed() >= SWEEP_EVERY
            {
                // A closed file must be synced before it is closed.
                let take = sync || !state.closed.is_empty();
                let dirty = if take { std::mem::take(&mut state.dirty) } else { Vec::new() };
                if take {
                    state.urgent = false;
                    state.since = None;
                }
                let closed = std::mem::take(&mut state.closed);
                return Work { dirty, closed, make_spare, make_keys, stop: state.stop };
            }
            let timeout = due.unwrap_or(SWEEP_EVERY);
            let waited = self.queue.changed.wait_timeout(state, timeout);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Syncs file by file and moves the marks; `false` when something was lost.
    fn sync(&self, dirty: &[Dirty]) -> bool {
        let mut clean = true;
        for part in dirty {
            let begun = monotonic();
            let failed = part.file.abandoned.load(SeqCst).then(|| io::Error::other("given up before"));
            let result = failed.map_or_else(|| synced(&*part.file.disk), Err);
            self.shared.stats.fsync.observe(begun.elapsed());
            if let Err(cause) = &result {
                clean = false;
                part.file.abandoned.store(true, SeqCst);
                self.shared.stats.lose_all(&part.counts, LossReason::FsyncError, (self.shared.now)());
                self.shared.stats.fsync_errors.fetch_add(1, Relaxed);
                tracing::error!(file = part.file.number, error = %cause, "a journal file is not on the disk and is given up: its last records are lost");
            }
            for (lane, mark) in self.lanes.iter().zip(&part.marks) {
                if result.is_err() {
                    lane.lose(lane.synced.load(SeqCst), *mark);
                }
                lane.synced.store(*mark, SeqCst);
            }
            self.shared.stats.synced(if result.is_ok() { part.seq } else { 0 });
        }
        let state = self.queue.lock();
        self.shared.stats.oldest_unsynced_is(state.since.map(|(_, ts)| ts));
        drop(state);
        if !dirty.is_empty() {
            self.lanes.iter().for_each(|lane| lane.wake());
        }
        if !clean {
            // A gap has to be told even if no request comes.
            self.shared.wake_writer();
        }
        clean
    }

    /// Marks the end and gives the reserved room back. Without it the file stays readable; recovery would look again.
    fn close(&self, closed: &Closed) {
        if closed.file.abandoned.load(SeqCst) {
            return;
        }
        if let Err(cause) = write_end(closed, Mark::End) {
            self.shared.stats.file_errors.fetch_add(1, Relaxed);
            tracing::warn!(file = closed.file.number, error = %cause, "the file could not be closed");
        }
    }

    /// Makes keys for a day unless there are some.
    fn make_keys(&self, day: Day) {
        let state = self.queue.lock();
        if state.keys.iter().any(|keys| keys.day() == day) {
            return;
        }
        let epoch = state.keys_epoch;
        drop(state);
        let made = FileKeys::make(&*self.keys, day);
        if let Err(error) = visit::prepare(&self.dir, &*self.keys, day) {
            self.shared.stats.key_errors.fetch_add(1, Relaxed);
            tracing::warn!(%error, "the key of the day's visit tags could not be made");
        }
        let mut state = self.queue.lock();
        match made {
            Ok(_) if state.keys_epoch != epoch => state.keys_wanted = Some(day),
            Ok(keys) => state.keys.push(keys),
            Err(error) => {
                self.shared.stats.key_errors.fetch_add(1, Relaxed);
                if state.keys_awaited {
                    state.keys_failed = Some(error);
                } else {
                    tracing::warn!(%error, "the keys of the next journal file could not be made ahead");
                }
            }
        }
        drop(state);
        self.queue.changed.notify_all();
        self.shared.stats.count_keys(&*self.keys);
    }

    fn make_spare(&mut self) {
        let number = self.queue.lock().next_number;
        let made =
            self.disk.create(&files::path(&self.folder, self.instance, number), self.limits.file_bytes);
        let mut state = self.queue.lock();
        state.spare_wanted = false;
        if made.is_ok() {
            state.next_number += 1;
            self.shared.stats.files.fetch_add(1, Relaxed);
        }
        if let Err(cause) = &made {
            self.shared.stats.file_errors.fetch_add(1, Relaxed);
            // Asked for with every batch while the disk is full: told once, or the log would fill what is left of it.
            if !self.spare_failed {
                tracing::warn!(error = %cause, "no spare journal file could be made; records are lost until it can");
            }
        }
        self.spare_failed = made.is_err();
        state.spare =
            Some(made.map(|disk| Arc::new(JournalFile { disk, number, abandoned: AtomicBool::new(false) })));
        drop(state);
        self.queue.changed.notify_all();
    }

    /// Removes the spare: nothing is in it.
    fn drop_spare(&self) {
        if let Some(Ok(spare)) = self.queue.lock().spare.take() {
            let path = files::path(&self.folder, self.instance, spare.number);
            if let Err(cause) = std::fs::remove_file(&path).and_then(|()| super::disk::sync_folder(&path)) {
                self.shared.stats.file_errors.fetch_add(1, Relaxed);
                tracing::warn!(error = %cause, "the spare journal file could not be removed");
            }
        }
    }
}

/// Brings a file to the disk. One that somebody removed, with the folder of the records perhaps, still takes everything and
/// is nowhere: what is written to it is lost.
fn synced(disk: &dyn DiskFile) -> io::Result<()> {
    disk.sync()?;
    if disk.is_removed()? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed while it was written"));
    }
    Ok(())
}

/// What there is to do.
struct Work {
    dirty: Vec<Dirty>,
    closed: Vec<Closed>,
    make_spare: bool,
    make_keys: Option<Day>,
    stop: bool,
}

/// Writes an end mark, cuts the file behind it, and syncs.
pub(super) fn write_end(closed: &Closed, mark: Mark) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(FRAME_HEAD_BYTES);
    encode_mark(mark, closed.frames, closed.next_seq, closed.ts, &mut bytes);
    write_all(&*closed.file.disk, &bytes, closed.end)?;
    closed.file.disk.set_len(closed.end + bytes.len() as u64)?;
    closed.file.disk.sync()
}

/// Writes everything, in one call where the disk takes it.
pub(super) fn write_all(disk: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

/// How often old files are looked for when none is closed.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
