//! Active health checks: a `GET` to each endpoint, again and again, from one place in the process.
//!
//! [`run`] belongs to the background thread; workers only read the [`Verdict`]s. Each check makes its own connection,
//! as a request would, and is over at its timeout. Never decides which endpoint a request gets. Bound: one check at a
//! time for each endpoint.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, header};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{sleep, sleep_until, timeout};

use super::body::RequestBody;
use super::connect::Target;
use super::framing;
use super::resolve::System;
use super::shared::SiteUpstream;
use super::wire::{Active, Wire};
use crate::admin::labels::ProbeResult;
use crate::admin::worker::WorkerMetrics;
use crate::clock;
use crate::config;
use crate::error::Refusal;
use crate::snapshot::Shared;

/// What health checks say of an endpoint. Up until they say otherwise.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    down: AtomicBool,
}

impl Verdict {
    /// Whether the endpoint is held for down.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
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

/// Checks the endpoints of the configuration in force. Must run inside a `LocalSet`; runs until dropped.
pub async fn run(shared: Arc<Shared>, metrics: WorkerMetrics) {
    let metrics = Rc::new(metrics);
    let mut running: HashMap<*const SiteUpstream, Checks> = HashMap::new();
    loop {
        let snapshot = shared.snapshot.load_full();
        let sites = snapshot.upstreams.iter().zip(&snapshot.upstream_labels);
        running.retain(|_, checks| snapshot.upstreams.iter().any(|site| Arc::ptr_eq(site, &checks.site)));
        for (site, label) in sites.filter(|(site, _)| site.health.is_some()) {
            running.entry(Arc::as_ptr(site)).or_insert_with(|| {
                Checks::start(site, *label, &metrics, snapshot.config.timeouts.upstream_connect)
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The checks of one site; they end when it is dropped.
struct Checks {
    site: Arc<SiteUpstream>,
    tasks: Vec<AbortHandle>,
}

impl Checks {
    fn start(
        site: &Arc<SiteUpstream>,
        label: usize,
        metrics: &Rc<WorkerMetrics>,
        connect: Duration,
    ) -> Self {
        let start = |endpoint| {
            let (site, metrics) = (Arc::clone(site), Rc::clone(metrics));
            spawn_local(async move { watch(&site, endpoint, label, &metrics, connect).await }).abort_handle()
        };
        Self { site: Arc::clone(site), tasks: (0..site.endpoints().len()).map(start).collect() }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn watch(
    site: &SiteUpstream,
    endpoint: usize,
    label: usize,
    metrics: &WorkerMetrics,
    connect: Duration,
) {
    let (Some(check), Some(place)) = (&site.health, site.endpoints().get(endpoint)) else { return };
    let verdict = &site.verdicts[endpoint];
    let target = Target::new(place, site.tls.as_ref(), Rc::new(System));
    let mut judge = Judge::new(check);
    loop {
        let next = clock::monotonic() + check.interval;
        let outcome = timeout(check.timeout, ask(site, &target, check, connect)).await;
        let good = matches!(outcome, Ok(Ok(status)) if check.statuses.iter().any(|s| s.contains(&status)));
        metrics.upstream_probe(label, endpoint, if good { ProbeResult::Ok } else { ProbeResult::Failed });
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

/// One check; gives the status.
async fn ask(
    site: &SiteUpstream,
    target: &Target,
    check: &config::HealthCheck,
    connect: Duration,
) -> Result<u16, Refusal> {
    let stream = target.connect(clock::monotonic() + connect).await?;
    let mut wire = Active::open(stream, site.protocol()).await?;
    let request = Request::get(check.path.as_str())
        .header(header::HOST, site.host.as_str())
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, "*/*");
    let mut request = request
        .body(RequestBody::empty())
        .map_err(|error| Refusal::caused_by(crate::error::Reason::Internal, error))?;
    framing::request(&mut request);
    let response = wire.exchange(request).await.map_err(|failure| failure.refusal)?;
    Ok(response.status().as_u16())
}

/// How often the configuration is looked at for other sites.
const LOOK_EVERY: Duration = Duration::from_millis(500);
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
