//! Requests that are no site's: heads that are refused unread, hosts that are not served, and `OPTIONS *`. Each can be
//! found by the id on its page, is counted, and is limited.

use crate::support::{Gateway, HOST, Origin, ask};

const STAR: &str = "OPTIONS * HTTP/1.1\r\nHost: kz.example\r\n";

#[test]
fn the_id_on_the_page_of_a_refused_head_is_in_the_log() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let host = format!("Host: {HOST}\r\n");
    for (head, status, reason) in [
        (format!("GET / HTTP/1.1\r\n{host}Cookie: a={}\r\n\r\n", "b".repeat(66_000)), 431, "head_too_large"),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(20_000)), 414, "uri_too_long"),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            400,
            "ambiguous_framing",
        ),
        ("GET /word-path HTTP/1.1\r\nHost: word-host.example\r\n\r\n".to_owned(), 421, "unknown_host"),
    ] {
        let mut client = gateway.client();
        client.try_send(&head);
        let reply = client.read();
        assert_eq!(reply.status, status, "{reason}");
        assert!(reply.text().contains(reply.id()));
        let line = gateway.wait_for_log(0, reason, |line| line.contains(reply.id()));
        assert!(!["word-", "127.0.0.1", "bbbb"].iter().any(|secret| line.contains(secret)), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let found = (&line["level"], &line["reason"], &line["status"]);
        assert_eq!(found, (&"INFO".into(), &reason.into(), &status.into()), "{line}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_asterisk_is_counted_recorded_and_limited() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .site("rate_limit = { requests = 1, per = \"1h\", burst = 3 }")
        .key("log.access", "\"json\"")
        .key("log.access_file", "\"access.log\"")
        .start();
    let mut client = gateway.client();
    for status in [204, 204, 204, 429, 429] {
        client.send(format!("{STAR}\r\n"));
        assert_eq!(client.read().status, status);
    }
    assert_eq!(client.get("/").status, 429, "the same allowance");
    gateway.record_count("*", 5);
    let counted = |class| gateway.metric("kelisim_http_requests_total", &["method=\"OPTIONS\"", class]);
    assert_eq!((counted("status_class=\"2xx\""), counted("status_class=\"4xx\"")), (3.0, 2.0));
    crate::support::wait_for("the access log", || {
        let text = std::fs::read_to_string(gateway.folder().join("access.log")).unwrap_or_default();
        (text.lines().filter(|line| line.contains("\"url.path\":\"*\"")).count() == 5).then_some(())
    });
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_asterisk_with_a_body_that_does_not_come_says_that_it_closes() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send(format!("{STAR}Content-Length: 30\r\n\r\n"));
    let reply = client.read();
    assert_eq!((reply.status, reply.header("connection")), (204, "close"));
    let mut whole = gateway.client();
    whole.send(format!("{STAR}\r\n"));
    let reply = whole.read();
    assert!(!reply.headers.has("connection"));
    assert_eq!(whole.get("/").status, 200);
}

#[test]
fn a_choice_that_its_head_refuses_is_not_asked_for() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let json = "Content-Type: application/json\r\n";
    let ours = "Origin: http://kz.example\r\n";
    for (line, fields, status) in [
        ("POST /.kelisim/consent", "Content-Length: 30\r\n".to_owned(), 415),
        ("POST /.kelisim/consent", format!("{json}{ours}Content-Length: 5000\r\n"), 413),
        (
            "POST /.kelisim/consent",
            format!("{json}Origin: http://evil.example\r\nContent-Length: 30\r\n"),
            403,
        ),
        ("DELETE /.kelisim/consent", format!("{ours}Content-Length: 30\r\n"), 415),
        ("PUT /.kelisim/consent", format!("{json}{ours}Content-Length: 30\r\n"), 405),
        ("POST /.kelisim/nothing", format!("{json}{ours}Content-Length: 30\r\n"), 404),
    ] {
        let mut client = gateway.client();
        client.send(format!("{line} HTTP/1.1\r\nHost: kz.example\r\nExpect: 100-continue\r\n{fields}\r\n"));
        let reply = client.read_head();
        assert_eq!((reply.status, reply.header("connection")), (status, "close"), "{line} {fields}");
    }
    let body = "{\"action\":\"refuse\"}";
    let mut client = gateway.client();
    client.send(format!(
        "POST /.kelisim/consent HTTP/1.1\r\nHost: kz.example\r\nExpect: 100-continue\r\n{json}{ours}Content-Length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.read_head().status, 100);
    client.send(body);
    assert_eq!(client.read().status, 200);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_port_that_is_empty_is_none_and_zero_is_no_port() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for (came, goes) in [("kz.example:", "kz.example"), ("kz.example:00080", "kz.example:80")] {
        assert_eq!(client.fetch(&ask("GET", "/").host(came)).status, 200, "{came}");
        let seen = origin.last();
        assert_eq!(
            (seen.headers.one("host"), seen.headers.one("x-forwarded-host")),
            (Some(goes), Some(goes))
        );
    }
    for bad in ["kz.example:0", "kz.example:000080"] {
        assert_eq!(gateway.client().fetch(&ask("GET", "/").host(bad)).status, 400, "{bad}");
    }
    assert_eq!(origin.count(), 2);
}
