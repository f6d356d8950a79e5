//! What is sent a second time over HTTP/2 when an endpoint says that it has not acted on it, and what is not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::{HeaderName, HeaderValue, Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::origin::Origin;
use super::{Setup, data, feed, fetch, local, with_body};
use crate::config::Protocol;
use crate::error::Reason;
use crate::forward::kept::KEPT_BYTES;
use crate::forward::{RequestBody, Upstreams};
use crate::ingress::outgoing::Fields;

/// How an endpoint says that it has not acted on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// `RST_STREAM` with `REFUSED_STREAM`.
    Stream,
    /// `GOAWAY` that names no stream.
    Connection,
}

/// When it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Once it has the head.
    Head,
    /// Once it has something of the body.
    Data,
    /// Once it has the whole request.
    End,
}

/// An endpoint in frames: it refuses the first request and answers each other with 204 once it is whole.
struct Refusing {
    upstreams: Rc<Upstreams>,
    seen: Rc<RefCell<Seen>>,
}

/// What came, over all connections.
#[derive(Default)]
struct Seen {
    heads: Vec<Vec<u8>>,
    body: Vec<u8>,
}

impl Refusing {
    async fn start(refusal: Refusal, when: When) -> Self {
        Self::start_with(refusal, when, 1).await
    }

    /// The same, refusing so many.
    async fn start_with(refusal: Refusal, when: When, times: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stand_in = Origin::standing_at(listener.local_addr().unwrap());
        let (seen, left) = (Rc::<RefCell<Seen>>::default(), Rc::new(Cell::new(times)));
        let all = Rc::clone(&seen);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, refusal, when, Rc::clone(&all), Rc::clone(&left)));
            }
        });
        let mut setup = Setup::new(&[&stand_in]);
        setup.site.protocol = Protocol::Http2;
        Self { upstreams: setup.build(), seen }
    }

    fn heads(&self) -> usize {
        self.seen.borrow().heads.len()
    }

    /// Two heads of one connection differ by its table of fields; on two connections they are the same bytes.
    fn check_heads(&self, refusal: Refusal) {
        let heads = &self.seen.borrow().heads;
        assert!(refusal == Refusal::Stream || heads[0] == heads[1]);
    }
}

/// Reads frames until the connection ends.
async fn serve(
    mut stream: TcpStream,
    refusal: Refusal,
    when: When,
    seen: Rc<RefCell<Seen>>,
    left: Rc<Cell<usize>>,
) -> Option<()> {
    stream.read_exact(&mut [0; PREFACE]).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        match head[3] {
            SETTINGS if head[4] & ACK == 0 => {
                stream.write_all(&frame(SETTINGS, ACK, 0, b"")).await.ok()?;
            }
            HEADERS => seen.borrow_mut().heads.push(payload),
            DATA => seen.borrow_mut().body.extend(payload),
            _ => continue,
        }
        // Every frame of a body is given back at once.
        if head[3] == DATA && length > 0 {
            for stream_id in [0, id] {
                stream.write_all(&frame(WINDOW_UPDATE, 0, stream_id, &length.to_be_bytes())).await.ok()?;
            }
        }
        let ends = matches!(head[3], HEADERS | DATA) && head[4] & END_STREAM != 0;
        let due = ends
            || (when == When::Head && head[3] == HEADERS)
            || (when == When::Data && head[3] == DATA && length > 0);
        if due && left.get() > 0 {
            left.set(left.get() - 1);
            let said = match refusal {
                Refusal::Stream => frame(RST_STREAM, 0, id, &REFUSED_STREAM.to_be_bytes()),
                Refusal::Connection => frame(GOAWAY, 0, 0, &[0; 8]),
            };
            stream.write_all(&said).await.ok()?;
        } else if ends {
            stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &[STATUS_204])).await.ok()?;
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn with_own(method: Method, body: RequestBody) -> Request<RequestBody> {
    let mut own = Fields::default();
    own.push(&HeaderName::from_static("x-of-ours"), &HeaderValue::from_static("told"));
    with_body(method, "/", body.with_own(own))
}

/// 502 for one request in as many as a server answers on a connection before it says GOAWAY.
#[test]
fn a_body_that_was_sent_is_sent_again_after_a_head_that_is_the_same() {
    local(async {
        for refusal in [Refusal::Stream, Refusal::Connection] {
            for method in [Method::POST, Method::PUT] {
                for length in [None, Some(8)] {
                    let origin = Refusing::start(refusal, When::End).await;
                    let (feeder, stub) = feed(length);
                    feeder.send(data("one ")).unwrap();
                    feeder.send(data("body")).unwrap();
                    drop(feeder);
                    let outcome = fetch(&origin.upstreams, with_own(method.clone(), stub.body())).await;
                    let case = format!("{refusal:?} {method} {length:?}");
                    assert_eq!(outcome.unwrap(), "", "{case}");
                    let seen = origin.seen.borrow();
                    assert_eq!((seen.heads.len(), &*seen.body), (2, &b"one bodyone body"[..]), "{case}");
                    drop(seen);
                    origin.check_heads(refusal);
                }
            }
        }
    });
}

#[test]
fn what_was_sent_of_a_body_comes_before_the_rest() {
    local(async {
        for refusal in [Refusal::Stream, Refusal::Connection] {
            let origin = Refusing::start(refusal, When::Data).await;
            let (feeder, stub) = feed(Some(8));
            feeder.send(data("one ")).unwrap();
            let upstreams = Rc::clone(&origin.upstreams);
            let sent = tokio::task::spawn_local(async move {
                fetch(&upstreams, with_own(Method::POST, stub.body())).await
            });
            while origin.heads() < 2 {
                tokio::task::yield_now().await;
            }
            feeder.send(data("body")).unwrap();
            assert_eq!(sent.await.unwrap().unwrap(), "", "{refusal:?}");
            assert_eq!(&*origin.seen.borrow().body, b"one one body", "{refusal:?}");
        }
    });
}

#[test]
fn a_body_of_which_too_much_was_sent_is_not_sent_again_nor_its_head_without_it() {
    local(async {
        let pieces = KEPT_BYTES / PIECE.len() + 1;
        for refusal in [Refusal::Stream, Refusal::Connection] {
            let origin = Refusing::start(refusal, When::End).await;
            let (feeder, stub) = feed(None);
            let upstreams = Rc::clone(&origin.upstreams);
            let sent = tokio::task::spawn_local(async move {
                fetch(&upstreams, with_own(Method::POST, stub.body())).await
            });
            for _ in 0..pieces {
                feeder.send(data(PIECE)).unwrap();
                tokio::task::yield_now().await;
            }
            drop(feeder);
            assert_eq!(sent.await.unwrap(), Err(Reason::UpstreamClosed), "{refusal:?}");
            assert_eq!((origin.heads(), origin.upstreams.take_bodies_gone(0)), (1, 1), "{refusal:?}");
        }
    });
}

/// Twice is enough: whoever refuses again is believed.
#[test]
fn a_body_is_sent_no_third_time() {
    local(async {
        let origin = Refusing::start_with(Refusal::Stream, When::End, 2).await;
        let (feeder, stub) = feed(Some(4));
        feeder.send(data("body")).unwrap();
        let outcome = fetch(&origin.upstreams, with_own(Method::POST, stub.body())).await;
        assert_eq!((outcome, origin.heads()), (Err(Reason::UpstreamClosed), 2));
    });
}

#[test]
fn what_has_no_body_is_sent_again_with_all_its_fields() {
    local(async {
        for refusal in [Refusal::Stream, Refusal::Connection] {
            for method in [Method::GET, Method::POST] {
                let origin = Refusing::start(refusal, When::End).await;
                let request = with_own(method.clone(), RequestBody::empty());
                assert_eq!(fetch(&origin.upstreams, request).await.unwrap(), "", "{refusal:?} {method}");
                assert_eq!(origin.heads(), 2, "{refusal:?} {method}");
                origin.check_heads(refusal);
            }
        }
    });
}

#[test]
fn a_body_of_which_nothing_was_read_is_sent_with_the_second_head() {
    local(async {
        for refusal in [Refusal::Stream, Refusal::Connection] {
            let origin = Refusing::start(refusal, When::Head).await;
            let (feeder, stub) = feed(Some(4));
            let upstreams = Rc::clone(&origin.upstreams);
            let sent = tokio::task::spawn_local(async move {
                fetch(&upstreams, with_own(Method::POST, stub.body())).await
            });
            while origin.heads() < 2 {
                tokio::task::yield_now().await;
            }
            feeder.send(data("body")).unwrap();
            assert_eq!(sent.await.unwrap().unwrap(), "", "{refusal:?}");
            assert_eq!((origin.heads(), &*origin.seen.borrow().body), (2, &b"body"[..]), "{refusal:?}");
            origin.check_heads(refusal);
        }
    });
}

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// 8 KiB.
static PIECE: &str = match str::from_utf8(&[b'x'; 8 << 10]) {
    Ok(text) => text,
    Err(_) => "",
};
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
/// Index of `:status: 204` in the static table of HPACK (RFC 7541, appendix A), as a field.
const STATUS_204: u8 = 0x80 | 9;
