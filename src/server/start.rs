//! Opens everything that can fail, in order, then starts the threads; and reads the configuration again.
//!
//! Nothing is accepted before all of it worked. On reload the new configuration is compiled completely before it is
//! swapped in, and the old one stays on any mistake. Never retries. Bound: the configuration.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use super::watchdog::Watchdog;
use super::worker::{self, Listening, Seat};
use super::{Phase, Server, background, handover};
use crate::admin::health::{NotReady, Readiness};
use crate::admin::journal::JournalSource;
use crate::admin::metrics::{LabelSpace, Metrics};
use crate::admin::process::ProcessSource;
use crate::admin::source::ConfigStatus;
use crate::admin::state::StateSource;
use crate::clock::{self, Timestamp};
use crate::config::{self, Config};
use crate::consent::{ConsentKeys, KeyError};
use crate::cookies::CookiePolicy;
use crate::cookies::catalogue::Catalogue;
use crate::cookies::rules::RuleProblem;
use crate::geo::{DatabaseError, Databases};
use crate::identify::{self, visitor::VisitorKeys};
use crate::listen::admission::Admission;
use crate::listen::socket;
use crate::listen::tls::{CertificateError, Prepared, Store};
use crate::record::access_log::{self, AccessLog};
use crate::risk::{self, Assessor};
use crate::snapshot::{Shared, Snapshot};
use crate::store::{self, Journal, JournalOptions};

/// Where the configuration came from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which a reload reads again.
    File(PathBuf),
    /// The command line: there is nothing to read again.
    Arguments,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made or used.
    #[error("the data folder {} cannot be used", path.display())]
    Data {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keys of the consent record.
    #[error("the keys of the consent record cannot be used")]
    ConsentKeys(#[from] KeyError),
    /// The keys of the visitor cookie.
    #[error("the keys of the visitor cookie cannot be used")]
    VisitorKeys(#[from] identify::visitor::KeyError),
    /// The operator's cookie rules.
    #[error("the cookie rules in {} have mistakes:\n{}", path.display(), listed(problems))]
    CookieRules {
        /// Which file.
        path: PathBuf,
        /// All mistakes.
        problems: Vec<RuleProblem>,
    },
    /// A location database.
    #[error("a location database cannot be used")]
    Geo(#[from] DatabaseError),
    /// A certificate.
    #[error("the certificate for {address} cannot be used")]
    Certificate {
        /// Of which listener.
        address: SocketAddr,
        /// Why.
        source: CertificateError,
    },
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[from] store::StartError),
    /// A listening socket.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The access log.
    #[error("the access log cannot be opened")]
    AccessLog(#[source] io::Error),
    /// The table of metrics contradicts itself.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// Fewer descriptors than connections.
    #[error(
        "{allowed} open files are allowed, but limits.connections is {connections}: raise LimitNOFILE or lower the limit"
    )]
    Descriptors {
        /// What the operating system allows.
        allowed: u64,
        /// What the configuration wants.
        connections: usize,
    },
}

/// Starts the gateway.
///
/// # Errors
/// The first thing that cannot be opened; nothing has been accepted then.
pub fn start(config: &Config, source: Source) -> Result<Server, StartError> {
    raise_descriptor_limit(config)?;
    let now = clock::now();
    let data = config.records.dir.clone();
    make_private_folder(&data).map_err(|source| StartError::Data { path: data.clone(), source })?;
    let cookies = cookie_policy(config)?;
    let (geo, warnings) = Databases::open(&config.geoip, now)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let certificates = certificates(config)?;
    let access_log = access_log::Writer::start(&config.log, config.workers).map_err(StartError::AccessLog)?;
    let (access_log, access_logs) =
        access_log.map_or((None, Vec::new()), |(writer, ends)| (Some(writer), ends));
    let mut given = handover::ask(&data).unwrap_or_else(|error| {
        tracing::warn!(%error, "the gateway that runs on this data folder does not hand over its sockets");
        handover::Given::default()
    });
    let listening = listen(config, &certificates, &mut given)?;
    let addresses = addresses(config, &listening);
    let admin = admin_socket(config, &mut given)?;
    let (metrics, handles) = Metrics::new(&labels(config), config.workers)?;
    let (journal, recorders) =
        Journal::start(JournalOptions::from_config(&config.records, config.workers), clock::now)?;
    let shared = Arc::new(shared(config, cookies, geo, &certificates, &metrics, now)?);
    metrics.add_source(Arc::clone(&shared.status) as _);
    metrics.add_source(Arc::new(ProcessSource::new(now)));
    metrics.add_source(Arc::new(JournalSource {
        stats: journal.stats(),
        ring_bytes: (config.records.ring_bytes * config.workers) as u64,
        limit_bytes: config.records.max_bytes,
    }));
    metrics.add_source(Arc::new(StateSource::new(&shared)));
    if let Some(log) = &access_log {
        metrics.add_source(Arc::clone(&log.stats) as Arc<dyn crate::admin::source::Source>);
    }
    let readiness = Arc::new(Readiness::starting());
    let (phase, watched) = watch::channel(Phase::Running);
    let (accept_successors, accepting) = oneshot::channel();
    let mut server = Server {
        addresses,
        admin: admin.as_ref().and_then(|socket| socket.local_addr().ok()),
        source,
        readiness: Arc::clone(&readiness),
        workers: Vec::with_capacity(config.workers),
        background: None,
        journal: Some(journal),
        access_log,
        watchdog: Watchdog::from_environment(config.workers),
        shared: Arc::clone(&shared),
        phase,
    };
    let background = background::Background {
        shared: Arc::clone(&shared),
        readiness: Arc::clone(&readiness),
        admin,
        certificates,
        traffic: clones(&listening),
        ready: accepting,
    };
    server.background = Some(background::spawn(background, watched.clone()).map_err(StartError::Thread)?);
    let access_logs = access_logs.into_iter().chain(std::iter::repeat_with(AccessLog::default));
    let seats = listening.into_iter().zip(recorders).zip(handles).zip(access_logs);
    for (index, (((listening, recorder), metrics), access_log)) in seats.enumerate() {
        let watchdog = server.watchdog.clone();
        let seat = Seat { index, listening, recorder, access_log, metrics, watchdog };
        let worker = worker::spawn(seat, Arc::clone(&shared), watched.clone());
        server.workers.push(worker.map_err(StartError::Thread)?);
    }
    readiness.clear(NotReady::Starting);
    if given.is_from_another() {
        tracing::info!("the listening sockets of another process were taken over; it can be told to end");
    }
    given.ready();
    // Only now: until here a successor had better ask the gateway before.
    let _ = accept_successors.send(());
    Ok(server)
}

/// What all threads share. Keys and the begin of the observation come from the data folder, which must be there.
///
/// # Errors
/// The first of them that cannot be used.
pub(super) fn shared(
    config: &Config,
    cookies: CookiePolicy,
    geo: Databases,
    certificates: &[Option<Arc<Store>>],
    metrics: &Arc<Metrics>,
    now: Timestamp,
) -> Result<Shared, StartError> {
    let data = &config.records.dir;
    let until = observe_until(config, data, now)?;
    let assessor = Assessor::new(&config.risk, until, now);
    Ok(Shared {
        geo: ArcSwap::from_pointee(geo),
        geo_reloads: Default::default(),
        consent_keys: ConsentKeys::load_or_create(data)?,
        visitor_keys: VisitorKeys::load_or_create(data)?,
        admission: Admission::new(config.limits.connections, config.limits.connections_per_client),
        status: Arc::new(ConfigStatus::new(now)),
        certificates: certificates.iter().flatten().cloned().collect(),
        snapshot: ArcSwap::from_pointee(Snapshot::new(config.clone(), cookies, assessor, metrics)),
        metrics: Arc::clone(metrics),
    })
}

/// Reads the configuration again; on any mistake the one in force stays.
pub(super) fn reload(source: &Source, shared: &Shared) {
    let Source::File(path) = source else {
        tracing::info!("there is no configuration file to read again");
        return;
    };
    let config = match config::read(path, config::environment()) {
        Ok(config) => config,
        Err(problems) => {
            tracing::error!(
                "the configuration has mistakes; the old one stays in force\n{}",
                problems.render(false)
            );
            shared.status.refused();
            return;
        }
    };
    match Fresh::open(&config, shared) {
        Ok(fresh) => fresh.put_in_force(config, shared),
        Err(error) => {
            tracing::error!(error = %crate::error::chain(&error), "the old configuration stays in force");
            shared.status.refused();
        }
    }
}

/// What a new configuration needs and what can fail about it: all of it is there before anything changes.
struct Fresh {
    cookies: CookiePolicy,
    observe_until: Option<Timestamp>,
    /// Location databases, if other ones are configured.
    geo: Option<Databases>,
    /// One for each listener with TLS, in their order; `None` where the files are the same.
    certificates: Vec<Option<Prepared>>,
}

impl Fresh {
    fn open(config: &Config, shared: &Shared) -> Result<Self, StartError> {
        let old = shared.snapshot.load();
        let geo = if config.geoip == old.config.geoip {
            None
        } else {
            let (databases, warnings) = Databases::open(&config.geoip, clock::now())?;
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            Some(databases)
        };
        // Certificates belong to listeners, which stay: where other listeners are configured, nothing fits.
        let mut certificates = Vec::new();
        if listeners(config) == listeners(&old.config) {
            let with_tls = config.listeners.iter().filter_map(|l| Some((l.address, l.tls.as_ref()?)));
            for ((address, files), store) in with_tls.zip(&shared.certificates) {
                let prepared = store.prepare(files, &hosts(config));
                certificates.push(prepared.map_err(|source| StartError::Certificate { address, source })?);
            }
        }
        Ok(Self {
            cookies: cookie_policy(config)?,
            observe_until: observe_until(config, &old.config.records.dir, clock::now())?,
            geo,
            certificates,
        })
    }

    fn put_in_force(self, mut config: Config, shared: &Shared) {
        let old = shared.snapshot.load();
        warn_of_fixed(&old.config, &config);
        crate::log::set_level(&config.log.level);
        let hosts = hosts(&config);
        for (store, prepared) in shared.certificates.iter().zip(self.certificates) {
            if let Some(prepared) = prepared {
                store.set_files(prepared);
            }
        }
        shared.certificates.iter().for_each(|store| store.set_hosts(hosts.clone()));
        shared.admission.set_limits(config.limits.connections, config.limits.connections_per_client);
        if let Some(geo) = self.geo {
            shared.geo.store(Arc::new(geo));
        }
        let assessor = old.assessor.reconfigured(&config.risk, self.observe_until);
        // The data folder stays where it was at start, whatever the file says now.
        config.records.dir.clone_from(&old.config.records.dir);
        shared.snapshot.store(Arc::new(Snapshot::new(config, self.cookies, assessor, &shared.metrics)));
        shared.status.reloaded(clock::now());
        tracing::info!("configuration reloaded");
    }
}

/// What of a listener a reload cannot change.
fn listeners(config: &Config) -> Vec<(SocketAddr, bool)> {
    config.listeners.iter().map(|l| (l.address, l.tls.is_some())).collect()
}

/// Until when `deny` only observes: from the first start, or the first reload, with it.
fn observe_until(config: &Config, data: &Path, now: Timestamp) -> Result<Option<Timestamp>, StartError> {
    if !config.risk.actions.denies() {
        return Ok(None);
    }
    let since = risk::observe::load_or_create(data, now)
        .map_err(|source| StartError::Data { path: data.to_owned(), source })?;
    Ok(config.risk.observe_days.map(|days| risk::observe::until(since, days)))
}

/// Tells which changes need a new process.
fn warn_of_fixed(old: &Config, new: &Config) {
    let keys = config::fixed::changed(old, new);
    if !keys.is_empty() {
        tracing::warn!(keys = keys.join(", "), "these keys change only with a new process");
    }
    if listeners(old) != listeners(new) {
        tracing::warn!("listeners and whether they have TLS change only with a new process");
    }
    let names =
        |c: &Config| c.sites.iter().filter_map(|site| site.hosts.first().cloned()).collect::<Vec<_>>();
    if names(old) != names(new) {
        tracing::warn!(
            "consent is bound to the first host of a site: visitors of a site whose first host changed choose again"
        );
    }
}

pub(super) fn cookie_policy(config: &Config) -> Result<CookiePolicy, StartError> {
    let catalogue = match &config.cookies.rules {
        None => Catalogue::builtin(),
        Some(file) => Catalogue::with_operator(&file.text)
            .map_err(|problems| StartError::CookieRules { path: file.path.clone(), problems })?,
    };
    Ok(CookiePolicy { catalogue, actions: config.cookies.actions, mode: config.cookies.mode })
}

fn listed(problems: &[RuleProblem]) -> String {
    let lines = problems
        .iter()
        .map(|p| format!("  line {}, column {}: {} ({})", p.line, p.column, p.message, p.hint));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn certificates(config: &Config) -> Result<Vec<Option<Arc<Store>>>, StartError> {
    let hosts = hosts(config);
    let open = |listener: &config::Listener| {
        let Some(files) = &listener.tls else { return Ok(None) };
        Store::open(files.clone(), hosts.clone())
            .map(|store| Some(Arc::new(store)))
            .map_err(|source| StartError::Certificate { address: listener.address, source })
    };
    config.listeners.iter().map(open).collect()
}

fn hosts(config: &Config) -> Vec<String> {
    config.sites.iter().flat_map(|site| site.hosts.iter().cloned()).collect()
}

/// The listening sockets of each worker: those that systemd handed over, then those of the gateway whose place is taken,
/// then new ones.
fn listen(
    config: &Config,
    certificates: &[Option<Arc<Store>>],
    given: &mut handover::Given,
) -> Result<Vec<Vec<Listening>>, StartError> {
    let mut workers: Vec<Vec<Listening>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut inherited = socket::inherited()
        .map_err(|source| StartError::Listen { address: config.listeners[0].address, source })?;
    for (index, (listener, tls)) in config.listeners.iter().zip(certificates).enumerate() {
        let address = listener.address;
        let (mut mine, others): (Vec<_>, Vec<_>) = inherited.into_iter().partition(|(at, _)| *at == address);
        inherited = others;
        if mine.is_empty() {
            mine = given.take(address).into_iter().map(|socket| (address, socket)).collect();
        }
        let mine = mine.into_iter().map(|(_, socket)| socket).collect();
        let sockets = socket::spread(mine, address, config.workers)
            .map_err(|source| StartError::Listen { address, source })?;
        for (worker, sockets) in workers.iter_mut().zip(sockets) {
            let listening = |socket| Listening { listener: index, socket, tls: tls.clone() };
            worker.extend(sockets.into_iter().map(listening));
        }
    }
    for (address, _) in inherited {
        tracing::warn!(%address, "a socket was handed over that no listener in the configuration uses");
    }
    Ok(workers)
}

/// The addresses of the listeners, with real ports.
fn addresses(config: &Config, workers: &[Vec<Listening>]) -> Vec<SocketAddr> {
    let of = |listener| {
        let mut sockets = workers.iter().flatten().filter(|l| l.listener == listener);
        sockets.find_map(|l| l.socket.local_addr().ok())
    };
    (0..config.listeners.len()).filter_map(of).collect()
}

/// Every traffic socket once more, for a successor. Without descriptors to spare there is none to hand over.
fn clones(workers: &[Vec<Listening>]) -> Vec<std::net::TcpListener> {
    workers.iter().flatten().filter_map(|listening| listening.socket.try_clone().ok()).collect()
}

fn admin_socket(
    config: &Config,
    given: &mut handover::Given,
) -> Result<Option<std::net::TcpListener>, StartError> {
    let Some(address) = config.admin.address else { return Ok(None) };
    if let Some(socket) = given.take_admin(address) {
        return Ok(Some(socket));
    }
    socket::bind(address).map(Some).map_err(|source| StartError::Listen { address, source })
}

pub(super) fn labels(config: &Config) -> LabelSpace {
    LabelSpace {
        listeners: config.listeners.iter().map(|l| l.address.to_string()).collect(),
        hosts: config.sites.iter().flat_map(|site| site.hosts.iter().cloned()).collect(),
        upstreams: config
            .sites
            .iter()
            .map(|site| (site.hosts.first().cloned().unwrap_or_default(), site.upstream.len()))
            .collect(),
    }
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Raises the soft limit of open files to the hard one, and checks that connections fit below it.
fn raise_descriptor_limit(config: &Config) -> Result<(), StartError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Not being allowed to is fine as long as the limit is enough.
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let connections = config.limits.connections;
    match allowed {
        Some(allowed) if allowed < connections as u64 => {
            Err(StartError::Descriptors { allowed, connections })
        }
        _ => Ok(()),
    }
}
