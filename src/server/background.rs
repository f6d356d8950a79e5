//! The background thread: the admin listener, watching files for change, and health checks.
//!
//! Location databases and certificates are replaced here while requests go on with the old ones. Never touches a
//! request. Bound: one thread.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, Release};
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
use crate::clock;
use crate::forward::probe::{Checks, Note};
use crate::geo::watch::Watcher;
use crate::listen::tls::Store;
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
    /// The certificates of the listeners.
    pub certificates: Vec<Option<Arc<Store>>>,
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
    let Background { shared, readiness, admin, certificates, metrics: counting, traffic, ready, succeeded } =
        background;
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
            tokio::join!(
                serving,
                watch_certificates(&certificates),
                watch_geo(&shared),
                handing_over,
                check_upstreams(&shared, counting)
            );
        } => {}
        _ = phase.wait_for(|now| *now == Phase::Stopping) => {}
    }
}

async fn watch_certificates(certificates: &[Option<Arc<Store>>]) {
    let stores: Vec<&Arc<Store>> = certificates.iter().flatten().collect();
    let mut stamps: Vec<_> = stores.iter().map(|store| store.stamp()).collect();
    loop {
        tokio::time::sleep(CERTIFICATES_EVERY).await;
        for (store, stamp) in stores.iter().zip(&mut stamps) {
            let now = store.stamp();
            if now == *stamp {
                continue;
            }
            match store.reload() {
                Ok(()) => {
                    tracing::info!("a certificate was reloaded");
                    *stamp = now;
                }
                // The stamp stays old: the file may be half-written, so it is tried again.
                Err(error) => {
                    tracing::warn!(%error, "a changed certificate cannot be used; the last good one stays");
                }
            }
        }
    }
}

async fn watch_geo(shared: &Shared) {
    let mut config = shared.snapshot.load().config.geoip.clone();
    let mut watcher = Watcher::new(&config);
    let mut looked = clock::monotonic();
    loop {
        tokio::time::sleep(config.check_every.min(CONFIG_EVERY)).await;
        let now = &shared.snapshot.load().config.geoip;
        if *now != config {
            config = now.clone();
            watcher = Watcher::new(&config);
        }
        if clock::monotonic().duration_since(looked) < config.check_every {
            continue;
        }
        looked = clock::monotonic();
        let outcome = watcher.check(&shared.geo.load(), clock::now());
        for reload in &outcome.reloads {
            match &reload.result {
                Ok(warnings) => {
                    shared.geo_reloads[reload.role as usize].ok.fetch_add(1, Relaxed);
                    tracing::info!(database = reload.role.label(), "a location database was reloaded");
                    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                }
                Err(error) => {
                    shared.geo_reloads[reload.role as usize].failed.fetch_add(1, Relaxed);
                    tracing::error!(database = reload.role.label(), %error, "the old location database stays");
                }
            }
        }
        // A reload in the meantime has opened its own.
        if let Some(databases) = outcome.databases
            && shared.snapshot.load().config.geoip == config
        {
            shared.geo.store(Arc::new(databases));
        }
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
/// How often it is looked whether a reload named other location databases.
const CONFIG_EVERY: Duration = Duration::from_secs(2);
/// How often certificate files are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(2);
