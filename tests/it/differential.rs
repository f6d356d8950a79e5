//! Before real origins: they see the requests that were forwarded, and no other.
//!
//! Every case is one hostile or odd request and a second, recognisable one behind it on the same connection. Afterwards
//! the origin's own log is compared with the gateway's records: as many requests as were forwarded, with the same
//! targets, none that cannot be read, and never the one that was hidden inside another's body.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;

use crate::corpora;
use crate::support::real_origin::RealOrigin;
use crate::support::{Gateway, HOST, PATIENCE, wait_for};

/// What no origin may ever see.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: kz.example\r\nX-Tail: ";

/// `{p}` is the case's own path, `{h}` the hidden request, `{n}` its length, `{x}` the same in hexadecimal.
const CASES: &[&str] = &[
    // Two framings.
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\nContent-Length: {n5}\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{x}\r\n{h}\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 0\r\nContent-Length: {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\nContent-Length: 0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 0, {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}, {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\nContent_Length: 0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer_Encoding: chunked\r\nContent-Length: {n5}\r\n\r\n0\r\n\r\n{h}",
    // Transfer-Encoding that some read and some do not.
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n5}\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: identity\r\nContent-Length: {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked;x=y\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTRANSFER-ENCODING: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "POST {p} HTTP/1.0\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nConnection: Content-Length\r\nContent-Length: {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n{x}\r\n{h}\r\n0\r\n\r\n",
    // Lengths.
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: +{n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: -1\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 0x{x}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 0{n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n} {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length:\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 99999999999999999999999\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\n\r\n{h}",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\n\r\n{h}",
    "HEAD {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\n\r\n{h}",
    "DELETE {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\n\r\n{h}",
    "OPTIONS {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\n\r\n{h}",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n{x}\r\n{h}\r\n0\r\n\r\n",
    // Chunks.
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n{x};a=b\r\n{h}\r\n0;c\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n{x};a=\"\n\"\r\n{h}\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n1;\na\r\n{x}\r\n{h}\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n{x} \r\n{h}\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n{x}\n{h}\n0\n\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n0x{x}\r\n{h}\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n+{x}\r\n{h}\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n000000000000{x}\r\n{h}\r\n000\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    // Line ends and white space in the head.
    "GET {p} HTTP/1.1\nHost: kz.example\n\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nX: a\0b\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nX: a\r\n\tb: c\r\n\r\n",
    "GET {p} HTTP/1.1\r\n Host: kz.example\r\nHost: kz.example\r\n\r\n",
    "GET  {p}  HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET\t{p}\tHTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "\r\n\r\nGET {p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    " GET {p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p} HTTP/1.1 \r\nHost: kz.example\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nX\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\n: x\r\n\r\n",
    "GET {p} HTTP/1.2\r\nHost: kz.example\r\n\r\n",
    "GET {p} HTTP/9.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}\r\n\r\n",
    "GET {p} HTTP/1.0\r\nHost: kz.example\r\nConnection: keep-alive\r\n\r\n",
    // Hosts and targets.
    "GET http://kz.example{p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET http://kz.example{p} HTTP/1.1\r\nHost: other.example\r\n\r\n",
    "GET http://kz.example@other.example{p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nHost: kz.example\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: other.example\r\nHost: kz.example\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example, other.example\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example:99999\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost:\r\n\r\n",
    "GET {p}/../x HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}/%2e%2e/x HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}//x HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p};a=b/x HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}/a%2fb HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}/%0d%0aX:%20y HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}/%00 HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}/%zz HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}?a=b?c=d&%26 HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}#fragment HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET {p}\\x HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET /{p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "CONNECT kz.example:443 HTTP/1.1\r\nHost: kz.example\r\n\r\n{h}",
    "TRACE {p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "get {p} HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    "PROPFIND {p} HTTP/1.1\r\nHost: kz.example\r\nContent-Length: {n}\r\n\r\n{h}",
    // Expectations and upgrades.
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nExpect: 100-continue\r\nContent-Length: {n}\r\n\r\n{h}",
    "POST {p} HTTP/1.1\r\nHost: kz.example\r\nExpect: 100-continue, x\r\nContent-Length: {n}\r\n\r\n{h}",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nExpect: 100-continue\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: kz.example\r\nConnection: close, keep-alive\r\nKeep-Alive: timeout=99\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{h}",
];

#[test]
fn real_origins_see_the_forwarded_requests_and_no_other() {
    let mut sent: Vec<Vec<u8>> = CASES.iter().enumerate().map(|(n, case)| filled(case, n)).collect();
    sent.extend(corpora::requests());
    std::thread::scope(|scope| {
        for origin in RealOrigin::all() {
            let sent = &sent;
            scope.spawn(move || compare(&origin, sent, Hidden::InBodies));
        }
    });
}

#[test]
fn random_mutations_reach_nginx_and_node_as_forwarded() {
    let cases = std::env::var("KELISIM_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS);
    let seed = std::env::var("KELISIM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(SEED);
    eprintln!("KELISIM_SEED={seed} KELISIM_MUTATIONS={cases}");
    let mut random = Random(seed);
    let sent: Vec<Vec<u8>> = (0..cases).map(|n| mutated(&mut random, n)).collect();
    std::thread::scope(|scope| {
        for origin in [RealOrigin::nginx(), RealOrigin::node()].into_iter().flatten() {
            let sent = &sent;
            scope.spawn(move || compare(&origin, sent, Hidden::OrNot));
        }
    });
}

/// Where the hidden requests are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    /// In the body of another, always.
    InBodies,
    /// A mutation may have made one an honest second request (`Content-LenQth: 50`): it counts like all others.
    OrNot,
}

/// Sends every case through a gateway and compares both ends.
fn compare(origin: &RealOrigin, sent: &[Vec<u8>], hidden: Hidden) {
    let mut gateway = origin.server.build_gateway().key("workers", "1");
    for wait in ["request_head", "request_body", "keep_alive"] {
        gateway = gateway.key(&format!("timeouts.{wait}"), "\"500ms\"");
    }
    // A request that the gateway repeats would be there twice.
    let gateway = gateway.key("timeouts.upstream_idle", "\"10s\"").start();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(bytes) = sent.get(next.fetch_add(1, SeqCst)) {
                    exchange(&gateway, bytes);
                }
            });
        }
    });
    // A last request that both must know of: everything before it has been written then.
    exchange(&gateway, b"GET /the-end HTTP/1.1\r\nHost: kz.example\r\nConnection: close\r\n\r\n");
    wait_for("the origin's log", || origin.seen().iter().any(|line| line.contains("/the-end")).then_some(()));
    let folder = gateway.finish_and_keep();
    let records = crate::support::cli::records(&folder.path().join("records"), &[]);
    judge(origin, &records, hidden);
}

/// The origin saw what was forwarded: at least what it answered, at most what was sent to it, request by request.
fn judge(origin: &RealOrigin, records: &[Value], hidden: Hidden) {
    let name = origin.name;
    let seen = origin.seen();
    let smuggled: Vec<&String> = seen.iter().filter(|line| line.contains("smuggled")).collect();
    assert!(hidden == Hidden::OrNot || smuggled.is_empty(), "{name} saw hidden requests: {smuggled:?}");
    let mut counts: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    for line in &seen {
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert!(target.starts_with('/') && !method.is_empty(), "{name} saw what is no request: {line:?}");
        counts.entry(key(method, target)).or_default().0 += 1;
    }
    for record in records.iter().filter(|record| record["upstream.address"].is_string()) {
        let method = record["http.request.method"].as_str().unwrap_or_default();
        let count = counts.entry(key(method, record["url.path"].as_str().unwrap_or_default())).or_default();
        count.1 += i64::from(record["upstream.status_code"].is_u64());
        count.2 += 1 + record["upstream.retry_count"].as_i64().unwrap_or(0);
    }
    for (what, (seen_by_origin, answered, forwarded)) in &counts {
        assert!(
            answered <= seen_by_origin && seen_by_origin <= forwarded,
            "{name}, {what}: {answered} answered, {seen_by_origin} seen, {forwarded} forwarded\n{seen:#?}"
        );
    }
    let total = seen.len();
    assert!(total > 10, "{name} saw {total} requests only: the cases test nothing");
    eprintln!("{name}: {total} requests seen, {} recorded", records.len());
}

/// Method as records write it, and path; paths that they may write otherwise than origins count together.
fn key(method: &str, target: &str) -> String {
    let method = String::from_utf8_lossy(kelisim::record::redact::method(method.as_bytes()));
    let path = target.split('?').next().unwrap_or_default();
    let plain =
        path.trim_start_matches('/').bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if plain { format!("{method} {path}") } else { format!("{method} (other)") }
}

/// Sends bytes and a second request behind them, and reads until the gateway has closed.
fn exchange(gateway: &Gateway, bytes: &[u8]) {
    let mut stream = TcpStream::connect(gateway.addresses[0]).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let second = format!("GET /second HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    // It may close before it has read everything: then the rest has nowhere to go.
    let _ = stream.write_all(bytes).and_then(|()| stream.write_all(second.as_bytes()));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let waited = read.is_err_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    });
    assert!(!waited, "never closed: {}\nanswered so far: {}", bytes.escape_ascii(), answer.escape_ascii());
}

fn filled(case: &str, number: usize) -> Vec<u8> {
    // The hidden request would swallow the second one as its field.
    let length = HIDDEN.len();
    case.replace("{p}", &format!("/case{number}"))
        .replace("{h}", HIDDEN)
        .replace("{n5}", &(length + 5).to_string())
        .replace("{n}", &length.to_string())
        .replace("{x}", &format!("{length:x}"))
        .into_bytes()
}

/// One of the cases above with a few bytes changed, doubled, dropped or put in from a list of suspects.
fn mutated(random: &mut Random, number: usize) -> Vec<u8> {
    let mut bytes = filled(CASES[random.below(CASES.len())], number);
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        match random.below(4) {
            0 => {
                let suspect = SUSPECTS[random.below(SUSPECTS.len())];
                bytes.splice(at..at, suspect.iter().copied());
            }
            1 => {
                bytes.remove(at);
            }
            2 => bytes[at] = random.below(256).to_le_bytes()[0],
            _ => {
                let end = (at + 1 + random.below(12)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// A small generator with a seed that a failure tells (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap() % n
    }
}

const SUSPECTS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\x0b",
    b"\x80",
    b"\xff",
    b"\r\n ",
    b"0\r\n\r\n",
    b"\r\nContent-Length: 0\r\n",
    b"\r\nContent-Length: 7\r\n",
    b"\r\nTransfer-Encoding: chunked\r\n",
    b"\r\nTransfer-Encoding: identity\r\n",
    b"\r\nConnection: close\r\n",
    b"\r\nHost: kz.example\r\n",
    b"%",
    b"chunked",
];
/// Connections at the same time.
const CLIENTS: usize = 12;
/// Mutated requests, unless `KELISIM_MUTATIONS` says otherwise.
const MUTATIONS: usize = 2000;
const SEED: u64 = 0x6b65_6c69_7369_6d21;
