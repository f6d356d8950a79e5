//! Every answer that the gateway makes itself: status, `Proxy-Status`, form, language, and nothing that is nobody's
//! business.

use std::net::TcpListener;
use std::sync::{Mutex, mpsc};

use crate::support::client::{Ask, Reply};
use crate::support::{Answer, Gateway, Origin, PATIENCE, Protocol, Visitor, ask, wait_for};

/// What holds for each of them.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16, error: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("proxy-status"), format!("kelisim; error={error}"), "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert!(!reply.headers.has("server") && !reply.headers.has("set-cookie"), "{reply:?}");
    assert_eq!(reply.headers.has("allow"), status == 405, "{reply:?}");
    assert_eq!(reply.headers.has("retry-after"), matches!(status, 429 | 503), "{reply:?}");
    let text = reply.text();
    assert!(text.contains(reply.id()) && text.contains(&status.to_string()), "{text}");
    for secret in [env!("CARGO_PKG_VERSION"), "127.0.0.1", "kz.example", "src/", "panicked", "os error"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// Asks over both protocols.
#[track_caller]
fn assert_refused_on_both(gateway: &Gateway, question: &Ask, status: u16, error: &str) {
    for protocol in Protocol::ALL {
        let reply = match protocol {
            Protocol::Http1 => gateway.client().fetch(question),
            Protocol::Http2 => gateway.http2().fetch(question),
        };
        assert_refused(&reply, status, error);
        assert!(protocol == Protocol::Http1 || !reply.headers.has("connection"), "{reply:?}");
    }
}

/// A site whose connections come to nothing.
fn nowhere() -> String {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", closed.local_addr().unwrap())
}

/// A site that keeps every request until the end of the test.
fn held() -> (Origin, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrival) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let origin = Origin::start(move |_| {
        let _ = arrived.lock().unwrap().send(());
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        Answer::text("at last")
    });
    (origin, arrival, release)
}

#[test]
fn what_the_client_did_wrong() {
    let origin = Origin::pages();
    let gateway =
        Gateway::build(&[&origin]).key("limits.uri_bytes", "\"1KiB\"").key("limits.body_bytes", "4").start();
    let denied = "http_request_error";
    for (question, status) in [
        (ask("GET", "/%zz"), 400),
        (ask("TRACE", "/"), 405),
        (ask("POST", "/").body("12345"), 413),
        (ask("GET", &format!("/{}", "a".repeat(2000))), 414),
        (ask("GET", "/").header("Expect", "a-miracle"), 417),
        (ask("GET", "/").host("other.example"), 421),
    ] {
        assert_refused_on_both(&gateway, &question, status, denied);
    }
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: user@kz.example\r\n\r\n");
    assert_refused(&client.read(), 400, denied);
    assert!(client.is_closed());
    let mut client = gateway.client();
    client.send("CONNECT kz.example:443 HTTP/1.1\r\nHost: kz.example:443\r\n\r\n");
    assert_refused(&client.read(), 405, denied);
    assert_eq!(origin.count(), 0, "a refused request reached the site");
}

#[test]
fn a_body_that_stops_is_408() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("timeouts.request_body", "\"200ms\"").start();
    let mut client = gateway.client();
    client.send("POST /upload HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 10\r\n\r\n123");
    assert_refused(&client.read(), 408, "http_request_error");
}

#[test]
fn a_visitor_whom_the_risk_policy_denies_gets_403_and_one_whom_it_throttles_429() {
    let origin = Origin::pages();
    for (action, status) in [("deny", 403), ("throttle", 429)] {
        let builder = Gateway::build(&[&origin])
            .key("risk.login_paths", "[\"/login\"]")
            .key("risk.observe_days", "1")
            .tables(&format!("[risk.action]\nhigh = \"{action}\"\n"));
        // The days of observation are over.
        let data = builder.folder().join("records");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("risk-observe-since"), "2026-01-01T00:00:00Z\n").unwrap();
        let gateway = builder.start();
        let (mut one, mut two) = (gateway.client(), gateway.http2());
        (0..40).for_each(|_| drop(one.fetch(&ask("POST", "/login"))));
        for reply in [one.fetch(&ask("POST", "/login")), two.fetch(&ask("POST", "/login"))] {
            assert_eq!(reply.status, status, "{reply:?}");
            assert_eq!(reply.header("proxy-status"), "kelisim; error=http_request_denied");
            assert!(status == 403 || reply.headers.has("retry-after"), "{reply:?}");
        }
    }
}

#[test]
fn a_site_that_cannot_be_reached_or_that_breaks_off_is_502() {
    let refused = Gateway::build_for(&[nowhere()]).start();
    assert_refused_on_both(&refused, &ask("GET", "/"), 502, "connection_refused");
    let closing = Origin::raw(|mut connection| drop(connection.head()));
    let gateway = Gateway::of(&closing);
    assert_refused_on_both(&gateway, &ask("POST", "/").body("x"), 502, "connection_terminated");
    let garbage = Origin::raw(|mut connection| {
        let _ = connection.head();
        let _ = connection.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n");
    });
    let gateway = Gateway::of(&garbage);
    assert_refused_on_both(&gateway, &ask("POST", "/").body("x"), 502, "http_protocol_error");
}

#[test]
fn a_queue_that_is_full_is_503() {
    let (origin, arrival, release) = held();
    let gateway = Gateway::build(&[&origin])
        .key("workers", "1")
        .key("limits.upstream_connections", "1")
        .key("limits.upstream_queue", "0")
        .start();
    std::thread::scope(|scope| {
        let mut first = gateway.client();
        let first = scope.spawn(move || first.get("/held"));
        arrival.recv_timeout(PATIENCE).unwrap();
        assert_refused_on_both(&gateway, &ask("GET", "/"), 503, "connection_limit_reached");
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn a_site_that_does_not_answer_in_time_is_504() {
    let (origin, _arrival, _release) = held();
    let gateway = Gateway::build(&[&origin]).key("timeouts.upstream_head", "\"200ms\"").start();
    assert_refused_on_both(&gateway, &ask("GET", "/"), 504, "http_response_timeout");
}

#[test]
fn a_client_that_leaves_is_499_in_the_records_alone() {
    let (origin, arrival, _release) = held();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET /left HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    arrival.recv_timeout(PATIENCE).unwrap();
    drop(client);
    let record = gateway.record("/left");
    assert_eq!(
        (&record["http.response.status_code"], &record["error.type"]),
        (&499.into(), &"client_gone".into())
    );
}

#[test]
fn the_form_follows_accept_and_the_language_accept_language() {
    let gateway = Gateway::build_for(&[nowhere()]).start();
    for protocol in Protocol::ALL {
        let fetch = |accept: &str, language: &str| {
            let question = ask("GET", "/").header("Accept", accept).header("Accept-Language", language);
            let reply = Visitor::new(&gateway, protocol).fetch(question);
            assert_refused(&reply, 502, "connection_refused");
            reply
        };
        let page = fetch("text/html,application/xhtml+xml,*/*;q=0.8", "kk-KZ,kk;q=0.9,ru;q=0.8");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("content-language"), "kk");
        assert!(page.header("content-security-policy").starts_with("default-src 'none';"));
        assert!(page.text().contains("<html lang=\"kk\">") && page.text().contains("Сайт жауап бермеді"));
        let problem = fetch("application/problem+json", "ru");
        assert_eq!(problem.header("content-type"), "application/problem+json");
        let json = problem.json();
        assert_eq!((&json["status"], &json["title"]), (&502.into(), &"Сайт не ответил".into()));
        assert_eq!(json["request_id"], problem.id());
        assert_eq!(json["error"], "connect_refused");
        assert_eq!(fetch("application/json", "en").header("content-type"), "application/json");
        let text = fetch("*/*", "de");
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        assert!(text.text().starts_with("The site did not answer\n"));
        assert!(fetch("text/html;q=0.1, text/plain", "en").text().starts_with("The site"));
    }
}

#[test]
fn a_visitor_without_a_wish_reads_the_language_of_the_site() {
    let gateway = Gateway::build_for(&[nowhere()])
        .file("policy.md", "# Policy\n")
        .tables(
            "[site.policy]\ndefault_language = \"ru\"\n\
             versions = [{ id = \"1\", file = \"policy.md\", language = \"ru\", effective = 2026-01-01 }]\n",
        )
        .start();
    assert!(gateway.client().get("/").text().starts_with("Сайт не ответил"));
}

#[test]
fn an_answer_to_head_has_no_body_and_its_record_counts_none() {
    let gateway = Gateway::build_for(&[nowhere()]).start();
    for protocol in Protocol::ALL {
        let path = format!("/{protocol:?}");
        let mut visitor = Visitor::new(&gateway, protocol);
        let got = visitor.fetch(ask("GET", "/get"));
        let reply = visitor.fetch(ask("HEAD", &path));
        assert_eq!((reply.status, reply.body.len()), (502, 0), "{reply:?}");
        assert_eq!(reply.header("content-length"), got.body.len().to_string());
        assert_eq!(gateway.record(&path)["http.response.body.size"], 0);
        let unknown = visitor.fetch(ask("HEAD", "/").host("other.example"));
        assert_eq!((unknown.status, unknown.body.len()), (421, 0));
        // The connection goes on where it stands.
        assert_eq!(visitor.fetch(ask("GET", "/")).status, 502);
    }
}

#[test]
fn a_site_cannot_speak_in_our_name() {
    let origin = Origin::start(|_| {
        Answer::text("x")
            .header("Proxy-Status", "kelisim; error=connection_refused, cdn; received-status=200")
            .header("Proxy-Status", "\"Kelisim\"")
    });
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).fetch(ask("GET", "/"));
        assert_eq!(reply.headers.all("proxy-status"), ["cdn; received-status=200"]);
    }
}

#[test]
fn each_refusal_is_counted_under_its_reason() {
    let gateway = Gateway::build_for(&[nowhere()]).start();
    gateway.client().get("/");
    gateway.client().fetch(&ask("GET", "/").host("other.example"));
    for reason in ["connect_refused", "unknown_host"] {
        let label = format!("reason=\"{reason}\"");
        wait_for("the count", || {
            (gateway.metric("kelisim_request_rejected_total", &[&label]) == 1.0).then_some(())
        });
    }
}
