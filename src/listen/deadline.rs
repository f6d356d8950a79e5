//! One lazy timer per connection for all its deadlines.
//!
//! The timer is not reset per request: when it fires it looks at what the connection is waiting for and since when,
//! and sleeps again if that is not overdue. So a busy connection costs one timer tick per deadline, not one per
//! request. Never touches the socket. Bound: one timer per connection.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::task::unconstrained;
use tokio::time::Sleep;

use super::connection::{Connection, Phase};
use crate::clock;
use crate::config::Timeouts;

/// Which deadline was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// `timeouts.request_head`.
    Head,
    /// `timeouts.keep_alive`.
    Idle,
    /// `timeouts.response_write`.
    Write,
}

/// The deadlines that this module watches.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    request_head: Duration,
    keep_alive: Duration,
    response_write: Duration,
}

impl From<&Timeouts> for Deadlines {
    fn from(t: &Timeouts) -> Self {
        Self { request_head: t.request_head, keep_alive: t.keep_alive, response_write: t.response_write }
    }
}

impl Deadlines {
    /// A timer for [`Deadlines::poll_missed`].
    pub fn timer(self, connection: &Connection) -> Sleep {
        let now = clock::monotonic();
        let look = match self.check(connection, now) {
            Check::Overdue(_) => now,
            Check::Until(next) => next,
        };
        tokio::time::sleep_until(look.into())
    }

    /// Ready when the connection has missed a deadline. Exempt from the budget of the task: a timer that is not asked is
    /// not set.
    pub fn poll_missed(
        self,
        connection: &Connection,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Overdue> {
        loop {
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            match self.check(connection, clock::monotonic()) {
                Check::Overdue(overdue) => return Poll::Ready(overdue),
                Check::Until(next) => timer.as_mut().reset(next.into()),
            }
        }
    }

    /// What is overdue at `now`.
    #[must_use]
    pub fn overdue(self, connection: &Connection, now: Instant) -> Option<Overdue> {
        match self.check(connection, now) {
            Check::Overdue(overdue) => Some(overdue),
            Check::Until(_) => None,
        }
    }

    /// What is overdue at `now`, or when to look again.
    fn check(self, connection: &Connection, now: Instant) -> Check {
        let mut next = now + self.shortest();
        if let Some(since) = connection.write_blocked_since() {
            let deadline = since + self.response_write;
            if deadline <= now {
                return Check::Overdue(Overdue::Write);
            }
            next = next.min(deadline);
        }
        let (phase, since) = connection.phase();
        // While an answer waits to be written its end has not come, from which the next two count.
        if phase != Phase::First && connection.write_blocked_since().is_some() {
            return Check::Until(next);
        }
        let (allowed, overdue) = match phase {
            Phase::First | Phase::Head => (self.request_head, Overdue::Head),
            Phase::Idle => (self.keep_alive, Overdue::Idle),
            Phase::Busy => return Check::Until(next),
        };
        let deadline = since + allowed;
        if deadline <= now { Check::Overdue(overdue) } else { Check::Until(next.min(deadline)) }
    }

    /// No phase that begins now can be overdue sooner than this.
    fn shortest(self) -> Duration {
        self.request_head.min(self.keep_alive).min(self.response_write)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Check {
    Overdue(Overdue),
    Until(Instant),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        request_head: Duration::from_secs(15),
        keep_alive: Duration::from_secs(60),
        response_write: Duration::from_secs(30),
    };

    fn connection() -> (Arc<Connection>, Instant) {
        let now = Instant::now();
        (Arc::new(Connection::new(0, "127.0.0.1:1".parse().unwrap(), None, now)), now)
    }

    #[test]
    fn a_silent_client_is_cut_after_request_head() {
        let (c, start) = connection();
        let almost = start + Duration::from_millis(14_999);
        assert_eq!(DEADLINES.check(&c, almost), Check::Until(start + Duration::from_secs(15)));
        assert_eq!(DEADLINES.check(&c, start + Duration::from_secs(15)), Check::Overdue(Overdue::Head));
    }

    #[test]
    fn an_idle_connection_lives_for_keep_alive() {
        let (c, _) = connection();
        drop(c.request_started());
        let (_, idle) = c.phase();
        assert!(matches!(DEADLINES.check(&c, idle + Duration::from_secs(59)), Check::Until(_)));
        assert_eq!(DEADLINES.check(&c, idle + Duration::from_secs(60)), Check::Overdue(Overdue::Idle));
    }

    #[test]
    fn a_slow_reader_is_cut_while_busy() {
        let (c, start) = connection();
        let _open = c.request_started();
        c.write_blocked(|| start);
        assert!(matches!(DEADLINES.check(&c, start + Duration::from_secs(29)), Check::Until(_)));
        assert_eq!(DEADLINES.check(&c, start + Duration::from_secs(30)), Check::Overdue(Overdue::Write));
    }

    /// A connection that ends here would cut the answer short; a 408 would be read as the rest of it.
    #[test]
    fn an_answer_that_is_still_being_written_is_not_cut_by_the_wait_for_the_next_request() {
        let (c, start) = connection();
        drop(c.request_started());
        c.head_begins(|| start);
        let stuck = start + Duration::from_secs(10);
        c.write_blocked(|| stuck);
        let later = start + Duration::from_secs(39);
        assert_eq!(DEADLINES.check(&c, later), Check::Until(stuck + Duration::from_secs(30)));
        c.write_progressed(|| later);
        assert_eq!(c.phase(), (Phase::Head, later), "the head's time begins with the end of the answer");
        assert!(matches!(DEADLINES.check(&c, later + Duration::from_secs(14)), Check::Until(_)));
        assert_eq!(DEADLINES.check(&c, later + Duration::from_secs(15)), Check::Overdue(Overdue::Head));
    }

    #[test]
    fn a_busy_connection_is_never_overdue() {
        let (c, start) = connection();
        let _open = c.request_started();
        assert!(matches!(DEADLINES.check(&c, start + Duration::from_secs(3600)), Check::Until(_)));
    }
}
