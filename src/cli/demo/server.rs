//! The demo site's own server: one thread, HTTP/1.1, loopback.
//!
//! Does what takes time (uploads, events, waiting) and leaves the rest to `site`. Never reachable from elsewhere, never
//! keeps a body. Bound: [`CONNECTIONS`], [`site::BODY_BYTES`] for what is held.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::thread::JoinHandle;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::body::Body;
use super::pages;
use super::site::{self, Moment};
use super::visit::Visit;
use crate::clock;

/// A running demo site. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// Starts the site on a free port of 127.0.0.1.
///
/// # Errors
/// No port, no descriptor or no thread is left.
pub(super) fn start() -> io::Result<Server> {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(socket)?
    };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("demo-site".into())
        .spawn(move || runtime.block_on(accept(listener, stopped)))?;
    Ok(Server { address, thread: Some(thread), stop: Some(stop) })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the demo site's thread panicked");
        }
    }
}

async fn accept(listener: TcpListener, stopped: oneshot::Receiver<()>) {
    let mut stopped = pin!(stopped);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Whether told or dropped, it is the end.
            _ = &mut stopped => return,
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the demo site could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection of the demo site ended by a bug");
                }
            }
        }
    }
}

async fn connection(stream: TcpStream) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(respond(request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // Longer than the gateway keeps an idle connection, so that it is never the site that closes first.
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the demo site broke off");
    }
}

async fn respond(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/upload") => return upload(&parts, body).await,
        (&Method::GET, "/events/stream") => return events(),
        (_, "/slow") => tokio::time::sleep(delay(parts.uri.query())).await,
        _ => {}
    }
    let Ok(body) = Limited::new(body, site::BODY_BYTES).collect().await else {
        return site::failed(&parts, StatusCode::PAYLOAD_TOO_LARGE);
    };
    let mut random = [0; 16];
    if SystemRandom::new().fill(&mut random).is_err() {
        return site::failed(&parts, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let moment = Moment { now: clock::now(), random: u128::from_ne_bytes(random) };
    site::answer(&parts, &body.to_bytes(), moment)
}

fn events() -> Response<Body> {
    let mut response = site::text(StatusCode::OK, "");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    *response.body_mut() = Body::clock();
    response
}

/// Counts and hashes a body of any length.
async fn upload(parts: &Parts, mut body: Incoming) -> Response<Body> {
    let (mut bytes, mut hash) = (0_u64, Context::new(&SHA256));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return site::failed(parts, StatusCode::BAD_REQUEST) };
        if let Some(data) = frame.data_ref() {
            bytes += data.len() as u64;
            hash.update(data);
        }
    }
    let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let report = format!("{{\"bytes\":{bytes},\"sha256\":\"{hex}\"}}\n");
    let by_form =
        parts.headers.get(ACCEPT).is_some_and(|v| memchr::memmem::find(v.as_bytes(), b"text/html").is_some());
    if by_form {
        site::page(StatusCode::OK, pages::upload(&Visit::new(parts), Some(&report)))
    } else {
        site::whole(StatusCode::OK, "application/json", report)
    }
}

/// How long `/slow?ms=` waits: a second unless told, never longer than [`LONGEST_DELAY`].
fn delay(query: Option<&str>) -> Duration {
    let asked = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("ms=")));
    asked
        .and_then(|ms| ms.parse().ok())
        .map_or(Duration::from_secs(1), Duration::from_millis)
        .min(LONGEST_DELAY)
}

/// Connections at a time; further ones wait in the kernel's queue. More than the gateway opens.
pub(super) const CONNECTIONS: usize = 256;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
const LONGEST_DELAY: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// Sends bytes, reads to the end.
    fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn an_upload_is_counted_and_hashed() {
        let server = start().unwrap();
        let request =
            b"POST /upload HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
            1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
        let answer = exchange(server.address, request);
        let expected =
            "{\"bytes\":3,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}\n";
        assert!(answer.ends_with(expected), "{answer}");
    }

    #[test]
    fn a_form_above_the_limit_is_refused() {
        let server = start().unwrap();
        let form = |bytes: usize| {
            let body = "a".repeat(bytes);
            format!(
                "POST /register HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n{body}"
            )
        };
        let answer = exchange(server.address, form(site::BODY_BYTES).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = exchange(server.address, form(site::BODY_BYTES + 1).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }

    #[test]
    fn it_ends_with_open_connections_and_frees_its_port() {
        let server = start().unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"GET /events/stream HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        let address = server.address;
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn waiting_has_an_end() {
        assert_eq!(delay(None), Duration::from_secs(1));
        assert_eq!(delay(Some("a=b&ms=20")), Duration::from_millis(20));
        assert_eq!(delay(Some("ms=999999999")), LONGEST_DELAY);
        assert_eq!(delay(Some("ms=-1")), Duration::from_secs(1));
    }
}
