//! What the upstream side did, in figures.
//!
//! [`answered`] and [`failed`] count one request; [`Pools`] copies the state of a thread's pools into its gauges once a
//! second. Never decides anything. Bound: one entry per endpoint.

use super::labels::{ConnectError, PoolClosed, PoolState, RetryReason, UpstreamResult};
use super::worker::WorkerMetrics;
use crate::error::Reason;
use crate::forward::{Answer, Closed, EndpointStats, FailedBefore, SendError, Upstreams};

/// Counts a request that the site answered. `upstream` is the metric label of the site's upstream.
pub fn answered(metrics: &WorkerMetrics, upstream: usize, answer: &Answer) {
    metrics.upstream_request(upstream, answer.endpoint, UpstreamResult::Ok);
    metrics.upstream_response(upstream, answer.upstream_time);
    before(metrics, upstream, &answer.failed_before);
}

/// Counts a request that it did not answer.
pub fn failed(metrics: &WorkerMetrics, upstream: usize, error: &SendError) {
    let Some(endpoint) = error.endpoint else { return };
    metrics.upstream_request(upstream, endpoint, UpstreamResult::Error);
    if let Some(reason) = connect_error(error.refusal.reason()) {
        metrics.upstream_connect_error(upstream, endpoint, reason);
    }
    before(metrics, upstream, &error.failed_before);
}

/// Counts the attempts that another followed.
fn before(metrics: &WorkerMetrics, upstream: usize, attempts: &[FailedBefore]) {
    for attempt in attempts {
        metrics.upstream_request(upstream, attempt.endpoint, UpstreamResult::Error);
        let reason = connect_error(attempt.reason);
        if let Some(reason) = reason {
            metrics.upstream_connect_error(upstream, attempt.endpoint, reason);
        }
        let why = if reason.is_some() { RetryReason::Connect } else { RetryReason::Stale };
        metrics.upstream_retry(upstream, attempt.endpoint, why);
    }
}

const fn connect_error(reason: Reason) -> Option<ConnectError> {
    match reason {
        Reason::ConnectRefused => Some(ConnectError::Refused),
        Reason::ConnectTimeout => Some(ConnectError::Timeout),
        Reason::Dns | Reason::DnsTimeout => Some(ConnectError::Dns),
        Reason::UpstreamCertificate | Reason::UpstreamTls => Some(ConnectError::Tls),
        _ => None,
    }
}

const fn closed(why: Closed) -> PoolClosed {
    match why {
        Closed::Idle => PoolClosed::Idle,
        Closed::MaxAge => PoolClosed::MaxAge,
        Closed::Endpoint => PoolClosed::Endpoint,
        Closed::Room => PoolClosed::Room,
        Closed::Stray => PoolClosed::Stray,
    }
}

/// What one thread's gauges say now about the pools of one site.
#[derive(Debug, Default)]
pub struct Pools(Vec<EndpointStats>);

impl Pools {
    /// Brings the gauges up to date.
    pub fn update(&mut self, metrics: &WorkerMetrics, upstream: usize, pools: &Upstreams) {
        let now: Vec<EndpointStats> = pools.stats().collect();
        self.shift_to(metrics, upstream, &now);
        for (endpoint, stats) in now.iter().enumerate() {
            metrics.upstream_healthy(upstream, endpoint, !stats.ejected);
            metrics.upstream_not_repeated(upstream, endpoint, pools.take_bodies_gone(endpoint));
            for why in Closed::ALL {
                metrics.pool_closed(upstream, endpoint, closed(why), pools.take_closed(endpoint, why));
            }
        }
        metrics.upstream_fail_open(upstream, pools.take_fail_open());
        self.0 = now;
    }

    /// Takes what the gauges said back: these pools are no longer used.
    pub fn clear(&mut self, metrics: &WorkerMetrics, upstream: usize) {
        self.shift_to(metrics, upstream, &[]);
        self.0.clear();
    }

    fn shift_to(&self, metrics: &WorkerMetrics, upstream: usize, now: &[EndpointStats]) {
        for endpoint in 0..self.0.len().max(now.len()) {
            let before = self.0.get(endpoint).copied().unwrap_or_default();
            let after = now.get(endpoint).copied().unwrap_or_default();
            for (state, before, after) in [
                (PoolState::Idle, before.connections_idle, after.connections_idle),
                (PoolState::Busy, before.connections_active, after.connections_active),
            ] {
                metrics.pool_connections(upstream, endpoint, state, after as i64 - before as i64);
            }
            metrics.upstream_queued(upstream, endpoint, after.queued as i64 - before.queued as i64);
        }
    }
}
