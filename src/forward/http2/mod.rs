//! HTTP/2 to an endpoint: several connections, and on each as many requests as the endpoint allows.
//!
//! Streams are counted here, not in the library, whose own queue has no end: a request gets a stream that the endpoint
//! allows, or waits in ours. A connection that the endpoint wants to end (GOAWAY), that broke, or that is too old gets
//! no further request; those under way go on. Never repeats a request. Bounds: `limits.upstream_connections` open,
//! [`MOST_STREAMS`] on each, `limits.upstream_queue` waiting.
//!
//! | file | job |
//! |---|---|
//! | [`connection`] | one connection and its task |
//! | [`stream`] | one exchange |

mod connection;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};

use self::connection::Connection;
pub(super) use self::stream::Http2;
use super::connect::Target;
use super::counts::{Closed, Counters, EndpointStats, add_one};
use super::pool::Settings;
use super::queue::Queue;
use super::wire::Transport;
use crate::clock;
use crate::error::{Reason, Refusal};

/// The connections of one thread to one endpoint that speaks HTTP/2.
pub(super) struct Streams {
    target: Rc<Target>,
    settings: Rc<Settings>,
    counters: Rc<Counters>,
    /// Those that take requests, oldest first.
    usable: RefCell<Vec<Rc<Connection>>>,
    /// All that are not closed, those that take no request any more included.
    open: Cell<usize>,
    /// Those being made.
    opening: Cell<usize>,
    waiting: Queue<Result<Http2, Reason>>,
    reaping: Cell<bool>,
}

impl Streams {
    /// No connection yet.
    pub(super) fn new(target: Rc<Target>, settings: Rc<Settings>, counters: Rc<Counters>) -> Rc<Self> {
        Rc::new(Self {
            target,
            settings,
            counters,
            usable: RefCell::default(),
            open: Cell::default(),
            opening: Cell::default(),
            waiting: Queue::default(),
            reaping: Cell::default(),
        })
    }

    /// A stream: on a connection that has room, else on a new one, else on the first that has room again. If `fresh`,
    /// a connection that is open for long does not count.
    ///
    /// # Errors
    /// `QueueFull`, or what connecting gives.
    pub(super) async fn acquire(
        self: &Rc<Self>,
        fresh: bool,
        now: Instant,
        limit: Duration,
    ) -> Result<Http2, Refusal> {
        if let Some(stream) = self.take(fresh, now) {
            return Ok(stream);
        }
        self.open_if_needed(1, limit);
        // Whoever waits for a connection that is being made hears how that went.
        let patience = match self.opening.get() {
            0 => self.settings.queue_wait,
            _ => self.settings.queue_wait.max(limit + GRACE),
        };
        let turn = self.waiting.wait(self.settings.queue, patience).await?;
        turn.map_err(Refusal::from)
    }

    /// Adds what this endpoint counted.
    pub(super) fn add_to(&self, stats: &mut EndpointStats) {
        let idle = self.usable.borrow().iter().filter(|connection| connection.streams() == 0).count();
        stats.connections_idle += idle;
        stats.connections_active += (self.open.get() + self.opening.get()).saturating_sub(idle);
        stats.queued += self.waiting.len();
        stats.queue_refusals += self.waiting.refusals();
    }

    /// How many requests a connection takes.
    pub(super) fn each(&self) -> usize {
        self.usable.borrow().first().map_or(MOST_STREAMS, |connection| connection.most().max(1))
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len_at_most()
    }

    /// A stream on the first connection that has room: the others become idle and go.
    fn take(self: &Rc<Self>, fresh: bool, now: Instant) -> Option<Http2> {
        self.drop_unusable(now);
        let usable = self.usable.borrow();
        let new = |connection: &Connection| !fresh || connection.is_younger(FRESH, now);
        let found = usable.iter().find(|connection| connection.has_room() && new(connection))?;
        Some(Http2::begin(found))
    }

    fn drop_unusable(&self, now: Instant) {
        let mut usable = self.usable.borrow_mut();
        usable.retain(|connection| match connection.verdict(&self.settings, now) {
            None => true,
            Some(why) => {
                self.counters.closed(why);
                false
            }
        });
    }

    /// Gives room to those who wait, and opens connections for those who get none.
    fn serve(self: &Rc<Self>) {
        while self.waiting.len_at_most() > 0 {
            let Some(stream) = self.take(false, clock::monotonic()) else {
                return self.open_if_needed(0, self.settings.connect);
            };
            // Dropping a stream serves again: not while this one is being given away.
            let Some(waiter) = self.waiting.next() else { return };
            if let Err(Ok(unwanted)) = waiter.send(Ok(stream)) {
                unwanted.forget();
            }
        }
    }

    /// Opens a connection if more wait than those being made can be expected to take.
    fn open_if_needed(self: &Rc<Self>, coming: usize, limit: Duration) {
        let expected = self.opening.get() * MOST_STREAMS;
        let room = self.open.get() + self.opening.get() < self.settings.connections;
        if !room || self.waiting.len_at_most() + coming <= expected {
            return;
        }
        self.opening.set(self.opening.get() + 1);
        // Not part of any request: others wait for it too, whatever becomes of the first.
        let streams = Rc::downgrade(self);
        let (target, settings) = (Rc::clone(&self.target), Rc::clone(&self.settings));
        let deadline = clock::monotonic() + limit;
        tokio::task::spawn_local(async move {
            let opened = open(&target, &settings, deadline).await;
            let Some(streams) = streams.upgrade() else { return };
            streams.opening.set(streams.opening.get() - 1);
            match opened {
                Ok(opened) => {
                    let connection = streams.add(opened);
                    streams.usable.borrow_mut().push(connection);
                    streams.start_reaper();
                    streams.serve();
                }
                Err(refusal) => {
                    add_one(&streams.counters.connect_errors);
                    streams.fail(refusal.reason());
                }
            }
        });
    }

    fn add(self: &Rc<Self>, (sender, driven): Opened) -> Rc<Connection> {
        self.open.set(self.open.get() + 1);
        Connection::start(sender, driven, self)
    }

    /// Tells those who wait that no connection can be made, unless there is hope.
    fn fail(&self, reason: Reason) {
        if self.opening.get() > 0 || self.open.get() > 0 {
            return;
        }
        while let Some(waiter) = self.waiting.next() {
            // Whoever left in this moment does not want to know.
            drop(waiter.send(Err(reason)));
        }
    }

    /// A connection has ended.
    fn ended(self: &Rc<Self>, connection: &Rc<Connection>) {
        let before = {
            let mut usable = self.usable.borrow_mut();
            let before = usable.len();
            usable.retain(|other| !Rc::ptr_eq(other, connection));
            before - usable.len()
        };
        if before > 0 {
            self.counters.closed(Closed::Endpoint);
        }
        self.serve();
    }

    /// Starts the task that closes idle connections, unless it runs. It ends when none is left.
    fn start_reaper(self: &Rc<Self>) {
        if self.reaping.replace(true) {
            return;
        }
        let streams = Rc::downgrade(self);
        let pause = self.settings.reaper_pause();
        tokio::task::spawn_local(async move {
            loop {
                sleep(pause).await;
                let Some(streams) = streams.upgrade() else { return };
                streams.drop_unusable(clock::monotonic());
                streams.serve();
                if streams.usable.borrow().is_empty() {
                    streams.reaping.set(false);
                    return;
                }
            }
        });
    }
}

/// A stream on a connection that nobody else uses, for a health check.
pub(super) async fn alone(target: &Rc<Target>, limit: Duration) -> Result<Http2, Refusal> {
    let settings = Rc::new(Settings::alone(limit));
    let opened = open(target, &settings, clock::monotonic() + limit).await?;
    let streams = Streams::new(Rc::clone(target), settings, Rc::default());
    Ok(Http2::begin(&streams.add(opened)))
}

type Opened = (::h2::client::SendRequest<bytes::Bytes>, connection::Driven);

/// A connection is open when the endpoint has said how many streams it allows.
async fn open(target: &Target, settings: &Settings, deadline: Instant) -> Result<Opened, Refusal> {
    let transport: Transport = target.connect(deadline).await?;
    let handshake = async {
        let (sender, mut driven) =
            connection::builder(settings).handshake(transport).await.map_err(stream::told)?;
        poll_fn(|cx| connection::poll_settled(&mut driven, cx)).await?;
        Ok((sender, driven))
    };
    match timeout_at(deadline.into(), handshake).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(Refusal::caused_by(Reason::ConnectTimeout, elapsed)),
    }
}

/// Streams used on one connection, if the endpoint allows as many.
pub(super) const MOST_STREAMS: usize = 100;
/// How young a connection is that counts as fresh.
const FRESH: Duration = Duration::from_secs(1);
/// How much longer than a connect those wait who want to hear of its end.
const GRACE: Duration = Duration::from_millis(500);
