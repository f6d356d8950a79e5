//! Opens everything that can fail, in order, then starts the threads; and reads the configuration again.
//!
//! Nothing is accepted before all of it worked. On reload the new configuration is compiled completely before it is
//! swapped in, and the old one stays on any mistake. Never retries. Bound: the configuration.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::worker::{self, Listening};
use super::{Phase, Server, background};
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
use crate::listen::tls::{CertificateError, Store};
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
    let listening = listen(config, &certificates)?;
    let addresses = listening.first().map_or(Vec::new(), |sockets| {
        sockets.iter().filter_map(|l: &Listening| l.socket.local_addr().ok()).collect()
    });
    let admin = admin_socket(config)?;
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
    let readiness = Arc::new(Readiness::starting());
    let (phase, watched) = watch::channel(Phase::Running);
    let mut server = Server {
        addresses,
        admin: admin.as_ref().and_then(|socket| socket.local_addr().ok()),
        source,
        readiness: Arc::clone(&readiness),
        workers: Vec::with_capacity(config.workers),
        background: None,
        journal: Some(journal),
        drain: config.timeouts.drain,
        shared: Arc::clone(&shared),
        phase,
    };
    let background = background::Background {
        shared: Arc::clone(&shared),
        readiness: Arc::clone(&readiness),
        admin,
        certificates,
    };
    server.background = Some(background::spawn(background, watched.clone()).map_err(StartError::Thread)?);
    for (index, ((listening, recorder), metrics)) in
        listening.into_iter().zip(recorders).zip(handles).enumerate()
    {
        let worker = worker::spawn(index, Arc::clone(&shared), listening, recorder, metrics, watched.clone());
        server.workers.push(worker.map_err(StartError::Thread)?);
    }
    readiness.clear(NotReady::Starting);
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
    let cookies = match cookie_policy(&config) {
        Ok(cookies) => cookies,
        Err(error) => {
            tracing::error!(%error, "the old configuration stays in force");
            shared.status.refused();
            return;
        }
    };
    let old = shared.snapshot.load();
    let until = match observe_until(&config, &old.config.records.dir, clock::now()) {
        Ok(until) => until,
        Err(error) => {
            tracing::error!(%error, "the old configuration stays in force");
            shared.status.refused();
            return;
        }
    };
    warn_of_fixed(&old.config, &config);
    let hosts = hosts(&config);
    shared.certificates.iter().for_each(|store| store.set_hosts(hosts.clone()));
    shared.admission.set_limits(config.limits.connections, config.limits.connections_per_client);
    let assessor = old.assessor.reconfigured(&config.risk, until);
    // The data folder stays where it was at start, whatever the file says now.
    let mut config = config;
    config.records.dir.clone_from(&old.config.records.dir);
    shared.snapshot.store(Arc::new(Snapshot::new(config, cookies, assessor, &shared.metrics)));
    shared.status.reloaded(clock::now());
    tracing::info!("configuration reloaded");
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
    let listeners = |c: &Config| c.listeners.iter().map(|l| (l.address, l.tls.is_some())).collect::<Vec<_>>();
    if listeners(old) != listeners(new)
        || old.workers != new.workers
        || old.admin.address != new.admin.address
    {
        tracing::warn!("listeners, workers and the admin address change only with a new process");
    }
    // What a start opens once, told by section. Comparing what is printed spares an `Eq` that nothing else needs.
    let fixed = |c: &Config| {
        let records = (&c.records.dir, c.records.durability, c.records.group_commit, c.records.file_bytes);
        let sizes =
            (c.records.ring_bytes, c.records.max_bytes, c.records.hold, &c.records.node, c.risk.memory_bytes);
        format!("{records:?} {sizes:?} {:?} {:?}", c.geoip, c.timeouts.drain)
    };
    if fixed(old) != fixed(new) {
        tracing::warn!(
            "records (but query_values), geoip, risk.memory_bytes and timeouts.drain change only with a new process"
        );
    }
    let names =
        |c: &Config| c.sites.iter().filter_map(|site| site.hosts.first().cloned()).collect::<Vec<_>>();
    if names(old) != names(new) {
        tracing::warn!(
            "consent is bound to the first host of a site: visitors of a site whose first host changed choose again; \
             figures of new hosts stand under _other until a new process"
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

/// The listening sockets of each worker, in the order of the configuration.
fn listen(config: &Config, certificates: &[Option<Arc<Store>>]) -> Result<Vec<Vec<Listening>>, StartError> {
    let mut workers: Vec<Vec<Listening>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut inherited = socket::inherited()
        .map_err(|source| StartError::Listen { address: config.listeners[0].address, source })?;
    for (listener, tls) in config.listeners.iter().zip(certificates) {
        let failed = |source| StartError::Listen { address: listener.address, source };
        let given = inherited.iter().position(|(address, _)| *address == listener.address);
        let sockets = match given {
            Some(index) => socket::share(&inherited.swap_remove(index).1, config.workers),
            None => socket::bind_all(listener.address, config.workers),
        };
        for (worker, socket) in workers.iter_mut().zip(sockets.map_err(failed)?) {
            worker.push(Listening { socket, tls: tls.clone() });
        }
    }
    for (address, _) in inherited {
        tracing::warn!(%address, "a socket was handed over that no listener in the configuration uses");
    }
    Ok(workers)
}

fn admin_socket(config: &Config) -> Result<Option<std::net::TcpListener>, StartError> {
    let Some(address) = config.admin.address else { return Ok(None) };
    // Shared like the others, so that a second process can take over during an upgrade.
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
