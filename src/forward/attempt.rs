//! One try to get an answer, and the judgement whether another may follow.
//!
//! A request is repeated only if the site cannot have acted on it: it was never written, or the site says so (HTTP/2), or
//! it is idempotent, has no body, and a connection that had been idle closed without a byte of an answer. Never picks an
//! endpoint. Bound: one repetition.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use ipnet::IpNet;

use super::answer::AnswerBody;
use super::balance::Pick;
use super::body::{RequestBody, Upload};
use super::counts::add_one;
use super::pool::{Connection, Lease};
use super::wire::{Failure, Wire};
use super::{Answer, FailedAttempts, SendError, framing};
use crate::clock;
use crate::error::{Reason, Refusal};

/// One request on its way, over all attempts.
pub(super) struct Job {
    began: Instant,
    /// Whose share of an endpoint is taken.
    client: Option<IpNet>,
    /// The attempts so far, all without an answer.
    pub(super) failed_before: FailedAttempts,
    /// Whether the request was repeated although a connection had taken it.
    pub(super) repeated: bool,
    /// Until when another endpoint may be connected to; set once connecting failed.
    pub(super) connect_until: Option<Instant>,
    method: Method,
    asks_upgrade: bool,
    /// The site may get it twice: idempotent, and no body that would be gone.
    repeatable: bool,
    upload: Option<Rc<Upload>>,
}

/// An attempt without an answer.
pub(super) struct Failed {
    pub(super) refusal: Refusal,
    /// Whether the request may be sent once more. If so, it is as it was.
    pub(super) again: bool,
    /// Once more means: to another endpoint.
    pub(super) elsewhere: bool,
}

impl Job {
    /// What has to be remembered of a request that is about to be sent.
    pub(super) fn new(request: &Request<RequestBody>, client: Option<IpNet>, began: Instant) -> Self {
        let method = request.method().clone();
        let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        Self {
            began,
            client,
            failed_before: FailedAttempts::new(),
            repeated: false,
            connect_until: None,
            asks_upgrade: request.headers().contains_key(header::UPGRADE),
            repeatable: idempotent.contains(&method) && request.body().is_end_stream(),
            upload: request.body().upload(),
            method,
        }
    }

    /// The end without an answer.
    pub(super) fn error(self, refusal: Refusal, endpoint: Option<usize>) -> SendError {
        SendError { refusal, endpoint, failed_before: self.failed_before }
    }

    /// Sends the request to the endpoint picked; on a repetition over a fresh connection.
    pub(super) async fn attempt(
        &self,
        pick: &Pick,
        request: &mut Request<RequestBody>,
    ) -> Result<Answer, Failed> {
        // The first attempt begins with the job, and nearly always finds an idle connection: one look at the clock.
        let now = if self.failed_before.is_empty() { self.began } else { clock::monotonic() };
        let (mut lease, written) = match pick.pool.idle(self.client, self.repeated, now) {
            Some(lease) => (lease, now),
            None => match pick.pool.acquire(self.client, self.repeated, now, self.connect_until).await {
                Ok(lease) => (lease, clock::monotonic()),
                Err(refusal) => {
                    let elsewhere = !matches!(refusal.reason(), Reason::QueueFull | Reason::ClientShare);
                    if elsewhere {
                        pick.pool.failed(clock::monotonic(), refusal.reason().label());
                    }
                    return Err(Failed { refusal, again: elsewhere, elsewhere });
                }
            },
        };
        let (reused, head) = (lease.reused, lease.settings().head);
        let Some(connection) = lease.connection() else {
            let refusal = Refusal::from(Reason::Internal);
            return Err(Failed { refusal, again: false, elsewhere: false });
        };
        add_one(&pick.pool.counters.requests);
        match self.exchange(connection, request, written, head).await {
            Ok(response) => self.answered(pick, lease, response, written).await.map_err(|refusal| Failed {
                refusal,
                again: false,
                elsewhere: false,
            }),
            Err(failure) => Err(self.unanswered(pick, connection, reused, failure)),
        }
    }

    /// The exchange under `timeouts.upstream_head`, which does not run while the client's upload is awaited.
    async fn exchange(
        &self,
        connection: &mut Connection,
        request: &mut Request<RequestBody>,
        written: Instant,
        limit: Duration,
    ) -> Result<Response<()>, Failure> {
        let Connection { wire, timer, .. } = connection;
        let mut exchange = pin!(wire.exchange(request));
        let upload = self.upload.as_deref();
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = exchange.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            let due =
                |now| upload.map_or(written, |upload| upload.endpoint_owes_since(now).max(written)) + limit;
            timer
                .poll_until(cx, written + limit, due)
                .map(|()| Err(Failure { refusal: Refusal::from(Reason::UpstreamTimeout), unwritten: false }))
        })
        .await
    }

    async fn answered(
        &self,
        pick: &Pick,
        lease: Lease,
        mut response: Response<()>,
        written: Instant,
    ) -> Result<Answer, Refusal> {
        let now = clock::monotonic();
        let status = response.status();
        if matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ) {
            pick.pool.failed(now, status.as_str());
        } else {
            pick.pool.health.succeeded();
        }
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        if switched && !self.may_switch(&response) {
            return Err(Reason::UpstreamProtocol.into());
        }
        let exact = lease.wire().and_then(|wire| wire.size_hint().exact());
        let complete = framing::answer(&mut response, exact, &self.method)?;
        // A server that was asked for a tunnel may read what comes next otherwise, although it said no.
        let reusable = complete && !self.asks_upgrade;
        let reused = lease.reused;
        let (body, upgrade) = if switched {
            (AnswerBody::empty(), Some(Box::pin(lease.switch()).await?))
        } else {
            (AnswerBody::new(lease, self.upload.clone(), reusable), None)
        };
        let response = response.map(|()| body);
        Ok(Answer {
            response,
            endpoint: pick.endpoint,
            failed_before: self.failed_before.clone(),
            reused,
            waited: written.saturating_duration_since(self.began),
            upstream_time: now.saturating_duration_since(written),
            came: now,
            upgrade,
        })
    }

    /// Whether a 101 is what was asked for. `websocket` is the only protocol that requests may ask for, and a request
    /// that is still being sent leaves nothing to tunnel.
    fn may_switch(&self, response: &Response<()>) -> bool {
        let protocol = response.headers().get(header::UPGRADE);
        self.asks_upgrade
            && protocol.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
            && self.upload.as_ref().is_none_or(|upload| upload.finished())
    }

    /// Judges an exchange without an answer, and whether the request may go once more.
    fn unanswered(&self, pick: &Pick, connection: &mut Connection, reused: bool, failure: Failure) -> Failed {
        if let Some(reason) = self.upload.as_ref().and_then(|upload| upload.failure()) {
            let refusal = match failure.refusal {
                refusal if refusal.reason() == reason => refusal,
                other => Refusal::caused_by(reason, other),
            };
            return Failed { refusal, again: false, elsewhere: false };
        }
        let reason = failure.refusal.reason();
        if reason == Reason::UpstreamTimeout || (reason == Reason::UpstreamClosed && !reused) {
            pick.pool.failed(clock::monotonic(), reason.label());
        }
        // Never written; or on a connection that may have been stale, nothing came but its end, or what an answer before
        // had left over.
        let silent = reason == Reason::UpstreamClosed && !connection.wire.heard();
        let leftover = reason == Reason::UpstreamProtocol && connection.wire.conduct().strayed;
        let again = failure.unwritten || (reused && self.repeatable && (silent || leftover));
        Failed { refusal: failure.refusal, again, elsewhere: false }
    }
}
