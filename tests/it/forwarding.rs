//! What goes in comes out: methods, bodies, framings and faults between visitor and site.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use crate::support::wire::End;
use crate::support::{Answer, Gateway, Origin, PATIENCE, Protocol, Visitor, ask, digest, noise, wait_for};

/// A site that answers with what it got.
fn echo() -> Origin {
    Origin::start(|seen| {
        Answer::new(200)
            .header("X-Test-Method", &seen.method)
            .header("X-Test-Hash", &digest(&seen.body))
            .body(seen.body.clone())
    })
}

/// An address where nothing listens.
fn dead() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn every_method_and_its_body_arrive() {
    let origin = echo();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            let body: &[u8] = if matches!(method, "GET" | "OPTIONS") { b"" } else { b"a=1\0\xff" };
            let reply = visitor.fetch(ask(method, "/echo?q=%20x&y").body(body));
            assert_eq!((reply.status, reply.header("x-test-method")), (200, method));
            assert_eq!(reply.body, body, "{method}");
            let seen = origin.last();
            assert_eq!((seen.target.as_str(), seen.body.as_slice()), ("/echo?q=%20x&y", body));
        }
    }
}

#[test]
fn raw_targets_arrive_as_they_were_sent() {
    let origin = echo();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for target in ["/a//b", "/a/../b", "/%7e%2F%2e", "/a;b=c", "/?", "/??a&&b=", "/a%20b?c=%D2%9B#"] {
        let sent = target.trim_end_matches('#');
        assert_eq!(client.get(sent).status, 200, "{sent}");
        assert_eq!(origin.last().target, sent);
    }
}

#[test]
fn ten_megabytes_arrive_unchanged_both_ways() {
    let origin = echo();
    let gateway = Gateway::of(&origin);
    let body = noise(10 << 20);
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).fetch(ask("POST", "/upload").body(body.clone()));
        let hash = digest(&body);
        assert_eq!(
            (reply.header("x-test-hash"), digest(&reply.body)),
            (hash.as_str(), hash.clone()),
            "{protocol:?}"
        );
    }
}

#[test]
fn a_chunked_body_with_trailers_arrives() {
    let origin = echo();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send(
        "POST /c HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Test-T\r\n\r\n\
         3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Test-T: 1\r\nkelisim-risk: none\r\n\
         x-forwarded-for: 1.1.1.1\r\ncookie: _fbp=1\r\n\r\n",
    );
    let reply = client.read();
    assert_eq!((reply.status, reply.text().as_str()), (200, "abc0123456789"));
    // Whether the wanted trailer arrives or not, the others never may: the origin suspects every one.
    assert_eq!(origin.last().body, b"abc0123456789");
    assert_eq!(client.get("/again").status, 200, "the connection goes on");
}

#[test]
fn trailers_of_an_answer_reach_who_asks_for_them() {
    let origin = Origin::start(|_| {
        Answer::new(200)
            .header("Trailer", "X-Test-Sum")
            .chunked(["a", "b"])
            .trailer("X-Test-Sum", "2")
            .trailer("Set-Cookie", "_fbp=1")
    });
    let gateway = Gateway::of(&origin);
    let reply = gateway.client().fetch(&ask("GET", "/").header("TE", "trailers"));
    assert_eq!((reply.text().as_str(), reply.trailers.one("x-test-sum")), ("ab", Some("2")));
    assert!(!reply.trailers.has("set-cookie"), "{:?}", reply.trailers);
    let reply = gateway.http2().fetch(&ask("GET", "/").header("te", "trailers"));
    assert_eq!((reply.text().as_str(), reply.trailers.one("x-test-sum")), ("ab", Some("2")));
    assert!(!reply.trailers.has("set-cookie"), "{:?}", reply.trailers);
}

#[test]
fn a_body_above_the_limit_is_refused_before_the_site_sees_it() {
    let origin = echo();
    let gateway = Gateway::build(&[&origin]).site("body_bytes = 1000").start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        assert_eq!(visitor.fetch(ask("POST", "/fits").body(noise(1000))).status, 200);
        assert_eq!(visitor.fetch(ask("POST", "/large").body(noise(1001))).status, 413, "{protocol:?}");
    }
    assert!(origin.seen().iter().all(|seen| seen.target == "/fits"));
    // Of unknown length: cut in flight, and the site never sees a whole request.
    let mut client = gateway.client();
    client.send("POST /chunked HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("7D0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)));
    assert_eq!(client.read().status, 413);
    assert!(
        origin.seen().iter().filter(|seen| seen.target == "/chunked").all(|seen| seen.end == End::Broken)
    );
}

#[test]
fn answers_without_a_body_keep_their_length() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/304" => Answer::new(304).header("ETag", "\"x\"").header("Content-Length", "1234"),
        "/204" => Answer::new(204).header("Content-Length", "5"),
        _ => Answer::new(200).header("Content-Length", "1234"),
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    let head = client.fetch(&ask("HEAD", "/head"));
    assert_eq!((head.status, head.header("content-length")), (200, "1234"));
    let not_modified = client.fetch(&ask("GET", "/304").header("If-None-Match", "\"x\""));
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, "\"x\""));
    assert_eq!(not_modified.header("content-length"), "1234");
    let nothing = client.get("/204");
    assert!(nothing.status == 204 && !nothing.headers.has("content-length"), "{nothing:?}");
    assert_eq!(client.fetch(&ask("HEAD", "/head")).status, 200, "the same connection all the time");
    assert_eq!(gateway.http2().fetch(&ask("HEAD", "/head")).header("content-length"), "1234");
    let nothing = gateway.http2().fetch(&ask("GET", "/204"));
    assert!(nothing.status == 204 && !nothing.headers.has("content-length"), "{nothing:?}");
}

#[test]
fn events_arrive_one_by_one() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::raw(move |mut connection| {
        let Ok(Some(_)) = connection.request() else { return };
        connection
            .send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        for n in 0..3 {
            connection.send(format!("9\r\ndata: {n}\n\n\r\n").as_bytes()).unwrap();
            // The next event is sent only when the client has read this one.
            wait.lock().unwrap().recv_timeout(PATIENCE).expect("the client read the event");
        }
        connection.send(b"0\r\n\r\n").unwrap();
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET /events HTTP/1.1\r\nHost: kz.example\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.read_head().header("content-type"), "text/event-stream");
    for n in 0..3 {
        assert_eq!(client.read_chunk(), Some(format!("data: {n}\n\n").into_bytes()));
        go.send(()).unwrap();
    }
    assert_eq!(client.read_chunk(), Some(Vec::new()));
}

#[test]
fn expect_100_continue_is_answered_when_the_body_is_wanted() {
    let origin = echo();
    let gateway = Gateway::build(&[&origin]).site("body_bytes = 1000").start();
    let head = |length: usize, expect: &str| {
        format!(
            "POST /e HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {length}\r\nExpect: {expect}\r\n\r\n"
        )
    };
    let mut client = gateway.client();
    client.send(head(5, "100-continue"));
    assert_eq!(client.read_head().status, 100);
    client.send("hello");
    assert_eq!(client.read().text(), "hello");
    let mut large = gateway.client();
    large.send(head(5000, "100-continue"));
    assert_eq!(large.read().status, 413, "and no 100 before it");
    let mut odd = gateway.client();
    odd.send(head(5, "the-unexpected"));
    assert_eq!(odd.read().status, 417);
    assert_eq!(origin.count(), 1);
}

#[test]
fn connections_to_the_site_are_used_again() {
    let origin = echo();
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((origin.count(), origin.connections()), (10, 1));
}

#[test]
fn servers_take_turns_and_a_dead_one_is_passed_over() {
    let (first, second) = (echo(), echo());
    let gateway = Gateway::build(&[&first, &second]).key("workers", "1").start();
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((first.count(), second.count()), (5, 5));
    let alive = echo();
    let gateway = Gateway::build_for(&[dead(), alive.url()]).start();
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(
            client.fetch(&ask("POST", "/").body("x")).status,
            200,
            "never written, so tried elsewhere"
        );
    }
    assert_eq!(alive.count(), 10);
}

#[test]
fn without_a_living_server_the_visitor_gets_a_page_with_the_request_id() {
    let gateway = Gateway::build_for(&[dead()]).start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        for (accept, kind) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/json", "application/json"),
            ("*/*", "text/plain; charset=utf-8"),
        ] {
            let reply = visitor.fetch(ask("GET", "/").header("accept", accept));
            assert_eq!((reply.status, reply.header("content-type")), (502, kind));
            assert!(reply.text().contains(reply.id()), "the id is on the page: {}", reply.text());
            assert_eq!(reply.header("proxy-status"), "kelisim; error=connection_refused");
            assert_eq!(reply.header("cache-control"), "no-store");
            assert!(!reply.text().contains("127.0.0.1"), "no address on the page");
        }
    }
}

#[test]
fn a_site_that_does_not_answer_is_a_504() {
    let origin = Origin::raw(|mut connection| {
        let _ = connection.request();
        let _ = connection.reader.rest();
    });
    let gateway = Gateway::build(&[&origin]).key("timeouts.upstream_head", "\"300ms\"").start();
    let reply = gateway.client().get("/slow");
    assert_eq!((reply.status, reply.header("proxy-status")), (504, "kelisim; error=http_response_timeout"));
}

#[test]
fn nonsense_from_the_site_is_a_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 2",
    ] {
        let origin = Origin::raw(move |mut connection| {
            let _ = connection.request();
            let _ = connection.send(nonsense.as_bytes());
        });
        let gateway = Gateway::of(&origin);
        assert_eq!(gateway.client().get("/").status, 502, "{nonsense:?}");
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let origin = Origin::raw(|mut connection| {
        let Ok(Some(seen)) = connection.head() else { return };
        connection.record(&seen);
        let _ = connection.answer(&Answer::new(403).header("Connection", "close").body("no"));
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("POST /early HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 200000\r\n\r\nbegin");
    let reply = client.read();
    assert_eq!((reply.status, reply.text().as_str()), (403, "no"));
    client.try_send("and more");
    client.read_to_end();
}

#[test]
fn a_body_that_breaks_off_is_visibly_broken() {
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let origin = Origin::raw(move |mut connection| {
            let _ = connection.request();
            let begin = if framing.starts_with('C') { "half" } else { "4\r\nhalf\r\n" };
            let _ = connection.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{begin}").as_bytes());
        });
        let gateway = Gateway::of(&origin);
        let reply = gateway.client().try_fetch(&ask("GET", "/"));
        // A 502 is as honest as a broken body: the answer may break off before its head was sent.
        assert!(
            reply.as_ref().is_ok_and(|r| r.status == 502 || r.end == End::Broken),
            "{framing}: {reply:?}"
        );
        let reply = gateway.http2().try_fetch(&ask("GET", "/"));
        assert!(
            reply.as_ref().map_or(true, |r| r.status == 502 || r.end == End::Broken),
            "{framing}: {reply:?}"
        );
    }
}

#[test]
fn extra_bytes_after_an_answer_never_reach_the_next_request() {
    let origin = Origin::raw(|mut connection| {
        while let Ok(Some(_)) = connection.request() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
            let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
            if connection.send(format!("{answer}{poison}").as_bytes()).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    let mut client = gateway.client();
    for _ in 0..5 {
        let reply = client.get("/");
        assert!(reply.status == 502 || reply.text() == "good", "{reply:?}");
    }
}

/// A site that answers the first request on each connection and drops the second without a word.
fn forgetful(asked: Arc<AtomicUsize>) -> Origin {
    Origin::raw(move |mut connection| {
        if let Ok(Some(_)) = connection.request() {
            // Counted first: the client may look as soon as it has the answer.
            asked.fetch_add(1, SeqCst);
            let _ = connection.answer(&Answer::text("once"));
        }
        let _ = connection.request();
    })
}

#[test]
fn a_get_on_a_stale_connection_is_tried_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = forgetful(Arc::clone(&asked));
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    let mut client = gateway.client();
    for n in 1..=4 {
        assert_eq!(client.get("/").text(), "once");
        assert_eq!(asked.load(SeqCst), n);
    }
    assert!(gateway.metric("kelisim_upstream_retries_total", &[]) >= 1.0);
}

#[test]
fn a_post_that_was_sent_is_never_sent_again() {
    let origin = forgetful(Arc::default());
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    let mut client = gateway.client();
    for n in 0..6 {
        let path = format!("/order/{n}");
        let reply = client.fetch(&ask("POST", &path).body("pay"));
        assert!(matches!(reply.status, 200 | 502), "{reply:?}");
        assert_eq!(origin.seen().iter().filter(|seen| seen.target == path).count(), 1, "{path}");
    }
}

#[test]
fn a_client_that_leaves_frees_the_site() {
    let (cancelled, cancel) = mpsc::channel();
    let origin = Origin::raw(move |mut connection| {
        let Ok(Some(_)) = connection.request() else { return };
        let _ = connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
        // Comes to an end only if the gateway closes the connection.
        let _ = cancelled.send(connection.reader.rest());
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET /long HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    assert_eq!(client.read_head().status, 200);
    drop(client);
    let rest = cancel.recv_timeout(PATIENCE).expect("the site's connection ends").expect("in an orderly way");
    assert_eq!(rest, b"");
    let record = gateway.record("/long");
    assert_eq!(record["error.type"], "client_gone");
    wait_for("no request in flight", || {
        (gateway.metric("kelisim_http_active_requests", &[]) == 0.0).then_some(())
    });
}

#[test]
fn a_client_that_leaves_before_the_answer_frees_the_site_too() {
    let (cancelled, cancel) = mpsc::channel();
    let (arrived, arrival) = mpsc::channel();
    let origin = Origin::raw(move |mut connection| {
        let Ok(Some(_)) = connection.request() else { return };
        let _ = arrived.send(());
        let _ = cancelled.send(connection.reader.rest());
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET /unanswered HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    arrival.recv_timeout(PATIENCE).expect("the request at the site");
    drop(client);
    cancel.recv_timeout(PATIENCE).expect("the site's connection ends").expect("in an orderly way");
    let record = gateway.record("/unanswered");
    assert_eq!(
        (&record["error.type"], &record["http.response.status_code"]),
        (&"client_gone".into(), &499.into())
    );
}

/// hyper does not read while it holds a whole head.
#[test]
fn a_client_that_leaves_is_heard_although_it_has_asked_for_more() {
    let (gone, was_told) = mpsc::channel();
    let (asked, was_asked) = mpsc::channel();
    let origin = Origin::raw(move |mut connection| {
        if connection.request().is_ok_and(|seen| seen.is_some()) {
            let _ = asked.send(());
            let _ = gone.send(matches!(connection.request(), Ok(None) | Err(_)));
        }
    });
    let gateway = Gateway::build(&[&origin])
        .key("timeouts.upstream_head", "\"10m\"")
        .key("timeouts.request_head", "\"10m\"")
        .key("timeouts.response_write", "\"10m\"")
        .start();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    // Both at once, one after the other, and with the beginning of a third.
    for (nth, (first, then)) in [
        (get("/0") + &get("/next"), String::new()),
        (get("/1"), get("/next")),
        (get("/2") + &get("/next"), "GET /and HTTP/1.1\r\n".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.client();
        client.send(first);
        was_asked.recv_timeout(PATIENCE).expect("the site is asked");
        client.send(then);
        drop(client);
        assert_eq!(was_told.recv_timeout(PATIENCE), Ok(true), "{nth}");
        let record = gateway.record(&format!("/{nth}"));
        assert_eq!(record["http.response.status_code"], 499, "{nth}");
    }
}

#[test]
fn a_slow_upload_that_stops_is_a_408() {
    let origin = echo();
    let gateway = Gateway::build(&[&origin]).key("timeouts.request_body", "\"300ms\"").start();
    let mut client = gateway.client();
    client.send("POST /stops HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 100\r\n\r\nonly this");
    assert_eq!(client.read().status, 408);
    assert!(origin.seen().iter().all(|seen| seen.end == End::Broken));
}
