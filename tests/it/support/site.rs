//! A site in another dress: over TCP, TLS or a Unix socket, in HTTP/1.1 or HTTP/2, by hyper's server.
//!
//! It does what its path says and counts: `/echo` gives the body and its trailers back, `/long` never ends, `/status/N`
//! answers with N, `/healthz` with what the test has set, and everything else with the text `page`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::h2::{block_on, spawn};

/// What a site speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

impl Speaks {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The line of the `[[site]]` table.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Http1 => "upstream_protocol = \"http/1.1\"",
            Self::Http2 => "upstream_protocol = \"h2\"",
        }
    }
}

/// A running site.
pub struct Site {
    /// As it stands in `upstream`.
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    long: AtomicUsize,
    health: AtomicU16,
    seen: Mutex<Vec<Request<()>>>,
}

impl Site {
    /// On a port, in cleartext.
    pub fn start(speaks: Speaks) -> Self {
        Self::on_port(speaks, None)
    }

    /// On a port, by TLS.
    pub fn start_tls(speaks: Speaks, tls: ServerConfig) -> Self {
        Self::on_port(speaks, Some(TlsAcceptor::from(Arc::new(tls))))
    }

    /// On a Unix socket.
    pub fn start_unix(speaks: Speaks, path: &Path) -> Self {
        let shared = Arc::<Shared>::default();
        shared.health.store(200, SeqCst);
        let (own, path_) = (Arc::clone(&shared), path.to_owned());
        block_on(async move {
            let listener = UnixListener::bind(path_).expect("a socket");
            spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    spawn(serve(speaks, stream, Arc::clone(&own)));
                }
            });
        });
        Self { url: format!("unix:{}", path.display()), shared }
    }

    fn on_port(speaks: Speaks, tls: Option<TlsAcceptor>) -> Self {
        let shared = Arc::<Shared>::default();
        shared.health.store(200, SeqCst);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let own = Arc::clone(&shared);
        let address: SocketAddr = block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("its address");
            spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (tls, own) = (tls.clone(), Arc::clone(&own));
                    spawn(async move {
                        match tls {
                            None => serve(speaks, stream, own).await,
                            Some(tls) => {
                                // A gateway that does not trust this site ends the handshake.
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(speaks, stream, own).await;
                                }
                            }
                        }
                    });
                }
            });
            address
        });
        Self { url: format!("{scheme}://localhost:{}", address.port()), shared }
    }

    /// The status of `/healthz` from now on.
    pub fn health(&self, status: u16) {
        self.shared.health.store(status, SeqCst);
    }

    /// Heads of all requests but health checks.
    pub fn seen(&self) -> Vec<Request<()>> {
        self.seen_where(|path| path != "/healthz")
    }

    /// How many health checks came.
    pub fn checks(&self) -> usize {
        self.seen_where(|path| path == "/healthz").len()
    }

    /// Answers of `/long` that are under way.
    pub fn long(&self) -> usize {
        self.shared.long.load(SeqCst)
    }

    /// Connections that spoke HTTP.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    fn seen_where(&self, wanted: impl Fn(&str) -> bool) -> Vec<Request<()>> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|request| wanted(request.uri().path())).cloned().collect()
    }
}

async fn serve<S>(speaks: Speaks, stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    shared.connections.fetch_add(1, SeqCst);
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let stream = TokioIo::new(stream);
    // How a connection ends is the test's business, not ours.
    match speaks {
        Speaks::Http1 => {
            let builder = hyper::server::conn::http1::Builder::new();
            drop(builder.serve_connection(stream, service).await);
        }
        Speaks::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.timer(TokioTimer::new()).serve_connection(stream, service).await);
        }
    }
}

type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answered, hyper::Error> {
    let (parts, body) = request.into_parts();
    shared.seen.lock().unwrap().push(Request::from_parts(parts.clone(), ()));
    let path = parts.uri.path();
    let text = |text: &'static str| UnsyncBoxBody::new(Full::new(Bytes::from_static(text.as_bytes())));
    if let Some(status) = path.strip_prefix("/status/") {
        let answer = Response::builder().status(status.parse::<u16>().expect("a status"));
        return Ok(answer.body(UnsyncBoxBody::new(Empty::new())).expect("an answer"));
    }
    match path {
        "/healthz" => {
            let answer = Response::builder().status(shared.health.load(SeqCst));
            Ok(answer.body(text("health")).expect("an answer"))
        }
        "/long" => Ok(Response::new(UnsyncBoxBody::new(Long::new(shared)))),
        "/echo" => {
            let whole = body.collect().await?;
            let trailers = whole.trailers().cloned();
            let data = Frame::data(whole.to_bytes());
            let frames: Vec<_> = std::iter::once(data).chain(trailers.map(Frame::trailers)).collect();
            let body = Frames(frames.into_iter());
            Ok(Response::builder()
                .header("trailer", "x-test-sum")
                .body(UnsyncBoxBody::new(body))
                .expect("an answer"))
        }
        _ => Ok(Response::new(text("page"))),
    }
}

/// A body of these frames.
struct Frames(std::vec::IntoIter<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// A body without an end.
struct Long(Arc<Shared>);

impl Long {
    fn new(shared: Arc<Shared>) -> Self {
        shared.long.fetch_add(1, SeqCst);
        Self(shared)
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        self.0.long.fetch_sub(1, SeqCst);
    }
}

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16_384])))))
    }
}
