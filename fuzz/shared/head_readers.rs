//! What must hold between the scan and hyper, whatever the bytes and however they arrive: used by a fuzz target and by
//! property tests.
//!
//! The bytes pass the scan in pieces, as they would on a socket; what it calls clean goes to hyper's server, with the
//! gateway's switches, over a pipe in memory. Both must have read the same requests. Never part of the product.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::{Reason, Rules, Scan, Step, http1};

/// A request, as one of the two has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// Method and target as they stand on the first line.
    pub(crate) line: (Vec<u8>, Vec<u8>),
    /// Bytes of the body.
    pub(crate) body: u64,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

/// What the scan made of some bytes.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// The requests that it let through.
    pub(crate) requests: Vec<Read>,
    /// Their bytes, unchanged.
    pub(crate) clean: Vec<u8>,
    /// The head that it refused.
    pub(crate) refused: Option<Reason>,
    /// Whether a body broke.
    pub(crate) broken: bool,
    /// How many requests there are up to the first that ends the connection.
    until_last: Option<usize>,
}

impl Scanned {
    /// How many of the requests a server answers: it ends the connection after one that asks for it.
    fn answered(&self) -> usize {
        self.until_last.unwrap_or(self.requests.len())
    }
}

/// Passes bytes through the scan in pieces of these sizes, over and over.
pub(crate) fn scan(bytes: &[u8], rules: Rules, sizes: &[u8]) -> Scanned {
    let mut scan = Scan::new(rules);
    let mut out = Scanned::default();
    let mut sizes = sizes.iter().map(|&n| usize::from(n).max(1)).cycle();
    let (mut at, mut shown) = (0, 0);
    while shown < bytes.len() {
        shown = (shown + sizes.next().unwrap_or(usize::MAX).min(bytes.len())).min(bytes.len());
        while at < shown {
            // A tunnel that was asked for never comes about here.
            scan.no_tunnel();
            let n = match scan.step(&bytes[at..shown]) {
                Step::Head(n, _) => {
                    out.requests.push(Read { line: line(&bytes[at..at + n]), body: 0, whole: false });
                    if out.until_last.is_none() && is_last(&bytes[at..at + n]) {
                        out.until_last = Some(out.requests.len());
                    }
                    n
                }
                Step::Data(n) => {
                    if let Some(request) = out.requests.last_mut() {
                        request.body += n as u64;
                    }
                    n
                }
                Step::Framing(n) => n,
                Step::Partial => break,
                Step::Hold => unreachable!("there is no tunnel"),
                Step::Refused(refused) => {
                    out.refused = Some(refused);
                    return out;
                }
                Step::Broken => {
                    out.broken = true;
                    return out;
                }
            };
            assert!(n > 0 && at + n <= shown, "a step within what is there");
            if let Some(request) = out.requests.last_mut() {
                request.whole = !scan.in_body();
            }
            out.clean.extend_from_slice(&bytes[at..at + n]);
            at += n;
        }
    }
    out
}

/// What hyper reads from the same bytes, and whether it refused any of them.
pub(crate) fn read_by_hyper(clean: &[u8], rules: Rules) -> (Vec<Read>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let own = Rc::clone(&seen);
    let refused = runtime.block_on(async move {
        // The answers fit, so nobody has to read them.
        let (mut client, server) = tokio::io::duplex(1 << 22);
        client.write_all(clean).await.expect("written");
        client.shutdown().await.expect("ended");
        let service = service_fn(move |request: http::Request<Incoming>| {
            let seen = Rc::clone(&own);
            async move {
                let method = request.method().as_str().as_bytes().to_vec();
                let target = request.uri().to_string().into_bytes();
                let mut body = request.into_body();
                let mut read = Read { line: (method, target), body: 0, whole: true };
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => read.body += frame.data_ref().map_or(0, |data| data.len() as u64),
                        Err(_) => {
                            read.whole = false;
                            break;
                        }
                    }
                }
                seen.borrow_mut().push(read);
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::new())))
            }
        });
        // Half-closing is for this pipe alone: there the client is gone when its bytes are.
        let mut builder = http1(rules.head_bytes, rules.head_fields);
        let ended = builder.half_close(true).serve_connection(TokioIo::new(server), service).await;
        ended.is_err_and(|error| error.is_parse() || error.is_parse_too_large())
    });
    (seen.take(), refused)
}

/// Panics if hyper reads what the scan calls clean in another way.
pub(crate) fn check(bytes: &[u8], rules: Rules, sizes: &[u8]) -> Scanned {
    let scanned = scan(bytes, rules, sizes);
    assert!(bytes.starts_with(&scanned.clean), "not a byte is changed");
    let at_once = scan(bytes, rules, &[]);
    assert_eq!(scanned.requests, at_once.requests, "pieces change nothing");
    assert_eq!(scanned.clean, at_once.clean, "pieces change nothing");
    // The first mistake that is seen names the reason; which one that is depends on the pieces.
    assert_eq!(scanned.refused.is_some(), at_once.refused.is_some(), "pieces change nothing");
    let (read, refused) = read_by_hyper(&scanned.clean, rules);
    assert!(!refused, "hyper refuses a head");
    assert_eq!(read.len(), scanned.answered(), "{read:?}\n{:?}", scanned.requests);
    for (ours, hypers) in scanned.requests.iter().zip(&read) {
        assert_eq!(ours.line.0, hypers.line.0, "method");
        assert!(same_target(&ours.line.1, &hypers.line.1), "target: {ours:?} {hypers:?}");
        assert_eq!((ours.body, ours.whole), (hypers.body, hypers.whole), "body of {ours:?}");
    }
    scanned
}

/// hyper writes an absolute target without a path with one.
fn same_target(ours: &[u8], hypers: &[u8]) -> bool {
    ours == hypers
        || ours.eq_ignore_ascii_case(hypers)
        || [ours, b"/"].concat().eq_ignore_ascii_case(hypers)
        || {
            // `http://host?query` gets its slash in the middle.
            let without = |bytes: &[u8]| {
                bytes.iter().filter(|&&b| b != b'/').map(u8::to_ascii_lowercase).collect::<Vec<_>>()
            };
            !ours.starts_with(b"/") && without(ours) == without(hypers)
        }
}

fn line(head: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let head = head.trim_ascii_start();
    let end = head.iter().position(|&b| b == b'\n').unwrap_or(head.len());
    let mut words = head[..end].trim_ascii_end().split(|&b| b == b' ');
    (words.next().unwrap_or_default().to_vec(), words.next().unwrap_or_default().to_vec())
}

/// Whether the request with this head ends the connection (RFC 9112 §9.3), as hyper reads it.
fn is_last(head: &[u8]) -> bool {
    let mut lines = head.trim_ascii_start().split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end);
    let mut stays = lines.next().is_some_and(|line| line.ends_with(b"HTTP/1.1"));
    let (mut closes, mut length, mut coding) = (false, false, false);
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let text = value.iter().all(|&b| b == b'\t' || (b' '..=b'~').contains(&b));
        let has = |option: &[u8]| {
            text && value.split(|&b| b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
        };
        match name.to_ascii_lowercase().as_slice() {
            b"connection" => {
                closes |= has(b"close");
                stays |= has(b"keep-alive");
            }
            b"content-length" => length = true,
            b"transfer-encoding" => coding = true,
            _ => {}
        }
    }
    // Two framings are one only where strictness is off, and then for the last time.
    closes || !stays || (length && coding)
}
