//! The upstream side: takes a finished request to one of the site's endpoints and brings the answer back.
//!
//! Everything here belongs to one worker thread and runs inside its `LocalSet`. It repeats a request at most once, and
//! only when the site cannot have acted on it; it never reads a body, never decides on headers but framing, and never
//! stores an answer. Bounds: [`config::Limits::upstream_connections`], [`config::Limits::upstream_queue`], and a wait
//! for every step.
//!
//! | file | job |
//! |---|---|
//! | `attempt` | one try, and whether another may follow |
//! | `balance`, `health` | which endpoint |
//! | `pool`, `connect`, `wire` | which connection |
//! | `framing`, `trailers` | one framing in each direction |
//! | `body`, `answer` | the two bodies, with limits and waits |
//! | [`tunnel`] | after a 101 |
//! | `rehearsal` | the head alone, for a dry run |

mod answer;
mod attempt;
mod balance;
mod body;
mod connect;
mod framing;
#[cfg(fuzzing)]
pub mod fuzz;
mod health;
mod pool;
mod rehearsal;
#[cfg(test)]
mod tests;
mod timer;
mod trailers;
pub mod tunnel;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

pub use self::answer::AnswerBody;
use self::attempt::Job;
use self::balance::Balancer;
pub use self::body::{RequestBody, Upload, UploadLimits};
pub use self::pool::EndpointStats;
use self::pool::{Pool, Settings, add_one};
pub(crate) use self::rehearsal::head;
pub use self::wire::Switched;
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// The endpoints of one site, as one worker thread sees them.
pub struct Upstreams {
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
    /// How often the request was repeated: 0 or 1.
    pub retries: u8,
    /// The failed attempt before, if there was one.
    pub failed_before: Option<FailedBefore>,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// From the call to the request given to a connection: queue, look-up, connect, a failed first try.
    pub waited: Duration,
    /// From the request given to the connection to the head of the answer.
    pub upstream_time: Duration,
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
    /// How often the request was repeated: 0 or 1.
    pub retries: u8,
    /// The failed attempt before the last, if there was one.
    pub failed_before: Option<FailedBefore>,
}

/// An attempt that was repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedBefore {
    /// Index of the endpoint in the configuration.
    pub endpoint: usize,
    /// Why it failed.
    pub reason: Reason,
}

impl Upstreams {
    /// The upstream side of `site`, without a connection yet.
    #[must_use]
    pub fn new(site: &config::Site, limits: &config::Limits, timeouts: &config::Timeouts) -> Rc<Self> {
        let settings = Rc::new(Settings {
            connections: limits.upstream_connections,
            queue: limits.upstream_queue,
            queue_wait: timeouts.upstream_queue,
            connect: timeouts.upstream_connect,
            head: timeouts.upstream_head,
            body: timeouts.upstream_body,
            idle: timeouts.upstream_idle,
            max_age: timeouts.upstream_max_age,
        });
        Rc::new(Self {
            pools: site.upstream.iter().map(|endpoint| Pool::new(endpoint, Rc::clone(&settings))).collect(),
            balancer: Balancer::new(site.balance),
            upload: UploadLimits {
                bytes: site.body_bytes,
                timeout: timeouts.request_body,
                rate: limits.min_body_rate,
            },
        })
    }

    /// The client's body under the site's limit, `timeouts.request_body` and `limits.min_body_rate`.
    #[must_use]
    pub fn request_body(&self, incoming: Incoming) -> RequestBody {
        RequestBody::new(incoming, self.upload)
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// The request has its final fields; those for framing are written anew here. `Connection` and `Upgrade` must be
    /// there only for an upgrade that the client asked for. Dropping the future, or the answer's body before its end,
    /// closes the connection. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// [`SendError`] with the reason.
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Answer, SendError> {
        let began = clock::monotonic();
        framing::request(&mut request);
        let mut job = Job::new(&request, began);
        let mut pick = self.balancer.pick(&self.pools, None, began);
        loop {
            let Some(chosen) = &pick else {
                return Err(job.error(Refusal::from(Reason::Internal), None));
            };
            let failed = match job.attempt(chosen, &mut request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.again || job.retries > 0 {
                return Err(job.error(failed.refusal, Some(chosen.endpoint)));
            }
            job.failed_before =
                Some(FailedBefore { endpoint: chosen.endpoint, reason: failed.refusal.reason() });
            if failed.elsewhere {
                let other = self.balancer.pick(&self.pools, Some(chosen.endpoint), clock::monotonic());
                if other.is_none() {
                    return Err(job.error(failed.refusal, Some(chosen.endpoint)));
                }
                pick = other;
            }
            if let Some(chosen) = &pick {
                add_one(&chosen.pool.counters.retries);
            }
            job.retries = 1;
        }
    }

    /// What this thread counted, endpoint by endpoint in the order of the configuration.
    pub fn stats(&self) -> impl Iterator<Item = EndpointStats> + '_ {
        self.pools.iter().map(|pool| pool.stats())
    }

    /// How often all endpoints were ejected and one was used all the same.
    #[must_use]
    pub fn fail_open(&self) -> u64 {
        self.balancer.fail_open()
    }
}
