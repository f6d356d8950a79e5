//! A worker's side of the journal: encode, hand over, learn when the promise is kept.
//!
//! [`Recorder::record_or_hold`] puts an event into the worker's own ring and gives a [`Ticket`] that resolves when the
//! configured level is reached. The writer is woken once per scheduling round and wakes the worker once per batch: the
//! worker must spawn [`Recorder::run`]. Never blocks the thread, never drops without counting. Bound: the ring.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::ring::RingWriter;
use super::stats::{LossReason, Stats};
use super::subjects::Board;
use crate::clock::Timestamp;
use crate::config::Durability;
use crate::record::{Event, Kind};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The level that was asked for has been reached.
    Durable,
    /// It is lost and counted.
    Lost,
}

/// The ring has no room for the record, or the journal has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Makes a worker's [`Recorder`]; can be sent to the worker's thread.
pub struct RecorderHandle {
    pub(super) lane: Arc<Lane>,
    pub(super) shared: Arc<Shared>,
    pub(super) ring: RingWriter,
}

impl RecorderHandle {
    /// The recorder of this thread.
    #[must_use]
    pub fn attach(self) -> Recorder {
        Recorder(Rc::new(Local {
            lane: self.lane,
            shared: self.shared,
            ring: RefCell::new(self.ring),
            scratch: RefCell::default(),
            pushed: Cell::new(0),
            dirty: Cell::new(false),
            waiters: RefCell::default(),
            holding: Cell::new(0),
            space: Notify::new(),
        }))
    }
}

/// Takes the records of one worker. Clones share it.
#[derive(Clone)]
pub struct Recorder(Rc<Local>);

impl Recorder {
    /// Hands an event over now or not at all. **A refused event is not counted**: use [`Self::record_or_hold`], unless
    /// the caller tries again.
    ///
    /// # Errors
    /// [`Full`] when the ring has no room or the journal has stopped.
    pub fn record(&self, event: &Event<'_>) -> Result<Ticket, Full> {
        let mut scratch = self.0.scratch.borrow_mut();
        scratch.clear();
        event.encode(&mut scratch);
        self.push(&scratch, event.kind)
    }

    /// Hands an event over. When the ring is full it waits for room, at most `hold`; then the event is shed and
    /// counted, and a gap record will tell.
    ///
    /// # Errors
    /// [`Full`]: shed and counted.
    pub async fn record_or_hold(&self, event: &Event<'_>) -> Result<Ticket, Full> {
        if let Ok(ticket) = self.record(event) {
            return Ok(ticket);
        }
        self.held(event.kind).wait().await
    }

    /// Hands an event over now, or sheds and counts it: for those who cannot wait.
    pub fn record_or_shed(&self, event: &Event<'_>) {
        if self.record(event).is_err() {
            let shared = &self.0.shared;
            shared.stats.lose(event.kind, LossReason::RingFull, 1, (shared.now)());
        }
    }

    /// [`Self::record_or_hold`] and the wait for the level in one future, for those who poll by hand.
    pub fn submit(&self, event: &Event<'_>) -> Submission {
        match self.record(event) {
            Ok(ticket) => Submission::Ticket(ticket),
            Err(Full) => {
                let held = self.held(event.kind);
                Submission::Holding(Box::pin(async move {
                    match held.wait().await {
                        Ok(ticket) => ticket.await,
                        Err(Full) => Outcome::Lost,
                    }
                }))
            }
        }
    }

    /// The record encoded last, for which there was no room.
    fn held(&self, kind: Kind) -> Held {
        Held { recorder: self.clone(), record: self.0.scratch.borrow().clone(), kind, settled: false }
    }

    /// Hands an event of kind [`Kind::Open`] over and waits until it is synced, whatever the configured level. Other
    /// kinds wait for the next timed sync.
    pub async fn record_durably(&self, event: &Event<'_>) -> Outcome {
        match self.record_or_hold(event).await {
            Ok(mut ticket) => {
                ticket.level = Level::Synced;
                ticket.await
            }
            Err(Full) => Outcome::Lost,
        }
    }

    /// Wakes the writer once per scheduling round and resolves tickets once per batch. The worker spawns it once, on
    /// its own thread; it ends when the journal has stopped.
    pub fn run(&self) -> impl Future<Output = ()> + use<> {
        let local = Rc::clone(&self.0);
        async move {
            while !local.shared.finished.load(SeqCst) {
                local.lane.notify.notified().await;
                local.settle();
                local.flush();
            }
            local.settle();
        }
    }

    /// Wakes the writer now if there is something for it; [`Self::run`] does this.
    pub fn flush(&self) {
        self.0.flush();
    }

    fn push(&self, record: &[u8], kind: Kind) -> Result<Ticket, Full> {
        let local = &self.0;
        if local.shared.closed.load(SeqCst) || !local.ring.borrow_mut().push(record) {
            return Err(Full);
        }
        let number = local.pushed.get() + 1;
        local.pushed.set(number);
        local.mark_dirty();
        let level = match local.shared.durability {
            // What has to be recorded before the site is asked must survive whatever comes then.
            _ if wants_sync(kind) => Level::Synced,
            Durability::Memory => Level::None,
            Durability::Group => Level::Written,
            Durability::Fsync => Level::Synced,
        };
        Ok(Ticket { local: Rc::clone(local), number, level, registered: false })
    }
}

/// A record that waits for room. Who gives up waiting leaves it to the ring if there is room then; else it is shed and
/// counted.
struct Held {
    recorder: Recorder,
    record: Vec<u8>,
    kind: Kind,
    settled: bool,
}

impl Held {
    /// Waits for room, at most `hold`.
    async fn wait(mut self) -> Result<Ticket, Full> {
        let ticket = {
            let local = &self.recorder.0;
            let _holding = Holding::begin(local);
            let room = async {
                loop {
                    let mut space = pin!(local.space.notified());
                    space.as_mut().enable();
                    local.lane.waiting.store(true, SeqCst);
                    if let Ok(ticket) = self.recorder.push(&self.record, self.kind) {
                        return Some(ticket);
                    }
                    if local.shared.closed.load(SeqCst) {
                        return None;
                    }
                    local.mark_dirty();
                    space.await;
                }
            };
            tokio::time::timeout(local.shared.hold, room).await.ok().flatten()
        };
        if ticket.is_none() {
            self.lose();
        }
        self.settled = true;
        ticket.ok_or(Full)
    }

    fn lose(&self) {
        let shared = &self.recorder.0.shared;
        shared.stats.lose(self.kind, LossReason::RingFull, 1, (shared.now)());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled && self.recorder.push(&self.record, self.kind).is_err() {
            self.lose();
        }
    }
}

/// What a ticket waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    None,
    Written,
    Synced,
}

/// Resolves when the record has reached its level, or is lost. Dropping it changes nothing for the record.
#[must_use = "the response may end only when the ticket has resolved"]
pub struct Ticket {
    local: Rc<Local>,
    number: u64,
    level: Level,
    registered: bool,
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = self.get_mut();
        if let Some(outcome) = this.local.outcome(this.number, this.level) {
            return Poll::Ready(outcome);
        }
        this.register(cx.waker());
        this.local.lane.waiting.store(true, SeqCst);
        // The writer may have finished between the first look and the flag.
        match this.local.outcome(this.number, this.level) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

/// A record on its way: handed over, or waiting for room in the ring.
#[must_use = "the response may end only when the submission has resolved"]
pub enum Submission {
    /// Handed over.
    Ticket(Ticket),
    /// Waiting for room; rare.
    Holding(Pin<Box<dyn Future<Output = Outcome>>>),
}

impl Future for Submission {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match self.get_mut() {
            Self::Ticket(ticket) => Pin::new(ticket).poll(cx),
            Self::Holding(held) => held.as_mut().poll(cx),
        }
    }
}

impl Ticket {
    fn register(&mut self, waker: &Waker) {
        let mut waiters = self.local.waiters.borrow_mut();
        if self.registered {
            let mine = |w: &&mut Waiter| w.number == self.number && w.level == self.level;
            if let Some(waiter) = waiters.iter_mut().rev().find(mine) {
                waiter.waker.clone_from(waker);
                return;
            }
        }
        self.registered = true;
        waiters.push(Waiter { number: self.number, level: self.level, waker: waker.clone() });
    }
}

struct Waiter {
    number: u64,
    level: Level,
    waker: Waker,
}

/// The worker's own state. At most as many waiters as the ring and one batch hold records.
struct Local {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    ring: RefCell<RingWriter>,
    scratch: RefCell<Vec<u8>>,
    pushed: Cell<u64>,
    dirty: Cell<bool>,
    waiters: RefCell<Vec<Waiter>>,
    holding: Cell<usize>,
    space: Notify,
}

impl Local {
    fn outcome(&self, number: u64, level: Level) -> Option<Outcome> {
        let mark = match level {
            Level::None => return Some(Outcome::Durable),
            Level::Written => &self.lane.written,
            Level::Synced => &self.lane.synced,
        };
        // The order matters: what is reached after `finished` was seen will not be reached at all.
        let finished = self.shared.finished.load(SeqCst);
        let reached = mark.load(SeqCst) >= number;
        if self.lane.losses.load(SeqCst) > 0 && self.lane.is_lost(number) {
            return Some(Outcome::Lost);
        }
        match (reached, finished) {
            (true, _) => Some(Outcome::Durable),
            (false, true) => Some(Outcome::Lost),
            (false, false) => None,
        }
    }

    /// Tells the own task that the writer has something to do; wakes nobody else.
    fn mark_dirty(&self) {
        if !self.dirty.replace(true) {
            self.lane.notify.notify_one();
        }
    }

    fn flush(&self) {
        if self.dirty.take() {
            self.shared.wake_writer();
        }
    }

    /// Wakes every waiter whose record is settled, and those that wait for room.
    fn settle(&self) {
        if self.holding.get() > 0 {
            self.space.notify_waiters();
        }
        let mut waiters = self.waiters.borrow_mut();
        let before = waiters.len();
        waiters.retain(|w| {
            let settled = self.outcome(w.number, w.level).is_some();
            if settled {
                w.waker.wake_by_ref();
            }
            !settled
        });
        if !waiters.is_empty() || self.holding.get() > 0 {
            self.lane.waiting.store(true, SeqCst);
            // What was settled between the look and the flag would not be told again.
            if before > 0 && waiters.iter().any(|w| self.outcome(w.number, w.level).is_some()) {
                self.lane.notify.notify_one();
            }
        }
    }
}

/// Counts those that wait for room, also when they are cancelled.
struct Holding<'a>(&'a Local);

impl<'a> Holding<'a> {
    fn begin(local: &'a Local) -> Self {
        local.holding.set(local.holding.get() + 1);
        Self(local)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.holding.set(self.0.holding.get() - 1);
    }
}

/// What a worker, the writer and the syncer share: how far this worker's records have come.
#[derive(Default)]
pub(super) struct Lane {
    /// Records up to this number are written or lost.
    pub(super) written: AtomicU64,
    /// Records up to this number are synced or lost.
    pub(super) synced: AtomicU64,
    waiting: AtomicBool,
    notify: Notify,
    losses: AtomicU64,
    lost: Mutex<VecDeque<(u64, u64)>>,
}

impl Lane {
    /// Records after `from` up to `to` are lost. To be called before the mark moves.
    pub(super) fn lose(&self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match lost.back_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => lost.push_back((from, to)),
        }
        if lost.len() > LOST_RANGES {
            lost.pop_front();
        }
        self.losses.fetch_add(1, SeqCst);
    }

    fn is_lost(&self, number: u64) -> bool {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.iter().any(|(from, to)| (from + 1..=*to).contains(&number))
    }

    /// Wakes the worker if anybody waits there; at most once per batch.
    pub(super) fn wake(&self) {
        if self.waiting.swap(false, SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Wakes the worker's task for the last time.
    pub(super) fn wake_always(&self) {
        self.notify.notify_one();
    }
}

/// What all threads of a journal share.
pub(super) struct Shared {
    pub(super) stats: Arc<Stats>,
    pub(super) durability: Durability,
    pub(super) hold: Duration,
    pub(super) now: fn() -> Timestamp,
    /// Nothing more is taken.
    pub(super) closed: AtomicBool,
    /// Nothing more will be written.
    pub(super) finished: AtomicBool,
    /// The writer sleeps, or is about to.
    pub(super) sleeping: AtomicBool,
    pub(super) writer: OnceLock<Thread>,
    /// Where blocks are learnt.
    pub(super) board: Arc<Board>,
    /// Who wants to know that a file was closed.
    pub(super) compactor: OnceLock<Thread>,
}

impl Shared {
    pub(super) fn wake_writer(&self) {
        // Pairs with the fence in the writer's sleep: either it sees the record or we see it sleep.
        fence(SeqCst);
        if self.sleeping.swap(false, SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }
}

/// Ranges of lost records remembered per worker; older ones have long been told.
const LOST_RANGES: usize = 64;

/// A record of this kind makes the writer ask for a sync at once.
pub(super) const fn wants_sync(kind: Kind) -> bool {
    matches!(kind, Kind::Open)
}
