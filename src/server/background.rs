//! The background thread: the admin listener, a successor that asks for the sockets, and health checks.
//!
//! Never touches a request, and never a file that may lie on a disk that hangs: `/healthz` would hang with it. Bound: one
//! thread.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Release;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::select;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use super::Phase;
use super::handover::{self, Offer, Traffic};
use crate::admin;
use crate::admin::health::Readiness;
use crate::admin::hosts::AdminHosts;
use crate::admin::labels::ProbeResult;
use crate::admin::worker::WorkerMetrics;
use crate::forward::probe::{Checks, Note};
use crate::snapshot::Shared;

/// What the background works on.
#[derive(Debug)]
pub struct Background {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Whether traffic should come.
    pub readiness: Arc<Readiness>,
    /// The admin listener's socket.
    pub admin: Option<TcpListener>,
    /// Where health checks are counted.
    pub metrics: Option<WorkerMetrics>,
    /// The traffic sockets, for the process that takes this one's place.
    pub traffic: Vec<Traffic>,
    /// Comes when the workers run: from then on a successor may ask.
    pub ready: oneshot::Receiver<()>,
    /// To be set when one has taken it.
    pub succeeded: Arc<AtomicBool>,
}

/// Starts the thread; it ends with [`Phase::Stopping`].
///
/// # Errors
/// The operating system gives no thread.
pub fn spawn(background: Background, phase: watch::Receiver<Phase>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("background".into()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => LocalSet::new().block_on(&runtime, run(background, phase)),
            Err(error) => tracing::error!(%error, "the background thread cannot start its runtime"),
        }
    })
}

async fn run(background: Background, mut phase: watch::Receiver<Phase>) {
    let Background { shared, readiness, admin, metrics: counting, traffic, ready, succeeded } = background;
    let metrics = Arc::clone(&shared.metrics);
    let (resting, rest) = watch::channel(false);
    let (data, hosts) = {
        let snapshot = shared.snapshot.load();
        (snapshot.config.records.dir.clone(), AdminHosts::new(snapshot.config.admin.hosts.clone()))
    };
    // Without a descriptor to spare nothing is handed over, and the rest works as before.
    let offer = Offer { traffic, admin: admin.as_ref().and_then(|socket| socket.try_clone().ok()) };
    let serving = async {
        match admin {
            Some(socket) => {
                if let Err(error) = admin::server::serve(socket, metrics, readiness, hosts, rest).await {
                    tracing::error!(%error, "the admin listener ended");
                }
            }
            None => std::future::pending().await,
        }
    };
    let mut ending = phase.clone();
    let handing_over = async {
        // Without a word the start failed, and the process ends.
        if ready.await.is_ok() {
            select! {
                () = handover::serve(&data, &offer, &resting) => succeeded.store(true, Release),
                // Sockets that are kept beyond this would be a queue that nobody serves.
                _ = ending.wait_for(|now| *now != Phase::Running) => {}
            }
        }
        drop(offer);
    };
    select! {
        () = async {
            tokio::join!(serving, handing_over, check_upstreams(&shared, counting));
        } => {}
        _ = phase.wait_for(|now| *now == Phase::Stopping) => {}
    }
}

/// Keeps health checks running for the sites of the configuration in force.
async fn check_upstreams(shared: &Shared, metrics: Option<WorkerMetrics>) {
    let Some(metrics) = metrics.map(Rc::new) else { return };
    let mut running: Vec<Checks> = Vec::new();
    loop {
        let snapshot = shared.snapshot.load_full();
        running.retain(|checks| snapshot.upstreams.iter().any(|site| checks.are_of(site)));
        for (site, &label) in snapshot.upstreams.iter().zip(&snapshot.upstream_labels) {
            if running.iter().any(|checks| checks.are_of(site)) {
                continue;
            }
            let metrics = Rc::clone(&metrics);
            let note: Note = Rc::new(move |endpoint, good| {
                let result = if good { ProbeResult::Ok } else { ProbeResult::Failed };
                metrics.upstream_probe(label, endpoint, result);
            });
            running.push(Checks::start(site, snapshot.config.timeouts.upstream_connect, &note));
        }
        tokio::time::sleep(UPSTREAMS_EVERY).await;
    }
}

/// How often the configuration is looked at for other upstreams.
const UPSTREAMS_EVERY: Duration = Duration::from_millis(500);
