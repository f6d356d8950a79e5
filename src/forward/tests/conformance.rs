//! What every client of an endpoint must do, asked of the one in use and of hyper's.
//!
//! Where the two differ on purpose, the difference stands in [`DIFFERENCES`] with its reason.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::play::{Script, Seen};
use super::{data, feed, local};
use crate::error::{Reason, Refusal};
use crate::forward::wire::reference::Hyper;
use crate::forward::wire::{HeadLimits, Http1, State, Wire};
use crate::forward::{RequestBody, framing};

pub(super) type Ours = Box<Http1<DuplexStream>>;
pub(super) type Reference = Hyper<DuplexStream>;

/// Whether the connection ends behind the answer.
pub(super) const ENDS: bool = true;
const STAYS: bool = false;

/// The method, the answer, and what is seen of it.
const CASES: [(Method, bool, &str, &str); 54] = [
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "200 <abc> again"),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 <> again"),
    (Method::GET, STAYS, "HTTP/1.1 200\r\ncontent-length: 1\r\n\r\na", "200 <a> again"),
    (Method::GET, STAYS, "HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\na", "200 <a> again"),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\ncontent-length: 1\n\na", "200 <a> again"),
    (Method::GET, STAYS, "\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "200 <a> again"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        "200 <a> again",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "200 <abcde> again",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n00A ;a=\"b\"\r\n0123456789\r\n0\r\n\r\n",
        "200 <0123456789> again",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: 1\r\ny: 2\r\n\r\n",
        "200 <a> trailers again",
    ),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "200 <> again"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        "200 <a> again",
    ),
    (Method::GET, ENDS, "HTTP/1.1 100 Continue\r\n\r\n", "UpstreamClosed"),
    (Method::HEAD, STAYS, "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n", "200 <> again"),
    (Method::HEAD, STAYS, "HTTP/1.1 200 OK\r\n\r\n", "200 <> again"),
    (Method::HEAD, STAYS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 <> again"),
    (Method::HEAD, STAYS, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "200 <> closed"),
    (Method::GET, STAYS, "HTTP/1.1 204 No Content\r\n\r\n", "204 <> again"),
    (Method::GET, STAYS, "HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n\r\na", "204 <> closed"),
    (Method::GET, STAYS, "HTTP/1.1 304 Not Modified\r\ncontent-length: 42\r\n\r\n", "304 <> again"),
    (Method::GET, STAYS, "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", "304 <> again"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "304 <> closed",
    ),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 <until the end> closed"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\n\r\n", "200 <> closed"),
    (Method::GET, ENDS, "HTTP/1.0 200 OK\r\n\r\nold", "200 <old> closed"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na",
        "200 <a> closed",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\nconnection: x, close\r\ncontent-length: 1\r\n\r\na",
        "200 <a> closed",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "200 <a> closed",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n",
        "200 <a> closed",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\r\n",
        "200 <a> closed",
    ),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc", "200 broken"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", "200 broken"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 broken"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab", "200 broken"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "200 broken"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", "200 broken"),
    (
        Method::GET,
        ENDS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: 1\r\n",
        "200 broken",
    ),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "200 broken"),
    (
        Method::GET,
        ENDS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        "200 broken",
    ),
    (
        Method::GET,
        ENDS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
        "200 broken",
    ),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\nabc", "UpstreamProtocol"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        "UpstreamProtocol",
    ),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc", "UpstreamProtocol"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "UpstreamProtocol",
    ),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc", "UpstreamProtocol"),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "UpstreamProtocol",
    ),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\na: b\r\n c: d\r\n\r\n", "UpstreamProtocol"),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", "UpstreamProtocol"),
    (Method::GET, STAYS, "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", "UpstreamProtocol"),
    (
        Method::GET,
        ENDS,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\nz: a\r\n\r\n",
        "200 broken",
    ),
    (
        Method::GET,
        STAYS,
        "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nconnection: close\r\ncontent-length: 1\r\n\r\na",
        "200 <a> closed",
    ),
    (Method::GET, ENDS, "SSH-2.0-OpenSSH_9.2\r\n", "UpstreamProtocol"),
    (Method::GET, ENDS, "", "UpstreamClosed"),
    (Method::GET, ENDS, "HTTP/1.1 200 OK\r\nx:", "UpstreamClosed"),
];

/// The answer, what is seen of it here, what hyper makes of it, and why it is not the same.
const DIFFERENCES: [(&str, &str, &str, &str); 4] = [
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc",
        "UpstreamProtocol",
        "200 <abc> again",
        "a list is not one length, whatever is in it",
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n",
        "UpstreamProtocol",
        "200 broken",
        "no body has so many bytes: the number is a mistake or an attack",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;\x01\r\na\r\n0\r\n\r\n",
        "200 broken",
        "200 <a> closed",
        "control bytes in an extension are no extension (RFC 9112 7.1.1)",
    ),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n00000000000000001\r\na\r\n0\r\n\r\n",
        "200 broken",
        "200 <a> closed",
        "more digits than a size can need",
    ),
];

pub(super) fn seen<W: Wire<DuplexStream>>(script: &Script) -> Seen {
    let script = script.clone();
    local(async move { script.play::<W>().await })
}

#[test]
fn answers_are_seen_for_what_they_are() {
    for (method, ends, answer, wanted) in CASES {
        let script = Script::whole(method, answer.as_bytes(), ends);
        assert_eq!(seen::<Ours>(&script).short(), wanted, "{answer:?}");
        assert_eq!(seen::<Reference>(&script).short(), wanted, "hyper: {answer:?}");
    }
}

#[test]
fn the_pieces_of_an_answer_change_nothing() {
    for (method, ends, answer, wanted) in CASES {
        let script = Script::whole(method, answer.as_bytes(), ends);
        let bytes: Vec<usize> = (0..answer.len()).collect();
        local(async {
            assert_eq!(script.cut(&bytes).play::<Ours>().await.short(), wanted, "{answer:?}");
            for at in bytes {
                assert_eq!(script.cut(&[at]).play::<Ours>().await.short(), wanted, "{answer:?} {at}");
            }
        });
    }
}

#[test]
fn differences_to_hyper_are_the_listed_ones() {
    for (answer, ours, reference, why) in DIFFERENCES {
        let script = Script::whole(Method::GET, answer.as_bytes(), ENDS);
        assert_eq!(seen::<Ours>(&script).short(), ours, "{why}");
        assert_eq!(
            seen::<Reference>(&script).short().replace("again", "closed"),
            reference.replace("again", "closed"),
            "{why}"
        );
    }
}

#[test]
fn heads_are_bounded() {
    let HeadLimits { fields: most_fields, bytes: most_bytes } = HeadLimits::USUAL;
    let fields = |n| format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(n));
    let bytes = |n| format!("HTTP/1.1 204 OK\r\nx: {}\r\n\r\n", "y".repeat(n - 24));
    for (head, wanted) in [
        (fields(most_fields - 1), "200 <> again"),
        (fields(most_fields), "UpstreamHeadTooLarge"),
        (bytes(most_bytes), "204 <> again"),
        (bytes(most_bytes + 1), "UpstreamHeadTooLarge"),
        ("HTTP/1.1 200 OK\r\nx: ".to_owned() + &"y".repeat(most_bytes), "UpstreamHeadTooLarge"),
    ] {
        let script = Script::whole(Method::GET, head.as_bytes(), STAYS);
        let halves = script.cut(&[head.len() / 2]);
        assert_eq!(seen::<Ours>(&script).short(), wanted);
        assert_eq!(seen::<Ours>(&halves).short(), wanted);
        assert_eq!(seen::<Reference>(&script).short(), wanted);
    }
}

#[test]
fn interim_answers_are_bounded() {
    let answer = |n| "HTTP/1.1 100 Go\r\n\r\n".repeat(n) + "HTTP/1.1 204 Done\r\n\r\n";
    let script = |n| Script::whole(Method::GET, answer(n).as_bytes(), STAYS);
    assert_eq!(seen::<Ours>(&script(16)).short(), "204 <> again");
    assert_eq!(seen::<Ours>(&script(17)).short(), "UpstreamProtocol");
}

/// What is written for a request, until the client waits for the answer or has failed.
async fn written<W: Wire<DuplexStream>>(mut request: Request<RequestBody>) -> (Vec<u8>, Option<Reason>) {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
    framing::request(&mut request);
    let waited = tokio::time::timeout(Duration::from_millis(50), wire.exchange(&mut request)).await;
    drop(wire);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.unwrap();
    (bytes, waited.ok().and_then(Result::err).map(|failure| failure.refusal.reason()))
}

fn post(length: Option<u64>, frames: Vec<Result<Frame<Bytes>, Refusal>>) -> Request<RequestBody> {
    let (feeder, stub) = feed(length);
    for frame in frames {
        feeder.send(frame).unwrap();
    }
    let mut request = Request::new(stub.body());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/a/b?c=d".parse().unwrap();
    for (name, value) in
        [("host", "example.org"), ("x-a", "1"), ("X-B", "2"), ("x-a", "3"), ("trailer", "x-sum")]
    {
        request.headers_mut().append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    request
}

#[test]
fn requests_are_written_alike() {
    let large: &'static str = "x".repeat(100_000).leak();
    let trailers = || {
        let mut fields = HeaderMap::new();
        fields.insert("x-sum", "1".parse().unwrap());
        Ok(Frame::trailers(fields))
    };
    let make: [&dyn Fn() -> Request<RequestBody>; 9] = [
        &|| Request::new(RequestBody::empty()),
        &|| post(Some(5), vec![data("hello")]),
        &|| post(Some(6), vec![data("hello"), data(""), data("!")]),
        &|| post(None, vec![data("hello"), data(""), data(" world")]),
        &|| post(None, vec![data("hello"), trailers()]),
        &|| post(None, vec![data(large), data("small"), data(large)]),
        &|| post(Some(100_000), vec![data(large)]),
        &|| post(None, vec![data("hello"), Err(Reason::BodyTooLarge.into())]),
        &|| post(Some(6), vec![data("hello"), Err(Reason::BodyTimeout.into())]),
    ];
    for (nth, make) in make.iter().enumerate() {
        let (ours, failed) = local(async { written::<Ours>(make()).await });
        let (reference, reference_failed) = local(async { written::<Reference>(make()).await });
        assert_eq!(failed, reference_failed, "{nth}");
        if failed.is_none() {
            let (ours, reference) = (String::from_utf8(ours).unwrap(), String::from_utf8(reference).unwrap());
            assert_eq!(ours, reference, "{nth}");
            assert!(ours.contains(" HTTP/1.1\r\n"));
        }
    }
}

#[test]
fn trailers_pass_even_if_their_names_were_not_told() {
    let mut fields = HeaderMap::new();
    fields.insert("x-other", "1".parse().unwrap());
    // hyper loses them.
    let request = || post(None, vec![data("a"), Ok(Frame::trailers(fields.clone()))]);
    let (ours, _) = local(async { written::<Ours>(request()).await });
    assert!(ours.ends_with(b"\r\n\r\n1\r\na\r\n0\r\nx-other: 1\r\n\r\n"));
}

#[test]
fn a_body_shorter_than_announced_never_looks_whole() {
    let (feeder, stub) = feed(Some(20));
    feeder.send(data("hello")).unwrap();
    drop(feeder);
    let mut request = post(Some(20), Vec::new());
    *request.body_mut() = stub.body();
    let (bytes, failed) = local(async { written::<Ours>(request).await });
    assert_eq!(failed, Some(Reason::BodyBroken));
    assert!(!String::from_utf8(bytes).unwrap().contains("hello0"));
}

/// An endpoint that answers when it has read a head, and is given back.
fn answering(mut theirs: DuplexStream, answer: &'static str) -> JoinHandle<DuplexStream> {
    tokio::task::spawn_local(async move {
        let mut last = [0; 4];
        while &last != b"\r\n\r\n" {
            last.rotate_left(1);
            last[3] = theirs.read_u8().await.unwrap();
        }
        theirs.write_all(answer.as_bytes()).await.unwrap();
        theirs
    })
}

async fn early_answer<W: Wire<DuplexStream>>() {
    let (ours, theirs) = duplex(1 << 16);
    let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
    let (feeder, stub) = feed(None);
    feeder.send(data("part")).unwrap();
    let mut request = Request::new(stub.body());
    framing::request(&mut request);
    let _theirs = answering(theirs, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nenough");
    let response = wire.exchange(&mut request).await.unwrap();
    assert_eq!(response.status(), 200);
    let frame = poll_fn(|cx| wire.poll_frame(cx)).await.unwrap().unwrap();
    assert_eq!(frame.data_ref().unwrap(), "enough");
    assert!(wire.heard());
    assert_ne!(wire.state(), State::Ready);
    drop(wire);
    feeder.closed().await;
}

/// The answer begins while the request is being sent, and both go on.
async fn both_ways<W: Wire<DuplexStream>>() {
    let (ours, mut theirs) = duplex(64);
    let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
    let endpoint = tokio::task::spawn_local(async move {
        theirs.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"0\r\n\r\n") {
            bytes.push(theirs.read_u8().await.unwrap());
        }
        theirs.write_all(b"4\r\nthen\r\n0\r\n\r\n").await.unwrap();
        (bytes.len(), theirs)
    });
    let (feeder, stub) = feed(None);
    let mut request = Request::new(stub.body());
    framing::request(&mut request);
    wire.exchange(&mut request).await.unwrap();
    for _ in 0..4 {
        feeder.send(Ok(Frame::data(Bytes::from(vec![b'x'; 10_000])))).unwrap();
    }
    drop(feeder);
    let mut body = Vec::new();
    while let Some(frame) = poll_fn(|cx| wire.poll_frame(cx)).await {
        body.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(body, b"then");
    let (sent, _theirs) = endpoint.await.unwrap();
    assert!(sent > 40_000);
    assert!(wire.settled().await);
}

/// The endpoint closes an idle connection while the next request is on its way.
async fn stale<W: Wire<DuplexStream>>() {
    let (ours, theirs) = duplex(1 << 16);
    let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
    let endpoint = answering(theirs, "HTTP/1.1 204 No Content\r\n\r\n");
    let mut request = Request::new(RequestBody::empty());
    wire.exchange(&mut request).await.unwrap();
    assert!(wire.heard());
    assert!(wire.settled().await);
    drop(answering(endpoint.await.unwrap(), ""));
    let failure = wire.exchange(&mut request).await.unwrap_err();
    assert_eq!(failure.refusal.reason(), Reason::UpstreamClosed);
    assert!(!failure.unwritten && !wire.heard());
    assert_eq!(wire.state(), State::Closed);
}

/// A connection that was closed before the request came gives the request back.
async fn unwritten<W: Wire<DuplexStream>>() {
    let (ours, theirs) = duplex(1 << 16);
    let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
    drop(theirs);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let mut request = Request::new(RequestBody::empty());
    *request.method_mut() = Method::POST;
    request.headers_mut().insert("x", "1".parse().unwrap());
    let failure = wire.exchange(&mut request).await.unwrap_err();
    assert!(failure.unwritten);
    assert_eq!((request.method(), request.headers().len()), (&Method::POST, 1));
    assert_eq!(wire.state(), State::Closed);
}

/// After a 101 the transport is handed over with what was read of the other protocol.
async fn switched<W: Wire<DuplexStream>>() {
    let (ours, theirs) = duplex(1 << 16);
    let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
    let endpoint = answering(
        theirs,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
    );
    let mut request = Request::new(RequestBody::empty());
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let response = wire.exchange(&mut request).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut raw = wire.switch().await.unwrap();
    let mut first = [0; 5];
    raw.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"hello");
    let mut theirs = endpoint.await.unwrap();
    raw.write_all(b"ping").await.unwrap();
    theirs.write_all(b"pong").await.unwrap();
    theirs.read_exact(&mut first[..4]).await.unwrap();
    assert_eq!(&first[..4], b"ping");
    raw.read_exact(&mut first[..4]).await.unwrap();
    assert_eq!(&first[..4], b"pong");
}

macro_rules! both {
    ($($(#[$doc:meta])* $name:ident = $scenario:ident;)*) => {$(
        #[test]
        fn $name() {
            local($scenario::<Ours>());
            local($scenario::<Reference>());
        }
    )*};
}

both! {
    an_early_answer_is_heard_and_the_upload_ends_with_the_connection = early_answer;
    a_request_and_its_answer_go_on_together = both_ways;
    a_stale_connection_is_silent_and_was_written_to = stale;
    a_closed_connection_gives_the_request_back = unwritten;
    a_switch_hands_the_transport_over = switched;
}
