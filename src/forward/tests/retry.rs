//! When a request is sent once more, and when never.

use std::rc::Rc;
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;

use super::origin::{Origin, ok};
use super::{data, feed, fetch, get, local, read, request, upstreams, with_body};
use crate::config::Endpoint;
use crate::error::Reason;

/// Answers the first request of the first connection and closes when the second has come; later connections answer.
async fn stale() -> Origin {
    Origin::start(|nth, mut peer| async move {
        if nth == 0 {
            peer.head().await;
            peer.say(&ok("first")).await;
            peer.head().await;
            return;
        }
        while peer.head().await.is_some() {
            peer.say(&ok("again")).await;
        }
    })
    .await
}

#[test]
fn a_get_on_a_stale_connection_is_repeated_with_the_same_head() {
    local(async {
        let origin = stale().await;
        let upstreams = upstreams(&[&origin]);
        assert_eq!(fetch(&upstreams, get("/1")).await.unwrap(), "first");
        let mut second = get("/2?q");
        second.headers_mut().append("x-twice", "a".parse().unwrap());
        second.headers_mut().append("x-twice", "b".parse().unwrap());
        let answer = upstreams.send(&mut second, None).await.unwrap();
        assert_eq!((answer.failed_before.len(), answer.reused), (1, false));
        assert_eq!(read(answer).await.unwrap().0, "again");
        let heads = origin.heads();
        assert_eq!(heads.len(), 3);
        assert_eq!(heads[1], heads[2]);
        assert!(heads[2].starts_with("GET /2?q HTTP/1.1\r\n") && heads[2].contains("x-twice: b\r\n"));
        assert_eq!(upstreams.stats().next().unwrap().retries, 1);
    });
}

#[test]
fn a_repeated_request_carries_nothing_of_another() {
    local(async {
        let origin = Origin::start(|nth, mut peer| async move {
            for _ in 0..3 {
                peer.head().await;
                peer.say(&ok("fine")).await;
            }
            peer.head().await;
            if nth > 0 {
                peer.say(&ok("fine")).await;
            }
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        for path in ["/1", "/2", "/3", "/4"] {
            let mut sent = get(path);
            if path != "/4" {
                sent.headers_mut().insert("cookie", "secret=1".parse().unwrap());
            }
            assert_eq!(fetch(&upstreams, sent).await.unwrap(), "fine");
        }
        let heads = origin.heads();
        assert_eq!(heads.len(), 5);
        assert_eq!(heads[3], heads[4]);
        assert!(!heads[4].contains("secret"));
    });
}

#[test]
fn a_written_post_is_never_sent_again() {
    local(async {
        for body in [None, Some("x=1")] {
            let origin = stale().await;
            let upstreams = upstreams(&[&origin]);
            fetch(&upstreams, get("/1")).await.unwrap();
            let (feeder, stub) = feed(body.map(|b| b.len() as u64));
            let sent = match body {
                None => request(Method::POST, "/2"),
                Some(text) => {
                    feeder.send(data(text)).unwrap();
                    with_body(Method::POST, "/2", stub.body())
                }
            };
            assert_eq!(fetch(&upstreams, sent).await, Err(Reason::UpstreamClosed));
            assert_eq!(origin.count("POST"), 1);
            assert_eq!(origin.connections(), 1);
        }
    });
}

#[test]
fn an_idempotent_request_with_a_body_is_not_repeated() {
    local(async {
        let origin = stale().await;
        let upstreams = upstreams(&[&origin]);
        fetch(&upstreams, get("/1")).await.unwrap();
        let (feeder, stub) = feed(Some(1));
        feeder.send(data("x")).unwrap();
        let sent = with_body(Method::PUT, "/2", stub.body());
        assert_eq!(fetch(&upstreams, sent).await, Err(Reason::UpstreamClosed));
        assert_eq!(origin.count("PUT"), 1);
    });
}

#[test]
fn a_request_whose_answer_began_is_not_repeated() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say(&ok("first")).await;
            peer.head().await;
            peer.say("HTTP/1.1 200 O").await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        fetch(&upstreams, get("/1")).await.unwrap();
        assert_eq!(fetch(&upstreams, get("/2")).await, Err(Reason::UpstreamClosed));
        assert_eq!(origin.count("GET /2"), 1);
    });
}

#[test]
fn a_fresh_connection_that_closes_is_not_tried_again() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        let error = upstreams.send(&mut get("/"), None).await.err().unwrap();
        assert_eq!((error.refusal.reason(), error.failed_before.len()), (Reason::UpstreamClosed, 0));
        assert_eq!(origin.heads().len(), 1);
    });
}

#[test]
fn a_request_is_repeated_once_at_most() {
    local(async {
        let origin = Origin::start(|nth, mut peer| async move {
            peer.head().await;
            if nth == 0 {
                peer.say(&ok("first")).await;
                peer.head().await;
            }
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        fetch(&upstreams, get("/1")).await.unwrap();
        let error = upstreams.send(&mut get("/2"), None).await.err().unwrap();
        assert_eq!((error.refusal.reason(), error.failed_before.len()), (Reason::UpstreamClosed, 1));
        assert_eq!(origin.count("GET /2"), 2);
    });
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say(&ok("one each")).await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        for _ in 0..4 {
            assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "one each");
            // Long enough for the end of input to be seen; a POST would fail otherwise.
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(fetch(&upstreams, request(Method::POST, "/")).await.unwrap(), "one each");
        assert_eq!(origin.connections(), 5);
    });
}

/// The origin ends an idle connection, or says something on it, in the very moment when the next request comes. One
/// turn of the event loop sees the socket and wakes this test; nobody else has looked at the connection before.
async fn race(last_words: &'static str) {
    let (go, over) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let (started, done) = (Rc::clone(&go), Rc::clone(&over));
    let origin = Origin::start(move |nth, mut peer| {
        let (go, over) = (Rc::clone(&started), Rc::clone(&done));
        async move {
            peer.head().await;
            peer.say(&ok("an answer")).await;
            if nth == 0 {
                go.notified().await;
                peer.say(last_words).await;
                drop(peer);
                over.notify_one();
                return;
            }
            peer.gone().await;
        }
    })
    .await;
    let upstreams = upstreams(&[&origin]);
    fetch(&upstreams, get("/1")).await.unwrap();
    go.notify_one();
    over.notified().await;
    let answer = upstreams.send(&mut request(Method::POST, "/2"), None).await.unwrap();
    assert_eq!((answer.failed_before.len(), answer.reused), (0, false));
    assert_eq!(origin.count("POST"), 1);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_connection_that_ends_in_the_last_moment_costs_no_request_whatever_its_method() {
    local(async {
        race("").await;
        race("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await;
    });
}

#[test]
fn a_refused_connection_leads_to_the_next_endpoint() {
    local(async {
        let (dead, alive) = (Origin::dead().await, Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await);
        let upstreams = upstreams(&[&dead, &alive]);
        let (feeder, stub) = feed(None);
        feeder.send(data("kept")).unwrap();
        drop(feeder);
        let answer = upstreams.send(&mut with_body(Method::POST, "/", stub.body()), None).await.unwrap();
        assert_eq!((answer.endpoint, answer.failed_before.len()), (1, 1));
        assert_eq!(upstreams.stats().next().unwrap().connect_errors, 1);
    });
}

#[test]
fn a_refused_connection_without_another_endpoint_is_told() {
    local(async {
        let dead = Origin::dead().await;
        let error = upstreams(&[&dead]).send(&mut get("/"), None).await.err().unwrap();
        assert_eq!((error.refusal.reason(), error.failed_before.len()), (Reason::ConnectRefused, 0));
    });
}

fn at(host: &str, port: u16) -> Endpoint {
    Endpoint::Host { host: host.into(), port, tls: false }
}

#[test]
fn a_name_that_does_not_exist_is_told() {
    local(async {
        let dead = Origin::dead().await;
        let mut setup = super::Setup::new(&[&dead]);
        // A label longer than 63 bytes is refused without a query.
        setup.site.upstream[0] = at(&"x".repeat(64), 1);
        assert_eq!(fetch(&setup.build(), get("/")).await, Err(Reason::Dns));
    });
}

#[test]
fn a_name_is_resolved() {
    local(async {
        let origin = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1").await;
        let mut setup = super::Setup::new(&[&origin]);
        setup.site.upstream[0] = at("localhost", origin.address.port());
        assert_eq!(fetch(&setup.build(), get("/")).await.unwrap(), "1");
    });
}
