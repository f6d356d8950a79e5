//! The connections of one thread to one endpoint.
//!
//! Last in, first out, so that few connections stay warm and the rest grow old and go. A connection comes back only
//! after a complete exchange; whoever drops a [`Lease`] before that closes it. Never sends a request. Bounds:
//! `limits.upstream_connections` open, `limits.upstream_queue` waiting for `timeouts.upstream_queue` at most.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::connect::Target;
use super::health::Health;
use super::timer::LazyTimer;
use super::wire::{Active, State, Switched, Transport, Wire};
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// The limits and waits of the upstream side.
pub(super) struct Settings {
    pub(super) connections: usize,
    pub(super) queue: usize,
    pub(super) queue_wait: Duration,
    pub(super) connect: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
    pub(super) idle: Duration,
    pub(super) max_age: Duration,
}

/// What one thread counted about one endpoint. Totals since the start, and three states of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Connections that could not be made.
    pub connect_errors: u64,
    /// Requests that were sent to this endpoint as a repetition.
    pub retries: u64,
    /// Requests refused because the queue was full or waiting took too long.
    pub queue_refusals: u64,
    /// Open connections in the pool.
    pub connections_idle: usize,
    /// Connections in use or being made.
    pub connections_active: usize,
    /// Requests that wait for a connection.
    pub queued: usize,
    /// Taken for broken.
    pub ejected: bool,
}

/// Counters of one endpoint.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: Cell<u64>,
    pub(super) connect_errors: Cell<u64>,
    pub(super) retries: Cell<u64>,
    queue_refusals: Cell<u64>,
}

/// One endpoint and its connections.
pub(super) struct Pool {
    pub(super) settings: Rc<Settings>,
    pub(super) health: Health,
    pub(super) counters: Counters,
    target: Target,
    idle: RefCell<Vec<Connection>>,
    active: Cell<usize>,
    waiters: RefCell<VecDeque<oneshot::Sender<Lease>>>,
    reaping: Cell<bool>,
}

/// An open connection with what is kept beside it from one exchange to the next.
pub(super) struct Connection {
    pub(super) wire: Active,
    pub(super) timer: LazyTimer,
    opened: Instant,
    idle_since: Instant,
}

/// The right to one of the connections, and the connection. Dropping it closes the connection and passes the right on.
pub(super) struct Lease {
    pool: Rc<Pool>,
    connection: Option<Connection>,
    /// Whether the connection carried an exchange before.
    pub(super) reused: bool,
}

impl Pool {
    /// An endpoint without connections.
    pub(super) fn new(endpoint: &config::Endpoint, settings: Rc<Settings>) -> Rc<Self> {
        Rc::new(Self {
            settings,
            health: Health::default(),
            counters: Counters::default(),
            target: Target::new(endpoint),
            idle: RefCell::default(),
            active: Cell::new(0),
            waiters: RefCell::default(),
            reaping: Cell::new(false),
        })
    }

    /// Connections in use plus requests that wait.
    pub(super) fn load(&self) -> usize {
        self.active.get() + self.waiters.borrow().len()
    }

    /// The counts.
    pub(super) fn stats(&self) -> EndpointStats {
        EndpointStats {
            requests: self.counters.requests.get(),
            connect_errors: self.counters.connect_errors.get(),
            retries: self.counters.retries.get(),
            queue_refusals: self.counters.queue_refusals.get(),
            connections_idle: self.idle.borrow().len(),
            connections_active: self.active.get(),
            queued: self.waiters.borrow().iter().filter(|waiter| !waiter.is_closed()).count(),
            ejected: self.health.is_ejected(),
        }
    }

    /// A connection: an idle one unless `fresh`, else a new one, else the first that becomes free.
    ///
    /// # Errors
    /// `QueueFull`, or what connecting gives.
    pub(super) async fn acquire(self: &Rc<Self>, fresh: bool, now: Instant) -> Result<Lease, Refusal> {
        if !fresh && let Some(connection) = self.take_idle(now) {
            return Ok(self.lease(Some(connection)));
        }
        let mut lease = if self.has_room() { self.lease(None) } else { self.wait().await? };
        let usable = lease.connection.as_mut().is_some_and(|c| c.wire.state() == State::Ready);
        if fresh || !usable {
            lease.connection = None;
            lease.reused = false;
            lease.connection = Some(self.open().await?);
        }
        Ok(lease)
    }

    async fn open(&self) -> Result<Connection, Refusal> {
        let opened = async {
            let stream = self.target.connect(self.settings.connect).await?;
            Active::open(Transport::Tcp(stream)).await
        };
        match opened.await {
            Ok(wire) => Ok(Connection::new(wire, clock::monotonic(), self.settings.head)),
            Err(refusal) => {
                add_one(&self.counters.connect_errors);
                Err(refusal)
            }
        }
    }

    fn take_idle(&self, now: Instant) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            if connection.is_usable(&self.settings, now) {
                return Some(connection);
            }
        }
    }

    /// Whether another connection may be opened; an idle one is given up for it.
    fn has_room(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        if self.active.get() + idle.len() >= self.settings.connections && !idle.is_empty() {
            idle.remove(0);
        }
        self.active.get() + idle.len() < self.settings.connections
    }

    async fn wait(&self) -> Result<Lease, Refusal> {
        let refused = |refusal| {
            add_one(&self.counters.queue_refusals);
            Err(refusal)
        };
        let turn = {
            let mut waiters = self.waiters.borrow_mut();
            if waiters.len() >= self.settings.queue {
                waiters.retain(|waiter| !waiter.is_closed());
            }
            if waiters.len() >= self.settings.queue {
                return refused(Refusal::from(Reason::QueueFull));
            }
            let (sender, turn) = oneshot::channel();
            waiters.push_back(sender);
            turn
        };
        match timeout(self.settings.queue_wait, turn).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(gone)) => refused(Refusal::caused_by(Reason::QueueFull, gone)),
            Err(elapsed) => refused(Refusal::caused_by(Reason::QueueFull, elapsed)),
        }
    }

    fn lease(self: &Rc<Self>, connection: Option<Connection>) -> Lease {
        self.active.set(self.active.get() + 1);
        let reused = connection.is_some();
        Lease { pool: Rc::clone(self), connection, reused }
    }

    /// The longest-waiting request that still waits.
    fn next_waiter(&self) -> Option<oneshot::Sender<Lease>> {
        let mut waiters = self.waiters.borrow_mut();
        loop {
            let waiter = waiters.pop_front()?;
            if !waiter.is_closed() {
                return Some(waiter);
            }
        }
    }

    /// Takes back a connection after a complete exchange.
    fn put(self: &Rc<Self>, mut lease: Lease) {
        let now = clock::monotonic();
        let Some(connection) = &mut lease.connection else { return };
        connection.idle_since = now;
        // Whoever takes it looks at its state again.
        if !connection.is_young(&self.settings, now) {
            return;
        }
        if let Some(waiter) = self.next_waiter() {
            lease.reused = true;
            // A waiter that left in this moment drops the lease, and with it the connection.
            drop(waiter.send(lease));
        } else if let Some(connection) = lease.connection.take() {
            self.idle.borrow_mut().push(connection);
            self.start_reaper();
        }
    }

    /// Starts the task that closes old idle connections, unless it runs. It ends when none is left.
    fn start_reaper(self: &Rc<Self>) {
        if self.reaping.replace(true) {
            return;
        }
        let pool = Rc::downgrade(self);
        let pause = (self.settings.idle / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        tokio::task::spawn_local(async move {
            loop {
                sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.reap(clock::monotonic()) == 0 {
                    pool.reaping.set(false);
                    return;
                }
            }
        });
    }

    /// Closes idle connections that are too old or that the endpoint closed. Gives how many are left.
    fn reap(&self, now: Instant) -> usize {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|connection| {
            connection.wire.rest();
            connection.is_usable(&self.settings, now)
        });
        idle.len()
    }
}

impl Connection {
    fn new(wire: Active, now: Instant, first_wait: Duration) -> Self {
        let timer = LazyTimer::new(now + first_wait);
        Self { wire, timer, opened: now, idle_since: now }
    }

    fn is_usable(&mut self, settings: &Settings, now: Instant) -> bool {
        self.is_young(settings, now) && self.wire.state() == State::Ready
    }

    fn is_young(&self, settings: &Settings, now: Instant) -> bool {
        now.saturating_duration_since(self.idle_since) < settings.idle
            && now.saturating_duration_since(self.opened) < settings.max_age
    }
}

impl Lease {
    /// The connection. `None` only while it is being made.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// The connection as the body of an answer sees it.
    pub(super) fn wire(&self) -> Option<&Active> {
        self.connection.as_ref().map(|connection| &connection.wire)
    }

    /// The settings of the pool.
    pub(super) fn settings(&self) -> &Settings {
        &self.pool.settings
    }

    /// Gives the connection back. The exchange must be complete in both directions.
    pub(super) fn give_back(mut self) {
        let pool = Rc::clone(&self.pool);
        match self.connection.as_mut().map(|c| c.wire.state()) {
            None | Some(State::Closed) => {}
            Some(State::Ready) => pool.put(self),
            // The end of the exchange is still being put away, e.g. a last write. Rare, so it may cost a task.
            Some(State::Busy) => {
                tokio::task::spawn_local(async move {
                    let limit = pool.settings.idle;
                    if let Some(connection) = self.connection()
                        && matches!(timeout(limit, connection.wire.settled()).await, Ok(true))
                    {
                        pool.put(self);
                    }
                });
            }
        }
    }

    /// The transport of an upgraded connection. It does not count as one of the pool's any more: a tunnel is bounded
    /// by the client's connection that it occupies.
    ///
    /// # Errors
    /// `Internal` if there is none, or what the connection says.
    pub(super) async fn switch(mut self) -> Result<Switched, Refusal> {
        match self.connection.take() {
            Some(connection) => connection.wire.switch().await,
            None => Err(Refusal::from(Reason::Internal)),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Closed before its place is given to another.
        self.connection = None;
        self.pool.active.set(self.pool.active.get().saturating_sub(1));
        if let Some(waiter) = self.pool.next_waiter() {
            drop(waiter.send(self.pool.lease(None)));
        }
    }
}

/// Adds one to a counter.
pub(super) fn add_one(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

/// Shortest and longest pause between two looks at idle connections.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
