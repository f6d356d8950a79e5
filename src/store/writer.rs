//! The writer thread: takes what lies in all rings, numbers it, seals it, writes it in one piece, and tells the workers.
//!
//! One frame and one write per batch. `ts` never decreases along `seq`; a file holds one UTC day. What cannot be
//! written is retried for `hold`, then shed and counted; a gap record is first in the next successful write. After a
//! batch of many it rests for [`PAUSE`]. Never waits for an fsync, except that a new file may have to be made; never
//! hands plain bytes to a disk. Bound: [`BATCH_BYTES`] per batch, or one record of each worker.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};
use std::time::Duration;

use super::enrich::Enriched;
use super::frame::{FrameBuilder, Mark};
use super::gap::{self, Note};
use super::head::FileHead;
use super::recorder::{Lane, Shared, wants_sync};
use super::ring::RingReader;
use super::sealed::Sealer;
use super::stats::{Gap, KindCounts, LossReason, Reported, Stats};
use super::sync::{Closed, JournalFile, SyncQueue, write_all, write_end};
use crate::clock::{Timestamp, monotonic};
use crate::config::Durability;
use crate::record::Kind;
use crate::record::event::{Encoded, RECORD_BYTES};
use crate::seal::{Day, KeyError};

/// The file that is written, how far, and what seals it.
struct Active {
    file: Arc<JournalFile>,
    end: u64,
    /// Frames that are whole.
    frames: u32,
    begun: Timestamp,
    sealer: Sealer,
}

impl Active {
    /// Whether its time is over: its day, or how long a file may be written.
    fn is_old(&self, now: Timestamp, rotate_after: Duration) -> bool {
        self.begun.day() != now.day() || now.since(self.begun) >= rotate_after
    }
}

/// The thread's own state.
pub(super) struct Writer {
    rings: Vec<RingReader>,
    lanes: Vec<Arc<Lane>>,
    shared: Arc<Shared>,
    queue: Arc<SyncQueue>,
    node: String,
    instance: u32,
    file_bytes: u64,
    rotate_after: Duration,
    active: Option<Active>,
    /// A file whose first write failed: kept for the next attempt, or a broken disk would fill up with empty files.
    unbegun: Option<Arc<JournalFile>>,
    next_seq: u64,
    last_ts: Timestamp,
    /// Records taken from each ring since the start.
    taken: Vec<u64>,
    reported: Reported,
    notes: Vec<Note>,
    failing: bool,
    builder: FrameBuilder,
    enriched: Enriched,
    /// Files with lower numbers are not written any more.
    left: u64,
    frame: Vec<u8>,
    /// Records in the last batch that was written.
    last_batch: u64,
}

/// How the thread ended.
pub(super) struct Ended {
    /// The stop mark is on the disk, and every gap is told.
    pub(super) clean: bool,
    reported: Reported,
    notes: Vec<Note>,
}

impl Ended {
    /// What no gap record tells. The syncer has ended as well: what it gave up counts.
    pub(super) fn untold(mut self, stats: &Stats) -> Vec<Note> {
        let gaps = self.reported.open(stats).map(|gap| Note::from(&gap));
        gaps.chain(stats.take_again()).for_each(|note| gap::join(&mut self.notes, &note));
        self.notes
    }
}

/// What the current batch holds.
struct Batch {
    ts: Timestamp,
    /// Handed over by workers.
    counts: KindCounts,
    gaps: Vec<Gap>,
    urgent: bool,
}

impl Writer {
    /// A writer that begins with `first_seq` and has `notes` to tell.
    pub(super) fn new(
        (rings, lanes): (Vec<RingReader>, Vec<Arc<Lane>>),
        (shared, queue): (Arc<Shared>, Arc<SyncQueue>),
        (node, file_bytes, rotate_after): (String, u64, Duration),
        (instance, first_seq): (u32, u64),
        notes: Vec<Note>,
        enriched: Enriched,
    ) -> Self {
        let taken = vec![0; rings.len()];
        Self {
            rings,
            lanes,
            shared,
            queue,
            node,
            instance,
            file_bytes,
            rotate_after,
            active: None,
            unbegun: None,
            next_seq: first_seq,
            last_ts: Timestamp::default(),
            taken,
            reported: Reported::default(),
            notes,
            failing: false,
            builder: FrameBuilder::default(),
            enriched,
            left: 0,
            frame: Vec::new(),
            last_batch: 0,
        }
    }

    /// Works until the journal is closed and the rings are empty.
    pub(super) fn run(mut self) -> Ended {
        loop {
            // Before the rings are looked at: what comes in after it was set is refused.
            let closed = self.shared.closed.load(SeqCst);
            self.adopt();
            let nothing = self.waiting_bytes() == 0;
            if nothing && !self.has_gaps() {
                if closed {
                    return self.finish();
                }
                self.leave_old_file();
                self.sleep();
            } else {
                let written = self.write_batch();
                if !written && nothing {
                    if closed {
                        return self.finish();
                    }
                    // Only gaps, and the disk does not take them: not in a hurry.
                    self.sleep();
                } else if written && !closed {
                    self.rest();
                }
            }
        }
    }

    /// Takes a new list of the blocked. All that was written before can be read; a file that may hold records which are
    /// to be erased is left.
    fn adopt(&mut self) {
        let Some((version, erases)) = self.enriched.adopt() else { return };
        if erases {
            self.leave_file();
        }
        self.shared.board.saw(version, self.left);
    }

    /// What lies in all rings, in bytes.
    fn waiting_bytes(&self) -> usize {
        let fill = self.rings.iter().map(RingReader::fill).sum();
        self.shared.stats.ring_bytes.store(fill as u64, Relaxed);
        fill
    }

    fn has_gaps(&self) -> bool {
        let stats = &self.shared.stats;
        !self.notes.is_empty() || stats.tells_again() || self.reported.open(stats).next().is_some()
    }

    /// Sleeps until a worker has something. The timeout only bounds what a missing wake-up could cost.
    fn sleep(&self) {
        self.shared.sleeping.store(true, SeqCst);
        fence(SeqCst);
        if self.rings.iter().all(|ring| ring.fill() == 0) && !self.shared.closed.load(SeqCst) {
            std::thread::park_timeout(IDLE);
        }
        self.shared.sleeping.store(false, SeqCst);
    }

    /// After a batch of many, lets the next grow: a batch costs the same few system calls and switches of threads for
    /// one record and for many, and no worker has to wake a writer that wakes by itself. A trickle is never held up, and
    /// a ring is never left to fill.
    fn rest(&self) {
        if self.last_batch >= MANY && self.rings.iter().all(RingReader::has_room) {
            self.shared.stats.pauses.fetch_add(1, Relaxed);
            std::thread::sleep(PAUSE);
        }
    }

    /// Writes the batch and tells the workers; `false` when it is lost.
    fn write_batch(&mut self) -> bool {
        let batch = self.build();
        let begun = monotonic();
        let result = self.write_or_hold(batch.ts);
        self.shared.stats.write.observe(begun.elapsed());
        match result {
            Ok(()) => self.written(&batch),
            Err(cause) => self.lose(&batch, &cause),
        }
        self.lanes.iter().for_each(|lane| lane.wake());
        !self.failing
    }

    /// Builds the frame: gaps first, then the records.
    fn build(&mut self) -> Batch {
        let ts = (self.shared.now)().max(self.last_ts);
        let urgent = self.shared.durability == Durability::Fsync;
        let gaps: Vec<Gap> = self.reported.open(&self.shared.stats).collect();
        self.builder.clear();
        let mut scratch = Vec::new();
        if self.shared.stats.tells_again() {
            self.shared.stats.take_again().iter().for_each(|note| gap::join(&mut self.notes, note));
        }
        for note in gaps.iter().map(Note::from).chain(self.notes.iter().copied()) {
            gap::put(&mut self.builder, &mut scratch, &note);
        }
        let mut batch = Batch { ts, counts: KindCounts::default(), gaps, urgent };
        self.enriched.begin(&self.shared.stats, Day::of(ts));
        self.drain(&mut batch);
        batch
    }

    /// Moves records from the rings into the frame, a fair part of each.
    fn drain(&mut self, batch: &mut Batch) {
        let share = (BATCH_BYTES / self.rings.len().max(1)).max(RECORD_BYTES);
        for (ring, taken) in self.rings.iter_mut().zip(&mut self.taken) {
            ring.drain(share, |bytes| {
                *taken += 1;
                let Some((record, _)) = Encoded::take(bytes) else { return };
                self.builder.push(&record, self.enriched.added(&record));
                batch.counts[record.kind as usize] += 1;
                batch.urgent |= wants_sync(record.kind);
            });
        }
    }

    /// Tries the current file, then a new one, then waits a little and tries again, for `hold`.
    fn write_or_hold(&mut self, ts: Timestamp) -> io::Result<()> {
        let deadline = monotonic() + if self.failing { Duration::ZERO } else { self.shared.hold };
        loop {
            let Err(cause) = self.try_write(ts) else { return Ok(()) };
            // A second file may have room: the spare is there for this.
            let cause = match self.try_write(ts) {
                Ok(()) => return Ok(()),
                Err(again) if again.kind() == cause.kind() => again,
                Err(_) => cause,
            };
            if monotonic() >= deadline {
                return Err(cause);
            }
            std::thread::sleep(RETRY_EVERY);
        }
    }

    /// One attempt; on failure the file is left behind, cut back to its last good frame.
    fn try_write(&mut self, ts: Timestamp) -> io::Result<()> {
        let frame_bytes = self.builder.frame_bytes() as u64;
        let fits = |a: &Active| {
            let room = a.end + frame_bytes <= self.file_bytes;
            room && !a.is_old(ts, self.rotate_after) && !a.file.abandoned.load(SeqCst)
        };
        if self.active.as_ref().is_some_and(|a| !fits(a)) {
            self.leave_file();
        }
        let mut active = match self.active.take() {
            Some(active) => {
                self.frame.clear();
                active
            }
            None => self.begin(ts)?,
        };
        let sealed = self.builder.finish(&mut active.sealer, (self.next_seq, ts), &mut self.frame);
        let result = match sealed {
            Ok(()) => write_all(&*active.file.disk, &self.frame, active.end),
            Err(error) => Err(self.unsealed(error)),
        };
        if result.is_ok() {
            active.end += self.frame.len() as u64;
            active.frames += 1;
        }
        self.active = Some(active);
        if result.is_err() {
            self.cut_back();
        }
        result
    }

    /// A new file with new keys; its head waits in `frame` for the first batch.
    fn begin(&mut self, ts: Timestamp) -> io::Result<Active> {
        let keys = self.queue.take_keys(Day::of(ts)).map_err(|error| self.unsealed(error))?;
        let file = match self.unbegun.take() {
            Some(file) => file,
            None => self.queue.take_spare()?,
        };
        let mut head = FileHead::new(ts, (self.instance, file.number), self.next_seq, &self.node);
        let sealer = keys.seal_file(&mut head);
        self.frame.clear();
        head.encode(&mut self.frame);
        Ok(Active { file, end: 0, frames: 0, begun: ts, sealer })
    }

    /// Counts that something could not be sealed, or keys were not to be had.
    fn unsealed(&self, error: KeyError) -> io::Error {
        self.shared.stats.seal_errors.fetch_add(1, Relaxed);
        let kind = match &error {
            KeyError::Folder { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }

    /// After a failed write: no byte behind the last good frame may stay.
    fn cut_back(&mut self) {
        let Some(active) = &self.active else { return };
        if let Err(cause) = active.file.disk.set_len(active.end) {
            tracing::warn!(file = active.file.number, error = %cause, "a failed write could not be cut off");
        }
        self.leave_file();
    }

    /// While nothing comes: a file whose time is over is closed, so that it can become a segment.
    fn leave_old_file(&mut self) {
        let now = (self.shared.now)();
        self.enriched.forget_all_but(Day::of(now));
        if self.active.as_ref().is_some_and(|a| a.end > 0 && a.is_old(now, self.rotate_after)) {
            self.leave_file();
        }
    }

    /// The syncer closes the file; the next write takes the spare.
    fn leave_file(&mut self) {
        let Some(active) = self.active.take() else { return };
        if active.end == 0 {
            // Its keys go with the sealer: a number that was used once is not used again.
            self.unbegun = Some(active.file);
            return;
        }
        let Active { file, end, frames, .. } = active;
        self.left = u64::from(file.number) + 1;
        self.queue.close(Closed { file, end, frames, next_seq: self.next_seq, ts: self.last_ts });
    }

    fn written(&mut self, batch: &Batch) {
        let stats = &self.shared.stats;
        let mut counts = batch.counts;
        counts[Kind::Gap as usize] += (batch.gaps.len() + self.notes.len()) as u64;
        let records: u64 = counts.iter().sum();
        self.last_batch = records;
        self.next_seq += records;
        self.last_ts = batch.ts;
        self.failing = false;
        for gap in &batch.gaps {
            self.reported.close(gap, stats);
        }
        self.notes.clear();
        stats.count(&counts);
        stats.batches.fetch_add(1, Relaxed);
        stats.bytes_written.fetch_add(self.frame.len() as u64, Relaxed);
        for (lane, taken) in self.lanes.iter().zip(&self.taken) {
            lane.written.store(*taken, SeqCst);
        }
        if let Some(active) = &self.active {
            let last_seq = self.next_seq - 1;
            self.queue.wrote(&active.file, &counts, (&self.taken, last_seq), (batch.ts, batch.urgent), stats);
        }
    }

    /// Sheds the batch: counted, told to its workers, and told in a gap record as soon as the disk takes one.
    fn lose(&mut self, batch: &Batch, cause: &io::Error) {
        self.shared.stats.write_errors.fetch_add(1, Relaxed);
        let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let reason = if full { LossReason::DiskFull } else { LossReason::WriteError };
        if !self.failing {
            tracing::error!(error = %cause, "records cannot be written and are shed");
        }
        self.failing = true;
        self.shared.stats.lose_all(&batch.counts, reason, batch.ts);
        for (lane, taken) in self.lanes.iter().zip(&self.taken) {
            lane.lose(lane.written.load(SeqCst), *taken);
            lane.written.store(*taken, SeqCst);
        }
    }

    /// Marks the clean stop, and leaves what no gap record tells.
    fn finish(mut self) -> Ended {
        let clean = self.mark_stop();
        Ended { clean, reported: self.reported, notes: self.notes }
    }

    fn mark_stop(&mut self) -> bool {
        let Some(active) = self.active.take().filter(|a| a.end > 0) else { return !self.failing };
        if active.file.abandoned.load(SeqCst) {
            return false;
        }
        let Active { file, end, frames, .. } = active;
        let closed = Closed { file, end, frames, next_seq: self.next_seq, ts: self.last_ts };
        match write_end(&closed, Mark::Stop) {
            Ok(()) => !self.failing,
            Err(cause) => {
                tracing::error!(error = %cause, "the clean stop could not be marked");
                false
            }
        }
    }
}

/// Bytes taken from all rings for one batch.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// Records of a batch from which on the writer rests after it.
pub(super) const MANY: u64 = 8;
/// How long it rests: the most that the end of an answer waits for it.
const PAUSE: Duration = Duration::from_micros(500);
/// Longest sleep without a look at the rings.
const IDLE: Duration = Duration::from_millis(200);
/// Pause between two attempts on a disk that does not take the batch.
const RETRY_EVERY: Duration = Duration::from_millis(5);
