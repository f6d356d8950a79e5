//! The connections of one thread to one endpoint.
//!
//! Last in, first out, so that few connections stay warm and the rest grow old and go. A connection comes back only
//! after a complete exchange; whoever drops a [`Lease`] before that closes it. Never sends a request. Bounds:
//! `limits.upstream_connections` open, `limits.upstream_queue` waiting for `timeouts.upstream_queue` at most.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::time::{sleep, timeout};

use super::carrier::Carrier;
use super::connect::Target;
use super::health::Health;
use super::http2::Streams;
use super::queue::Queue;
use super::resolve::Resolve;
use super::share::{Share, Shares};
use super::shared::SiteUpstream;
use super::timer::LazyTimer;
use super::wire::{State, Switched, Wire};
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// The limits and waits of the upstream side.
#[derive(PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) connections: usize,
    /// Of these, for one client.
    pub(super) share: usize,
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
    /// Requests that could not be repeated, since too much of their body was gone; since somebody asked last.
    pub(super) bodies_gone: Cell<u64>,
    /// By [`Closed`]; since somebody asked last.
    closed: [Cell<u64>; Closed::ALL.len()],
}

/// Why a pooled connection was closed although nothing went wrong on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody needed it for `timeouts.upstream_idle`.
    Idle,
    /// It was older than `timeouts.upstream_max_age`.
    MaxAge,
    /// The endpoint closed it or wanted its end.
    Endpoint,
    /// A new connection was needed at the cap, and this one did not do.
    Room,
}

impl Closed {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Idle, Self::MaxAge, Self::Endpoint, Self::Room];
}

impl Counters {
    /// A pooled connection is closed.
    pub(super) fn closed(&self, why: Closed) {
        add_one(&self.closed[why as usize]);
    }
}

impl Settings {
    /// The settings of a configuration.
    pub(super) const fn new(limits: &config::Limits, timeouts: &config::Timeouts) -> Self {
        Self {
            connections: limits.upstream_connections,
            share: limits.upstream_connections_per_client,
            queue: limits.upstream_queue,
            queue_wait: timeouts.upstream_queue,
            connect: timeouts.upstream_connect,
            head: timeouts.upstream_head,
            body: timeouts.upstream_body,
            idle: timeouts.upstream_idle,
            max_age: timeouts.upstream_max_age,
        }
    }

    /// The settings of a connection for one exchange.
    pub(super) const fn alone(limit: Duration) -> Self {
        Self {
            connections: 1,
            share: 1,
            queue: 0,
            queue_wait: limit,
            connect: limit,
            head: limit,
            body: limit,
            idle: limit,
            max_age: limit,
        }
    }

    /// Pause between two looks at idle connections.
    pub(super) fn reaper_pause(&self) -> Duration {
        (self.idle / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }
}

/// One endpoint and its connections.
pub(super) struct Pool {
    pub(super) settings: Rc<Settings>,
    pub(super) health: Health,
    pub(super) counters: Rc<Counters>,
    target: Rc<Target>,
    /// In place of all that follows, if HTTP/2 is spoken.
    streams: Option<Rc<Streams>>,
    idle: RefCell<Vec<Connection>>,
    active: Cell<usize>,
    waiting: Queue<Lease>,
    shares: Rc<Shares>,
    reaping: Cell<bool>,
}

/// An open connection with what is kept beside it from one exchange to the next.
pub(super) struct Connection {
    pub(super) wire: Carrier,
    pub(super) timer: LazyTimer,
    opened: Instant,
    idle_since: Instant,
}

/// The right to one of the connections, and the connection. Dropping it closes the connection and passes the right on.
pub(super) struct Lease {
    pool: Rc<Pool>,
    connection: Option<Connection>,
    /// Counts it for the client that it is held for.
    share: Option<Share>,
    /// Whether the connection carried an exchange before.
    pub(super) reused: bool,
}

impl Pool {
    /// An endpoint without connections.
    pub(super) fn new(
        site: &SiteUpstream,
        endpoint: usize,
        place: &config::Endpoint,
        settings: &Rc<Settings>,
        resolver: &Rc<dyn Resolve>,
    ) -> Rc<Self> {
        let target = Rc::new(Target::new(place, site.tls.as_ref(), Rc::clone(resolver)));
        let counters = Rc::<Counters>::default();
        let streams = match site.protocol() {
            config::Protocol::Http1 => None,
            config::Protocol::Http2 => {
                Some(Streams::new(Rc::clone(&target), Rc::clone(settings), Rc::clone(&counters)))
            }
        };
        Rc::new(Self {
            settings: Rc::clone(settings),
            health: Health::new(site.verdicts.get(endpoint).cloned().unwrap_or_default()),
            counters,
            target,
            streams,
            idle: RefCell::default(),
            active: Cell::new(0),
            waiting: Queue::default(),
            shares: Rc::default(),
            reaping: Cell::new(false),
        })
    }

    /// Connections in use, or streams, plus requests that wait.
    pub(super) fn load(&self) -> usize {
        let streams = self.streams.as_ref().map_or(0, |streams| streams.waiting());
        self.active.get() + self.waiting.len_at_most() + streams
    }

    /// The counts.
    pub(super) fn stats(&self) -> EndpointStats {
        let mut stats = EndpointStats {
            requests: self.counters.requests.get(),
            connect_errors: self.counters.connect_errors.get(),
            retries: self.counters.retries.get(),
            queue_refusals: self.waiting.refusals(),
            connections_idle: self.idle.borrow().len(),
            connections_active: self.active.get(),
            queued: self.waiting.len(),
            ejected: self.health.is_ejected(),
        };
        if let Some(streams) = &self.streams {
            stats.connections_active = 0;
            streams.add_to(&mut stats);
        }
        stats
    }

    /// How many connections were closed since this was asked last, and why.
    pub(super) fn take_closed(&self, why: Closed) -> u64 {
        self.counters.closed[why as usize].take()
    }

    /// An idle connection, unless it has to be `fresh` or the share of `client` is taken: what nearly every request finds.
    pub(super) fn idle(self: &Rc<Self>, client: Option<IpNet>, fresh: bool, now: Instant) -> Option<Lease> {
        if fresh || self.streams.is_some() {
            return None;
        }
        let share = match self.share_of(client) {
            Some((client, most)) => Some(self.shares.try_take(client, most)?),
            None => None,
        };
        let connection = self.take_idle(now)?;
        let mut lease = self.lease(Some(connection));
        lease.share = share;
        Some(lease)
    }

    /// Whose share a request counts in, and how many that is, if there is a bound.
    fn share_of(&self, client: Option<IpNet>) -> Option<(IpNet, usize)> {
        let Settings { connections, share, .. } = *self.settings;
        let each = self.streams.as_ref().map_or(1, |streams| streams.each());
        client.filter(|_| share < connections).map(|client| (client, share * each))
    }

    /// A connection where [`Pool::idle`] found none: a new one, else the first that becomes free. Connecting ends at
    /// `until`, if that is sooner than its own wait. It counts in the share of `client`.
    ///
    /// # Errors
    /// `ClientShare`, `QueueFull`, or what connecting gives.
    pub(super) async fn acquire(
        self: &Rc<Self>,
        client: Option<IpNet>,
        fresh: bool,
        now: Instant,
        until: Option<Instant>,
    ) -> Result<Lease, Refusal> {
        let Settings { queue, queue_wait, .. } = *self.settings;
        let share = match self.share_of(client) {
            Some((client, most)) => Some(self.shares.take(client, most, queue, queue_wait).await?),
            None => None,
        };
        let mut lease = self.acquire_any(fresh, now, until).await?;
        lease.share = share;
        Ok(lease)
    }

    async fn acquire_any(
        self: &Rc<Self>,
        fresh: bool,
        now: Instant,
        until: Option<Instant>,
    ) -> Result<Lease, Refusal> {
        if let Some(streams) = &self.streams {
            let stream = streams.acquire(fresh, now, self.connect_limit(now, until)).await?;
            let reused = stream.reused;
            let connection = Connection::new(Carrier::Stream(Box::new(stream)), now, self.settings.head);
            let mut lease = self.lease(Some(connection));
            lease.reused = reused;
            return Ok(lease);
        }
        // While the client's share was awaited one may have become idle.
        if !fresh && let Some(connection) = self.take_idle(clock::monotonic()) {
            return Ok(self.lease(Some(connection)));
        }
        let mut lease = if self.has_room() {
            self.lease(None)
        } else {
            self.waiting.wait(self.settings.queue, self.settings.queue_wait).await?
        };
        let usable = lease.connection.as_mut().is_some_and(|c| c.wire.state() == State::Ready);
        if fresh || !usable {
            lease.connection = None;
            lease.reused = false;
            // Boxed: rare, and else every request has room for a handshake.
            lease.connection = Some(Box::pin(self.open(until)).await?);
        }
        Ok(lease)
    }

    async fn open(&self, until: Option<Instant>) -> Result<Connection, Refusal> {
        let now = clock::monotonic();
        let opened = async {
            let transport = self.target.connect(now + self.connect_limit(now, until)).await?;
            Carrier::open(transport).await
        };
        match opened.await {
            Ok(wire) => Ok(Connection::new(wire, clock::monotonic(), self.settings.head)),
            Err(refusal) => {
                add_one(&self.counters.connect_errors);
                Err(refusal)
            }
        }
    }

    fn connect_limit(&self, now: Instant, until: Option<Instant>) -> Duration {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
        self.settings.connect.min(left)
    }

    fn take_idle(&self, now: Instant) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            match connection.verdict(&self.settings, now) {
                None => return Some(connection),
                Some(why) => self.counters.closed(why),
            }
        }
    }

    /// Whether another connection may be opened; an idle one is given up for it.
    fn has_room(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        if self.active.get() + idle.len() >= self.settings.connections && !idle.is_empty() {
            idle.remove(0);
            self.counters.closed(Closed::Room);
        }
        self.active.get() + idle.len() < self.settings.connections
    }

    fn lease(self: &Rc<Self>, connection: Option<Connection>) -> Lease {
        self.active.set(self.active.get() + 1);
        let reused = connection.is_some();
        Lease { pool: Rc::clone(self), connection, share: None, reused }
    }

    /// Takes back a connection after a complete exchange.
    fn put(self: &Rc<Self>, mut lease: Lease) {
        let now = clock::monotonic();
        // Whoever gets it has one of its own.
        lease.share = None;
        let Some(connection) = &mut lease.connection else { return };
        connection.idle_since = now;
        // Whoever takes it looks at its state again.
        if let Some(why) = connection.too_old(&self.settings, now) {
            return self.counters.closed(why);
        }
        if let Some(waiter) = self.waiting.next() {
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
        let pause = self.settings.reaper_pause();
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
            let verdict = connection.verdict(&self.settings, now);
            verdict.into_iter().for_each(|why| self.counters.closed(why));
            verdict.is_none()
        });
        idle.len()
    }
}

impl Connection {
    fn new(wire: Carrier, now: Instant, first_wait: Duration) -> Self {
        let timer = LazyTimer::new(now + first_wait);
        Self { wire, timer, opened: now, idle_since: now }
    }

    /// Why it cannot be used again; `None` if it can.
    fn verdict(&mut self, settings: &Settings, now: Instant) -> Option<Closed> {
        let too_old = self.too_old(settings, now);
        too_old.or_else(|| (self.wire.state() != State::Ready).then_some(Closed::Endpoint))
    }

    fn too_old(&self, settings: &Settings, now: Instant) -> Option<Closed> {
        if now.saturating_duration_since(self.opened) >= settings.max_age {
            Some(Closed::MaxAge)
        } else if now.saturating_duration_since(self.idle_since) >= settings.idle {
            Some(Closed::Idle)
        } else {
            None
        }
    }
}

impl Lease {
    /// The connection. `None` only while it is being made.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// The connection as the body of an answer sees it.
    pub(super) fn wire(&self) -> Option<&Carrier> {
        self.connection.as_ref().map(|connection| &connection.wire)
    }

    /// The settings of the pool.
    pub(super) fn settings(&self) -> &Settings {
        &self.pool.settings
    }

    /// Gives the connection back. The exchange must be complete in both directions.
    pub(super) fn give_back(mut self) {
        let pool = Rc::clone(&self.pool);
        match self.connection.as_mut().map(|c| c.wire.state_known()) {
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
        if let Some(waiter) = self.pool.waiting.next() {
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
