//! The servers of a site: how they are reached, chosen, checked, and survived.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::support::site::{Site, Speaks};
use crate::support::tls::Certificate;
use crate::support::wire::End;
use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, noise, wait_for};

/// An address where nothing listens.
fn dead() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn before(site: &Site, speaks: Speaks) -> crate::support::gateway::Builder {
    Gateway::build_for(std::slice::from_ref(&site.url)).site(speaks.key())
}

#[test]
fn every_exchange_passes_between_all_pairs_of_protocols() {
    for speaks in Speaks::ALL {
        let site = Site::start(speaks);
        let gateway = before(&site, speaks).start();
        for protocol in Protocol::ALL {
            let mut visitor = Visitor::new(&gateway, protocol);
            let what = format!("{protocol:?} to {speaks:?}");
            assert_eq!(visitor.fetch(ask("GET", "/a?b")).text(), "page", "{what}");
            let head = visitor.fetch(ask("HEAD", "/"));
            assert_eq!(
                (head.status, head.body.len(), head.header("content-length")),
                (200, 0, "4"),
                "{what}"
            );
            let body = noise(700_000);
            for method in ["POST", "PUT"] {
                let reply = visitor.fetch(ask(method, "/echo").body(body.clone()));
                assert!(reply.status == 200 && reply.body == body, "{what}: {method}");
            }
            for status in [204, 304, 404] {
                let reply = visitor.fetch(ask("GET", &format!("/status/{status}")));
                assert_eq!((reply.status, reply.body.len()), (status, 0), "{what}");
            }
        }
        let seen = site.seen();
        assert!(seen.iter().any(|head| head.uri().path_and_query().unwrap() == "/a?b"));
        // After HEAD, 204 and 304 a connection rests, so the next request may take another.
        assert!(site.connections() <= 8, "{}", site.connections());
    }
}

#[test]
fn crumbs_te_and_trailers_pass_to_http2() {
    let site = Site::start(Speaks::Http2);
    let gateway = before(&site, Speaks::Http2).start();
    let reply = gateway
        .http2()
        .fetch(&ask("GET", "/").header("te", "trailers").header("cookie", "a=1").header("cookie", "b=2"));
    assert_eq!(reply.status, 200);
    let seen = site.seen();
    assert_eq!(seen[0].headers()["te"], "trailers");
    let cookies: Vec<_> = seen[0].headers().get_all("cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(cookies.join("; "), "a=1; b=2");
    assert_eq!(seen[0].uri().authority().unwrap(), "kz.example");
    let mut client = gateway.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: kz.example\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Test-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Test-Sum: 6\r\n\r\n",
    );
    let reply = client.read();
    assert_eq!((reply.text().as_str(), reply.trailers.one("x-test-sum")), ("abc", Some("6")));
}

#[test]
fn clients_that_leave_in_mid_answer_leave_nothing_behind() {
    for speaks in Speaks::ALL {
        let site = Site::start(speaks);
        let gateway = before(&site, speaks).key("workers", "1").start();
        assert_eq!(gateway.client().get("/").status, 200);
        let mut last = None;
        for _ in 0..100 {
            let mut client = gateway.client();
            client.send("GET /long HTTP/1.1\r\nHost: kz.example\r\n\r\n");
            assert_eq!(client.read_head().status, 200);
            drop(client);
            let mut http2 = gateway.http2();
            let mut streamed = http2.open(&ask("GET", "/long"));
            assert!(streamed.next().is_some());
            last = Some(http2);
        }
        drop(last);
        wait_for("the site's answers to end", || (site.long() == 0).then_some(()));
        wait_for("the pool to be at rest", || {
            let busy = gateway.metric("kelisim_upstream_pool_connections", &["state=\"busy\""]);
            (busy == 0.0).then_some(())
        });
        let large = noise(3 << 20);
        assert_eq!(
            gateway.client().fetch(&ask("POST", "/echo").body(large.clone())).body,
            large,
            "{speaks:?}"
        );
        assert_eq!(
            gateway.http2().fetch(&ask("POST", "/echo").body(large.clone())).body,
            large,
            "{speaks:?}"
        );
        if speaks == Speaks::Http2 {
            assert_eq!(
                site.connections(),
                1,
                "a stream that is given up leaves the connection to the others"
            );
        }
    }
}

#[test]
fn a_site_behind_tls_is_believed_only_with_the_right_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    for sub in [&right, &wrong] {
        std::fs::create_dir(sub).unwrap();
    }
    let own = Certificate::write(&right, &["localhost"]);
    let other = Certificate::write(&wrong, &["other.example"]);
    let trusting = |of: &Certificate| format!("upstream_tls.ca = {:?}", of.certificate);
    for speaks in Speaks::ALL {
        let alpn: &[&str] = if speaks == Speaks::Http2 { &["h2"] } else { &[] };
        let site = Site::start_tls(speaks, own.server(alpn, None));
        let gateway = before(&site, speaks).site(&trusting(&own)).start();
        for protocol in Protocol::ALL {
            let reply = Visitor::new(&gateway, protocol).fetch(ask("POST", "/echo").body(noise(200_000)));
            assert_eq!((reply.status, reply.body.len()), (200, 200_000), "{protocol:?} to {speaks:?}");
        }
        let gateway = before(&site, speaks).site(&trusting(&other)).start();
        let reply = gateway.client().get("/");
        assert_eq!(
            (reply.status, reply.header("proxy-status")),
            (502, "kelisim; error=tls_certificate_error")
        );
        assert_eq!(gateway.metric("kelisim_upstream_connect_errors_total", &["reason=\"tls\""]), 1.0);
    }
    let plain = Site::start(Speaks::Http1);
    let url = plain.url.replace("http://", "https://");
    let gateway = Gateway::build_for(&[url]).site(&trusting(&own)).start();
    let reply = gateway.client().get("/");
    assert_eq!((reply.status, reply.header("proxy-status")), (502, "kelisim; error=tls_protocol_error"));
}

#[test]
fn a_site_may_want_a_certificate_and_an_unverified_one_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = (folder.path().join("server"), folder.path().join("client"));
    for sub in [&server, &client] {
        std::fs::create_dir(sub).unwrap();
    }
    let own = Certificate::write(&server, &["localhost"]);
    let ours = Certificate::write(&client, &["gateway.example"]);
    let site = Site::start_tls(Speaks::Http1, own.server(&[], Some(&ours)));
    let gateway = before(&site, Speaks::Http1)
        .site(&format!("upstream_tls.ca = {:?}", own.certificate))
        .site(&format!(
            "upstream_tls.certificate = {:?}\nupstream_tls.key = {:?}",
            ours.certificate, ours.key
        ))
        .start();
    assert_eq!(gateway.client().get("/").status, 200);
    let gateway = before(&site, Speaks::Http1).site("upstream_tls.verify = false").start();
    gateway.wait_for_log(0, "a warning", |line| line.contains("WARN") && line.contains("verify = false"));
    assert_eq!(gateway.client().get("/").status, 502, "the site still wants a certificate");
}

#[test]
fn a_site_behind_a_unix_socket_is_served() {
    let folder = tempfile::tempdir().unwrap();
    for speaks in Speaks::ALL {
        let site = Site::start_unix(speaks, &folder.path().join(format!("{speaks:?}.sock")));
        let gateway = before(&site, speaks).start();
        assert_eq!(gateway.client().get("/").text(), "page");
        assert_eq!(gateway.http2().fetch(&ask("POST", "/echo").body("x")).text(), "x");
    }
    let gateway = Gateway::build_for(&["unix:/nowhere/app.sock".into()]).start();
    let reply = gateway.client().get("/");
    assert_eq!((reply.status, reply.header("proxy-status")), (502, "kelisim; error=connection_refused"));
}

#[test]
fn health_checks_take_a_server_out_and_bring_it_back() {
    let sites = [Site::start(Speaks::Http1), Site::start(Speaks::Http1)];
    let gateway = Gateway::build_for(&[sites[0].url.clone(), sites[1].url.clone()])
        .key("workers", "2")
        .tables(
            "[site.health]\npath = \"/healthz\"\ninterval = \"50ms\"\ntimeout = \"50ms\"\nunhealthy = 2\n",
        )
        .start();
    let healthy = |endpoint: usize, value: f64| {
        wait_for("a verdict", || {
            let label = format!("endpoint=\"{endpoint}\"");
            (gateway.metric("kelisim_upstream_healthy", &[&label]) == value).then_some(())
        });
    };
    healthy(0, 1.0);
    sites[0].health(503);
    healthy(0, 0.0);
    let before = sites[0].seen().len();
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/").status, 200);
    }
    assert_eq!(sites[0].seen().len(), before);
    // Both are down: both are used, and the page says so.
    sites[1].health(500);
    healthy(1, 0.0);
    for _ in 0..8 {
        assert_eq!(gateway.client().get("/").status, 200);
    }
    assert!(sites[0].seen().len() > before);
    wait_for("the figure", || (gateway.metric("kelisim_upstream_fail_open_total", &[]) >= 8.0).then_some(()));
    sites[0].health(200);
    healthy(0, 1.0);
    let good = gateway.metric("kelisim_upstream_health_checks_total", &["endpoint=\"0\"", "result=\"ok\""]);
    let bad =
        gateway.metric("kelisim_upstream_health_checks_total", &["endpoint=\"0\"", "result=\"failed\""]);
    // One checker for two threads: what was counted is what came, but for the one under way.
    assert!(good >= 2.0 && bad >= 2.0 && (sites[0].checks() as f64) >= good + bad);
    assert!((sites[0].checks() as f64) < 2.0 * (good + bad));
}

#[test]
fn http2_servers_are_checked_by_http2() {
    let site = Site::start(Speaks::Http2);
    let gateway = before(&site, Speaks::Http2)
        .tables("[site.health]\npath = \"/healthz?x=1\"\ninterval = \"50ms\"\ntimeout = \"50ms\"\n")
        .start();
    wait_for("a good check", || {
        let ok = gateway.metric("kelisim_upstream_health_checks_total", &["endpoint=\"0\"", "result=\"ok\""]);
        (ok >= 2.0).then_some(())
    });
    assert_eq!(gateway.metric("kelisim_upstream_healthy", &["endpoint=\"0\""]), 1.0);
}

#[test]
fn no_request_fails_while_one_of_many_servers_lives() {
    let alive = Origin::pages();
    for balance in ["round_robin", "least"] {
        let urls = [dead(), dead(), dead(), alive.url()];
        let gateway = Gateway::build_for(&urls).site(&format!("balance = {balance:?}")).start();
        let mut client = gateway.client();
        for n in 0..60 {
            assert_eq!(client.get("/").status, 200, "{balance}: request {n}");
        }
        assert!(gateway.metric("kelisim_upstream_retries_total", &["reason=\"connect\""]) >= 3.0);
    }
}

#[test]
fn a_full_queue_is_a_503_that_says_when_to_come_back() {
    for speaks in Speaks::ALL {
        let site = Site::start(speaks);
        let gateway = before(&site, speaks)
            .key("workers", "1")
            .key("limits.upstream_connections", "1")
            .key("limits.upstream_queue", if speaks == Speaks::Http1 { "0" } else { "1" })
            .key("timeouts.upstream_queue", "\"100ms\"")
            .start();
        let most = if speaks == Speaks::Http1 { 1 } else { 100 };
        let mut http2 = gateway.http2();
        assert_eq!(http2.fetch(&ask("GET", "/")).status, 200);
        let mut clients: Vec<_> = Vec::new();
        for _ in 0..most {
            let mut client = gateway.client();
            client.send("GET /long HTTP/1.1\r\nHost: kz.example\r\n\r\n");
            assert_eq!(client.read_head().status, 200, "{speaks:?}");
            clients.push(client);
        }
        let reply = gateway.client().get("/");
        assert_eq!((reply.status, reply.header("retry-after")), (503, "2"), "{speaks:?}");
        assert_eq!(reply.header("proxy-status"), "kelisim; error=connection_limit_reached");
        assert_eq!(gateway.metric("kelisim_request_rejected_total", &["reason=\"queue_full\""]), 1.0);
        drop(clients);
        wait_for("room", || (gateway.client().get("/").status == 200).then_some(()));
    }
}

#[test]
fn connections_that_are_idle_or_old_are_closed_and_counted() {
    for (key, reason) in [("timeouts.upstream_idle", "idle"), ("timeouts.upstream_max_age", "max_age")] {
        let origin = Origin::pages();
        let gateway = Gateway::build(&[&origin]).key("workers", "1").key(key, "\"1s\"").start();
        let mut client = gateway.client();
        assert_eq!(client.get("/").status, 200);
        wait_for("the connection to be closed", || {
            let label = format!("reason={reason:?}");
            (gateway.metric("kelisim_upstream_pool_closed_total", &[&label]) == 1.0).then_some(())
        });
        assert_eq!(client.get("/").status, 200);
        assert_eq!(origin.connections(), 2, "{key}");
    }
}

#[test]
fn a_reload_that_changes_nothing_upstream_keeps_the_connections() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    gateway.reload(|text| format!("cookies.mode = \"dry-run\"\n{text}"));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.connections(), 1);
    gateway.reload(|text| format!("timeouts.upstream_head = \"7s\"\n{text}"));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn two_thousand_gets_survive_a_site_that_always_hangs_up_and_no_post_comes_twice() {
    let origin = Origin::raw(|mut connection| {
        if let Ok(Some(_)) = connection.request() {
            let _ = connection.answer(&Answer::text("once"));
        }
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for n in 0..2000 {
        assert_eq!(client.get("/").status, 200, "request {n}");
    }
    for n in 0..200 {
        let path = format!("/post/{n}");
        let status = client.fetch(&ask("POST", &path).body("x")).status;
        assert!(matches!(status, 200 | 502), "{status}");
        let arrived = origin.seen().iter().filter(|seen| seen.target == path).count();
        assert!(arrived <= 1, "{path} arrived {arrived} times");
        // What was answered 200 has arrived.
        assert!(status != 200 || arrived == 1);
    }
}

#[test]
fn strange_answers_reach_the_client_as_they_should_or_not_at_all() {
    let n = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n);
    let origin = Origin::raw(move |mut connection| {
        while let Ok(Some(seen)) = connection.request() {
            count.fetch_add(1, SeqCst);
            let huge = format!("HTTP/1.1 200 OK\r\nx-test: {}\r\n\r\n", "x".repeat(100_000));
            let sent = match seen.target.as_str() {
                "/early" => connection.send(
                    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                      HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                ),
                "/204" => connection.send(b"HTTP/1.1 204 No\r\ncontent-length: 4\r\n\r\nevil"),
                "/huge" => connection.send(huge.as_bytes()),
                "/reset" => return,
                "/short" => {
                    drop(connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"));
                    return;
                }
                _ => connection.answer(&Answer::text("fine")),
            };
            if sent.is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        assert_eq!(visitor.fetch(ask("GET", "/early")).text(), "ok", "{protocol:?}");
        assert_eq!(visitor.fetch(ask("GET", "/204")).status, 204);
        assert_eq!(visitor.fetch(ask("GET", "/")).text(), "fine", "nothing of it reaches the next");
        let reply = visitor.fetch(ask("POST", "/huge"));
        assert_eq!(reply.status, 502, "{protocol:?}");
        assert_eq!(visitor.fetch(ask("POST", "/reset")).status, 502);
        assert_eq!(visitor.fetch(ask("GET", "/")).text(), "fine");
    }
    // A connection cut, a stream reset: the client may not even see the head.
    let broken = gateway.client().try_fetch(&ask("GET", "/short"));
    assert!(broken.map_or(true, |reply| reply.end == End::Broken));
    let broken = gateway.http2().try_fetch(&ask("GET", "/short"));
    assert!(broken.map_or(true, |reply| reply.end == End::Broken));
}
