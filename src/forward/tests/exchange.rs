//! Waits, cancelling, and which endpoint gets a request.

use std::rc::Rc;
use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::origin::{Origin, ok};
use super::{Setup, fetch, get, local, read, upstreams};
use crate::clock;
use crate::config::Balance;
use crate::error::Reason;
use crate::forward::balance::Balancer;
use crate::forward::health::{FAILURES, FIRST_EJECTION};

const SHORT: Duration = Duration::from_millis(100);

/// An origin that sends `answer` once and then waits for the other side to close, which it notes.
async fn silent_after(answer: &'static str) -> (Origin, Rc<Notify>) {
    let closed = Rc::new(Notify::new());
    let note = Rc::clone(&closed);
    let origin = Origin::start(move |_, mut peer| {
        let note = Rc::clone(&note);
        async move {
            peer.head().await;
            peer.say(answer).await;
            peer.gone().await;
            note.notify_one();
        }
    })
    .await;
    (origin, closed)
}

#[test]
fn a_late_head_is_a_timeout_and_closes_the_connection() {
    local(async {
        let (origin, closed) = silent_after("HTTP/1.1 200 OK\r\n").await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_head = SHORT;
        let upstreams = setup.build();
        assert_eq!(fetch(&upstreams, get("/")).await, Err(Reason::UpstreamTimeout));
        closed.notified().await;
        assert_eq!(origin.heads().len(), 1);
    });
}

#[test]
fn a_body_that_stops_is_a_timeout_and_closes_the_connection() {
    local(async {
        let (origin, closed) = silent_after("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_body = SHORT;
        assert_eq!(fetch(&setup.build(), get("/")).await, Err(Reason::UpstreamBodyTimeout));
        closed.notified().await;
    });
}

#[test]
fn a_slow_body_that_moves_is_no_timeout() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await;
            for _ in 0..4 {
                sleep(SHORT / 2).await;
                peer.say("x").await;
            }
            peer.gone().await;
        })
        .await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_body = SHORT + SHORT / 2;
        assert_eq!(fetch(&setup.build(), get("/")).await.unwrap(), "xxxx");
    });
}

#[test]
fn a_cancelled_request_closes_the_connection() {
    local(async {
        let (origin, closed) = silent_after("").await;
        let upstreams = upstreams(&[&origin]);
        let sent = tokio::time::timeout(SHORT, upstreams.send(&mut get("/"), None)).await;
        assert!(sent.is_err());
        closed.notified().await;
        assert_eq!(upstreams.stats().next().unwrap().connections_active, 0);
    });
}

#[test]
fn an_answer_that_is_let_go_closes_the_connection() {
    local(async {
        let (origin, closed) = silent_after("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        let upstreams = upstreams(&[&origin]);
        let mut answer = upstreams.send(&mut get("/"), None).await.unwrap();
        assert!(answer.response.body_mut().frame().await.unwrap().is_ok());
        assert_eq!(upstreams.stats().next().unwrap().connections_active, 1);
        drop(answer);
        closed.notified().await;
        let stats = upstreams.stats().next().unwrap();
        assert_eq!((stats.connections_active, stats.connections_idle), (0, 0));
    });
}

#[test]
fn a_body_that_breaks_lets_what_came_before_be_sent_first() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        let mut body = upstreams.send(&mut get("/"), None).await.unwrap().response.into_body();
        sleep(SHORT).await;
        let mut waits = Vec::new();
        let error = loop {
            let mut waited = false;
            let frame = std::future::poll_fn(|cx| {
                let polled = std::pin::Pin::new(&mut body).poll_frame(cx);
                waited |= polled.is_pending();
                polled
            })
            .await;
            waits.push(waited);
            match frame.unwrap() {
                Ok(_) => assert!(!body.is_end_stream()),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(error.reason(), Reason::UpstreamBodyBroken);
        assert_eq!(waits.last(), Some(&true), "hyper was not given the time to write");
    });
}

#[test]
fn endpoints_take_turns() {
    local(async {
        let origins =
            [Origin::saying("HTTP/1.1 204 A\r\n\r\n").await, Origin::saying("HTTP/1.1 204 B\r\n\r\n").await];
        let upstreams = upstreams(&[&origins[0], &origins[1]]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(upstreams.send(&mut get("/"), None).await.unwrap().endpoint);
        }
        assert_eq!(seen, [0, 1, 0, 1]);
    });
}

#[test]
fn the_least_busy_endpoint_is_picked() {
    local(async {
        let (busy, _) = silent_after("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        let free = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
        let mut setup = Setup::new(&[&busy, &free]);
        setup.site.balance = Balance::Least;
        let upstreams = setup.build();
        let held = upstreams.send(&mut get("/"), None).await.unwrap();
        assert_eq!(held.endpoint, 0);
        for _ in 0..3 {
            assert_eq!(upstreams.send(&mut get("/"), None).await.unwrap().endpoint, 1);
        }
    });
}

#[test]
fn an_endpoint_that_fails_is_ejected() {
    local(async {
        let (dead, alive) = (Origin::dead().await, Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await);
        let upstreams = upstreams(&[&dead, &alive]);
        for _ in 0..4 * FAILURES {
            assert_eq!(upstreams.send(&mut get("/"), None).await.unwrap().endpoint, 1);
        }
        let stats: Vec<_> = upstreams.stats().collect();
        assert_eq!((stats[0].ejected, stats[0].connect_errors), (true, u64::from(FAILURES)));
        assert_eq!(upstreams.send(&mut get("/"), None).await.unwrap().failed_before.len(), 0);
        assert_eq!(upstreams.take_fail_open(), 0);
    });
}

#[test]
fn unavailable_counts_as_a_failure_and_an_error_of_the_site_does_not() {
    local(async {
        for (answer, ejected) in [
            ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", false),
        ] {
            let origin = Origin::saying(answer).await;
            let upstreams = upstreams(&[&origin]);
            for _ in 0..FAILURES {
                fetch(&upstreams, get("/")).await.unwrap();
            }
            assert_eq!(upstreams.stats().next().unwrap().ejected, ejected);
        }
    });
}

#[test]
fn when_all_are_ejected_one_is_used_and_a_success_brings_it_back() {
    local(async {
        let origin = Origin::start(|nth, mut peer| async move {
            if nth >= FAILURES as usize {
                peer.head().await;
                peer.say(&ok("back")).await;
            }
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        for _ in 0..FAILURES {
            assert!(fetch(&upstreams, get("/")).await.is_err());
        }
        assert!(upstreams.stats().next().unwrap().ejected);
        let answer = upstreams.send(&mut get("/"), None).await.unwrap();
        assert_eq!(read(answer).await.unwrap().0, "back");
        assert_eq!(upstreams.take_fail_open(), 1);
        assert!(!upstreams.stats().next().unwrap().ejected);
    });
}

#[test]
fn after_an_ejection_one_request_tries_and_a_cancelled_trial_does_not_block() {
    local(async {
        let (one, other) = (Origin::dead().await, Origin::dead().await);
        let upstreams = upstreams(&[&one, &other]);
        let pools = &upstreams.pools;
        let balancer = Balancer::new(Balance::RoundRobin);
        let now = clock::monotonic();
        for _ in 0..FAILURES {
            pools[0].health.failed(now);
        }
        let endpoints = |now, n: usize| -> Vec<usize> {
            let picks: Vec<_> = (0..n).map(|_| balancer.pick(pools, &[], now).unwrap()).collect();
            picks.iter().map(|pick| pick.endpoint).collect()
        };
        assert_eq!(endpoints(now, 3), [1, 1, 1]);
        let later = now + FIRST_EJECTION;
        // One trial while it is under way, and another only after it has gone without a verdict.
        assert_eq!(endpoints(later, 3), [0, 1, 1]);
        assert_eq!(endpoints(later, 2), [0, 1]);
        assert_eq!(balancer.take_fail_open(), 0);
    });
}
