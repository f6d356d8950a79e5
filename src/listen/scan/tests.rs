//! The scan alone, and the scan beside hyper.

#[path = "../../../fuzz/shared/head_readers.rs"]
mod head_readers;

use head_readers::{check, scan};
use proptest::prelude::*;
use proptest::sample::select;

use super::head::Head;
use super::{Rules, Scan, Step, clean};
use crate::error::Reason;
use crate::ingress::framing::Framing;
use crate::listen::serve::http1;

const RULES: Rules = Rules { head_bytes: 8192, head_fields: 20, uri_bytes: 512, strict: true };
const LENIENT: Rules = Rules { strict: false, ..RULES };

fn refused(head: &str) -> Option<Reason> {
    let scanned = check(head.as_bytes(), RULES, &[1]);
    scanned.refused
}

#[test]
fn a_usual_head_passes_whole_and_at_once() {
    let head = b"GET /a?b=c HTTP/1.1\r\nHost: kz.example\r\nAccept: */*\r\n\r\n";
    let mut scan = Scan::new(RULES);
    assert_eq!(scan.step(head), Step::Head(head.len(), None));
    assert!(!scan.in_body() && !scan.in_head());
    assert_eq!(scan.step(&head[..20]), Step::Partial);
    assert!(scan.in_head());
    assert_eq!(scan.step(head), Step::Head(head.len(), None));
}

/// What a browser sends to open a page.
const USUAL: &[u8] = b"GET /catalogue/item?id=1 HTTP/1.1\r\nHost: kz.example\r\nConnection: keep-alive\r\n\
    Sec-Ch-Ua-Mobile: ?0\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*;q=0.8\r\n\
    Content-Length: 3\r\nCookie: sessionid=abc; csrftoken=def\r\nDnt: 1\r\n\r\nabcGET /";

#[test]
fn a_usual_head_takes_the_quick_way() {
    let clean = clean::read(USUAL, &RULES).expect("clean");
    assert_eq!((clean.end, clean.framing), (USUAL.len() - 8, Framing::Length(3)));
    for n in 0..clean.end {
        assert_eq!(clean::read(&USUAL[..n], &RULES), None, "not whole");
    }
}

/// Whatever the quick way takes, the exact one takes as the same.
fn both_ways(bytes: &[u8], rules: Rules) {
    let Some(clean) = clean::read(bytes, &rules) else { return };
    let mut head = Head::default();
    assert_eq!(head.read(bytes, &rules), Ok(Some(clean.end)));
    assert_eq!((head.upgrade, head.framing, head.tolerated), (clean.upgrade, clean.framing, None));
}

#[test]
fn bodies_are_followed_to_the_next_head() {
    let bytes = b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n\
        GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    for sizes in [&[][..], &[1], &[7], &[3, 90]] {
        let scanned = check(bytes, RULES, sizes);
        let read: Vec<_> = scanned.requests.iter().map(|r| (r.line.1.as_slice(), r.body, r.whole)).collect();
        assert_eq!(read, [(&b"/1"[..], 5, true), (b"/2", 3, true), (b"/3", 0, true)]);
        assert_eq!(scanned.clean, bytes);
    }
}

#[test]
fn each_mistake_has_its_reason() {
    for (head, reason) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Reason::Malformed),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", Reason::Malformed),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Reason::Malformed),
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Reason::Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 1,1\r\n\r\n", Reason::AmbiguousFraming),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n", Reason::TransferCoding),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::AmbiguousFraming),
        ("GET / HTTP/2.0\r\n\r\n", Reason::UnsupportedVersion),
        ("GET / HTTP/1.2\r\n\r\n", Reason::Malformed),
        ("GET /\r\n", Reason::Malformed),
        ("GET /#a HTTP/1.1\r\n\r\n", Reason::BadTarget),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", Reason::MethodNotAllowed),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Reason::Malformed),
    ] {
        assert_eq!(refused(head), Some(reason), "{head:?}");
    }
    assert_eq!(refused("\r\nGET / HTTP/1.1\r\nA: \tb\t\r\n\r\n"), None);
}

#[test]
fn limits_are_exact() {
    let uri = |n: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(n - 1));
    assert_eq!((refused(&uri(512)), refused(&uri(513))), (None, Some(Reason::UriTooLong)));
    let fields = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
    assert_eq!((refused(&fields(20)), refused(&fields(21))), (None, Some(Reason::HeadTooLarge)));
    let head = |n: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(n - 23));
    assert_eq!((head(8192).len(), refused(&head(8192))), (8192, None));
    assert_eq!(refused(&head(8193)), Some(Reason::HeadTooLarge));
}

#[test]
fn nothing_is_read_after_a_request_for_a_tunnel_until_it_is_decided() {
    let head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let mut scan = Scan::new(RULES);
    assert_eq!(scan.step(head), Step::Head(head.len(), None));
    assert_eq!(scan.step(b"\x81\x05hello"), Step::Hold);
    scan.no_tunnel();
    assert!(matches!(scan.step(b"\x81\x05hello"), Step::Refused(_)));
}

/// Pieces of heads and bodies, good and bad, from which requests are put together.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "HEAD http://a/b?c HTTP/1.1\r\n",
    "PUT /a HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET /",
    "{}|^ HTTP/1.1\r\n",
    "GET / HTTP/1.1\n",
    "Host: a\r\n",
    "A: b\r\n",
    "A:\tb \r\n",
    "A:\r\n",
    "A: b\n",
    "A : b\r\n",
    " A: b\r\n",
    "A: \x0b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length:5 \r\n",
    "Content-Length: +5\r\n",
    "Content-Length:\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: Chunked\t\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: \r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: a\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nT: a\r\n\r\n",
    "00000000000000000\r\n\r\n",
    "ffffffffffffffff\r\n",
];

fn request() -> impl Strategy<Value = String> {
    let line = select(vec!["GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.1\r\n", "PUT /%20 HTTP/1.1\r\n"]);
    let field = select(vec!["Host: a\r\n", "Accept: */*\r\n", "X: \t y \r\n", "Cookie: a=b; c=d\r\n"]);
    let body = select(vec![
        "\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding:CHUNKED\r\n\r\n5;x\r\nhello\r\n2\r\nab\r\n0\r\nT: u\r\n\r\n",
    ]);
    (line, prop::collection::vec(field, 0..6), body)
        .prop_map(|(line, fields, body)| line.to_owned() + &fields.concat() + body)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn good_requests_pass_and_hyper_reads_the_same(
        requests in prop::collection::vec(request(), 1..5),
        sizes in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let scanned = check(requests.concat().as_bytes(), RULES, &sizes);
        prop_assert_eq!(scanned.requests.len(), requests.len());
        prop_assert!(scanned.refused.is_none() && !scanned.broken);
    }

    #[test]
    fn whatever_passes_hyper_reads_the_same(
        pieces in prop::collection::vec(select(PIECES), 0..20),
        sizes in prop::collection::vec(any::<u8>(), 0..4),
        strict in any::<bool>(),
    ) {
        let rules = if strict { RULES } else { LENIENT };
        both_ways(pieces.concat().as_bytes(), rules);
        check(pieces.concat().as_bytes(), rules, &sizes);
    }

    #[test]
    fn one_changed_byte_is_refused_or_read_the_same(
        requests in prop::collection::vec(request(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        strict in any::<bool>(),
    ) {
        let mut bytes = requests.concat().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let rules = if strict { RULES } else { LENIENT };
        both_ways(&bytes, rules);
        check(&bytes, rules, &[]);
    }

    #[test]
    fn one_changed_byte_of_a_usual_head_changes_both_ways_alike(at in 0..USUAL.len(), byte in any::<u8>()) {
        let mut bytes = USUAL.to_vec();
        bytes[at] = byte;
        both_ways(&bytes, RULES);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), sizes in prop::collection::vec(any::<u8>(), 0..4)) {
        scan(&bytes, RULES, &sizes);
    }
}
