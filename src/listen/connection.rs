//! What is known of one connection while it lives.
//!
//! Shared between the I/O object, the requests and the deadline of the connection. All of them live on one thread;
//! the cells are atomics only because hyper wants an I/O object that may be sent after an upgrade, and every access is
//! a plain load or store. Bound: a few words per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::tls::Certificate;
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
    close: Notify,
}

/// What the handshake told.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
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
            told: Remembered::default(),
            accepted: now,
            phase: AtomicU8::new(Phase::First as u8),
            since: AtomicU64::new(0),
            write_blocked: AtomicU64::new(0),
            active: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    /// The connection speaks HTTP/2, where bytes may come between requests (PING, SETTINGS) without being a head.
    pub fn set_multiplexed(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    /// Whether the connection speaks HTTP/2.
    #[must_use]
    pub fn multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// Bytes came from the client.
    pub fn received(&self, now: impl FnOnce() -> Instant) {
        if self.phase.load(Relaxed) == Phase::Idle as u8 && !self.multiplexed() {
            self.enter(Phase::Head, now());
        }
    }

    /// A write made progress.
    pub fn write_progressed(&self) {
        self.write_blocked.store(0, Relaxed);
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
            self.enter(Phase::Idle, now);
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

    /// Asks for an orderly end: no new request, the open ones are answered.
    pub fn ask_to_close(&self) {
        self.close.notify_one();
    }

    /// Resolves after [`Connection::ask_to_close`].
    pub async fn close_asked(&self) {
        self.close.notified().await;
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.offset(now), Relaxed);
    }

    fn offset(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.accepted).as_micros()).unwrap_or(u64::MAX - 1)
    }
}

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
mod tests {
    use super::*;

    fn connection() -> (Arc<Connection>, Instant) {
        let now = Instant::now();
        (Arc::new(Connection::new(0, "127.0.0.1:1".parse().unwrap(), None, now)), now)
    }

    #[test]
    fn the_first_head_counts_from_accept() {
        let (c, start) = connection();
        c.received(|| panic!("the clock is not asked before the first request"));
        assert_eq!(c.phase(), (Phase::First, start));
    }

    #[test]
    fn later_heads_count_from_their_first_byte() {
        let (c, start) = connection();
        drop(c.request_started());
        assert_eq!(c.phase().0, Phase::Idle);
        let first_byte = start + Duration::from_secs(9);
        c.received(|| first_byte);
        assert_eq!(c.phase(), (Phase::Head, first_byte));
    }

    #[test]
    fn bytes_between_requests_are_no_head_on_http_2() {
        let (c, _) = connection();
        c.set_multiplexed();
        drop(c.request_started());
        c.received(|| panic!("the clock is not asked"));
        assert_eq!(c.phase().0, Phase::Idle);
    }

    #[test]
    fn busy_until_the_last_stream_ends() {
        let (c, _) = connection();
        let first = c.request_started();
        let second = c.request_started();
        assert_eq!(c.requests(), 2);
        drop(first);
        assert_eq!(c.phase().0, Phase::Busy);
        drop(second);
        assert_eq!(c.phase().0, Phase::Idle);
    }

    #[test]
    fn the_first_blocked_write_counts() {
        let (c, start) = connection();
        c.write_blocked(|| start);
        c.write_blocked(|| panic!("already blocked"));
        assert_eq!(c.write_blocked_since(), Some(start));
        c.write_progressed();
        assert_eq!(c.write_blocked_since(), None);
    }
}
