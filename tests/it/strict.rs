//! Ambiguous requests, one test for each class: refused by us, or made one; what was smuggled is never a request.
//!
//! Each head is sent alone, after a request on the same connection, pipelined behind one, and in two pieces; always
//! with a second request in its shadow. The site counts. A refusal is a whole answer of ours and ends the connection.

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::support::client::{Client, Reply};
use crate::support::tls::Certificate;
use crate::support::wire::End;
use crate::support::{Gateway, HOST, Origin, wait_for};

/// A gateway before a site that must see nothing but [`GOOD`].
struct Front {
    gateway: Gateway,
    origin: Origin,
    certificate: Certificate,
    good: AtomicUsize,
}

const GOOD: &str = "GET /good HTTP/1.1\r\nHost: kz.example\r\n\r\n";
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: kz.example\r\n\r\n";
pub const HOST_LINE: &str = "Host: kz.example\r\n";

impl Front {
    fn strict() -> Self {
        Self::with("true")
    }

    fn lenient() -> Self {
        Self::with("false")
    }

    fn with(strict: &str) -> Self {
        let origin = Origin::pages();
        let builder = Gateway::build(&[&origin]).key("ingress.strict", strict);
        let certificate = Certificate::write(builder.folder(), &[HOST]);
        let gateway = builder.listener(&certificate.config()).start();
        Self { gateway, origin, certificate, good: AtomicUsize::new(0) }
    }

    fn tls(&self) -> Client {
        let config = self.certificate.client(&["http/1.1"]);
        Client::connect_tls(self.gateway.addresses[1], config, HOST).expect("TLS")
    }

    /// One good request and its answer.
    fn good(&self, client: &mut Client) {
        client.send(GOOD);
        self.good_answer(client);
    }

    fn good_answer(&self, client: &mut Client) {
        assert_eq!(client.read().status, 200);
        self.good.fetch_add(1, SeqCst);
    }

    /// This head, and what stands in its shadow, is refused with this status wherever it stands.
    fn refuses(&self, head: &str, status: u16) {
        let bytes = [head, SMUGGLED].concat();
        for mut client in [self.gateway.client(), self.tls()] {
            client.send(&bytes);
            refusal(&mut client, status, head);
        }

        let mut client = self.gateway.client();
        self.good(&mut client);
        client.send(&bytes);
        refusal(&mut client, status, head);

        let mut client = self.gateway.client();
        client.send([GOOD, GOOD, &bytes].concat());
        self.good_answer(&mut client);
        self.good_answer(&mut client);
        refusal(&mut client, status, head);

        let mut client = self.gateway.client();
        let (first, rest) = bytes.split_at(head.len() / 2);
        client.send([GOOD, first].concat());
        self.good_answer(&mut client);
        client.send(rest);
        refusal(&mut client, status, head);
        self.saw_only_good_ones(head);
    }

    /// A request whose body is framed wrongly: it may have begun at the site, but never ends there.
    fn breaks(&self, body: &str) {
        let head = format!("POST /broken HTTP/1.1\r\n{HOST_LINE}Transfer-Encoding: chunked\r\n\r\n");
        for before in ["", GOOD] {
            let mut client = self.gateway.client();
            client.send([before, &head, body, SMUGGLED].concat());
            if !before.is_empty() {
                self.good_answer(&mut client);
            }
            refusal(&mut client, 400, body);
        }
        self.saw_only_good_ones(body);
    }

    fn saw_only_good_ones(&self, what: &str) {
        let seen = self.origin.seen();
        let (good, others): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.target == "/good");
        assert_eq!(good.len(), self.good.load(SeqCst), "{what:?}");
        for other in others {
            assert!(other.target == "/broken" && other.end == End::Broken, "{what:?}: {other:?}");
        }
    }

    fn rejected(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.gateway.metric("kelisim_request_rejected_total", &[&label])
    }

    fn tolerated(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.gateway.metric("kelisim_ingress_tolerated_total", &[&label])
    }
}

/// Reads a refusal of ours, and the end of the connection after it.
pub fn refusal(client: &mut Client, status: u16, what: &str) -> Reply {
    let reply = client.read();
    assert_eq!((reply.status, reply.end), (status, End::Whole), "{what:?}: {reply:?}");
    reply.suspect();
    assert_eq!(reply.header("proxy-status"), "kelisim; error=http_request_error", "{what:?}");
    assert_eq!(reply.header("connection"), "close", "{what:?}");
    assert_eq!(reply.header("cache-control"), "no-store", "{what:?}");
    assert!(reply.text().contains(reply.id()), "{what:?}: {reply:?}");
    assert!(client.is_closed(), "{what:?}");
    reply
}

/// A request with a body.
pub fn post(fields: &str, body: &str) -> String {
    format!("POST /framing HTTP/1.1\r\n{HOST_LINE}{fields}\r\n{body}")
}

/// A request without a body.
pub fn get(fields: &str) -> String {
    format!("GET /head HTTP/1.1\r\n{HOST_LINE}{fields}\r\n")
}

#[test]
fn length_and_coding_together_are_refused() {
    let front = Front::strict();
    front.refuses(&post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400);
    front.refuses(&post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400);
    assert_eq!(front.rejected("ambiguous_framing"), 10.0);
}

#[test]
fn length_and_coding_together_become_one_framing_where_strictness_is_off() {
    let front = Front::lenient();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 100\r\n",
    ] {
        let mut client = front.gateway.client();
        client.send([GOOD, &post(fields, "3\r\nabc\r\n0\r\n\r\n"), SMUGGLED].concat());
        assert_eq!(client.read().status, 200);
        let reply = client.read();
        assert_eq!((reply.status, reply.header("connection")), (200, "close"), "{fields:?}");
        assert!(client.is_closed(), "{fields:?}");
        let seen = front.origin.last();
        assert_eq!((seen.target.as_str(), seen.body.as_slice()), ("/framing", &b"abc"[..]));
        assert!(!seen.headers.has("content-length"));
    }
    assert_eq!(front.origin.count(), 4);
    wait_for("two counted", || (front.tolerated("two_framings") == 2.0).then_some(()));
}

#[test]
fn only_chunked_alone_is_a_transfer_coding() {
    let front = Front::strict();
    for (fields, status) in [
        ("Transfer-Encoding: gzip\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
        ("Transfer-Encoding: chunked;q=1\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n", 400),
    ] {
        front.refuses(&post(fields, "0\r\n\r\n"), status);
    }
    let old = format!("POST /framing HTTP/1.0\r\n{HOST_LINE}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    front.refuses(&old, 400);
    assert_eq!(front.rejected("transfer_coding"), 15.0);
}

#[test]
fn a_content_length_is_one_number() {
    let front = Front::strict();
    for value in ["", "+5", "-1", "5, 5", "5,6", "5 5", "0x5", "5.0", "99999999999999999999", "五"] {
        front.refuses(&post(&format!("Content-Length: {value}\r\n"), "hello"), 400);
    }
    for fields in
        ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 50\r\n"]
    {
        front.refuses(&post(fields, "hello"), 400);
    }
}

#[test]
fn two_equal_lengths_become_one_where_strictness_is_off() {
    let front = Front::lenient();
    let mut client = front.gateway.client();
    client.send([&post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), SMUGGLED].concat());
    assert_eq!(client.read().header("connection"), "close");
    assert!(client.is_closed());
    assert_eq!(front.origin.last().body, b"hello");
    assert_eq!(front.origin.count(), 1);
    wait_for("one counted", || (front.tolerated("repeated_length") == 1.0).then_some(()));
    Front::lenient().refuses(&post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400);
}

#[test]
fn lines_end_with_cr_and_lf() {
    let front = Front::strict();
    for head in [
        format!("GET /head HTTP/1.1\n{HOST_LINE}\r\n"),
        "GET /head HTTP/1.1\r\nHost: kz.example\n\r\n".into(),
        "GET /head HTTP/1.1\r\nHost: kz.example\r\n\n".into(),
        "GET /head HTTP/1.1\nHost: kz.example\n\n".into(),
        get("X-Test: a\nX-Test: b\r\n"),
        "GET /head HTTP/1.1\rHost: kz.example\r\r".to_owned() + "\n",
        get("X-Test: a\rX-Test: b\r\n"),
        get("X-Test: a\r\r\n"),
    ] {
        front.refuses(&head, 400);
    }
}

#[test]
fn bare_line_feeds_are_counted_where_strictness_is_off() {
    let front = Front::lenient();
    let mut client = front.gateway.client();
    client.send("GET /good HTTP/1.1\nHost: kz.example\n\n");
    front.good_answer(&mut client);
    front.good(&mut client);
    drop(client);
    wait_for("one counted", || (front.tolerated("bare_lf") == 1.0).then_some(()));
    front.refuses(&get("X-Test: a\rX-Test: b\r\n"), 400);
    front.refuses(&get("X-Test: a\r\n b\r\n"), 400);
}

#[test]
fn folded_and_shifted_fields_are_refused() {
    let front = Front::strict();
    for fields in [
        "X-Test: a\r\n Transfer-Encoding: chunked\r\n",
        "X-Test: a\r\n\tb\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "nocolon\r\n",
        ": empty\r\n",
        "X Test: a\r\n",
        "X-T\u{e4}st: a\r\n",
    ] {
        front.refuses(&get(fields), 400);
    }
    front.refuses(&format!("GET /head HTTP/1.1\r\n Content-Length: 5\r\n{HOST_LINE}\r\n"), 400);
}

#[test]
fn control_bytes_are_refused() {
    let front = Front::strict();
    for byte in ["\0", "\x01", "\x08", "\x0b", "\x0c", "\x1f", "\x7f"] {
        front.refuses(&get(&format!("X-Test: a{byte}b\r\n")), 400);
        front.refuses(&get(&format!("X-T{byte}est: a\r\n")), 400);
        front.refuses(&format!("GET /a{byte}b HTTP/1.1\r\n{HOST_LINE}\r\n"), 400);
    }
    let mut client = front.gateway.client();
    client.send(get("X-Test: a\tb \u{e4}\r\n").replace("/head", "/good"));
    front.good_answer(&mut client);
    assert_eq!(front.origin.last().headers.one("x-test"), Some("a\tb \u{c3}\u{a4}"));
}

#[test]
fn the_request_line_is_exact() {
    let front = Front::strict();
    for (line, status) in [
        ("GET  /head HTTP/1.1", 400),
        ("GET /head  HTTP/1.1", 400),
        ("GET\t/head HTTP/1.1", 400),
        (" GET /head HTTP/1.1", 400),
        ("GET /head HTTP/1.1 ", 400),
        ("GET /head", 400),
        ("GET /he ad HTTP/1.1", 400),
        ("G(T /head HTTP/1.1", 400),
        ("GET /head#part HTTP/1.1", 400),
        ("GET head HTTP/1.1", 400),
        ("GET /head http/1.1", 400),
        ("GET /head HTTP/1", 400),
        ("GET /head HTTP/11", 400),
        ("GET /head HTTP/1.2", 400),
        ("GET /head HTTP/0.9", 505),
        ("GET /head HTTP/2.0", 505),
        ("GET /head HTTP/3.0", 505),
    ] {
        front.refuses(&format!("{line}\r\n{HOST_LINE}\r\n"), status);
    }
    let mut client = front.gateway.client();
    client.send("\x16\x03\x01\x02\x00\x01");
    refusal(&mut client, 400, "TLS on a cleartext port, without a line end");
}

#[test]
fn connect_is_refused_before_anything_follows() {
    let front = Front::strict();
    front.refuses("CONNECT kz.example:443 HTTP/1.1\r\nHost: kz.example:443\r\n\r\n", 405);
    let mut client = front.gateway.client();
    client.send("CONNECT kz.example:443 HTTP/1.1\r\nHost: kz.example:443\r\n\r\n");
    assert!(client.read().header("allow").contains("GET"));
}

#[test]
fn one_empty_line_before_a_request_is_skipped_and_no_more() {
    let front = Front::strict();
    let mut client = front.gateway.client();
    client.send(["\r\n", GOOD, "\r\n", GOOD].concat());
    front.good_answer(&mut client);
    front.good_answer(&mut client);
    front.good(&mut client);
    front.refuses(&format!("\r\n\r\n{GOOD}"), 400);
    front.refuses(&format!("\n{GOOD}"), 400);
}

#[test]
fn chunks_are_framed_exactly() {
    let front = Front::strict();
    for body in [
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t;a\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\nX Test: a\r\n\r\n",
        "0\r\nX-Test: a\nb\r\n\r\n",
        "0\r\n X-Test: a\r\n\r\n",
        "0\r\nnocolon\r\n\r\n",
    ] {
        front.breaks(body);
    }
    front.breaks(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000)));
    front.breaks(&format!("0\r\nX-Test: {}\r\n\r\n", "a".repeat(20_000)));
    assert_eq!(front.rejected("body_broken"), 50.0);
}

#[test]
fn extensions_and_trailers_that_are_well_formed_pass() {
    let front = Front::strict();
    let mut client = front.gateway.client();
    let body = "5;name=\"a b\";c\r\nhello\r\n0\r\nX-Test: end\r\n\r\n";
    for _ in 0..2 {
        client.send(
            post("Transfer-Encoding: Chunked\r\nTrailer: X-Test\r\n", body).replace("/framing", "/good"),
        );
        front.good_answer(&mut client);
        assert_eq!(front.origin.last().body, b"hello");
    }
}

#[test]
fn a_refused_head_request_is_answered_without_a_body() {
    let front = Front::strict();
    let mut client = front.gateway.client();
    client.send(format!("HEAD /head HTTP/1.1\r\n{HOST_LINE}X-Test: a\0b\r\n\r\n"));
    let bytes = String::from_utf8(client.read_to_end()).expect("text");
    assert!(bytes.starts_with("HTTP/1.1 400 ") && bytes.ends_with("\r\n\r\n"), "{bytes}");
    assert_eq!(bytes.matches("\r\n\r\n").count(), 1, "{bytes}");
}

#[test]
fn what_follows_a_request_for_a_tunnel_is_read_as_a_request_only_when_there_is_none() {
    let front = Front::strict();
    let upgrade = "GET /good HTTP/1.1\r\nHost: kz.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let mut client = front.gateway.client();
    client.send([upgrade, GOOD].concat());
    front.good_answer(&mut client);
    front.good_answer(&mut client);
    let bad = get("X-Test: a\0b\r\n");
    client.send([upgrade, &bad, SMUGGLED].concat());
    front.good_answer(&mut client);
    refusal(&mut client, 400, "after a refused tunnel");
    front.saw_only_good_ones("tunnels");
}

/// They came with the request, so no byte of the client's will ever wake the reader.
#[test]
fn bytes_behind_an_upgrade_that_is_not_granted_do_not_wait_for_a_timer() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("timeouts.request_head", "\"10m\"")
        .key("timeouts.keep_alive", "\"10m\"")
        .key("timeouts.response_write", "\"10m\"")
        .start();
    let fields =
        format!("{HOST_LINE}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n");
    for (first, status) in [
        (format!("POST /up HTTP/1.1\r\n{fields}Content-Length: 5\r\n\r\nhello"), 200),
        (format!("GET /up HTTP/1.1\r\n{fields}\r\n"), 200),
        (format!("GET /.well-known/gpc.json HTTP/1.1\r\n{fields}\r\n"), 200),
        (format!("OPTIONS * HTTP/1.1\r\n{fields}\r\n"), 204),
    ] {
        let mut client = gateway.client();
        client.send(first + GOOD);
        assert_eq!(client.read().status, status);
        assert_eq!(client.read().status, 200);
    }
}

#[test]
fn a_client_that_ends_its_side_after_a_bad_head_reads_the_answer() {
    let front = Front::strict();
    let mut client = front.gateway.client();
    client.send([GOOD, &get("X-Test: a\0b\r\n")].concat());
    client.half_close();
    front.good_answer(&mut client);
    refusal(&mut client, 400, "half-closed");
    // A head that is never completed is nobody's request.
    let mut client = front.gateway.client();
    client.send("GET / HTT");
    client.half_close();
    assert!(client.is_closed());
    let mut wire = front.gateway.client().into_wire();
    wire.shut(Shutdown::Both).expect("closed");
}
