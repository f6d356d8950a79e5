//! Active health checks: a `GET` to each endpoint, again and again, from one place in the process.
//!
//! [`Checks`] belong to the background thread; workers only read the verdicts. Each check makes its own connection,
//! as a request would, and is over at its timeout. Never decides which endpoint a request gets. Bound: one check at a
//! time for each endpoint.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, header};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep_until, timeout};

use super::body::RequestBody;
use super::carrier::Carrier;
use super::connect::Target;
use super::resolve::System;
use super::shared::SiteUpstream;
use super::wire::{HeadLimits, Wire};
use super::{framing, http2};
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// What health checks say of an endpoint. Up until they say otherwise.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    down: AtomicBool,
    /// When a thread last told of the endpoint's failures to real requests: the others see the same ones.
    told: Mutex<Option<Instant>>,
}

impl Verdict {
    /// Whether the endpoint is held for down.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// Whether a failure that requests have found is to be told now: once in [`TELL_AGAIN`] over all threads.
    pub(super) fn tells(&self, now: Instant) -> bool {
        let Ok(mut told) = self.told.lock() else { return false };
        let tells = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_AGAIN);
        if tells {
            *told = Some(now);
        }
        tells
    }

    #[cfg(test)]
    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }
}

/// Counts outcomes in a row and turns them into a verdict.
struct Judge {
    healthy: u32,
    unhealthy: u32,
    /// Outcomes in a row that speak against the verdict.
    against: u32,
}

impl Judge {
    const fn new(check: &config::HealthCheck) -> Self {
        Self { healthy: check.healthy, unhealthy: check.unhealthy, against: 0 }
    }

    /// Notes an outcome; true if the verdict changed.
    fn note(&mut self, good: bool, verdict: &Verdict) -> bool {
        let down = verdict.is_down();
        if good != down {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let enough = if down { self.healthy } else { self.unhealthy };
        let changed = self.against >= enough;
        if changed {
            self.against = 0;
            verdict.down.store(!down, Relaxed);
        }
        changed
    }
}

/// Told of each check: which endpoint, and whether the answer was good.
pub type Note = Rc<dyn Fn(usize, bool)>;

/// The checks of one site; they end when it is dropped.
pub struct Checks {
    site: Arc<SiteUpstream>,
    tasks: Vec<AbortHandle>,
}

impl Checks {
    /// Starts the checks of a site, if it has any. Must run inside a `LocalSet`. `connect` is
    /// `timeouts.upstream_connect`.
    #[must_use]
    pub fn start(site: &Arc<SiteUpstream>, connect: Duration, note: &Note) -> Self {
        let endpoints = if site.health.is_some() { site.endpoints().len() } else { 0 };
        let start = |endpoint| {
            let (site, note) = (Arc::clone(site), Rc::clone(note));
            spawn_local(async move { watch(&site, endpoint, connect, &note).await }).abort_handle()
        };
        Self { site: Arc::clone(site), tasks: (0..endpoints).map(start).collect() }
    }

    /// Whether these are the checks of that site.
    #[must_use]
    pub fn are_of(&self, site: &Arc<SiteUpstream>) -> bool {
        Arc::ptr_eq(&self.site, site)
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn watch(site: &SiteUpstream, endpoint: usize, connect: Duration, note: &Note) {
    let (Some(check), Some(place)) = (&site.health, site.endpoints().get(endpoint)) else { return };
    let verdict = &site.verdicts[endpoint];
    let target = Rc::new(Target::new(place, site.tls.as_ref(), Rc::new(System)));
    let mut judge = Judge::new(check);
    loop {
        let next = clock::monotonic() + check.interval;
        let outcome = timeout(check.timeout, ask(site, &target, check, connect)).await;
        let good = matches!(outcome, Ok(Ok(status)) if check.statuses.iter().any(|s| s.contains(&status)));
        note(endpoint, good);
        if judge.note(good, verdict) {
            told(&site.host, endpoint, good, &outcome);
        }
        sleep_until(next.into()).await;
    }
}

fn told<T>(site: &str, endpoint: usize, good: bool, outcome: &Result<Result<u16, Refusal>, T>) {
    let (status, reason) = match outcome {
        Ok(Ok(status)) => (Some(*status), None),
        Ok(Err(refusal)) => (None, Some(refusal.reason().label())),
        Err(_) => (None, Some("timeout")),
    };
    if good {
        tracing::info!(site, endpoint, status, "an endpoint is up again");
    } else {
        tracing::warn!(site, endpoint, status, reason, "health checks hold an endpoint for down");
    }
}

/// One check on a connection of its own; gives the status.
async fn ask(
    site: &SiteUpstream,
    target: &Rc<Target>,
    check: &config::HealthCheck,
    connect: Duration,
) -> Result<u16, Refusal> {
    let request = Request::get(check.path.as_str())
        .header(header::HOST, site.host.as_str())
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, "*/*")
        .body(RequestBody::empty());
    let mut request = request.map_err(|error| Refusal::caused_by(Reason::Internal, error))?;
    framing::request(&mut request);
    let mut carrier = match site.protocol() {
        config::Protocol::Http1 => {
            let transport = target.connect(clock::monotonic() + connect).await?;
            Carrier::open(transport, HeadLimits::USUAL).await?
        }
        config::Protocol::Http2 => Carrier::Stream(Box::new(http2::alone(target, connect).await?)),
    };
    let response = carrier.exchange(&mut request).await.map_err(|failure| failure.refusal)?;
    Ok(response.status().as_u16())
}

/// Pause between two lines about the failures of one endpoint.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// What checks call themselves.
const AGENT: &str = "kelisim-health";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_outcomes_in_a_row() {
        let verdict = Verdict::default();
        let mut judge = Judge { healthy: 2, unhealthy: 3, against: 0 };
        for (good, down) in [
            (false, false),
            (false, false),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
            (true, true),
            (false, true),
            (true, true),
            (true, false),
            (false, false),
        ] {
            judge.note(good, &verdict);
            assert_eq!(verdict.is_down(), down);
        }
    }
}
