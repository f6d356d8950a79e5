//! The upstream side: takes a finished request to one of the site's endpoints and brings the answer back.
//!
//! Everything here belongs to one worker thread and runs inside its `LocalSet`, but [`SiteUpstream`], which threads
//! share. A request that a connection has taken is repeated at most once, and only when the site cannot have acted on
//! it; one that could not even be connected for goes on to each other endpoint once. It never reads a body, never
//! decides on headers but framing, and never stores an answer. Bounds: [`config::Limits::upstream_connections`],
//! [`config::Limits::upstream_queue`], and a wait for every step.
//!
//! | file | job |
//! |---|---|
//! | `attempt` | one try, and whether another may follow |
//! | `balance`, `health`, [`probe`] | which endpoint |
//! | `pool`, `shelf`, `queue`, `share`, `http2`, `wire`, `carrier` | which connection, or which stream of one |
//! | `connect`, `resolve`, [`tls`] | how a connection is made |
//! | `shared` | what threads share of a site |
//! | `counts` | what is counted |
//! | `framing`, `trailers`, `phrase` | one framing in each direction, and what else of a head is this hop's |
//! | `body`, `kept`, `answer` | the two bodies, with limits and waits, and what of the first is sent again |
//! | [`tunnel`] | after a 101 |
//! | `rehearsal` | the head alone, for a dry run |

mod answer;
mod attempt;
mod balance;
mod body;
mod carrier;
mod connect;
mod counts;
mod framing;
#[cfg(fuzzing)]
pub mod fuzz;
mod health;
mod http2;
mod kept;
mod phrase;
mod pool;
pub mod probe;
mod queue;
mod rehearsal;
mod resolve;
mod share;
mod shared;
mod shelf;
#[cfg(test)]
mod tests;
mod timer;
pub mod tls;
mod trailers;
pub mod tunnel;
mod wire;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use ipnet::IpNet;
use smallvec::SmallVec;

pub use self::answer::AnswerBody;
use self::attempt::Job;
use self::balance::{Balancer, Pick};
pub use self::body::{RequestBody, Upload, UploadLimits};
use self::counts::add_one;
pub use self::counts::{Closed, EndpointStats};
use self::pool::{Pool, Settings};
pub(crate) use self::rehearsal::head;
use self::resolve::Resolve;
pub use self::shared::SiteUpstream;
pub(crate) use self::timer::LazyTimer;
pub use self::wire::Switched;
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};
use crate::ingress::headers::Listed;
use crate::ingress::outgoing::Fields;

/// The endpoints of one site, as one worker thread sees them.
pub struct Upstreams {
    shared: Arc<SiteUpstream>,
    settings: Rc<Settings>,
    pools: Vec<Rc<Pool>>,
    balancer: Balancer,
    upload: UploadLimits,
}

/// What the site answered.
pub struct Answer {
    /// Head and body. The version is this hop's, framing fields fit the body; hop-by-hop fields are still there.
    pub response: Response<AnswerBody>,
    /// Index of the endpoint in the configuration.
    pub endpoint: usize,
    /// The attempts before, all without an answer.
    pub failed_before: FailedAttempts,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// From the call to the request given to a connection: queue, look-up, connect, a failed first try.
    pub waited: Duration,
    /// From the request given to the connection to the head of the answer.
    pub upstream_time: Duration,
    /// When that head had come.
    pub came: Instant,
    /// The upstream half of a tunnel; set if and only if the status is 101.
    pub upgrade: Option<Switched>,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct SendError {
    /// The reason, with its cause. A failure of the client's own body is named as such, not blamed on the site.
    pub refusal: Refusal,
    /// Index of the endpoint tried last.
    pub endpoint: Option<usize>,
    /// The attempts before the last.
    pub failed_before: FailedAttempts,
}

/// Attempts without an answer, in order; rarely more than one.
pub type FailedAttempts = SmallVec<[FailedBefore; 1]>;

/// An attempt that was repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedBefore {
    /// Index of the endpoint in the configuration.
    pub endpoint: usize,
    /// Why it failed.
    pub reason: Reason,
}

impl Upstreams {
    /// The upstream side of `site`, without a connection yet. `shared` is what threads share of it.
    #[must_use]
    pub fn new(
        site: &config::Site,
        shared: Arc<SiteUpstream>,
        limits: &config::Limits,
        timeouts: &config::Timeouts,
    ) -> Rc<Self> {
        Self::resolving(site, shared, limits, timeouts, &(Rc::new(resolve::System) as Rc<dyn Resolve>))
    }

    /// The same with another resolver.
    fn resolving(
        site: &config::Site,
        shared: Arc<SiteUpstream>,
        limits: &config::Limits,
        timeouts: &config::Timeouts,
        resolver: &Rc<dyn Resolve>,
    ) -> Rc<Self> {
        let settings = Rc::new(Settings::new(limits, timeouts));
        let pool = |(index, place)| Pool::new(&shared, index, place, &settings, resolver);
        Rc::new(Self {
            pools: shared.endpoints().iter().enumerate().map(pool).collect(),
            balancer: Balancer::new(site.balance),
            upload: UploadLimits::new(site, limits, timeouts),
            shared,
            settings,
        })
    }

    /// Whether this is what [`Self::new`] would make, so that its connections can stay.
    #[must_use]
    pub fn fits(
        &self,
        site: &config::Site,
        shared: &Arc<SiteUpstream>,
        limits: &config::Limits,
        timeouts: &config::Timeouts,
    ) -> bool {
        Arc::ptr_eq(&self.shared, shared)
            && *self.settings == Settings::new(limits, timeouts)
            && self.balancer.rule() == site.balance
            && self.upload == UploadLimits::new(site, limits, timeouts)
    }

    /// The client's body under the site's limit, `timeouts.request_body` and `limits.min_body_rate`; without trailers of
    /// the names `listed`.
    #[must_use]
    pub fn request_body(&self, incoming: Incoming, own: Fields, listed: Listed) -> RequestBody {
        RequestBody::new(incoming, self.upload, own, listed)
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// The request has its final fields; those for framing are written anew here. `Connection` and `Upgrade` must be
    /// there only for an upgrade that the client asked for. What it holds counts in the share of `client`. Dropping the
    /// future, or the answer's body before its end, closes the connection. The request is lent, since it is large; its
    /// body is taken. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// [`SendError`] with the reason.
    pub async fn send(
        &self,
        request: &mut Request<RequestBody>,
        client: Option<IpNet>,
    ) -> Result<Answer, SendError> {
        let began = clock::monotonic();
        framing::request(request);
        let mut job = Job::new(request, client, began);
        let Some(mut chosen) = self.balancer.pick(&self.pools, &[], began) else {
            return Err(job.error(Refusal::from(Reason::Internal), None));
        };
        loop {
            let failed = match job.attempt(&chosen, request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let before = FailedBefore { endpoint: chosen.endpoint, reason: failed.refusal.reason() };
            if !failed.again || (job.repeated && !failed.elsewhere) {
                return Err(job.error(failed.refusal, Some(chosen.endpoint)));
            }
            if failed.elsewhere {
                match self.elsewhere(&mut job, before) {
                    Some(other) => chosen = other,
                    None => return Err(job.error(failed.refusal, Some(chosen.endpoint))),
                }
            } else {
                job.repeated = true;
            }
            job.failed_before.push(before);
            add_one(&chosen.pool.counters.retries);
        }
    }

    /// Another endpoint for a request whose connection could not be made, if there is one and it is not too late.
    fn elsewhere(&self, job: &mut Job, failed: FailedBefore) -> Option<Pick> {
        let now = clock::monotonic();
        let until = *job.connect_until.get_or_insert(now + self.settings.connect);
        if now >= until {
            return None;
        }
        let mut tried = job.failed_before.clone();
        tried.push(failed);
        self.balancer.pick(&self.pools, &tried, now)
    }

    /// What this thread counted, endpoint by endpoint in the order of the configuration.
    pub fn stats(&self) -> impl Iterator<Item = EndpointStats> + '_ {
        self.pools.iter().map(|pool| pool.stats())
    }

    /// How often all endpoints were ejected and one was used all the same, since this was asked last.
    #[must_use]
    pub fn take_fail_open(&self) -> u64 {
        self.balancer.take_fail_open()
    }

    /// How many requests an endpoint had not acted on, but were not repeated, since too much of their body was gone; since
    /// this was asked last.
    #[must_use]
    pub fn take_bodies_gone(&self, endpoint: usize) -> u64 {
        self.pools.get(endpoint).map_or(0, |pool| pool.counters.bodies_gone.take())
    }

    /// How many pooled connections of an endpoint were closed for a reason, since this was asked last.
    #[must_use]
    pub fn take_closed(&self, endpoint: usize, why: Closed) -> u64 {
        self.pools.get(endpoint).map_or(0, |pool| pool.take_closed(why))
    }
}
