//! What is known of one request, from admission to its record.
//!
//! An [`Exchange`] begins when the site is known and ends with exactly one record, whether the answer was completed,
//! refused or given up. Each step adds its own facts. Never holds a body, a cookie's value or a credential. Bound: a
//! head's worth of text.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::Version;

use crate::admin::labels::MethodLabel;
use crate::admin::worker::Held;
use crate::clock::{self, Timestamp};
use crate::consent::Decision;
use crate::error::Reason;
use crate::forward::Upload;
use crate::ingress::Admitted;
use crate::listen::connection::OpenRequest;
use crate::record::ListBuf;
use crate::record::kept::Kept;
use crate::respond::error_page::Taste;
use crate::risk::{self, Assessment};
use crate::worker::{State, Worker};

/// One request being answered.
pub struct Exchange {
    /// The thread that answers it.
    pub worker: Rc<Worker>,
    /// The configuration that it began with.
    pub state: Rc<State>,
    /// It keeps its connection busy.
    pub open: OpenRequest,
    /// When its head was complete.
    pub started: Instant,
    /// The same, on the wall clock.
    pub arrived: Timestamp,
    /// Site, host and client.
    pub admitted: Admitted,
    /// Metric label of its method.
    pub method: MethodLabel,
    /// The client's protocol version.
    pub version: Version,
    /// How an error page for it would look.
    pub taste: Taste,
    /// Text of the head that the record needs.
    pub kept: Kept,
    /// What the cookie steps did.
    pub cookies: CookieFacts,
    /// What the consent step decided.
    pub consent: Option<Decision>,
    /// What the risk step found.
    pub risk: Option<RiskFacts>,
    /// What the site's server did.
    pub upstream: Option<UpstreamFacts>,
    /// State of the request's body.
    pub upload: Option<Rc<Upload>>,
    /// Bytes of the answer's body handed to the client's connection.
    pub sent: Cell<u64>,
    /// From the request's head to the answer's.
    pub first_byte: Option<Duration>,
    /// Status of the answer.
    pub status: u16,
    /// Why the site did not answer.
    pub error: Option<Reason>,
    pub(crate) recorded: bool,
    pub(crate) active: Held,
}

/// What the cookie steps did.
#[derive(Debug, Default)]
pub struct CookieFacts {
    /// Names that the browser sent.
    pub names: ListBuf,
    /// Their categories.
    pub categories: ListBuf,
    /// Names kept from the site.
    pub stripped: ListBuf,
    /// Names that the site was not allowed to set.
    pub blocked: ListBuf,
    /// Bytes of the browser's `Cookie` fields.
    pub bytes: u64,
}

/// What the risk step found.
#[derive(Debug)]
pub struct RiskFacts {
    /// Signals and level.
    pub assessment: Assessment,
    /// What was done.
    pub applied: risk::Applied,
    /// Where the visitor is: for the record's fraud section alone.
    pub place: crate::geo::Place,
}

/// What the site's server did.
#[derive(Debug)]
pub struct UpstreamFacts {
    /// Index of the endpoint.
    pub endpoint: usize,
    /// Status of its answer, if there was one.
    pub status: Option<u16>,
    /// From the request sent to the head of the answer.
    pub time: Duration,
    /// Attempts after the first.
    pub retries: u8,
}

impl Exchange {
    /// Begins with a request that was admitted.
    pub fn begin(worker: &Rc<Worker>, open: OpenRequest, state: Rc<State>, parts: &Parts, admitted: Admitted) -> Self {
        Self {
            active: worker.metrics.hold_active(open.connection().listener),
            worker: Rc::clone(worker),
            state,
            open,
            started: clock::monotonic(),
            arrived: clock::now(),
            admitted,
            method: MethodLabel::of(&parts.method),
            version: parts.version,
            taste: Taste::of(&parts.headers),
            kept: Kept::of(parts),
            cookies: CookieFacts::default(),
            consent: None,
            risk: None,
            upstream: None,
            upload: None,
            sent: Cell::new(0),
            first_byte: None,
            status: 0,
            error: None,
            recorded: false,
        }
    }
}

/// Redacted: nearly everything here is about a person.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("id", &self.admitted.id).field("status", &self.status).finish_non_exhaustive()
    }
}
