//! Request bodies: how they are framed, limited and timed, and who is blamed.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use tokio::time::sleep;

use super::origin::{Origin, ok};
use super::{Setup, data, feed, fetch, get, local, read, upstreams, with_body};
use crate::error::{Reason, Refusal};
use crate::forward::{RequestBody, UploadLimits};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

/// Reads a chunked body to its end and answers with it.
async fn mirror() -> Origin {
    Origin::start(|_, mut peer| async move {
        while peer.head().await.is_some() {
            let body = peer.until("0\r\n\r\n").await;
            peer.say(&ok(&body)).await;
        }
    })
    .await
}

#[test]
fn a_body_of_unknown_length_is_chunked_anew() {
    local(async {
        let origin = mirror().await;
        let upstreams = upstreams(&[&origin]);
        for method in [Method::POST, Method::GET] {
            let (feeder, stub) = feed(None);
            let mut request = with_body(method, "/", stub.body());
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("identity, chunked"));
            let upload = request.body().upload().unwrap();
            feeder.send(data("hello")).unwrap();
            feeder.send(data(" world")).unwrap();
            drop(feeder);
            assert_eq!(fetch(&upstreams, request).await.unwrap(), "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
            assert_eq!((upload.bytes(), upload.finished(), upload.failure()), (11, true, None));
        }
        for head in origin.heads() {
            assert!(!head.contains("content-length"), "{head}");
            assert_eq!(head.matches("transfer-encoding: chunked\r\n").count(), 1, "{head}");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_body_of_known_length_says_it_once() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.until("hello").await;
            peer.say(&ok("thanks")).await;
            peer.gone().await;
        })
        .await;
        let (feeder, stub) = feed(Some(5));
        let mut request = with_body(Method::POST, "/", stub.body());
        request.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static("5"));
        request.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static("5"));
        feeder.send(data("hello")).unwrap();
        assert_eq!(fetch(&upstreams(&[&origin]), request).await.unwrap(), "thanks");
        assert_eq!(origin.heads()[0].matches("content-length: 5\r\n").count(), 1);
    });
}

#[test]
fn trailers_pass_but_for_what_a_head_decides() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            let body = peer.until("\r\n\r\n").await;
            peer.say(&ok(&body)).await;
            peer.gone().await;
        })
        .await;
        let (feeder, stub) = feed(None);
        let mut request = with_body(Method::POST, "/", stub.body());
        request
            .headers_mut()
            .insert("trailer", HeaderValue::from_static("x-sum, cookie, x_forwarded_for, x-forwarded-for"));
        let mut fields = HeaderMap::new();
        for name in ["x-sum", "cookie", "x_forwarded_for", "x-forwarded-for"] {
            fields.insert(name, HeaderValue::from_static("1"));
        }
        feeder.send(data("a")).unwrap();
        feeder.send(Ok(Frame::trailers(fields))).unwrap();
        let seen = fetch(&upstreams(&[&origin]), request).await.unwrap();
        assert_eq!(seen, "1\r\na\r\n0\r\nx-sum: 1\r\n\r\n");
    });
}

#[test]
fn a_client_that_sends_too_slowly_is_a_408_although_it_sends() {
    local(async {
        let origin = mirror().await;
        let (feeder, stub) = feed(None);
        // A byte every 75 ms, where each may take 10 ms beyond the first 150 ms.
        let limits = UploadLimits { bytes: 1 << 20, timeout: SHORT, rate: 100 };
        let mut request = with_body(Method::POST, "/", RequestBody::stub_with(stub, limits));
        let upload = request.body().upload().unwrap();
        let trickle = async move {
            while feeder.send(data("x")).is_ok() {
                sleep(SHORT / 2).await;
            }
        };
        let upstreams = upstreams(&[&origin]);
        let (sent, ()) = tokio::join!(upstreams.send(&mut request, None), trickle);
        assert_eq!(sent.err().unwrap().refusal.reason(), Reason::BodyTimeout);
        assert!(upload.bytes() > 1);
    });
}

#[test]
fn a_silent_client_is_a_408_and_not_a_504() {
    local(async {
        let origin = mirror().await;
        let (feeder, stub) = feed(None);
        feeder.send(data("hello")).unwrap();
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_head = SHORT / 3;
        let mut request = with_body(Method::POST, "/", RequestBody::stub(stub, 1 << 20, SHORT));
        let upload = request.body().upload().unwrap();
        let error = setup.build().send(&mut request, None).await.err().unwrap();
        assert_eq!(error.refusal.reason(), Reason::BodyTimeout);
        assert_eq!((upload.failure(), upload.finished()), (Some(Reason::BodyTimeout), false));
    });
}

#[test]
fn a_body_over_the_limit_is_cut() {
    local(async {
        let origin = mirror().await;
        let upstreams = upstreams(&[&origin]);
        for (limit, outcome) in [(10, None), (9, Some(Reason::BodyTooLarge))] {
            let (feeder, stub) = feed(None);
            feeder.send(data("12345")).unwrap();
            feeder.send(data("67890")).unwrap();
            drop(feeder);
            let request = with_body(Method::POST, "/", RequestBody::stub(stub, limit, LONG));
            assert_eq!(fetch(&upstreams, request).await.err(), outcome, "{limit}");
        }
    });
}

#[test]
fn a_broken_body_is_the_clients_fault_and_never_looks_whole() {
    local(async {
        let origin = mirror().await;
        let upstreams = upstreams(&[&origin]);
        let (feeder, stub) = feed(None);
        feeder.send(data("hello")).unwrap();
        feeder.send(Err(Refusal::from(Reason::BodyBroken))).unwrap();
        let request = with_body(Method::POST, "/", stub.body());
        assert_eq!(fetch(&upstreams, request).await, Err(Reason::BodyBroken));
        assert!(!upstreams.stats().next().unwrap().ejected);
    });
}

#[test]
fn a_slow_upload_does_not_make_the_endpoint_late() {
    local(async {
        let origin = mirror().await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_head = SHORT;
        let (feeder, stub) = feed(None);
        tokio::task::spawn_local(async move {
            for _ in 0..3 {
                sleep(SHORT * 2).await;
                feeder.send(data("x")).unwrap();
            }
        });
        let answer = setup.build().send(&mut with_body(Method::POST, "/", stub.body()), None).await.unwrap();
        assert_eq!(answer.response.status(), StatusCode::OK);
    });
}

#[test]
fn an_endpoint_that_takes_nothing_is_late() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            sleep(LONG).await;
        })
        .await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_head = SHORT;
        let (feeder, stub) = feed(None);
        let large: &'static str = "x".repeat(1 << 20).leak();
        for _ in 0..64 {
            feeder.send(data(large)).unwrap();
        }
        let body = RequestBody::stub(stub, u64::MAX, LONG);
        let outcome = fetch(&setup.build(), with_body(Method::POST, "/", body)).await;
        assert_eq!(outcome, Err(Reason::UpstreamTimeout));
    });
}

#[test]
fn an_early_answer_passes_and_ends_the_upload() {
    local(async {
        let origin = Origin::start(|nth, mut peer| async move {
            peer.head().await;
            peer.say(&ok(if nth == 0 { "enough" } else { "other" })).await;
            peer.gone().await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        let (feeder, stub) = feed(None);
        feeder.send(data("part")).unwrap();
        let mut request = with_body(Method::POST, "/", stub.body());
        let upload = request.body().upload().unwrap();
        let answer = upstreams.send(&mut request, None).await.unwrap();
        assert_eq!(read(answer).await.unwrap().0, "enough");
        assert!(!upload.finished());
        // The connection is closed, and the body is let go with it.
        feeder.closed().await;
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "other");
        assert_eq!(origin.connections(), 2);
    });
}
