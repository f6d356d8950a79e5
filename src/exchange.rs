//! What is known of one request, from admission to its record.
//!
//! An [`Exchange`] begins when the site is known and ends with exactly one record, whether the answer was completed,
//! refused or given up. Each step adds its own facts. Never holds a body, a credential, or the value of a cookie that the
//! operator did not list. Bound: a head's worth of text.

mod cookies;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use ipnet::IpNet;

use crate::admin::labels::{CookieAction, Direction, MethodLabel};
use crate::admin::worker::Held;
use crate::clock::{self, Timestamp};
use crate::consent::Decision;
use crate::cookies::parse::RequestCookies;
use crate::cookies::request::Outcome;
use crate::cookies::{Category, Mode};
use crate::error::{Reason, Refusal};
use crate::forward::{Answer, SendError, Upload};
use crate::identify::Visitor;
use crate::identify::visitor::VisitorId;
use crate::ingress::Admitted;
use crate::ingress::rate::Rate;
use crate::listen::connection::OpenRequest;
use crate::record::decisions::{Decisions, Note};
use crate::record::emit;
use crate::record::kept::Kept;
use crate::respond::status;
use crate::risk::Assessed;
use crate::worker::{State, Worker};

pub use cookies::CookieFacts;

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
    /// Text of the head that the record needs.
    pub kept: Kept,
    /// What the cookie steps did.
    pub cookies: CookieFacts,
    /// What was done to it beyond passing it on.
    pub done: Decisions,
    /// What the consent step decided.
    pub consent: Option<Decision>,
    /// What the risk step found.
    pub risk: Option<Assessed>,
    /// How long the rate limit tells a refused client to wait.
    pub rate_wait: Option<Duration>,
    /// The visitor, if the browser returned a genuine cookie.
    pub visitor: Option<Visitor>,
    /// The visitor cookie that the answer is to give, if the browser returned none.
    pub visitor_cookie: Option<HeaderValue>,
    /// The id in that cookie: the record of this request is the visitor's already.
    pub visitor_given: Option<VisitorId>,
    /// What the site's server did.
    pub upstream: Option<UpstreamFacts>,
    /// What the site named as the account; for the keyed hash in the record.
    pub account: Option<HeaderValue>,
    /// Whether the client takes trailers: on HTTP/1.1 it says so, on HTTP/2 it need not.
    pub takes_trailers: bool,
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
    /// Whether its record was handed over.
    pub recorded: bool,
    /// Counts it among the active requests until it ends.
    pub active: Held,
}

/// What the site's server did.
#[derive(Debug)]
pub struct UpstreamFacts {
    /// Index of the endpoint.
    pub endpoint: Option<usize>,
    /// Status of its answer, if there was one.
    pub status: Option<u16>,
    /// From the request sent to the head of the answer.
    pub time: Duration,
    /// Attempts after the first.
    pub retries: u8,
}

impl Exchange {
    /// Begins with a request that was admitted.
    pub fn begin(
        worker: &Rc<Worker>,
        open: OpenRequest,
        state: Rc<State>,
        parts: &Parts,
        (admitted, kept): (Admitted, Kept),
    ) -> Box<Self> {
        Box::new(Self {
            active: worker.metrics.hold_active(open.connection().listener),
            worker: Rc::clone(worker),
            state,
            open,
            started: clock::monotonic(),
            arrived: clock::now(),
            admitted,
            method: MethodLabel::of(&parts.method),
            version: parts.version,
            kept,
            cookies: CookieFacts::default(),
            visitor_cookie: None,
            done: Decisions::default(),
            visitor_given: None,
            account: None,
            consent: None,
            risk: None,
            rate_wait: None,
            visitor: None,
            upstream: None,
            takes_trailers: false,
            upload: None,
            sent: Cell::new(0),
            first_byte: None,
            status: 0,
            error: None,
            recorded: false,
        })
    }
}

impl Exchange {
    /// Takes this request out of the client's allowance.
    ///
    /// # Errors
    /// [`Reason::RateLimited`], with the wait noted.
    pub fn check_rate(&mut self) -> Result<(), Refusal> {
        let site = &self.state.config.sites[self.admitted.served.site];
        let Some(rate) = site.rate_limit else { return Ok(()) };
        // The first host stands for the site, whose index a reload may change.
        let name = site.hosts.first().map_or("", String::as_str);
        let verdict = self.worker.shared.rates.check(self.started, name, self.admitted.client, rate);
        if verdict.estimated {
            self.worker.metrics.rate_estimated();
        }
        self.rate_wait = verdict.wait;
        if verdict.wait.is_some() { Err(Reason::RateLimited.into()) } else { Ok(()) }
    }

    /// Takes a choice out of the client's allowance of them: each leaves a receipt for good.
    ///
    /// # Errors
    /// [`Reason::RateLimited`], with the wait noted.
    pub fn check_choices(&mut self) -> Result<(), Refusal> {
        let rate = Rate::new(CHOICES_PER_MINUTE, Duration::from_secs(60), CHOICES_PER_MINUTE);
        let verdict = self.worker.shared.rates.check(self.started, CHOICES, self.admitted.client, rate);
        self.rate_wait = verdict.wait;
        if verdict.wait.is_some() { Err(Reason::RateLimited.into()) } else { Ok(()) }
    }

    /// Whose share of the site's connections this request takes; nobody's behind a trusted proxy that names no client.
    #[must_use]
    pub fn share(&self) -> Option<IpNet> {
        let client = self.admitted.client;
        (!self.state.is_trusted_peer(client.ip())).then(|| client.subscriber())
    }

    /// Notes which cookies came and which were kept from the site, and counts them.
    pub fn note_cookies(&mut self, carried: &RequestCookies<'_>, filtered: &Outcome) {
        if carried.is_empty() {
            return;
        }
        let listed = &self.state.config.records.cookie_values;
        self.cookies = CookieFacts::of(carried, filtered, &self.state.cookies, listed);
        if filtered.oversize {
            self.worker.metrics.cookies_oversize();
        }
        let mode = self.state.cookies.mode;
        let any = filtered.stripped().next().is_some();
        self.done.note_if(any && mode == Mode::DryRun, Note::DryRun);
        for category in Category::ALL {
            for (action, n) in [
                (CookieAction::Kept, filtered.counts.kept(category)),
                (CookieAction::Stripped, filtered.counts.stripped(category)),
            ] {
                if n > 0 {
                    self.worker.metrics.cookies(action, category, Direction::Request, mode, u64::from(n));
                }
            }
        }
    }

    /// Notes what the site names as the account, if the configuration says where.
    pub fn note_account(&mut self, headers: &HeaderMap) {
        if let Some(name) = &self.state.config.records.account_header {
            self.account = headers.get(name.as_str()).cloned();
        }
    }

    /// Tells the risk signals how the site answered.
    pub fn observe_answer(&self, status: StatusCode) {
        if let Some(assessed) = &self.risk {
            self.state.assessor.observe_answer(self.arrived, assessed, self.kept.path(), status);
        }
    }

    /// Whether the configuration demands that this request is recorded before the site sees it.
    #[must_use]
    pub fn is_recorded_first(&self) -> bool {
        let paths = &self.state.record_first;
        !paths.is_empty() && paths.requires(&String::from_utf8_lossy(self.kept.path()))
    }

    /// Records the request durably.
    ///
    /// # Errors
    /// [`Reason::RecordFailed`]: then the site must not see it.
    pub async fn record_before_forward(&self) -> Result<(), Refusal> {
        match emit::submit_open(self).await {
            crate::store::Outcome::Durable => Ok(()),
            crate::store::Outcome::Lost => Err(Reason::RecordFailed.into()),
        }
    }

    /// Whether the client speaks HTTP/2.
    #[must_use]
    pub fn is_multiplexed(&self) -> bool {
        self.version == Version::HTTP_2
    }
}

impl UpstreamFacts {
    /// The site answered.
    #[must_use]
    pub fn answered(answer: &Answer) -> Self {
        Self {
            endpoint: Some(answer.endpoint),
            status: Some(answer.response.status().as_u16()),
            time: answer.upstream_time,
            retries: u8::try_from(answer.failed_before.len()).unwrap_or(u8::MAX),
        }
    }

    /// It did not.
    #[must_use]
    pub fn failed(error: &SendError) -> Self {
        let retries = u8::try_from(error.failed_before.len()).unwrap_or(u8::MAX);
        Self { endpoint: error.endpoint, status: None, time: Duration::ZERO, retries }
    }
}

/// Whoever drops an exchange before its end (the client left, or the process is stopping) leaves a record all the same.
impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.recorded {
            let reason = if std::thread::panicking() { Reason::Internal } else { Reason::ClientGone };
            self.error.get_or_insert(reason);
            if self.status == 0 {
                self.status = status::status(reason).as_u16();
            }
            emit::finish_now(self);
        }
    }
}

/// What choices are counted under; no host has such a name.
const CHOICES: &str = "/choices";
/// Choices of one client in a minute, and at once.
const CHOICES_PER_MINUTE: u64 = 120;

/// Redacted: nearly everything here is about a person.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.admitted.id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
