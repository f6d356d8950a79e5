//! Where answers end, and what comes of answers that lie about it.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body::Body;
use tokio::time::sleep;

use super::origin::{Origin, ok};
use super::{Setup, fetch, get, local, read, request, upstreams};
use crate::error::Reason;
use crate::forward::Closed;
use crate::forward::shelf::REST;
use crate::forward::wire::HeadLimits;

async fn fails_with(answer: &'static str, reason: Reason) {
    let origin = Origin::start(move |_, mut peer| async move {
        peer.head().await;
        peer.say(answer).await;
    })
    .await;
    let upstreams = upstreams(&[&origin]);
    assert_eq!(fetch(&upstreams, get("/")).await, Err(reason), "{answer:?}");
    assert_eq!(upstreams.stats().next().unwrap().connections_active, 0, "{answer:?}");
    assert_eq!(origin.heads().len(), 1, "{answer:?}");
}

#[test]
fn cut_bodies_are_errors() {
    local(async {
        for cut in [
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            fails_with(cut, Reason::UpstreamBodyBroken).await;
        }
    });
}

#[test]
fn what_is_not_an_answer_is_refused() {
    local(async {
        for bad in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/9.9 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        ] {
            fails_with(bad, Reason::UpstreamProtocol).await;
        }
    });
}

#[test]
fn a_huge_head_is_refused() {
    local(async {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(HeadLimits::USUAL.bytes));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(HeadLimits::USUAL.fields + 1));
        for head in [long, many] {
            fails_with(head.leak(), Reason::UpstreamHeadTooLarge).await;
        }
    });
}

#[test]
fn a_head_of_the_largest_size_passes() {
    local(async {
        let fields = "x: y\r\n".repeat(HeadLimits::USUAL.fields - 1);
        let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        let origin = Origin::saying(head.leak()).await;
        assert_eq!(fetch(&upstreams(&[&origin]), get("/")).await.unwrap(), "");
    });
}

/// The first connection answers with extra bytes, at once or later; others answer well.
async fn overlong(later: bool) {
    let origin = Origin::start(move |nth, mut peer| async move {
        let evil = ok("evil");
        if nth == 0 {
            peer.head().await;
            if later {
                peer.say(&ok("ok")).await;
                sleep(Duration::from_millis(20)).await;
                peer.say(&evil).await;
            } else {
                peer.say(&format!("{}{evil}", ok("ok"))).await;
            }
            peer.gone().await;
            return;
        }
        while peer.head().await.is_some() {
            peer.say(&ok("good")).await;
        }
    })
    .await;
    let upstreams = upstreams(&[&origin]);
    assert_eq!(fetch(&upstreams, get("/1")).await.unwrap(), "ok");
    if later {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fetch(&upstreams, get("/2")).await.unwrap(), "good");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn extra_bytes_never_reach_the_next_request() {
    local(async {
        overlong(false).await;
        overlong(true).await;
    });
}

/// Connections answer `/bodiless` without a body, and write one all the same a moment later, which looks like an answer.
async fn writing_late(head: &'static str) -> Origin {
    Origin::start(move |_, mut peer| async move {
        while let Some(asked) = peer.head().await {
            if asked.contains(" /bodiless ") {
                peer.say(head).await;
                sleep(Duration::from_millis(4)).await;
                peer.say(&ok("somebody else's")).await;
            } else {
                peer.say(&ok("good")).await;
            }
        }
    })
    .await
}

#[test]
fn a_body_where_none_may_be_does_not_become_the_answer_to_somebody_else() {
    local(async {
        for (method, head) in [
            (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n"),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
            (Method::GET, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ] {
            let origin = writing_late(head).await;
            let upstreams = upstreams(&[&origin]);
            for pause in [0, 1, 3, 8] {
                upstreams.send(&mut request(method.clone(), "/bodiless"), None).await.unwrap();
                sleep(Duration::from_millis(pause)).await;
                assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "good", "{head} {pause}");
            }
            // Once it was heard, no connection is kept after such an answer.
            sleep(REST * 2).await;
            assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "good");
            assert!(upstreams.take_closed(0, Closed::Stray) <= 3, "the first time nothing was known of it");
            upstreams.send(&mut request(method, "/bodiless"), None).await.unwrap();
            assert_eq!(upstreams.take_closed(0, Closed::Stray), 1);
        }
    });
}

#[test]
fn at_the_cap_the_connection_that_rested_longest_is_used() {
    local(async {
        let origin = Origin::saying("HTTP/1.1 304 Not Modified\r\n\r\n").await;
        let mut setup = Setup::new(&[&origin]);
        setup.limits.upstream_connections = 3;
        let upstreams = setup.build();
        for _ in 0..9 {
            fetch(&upstreams, get("/")).await.unwrap();
        }
        assert_eq!(origin.connections(), 3);
        assert_eq!(upstreams.take_closed(0, Closed::Room), 0);
    });
}

#[test]
fn what_an_answer_left_over_is_no_answer_and_a_get_is_repeated() {
    local(async {
        let origin = Origin::start(move |nth, mut peer| async move {
            while let Some(head) = peer.head().await {
                let leaves = nth == 0 && head.contains(" /2 ");
                peer.say(&if leaves { "left over".to_owned() } else { ok("good") }).await;
            }
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        for path in ["/1", "/2"] {
            assert_eq!(fetch(&upstreams, get(path)).await.unwrap(), "good", "{path}");
        }
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn interim_answers_are_dropped() {
    local(async {
        let origin = Origin::saying(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal",
        )
        .await;
        let answer = upstreams(&[&origin]).send(&mut get("/"), None).await.unwrap();
        assert_eq!(answer.response.status(), StatusCode::OK);
        assert!(!answer.response.headers().contains_key("link"));
        assert_eq!(read(answer).await.unwrap().0, "final");
    });
}

#[test]
fn answers_without_a_body_keep_their_length_and_the_connection() {
    local(async {
        for (method, status, length, head) in [
            (Method::HEAD, 200, Some("42"), "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n"),
            (Method::GET, 204, None, "HTTP/1.1 204 No Content\r\ncontent-length: 42\r\n\r\n"),
            (Method::GET, 304, Some("42"), "HTTP/1.1 304 Not Modified\r\ncontent-length: 42\r\n\r\n"),
        ] {
            let origin = Origin::saying(head).await;
            let upstreams = upstreams(&[&origin]);
            for nth in 0..2 {
                sleep(REST * 2 * nth).await;
                let answer = upstreams.send(&mut request(method.clone(), "/"), None).await.unwrap();
                assert_eq!(answer.response.status(), status);
                let told = answer.response.headers().get("content-length");
                assert_eq!(told.map(|told| told.to_str().unwrap()), length, "{status}");
                assert!(answer.response.body().is_end_stream());
                assert_eq!(answer.reused, nth == 1);
            }
            assert_eq!(origin.connections(), 1);
        }
    });
}

#[test]
fn chunked_bodies_bring_their_trailers() {
    local(async {
        let origin = Origin::saying(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n\
             3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\ngrpc-status: 0\r\nset-cookie: a=b\r\ncontent-length: 9\r\n\r\n",
        )
        .await;
        let upstreams = upstreams(&[&origin]);
        for _ in 0..2 {
            let answer = upstreams.send(&mut get("/"), None).await.unwrap();
            assert!(!answer.response.headers().contains_key("transfer-encoding"));
            assert_eq!(answer.response.body().size_hint().exact(), None);
            let (body, trailers) = read(answer).await.unwrap();
            assert_eq!(body, "abcde");
            let trailers = trailers.unwrap();
            assert_eq!(trailers.len(), 1, "{trailers:?}");
            assert_eq!(trailers["grpc-status"], "0");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\n\r\nuntil ").await;
            sleep(Duration::from_millis(20)).await;
            peer.say("the end").await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        for _ in 0..2 {
            assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "until the end");
        }
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn a_connection_that_says_close_is_not_used_again() {
    local(async {
        for head in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n1",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n1",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
        ] {
            let origin = Origin::saying(head).await;
            let upstreams = upstreams(&[&origin]);
            for _ in 0..2 {
                let answer = upstreams.send(&mut get("/"), None).await.unwrap();
                assert!(!answer.reused, "{head:?}");
                assert_eq!(read(answer).await.unwrap().0, "1");
            }
            assert_eq!(origin.connections(), 2, "{head:?}");
        }
    });
}
