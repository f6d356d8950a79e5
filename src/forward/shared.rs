//! What all threads share of a site's upstream side: TLS to its endpoints, and what health checks say of them.
//!
//! Made when a configuration takes effect and kept over a reload that does not change it, so that connections, TLS
//! sessions and verdicts survive. Never holds a connection. Bound: the endpoints.

use std::sync::Arc;

use super::probe::Verdict;
use super::tls::{ClientTls, TlsError};
use crate::clock::Timestamp;
use crate::config;

/// The shared part of one site.
#[derive(Debug)]
pub struct SiteUpstream {
    endpoints: Vec<config::Endpoint>,
    protocol: config::Protocol,
    pub(super) health: Option<config::HealthCheck>,
    /// The name that health checks ask for.
    pub(super) host: String,
    pub(super) tls: Option<Arc<ClientTls>>,
    /// One for each endpoint; nobody changes them without health checks.
    pub(super) verdicts: Vec<Arc<Verdict>>,
}

impl SiteUpstream {
    /// Reads the files that TLS needs.
    ///
    /// # Errors
    /// A file that cannot be used, or a system without trusted certificates.
    pub fn load(site: &config::Site) -> Result<Arc<Self>, TlsError> {
        let tls = site.upstream_tls.as_ref().map(|tls| ClientTls::load(tls, site.protocol)).transpose()?;
        Ok(Arc::new(Self {
            endpoints: site.upstream.clone(),
            protocol: site.protocol,
            health: site.health.clone(),
            host: site.hosts.first().cloned().unwrap_or_default(),
            tls: tls.map(Arc::new),
            verdicts: site.upstream.iter().map(|_| Arc::default()).collect(),
        }))
    }

    /// The same for all sites of a configuration; what did not change is taken from `old`.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub fn load_all(sites: &[config::Site], old: &[Arc<Self>]) -> Result<Vec<Arc<Self>>, TlsError> {
        let load = |site| {
            let new = Self::load(site)?;
            Ok(old.iter().find(|old| old.same(&new)).map_or(new, Arc::clone))
        };
        sites.iter().map(load).collect()
    }

    /// What is doubtful about the certificate that its servers are shown: `index` is the site's in the configuration.
    #[must_use]
    pub fn warnings(&self, index: usize, now: Timestamp) -> Vec<String> {
        self.tls.as_ref().map_or_else(Vec::new, |tls| tls.warnings(index, now))
    }

    pub(super) fn endpoints(&self) -> &[config::Endpoint] {
        &self.endpoints
    }

    pub(super) const fn protocol(&self) -> config::Protocol {
        self.protocol
    }

    fn same(&self, other: &Self) -> bool {
        let tls = match (&self.tls, &other.tls) {
            (Some(ours), Some(theirs)) => ours.same(theirs),
            (None, None) => true,
            _ => false,
        };
        tls && self.endpoints == other.endpoints
            && self.protocol == other.protocol
            && self.health == other.health
            && self.host == other.host
    }
}
