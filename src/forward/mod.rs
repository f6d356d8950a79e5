//! The upstream side: takes a finished request to one of the site's endpoints and brings the answer back.
//!
//! Everything here belongs to one worker thread and runs inside its `LocalSet`. It repeats a request at most once, and
//! only when the site cannot have acted on it; it never reads a body, never decides on headers but framing, and never
//! stores an answer. Bounds: [`config::Limits::upstream_connections`], [`config::Limits::upstream_queue`], and a wait
//! for every step.
//!
//! | file | job |
//! |---|---|
//! | `balance`, `health` | which endpoint |
//! | `pool`, `connect`, `wire` | which connection |
//! | `framing`, `trailers` | one framing in each direction |
//! | `body`, `answer` | the two bodies, with limits and waits |
//! | [`tunnel`] | after a 101 |

mod answer;
mod balance;
mod body;
mod connect;
mod framing;
mod health;
mod pool;
#[cfg(test)]
mod tests;
mod timer;
mod trailers;
pub mod tunnel;
mod wire;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

pub use self::answer::AnswerBody;
use self::balance::{Balancer, Pick};
pub use self::body::{RequestBody, Upload};
pub use self::pool::EndpointStats;
use self::pool::{Connection, Lease, Pool, Settings, add_one};
use self::wire::{Failure, Wire};
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// The endpoints of one site, as one worker thread sees them.
pub struct Upstreams {
    pools: Vec<Rc<Pool>>,
    balancer: Balancer,
    body_bytes: u64,
    body_wait: Duration,
}

/// What the site answered.
pub struct Answer {
    /// Head and body. The version is this hop's, framing fields fit the body; hop-by-hop fields are still there.
    pub response: Response<AnswerBody>,
    /// Index of the endpoint in the configuration.
    pub endpoint: usize,
    /// How often the request was repeated: 0 or 1.
    pub retries: u8,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// From the call to the request given to a connection: queue, look-up, connect, a failed first try.
    pub waited: Duration,
    /// From the request given to the connection to the head of the answer.
    pub upstream_time: Duration,
    /// The upstream half of a tunnel; set if and only if the status is 101.
    pub upgrade: Option<OnUpgrade>,
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
            body_bytes: site.body_bytes,
            body_wait: timeouts.request_body,
        })
    }

    /// The client's body under the site's limit and `timeouts.request_body`.
    #[must_use]
    pub fn request_body(&self, incoming: Incoming) -> RequestBody {
        RequestBody::new(incoming, self.body_bytes, self.body_wait)
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
            let failed = match job.attempt(chosen, request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let (Some(again), 0) = (failed.again, job.retries) else {
                return Err(job.error(failed.refusal, Some(chosen.endpoint)));
            };
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
            request = *again;
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

/// One request on its way, over all attempts.
struct Job {
    began: Instant,
    retries: u8,
    method: Method,
    asks_upgrade: bool,
    /// The site may get it twice: idempotent, and no body that would be gone.
    repeatable: bool,
    upload: Option<Rc<Upload>>,
}

/// An attempt without an answer.
struct Failed {
    refusal: Refusal,
    /// The request, if it may be sent once more.
    again: Option<Box<Request<RequestBody>>>,
    /// Once more means: to another endpoint.
    elsewhere: bool,
}

impl Job {
    fn new(request: &Request<RequestBody>, began: Instant) -> Self {
        let method = request.method().clone();
        let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        Self {
            began,
            retries: 0,
            asks_upgrade: request.headers().contains_key(header::UPGRADE),
            repeatable: idempotent.contains(&method) && request.body().is_end_stream(),
            upload: request.body().upload(),
            method,
        }
    }

    fn error(&self, refusal: Refusal, endpoint: Option<usize>) -> SendError {
        SendError { refusal, endpoint, retries: self.retries }
    }

    async fn attempt(&self, pick: &Pick, request: Request<RequestBody>) -> Result<Answer, Failed> {
        let fresh = self.retries > 0;
        let mut lease = match pick.pool.acquire(fresh, clock::monotonic()).await {
            Ok(lease) => lease,
            Err(refusal) => {
                let elsewhere = refusal.reason() != Reason::QueueFull;
                if elsewhere {
                    pick.pool.health.failed(clock::monotonic());
                }
                let again = elsewhere.then(|| Box::new(request));
                return Err(Failed { refusal, again, elsewhere });
            }
        };
        let (reused, head) = (lease.reused, lease.settings().head);
        let Some(connection) = lease.connection() else {
            let refusal = Refusal::from(Reason::Internal);
            return Err(Failed { refusal, again: None, elsewhere: false });
        };
        add_one(&pick.pool.counters.requests);
        let saved = (reused && self.repeatable).then(|| Saved::new(&request, connection));
        let written = clock::monotonic();
        match self.exchange(connection, request, written, head).await {
            Ok(response) => {
                connection.spare.clear();
                self.answered(pick, lease, response, written).map_err(|reason| Failed {
                    refusal: Refusal::from(reason),
                    again: None,
                    elsewhere: false,
                })
            }
            Err(failure) => Err(self.unanswered(pick, connection, reused, failure, saved)),
        }
    }

    /// The exchange under `timeouts.upstream_head`, which does not run while the client's upload is awaited.
    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Request<RequestBody>,
        written: Instant,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let Connection { wire, timer, .. } = connection;
        let mut exchange = pin!(wire.exchange(request));
        let upload = self.upload.as_deref();
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = exchange.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            let due =
                |now| upload.map_or(written, |upload| upload.endpoint_owes_since(now).max(written)) + limit;
            timer.poll_until(cx, written + limit, due).map(|()| {
                Err(Failure { refusal: Refusal::from(Reason::UpstreamTimeout), unwritten: None })
            })
        })
        .await
    }

    fn answered(
        &self,
        pick: &Pick,
        lease: Lease,
        mut response: Response<Incoming>,
        written: Instant,
    ) -> Result<Answer, Reason> {
        let now = clock::monotonic();
        let status = response.status();
        if matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ) {
            pick.pool.health.failed(now);
        } else {
            pick.pool.health.succeeded();
        }
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        if switched && !self.asks_upgrade {
            return Err(Reason::UpstreamProtocol);
        }
        let reusable = framing::answer(&mut response, &self.method)?;
        let upgrade = switched.then(|| hyper::upgrade::on(&mut response));
        let reused = lease.reused;
        let response = response.map(|body| {
            if switched {
                AnswerBody::upgraded(body, lease)
            } else {
                AnswerBody::new(body, lease, self.upload.clone(), reusable)
            }
        });
        Ok(Answer {
            response,
            endpoint: pick.endpoint,
            retries: self.retries,
            reused,
            waited: written.saturating_duration_since(self.began),
            upstream_time: now.saturating_duration_since(written),
            upgrade,
        })
    }

    /// Judges an exchange without an answer, and whether the request may go once more.
    fn unanswered(
        &self,
        pick: &Pick,
        connection: &mut Connection,
        reused: bool,
        failure: Failure,
        saved: Option<Saved>,
    ) -> Failed {
        if let Some(reason) = self.upload.as_ref().and_then(|upload| upload.failure()) {
            let refusal = match failure.refusal {
                refusal if refusal.reason() == reason => refusal,
                other => Refusal::caused_by(reason, other),
            };
            return Failed { refusal, again: None, elsewhere: false };
        }
        let reason = failure.refusal.reason();
        if reason == Reason::UpstreamTimeout || (reason == Reason::UpstreamClosed && !reused) {
            pick.pool.health.failed(clock::monotonic());
        }
        let unwritten = failure.unwritten;
        let silent = reason == Reason::UpstreamClosed && !connection.wire.heard();
        let again = match saved {
            None => unwritten,
            // Given back unwritten, or closed without a byte on a connection that may have been stale.
            Some(saved) => unwritten.or_else(|| silent.then(|| Box::new(saved.restore(connection)))),
        };
        Failed { refusal: failure.refusal, again, elsewhere: false }
    }
}

/// The head of a request that may have to be repeated. The fields lie in the connection, whose room is used again.
struct Saved {
    method: Method,
    uri: http::Uri,
}

impl Saved {
    fn new(request: &Request<RequestBody>, connection: &mut Connection) -> Self {
        let fields = request.headers().iter().map(|(name, value)| (name.clone(), value.clone()));
        connection.spare.extend(fields);
        Self { method: request.method().clone(), uri: request.uri().clone() }
    }

    fn restore(self, connection: &mut Connection) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        let fields = request.headers_mut();
        fields.reserve(connection.spare.len());
        for (name, value) in connection.spare.drain(..) {
            fields.append(name, value);
        }
        request
    }
}
