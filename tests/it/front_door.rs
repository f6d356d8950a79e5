//! What is let in: hosts, methods, framings, header fields, and who may say who the client is.
//!
//! The rule behind every test: the site sees exactly the requests that it should, each with one framing and no field
//! that is not for it (its harness suspects every header); a refused request it never sees at all.

use crate::support::{Answer, Gateway, HOST, Origin, Protocol, Visitor, ask, wait_for};

/// Sends one head and reads the status of the answer; checks that the site saw nothing.
fn refused(gateway: &Gateway, origin: &Origin, request: &str) -> u16 {
    let before = origin.count();
    let mut client = gateway.client();
    client.send(request);
    let status = client.read().status;
    assert_eq!(origin.count(), before, "{request:?} reached the site");
    status
}

#[test]
fn only_configured_hosts_are_served_and_nothing_is_recorded_about_others() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        for host in ["evil.example", "kz.example.evil.example", "127.0.0.1", "localhost", "a.kz.example"] {
            let reply = visitor.fetch(ask("GET", "/private-to-nobody").host(host));
            assert_eq!(reply.status, 421, "{host}");
        }
        for host in ["kz.example", "www.kz.example", "KZ.example", "kz.example:8080", "kz.example:443"] {
            assert_eq!(visitor.fetch(ask("GET", "/served").host(host)).status, 200, "{host}");
        }
    }
    assert_eq!(origin.count(), 10);
    gateway.record_count("/served", 10);
    assert!(gateway.records().iter().all(|record| record["url.path"] == "/served"));
    assert_eq!(gateway.metric("kelisim_request_rejected_total", &["reason=\"unknown_host\""]), 10.0);
}

#[test]
fn a_request_has_exactly_one_good_host() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for hosts in [
        "",
        "Host: kz.example\r\nHost: kz.example\r\n",
        "Host: kz.example\r\nHost: evil.example\r\n",
        "Host:\r\n",
        "Host: user@kz.example\r\n",
        "Host: kz.example:notaport\r\n",
        "Host: kz.example:99999\r\n",
        "Host: kz.example/path\r\n",
        "Host: kz.example, evil.example\r\n",
        "Host: kz example\r\n",
    ] {
        assert_eq!(refused(&gateway, &origin, &format!("GET / HTTP/1.1\r\n{hosts}\r\n")), 400, "{hosts:?}");
    }
}

#[test]
fn an_absolute_target_must_agree_with_the_host() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET http://kz.example/abs?q=1 HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    assert_eq!(client.read().status, 200);
    assert_eq!((origin.last().target.as_str(), origin.last().headers.one("host")), ("/abs?q=1", Some(HOST)));
    for (target, host) in [
        ("http://kz.example/", "www.kz.example"),
        ("http://evil.example/", "kz.example"),
        ("http://a@kz.example/", HOST),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(matches!(refused(&gateway, &origin, &request), 400 | 421), "{target} {host}");
    }
}

#[test]
fn in_http_2_the_host_field_must_agree_with_the_authority() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut http2 = gateway.http2();
    assert_eq!(http2.fetch(&ask("GET", "/").header("host", HOST)).status, 200);
    assert_eq!(http2.fetch(&ask("GET", "/").header("host", "www.kz.example")).status, 400);
    assert_eq!(origin.count(), 1);
}

#[test]
fn connect_and_trace_are_not_served_and_asterisk_is_ours() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for request in [
        "TRACE / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
        "CONNECT kz.example:443 HTTP/1.1\r\nHost: kz.example:443\r\n\r\n",
    ] {
        let mut client = gateway.client();
        client.send(request);
        let reply = client.read();
        assert_eq!(reply.status, 405, "{request}");
        assert!(reply.header("allow").contains("GET"));
        assert!(client.is_closed());
    }
    let mut client = gateway.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    assert_eq!(client.read().status, 204);
    assert_eq!(origin.count(), 0);
}

#[test]
fn fields_of_the_hop_and_dangerous_fields_stay_here() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    let reply = client.fetch(
        &ask("GET", "/")
            .header("Connection", "keep-alive, X-Test-Secret")
            .header("X-Test-Secret", "1")
            .header("X-Test-Kept", "2")
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Connection", "keep-alive")
            .header("Proxy-Authorization", "Basic x")
            .header("Proxy", "http://evil.example")
            .header("X_Forwarded_For", "1.1.1.1")
            .header("X-Real-IP", "1.1.1.1")
            .header("True-Client-IP", "1.1.1.1")
            .header("CF-Connecting-IP", "1.1.1.1")
            .header("TE", "gzip"),
    );
    assert_eq!(reply.status, 200);
    let seen = origin.last();
    assert!(!seen.headers.has("x-test-secret"), "named in Connection");
    assert_eq!(seen.headers.one("x-test-kept"), Some("2"));
}

#[test]
fn underscores_are_treated_as_configured() {
    let origin = Origin::pages();
    let reject = Gateway::build(&[&origin]).key("ingress.underscores", "\"reject\"").start();
    let question = ask("GET", "/").header("x_test", "1");
    assert_eq!((reject.client().fetch(&question).status, origin.count()), (400, 0));
    origin.tolerate("x_test");
    let pass = Gateway::build(&[&origin]).key("ingress.underscores", "\"pass\"").start();
    assert_eq!(pass.client().fetch(&question).status, 200);
    assert_eq!(origin.last().headers.one("x_test"), Some("1"));
}

#[test]
fn an_ambiguous_framing_is_refused_or_made_one() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: kz.example\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        " Content-Length: 5\r\n",
        "X-Test: a\r\n Transfer-Encoding: chunked\r\n",
    ] {
        let mut client = gateway.client();
        client
            .send(format!("POST /framing HTTP/1.1\r\nHost: kz.example\r\n{framing}\r\n0\r\n\r\n{smuggled}"));
        let status = client.read().status;
        assert!(matches!(status, 200 | 400 | 501), "{framing:?}: {status}");
        client.read_to_end();
    }
    // What was forwarded had one framing (the site suspects two), and what followed was never a request.
    assert!(origin.seen().iter().all(|seen| seen.target == "/framing"), "{:?}", origin.seen());
}

#[test]
fn bad_chunks_are_refused() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for chunks in [
        "g\r\n",
        "-1\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\na",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        let mut client = gateway.client();
        client.send(format!(
            "POST /c HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
        client.half_close();
        let rest = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(!rest.starts_with("HTTP/1.1 2"), "{chunks:?}: {rest}");
    }
    use crate::support::wire::End;
    assert!(origin.seen().iter().all(|seen| seen.end == End::Broken), "{:?}", origin.seen());
}

#[test]
fn a_head_that_is_no_http_is_refused() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for head in [
        "GET / HTTP/1.1\r\nHost: kz.example\r\nX-Test: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kz.example\r\nX-Test: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kz.example\r\nX Test: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kz.example\r\nnocolon\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: kz.example\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    ] {
        let mut client = gateway.client();
        client.try_send(head);
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(
            ["HTTP/1.1 400 ", "HTTP/1.1 505 "].iter().any(|s| answer.starts_with(s)),
            "{head:?}: {answer}"
        );
    }
    for target in ["/%zz", "/%0", "/a%00b"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: kz.example\r\n\r\n");
        assert_eq!(refused(&gateway, &origin, &request), 400, "{target}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn sizes_have_limits() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("limits.uri_bytes", "512")
        .key("limits.head_bytes", "\"8KiB\"")
        .key("limits.head_fields", "50")
        .start();
    let get = |target: &str, fields: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: kz.example\r\n{fields}\r\n");
        refused(&gateway, &origin, &request)
    };
    assert_eq!(get(&format!("/{}", "a".repeat(600)), ""), 414);
    assert_eq!(get("/", &format!("X-Test: {}\r\n", "a".repeat(20_000))), 431);
    assert_eq!(get("/", &(0..60).map(|n| format!("X-Test-{n}: 1\r\n")).collect::<String>()), 431);
    assert_eq!(gateway.client().get(&format!("/{}", "a".repeat(500))).status, 200);
}

#[test]
fn nobody_may_say_who_the_client_is() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let question = ask("GET", "/")
            .header("x-forwarded-for", "203.0.113.7")
            .header("x-forwarded-for", "203.0.113.8")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "for=203.0.113.9;proto=https;host=evil.example")
            .header("x-request-id", "mine");
        let reply = Visitor::new(&gateway, protocol).fetch(question);
        let seen = origin.last();
        assert_eq!(seen.headers.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.headers.all("x-forwarded-proto"), ["http"]);
        assert_eq!(seen.headers.all("x-forwarded-host"), [HOST]);
        assert_eq!(seen.headers.all("forwarded"), ["for=127.0.0.1;host=kz.example;proto=http"]);
        assert_eq!(seen.headers.all("x-request-id"), [reply.id()]);
        assert_ne!(reply.id(), "mine");
    }
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_trust_reaches() {
    let origin = Origin::pages();
    let gateway =
        Gateway::build(&[&origin]).site("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").start();
    let mut client = gateway.client();
    let mut chain = |said: &str| {
        let question = ask("GET", "/").header("x-forwarded-for", said).header("x-forwarded-proto", "https");
        let reply = client.fetch(&question.header("x-request-id", "from-proxy_1.a"));
        let seen = origin.last();
        assert_eq!(
            (reply.id(), seen.headers.one("x-request-id")),
            ("from-proxy_1.a", Some("from-proxy_1.a"))
        );
        assert_eq!(seen.headers.one("x-forwarded-proto"), Some("https"));
        seen.headers.one("x-forwarded-for").unwrap_or_default().to_owned()
    };
    assert_eq!(chain("203.0.113.7"), "203.0.113.7, 127.0.0.1");
    assert_eq!(chain("203.0.113.7, 10.1.2.3"), "203.0.113.7, 10.1.2.3, 127.0.0.1");
    // The walk goes from the right: what an untrusted client wrote to the left of itself does not count.
    assert_eq!(chain("8.8.8.8, 203.0.113.7"), "203.0.113.7, 127.0.0.1");
    assert_eq!(chain("203.0.113.7, nonsense"), "127.0.0.1");
    let evil = ask("GET", "/").header("x-request-id", "a b\u{7f}".trim_end_matches('\u{7f}'));
    assert_ne!(client.fetch(&evil).id(), "a b");
}

#[test]
fn every_answer_has_its_own_request_id() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut ids = Vec::new();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        for question in [
            ask("GET", "/"),
            ask("GET", "/").host("evil.example"),
            ask("TRACE", "/"),
            ask("GET", "/.kelisim/"),
            ask("GET", "/.kelisim/consent"),
        ] {
            let mut once = Visitor::new(&gateway, protocol);
            ids.push(once.fetch(question).id().to_owned());
        }
        ids.push(visitor.fetch(ask("GET", "/")).id().to_owned());
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn a_silent_client_is_cut() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("timeouts.request_head", "\"300ms\"")
        .key("timeouts.keep_alive", "\"300ms\"")
        .start();
    assert!(gateway.client().is_closed(), "not a byte");
    let mut slow = gateway.client();
    slow.send("GET / HTTP/1.1\r\nHost: kz.ex");
    let rest = String::from_utf8_lossy(&slow.read_to_end()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    let mut half_preface = gateway.client();
    half_preface.send("PRI * HTTP/2.0\r\n");
    half_preface.read_to_end();
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").status, 200);
    assert!(idle.is_closed(), "idle");
    let mut second_head = gateway.client();
    assert_eq!(second_head.get("/").status, 200);
    second_head.send("GET /second HT");
    let rest = String::from_utf8_lossy(&second_head.read_to_end()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    assert_eq!(origin.count(), 2);
    assert!(gateway.metric("kelisim_connections_rejected_total", &["reason=\"head_timeout\""]) >= 3.0);
}

#[test]
fn one_client_gets_so_many_connections_and_no_more() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("limits.connections_per_client", "3").start();
    let mut open: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert!(gateway.client().is_closed(), "the fourth");
    assert!(gateway.metric("kelisim_connections_rejected_total", &["reason=\"client_limit\""]) >= 1.0);
    open.pop();
    // Its place is free as soon as the gateway has noticed.
    wait_for("a free place", || gateway.client().try_fetch(&ask("GET", "/")).ok());
}

#[test]
fn a_connection_ends_after_its_share_of_requests() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("limits.requests_per_connection", "3").start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(client.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|seen| Answer::text(seen.target.clone()));
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send((0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: kz.example\r\n\r\n")).collect::<String>());
    for n in 0..5 {
        assert_eq!(client.read().text(), format!("/{n}"));
    }
}

#[test]
fn http_1_0_is_served() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET /old HTTP/1.0\r\nHost: kz.example\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
}

#[test]
fn an_http2_stream_that_nobody_reads_does_not_keep_the_sites_connection() {
    let origin =
        Origin::start(|seen| Answer::text("x".repeat(if seen.target == "/big" { 8 << 20 } else { 2 })));
    let gateway = Gateway::build(&[&origin])
        .key("workers", "1")
        .tables("[timeouts]\nresponse_write = \"100ms\"\n[limits]\nupstream_connections = 1\n")
        .start();
    let mut greedy = gateway.client();
    let literal = |name: &str, value: &str| {
        let mut field = vec![0, name.len() as u8];
        field.extend_from_slice(name.as_bytes());
        field.push(value.len() as u8);
        field.extend_from_slice(value.as_bytes());
        field
    };
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/big"), (":authority", "kz.example")];
    let head: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with INITIAL_WINDOW_SIZE 0, then HEADERS with END_STREAM and END_HEADERS on stream 1.
    bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[0, 0, head.len() as u8, 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&head);
    greedy.send(&bytes);
    wait_for("the stream was asked for", || (origin.count() == 1).then_some(()));
    assert_eq!(gateway.client().get("/other").status, 200);
    assert_eq!(gateway.record("/big")["error.type"], "client_gone");
}
