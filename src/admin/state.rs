//! Figures of what all threads share: location databases, risk memory.
//!
//! Reads them when the page is asked for. Never keeps what it shows alive. Bound: a handful of samples.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::labels::{Label, RiskPart};
use super::metrics as table;
use super::source::{Samples, Source};
use crate::geo::Role;
use crate::snapshot::Shared;

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
        let risk = shared.snapshot.load().assessor.stats();
        let (subjects, counters) = (RiskPart::Subjects.label(), RiskPart::Counters.label());
        out.gauge(table::RISK_ENTRIES, [subjects], risk.subjects as f64);
        out.gauge(table::RISK_ENTRIES, [counters], risk.addresses as f64);
        out.gauge(table::RISK_CAPACITY, [subjects], risk.subject_capacity as f64);
        out.gauge(table::RISK_CAPACITY, [counters], risk.address_capacity as f64);
        out.counter(table::RISK_EVICTIONS, [subjects], risk.subject_evictions);
        out.gauge(table::RISK_SKETCHES, [], risk.sketches_in_use as f64);
    }
}
