//! Opens everything that can fail, in order, then starts the threads.
//!
//! Nothing is accepted before all of it worked. Never retries. Bound: the configuration.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use super::watchdog::Watchdog;
use super::worker::{self, Seat};
use super::{Phase, Server, background, certificates, files, handover, sockets};
use crate::admin::health::{NotReady, Readiness};
use crate::admin::journal::JournalSource;
use crate::admin::metrics::{LabelSpace, Metrics};
use crate::admin::process::ProcessSource;
use crate::admin::source::ConfigStatus;
use crate::admin::state::StateSource;
use crate::agents::{AgentData, Agents, Loader};
use crate::clock::{self, Timestamp};
use crate::config::{self, Config, ListenAddress};
use crate::consent::receipts::Receipts;
use crate::consent::{ConsentKeys, KeyError};
use crate::cookies::CookiePolicy;
use crate::cookies::catalogue::Catalogue;
use crate::cookies::rules::RuleProblem;
use crate::forward::SiteUpstream;
use crate::forward::tls::TlsError;
use crate::geo::disclosure::{self, Disclosure};
use crate::geo::{DatabaseError, Databases};
use crate::identify::{self, visitor::VisitorKeys};
use crate::ingress::rate::RateLimiter;
use crate::listen::admission::Admission;
use crate::listen::tls::{CertificateError, Store};
use crate::record::access_log::{self, AccessLog};
use crate::risk::{self, Assessor};
use crate::snapshot::{Shared, Snapshot};
use crate::store::holds::Holds;
use crate::store::lent;
use crate::store::segments::{Compactor, CompactorOptions};
use crate::store::{self, Journal, JournalOptions, Terms};

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
    /// The receipts of choices.
    #[error("the receipts of consent cannot be kept")]
    Receipts(#[source] io::Error),
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
        address: ListenAddress,
        /// Why.
        source: CertificateError,
    },
    /// TLS to a site's servers.
    #[error("TLS to an upstream cannot be set up")]
    UpstreamTls(#[from] TlsError),
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[from] store::StartError),
    /// A listening socket.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: ListenAddress,
        /// Why.
        source: io::Error,
    },
    /// The admin listener's socket.
    #[error(
        "cannot listen on {address}, which is admin.address (without a configuration file KELISIM_ADMIN__ADDRESS sets another, such as 127.0.0.1:0)"
    )]
    Admin {
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

impl StartError {
    /// Whether a file is at fault that the configuration names, and `kelisim check` tells.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::CookieRules { .. }
                | Self::Geo(_)
                | Self::Certificate { .. }
                | Self::UpstreamTls(_)
                | Self::AccessLog(_)
        )
    }
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
    for warning in config.warnings().into_iter().chain(warnings.iter().map(ToString::to_string)) {
        tracing::warn!("{warning}");
    }
    if let Some(told) = Disclosure::of(&config.geoip) {
        disclosure::log(Some(&told));
    }
    let opened = open_certificates(config)?;
    let access_log = access_log::Writer::start(&config.log, config.workers).map_err(StartError::AccessLog)?;
    let (access_log, access_logs) =
        access_log.map_or((None, Vec::new()), |(writer, ends)| (Some(writer), ends));
    let mut given = handover::ask(&data).unwrap_or_else(|error| {
        tracing::warn!(%error, "the gateway that runs on this data folder does not hand over its sockets");
        handover::Given::default()
    });
    // One that drains gives nothing any more, but lives.
    let succeeds =
        store::is_written(&data).map_err(|source| StartError::Data { path: data.clone(), source })?;
    let (listening, socket_files) = sockets::listen(config, &opened, &mut given, succeeds)?;
    let addresses = sockets::addresses(config, &listening);
    let admin = sockets::admin(config, &mut given, succeeds)?;
    let upstreams = SiteUpstream::load_all(&config.sites, &[])?;
    let stores: Vec<Arc<Store>> = opened.iter().flatten().cloned().collect();
    certificates::warnings(&stores, &upstreams, now).iter().for_each(|warning| tracing::warn!("{warning}"));
    // One more for the health checks.
    let (metrics, mut handles) = Metrics::new(&labels(config), config.workers + 1)?;
    let counting = handles.pop();
    let agents = Arc::<AgentData>::default();
    let options = JournalOptions::from_config(&config.records, config.workers);
    let enrich = Box::new(Agents::following(Arc::clone(&agents)));
    let (journal, recorders) = Journal::start_enriched(options, clock::now, enrich)?;
    let compactor = compactor(config, &journal, &agents)?;
    let keys = config.records.keys_dir();
    let receipts = Receipts::start(&data, &keys, config.consent.proof_term, clock::now);
    let receipts = receipts.map_err(StartError::Receipts)?;
    metrics.add_source(receipts.stats());
    let parts = Parts { cookies, geo, upstreams, receipts };
    let shared = Arc::new(shared(config, parts, &opened, &metrics, now)?);
    metrics.add_source(Arc::clone(&shared.status) as _);
    metrics.add_source(Arc::new(ProcessSource::new(now)));
    metrics.add_source(Arc::new(JournalSource {
        stats: journal.stats(),
        ring_bytes: (config.records.ring_bytes * config.workers) as u64,
        limit_bytes: config.records.max_bytes,
    }));
    metrics.add_source(journal.board());
    metrics.add_source(compactor.stats());
    metrics.add_source(Arc::new(StateSource::new(&shared)));
    metrics.add_source(Arc::clone(&agents) as _);
    let watched_files = Arc::clone(&shared);
    let agents = Loader::start(agents, move || {
        let records = &watched_files.snapshot.load().config.records;
        [records.user_agent_data.clone(), records.bot_data.clone()]
    })
    .map_err(StartError::Thread)?;
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
        _files: files::spawn(Arc::clone(&shared)).map_err(StartError::Thread)?,
        journal: Some(journal),
        compactor: Some(compactor),
        agents: Some(agents),
        access_log,
        watchdog: Watchdog::from_environment(config.workers),
        shared: Arc::clone(&shared),
        phase,
        socket_files,
        succeeded: Arc::default(),
    };
    let background = background::Background {
        shared: Arc::clone(&shared),
        readiness: Arc::clone(&readiness),
        admin,
        metrics: counting,
        traffic: sockets::clones(&listening, &server.socket_files),
        ready: accepting,
        succeeded: Arc::clone(&server.succeeded),
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
    if given.is_from_another() {
        tracing::info!("the listening sockets of another process were taken over; it can be told to end");
    }
    given.ready();
    // After that: whoever sees this process ready may end the other at once.
    readiness.clear(NotReady::Starting);
    // Only now: until here a successor had better ask the gateway before.
    let _ = accept_successors.send(());
    Ok(server)
}

/// What is opened before what all threads share can be made.
pub(super) struct Parts {
    pub(super) cookies: CookiePolicy,
    pub(super) geo: Databases,
    pub(super) upstreams: Vec<Arc<SiteUpstream>>,
    pub(super) receipts: Receipts,
}

/// What all threads share. Keys and the begin of the observation come from the data folder, which must be there.
///
/// # Errors
/// The first of them that cannot be used.
pub(super) fn shared(
    config: &Config,
    Parts { cookies, geo, upstreams, receipts }: Parts,
    certificates: &[Option<Arc<Store>>],
    metrics: &Arc<Metrics>,
    now: Timestamp,
) -> Result<Shared, StartError> {
    let data = &config.records.dir;
    tell_of_lost_keys(data);
    let until = observe_until(config, data, now)?;
    let assessor = Assessor::new(&config.risk, until, now);
    Ok(Shared {
        at_start: config.clone(),
        geo: ArcSwap::from_pointee(geo),
        geo_reloads: Default::default(),
        receipts,
        visitor_keys: VisitorKeys::load_or_create(data)?,
        admission: Admission::new(config.limits.connections, config.limits.connections_per_client),
        rates: RateLimiter::new(config.limits.rate_memory_bytes, clock::monotonic()),
        status: Arc::new(ConfigStatus::new(now)),
        certificates: certificates.iter().flatten().cloned().collect(),
        snapshot: ArcSwap::from_pointee(Snapshot::new(
            config.clone(),
            cookies,
            ConsentKeys::load_or_create(data)?,
            assessor,
            upstreams,
            metrics,
        )),
        metrics: Arc::clone(metrics),
    })
}

/// New keys of visitors are made where there are none. Where there were some, everybody's choice is void, or everybody is
/// a stranger: that must not happen in silence.
fn tell_of_lost_keys(data: &Path) {
    let is_there = |file: &str| data.join(file).metadata().is_ok_and(|file| file.len() > 0);
    let (consent, visitor) = (is_there(CONSENT_KEY), is_there(VISITOR_KEY));
    if !consent && (visitor || is_there("receipts/receipts.log")) {
        tracing::error!(
            file = CONSENT_KEY,
            "the key of consent is missing: a new one is made, and all visitors choose again; to keep their choices, stop, \
             restore the file and start"
        );
    }
    if !visitor && consent {
        tracing::error!(
            file = VISITOR_KEY,
            "the key of visitors is missing: a new one is made, and no browser is known; to know them, stop, restore the \
             file and start"
        );
    }
}

const CONSENT_KEY: &str = "keys/consent.key";
const VISITOR_KEY: &str = "keys/visitor.key";

/// Until when `deny` only observes: from the first start, or the first reload, with it.
pub(super) fn observe_until(
    config: &Config,
    data: &Path,
    now: Timestamp,
) -> Result<Option<Timestamp>, StartError> {
    if !config.risk.actions.denies() {
        return Ok(None);
    }
    let since = risk::observe::load_or_create(data, now)
        .map_err(|source| StartError::Data { path: data.to_owned(), source })?;
    Ok(config.risk.observe_days.map(|days| risk::observe::until(since, days)))
}

/// The catalogue with the operator's rules, and what is done by category.
pub(super) fn cookie_policy(config: &Config) -> Result<CookiePolicy, StartError> {
    let rules = config.cookies.rules.as_ref();
    let text = rules.map_or("", |file| file.text.as_str());
    let catalogue =
        Catalogue::with_consent_cookies(text, &config.consent.patterns()).map_err(|problems| {
            // Without a file the name of a consent cookie is at fault.
            let path = rules.map_or_else(|| PathBuf::from("consent.cookie"), |file| file.path.clone());
            StartError::CookieRules { path, problems }
        })?;
    Ok(CookiePolicy { catalogue, actions: config.cookies.actions, mode: config.cookies.mode })
}

fn listed(problems: &[RuleProblem]) -> String {
    let lines = problems
        .iter()
        .map(|p| format!("  line {}, column {}: {} ({})", p.line, p.column, p.message, p.hint));
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn open_certificates(config: &Config) -> Result<Vec<Option<Arc<Store>>>, StartError> {
    let hosts = hosts(config);
    let open = |(index, listener): (usize, &config::Listener)| {
        let Some(files) = &listener.tls else { return Ok(None) };
        Store::open(files.clone(), hosts.clone())
            .map(|store| Some(Arc::new(store.of_listener(index, listener.address.to_string()))))
            .map_err(|source| StartError::Certificate { address: listener.address.clone(), source })
    };
    config.listeners.iter().enumerate().map(open).collect()
}

/// The hosts of all sites.
pub(super) fn hosts(config: &Config) -> Vec<String> {
    config.sites.iter().flat_map(|site| site.hosts.iter().cloned()).collect()
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

/// The thread that destroys what is over, and makes segments if the configuration wants them.
fn compactor(config: &Config, journal: &Journal, agents: &Arc<AgentData>) -> Result<Compactor, StartError> {
    // What a killed `kelisim logs sql` left: nobody can read it, so it does not keep the gateway from starting.
    if let Err(error) = lent::sweep(&config.records.dir.join(lent::FOLDER)) {
        tracing::warn!(%error, "what an earlier `kelisim logs sql` left could not be removed");
    }
    let terms = Terms::from_config(&config.records);
    // Commands that erase read no configuration.
    let told = Holds::of(&terms).write(&config.records.dir);
    told.map_err(|source| StartError::Data { path: config.records.dir.clone(), source })?;
    let options = CompactorOptions {
        dir: config.records.dir.clone(),
        terms,
        max_bytes: config.records.max_bytes,
        segments: config.records.segments,
    };
    let complete = Box::new(Agents::following(Arc::clone(agents)));
    let compactor = Compactor::start(options, journal.keys(), journal.stats(), clock::now, Some(complete))
        .map_err(StartError::Thread)?;
    journal.tell_closed(compactor.thread());
    Ok(compactor)
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::fs::PermissionsExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // Not narrowed: it may be one that the operator shares. What lies in it is for its owner alone in any case.
    if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(folder = %path.display(), "others can look into the data folder; chmod 700 is enough for it");
    }
    Ok(())
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
