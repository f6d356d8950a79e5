//! Reads the configuration again.
//!
//! Everything that can fail is opened first; then the new configuration is put in force at once. On any mistake the one in
//! force stays, whole. Never closes a connection. Bound: the configuration.

use std::sync::Arc;

use super::start::{StartError, cookie_policy, hosts, observe_until};
use super::{Source, certificates};
use crate::clock::{self, Timestamp};
use crate::config::{self, Config, ListenAddress};
use crate::consent::ConsentKeys;
use crate::cookies::CookiePolicy;
use crate::forward::SiteUpstream;
use crate::geo::Databases;
use crate::geo::disclosure::{self, Disclosure};
use crate::listen::tls::Prepared;
use crate::snapshot::{Shared, Snapshot};

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
    /// As they lie in the data folder now: they may have been rotated.
    consent_keys: ConsentKeys,
    observe_until: Option<Timestamp>,
    /// What threads share of the upstream sides; unchanged ones are those in use.
    upstreams: Vec<Arc<SiteUpstream>>,
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
            let with_tls = config.listeners.iter().filter_map(|l| Some((&l.address, l.tls.as_ref()?)));
            for ((address, files), store) in with_tls.zip(&shared.certificates) {
                let prepared = store.prepare(files, &hosts(config));
                let address = address.clone();
                certificates.push(prepared.map_err(|source| StartError::Certificate { address, source })?);
            }
        }
        Ok(Self {
            cookies: cookie_policy(config)?,
            consent_keys: ConsentKeys::load(&old.config.records.dir)?,
            observe_until: observe_until(config, &old.config.records.dir, clock::now())?,
            upstreams: SiteUpstream::load_all(&config.sites, &old.upstreams)?,
            geo,
            certificates,
        })
    }

    fn put_in_force(self, mut config: Config, shared: &Shared) {
        let old = shared.snapshot.load();
        warn_of_fixed((&shared.at_start, &old.config), &config);
        config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        crate::log::set_level(&config.log.level);
        let told = Disclosure::of(&config.geoip);
        if told != old.disclosure {
            disclosure::log(told.as_ref());
        }
        let hosts = hosts(&config);
        for (store, prepared) in shared.certificates.iter().zip(self.certificates) {
            if let Some(prepared) = prepared {
                store.set_files(prepared);
            }
        }
        shared.certificates.iter().for_each(|store| store.set_hosts(hosts.clone()));
        let doubts = certificates::warnings(&shared.certificates, &self.upstreams, clock::now());
        doubts.iter().for_each(|warning| tracing::warn!("{warning}"));
        shared.admission.set_limits(config.limits.connections, config.limits.connections_per_client);
        if let Some(geo) = self.geo {
            shared.geo.store(Arc::new(geo));
        }
        let assessor = old.assessor.reconfigured(&config.risk, self.observe_until);
        // Data folder and listeners stay as they were at start, whatever the file says now: later reloads compare with them.
        config.records.dir.clone_from(&old.config.records.dir);
        if listeners(&config) != listeners(&old.config) {
            config.listeners.clone_from(&old.config.listeners);
        }
        shared.snapshot.store(Arc::new(Snapshot::new(
            config,
            self.cookies,
            self.consent_keys,
            assessor,
            self.upstreams,
            &shared.metrics,
        )));
        shared.status.reloaded(clock::now());
        tracing::info!("configuration reloaded");
    }
}

/// What of a listener a reload cannot change.
fn listeners(config: &Config) -> Vec<(&ListenAddress, bool)> {
    config.listeners.iter().map(|l| (&l.address, l.tls.is_some())).collect()
}

/// Tells which changes need a new process: what the file says beside what runs, at every reload until the two agree.
fn warn_of_fixed((at_start, old): (&Config, &Config), new: &Config) {
    let keys = config::fixed::changed(at_start, new);
    if !keys.is_empty() {
        tracing::warn!(keys = keys.join(", "), "these keys change only with a new process");
    }
    if listeners(at_start) != listeners(new) {
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
