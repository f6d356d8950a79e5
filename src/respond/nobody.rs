//! Answers to requests that belong to no site: heads that never became a request, and hosts that are not served here.
//!
//! Counted, and told in the log with the id that the page shows, so that it can be found; nothing is recorded about a
//! visit. Never tells an address, a host or a byte of the head. Bound: `LINES` lines a second; the next line says how
//! many were withheld.

use std::cell::Cell;
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, Version, header};

use super::body::Body;
use super::error_page::{self, Taste};
use super::send::unless_head;
use super::status;
use crate::admin::labels::MethodLabel;
use crate::clock;
use crate::error::Reason;
use crate::ingress::request_id;
use crate::listen::connection::Connection;
use crate::worker::Worker;

/// Refuses a request that belongs to no site: counted, and nothing is recorded about a visit.
pub fn unrecorded(worker: &Worker, connection: &Connection, parts: &Parts, reason: Reason) -> Response<Body> {
    let id = worker.ids.of_request(None);
    note(worker, connection.listener, MethodLabel::of(&parts.method), reason, &id);
    let (mut head, body) = error_page::answer(reason, Taste::of(&parts.headers), &id).into_parts();
    head.headers.insert(request_id::NAME, id);
    if parts.version == Version::HTTP_2 {
        head.headers.remove(header::CONNECTION);
    }
    let body = unless_head(parts.method == Method::HEAD, &mut head.headers, body);
    // Not waited for: what follows cannot be the next request.
    if connection.in_body() {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Response::from_parts(head, Body::whole(body))
}

/// The same for the bytes of an HTTP/1 head that never became a request: the answer as bytes, after which the connection
/// must be closed. `head` is what came of it; only its method and what it accepts are looked at.
pub fn unparsed(worker: &Worker, listener: usize, head: &[u8], reason: Reason) -> Vec<u8> {
    let method = head.split(|&b| b == b' ').next().unwrap_or_default();
    let method = Method::from_bytes(method).map_or(MethodLabel::Other, |method| MethodLabel::of(&method));
    let id = worker.ids.of_request(None);
    note(worker, listener, method, reason, &id);
    error_page::answer_bytes(reason, head, &id, clock::now())
}

/// Counts one, and tells of it.
fn note(worker: &Worker, listener: usize, method: MethodLabel, reason: Reason, id: &HeaderValue) {
    worker.metrics.request_rejected(reason);
    let status = status::status(reason).as_u16();
    worker.metrics.request(listener, None, method, status, Duration::ZERO);
    if let Some(withheld) = worker.told.line(clock::monotonic()) {
        let id = id.to_str().unwrap_or_default();
        let withheld = (withheld > 0).then_some(withheld);
        tracing::info!(
            reason = reason.label(),
            status,
            request.id = id,
            withheld,
            "refused, and not recorded"
        );
    }
}

/// How many lines one thread has written in this second.
#[derive(Debug, Default)]
pub struct Told {
    since: Cell<Option<Instant>>,
    lines: Cell<u32>,
    withheld: Cell<u64>,
}

impl Told {
    /// Whether a line may be written now; if so, how many were not since the last.
    fn line(&self, now: Instant) -> Option<u64> {
        if self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            self.since.set(Some(now));
            self.lines.set(0);
        }
        if self.lines.get() == LINES {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.withheld.take())
    }
}

/// Lines that one thread writes in a second: enough to find a visitor's, too few for a flood to fill a disk.
const LINES: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_ten_lines_a_second_and_says_how_many_it_did_not() {
        let (told, now) = (Told::default(), clock::monotonic());
        let lines = |now| (0..25).filter_map(|_| told.line(now)).collect::<Vec<_>>();
        assert_eq!(lines(now), [0; 10]);
        assert!(lines(now + SECOND / 2).is_empty());
        let mut next = [0; 10];
        next[0] = 40;
        assert_eq!(lines(now + SECOND), next);
    }
}
