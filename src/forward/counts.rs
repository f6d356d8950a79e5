//! What is counted about one endpoint.
//!
//! Plain numbers of one thread; [`crate::admin::upstreams`] makes metrics of them. Never decides anything. Bound: these
//! numbers.

use std::cell::Cell;

/// What one thread counted about one endpoint. Totals since the start, and three states of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Connections that could not be made.
    pub connect_errors: u64,
    /// Requests that were sent to this endpoint as a repetition.
    pub retries: u64,
    /// Requests refused because the queue was full or waiting took too long.
    pub queue_refusals: u64,
    /// Open connections in the pool.
    pub connections_idle: usize,
    /// Connections in use or being made.
    pub connections_active: usize,
    /// Requests that wait for a connection.
    pub queued: usize,
    /// Taken for broken.
    pub ejected: bool,
}

/// Counters of one endpoint.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: Cell<u64>,
    pub(super) connect_errors: Cell<u64>,
    pub(super) retries: Cell<u64>,
    /// Requests that could not be repeated, since too much of their body was gone; since somebody asked last.
    pub(super) bodies_gone: Cell<u64>,
    /// By [`Closed`]; since somebody asked last.
    closed: [Cell<u64>; Closed::ALL.len()],
}

/// Why a pooled connection was closed although nothing went wrong on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody needed it for `timeouts.upstream_idle`.
    Idle,
    /// It was older than `timeouts.upstream_max_age`.
    MaxAge,
    /// The endpoint closed it or wanted its end.
    Endpoint,
    /// A new connection was needed at the cap, and this one did not do.
    Room,
    /// Its answer had no body, and the endpoint is known to send one all the same.
    Stray,
}

impl Closed {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Idle, Self::MaxAge, Self::Endpoint, Self::Room, Self::Stray];
}

impl Counters {
    /// A pooled connection is closed.
    pub(super) fn closed(&self, why: Closed) {
        add_one(&self.closed[why as usize]);
    }

    /// How many were closed since this was asked last, and why.
    pub(super) fn take_closed(&self, why: Closed) -> u64 {
        self.closed[why as usize].take()
    }
}

/// Adds one to a counter.
pub(super) fn add_one(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}
