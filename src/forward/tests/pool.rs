//! Limits, order and age of pooled connections.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::origin::{Origin, ok};
use super::{Setup, fetch, get, local, read};
use crate::error::Reason;

const SHORT: Duration = Duration::from_millis(100);

/// An origin that names the connection in its answer, and ends the body of `/hold` only when told.
async fn holding(go: &Rc<Notify>) -> Origin {
    let go = Rc::clone(go);
    Origin::start(move |nth, mut peer| {
        let go = Rc::clone(&go);
        async move {
            while let Some(head) = peer.head().await {
                if head.starts_with("GET /hold") {
                    peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
                    go.notified().await;
                    peer.say(&format!("#{nth}")).await;
                } else {
                    peer.say(&ok(&format!("#{nth}"))).await;
                }
            }
        }
    })
    .await
}

#[test]
fn a_request_that_waited_for_its_share_takes_the_connection_that_became_idle() {
    local(async {
        let go = Rc::new(Notify::new());
        let origin = holding(&go).await;
        let mut setup = Setup::new(&[&origin]);
        (setup.limits.upstream_connections, setup.limits.upstream_connections_per_client) = (4, 1);
        let upstreams = setup.build();
        let client = Some(ipnet::IpNet::from(std::net::IpAddr::from([192, 0, 2, 1])));
        let held = upstreams.send(&mut get("/hold"), client).await.unwrap();
        let waiting = {
            let upstreams = Rc::clone(&upstreams);
            tokio::task::spawn_local(async move { upstreams.send(&mut get("/waits"), client).await.unwrap() })
        };
        tokio::task::yield_now().await;
        assert_eq!(fetch(&upstreams, get("/other")).await.unwrap(), "#1", "nobody's share");
        go.notify_one();
        read(held).await.unwrap();
        assert!(waiting.await.unwrap().reused);
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn the_queue_is_bounded_and_first_come_is_first_served() {
    local(async {
        let go = Rc::new(Notify::new());
        let origin = holding(&go).await;
        let mut setup = Setup::new(&[&origin]);
        (setup.limits.upstream_connections, setup.limits.upstream_queue) = (1, 2);
        let upstreams = setup.build();
        let held = upstreams.send(&mut get("/hold"), None).await.unwrap();
        let waiting = |path: &'static str| {
            let upstreams = Rc::clone(&upstreams);
            tokio::task::spawn_local(async move { fetch(&upstreams, get(path)).await })
        };
        let (first, second) = (waiting("/first"), waiting("/second"));
        tokio::task::yield_now().await;
        assert_eq!(fetch(&upstreams, get("/third")).await, Err(Reason::QueueFull));
        assert_eq!(upstreams.stats().next().unwrap().queued, 2);
        go.notify_one();
        read(held).await.unwrap();
        assert_eq!(second.await.unwrap().unwrap(), "#0");
        assert!(first.is_finished());
        first.await.unwrap().unwrap();
        let heads = origin.heads();
        let paths: Vec<_> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
        assert_eq!(paths, ["/hold", "/first", "/second"]);
        assert_eq!(origin.connections(), 1);
        assert_eq!(upstreams.stats().next().unwrap().queue_refusals, 1);
        assert_eq!(upstreams.stats().next().unwrap().queued, 0);
    });
}

#[test]
fn waiting_ends_and_those_who_left_take_no_room() {
    local(async {
        let go = Rc::new(Notify::new());
        let origin = holding(&go).await;
        let mut setup = Setup::new(&[&origin]);
        (setup.limits.upstream_connections, setup.limits.upstream_queue) = (1, 1);
        setup.timeouts.upstream_queue = SHORT;
        let upstreams = setup.build();
        let held = upstreams.send(&mut get("/hold"), None).await.unwrap();
        for _ in 0..3 {
            assert_eq!(fetch(&upstreams, get("/late")).await, Err(Reason::QueueFull));
        }
        go.notify_one();
        read(held).await.unwrap();
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "#0");
        assert_eq!(origin.count("GET /late"), 0);
    });
}

#[test]
fn a_place_that_becomes_free_without_a_connection_is_passed_on() {
    local(async {
        let go = Rc::new(Notify::new());
        let origin = holding(&go).await;
        let mut setup = Setup::new(&[&origin]);
        setup.limits.upstream_connections = 1;
        let upstreams = setup.build();
        let held = upstreams.send(&mut get("/hold"), None).await.unwrap();
        let waiter = {
            let upstreams = Rc::clone(&upstreams);
            tokio::task::spawn_local(async move { fetch(&upstreams, get("/")).await })
        };
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waiter.await.unwrap().unwrap(), "#1");
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn a_refused_connect_passes_its_place_on() {
    local(async {
        let dead = Origin::dead().await;
        let mut setup = Setup::new(&[&dead]);
        setup.limits.upstream_connections = 1;
        let upstreams = setup.build();
        for outcome in [fetch(&upstreams, get("/")), fetch(&upstreams, get("/"))] {
            assert_eq!(outcome.await, Err(Reason::ConnectRefused));
        }
        assert_eq!(upstreams.stats().next().unwrap().connections_active, 0);
    });
}

#[test]
fn the_last_connection_back_is_the_first_out() {
    local(async {
        let go = Rc::new(Notify::new());
        let origin = holding(&go).await;
        let upstreams = super::upstreams(&[&origin]);
        let held = upstreams.send(&mut get("/hold"), None).await.unwrap();
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "#1");
        go.notify_one();
        assert_eq!(read(held).await.unwrap().0, "#0");
        for _ in 0..3 {
            assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "#0");
        }
        let stats = upstreams.stats().next().unwrap();
        assert_eq!((stats.connections_idle, stats.connections_active, stats.requests), (2, 0, 5));
    });
}

#[test]
fn an_old_connection_is_not_used_again() {
    local(async {
        let origin = holding(&Rc::default()).await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_max_age = Duration::ZERO;
        let upstreams = setup.build();
        for nth in ["#0", "#1", "#2"] {
            assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), nth);
        }
        assert_eq!(upstreams.stats().next().unwrap().connections_idle, 0);
    });
}

#[test]
fn idle_connections_are_closed() {
    local(async {
        let closed = Rc::new(Cell::new(false));
        let note = Rc::clone(&closed);
        let origin = Origin::start(move |_, mut peer| {
            let note = Rc::clone(&note);
            async move {
                peer.head().await;
                peer.say(&ok("1")).await;
                peer.gone().await;
                note.set(true);
            }
        })
        .await;
        let mut setup = Setup::new(&[&origin]);
        setup.timeouts.upstream_idle = SHORT;
        let upstreams = setup.build();
        fetch(&upstreams, get("/")).await.unwrap();
        assert_eq!(upstreams.stats().next().unwrap().connections_idle, 1);
        while !closed.get() {
            sleep(SHORT / 10).await;
        }
        assert_eq!(upstreams.stats().next().unwrap().connections_idle, 0);
        // Whoever looks for idle connections has ended with them, and begins again.
        assert_eq!(fetch(&upstreams, get("/")).await.unwrap(), "1");
        closed.set(false);
        while !closed.get() {
            sleep(SHORT / 10).await;
        }
    });
}

#[test]
fn what_belongs_to_a_forgotten_site_is_closed() {
    local(async {
        let closed = Rc::new(Notify::new());
        let note = Rc::clone(&closed);
        let origin = Origin::start(move |_, mut peer| {
            let note = Rc::clone(&note);
            async move {
                peer.head().await;
                peer.say(&ok("1")).await;
                peer.gone().await;
                note.notify_one();
            }
        })
        .await;
        let upstreams = super::upstreams(&[&origin]);
        fetch(&upstreams, get("/")).await.unwrap();
        drop(upstreams);
        closed.notified().await;
    });
}

#[test]
fn large_answers_leave_the_connection_usable() {
    local(async {
        let large = "x".repeat(300_000);
        let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for answer in [ok(&large), format!("{head}{chunked}")] {
            let origin = Origin::saying(answer.leak()).await;
            let upstreams = super::upstreams(&[&origin]);
            for _ in 0..20 {
                assert_eq!(fetch(&upstreams, get("/")).await.unwrap().len(), large.len());
            }
            assert_eq!(origin.connections(), 1);
        }
    });
}
