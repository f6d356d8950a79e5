//! One HTTP/2 connection: its task, its count of streams, and whether it takes another.
//!
//! Dropping the last handle closes the socket. Never opens a stream itself. Bounds: a window of 256 KiB for each
//! stream, and one for the connection that no slow reader can fill for the others.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::h2::client::{self, SendRequest};
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::super::counts::{Closed, add_one};
use super::super::pool::Settings;
use super::super::wire::Transport;
use super::stream::told;
use super::{MOST_STREAMS, Streams};
use crate::clock;
use crate::error::{Reason, Refusal};

/// What the task of a connection drives.
pub(super) type Driven = client::Connection<Transport, Bytes>;

/// One connection.
pub(in super::super) struct Connection {
    pub(super) sender: SendRequest<Bytes>,
    /// Whether the requests on it are of scheme `https`.
    pub(super) secure: bool,
    owner: Weak<Streams>,
    streams: Cell<usize>,
    /// What the endpoint allows.
    limit: Cell<usize>,
    /// Whether a request was sent on it before.
    carried: Cell<bool>,
    /// Whether it takes no further request.
    retired: Cell<bool>,
    /// Whether it counts as open.
    counted: Cell<bool>,
    opened: Instant,
    idle_since: Cell<Instant>,
    task: Cell<Option<AbortHandle>>,
}

/// The library's settings.
pub(super) fn builder(settings: &Settings) -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS as u32)
        .max_header_list_size(u32::try_from(settings.limits.bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        // Frames for streams that clients gave up are expected, and no reason to end the connection.
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(settings.head.min(RESET_MEMORY));
    builder
}

/// Ready when the endpoint has said how many streams it allows. It may allow none, and change its mind.
pub(super) fn poll_settled(driven: &mut Driven, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
    let ended = Pin::new(&mut *driven).poll(cx);
    match ended {
        _ if driven.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(told(error))),
        Poll::Ready(Ok(())) => Poll::Ready(Err(Reason::UpstreamClosed.into())),
        Poll::Pending => Poll::Pending,
    }
}

impl Connection {
    /// Starts the task of a connection.
    pub(super) fn start(sender: SendRequest<Bytes>, mut driven: Driven, owner: &Rc<Streams>) -> Rc<Self> {
        let now = clock::monotonic();
        let connection = Rc::new(Self {
            sender,
            secure: owner.target.is_tls(),
            owner: Rc::downgrade(owner),
            streams: Cell::default(),
            limit: Cell::new(driven.max_concurrent_send_streams()),
            carried: Cell::default(),
            retired: Cell::default(),
            counted: Cell::new(true),
            opened: now,
            idle_since: Cell::new(now),
            task: Cell::default(),
        });
        let weak = Rc::downgrade(&connection);
        let task = tokio::task::spawn_local(async move {
            let ended = poll_fn(|cx| {
                let ended = Pin::new(&mut driven).poll(cx);
                if let Some(connection) = weak.upgrade() {
                    connection.allowed(driven.max_concurrent_send_streams());
                }
                ended
            })
            .await;
            if let Err(error) = ended {
                // The streams have errors of their own; this is about the connection as a whole.
                tracing::debug!(%error, "upstream connection ended");
            }
            if let Some(connection) = weak.upgrade() {
                connection.retired.set(true);
                connection.leave();
                if let Some(owner) = connection.owner.upgrade() {
                    owner.ended(&connection);
                }
            }
        });
        connection.task.set(Some(task.abort_handle()));
        connection
    }

    /// Streams in use.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// How many streams may be open.
    pub(super) fn most(&self) -> usize {
        self.limit.get().min(MOST_STREAMS)
    }

    /// Whether another stream may begin now.
    pub(super) fn has_room(&self) -> bool {
        self.streams.get() < self.most()
    }

    /// Whether it is open for less than `age`.
    pub(super) fn is_younger(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) < age
    }

    /// Why it takes no further request; `None` if it does.
    pub(super) fn verdict(&self, settings: &Settings, now: Instant) -> Option<Closed> {
        let idle = now.saturating_duration_since(self.idle_since.get());
        if self.retired.get() || self.is_leaving() {
            Some(Closed::Endpoint)
        } else if !self.is_younger(settings.max_age, now) {
            Some(Closed::MaxAge)
        } else if self.streams.get() == 0 && idle >= settings.idle {
            Some(Closed::Idle)
        } else {
            None
        }
    }

    /// No further request: this one showed that the connection is broken or about to end.
    pub(super) fn retire(&self) {
        self.retired.set(true);
    }

    /// The endpoint had not acted on a request that cannot be sent again: more of its body was sent than is kept.
    pub(super) fn body_is_gone(&self) {
        if let Some(owner) = self.owner.upgrade() {
            add_one(&owner.counters.bodies_gone);
        }
    }

    /// Takes a stream. True if the connection was used before.
    pub(super) fn begin(&self) -> bool {
        self.streams.set(self.streams.get() + 1);
        self.carried.replace(true)
    }

    /// A stream is over; somebody else may have it.
    pub(super) fn end(&self) {
        self.forget();
        if let Some(owner) = self.owner.upgrade() {
            owner.serve();
        }
    }

    /// A stream is over, and nobody is to have it just now.
    pub(super) fn forget(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.idle_since.set(clock::monotonic());
    }

    /// The endpoint said how many streams it allows.
    fn allowed(&self, limit: usize) {
        if self.limit.replace(limit) < limit
            && let Some(owner) = self.owner.upgrade()
        {
            owner.serve();
        }
    }

    /// It is closed, or about to be.
    fn leave(&self) {
        if self.counted.replace(false)
            && let Some(owner) = self.owner.upgrade()
        {
            owner.open.set(owner.open.get().saturating_sub(1));
        }
    }

    /// Whether the endpoint said that it takes no more (GOAWAY), or the connection broke.
    fn is_leaving(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.leave();
    }
}

/// Window of one stream in bytes. The connection's is that of all its streams, so that slow readers hold up only
/// themselves.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of a request body held for one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams given up whose late frames are ignored.
const RESET_STREAMS: usize = 1024;
/// For how long.
const RESET_MEMORY: Duration = Duration::from_secs(30);
