//! Whether traffic should be sent here.
//!
//! Ready means that no reason against it stands. Never decides about the process's life: liveness is that the admin
//! server answers at all. Bound: one atomic word.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use serde::Serialize;

/// Why no traffic should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum NotReady {
    /// The listeners are not open yet.
    Starting,
    /// The process is about to end: finish what runs, send nothing new.
    Draining,
}

impl NotReady {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Starting, Self::Draining];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The reasons that stand now. Shared by all threads.
#[derive(Debug)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Not ready, because of [`NotReady::Starting`].
    #[must_use]
    pub const fn starting() -> Self {
        Self(AtomicU8::new(NotReady::Starting.bit()))
    }

    /// A reason stands from now on. [`NotReady::Draining`] is for good: nothing clears it.
    pub fn set(&self, reason: NotReady) {
        self.0.fetch_or(reason.bit(), Relaxed);
    }

    /// A reason is over.
    pub fn clear(&self, reason: NotReady) {
        if reason != NotReady::Draining {
            self.0.fetch_and(!reason.bit(), Relaxed);
        }
    }

    /// The reasons that stand; empty means ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<NotReady> {
        let bits = self.0.load(Relaxed);
        NotReady::ALL.into_iter().filter(|reason| bits & reason.bit() != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_no_reason_stands() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.reasons(), [NotReady::Starting]);
        readiness.clear(NotReady::Starting);
        assert!(readiness.reasons().is_empty());
    }

    #[test]
    fn draining_is_for_good() {
        let readiness = Readiness::starting();
        readiness.set(NotReady::Draining);
        readiness.clear(NotReady::Draining);
        readiness.clear(NotReady::Starting);
        assert_eq!(readiness.reasons(), [NotReady::Draining]);
    }
}
