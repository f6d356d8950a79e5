//! The admin listener: `/metrics`, `/healthz`, `/readyz`, `/version`.
//!
//! HTTP/1.1, one request per connection, GET and HEAD. It lives on the background thread's runtime and goes on answering
//! while the gateway drains; dropping the future ends it. Never serves traffic, never reads a body, knows nothing of
//! visitors, and answers to no name but its own ([`super::hosts`]). Bound: [`Limits`].

use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use super::health::{NotReady, Readiness};
use super::hosts::{AdminHosts, NotOurs};
use super::metrics::{CONTENT_TYPE as METRICS_TYPE, Metrics};

/// What one stranger on the admin address can cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Time for the request's head.
    pub head: Duration,
    /// Time for the whole connection.
    pub connection: Duration,
}

impl Limits {
    /// 64 connections, 5 s for the head, 15 s in all.
    pub const DEFAULT: Self =
        Self { connections: 64, head: Duration::from_secs(5), connection: Duration::from_secs(15) };
}

/// Answers on `listener` until dropped, but accepts nothing while `resting` says so: then a successor answers on the same
/// socket. Needs a Tokio runtime with I/O and time.
///
/// # Errors
/// If the listener cannot be handed to the runtime.
pub fn serve(
    listener: StdListener,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    hosts: AdminHosts,
    resting: watch::Receiver<bool>,
) -> impl Future<Output = io::Result<()>> {
    serve_within(listener, State { metrics, readiness, hosts }, resting, Limits::DEFAULT)
}

async fn serve_within(
    listener: StdListener,
    state: State,
    mut resting: watch::Receiver<bool>,
    limits: Limits,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let state = Arc::new(state);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < limits.connections && !*resting.borrow() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&state), limits));
                }
                Err(error) => {
                    warn!(%error, "the admin listener could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Once nobody can say any more whether to rest, the last word counts.
            Ok(()) = resting.changed() => {}
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    error!(%error, "an admin connection ended by a bug");
                }
            }
        }
    }
}

/// What the answers are made of.
struct State {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    hosts: AdminHosts,
}

async fn connection(stream: TcpStream, state: Arc<State>, limits: Limits) {
    let Ok(local) = stream.local_addr() else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let (version, target) = (request.version(), request.uri());
        let response = match state.hosts.admit(version, target, request.headers(), local.ip()) {
            Ok(()) => answer(request.method(), target.path(), &state),
            Err(NotOurs::Malformed) => text(StatusCode::BAD_REQUEST, "a request has one Host\n"),
            Err(NotOurs::OtherName) => {
                text(StatusCode::MISDIRECTED_REQUEST, "not a name of this listener: see admin.hosts\n")
            }
        };
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limits.connection, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "an admin connection broke off"),
        Err(_) => debug!("an admin connection took too long"),
    }
}

/// The answer to a request. Pure but for the figures.
fn answer(method: &Method, path: &str, state: &State) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/metrics" => match state.metrics.text() {
            Ok(page) => response(StatusCode::OK, METRICS_TYPE, page),
            Err(error) => {
                error!(%error, "the metrics page could not be made");
                text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
            }
        },
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(&state.readiness.reasons()),
        "/version" => json(StatusCode::OK, &VERSION),
        _ => text(StatusCode::NOT_FOUND, "not here; / lists what is\n"),
    }
}

fn ready(reasons: &[NotReady]) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Ready<'a> {
        ready: bool,
        reasons: &'a [NotReady],
        /// Two processes answer at this address one after the other in an upgrade: it says which one this is.
        pid: u32,
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Ready { ready, reasons, pid: std::process::id() })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            response(status, "application/json", body)
        }
        Err(error) => {
            error!(%error, "an admin answer could not be written as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The body of `/version`.
#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

const VERSION: Version = Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

const INDEX: &str = "\
Kelisim admin
/metrics  figures for Prometheus
/healthz  200 while the process lives
/readyz   200 while traffic is welcome, else 503 with the reasons; and the number of the process
/version  name and version
";

/// Bytes of a request's head; the smallest buffer that hyper takes.
const HEAD_BYTES: usize = 8192;

/// After a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::admin::metrics::LabelSpace;

    const TEST_LIMITS: Limits =
        Limits { connections: 2, head: Duration::from_secs(60), connection: Duration::from_secs(60) };

    /// Runs `test` against a server on loopback; an end of the server is a failure.
    fn with_server<F: Future>(limits: Limits, test: impl FnOnce(SocketAddr, Arc<Readiness>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, _workers) = Metrics::new(&LabelSpace::default(), 1).unwrap();
        let readiness = Arc::new(Readiness::starting());
        let (_sender, resting) = watch::channel(false);
        let state = State { metrics, readiness: Arc::clone(&readiness), hosts: AdminHosts::default() };
        let server = serve_within(listener, state, resting, limits);
        runtime.block_on(async {
            tokio::select! {
                ended = server => panic!("the server ended: {ended:?}"),
                _ = test(address, readiness) => {}
            }
        });
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(stream).await
    }

    async fn read_all(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    }

    #[test]
    fn metrics_are_served_with_their_type() {
        with_server(Limits::DEFAULT, |at, _| async move {
            let answer = get(at, "/metrics").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
            assert!(
                answer.contains("\nkelisim_request_rejected_total{reason=\"malformed\"} 0\n"),
                "{answer}"
            );
        });
    }

    #[test]
    fn readiness_tells_its_reasons() {
        with_server(Limits::DEFAULT, |at, readiness| async move {
            let body = |ready: bool, reasons: &str| {
                let pid = std::process::id();
                format!("\r\n\r\n{{\"ready\":{ready},\"reasons\":[{reasons}],\"pid\":{pid}}}\n")
            };
            let answer = get(at, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.ends_with(&body(false, "\"starting\"")), "{answer}");
            readiness.clear(NotReady::Starting);
            let answer = get(at, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.ends_with(&body(true, "")), "{answer}");
            readiness.set(NotReady::Draining);
            assert!(get(at, "/readyz").await.ends_with(&body(false, "\"draining\"")));
        });
    }

    #[test]
    fn liveness_does_not_depend_on_readiness() {
        with_server(Limits::DEFAULT, |at, readiness| async move {
            readiness.set(NotReady::Draining);
            assert!(get(at, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
        });
    }

    #[test]
    fn version_and_index() {
        with_server(Limits::DEFAULT, |at, _| async move {
            let expected =
                format!("{{\"name\":\"kelisim\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"));
            assert!(get(at, "/version").await.ends_with(&expected));
            let index = get(at, "/").await;
            for path in ["/metrics", "/healthz", "/readyz", "/version"] {
                assert!(index.contains(path), "{path} is not in the index");
            }
        });
    }

    #[test]
    fn only_get_and_head() {
        with_server(Limits::DEFAULT, |at, _| async move {
            let post =
                ask(at, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
            assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
            let head = ask(at, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
            assert!(get(at, "/nothing").await.starts_with("HTTP/1.1 404 "));
        });
    }

    #[test]
    fn a_page_of_another_name_reads_nothing() {
        with_server(Limits::DEFAULT, |at, _| async move {
            for path in ["/metrics", "/version", "/"] {
                let asked = format!("GET {path} HTTP/1.1\r\nHost: rebound.example:{}\r\n\r\n", at.port());
                let answer = ask(at, &asked).await;
                assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("kelisim_"), "{answer}");
            }
            let asked = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
            assert!(ask(at, &asked).await.starts_with("HTTP/1.1 200 "));
            assert!(ask(at, "GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
        });
    }

    #[test]
    fn a_request_without_one_host_is_malformed() {
        with_server(Limits::DEFAULT, |at, _| async move {
            for fields in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: a b\r\n"] {
                let answer = ask(at, &format!("GET /healthz HTTP/1.1\r\n{fields}\r\n")).await;
                assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            }
            let own = ask(at, "GET http://localhost/healthz HTTP/1.1\r\nHost: rebound.example\r\n\r\n").await;
            assert!(own.starts_with("HTTP/1.1 200 "), "{own}");
            let other = ask(at, "GET http://rebound.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert!(other.starts_with("HTTP/1.1 421 "), "{other}");
        });
    }

    #[test]
    fn a_silent_client_is_cut() {
        let limits = Limits { head: Duration::from_millis(20), ..TEST_LIMITS };
        with_server(limits, |at, _| async move {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(b"GET /metr").await.unwrap();
            read_all(stream).await;
        });
    }

    #[test]
    fn a_head_too_large_is_refused() {
        with_server(Limits::DEFAULT, |at, _| async move {
            // Not a byte more than fits: unread bytes would make the system reset the connection over the answer.
            let start = "GET / HTTP/1.1\r\nX: ";
            let request = format!("{start}{}", "a".repeat(HEAD_BYTES - start.len()));
            let answer = ask(at, &request).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        });
    }

    #[test]
    fn connections_above_the_limit_wait_for_a_place() {
        with_server(TEST_LIMITS, |at, _| async move {
            let mut silent = Vec::new();
            for _ in 0..TEST_LIMITS.connections {
                silent.push(TcpStream::connect(at).await.unwrap());
            }
            let waiting = get(at, "/healthz");
            tokio::pin!(waiting);
            let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
            assert!(early.is_err(), "answered above the limit: {early:?}");
            silent.pop();
            assert!(waiting.await.starts_with("HTTP/1.1 200 OK\r\n"));
        });
    }
}
