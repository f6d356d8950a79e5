//! Lets hyper read requests from one connection and hands each to the gateway.
//!
//! Sets every hyper switch on purpose (see the design's checklist of pitfalls), ends the connection at its deadlines,
//! and answers the heads that the scan kept from hyper, in their turn. Decides nothing about a request. Bound:
//! `limits.h2_*`, `limits.head_*`.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::Version;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::select;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep};

use super::connection::{Connection, GOODBYE};
use super::deadline::{Deadlines, Overdue};
use super::http10;
use super::linger::{Linger, has_unread};
use super::patience::{self, StreamTasks};
use super::scan::{Rules, Scan};
use super::sniff::Protocol;
use super::stream::{Remains, Stream, Transport};
use crate::admin::labels::{ConnReason, ConnectionState, Label as _, Tolerated};
use crate::clock;
use crate::config::Limits;
use crate::error::Reason;
use crate::gateway;
use crate::ingress::size;
use crate::respond::{Body, unparsed};
use crate::worker::Worker;

/// Serves a connection until it ends. Returns why, if we ended it before its time.
///
/// `prefix` are bytes that have been read from `transport` already.
pub async fn serve(
    worker: Rc<Worker>,
    transport: Transport,
    prefix: BytesMut,
    protocol: Protocol,
    connection: Arc<Connection>,
) -> Option<ConnReason> {
    let open = worker.metrics.hold_connection(ConnectionState::Open);
    let snapshot = worker.snapshot();
    let config = &snapshot.config;
    let deadlines = Deadlines::from(&config.timeouts);
    // What may have been on its way when the client was told of the end.
    let most = config.limits.requests_per_connection.saturating_add(u64::from(config.limits.h2_streams));
    let service = {
        let context = Rc::new((Rc::clone(&worker), Arc::clone(&connection)));
        service_fn(move |request: http::Request<Incoming>| {
            let context = Rc::clone(&context);
            // Boxed: hyper keeps the room of one request, 7 KiB, while the connection waits for the next.
            Box::pin(async move {
                let (worker, connection) = &*context;
                if connection.overstays(most, clock::monotonic) {
                    // The client may ask elsewhere: RFC 9113 §8.7.
                    return Err(h2::Error::from(h2::Reason::REFUSED_STREAM));
                }
                let is_old = request.version() == Version::HTTP_10;
                let mut response = gateway::handle(worker, connection, request).await;
                worker.announce_end(connection, &mut response);
                if is_old {
                    http10::fit(connection, &mut response);
                }
                if connection.multiplexed() {
                    patience::client_is_awaited();
                    response = response.map(Body::in_pieces);
                }
                Ok::<http::Response<Body>, h2::Error>(response)
            })
        })
    };
    match protocol {
        Protocol::Http1 => {
            let (back, remains) = oneshot::channel();
            let scan = Scan::new(Rules::from(config));
            let stream = Stream::scanned(prefix, transport, Arc::clone(&connection), scan, back);
            let conn = http1(config.limits.head_bytes, config.limits.head_fields)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let shut_down = http1::UpgradeableConnection::graceful_shutdown;
            let end = drive(pin!(conn), shut_down, &connection, deadlines).await;
            drop(open);
            for &what in Tolerated::ALL {
                worker.metrics.tolerated(what, connection.tolerated(what));
            }
            finish(&worker, &connection, end, remains, Linger::from(config)).await
        }
        Protocol::Http2 => {
            connection.set_multiplexed();
            let stream = Stream::new(prefix, transport, Arc::clone(&connection));
            let tasks = StreamTasks::of(&worker);
            // Boxed: else every HTTP/1 connection has room for it too.
            let mut conn =
                Box::pin(http2(&config.limits, tasks).serve_connection(TokioIo::new(stream), service));
            match drive(conn.as_mut(), http2::Connection::graceful_shutdown, &connection, deadlines).await {
                End::Closed(ended) => ended.err().and_then(|error| protocol_error(&error, &connection)),
                End::Overdue(Overdue::Idle) => {
                    conn.as_mut().graceful_shutdown();
                    say_goodbye(conn.as_mut(), &connection, deadlines).await
                }
                End::Overdue(overdue) => reason(overdue),
                End::Refused | End::Left | End::Silent => None,
            }
        }
    }
}

/// How hyper's part of a connection ended.
enum End {
    /// By itself.
    Closed(hyper::Result<()>),
    /// By a deadline.
    Overdue(Overdue),
    /// By a head that it was not shown.
    Refused,
    /// By its client, and nobody was there to hear it.
    Left,
    /// By us, since an HTTP/2 client did not take part in it.
    Silent,
}

/// Polls the connection, its deadlines and the wish to close.
async fn drive<C>(
    mut conn: Pin<&mut C>,
    shut_down: impl Fn(Pin<&mut C>),
    connection: &Connection,
    deadlines: Deadlines,
) -> End
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut timer = pin!(deadlines.timer(connection));
    let mut close = pin!(unconstrained(connection.close_asked()));
    let mut closing = false;
    let mut farewell: Option<Pin<Box<Sleep>>> = None;
    // Whom the timer and the wish to close will wake: while that is the task that polls, and neither has come to pass,
    // they need no poll of their own, of which each request would pay for three.
    let mut woken: Option<Waker> = None;
    poll_fn(|cx| {
        let known = woken.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            woken = Some(cx.waker().clone());
        }
        loop {
            if let Poll::Ready(ended) = conn.as_mut().poll(cx) {
                return Poll::Ready(End::Closed(ended));
            }
            // Only polling the connection makes a refusal due, so looking after that is enough.
            if connection.refusal_due() {
                return Poll::Ready(End::Refused);
            }
            if connection.has_left() {
                return Poll::Ready(End::Left);
            }
            if (!known || timer.is_elapsed())
                && let Poll::Ready(overdue) = deadlines.poll_missed(connection, timer.as_mut(), cx)
            {
                return Poll::Ready(End::Overdue(overdue));
            }
            if let Some(timer) = &mut farewell
                && poll_farewell(connection, timer.as_mut(), cx).is_ready()
            {
                return Poll::Ready(End::Silent);
            }
            if closing || (known && !connection.is_closing()) || close.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            closing = true;
            shut_down(conn.as_mut());
            // h2 waits for the client's acknowledgement for good.
            connection.hear_anew();
            farewell = connection.multiplexed().then(|| Box::pin(sleep(GOODBYE)));
        }
    })
    .await
}

/// Ready when a connection that was told of its end is to be closed all the same.
fn poll_farewell(connection: &Connection, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
        let now = clock::monotonic();
        if connection.may_be_left(now) {
            return Poll::Ready(());
        }
        timer.as_mut().reset((now + GOODBYE).into());
    }
}

/// What is left to do on HTTP/1.1 when hyper has let go of the transport: our own answer, and a close that lets the
/// client read it.
async fn finish(
    worker: &Worker,
    connection: &Connection,
    end: End,
    mut remains: oneshot::Receiver<Remains>,
    linger: Linger,
) -> Option<ConnReason> {
    // A tunnel has kept it.
    let Ok(mut remains) = remains.try_recv() else { return None };
    let (answered, closed) = match (end, remains.refused, remains.waiting) {
        (End::Refused, Some(reason), _) => {
            let answer = unparsed(worker, connection.listener, remains.head.trim_ascii_start(), reason);
            (linger.answer(&mut remains.transport, &answer).await, None)
        }
        (End::Overdue(Overdue::Head), _, true) => {
            let head = remains.head.trim_ascii_start();
            let answer = unparsed(worker, connection.listener, head, Reason::HeadTimeout);
            worker.metrics.connection_rejected(ConnReason::HeadTimeout);
            (linger.answer(&mut remains.transport, &answer).await, None)
        }
        (End::Closed(Ok(())), ..) => {
            let ended = remains.shut || linger.answer(&mut remains.transport, &[]).await;
            (ended && (remains.unread || has_unread(&remains.transport)), None)
        }
        (End::Closed(Err(error)), ..) => (false, protocol_error(&error, connection)),
        (End::Overdue(overdue), ..) => (false, reason(overdue)),
        (End::Refused, None, _) | (End::Left | End::Silent, ..) => (false, None),
    };
    if answered { linger.discard(worker, remains.transport).await } else { closed }
}

/// Answers a cleartext connection whose first head is refused, before anything is made for it that only a request needs:
/// whoever sends nothing but such heads should cost as little as can be.
pub async fn refuse(
    worker: &Worker,
    listener: usize,
    mut transport: Transport,
    head: &[u8],
    reason: Reason,
) -> Option<ConnReason> {
    let linger = Linger::from(&worker.snapshot().config);
    let answer = unparsed(worker, listener, head.trim_ascii_start(), reason);
    if linger.answer(&mut transport, &answer).await { linger.discard(worker, transport).await } else { None }
}

/// Lets GOAWAY reach the client, and answers a request that crossed it on the way.
async fn say_goodbye<C>(
    mut conn: Pin<&mut C>,
    connection: &Connection,
    deadlines: Deadlines,
) -> Option<ConnReason>
where
    C: Future<Output = hyper::Result<()>>,
{
    loop {
        select! {
            biased;
            _ = conn.as_mut() => return Some(ConnReason::Idle),
            () = sleep(GOODBYE) => {
                if let Some(overdue) = deadlines.overdue(connection, clock::monotonic()) {
                    return reason(overdue);
                }
            }
        }
    }
}

/// What a missed deadline is counted as.
const fn reason(overdue: Overdue) -> Option<ConnReason> {
    match overdue {
        Overdue::Head => Some(ConnReason::HeadTimeout),
        Overdue::Idle => Some(ConnReason::Idle),
        Overdue::Write => Some(ConnReason::WriteTimeout),
    }
}

/// What hyper refused by itself, without a word to the gateway. A peer that went away is no refusal.
fn protocol_error(error: &hyper::Error, connection: &Connection) -> Option<ConnReason> {
    if connection.multiplexed() {
        (!error.is_closed() && !error.is_canceled()).then_some(ConnReason::H2Protocol)
    } else if error.is_parse_too_large() {
        Some(ConnReason::HeadTooLarge)
    } else {
        error.is_parse().then_some(ConnReason::Malformed)
    }
}

/// hyper's reader of HTTP/1.1 with our switches. Whatever [`super::scan`] lets through fits into its limits.
#[must_use]
pub fn http1(head_bytes: usize, head_fields: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Our own lazy deadline does this job: hyper's timer is reset for every request.
        .header_read_timeout(None)
        .half_close(false)
        .pipeline_flush(false)
        .max_headers(head_fields)
        .max_buf_size(head_bytes.max(MIN_BUFFER) + 1);
    builder
}

/// How HTTP/2 is read from clients.
pub(crate) fn http2(limits: &Limits, tasks: StreamTasks) -> http2::Builder<StreamTasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(limits.h2_stream_window)
        .initial_connection_window_size(limits.h2_connection_window)
        .max_header_list_size(size::parser_bytes(limits))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024);
    builder
}

/// hyper's smallest read buffer.
const MIN_BUFFER: usize = 8192;
