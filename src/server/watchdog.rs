//! Tells the service manager that every worker still turns.
//!
//! Each worker moves its own hand; the manager hears of it only while all hands move, so that a thread that is stuck
//! ends in a restart. Without `WATCHDOG_USEC` there is neither hand nor timer. Never judges a request. Bound: one word
//! per worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The hands of all workers.
#[derive(Clone, Debug, Default)]
pub struct Watchdog {
    hands: Arc<[AtomicU64]>,
    /// How often the manager wants to hear of us, if it does.
    pub every: Option<Duration>,
}

impl Watchdog {
    /// As the service manager wants it.
    #[must_use]
    pub fn from_environment(workers: usize) -> Self {
        Self::new(workers, sd_notify::watchdog_enabled())
    }

    fn new(workers: usize, patience: Option<Duration>) -> Self {
        // Twice as often as needed is what sd_watchdog_enabled(3) advises; the hands move twice as often again.
        let every = patience.map(|patience| patience / 2);
        Self { hands: (0..workers).map(|_| AtomicU64::new(0)).collect(), every }
    }

    /// Moves a worker's hand until dropped.
    pub async fn turn(self, worker: usize) {
        let Some(every) = self.every else { return };
        loop {
            if let Some(hand) = self.hands.get(worker) {
                hand.fetch_add(1, Relaxed);
            }
            tokio::time::sleep(every / 2).await;
        }
    }

    /// The worker has ended as it should: in a drain one is done before the others, and nobody waits for its hand.
    pub fn done(&self, worker: usize) {
        if let Some(hand) = self.hands.get(worker) {
            hand.store(DONE, Relaxed);
        }
    }

    /// Whether every hand has moved since `last`, which is brought up to date.
    fn moved(&self, last: &mut Vec<u64>) -> bool {
        let now: Vec<u64> = self.hands.iter().map(|hand| hand.load(Relaxed)).collect();
        let moved = now.iter().zip(last.iter()).all(|(now, last)| now != last || *now == DONE);
        *last = now;
        moved
    }

    /// Tells the manager, as often as it wants, while all hands move. Runs until dropped.
    pub async fn watch(self, tell: impl Fn()) {
        let Some(every) = self.every else { return std::future::pending().await };
        let mut last = vec![DONE; self.hands.len()];
        loop {
            if self.moved(&mut last) {
                tell();
            } else {
                tracing::error!("a worker stands still; the service manager is not told that all is well");
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// Where the hand of a worker that has ended stands; no hand gets there by moving.
const DONE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// In a drain the others go on for as long as `timeouts.drain`.
    #[test]
    fn a_worker_that_has_ended_is_not_one_that_stands_still() {
        let dog = Watchdog::new(2, Some(Duration::from_secs(1)));
        let mut last = vec![DONE; 2];
        dog.done(0);
        for _ in 0..3 {
            dog.hands[1].fetch_add(1, Relaxed);
            assert!(dog.moved(&mut last));
        }
        assert!(!dog.moved(&mut last), "the other one does");
    }

    #[test]
    fn one_hand_that_stands_still_is_seen() {
        let dog = Watchdog::new(2, Some(Duration::from_secs(1)));
        let mut last = vec![DONE; 2];
        assert!(dog.moved(&mut last));
        dog.hands[0].fetch_add(1, Relaxed);
        assert!(!dog.moved(&mut last));
        dog.hands.iter().for_each(|hand| {
            hand.fetch_add(1, Relaxed);
        });
        assert!(dog.moved(&mut last));
    }
}
