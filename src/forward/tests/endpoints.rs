//! Several endpoints, some of them dead, slow or moved.

use std::rc::Rc;

use http::Method;
use tokio::sync::Notify;

use super::origin::{Origin, ok};
use super::{Fake, Setup, data, feed, fetch, get, local, read, upstreams, with_body};
use crate::config::{Balance, Endpoint};
use crate::error::Reason;
use crate::forward::resolve::REST;

#[test]
fn a_request_that_finds_nobody_goes_on_to_every_other_endpoint_once() {
    local(async {
        let dead = [Origin::dead().await, Origin::dead().await, Origin::dead().await];
        let alive = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
        let upstreams = upstreams(&[&dead[0], &dead[1], &dead[2], &alive]);
        let (feeder, stub) = feed(None);
        feeder.send(data("kept")).unwrap();
        drop(feeder);
        let answer = upstreams.send(&mut with_body(Method::POST, "/", stub.body()), None).await.unwrap();
        let tried: Vec<_> = answer.failed_before.iter().map(|f| (f.endpoint, f.reason)).collect();
        let refused = Reason::ConnectRefused;
        assert_eq!((answer.endpoint, tried), (3, vec![(0, refused), (1, refused), (2, refused)]));
        assert_eq!(alive.count("POST"), 1);
    });
}

#[test]
fn when_nobody_is_there_each_was_tried_once() {
    local(async {
        let dead = [Origin::dead().await, Origin::dead().await, Origin::dead().await];
        let upstreams = upstreams(&[&dead[0], &dead[1], &dead[2]]);
        let error = upstreams.send(&mut get("/"), None).await.err().unwrap();
        assert_eq!((error.refusal.reason(), error.failed_before.len()), (Reason::ConnectRefused, 2));
        assert!(upstreams.stats().all(|stats| stats.connect_errors == 1));
        assert_eq!(upstreams.take_fail_open(), 0);
    });
}

#[test]
fn a_connection_that_turns_out_stale_and_an_endpoint_that_is_gone_lead_on() {
    local(async {
        let address = {
            let once = Origin::dead().await;
            once.address
        };
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let other = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother").await;
        let setup = Setup::new(&[&other]);
        let mut site = setup.site.clone();
        site.upstream
            .insert(0, Endpoint::Host { host: address.ip().to_string(), port: address.port(), tls: false });
        let upstreams = Setup { site, ..setup }.build();
        let (go, over) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let (started, done) = (Rc::clone(&go), Rc::clone(&over));
        tokio::task::spawn_local(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(listener);
            let mut scrap = [0; 1024];
            let _ = stream.read(&mut scrap).await.unwrap();
            stream.write_all(ok("first").as_bytes()).await.unwrap();
            started.notified().await;
            // The next request is read and never answered.
            let _ = stream.read(&mut scrap).await.unwrap();
            drop(stream);
            done.notify_one();
        });
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "first");
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "other");
        go.notify_one();
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "other");
        over.notified().await;
    });
}

#[test]
fn what_health_checks_hold_for_down_gets_nothing_and_all_down_is_the_same_as_none() {
    local(async {
        let first = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
        let other = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
        let upstreams = upstreams(&[&first, &other]);
        upstreams.shared.verdicts[0].set_down(true);
        for _ in 0..4 {
            assert_eq!(upstreams.send(&mut get("/"), None).await.unwrap().endpoint, 1);
        }
        assert!(upstreams.stats().next().unwrap().ejected);
        upstreams.shared.verdicts[1].set_down(true);
        let mut used: Vec<_> = Vec::new();
        for _ in 0..4 {
            used.push(upstreams.send(&mut get("/"), None).await.unwrap().endpoint);
        }
        assert_eq!(used, [0, 1, 0, 1]);
        assert_eq!((upstreams.take_fail_open(), upstreams.take_fail_open()), (4, 0));
    });
}

#[test]
fn the_fewest_in_flight_wins_under_uneven_load_and_in_turn_does_not_care() {
    local(async {
        for (balance, slow_share) in [(Balance::Least, 1..=4), (Balance::RoundRobin, 20..=20)] {
            // The slow one never answers; the quick one at once.
            let slow = Origin::start(|_, mut peer| async move {
                peer.head().await;
                std::future::pending::<()>().await;
            })
            .await;
            let quick = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
            let mut setup = Setup::new(&[&slow, &quick]);
            (setup.site.balance, setup.limits.upstream_connections) = (balance, 64);
            let upstreams = setup.build();
            let mut held = Vec::new();
            for n in 0..40 {
                let upstreams = Rc::clone(&upstreams);
                held.push(tokio::task::spawn_local(async move {
                    let _ = fetch(&upstreams, get("/")).await;
                }));
                // Quick ones end before the next begins.
                while quick.count("GET") + slow.connections() <= n {
                    tokio::task::yield_now().await;
                }
            }
            let stuck = upstreams.stats().next().unwrap().connections_active;
            assert!(slow_share.contains(&stuck), "{balance:?}: {stuck}");
            held.iter().for_each(tokio::task::JoinHandle::abort);
        }
    });
}

#[test]
fn a_name_that_moves_is_followed() {
    local(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let old = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let new = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew").await;
        let fake = Fake::saying(&[old.local_addr().unwrap()]);
        let mut setup = Setup::new(&[&new]);
        setup.site.upstream = vec![Endpoint::Host { host: "app.example".into(), port: 80, tls: false }];
        let upstreams = setup.build_with(&fake);
        tokio::task::spawn_local(async move {
            let (mut stream, _) = old.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(ok("old").as_bytes()).await.unwrap();
        });
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "old");
        fake.say(&[new.address]);
        tokio::time::sleep(REST).await;
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "new");
        assert_eq!(fake.asked(), 2);
    });
}

#[test]
fn answers_are_read_before_a_connection_counts_as_free() {
    local(async {
        let origin = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let upstreams = upstreams(&[&origin]);
        let answer = upstreams.send(&mut get("/"), None).await.unwrap();
        assert_eq!(upstreams.stats().next().unwrap().connections_active, 1);
        assert_eq!(read(answer).await.unwrap().0, "ok");
        assert_eq!(upstreams.stats().next().unwrap().connections_idle, 1);
    });
}
