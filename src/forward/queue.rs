//! Requests that wait for a connection, first come, first served.
//!
//! Knows nothing of connections. Whoever left takes no room. Bounds: `limits.upstream_queue` waiting, each for
//! `timeouts.upstream_queue`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Reason, Refusal};

/// Requests that wait for a `T`.
pub(super) struct Queue<T> {
    waiters: RefCell<VecDeque<oneshot::Sender<T>>>,
    refusals: Cell<u64>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiters: RefCell::default(), refusals: Cell::default() }
    }
}

impl<T> Queue<T> {
    /// Waits for a turn.
    ///
    /// # Errors
    /// `QueueFull` if `most` wait already, or after `limit`.
    pub(super) async fn wait(&self, most: usize, limit: Duration) -> Result<T, Refusal> {
        let outcome = match self.enter(most) {
            Some(turn) => timeout(limit, turn).await,
            None => return Err(self.refused(Refusal::from(Reason::QueueFull))),
        };
        match outcome {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(gone)) => Err(self.refused(Refusal::caused_by(Reason::QueueFull, gone))),
            Err(elapsed) => Err(self.refused(Refusal::caused_by(Reason::QueueFull, elapsed))),
        }
    }

    /// The longest-waiting request that still waits.
    pub(super) fn next(&self) -> Option<oneshot::Sender<T>> {
        let mut waiters = self.waiters.borrow_mut();
        loop {
            let waiter = waiters.pop_front()?;
            if !waiter.is_closed() {
                return Some(waiter);
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.borrow().iter().filter(|waiter| !waiter.is_closed()).count()
    }

    /// How many wait at most: some may have left.
    pub(super) fn len_at_most(&self) -> usize {
        self.waiters.borrow().len()
    }

    /// How many were refused.
    pub(super) fn refusals(&self) -> u64 {
        self.refusals.get()
    }

    fn enter(&self, most: usize) -> Option<oneshot::Receiver<T>> {
        let mut waiters = self.waiters.borrow_mut();
        if waiters.len() >= most {
            waiters.retain(|waiter| !waiter.is_closed());
        }
        if waiters.len() >= most {
            return None;
        }
        let (sender, turn) = oneshot::channel();
        waiters.push_back(sender);
        Some(turn)
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        self.refusals.set(self.refusals.get().wrapping_add(1));
        refusal
    }
}
