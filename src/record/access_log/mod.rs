//! The access log: a line per request of a site, for tools that read logs.
//!
//! Off unless `log.access` says otherwise: the journal is the record of what happened, and this is less. A line has the
//! visitor's network instead of the address, the path as the record has it, the user agent as sent unless
//! `log.access_user_agent` leaves it out, and no query, cookie, credential or field that is not in [`mod@line`]. It has no
//! term: whoever keeps the file ends it. Requests that belong to no site leave no line. A worker hands its lines to [`writer`] and never waits:
//! when `log.access_queue` lines wait already, further ones are dropped and counted. Bound: that queue.

pub mod line;
pub mod writer;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rtrb::{Producer, PushError};

use crate::exchange::Exchange;

use line::Form;
pub use writer::{Stats, Writer};

/// One worker's end of the access log.
#[derive(Default)]
pub struct AccessLog(Option<Lines>);

struct Lines {
    form: Form,
    queue: RefCell<Producer<Box<[u8]>>>,
    stats: Arc<Stats>,
}

impl AccessLog {
    fn new(form: Form, queue: Producer<Box<[u8]>>, stats: Arc<Stats>) -> Self {
        Self(Some(Lines { form, queue: RefCell::new(queue), stats }))
    }

    /// Notes a finished exchange. `duration` is the time from its head to the end of its answer.
    pub fn note(&self, exchange: &Exchange, duration: Duration) {
        if let Some(lines) = &self.0 {
            lines.push(line::of(lines.form, exchange, duration));
        }
    }
}

impl Lines {
    fn push(&self, line: Vec<u8>) {
        match self.queue.borrow_mut().push(line.into_boxed_slice()) {
            Ok(()) => {}
            Err(PushError::Full(_)) => {
                self.stats.dropped.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Redacted: lines are about people.
impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessLog").field(&self.0.is_some()).finish()
    }
}
