//! The scan and hyper read the head from memory, with the rules and switches of a real connection: what they refuse
//! there is refused here.
//!
//! Never interprets a byte itself. Bound: the input, and one answer of hyper's own.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body::{Body, Frame};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2 as client;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::report::Report;
use super::steps::{self, Stage};
use crate::error::Reason;
use crate::listen::patience::StreamTasks;
use crate::listen::scan::{Rules, Scan, Step};
use crate::listen::serve;
use crate::respond::unparsed;

/// A head that no step saw.
#[derive(Debug)]
pub(super) struct Unread {
    /// Why, in the gateway's terms.
    pub(super) reason: Reason,
    /// The answer in bytes; empty: the connection is closed without a word.
    pub(super) answer: Vec<u8>,
    /// What else is known.
    pub(super) said: String,
}

/// Lets the HTTP/1 reader read, and gives the first request to `then`.
///
/// # Errors
/// The pipe in memory breaks.
pub(super) async fn by_http1<T, F: Future<Output = T>>(
    stage: &Stage,
    bytes: &[u8],
    then: impl Fn(Request<Incoming>) -> F,
) -> io::Result<Result<T, Unread>> {
    if let Err(unread) = scan(stage, bytes) {
        return Ok(Err(unread));
    }
    let limits = &stage.worker.snapshot().config.limits;
    let (ours, mut theirs) = tokio::io::duplex(bytes.len() + ROOM);
    theirs.write_all(bytes).await?;
    let (slot, started, done) = (RefCell::new(None), Cell::new(false), Notify::new());
    let service = service_fn(|request| {
        let first = !started.replace(true);
        let answer = first.then(|| then(request));
        let (slot, done) = (&slot, &done);
        async move {
            if let Some(answer) = answer {
                *slot.borrow_mut() = Some(answer.await);
                done.notify_one();
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let ended = {
        let connection = serve::http1(limits.head_bytes, limits.head_fields)
            .serve_connection(TokioIo::new(ours), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        // All bytes are there: a head that does not come up now is not complete, and the end of input tells the reader.
        let mut ended = None;
        for _ in 0..READS {
            if started.get() || ended.is_some() {
                break;
            }
            ended = poll_fn(|cx| {
                Poll::Ready(match connection.as_mut().poll(cx) {
                    Poll::Ready(ended) => Some(ended),
                    Poll::Pending => None,
                })
            })
            .await;
            tokio::task::yield_now().await;
        }
        if !started.get() {
            theirs.shutdown().await?;
        }
        match ended {
            Some(ended) => Some(ended),
            None => tokio::select! {
                biased;
                () = done.notified() => None,
                ended = connection => Some(ended),
            },
        }
    };
    if let Some(answer) = slot.into_inner() {
        return Ok(Ok(answer));
    }
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await?;
    Ok(Err(unread(ended.and_then(Result::err).as_ref(), answer)))
}

/// The same by HTTP/2: the head, read as HTTP/1, is sent by a client of that protocol.
///
/// # Errors
/// The pipe in memory breaks.
pub(super) async fn by_http2(stage: &Stage, bytes: &[u8]) -> io::Result<Result<Report, Unread>> {
    let secure = stage.connection.tls.is_some();
    let read = by_http1(stage, bytes, |request| async move { in_http2(request, secure) }).await?;
    let (request, left) = match read {
        Ok(request) => request,
        Err(unread) => return Ok(Err(unread)),
    };
    stage.connection.set_multiplexed();
    let limits = &stage.worker.snapshot().config.limits;
    let tasks = StreamTasks::of(&stage.worker);
    let (ours, theirs) = tokio::io::duplex(bytes.len() + ROOM);
    let slot = Rc::new(RefCell::new(None));
    let service = service_fn(|request| {
        let slot = Rc::clone(&slot);
        let stage = stage.clone();
        async move {
            let report = steps::walk(&stage, request).await;
            *slot.borrow_mut() = Some(report);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let server = serve::http2(limits, tasks.clone()).serve_connection(TokioIo::new(ours), service);
    let handshake = client::handshake(tasks, TokioIo::new(theirs));
    let exchange = async {
        let (mut sender, connection) = handshake.await?;
        tokio::task::spawn_local(connection);
        sender.send_request(request).await
    };
    let answered = tokio::select! {
        biased;
        answered = exchange => answered.map(|response| response.status().as_u16()),
        ended = pin!(server) => ended.map(|()| 0),
    };
    let report = slot.borrow_mut().take();
    Ok(match (report, answered) {
        (Some(mut report), _) => {
            report
                .notes
                .extend(left.into_iter().map(|name| format!("HTTP/2 has no field `{name}`: left out")));
            Ok(report)
        }
        (None, Ok(status)) => {
            let reason = if status == 431 { Reason::HeadTooLarge } else { Reason::Malformed };
            let answer = if status == 0 { Vec::new() } else { format!("HTTP/2.0 {status}").into_bytes() };
            Err(Unread { reason, answer, said: "The HTTP/2 reader refuses it by itself.".to_owned() })
        }
        (None, Err(error)) => Err(unread(Some(&error), Vec::new())),
    })
}

/// The request as a client of HTTP/2 sends it, and the fields that this protocol does not have.
fn in_http2(request: Request<Incoming>, secure: bool) -> (Request<Pretended>, Vec<&'static str>) {
    let (mut parts, body) = request.into_parts();
    let mut left = Vec::new();
    for name in HOP_FIELDS {
        if parts.headers.remove(name).is_some() {
            left.push(name);
        }
    }
    if let Some(host) = parts.headers.remove(header::HOST) {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme(if secure { "https" } else { "http" });
        // A host that is no authority cannot be sent: then the client's own refusal is the answer.
        if let Ok(uri) = uri.authority(host.as_bytes()).path_and_query(path).build() {
            parts.uri = uri;
        }
    }
    parts.version = http::Version::HTTP_2;
    parts.extensions.clear();
    let body = if body.is_end_stream() { Pretended::None } else { Pretended::Owed };
    (Request::from_parts(parts, body), left)
}

/// The scan of the bytes, which comes before hyper. Nothing comes after them here: a partial head is one that never ends.
fn scan(stage: &Stage, bytes: &[u8]) -> Result<(), Unread> {
    let state = stage.worker.snapshot();
    let mut scan = Scan::new(Rules::from(&state.config));
    let reason = match scan.step(bytes) {
        Step::Refused(reason) => reason,
        Step::Partial => Reason::HeadTimeout,
        _ => {
            stage.connection.set_in_body(scan.in_body());
            return Ok(());
        }
    };
    let said = if reason == Reason::HeadTimeout {
        "The head is not complete; this is the answer if the rest does not come."
    } else {
        "The head is refused as bytes, before it becomes a request."
    };
    let answer = unparsed(&stage.worker, stage.connection.listener, bytes.trim_ascii_start(), reason);
    Err(Unread { reason, answer, said: said.to_owned() })
}

/// What hyper refused although the scan did not: an answer, if it gave one, counts before its error.
fn unread(error: Option<&hyper::Error>, answer: Vec<u8>) -> Unread {
    let large = error.is_some_and(hyper::Error::is_parse_too_large);
    let reason = match answer.get(9..12) {
        Some(b"414") => Reason::UriTooLong,
        Some(b"431") => Reason::HeadTooLarge,
        _ if large => Reason::HeadTooLarge,
        _ => Reason::Malformed,
    };
    let said = error.map_or_else(String::new, |error| format!("The HTTP reader said: {error}."));
    Unread { reason, answer, said }
}

/// The body of a request of which only the head is there.
enum Pretended {
    /// There is none.
    None,
    /// It never comes.
    Owed,
}

impl Body for Pretended {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match *self {
            Self::None => Poll::Ready(None),
            Self::Owed => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Fields of an HTTP/1 connection (RFC 9113 §8.2.2), which a browser never sends by HTTP/2.
const HOP_FIELDS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"];
/// Room in the pipe beside the input.
const ROOM: usize = 64 * 1024;
/// How often the reader is asked before a head counts as incomplete: it reads a large head in several turns.
const READS: usize = 4096;
