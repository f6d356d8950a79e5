//! What is known of one connection while it lives.
//!
//! Shared between the I/O object, the requests and the deadline of the connection. All of them live on one thread;
//! the cells are atomics only because hyper wants an I/O object that may be sent after an upgrade, and every access is
//! a plain load or store. Bound: a few words per connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::tls::Certificate;
use crate::admin::labels::{Label as _, Tolerated};
use crate::clock;
use crate::ingress::outgoing::Remembered;

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Index of the listener in the configuration.
    pub listener: usize,
    /// The other end of the socket, or what the PROXY header says it is. Never logged.
    pub peer: SocketAddr,
    /// What the TLS handshake told, if the connection is encrypted.
    pub tls: Option<TlsFacts>,
    /// The round trip to the other end of the socket when it was accepted; `None` where that is not `peer`.
    pub round_trip: Option<Duration>,
    /// What the site is told of the client, made once for all requests.
    pub told: Remembered,
    accepted: Instant,
    phase: AtomicU8,
    /// Microseconds since `accepted`.
    since: AtomicU64,
    /// Microseconds since `accepted` plus one; 0 while no write waits.
    write_blocked: AtomicU64,
    active: AtomicU32,
    requests: AtomicU64,
    multiplexed: AtomicBool,
    reading: Reading,
    /// Whoever waits in [`Connection::wait_for_answers`].
    reader: Mutex<Option<Waker>>,
    closing: AtomicBool,
    /// When its end was asked for: microseconds since `accepted`.
    closing_since: AtomicU64,
    /// Since somebody looked last, the client sent something. Told on HTTP/2 only.
    heard: AtomicBool,
    /// A request was refused because the client did not heed the end of the connection.
    overstayed: AtomicBool,
    close: Notify,
}

/// What the scan tells about the client's bytes, and what it has to know of the answers.
#[derive(Debug, Default)]
struct Reading {
    /// Heads handed to hyper.
    heads: AtomicU64,
    /// The request that is the last one; 0 while there is none.
    last: AtomicU64,
    /// A head has begun and not ended.
    in_head: AtomicBool,
    /// A body has begun and not ended.
    in_body: AtomicBool,
    refused: AtomicBool,
    tunnel: AtomicBool,
    /// hyper has something to write that is not written.
    unflushed: AtomicBool,
    /// The end of the connection is the end of the answer.
    until_close: AtomicBool,
    /// The client has gone while hyper did not read.
    left: AtomicBool,
    /// Bytes wait for the answer that decides about a tunnel.
    held_up: AtomicBool,
    tolerated: [AtomicU64; Tolerated::ALL.len()],
}

/// What the handshake told.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA names it.
    pub cipher: Option<&'static str>,
    /// What ALPN came to.
    pub alpn: Option<&'static str>,
    /// The certificate served.
    pub certificate: Arc<Certificate>,
}

/// What the connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The first head has not arrived completely: the clock runs since accept.
    First,
    /// Nothing: no request is open and no byte of the next one has come.
    Idle,
    /// The rest of a head whose first byte has come.
    Head,
    /// At least one request is being answered.
    Busy,
}

impl Connection {
    /// A connection accepted at `now`.
    #[must_use]
    pub fn new(listener: usize, peer: SocketAddr, tls: Option<TlsFacts>, now: Instant) -> Self {
        Self {
            listener,
            peer,
            tls,
            round_trip: None,
            told: Remembered::default(),
            accepted: now,
            phase: AtomicU8::new(Phase::First as u8),
            since: AtomicU64::new(0),
            write_blocked: AtomicU64::new(0),
            active: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            reading: Reading::default(),
            reader: Mutex::new(None),
            closing: AtomicBool::new(false),
            closing_since: AtomicU64::new(0),
            heard: AtomicBool::new(false),
            overstayed: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    /// The connection speaks HTTP/2.
    pub fn set_multiplexed(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    /// Whether the connection speaks HTTP/2.
    #[must_use]
    pub fn multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// A part of a head came, and its end did not.
    pub fn head_begins(&self, now: impl FnOnce() -> Instant) {
        self.reading.in_head.store(true, Relaxed);
        if self.phase.load(Relaxed) == Phase::Idle as u8 {
            self.enter(Phase::Head, now());
        }
    }

    /// A whole head goes to hyper. What had to be tolerated to frame its body makes it the connection's last.
    pub fn head_passed(&self, tolerated: Option<Tolerated>) {
        let reading = &self.reading;
        let heads = reading.heads.load(Relaxed) + 1;
        reading.heads.store(heads, Relaxed);
        reading.in_head.store(false, Relaxed);
        if let Some(what) = tolerated {
            let count = &reading.tolerated[what.index()];
            count.store(count.load(Relaxed) + 1, Relaxed);
            if what != Tolerated::BareLf && reading.last.load(Relaxed) == 0 {
                reading.last.store(heads, Relaxed);
            }
        }
    }

    /// How often something was tolerated.
    #[must_use]
    pub fn tolerated(&self, what: Tolerated) -> u64 {
        self.reading.tolerated[what.index()].load(Relaxed)
    }

    /// Whether the request that began last has to be the last one of this connection.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let last = self.reading.last.load(Relaxed);
        last != 0 && self.requests() >= last
    }

    /// Tells whether a body has begun and not ended.
    pub fn set_in_body(&self, in_body: bool) {
        self.reading.in_body.store(in_body, Relaxed);
    }

    /// Whether a request's body has not come completely: then an answer that does not wait for it is the last one.
    #[must_use]
    pub fn in_body(&self) -> bool {
        self.reading.in_body.load(Relaxed)
    }

    /// The next head is refused.
    pub fn refuse(&self) {
        self.reading.refused.store(true, Relaxed);
    }

    /// Whether a refused head is next in turn: all before it are answered, and the answers written.
    #[must_use]
    pub fn refusal_due(&self) -> bool {
        self.reading.refused.load(Relaxed) && self.all_answered() && !self.reading.unflushed.load(Relaxed)
    }

    /// Whether every head that went to hyper has been answered.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.active.load(Relaxed) == 0 && self.requests() == self.reading.heads.load(Relaxed)
    }

    /// Whether the next request is here already while one is answered: then hyper does not read, and would not hear that
    /// the client goes.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.reading.heads.load(Relaxed) > self.requests() && self.active.load(Relaxed) > 0
    }

    /// The client has gone: nobody waits for an answer.
    pub fn leave(&self) {
        self.reading.left.store(true, Relaxed);
    }

    /// Whether it has.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.reading.left.load(Relaxed)
    }

    /// Wakes the reader when the last open request has ended: what it may read next depends on the answer.
    pub fn wait_for_answers(&self, reader: &Waker) {
        if let Ok(mut waiting) = self.reader.lock() {
            *waiting = Some(reader.clone());
        }
        self.reading.held_up.store(true, Relaxed);
    }

    fn wake_reader(&self) {
        if self.reading.held_up.swap(false, Relaxed)
            && let Ok(mut waiting) = self.reader.lock()
            && let Some(reader) = waiting.take()
        {
            reader.wake();
        }
    }

    /// Tells whether hyper has written everything.
    pub fn set_flushed(&self, flushed: bool) {
        self.reading.unflushed.store(!flushed, Relaxed);
    }

    /// The answer that is about to be sent ends where the connection does: its client knows no other sign.
    pub fn ends_with_answer(&self) {
        self.reading.until_close.store(true, Relaxed);
    }

    /// Whether the client takes the end of the connection for the end of the answer.
    #[must_use]
    pub fn is_ended_by_close(&self) -> bool {
        self.reading.until_close.load(Relaxed)
    }

    /// The connection is a tunnel from the answer on that is about to be sent.
    pub fn becomes_tunnel(&self) {
        self.reading.tunnel.store(true, Relaxed);
    }

    /// Whether the connection is a tunnel.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.reading.tunnel.load(Relaxed)
    }

    /// A write made progress. If it had to wait, what is awaited of the client next counts from now.
    pub fn write_progressed(&self, now: impl FnOnce() -> Instant) {
        if self.write_blocked.load(Relaxed) == 0 {
            return;
        }
        self.write_blocked.store(0, Relaxed);
        let (phase, _) = self.phase();
        if matches!(phase, Phase::Idle | Phase::Head) {
            self.enter(phase, now());
        }
    }

    /// A write had to wait.
    pub fn write_blocked(&self, now: impl FnOnce() -> Instant) {
        if self.write_blocked.load(Relaxed) == 0 {
            self.write_blocked.store(self.offset(now()).saturating_add(1), Relaxed);
        }
    }

    /// A request's head is complete: the connection is busy until the guard is dropped.
    #[must_use]
    pub fn request_started(self: &Arc<Self>) -> OpenRequest {
        self.phase.store(Phase::Busy as u8, Relaxed);
        self.active.store(self.active.load(Relaxed).saturating_add(1), Relaxed);
        self.requests.store(self.requests.load(Relaxed).saturating_add(1), Relaxed);
        OpenRequest(Arc::clone(self))
    }

    /// How many requests this connection has had.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    fn request_ended(&self, now: Instant) {
        let left = self.active.load(Relaxed).saturating_sub(1);
        self.active.store(left, Relaxed);
        if left == 0 {
            self.wake_reader();
            // The beginning of the next head may be here already.
            let next = if self.reading.in_head.load(Relaxed) { Phase::Head } else { Phase::Idle };
            self.enter(next, now);
        }
    }

    /// Since when a write has been waiting.
    #[must_use]
    pub fn write_blocked_since(&self) -> Option<Instant> {
        let offset = self.write_blocked.load(Relaxed).checked_sub(1)?;
        Some(self.accepted + Duration::from_micros(offset))
    }

    /// The phase and when it began.
    #[must_use]
    pub fn phase(&self) -> (Phase, Instant) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::First,
            1 => Phase::Idle,
            2 => Phase::Head,
            _ => Phase::Busy,
        };
        (phase, self.accepted + Duration::from_micros(self.since.load(Relaxed)))
    }

    /// Asks for an orderly end: no new request, the open ones are answered. Whether nobody had asked before.
    pub fn ask_to_close(&self) -> bool {
        // Before whoever polls the connection is woken.
        let first = !self.closing.swap(true, Relaxed);
        if first {
            self.closing_since.store(self.offset(clock::monotonic()), Relaxed);
        }
        self.close.notify_one();
        first
    }

    /// Whether its end was asked for.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Resolves after [`Connection::ask_to_close`].
    pub async fn close_asked(&self) {
        self.close.notified().await;
    }

    /// The client sent something.
    pub fn set_heard(&self) {
        self.heard.store(true, Relaxed);
    }

    /// What it sent so far does not count.
    pub fn hear_anew(&self) {
        self.heard.store(false, Relaxed);
    }

    /// Whether a further request of an HTTP/2 client is one too many: it was told that the connection ends, and had the
    /// time to heed it, or has asked for more than `most` all the same.
    pub fn overstays(&self, most: u64, now: impl FnOnce() -> Instant) -> bool {
        if !self.is_closing() || !self.multiplexed() {
            return false;
        }
        let told = self.accepted + Duration::from_micros(self.closing_since.load(Relaxed));
        let overstays = self.requests() >= most || now().saturating_duration_since(told) >= GOODBYE;
        if overstays {
            self.overstayed.store(true, Relaxed);
        }
        overstays
    }

    /// Whether an HTTP/2 connection can be closed without its client's consent, [`GOODBYE`] after it was told of the end
    /// and each such time later: nothing is under way on it, and the client is silent or does not heed what it is told.
    pub fn may_be_left(&self, now: Instant) -> bool {
        let (phase, since) = self.phase();
        let silent = !self.heard.swap(false, Relaxed);
        let rests = match phase {
            Phase::First => true,
            Phase::Idle => now.saturating_duration_since(since) >= GOODBYE,
            Phase::Head | Phase::Busy => false,
        };
        let written = self.write_blocked.load(Relaxed) == 0;
        rests && written && (silent || self.overstayed.load(Relaxed))
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.offset(now), Relaxed);
    }

    fn offset(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.accepted).as_micros()).unwrap_or(u64::MAX - 1)
    }
}

/// How long an HTTP/2 client has to acknowledge that its connection ends.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// A request being answered.
#[derive(Debug)]
pub struct OpenRequest(Arc<Connection>);

impl OpenRequest {
    /// The connection that it came on.
    #[must_use]
    pub const fn connection(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.request_ended(clock::monotonic());
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
