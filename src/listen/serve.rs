//! Lets hyper read requests from one connection and hands each to the gateway.
//!
//! Sets every hyper switch on purpose (see the design's checklist of pitfalls) and ends the connection at its
//! deadlines. Decides nothing about a request. Bound: `limits.h2_*`, `limits.head_*`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::select;

use super::connection::Connection;
use super::deadline::{Deadlines, Overdue};
use super::sniff::Protocol;
use super::stream::Stream;
use crate::admin::labels::ConnReason;
use crate::config::Limits;
use crate::gateway;
use crate::respond::Body;
use crate::worker::Worker;

/// Serves a connection until it ends. Returns why, if we ended it before its time.
pub async fn serve(
    worker: Rc<Worker>,
    stream: Stream,
    protocol: Protocol,
    connection: Arc<Connection>,
) -> Option<ConnReason> {
    let snapshot = worker.snapshot();
    let deadlines = Deadlines::from(&snapshot.config.timeouts);
    let service = {
        let context = Rc::new((worker, Arc::clone(&connection)));
        service_fn(move |request: http::Request<Incoming>| {
            let context = Rc::clone(&context);
            async move {
                let (worker, connection) = &*context;
                let mut response = gateway::handle(worker, connection, request).await;
                worker.announce_end(connection, &mut response);
                Ok::<http::Response<Body>, Infallible>(response)
            }
        })
    };
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let conn = http1(&snapshot.config.limits).serve_connection(io, service).with_upgrades();
            drive(pin!(conn), http1::UpgradeableConnection::graceful_shutdown, &connection, deadlines).await
        }
        Protocol::Http2 => {
            connection.set_multiplexed();
            let conn = http2(&snapshot.config.limits).serve_connection(io, service);
            drive(pin!(conn), http2::Connection::graceful_shutdown, &connection, deadlines).await
        }
    }
}

/// Polls the connection, its deadlines and the wish to close.
async fn drive<C>(
    mut conn: std::pin::Pin<&mut C>,
    shut_down: impl Fn(std::pin::Pin<&mut C>),
    connection: &Connection,
    deadlines: Deadlines,
) -> Option<ConnReason>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut missed = pin!(deadlines.missed(connection));
    let mut close = pin!(connection.close_asked());
    let mut closing = false;
    loop {
        select! {
            biased;
            ended = conn.as_mut() => return ended.err().and_then(|error| protocol_error(&error, connection)),
            overdue = missed.as_mut() => return reason(overdue),
            () = close.as_mut(), if !closing => {
                closing = true;
                shut_down(conn.as_mut());
            }
        }
    }
}

/// An idle connection that is closed has done nothing wrong.
const fn reason(overdue: Overdue) -> Option<ConnReason> {
    match overdue {
        Overdue::Head => Some(ConnReason::HeadTimeout),
        Overdue::Idle => None,
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

/// How HTTP/1 is read from clients.
pub(crate) fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Our own lazy deadline does this job: hyper's timer is reset for every request.
        .header_read_timeout(None)
        .half_close(false)
        .pipeline_flush(false)
        .max_headers(limits.head_fields)
        .max_buf_size(limits.head_bytes.max(MIN_BUFFER));
    builder
}

/// How HTTP/2 is read from clients.
pub(crate) fn http2(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(limits.h2_stream_window)
        .initial_connection_window_size(limits.h2_connection_window)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024);
    builder
}

/// hyper's smallest read buffer.
const MIN_BUFFER: usize = 8192;

/// Spawns the tasks of an HTTP/2 connection on its own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
