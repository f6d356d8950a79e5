//! A timer that many waits share, one after the other.
//!
//! Arming a timer for every request or frame costs more than the wait itself deserves. This one stays armed at the
//! earliest moment it was asked for; when it fires too early it is moved, at most once a period. It never fires before
//! the deadline of the wait that polls it. Bound: one boxed timer for each connection, stream, upload or
//! tunnel.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use crate::clock;

/// A reusable, lazily moved timer.
pub(crate) struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
}

impl LazyTimer {
    /// A timer that first looks at the deadline at `moment`.
    pub(crate) fn new(moment: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(moment.into())), armed: moment }
    }

    /// Ready once the deadline has passed.
    ///
    /// `soonest` is the earliest value that `deadline` can give. `deadline` is asked only when the timer fires, with
    /// the time of then, so it may depend on progress made in the meantime.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        soonest: Instant,
        deadline: impl Fn(Instant) -> Instant,
    ) -> Poll<()> {
        if self.armed > soonest {
            self.arm(soonest);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let now = clock::monotonic();
            let due = deadline(now);
            if due <= now {
                return Poll::Ready(());
            }
            self.arm(due);
        }
    }

    fn arm(&mut self, moment: Instant) {
        self.sleep.as_mut().reset(moment.into());
        self.armed = moment;
    }
}
