//! One connection of a client, over HTTP/1.1 or HTTP/2, and the questions that it asks.
//!
//! Never waits longer than [`PATIENCE`]. Bound: one answer at a time.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Fallible;

/// What is sent.
pub(crate) type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// An HTTP/1.1 connection.
pub(crate) async fn http1(address: SocketAddr) -> Fallible<http1::SendRequest<Sent>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is seen by whoever asks on it.
    tokio::task::spawn_local(async move { connection.await.is_ok() });
    Ok(sender)
}

/// An HTTP/2 connection in cleartext.
pub(crate) async fn http2(address: SocketAddr) -> Fallible<http2::SendRequest<Sent>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move { connection.await.is_ok() });
    Ok(sender)
}

/// A page, with the cookies and hints that a browser sends.
pub(crate) fn page(path: &str, absolute: bool) -> Fallible<Request<Sent>> {
    let uri = if absolute { format!("http://kz.example{path}") } else { path.to_owned() };
    let mut request = Request::get(uri)
        .header(header::ACCEPT, "text/html")
        .header(header::USER_AGENT, "Mozilla/5.0 (soak)")
        .header("sec-fetch-dest", "document")
        .header(header::COOKIE, "_fbp=fb.1.2.3; session=abc; _gcl_au=1.2; theme=dark");
    if !absolute {
        request = request.header(header::HOST, "kz.example");
    }
    Ok(request.body(Empty::new().boxed_unsync())?)
}

/// An upload of so many pieces of 16 KiB; with its length, or in chunks.
pub(crate) fn upload(pieces: usize, chunked: bool) -> Fallible<Request<Sent>> {
    let piece = Bytes::from(vec![b'u'; 16 * 1024]);
    let body = if chunked {
        Pieces { piece, left: pieces }.boxed_unsync()
    } else {
        Full::new(Bytes::from(vec![b'u'; pieces * 16 * 1024])).boxed_unsync()
    };
    Ok(Request::builder()
        .method(Method::POST)
        .uri("/upload")
        .header(header::HOST, "kz.example")
        .body(body)?)
}

/// Reads an answer to its end. Gives its status.
pub(crate) async fn finish(response: Response<Incoming>) -> Fallible<u16> {
    let status = response.status().as_u16();
    patient(response.into_body().collect()).await??;
    Ok(status)
}

/// One `GET` on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Fallible<String> {
    let mut sender = http1(address).await?;
    let response = patient(sender.send_request(page(path, false)?)).await??;
    let body = patient(response.into_body().collect()).await??.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

/// Waits, but not for ever.
pub(crate) async fn patient<F: Future>(future: F) -> Fallible<F::Output> {
    Ok(tokio::time::timeout(PATIENCE, future).await?)
}

/// Pieces of unknown number: sent in chunks.
struct Pieces {
    piece: Bytes,
    left: usize,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

/// Spawns on this thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// How long a client waits for anything; reaching it is an error of the gateway.
const PATIENCE: Duration = Duration::from_secs(30);
