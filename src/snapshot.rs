//! What all threads know: the configuration, compiled, and the state that outlives a reload.
//!
//! A request takes one [`Snapshot`] at its beginning and sees no other until its end. Never changes in place: a reload
//! makes a new one. Bound: the configuration.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::admin::metrics::Metrics;
use crate::admin::source::ConfigStatus;
use crate::config::{Config, CountryDatabase};
use crate::consent::receipts::Receipts;
use crate::consent::{ConsentKeys, Gate, SiteConsent};
use crate::cookies::CookiePolicy;
use crate::forward::SiteUpstream;
use crate::geo::Databases;
use crate::geo::disclosure::Disclosure;
use crate::identify::visitor::VisitorKeys;
use crate::ingress::host;
use crate::ingress::rate::RateLimiter;
use crate::listen::admission::Admission;
use crate::listen::tls::Store;
use crate::risk::Assessor;

/// The configuration, compiled into what a request needs.
#[derive(Debug)]
pub struct Snapshot {
    /// The configuration itself.
    pub config: Config,
    /// What the consent steps need of each site, in the order of the configuration.
    pub consent: Vec<SiteConsent>,
    /// Keys of the consent record.
    pub consent_keys: ConsentKeys,
    /// Rules and actions for cookies.
    pub cookies: CookiePolicy,
    /// What the site is told of where visitors are.
    pub disclosure: Option<Disclosure>,
    /// Judges visits; its memory outlives a reload.
    pub assessor: Assessor,
    /// Paths that are recorded durably before the site sees the request; read as widely as the policy gate is.
    pub record_first: Gate,
    /// The endpoints of each site as text, for records.
    pub endpoints: Vec<Vec<Box<str>>>,
    /// Which metric label each site's upstream has.
    pub upstream_labels: Vec<usize>,
    /// What all threads share of each site's upstream side.
    pub upstreams: Vec<Arc<SiteUpstream>>,
    hosts: HashMap<Box<str>, Served, RandomState>,
    trusted: Vec<IpNet>,
}

/// Where a host leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Index of the site.
    pub site: usize,
    /// Index of the host within the site.
    pub host: usize,
    /// The host's metric label; `None` is `_other`.
    pub label: Option<usize>,
}

impl Snapshot {
    /// Compiles a configuration. `upstreams` belong to its sites, one to one.
    #[must_use]
    pub fn new(
        config: Config,
        cookies: CookiePolicy,
        consent_keys: ConsentKeys,
        assessor: Assessor,
        upstreams: Vec<Arc<SiteUpstream>>,
        metrics: &Metrics,
    ) -> Self {
        let mut hosts = HashMap::default();
        for (site, of) in config.sites.iter().enumerate() {
            for (index, host) in of.hosts.iter().enumerate() {
                let served = Served { site, host: index, label: metrics.host_index(host) };
                // Look-ups are by name without brackets.
                let name = host.trim_start_matches('[').trim_end_matches(']');
                hosts.insert(name.into(), served);
            }
        }
        let consent = config
            .sites
            .iter()
            .map(|site| {
                let located = config.geoip.country != CountryDatabase::Off;
                SiteConsent::new(
                    site,
                    &config.consent,
                    (config.cookies.actions, config.cookies.mode),
                    located,
                )
            })
            .collect();
        let upstream_labels = config
            .sites
            .iter()
            .map(|site| {
                let name = site.hosts.first().map_or("", String::as_str);
                metrics.upstream_index(name, site.upstream.len()).unwrap_or_else(|| metrics.other_upstream())
            })
            .collect();
        let record_first = Gate::new(&config.records.record_before_forward);
        let endpoints = config
            .sites
            .iter()
            .map(|site| site.upstream.iter().map(|endpoint| endpoint.to_string().into()).collect())
            .collect();
        let trusted = config.sites.iter().flat_map(|site| site.trusted_proxies.iter().copied()).collect();
        let disclosure = Disclosure::of(&config.geoip);
        Self {
            config,
            consent,
            consent_keys,
            cookies,
            disclosure,
            assessor,
            endpoints,
            record_first,
            upstream_labels,
            upstreams,
            hosts,
            trusted,
        }
    }

    /// Where a host (lower case, without port) leads.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<Served> {
        self.hosts.get(name).copied()
    }

    /// Where `host[:port]` leads, in capitals or not.
    #[must_use]
    pub fn authority(&self, authority: &[u8]) -> Option<Served> {
        let mut name: SmallVec<[u8; 64]> = SmallVec::from_slice(host::parse(authority)?);
        name.make_ascii_lowercase();
        self.host(std::str::from_utf8(&name).ok()?)
    }

    /// The configured name of a host.
    #[must_use]
    pub fn host_name(&self, served: Served) -> &str {
        self.config
            .sites
            .get(served.site)
            .and_then(|site| site.hosts.get(served.host))
            .map_or("", String::as_str)
    }

    /// Whether this peer is a proxy that some site trusts: many visitors may share its address.
    #[must_use]
    pub fn is_trusted_peer(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&peer))
    }
}

/// How often a database was replaced, and how often a new file was refused.
#[derive(Debug, Default)]
pub struct Reloads {
    /// New files in use.
    pub ok: AtomicU64,
    /// New files refused.
    pub failed: AtomicU64,
}

/// What outlives a reload, shared by all threads.
#[derive(Debug)]
pub struct Shared {
    /// The configuration of the start: what a reload cannot change is as it says.
    pub at_start: Config,
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// Location databases, replaced when their files change.
    pub geo: ArcSwap<Databases>,
    /// How replacing them went, by [`crate::geo::Role`].
    pub geo_reloads: [Reloads; 2],
    /// Proof of every choice.
    pub receipts: Receipts,
    /// Keys of the visitor cookie.
    pub visitor_keys: VisitorKeys,
    /// The certificates of the listeners that have one.
    pub certificates: Vec<Arc<Store>>,
    /// Open connections.
    pub admission: Arc<Admission>,
    /// What clients are allowed of `site[].rate_limit`.
    pub rates: RateLimiter,
    /// All figures.
    pub metrics: Arc<Metrics>,
    /// How reloads went.
    pub status: Arc<ConfigStatus>,
}
