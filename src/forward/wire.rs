//! What the pool needs of a connection to an endpoint, and hyper's HTTP/1.1 client as the one that gives it.
//!
//! [`Wire`] is the seam: everything above it is ours and stays when another client takes hyper's place. It never
//! retries and never decides on reuse; it tells what happened. Bound: an answer's head of 64 KiB and 100 fields.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::{error, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::body::RequestBody;
use crate::error::{Reason, Refusal};

/// The connection in use. Another [`Wire`] takes its place by changing this line.
pub(super) type Active = Http1;

/// Whether a connection can take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Now.
    Ready,
    /// Not yet: the last exchange is being put away.
    Busy,
    /// Never again.
    Closed,
}

/// An exchange without an answer.
pub(super) struct Failure {
    /// Why, and what caused it.
    pub(super) refusal: Refusal,
    /// The request, if not a byte of it was written.
    pub(super) unwritten: Option<Box<Request<RequestBody>>>,
}

/// A connection that carries one exchange at a time. Dropping it closes the socket, whatever is under way.
pub(super) trait Wire: Sized {
    /// The body of an answer. It ends only when all of it was read; a cut body is an error.
    type Body: Body<Data = Bytes>;

    /// Takes over a connected socket.
    async fn open(stream: TcpStream) -> Result<Self, Refusal>;

    /// Whether a request can be sent. Bytes or an end of input that arrive between exchanges close the connection.
    fn state(&self) -> State;

    /// Waits for `Ready` or `Closed`; true if it is ready.
    async fn settled(&mut self) -> bool;

    /// Sends a request and gives the head of the answer; 1xx but 101 are dropped.
    async fn exchange(&mut self, request: Request<RequestBody>) -> Result<Response<Self::Body>, Failure>;

    /// Whether a byte arrived since the last exchange began.
    fn heard(&self) -> bool;

    /// Lets go of the connection without closing it, after a 101: the upgrade owns the socket now.
    fn detach(self);
}

/// HTTP/1.1 by hyper. The connection runs in a task of its own on the same thread.
pub(super) struct Http1 {
    sender: SendRequest<RequestBody>,
    task: Option<JoinHandle<()>>,
    heard: Arc<AtomicBool>,
}

impl Wire for Http1 {
    type Body = Incoming;

    async fn open(stream: TcpStream) -> Result<Self, Refusal> {
        let heard = Arc::new(AtomicBool::new(false));
        let socket = TokioIo::new(Socket { stream, heard: Arc::clone(&heard) });
        let (sender, connection) = builder().handshake(socket).await.map_err(refusal)?;
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                // The exchange under way, if any, has its own error; this is about an idle connection.
                tracing::debug!(error = &error as &dyn error::Error, "upstream connection ended");
            }
        });
        Ok(Self { sender, task: Some(task), heard })
    }

    fn state(&self) -> State {
        if self.sender.is_closed() {
            State::Closed
        } else if self.sender.is_ready() {
            State::Ready
        } else {
            State::Busy
        }
    }

    async fn settled(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    async fn exchange(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
        self.heard.store(false, Ordering::Relaxed);
        self.sender.try_send_request(request).await.map_err(|mut failed| {
            let unwritten = failed.take_message().map(Box::new);
            Failure { refusal: refusal(failed.into_error()), unwritten }
        })
    }

    fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        // Without this hyper would go on with an upload, or drain an answer, that nobody wants any more.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// How every connection to an endpoint writes and reads heads.
pub(super) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own limit of 100 fields stays: another number costs two allocations per answer.
    builder.max_header_size(HEAD_BYTES);
    builder
}

/// Says whose fault an error of hyper's client is.
pub(super) fn classify(error: &hyper::Error) -> Reason {
    if error.is_parse_too_large() {
        Reason::UpstreamHeadTooLarge
    } else if error.is_parse() {
        Reason::UpstreamProtocol
    } else if let Some(reason) = own_reason(error) {
        reason
    } else if error.is_body_write_aborted() {
        // The body ended before its announced length.
        Reason::BodyBroken
    } else if error.is_user() {
        Reason::Internal
    } else if error.is_incomplete_message()
        || error.is_closed()
        || error.is_canceled()
        || has_io_source(error)
    {
        Reason::UpstreamClosed
    } else {
        Reason::UpstreamProtocol
    }
}

fn refusal(error: hyper::Error) -> Refusal {
    Refusal::caused_by(classify(&error), error)
}

/// The reason that our own request body gave to hyper.
fn own_reason(error: &hyper::Error) -> Option<Reason> {
    let source = error::Error::source(error)?;
    source.downcast_ref::<Refusal>().map(Refusal::reason)
}

fn has_io_source(error: &hyper::Error) -> bool {
    error::Error::source(error).is_some_and(<dyn error::Error>::is::<io::Error>)
}

/// A socket that notes when a byte arrives. The flag is atomic only because an upgrade may move the socket to
/// another thread; it is never contended.
struct Socket {
    stream: TcpStream,
    heard: Arc<AtomicBool>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Fields of an answer's head: hyper's own limit.
#[cfg(test)]
pub(super) const HEAD_FIELDS: usize = 100;

/// Bytes of the head of an answer.
pub(super) const HEAD_BYTES: usize = 64 * 1024;
