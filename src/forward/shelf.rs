//! The connections of one endpoint that carry nothing now.
//!
//! Last in, first out. But a connection whose last answer had no body because none may follow it (to `HEAD`, 204, 304)
//! rests first, for [`REST`]: a server that writes one all the same, a moment after its head, is heard meanwhile, and
//! its bytes do not become the answer to somebody else's request. Only where the pool is full is one taken earlier, and
//! then the one that has rested longest. Never opens a connection, and never looks at one. Bound: the pool's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::pool::Connection;

/// Connections to be used again.
#[derive(Default)]
pub(super) struct Shelf {
    ready: Vec<Connection>,
    /// In the order in which they came.
    resting: VecDeque<Connection>,
}

impl Shelf {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.resting.len()
    }

    /// The one that came last of those that need no rest.
    pub(super) fn take(&mut self, now: Instant) -> Option<Connection> {
        while self.resting.front().is_some_and(|first| now >= first.idle_since + REST) {
            self.ready.extend(self.resting.pop_front());
        }
        self.ready.pop()
    }

    /// The one that came first of those that are ready, else of those that rest.
    pub(super) fn take_oldest(&mut self) -> Option<Connection> {
        if self.ready.is_empty() { self.resting.pop_front() } else { Some(self.ready.remove(0)) }
    }

    /// Takes one in; `rests`: not to be used at once.
    pub(super) fn put(&mut self, connection: Connection, rests: bool) {
        if rests {
            self.resting.push_back(connection);
        } else {
            self.ready.push(connection);
        }
    }

    /// Keeps those that `keep` says.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Connection) -> bool) {
        self.ready.retain_mut(&mut keep);
        self.resting.retain_mut(keep);
    }
}

/// How long a connection rests. A server that breaks the rule writes head and body in one go, or nearly.
pub(super) const REST: Duration = Duration::from_millis(50);
