//! Figures of what all threads share: location databases, certificates, risk memory, rules for user agents.
//!
//! Reads them when the page is asked for. Never keeps what it shows alive. Bound: a handful of samples.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::labels::{Label, RiskPart};
use super::metrics as table;
use super::source::{Samples, Source};
use crate::agents::{self, AgentData};
use crate::geo::Role;
use crate::snapshot::Shared;

/// The figures of the rules for user agents.
impl Source for AgentData {
    fn collect(&self, out: &mut Samples) {
        let figures = &self.figures;
        for (result, figure) in [
            ("hit", &figures.hits),
            ("miss", &figures.misses),
            ("evicted", &figures.evicted),
            ("given_up", &figures.given_up),
            ("learned", &figures.learned),
        ] {
            out.counter(table::AGENT_CACHE, [result], figure.load(Relaxed));
        }
        out.counter(table::AGENT_COMPLETED, [], figures.completed.load(Relaxed));
        let data = self.in_force();
        for role in agents::Role::ALL {
            let (loaded, refused) = (&figures.loaded[role as usize], &figures.refused[role as usize]);
            out.counter(table::AGENT_DATA_LOADS, [role.label(), "ok"], loaded.load(Relaxed));
            out.counter(table::AGENT_DATA_LOADS, [role.label(), "error"], refused.load(Relaxed));
            let Some(counts) = data.counts(role) else { continue };
            out.gauge(table::AGENT_DATA_RULES, [role.label(), "used"], counts.rules as f64);
            out.gauge(table::AGENT_DATA_RULES, [role.label(), "unusable"], counts.unusable as f64);
            out.gauge(table::AGENT_DATA_BYTES, [role.label()], counts.bytes as f64);
        }
    }
}

/// The figures of the shared state.
#[derive(Debug)]
pub struct StateSource(Weak<Shared>);

impl StateSource {
    /// Watches without owning: the state owns the metrics.
    #[must_use]
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl Source for StateSource {
    fn collect(&self, out: &mut Samples) {
        let Some(shared) = self.0.upgrade() else { return };
        let databases = shared.geo.load();
        for role in [Role::Country, Role::Asn] {
            if let Some(database) = databases.get(role) {
                out.gauge(table::GEO_DB_BUILD, [role.label()], database.built() as f64);
            }
            let reloads = &shared.geo_reloads[role as usize];
            out.counter(table::GEO_DB_RELOADS, [role.label(), "ok"], reloads.ok.load(Relaxed));
            out.counter(table::GEO_DB_RELOADS, [role.label(), "error"], reloads.failed.load(Relaxed));
        }
        for store in &shared.certificates {
            // By the address that the configuration has.
            let listener = store.address.as_str();
            if let Some(facts) = store.current().facts {
                out.number(table::CERTIFICATE_EXPIRY.spec(), &[listener], facts.ends.as_secs() as f64);
            }
            for (result, count) in [("ok", &store.reloads.ok), ("error", &store.reloads.failed)] {
                let count = count.load(Relaxed) as f64;
                out.number(table::CERTIFICATE_RELOADS.spec(), &[listener, result], count);
            }
        }
        let risk = shared.snapshot.load().assessor.stats();
        for (part, entries, capacity) in [
            (RiskPart::Subjects, risk.subjects, risk.subject_capacity),
            (RiskPart::Counters, risk.addresses, risk.address_capacity),
            (RiskPart::Pages, risk.pages, risk.page_capacity),
            (RiskPart::Crowds, risk.crowds, risk.crowd_capacity),
        ] {
            out.gauge(table::RISK_ENTRIES, [part.label()], entries as f64);
            out.gauge(table::RISK_CAPACITY, [part.label()], capacity as f64);
        }
        out.counter(table::RISK_EVICTIONS, [RiskPart::Subjects.label()], risk.subject_evictions);
        out.gauge(table::RISK_SKETCHES, [], risk.sketches_in_use as f64);
    }
}
