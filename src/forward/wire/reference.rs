//! HTTP/1.1 by hyper's client, behind the same seam.
//!
//! The connection runs in a task of its own on the same thread. It never retries and never decides on reuse. Bound:
//! [`HeadLimits`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::{error, io, mem};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use super::{Failure, HeadLimits, State, Switched, Wire};
use crate::error::{Reason, Refusal};
use crate::forward::body::RequestBody;

/// HTTP/1.1 by hyper. The connection runs in a task of its own on the same thread.
pub(in crate::forward) struct Hyper<T> {
    sender: SendRequest<RequestBody>,
    task: Option<JoinHandle<()>>,
    heard: Arc<AtomicBool>,
    body: Option<Incoming>,
    upgrade: Option<OnUpgrade>,
    transport: std::marker::PhantomData<T>,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire<T> for Hyper<T> {
    async fn open(transport: T, limits: HeadLimits) -> Result<Self, Refusal> {
        let heard = Arc::new(AtomicBool::new(false));
        let socket = TokioIo::new(Socket { transport, heard: Arc::clone(&heard) });
        let mut builder = http1::Builder::new();
        builder.max_header_size(limits.bytes).max_headers(limits.fields);
        let (sender, connection) = builder.handshake(socket).await.map_err(refusal)?;
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                // The exchange under way, if any, has its own error; this is about an idle connection.
                tracing::debug!(error = &error as &dyn error::Error, "upstream connection ended");
            }
        });
        let transport = std::marker::PhantomData;
        Ok(Self { sender, task: Some(task), heard, body: None, upgrade: None, transport })
    }

    fn state(&mut self) -> State {
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

    async fn exchange(&mut self, request: &mut Request<RequestBody>) -> Result<Response<()>, Failure> {
        self.heard.store(false, Ordering::Relaxed);
        self.body = None;
        let own: Vec<_> = request.body().own().iter().collect();
        let mut sent = Request::new(mem::replace(request.body_mut(), RequestBody::empty()));
        *sent.method_mut() = request.method().clone();
        *sent.uri_mut() = request.uri().clone();
        *sent.headers_mut() = request.headers().clone();
        sent.headers_mut().extend(own);
        match self.sender.try_send_request(sent).await {
            Ok(mut response) => {
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    self.upgrade = Some(hyper::upgrade::on(&mut response));
                }
                let (parts, body) = response.into_parts();
                self.body = Some(body);
                Ok(Response::from_parts(parts, ()))
            }
            Err(mut failed) => {
                let unwritten = failed.take_message().map(|whole| *request = whole).is_some();
                Err(Failure { refusal: refusal(failed.into_error()), unwritten })
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        Pin::new(body).poll_frame(cx).map_err(|error| Refusal::caused_by(Reason::UpstreamBodyBroken, error))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }

    fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn rest(&mut self) {
        self.body = None;
    }

    async fn switch(mut self) -> Result<Switched<T>, Refusal> {
        let Some(upgrade) = self.upgrade.take() else { return Err(Refusal::from(Reason::Internal)) };
        let upgraded = upgrade.await.map_err(refusal)?;
        self.task = None;
        match upgraded.downcast::<TokioIo<Socket<T>>>() {
            Ok(parts) => Ok(Switched::new(parts.io.into_inner().transport, parts.read_buf)),
            Err(_other) => Err(Refusal::from(Reason::Internal)),
        }
    }
}

impl<T> Drop for Hyper<T> {
    fn drop(&mut self) {
        // Without this hyper would go on with an upload, or drain an answer, that nobody wants any more.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Says whose fault an error of hyper's client is.
fn classify(error: &hyper::Error) -> Reason {
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
struct Socket<T> {
    transport: T,
    heard: Arc<AtomicBool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
