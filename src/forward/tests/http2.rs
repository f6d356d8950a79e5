//! Endpoints that speak HTTP/2, played by the library's server side.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ::h2::server::{self, SendResponse};
use ::h2::{Reason as Code, RecvStream};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::origin::Origin;
use super::{Setup, data, feed, fetch, get, local, read, request, with_body};
use crate::config::Protocol;
use crate::error::Reason;
use crate::forward::{Closed, RequestBody, Upstreams};
use crate::ingress::outgoing::Fields;

/// What happens on each connection of an endpoint.
struct H2Origin {
    address: std::net::SocketAddr,
    connections: Rc<Cell<usize>>,
    seen: Rc<RefCell<Vec<Request<()>>>>,
}

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

impl H2Origin {
    /// Every request is handled by `script`, which is told the number of the connection.
    async fn start<S, F>(streams: u32, script: S) -> Self
    where
        S: Fn(usize, Incoming) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen) = (Rc::<Cell<usize>>::default(), Rc::<RefCell<Vec<_>>>::default());
        let origin = Self { address, connections: Rc::clone(&connections), seen: Rc::clone(&seen) };
        let script = Rc::new(script);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
                let nth = connections.replace(connections.get() + 1);
                let (script, seen) = (Rc::clone(&script), Rc::clone(&seen));
                tokio::task::spawn_local(async move {
                    let mut builder = server::Builder::new();
                    builder.max_concurrent_streams(streams);
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let (parts, body) = request.into_parts();
                        seen.borrow_mut().push(Request::from_parts(parts.clone(), ()));
                        let incoming = (Request::from_parts(parts, body), respond);
                        let handled = script(nth, incoming);
                        tokio::task::spawn_local(handled);
                    }
                });
            }
        });
        origin
    }

    fn upstreams(&self, change: impl FnOnce(&mut Setup)) -> Rc<Upstreams> {
        let stand_in = Origin::standing_at(self.address);
        let mut setup = Setup::new(&[&stand_in]);
        setup.site.protocol = Protocol::Http2;
        change(&mut setup);
        setup.build()
    }
}

fn answer(respond: &mut SendResponse<Bytes>, body: &'static str) {
    let mut stream = respond.send_response(Response::new(()), body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
    }
}

async fn drain(mut body: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend(data);
    }
    (all, body.trailers().await.ok().flatten())
}

fn idle_and_busy(upstreams: &Upstreams) -> (usize, usize) {
    let stats = upstreams.stats().next().unwrap();
    (stats.connections_idle, stats.connections_active)
}

#[test]
fn requests_share_a_connection_and_look_like_http2() {
    local(async {
        let origin =
            H2Origin::start(100, |_, (_, mut respond)| async move { answer(&mut respond, "ok") }).await;
        let upstreams = origin.upstreams(|_| ());
        let mut one = request(Method::GET, "/a?b");
        one.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        one.headers_mut().insert("connection", HeaderValue::from_static("te"));
        assert_eq!(fetch(&upstreams, one).await.unwrap(), "ok");
        let many = (0..50).map(|_| {
            let upstreams = Rc::clone(&upstreams);
            tokio::task::spawn_local(async move { fetch(&upstreams, get("/")).await.unwrap() })
        });
        for task in many.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), "ok");
        }
        assert_eq!(origin.connections.get(), 1);
        let seen = origin.seen.borrow();
        assert_eq!(seen[0].uri(), "http://example.org/a?b");
        assert_eq!(seen[0].headers().get("te").unwrap(), "trailers");
        assert!(!seen[0].headers().contains_key("host") && !seen[0].headers().contains_key("connection"));
        assert_eq!(idle_and_busy(&upstreams), (1, 0));
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    local(async {
        let origin = H2Origin::start(100, |_, (request, mut respond)| async move {
            let (body, trailers) = drain(request.into_body()).await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(body), false).unwrap();
            stream.send_trailers(trailers.unwrap_or_default()).unwrap();
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        let (feeder, stub) = feed(None);
        feeder.send(data("hello ")).unwrap();
        feeder.send(data("world")).unwrap();
        let fields: HeaderMap =
            [("x-sum".parse().unwrap(), HeaderValue::from_static("7"))].into_iter().collect();
        feeder.send(Ok(http_body::Frame::trailers(fields))).unwrap();
        drop(feeder);
        let answer = upstreams.send(&mut with_body(Method::POST, "/", stub.body()), None).await.unwrap();
        let (body, trailers) = read(answer).await.unwrap();
        assert_eq!(
            (body.as_ref(), &trailers.unwrap()["x-sum"]),
            (&b"hello world"[..], &"7".parse::<HeaderValue>().unwrap())
        );
        assert_eq!(idle_and_busy(&upstreams), (1, 0));
    });
}

#[test]
fn large_bodies_pass_the_windows_both_ways() {
    local(async {
        let origin = H2Origin::start(100, |_, (request, mut respond)| async move {
            let (body, _) = drain(request.into_body()).await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(body), true).unwrap();
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        let (feeder, stub) = feed(Some(900_000));
        for _ in 0..9 {
            feeder.send(Ok(http_body::Frame::data(Bytes::from(vec![b'x'; 100_000])))).unwrap();
        }
        drop(feeder);
        let answer = upstreams.send(&mut with_body(Method::PUT, "/", stub.body()), None).await.unwrap();
        assert_eq!(read(answer).await.unwrap().0.len(), 900_000);
        assert_eq!(idle_and_busy(&upstreams), (1, 0));
    });
}

#[test]
fn streams_are_counted_and_more_wait_in_our_queue_or_open_another_connection() {
    local(async {
        let go = Rc::new(Notify::new());
        let gate = Rc::clone(&go);
        let origin = H2Origin::start(2, move |_, (_, mut respond)| {
            let gate = Rc::clone(&gate);
            async move {
                gate.notified().await;
                answer(&mut respond, "ok");
            }
        })
        .await;
        let upstreams = origin.upstreams(|setup| {
            (setup.limits.upstream_connections, setup.limits.upstream_queue) = (2, 3);
        });
        let ask = || {
            let upstreams = Rc::clone(&upstreams);
            tokio::task::spawn_local(async move { fetch(&upstreams, get("/")).await })
        };
        let mut asked: Vec<_> = Vec::new();
        for n in 1..=4 {
            asked.push(ask());
            while origin.seen.borrow().len() < n {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(origin.connections.get(), 2);
        asked.extend((0..3).map(|_| ask()));
        while upstreams.stats().next().unwrap().queued < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fetch(&upstreams, get("/")).await, Err(Reason::QueueFull));
        assert_eq!(origin.seen.borrow().len(), 4);
        for task in asked {
            while !task.is_finished() {
                go.notify_one();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(task.await.unwrap().unwrap(), "ok");
        }
        assert_eq!((origin.connections.get(), upstreams.stats().next().unwrap().queue_refusals), (2, 1));
    });
}

#[test]
fn a_cancelled_request_resets_its_stream_and_leaves_the_connection() {
    local(async {
        let reset = Rc::new(Cell::new(0));
        let count = Rc::clone(&reset);
        let origin = H2Origin::start(10, move |_, (request, mut respond)| {
            let count = Rc::clone(&count);
            async move {
                if request.uri().path() != "/long" {
                    return answer(&mut respond, "ok");
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from(vec![b'x'; 100_000]), false).unwrap();
                if matches!(std::future::poll_fn(|cx| stream.poll_reset(cx)).await, Ok(Code::CANCEL)) {
                    count.set(count.get() + 1);
                }
            }
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        // More than one stream at a time is allowed once the endpoint has said so.
        fetch(&upstreams, get("/")).await.unwrap();
        for n in 0..300 {
            let answer = upstreams.send(&mut get("/long"), None).await.unwrap();
            if n % 2 == 0 {
                let mut body = answer.response.into_body();
                let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
                assert!(frame.is_data());
            }
        }
        while reset.get() < 300 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "ok");
        assert_eq!((origin.connections.get(), idle_and_busy(&upstreams)), (1, (1, 0)));
    });
}

#[test]
fn a_refused_stream_is_sent_again_and_a_written_post_is_not() {
    local(async {
        let refusals = Rc::new(Cell::new(1));
        let left = Rc::clone(&refusals);
        let origin = H2Origin::start(10, move |_, (request, mut respond)| {
            let left = Rc::clone(&left);
            async move {
                match request.uri().path() {
                    "/broken" => respond.send_reset(Code::INTERNAL_ERROR),
                    _ if left.get() > 0 => {
                        left.set(left.get() - 1);
                        respond.send_reset(Code::REFUSED_STREAM);
                    }
                    _ => answer(&mut respond, "ok"),
                }
            }
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        let mut own = Fields::default();
        own.push(&HeaderName::from_static("x-of-ours"), &HeaderValue::from_static("told"));
        let post = with_body(Method::POST, "/", RequestBody::empty().with_own(own));
        assert_eq!(fetch(&upstreams, post).await.unwrap(), "ok");
        assert_eq!(origin.seen.borrow().len(), 2);
        assert!(origin.seen.borrow().iter().all(|head| head.headers()["x-of-ours"] == "told"));
        let broken = fetch(&upstreams, request(Method::POST, "/broken")).await;
        assert_eq!(broken, Err(Reason::UpstreamClosed));
        assert_eq!(origin.seen.borrow().len(), 3);
        // Nothing was wrong with the connection: it is young, and the endpoint said that it had done nothing.
        assert_eq!(origin.connections.get(), 1);
    });
}

#[test]
fn an_early_answer_ends_the_upload() {
    local(async {
        let ended = Rc::new(Notify::new());
        let told = Rc::clone(&ended);
        let origin = H2Origin::start(10, move |_, (request, mut respond)| {
            let told = Rc::clone(&told);
            async move {
                let early = Response::builder().status(413).body(()).unwrap();
                respond.send_response(early, true).unwrap();
                drain(request.into_body()).await;
                told.notify_one();
            }
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        let (feeder, stub) = feed(None);
        feeder.send(data("begun")).unwrap();
        let answer = upstreams.send(&mut with_body(Method::POST, "/", stub.body()), None).await.unwrap();
        assert_eq!(answer.response.status(), 413);
        read(answer).await.unwrap();
        ended.notified().await;
        assert!(feeder.is_closed());
        assert_eq!(idle_and_busy(&upstreams), (1, 0));
    });
}

#[test]
fn what_is_not_http2_or_not_there_is_told() {
    local(async {
        let old = Origin::saying("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let mut setup = Setup::new(&[&old]);
        setup.site.protocol = Protocol::Http2;
        assert_eq!(fetch(&setup.build(), get("/")).await, Err(Reason::UpstreamProtocol));
        let dead = Origin::dead().await;
        let mut setup = Setup::new(&[&dead]);
        setup.site.protocol = Protocol::Http2;
        let upstreams = setup.build();
        assert_eq!(fetch(&upstreams, get("/")).await, Err(Reason::ConnectRefused));
        assert_eq!(upstreams.stats().next().unwrap().connect_errors, 1);
        assert_eq!(idle_and_busy(&upstreams), (0, 0));
    });
}

#[test]
fn a_body_that_breaks_off_is_an_error() {
    local(async {
        let origin = H2Origin::start(10, |_, (request, mut respond)| async move {
            let length = request.uri().path() == "/short";
            let mut head = Response::new(());
            if length {
                head.headers_mut().insert("content-length", HeaderValue::from_static("10"));
            }
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), length).unwrap();
            if !length {
                tokio::task::yield_now().await;
                stream.send_reset(Code::INTERNAL_ERROR);
            }
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        for path in ["/short", "/reset"] {
            let outcome = match upstreams.send(&mut get(path), None).await {
                Ok(answer) => read(answer).await.map(drop),
                Err(error) => Err(error.refusal.reason()),
            };
            assert!(
                matches!(
                    outcome,
                    Err(Reason::UpstreamBodyBroken | Reason::UpstreamProtocol | Reason::UpstreamClosed)
                ),
                "{path}: {outcome:?}"
            );
        }
    });
}

#[test]
fn an_idle_connection_is_closed_and_an_old_one_takes_no_more() {
    local(async {
        let origin =
            H2Origin::start(10, |_, (_, mut respond)| async move { answer(&mut respond, "ok") }).await;
        let short = Duration::from_millis(50);
        let upstreams = origin.upstreams(|setup| setup.timeouts.upstream_idle = short);
        fetch(&upstreams, get("/")).await.unwrap();
        while idle_and_busy(&upstreams) != (0, 0) {
            tokio::time::sleep(short / 10).await;
        }
        fetch(&upstreams, get("/")).await.unwrap();
        assert_eq!(origin.connections.get(), 2);
        let aged = origin.upstreams(|setup| setup.timeouts.upstream_max_age = short);
        fetch(&aged, get("/")).await.unwrap();
        tokio::time::sleep(short).await;
        fetch(&aged, get("/")).await.unwrap();
        assert_eq!(origin.connections.get(), 4);
        assert_eq!(aged.take_closed(0, Closed::MaxAge), 1);
    });
}

#[test]
fn an_endpoint_that_never_says_how_many_streams_it_allows_is_a_timeout() {
    local(async {
        let silent = Origin::start(|_, mut peer| async move { peer.gone().await }).await;
        let mut setup = Setup::new(&[&silent]);
        setup.site.protocol = Protocol::Http2;
        setup.timeouts.upstream_connect = Duration::from_millis(50);
        assert_eq!(fetch(&setup.build(), get("/")).await, Err(Reason::ConnectTimeout));
    });
}

#[test]
fn an_endpoint_that_wants_to_end_finishes_what_it_has() {
    local(async {
        let go = Rc::new(Notify::new());
        let gate = Rc::clone(&go);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Rc::<Cell<usize>>::default();
        let count = Rc::clone(&connections);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                let gate = Rc::clone(&gate);
                tokio::task::spawn_local(async move {
                    let mut connection = server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        if request.uri().path() != "/last" {
                            answer(&mut respond, "ok");
                            continue;
                        }
                        connection.graceful_shutdown();
                        let gate = Rc::clone(&gate);
                        tokio::task::spawn_local(async move {
                            gate.notified().await;
                            answer(&mut respond, "whole");
                        });
                    }
                });
            }
        });
        let stand_in = Origin::standing_at(address);
        let mut setup = Setup::new(&[&stand_in]);
        setup.site.protocol = Protocol::Http2;
        let upstreams = setup.build();
        fetch(&upstreams, get("/")).await.unwrap();
        let last = {
            let upstreams = Rc::clone(&upstreams);
            tokio::task::spawn_local(async move { fetch(&upstreams, get("/last")).await })
        };
        while connections.get() < 2 {
            // Once the end is announced, the next request opens another connection.
            assert_eq!(fetch(&upstreams, request(Method::POST, "/")).await.unwrap(), "ok");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        go.notify_one();
        assert_eq!(last.await.unwrap().unwrap(), "whole");
        assert_eq!(upstreams.take_closed(0, Closed::Endpoint), 1);
    });
}

/// It was told as a protocol error, unlike over HTTP/1.1.
#[test]
fn a_head_far_above_the_limit_is_told_as_such() {
    local(async {
        let origin = H2Origin::start(100, |_, (_, mut respond)| async move {
            let mut answer = Response::new(());
            for n in 0..60 {
                let name: HeaderName = format!("x-large-{n}").parse().unwrap();
                answer.headers_mut().insert(name, HeaderValue::from_str(&"v".repeat(5000)).unwrap());
            }
            // The connection may be gone by then.
            let _ = respond.send_response(answer, true);
        })
        .await;
        let upstreams = origin.upstreams(|_| ());
        assert_eq!(fetch(&upstreams, get("/")).await, Err(Reason::UpstreamHeadTooLarge));
    });
}
