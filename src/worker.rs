//! What one worker thread owns.
//!
//! Its pools, its counters, its end of the journal and its connections. Never leaves its thread, so nothing here is
//! locked. Bound: that of its parts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::Notify;

use crate::admin::labels::{
    Applied, ConnectionState, ConsentOrigin, ConsentResult, GeoDatabase, GeoResult, Label as _, RiskAction,
    RiskLevel, RiskSignal,
};
use crate::admin::upstreams::Pools;
use crate::admin::worker::{Held, WorkerMetrics};
use crate::clock::Timestamp;
use crate::config;
use crate::consent::{self, Decision, Source, VersionId};
use crate::cookies::expire::Expirer;
use crate::cookies::parse::RequestCookies;
use crate::exchange::Exchange;
use crate::forward::{SiteUpstream, Upstreams};
use crate::geo::LookupCache;
use crate::geo::place::{Lookup, Place};
use crate::identify::ClientAddress;
use crate::identify::visitor::{self, VerifyCache, Visitor};
use crate::ingress::request_id::Ids;
use crate::listen::connection::{Connection, Phase};
use crate::record::access_log::AccessLog;
use crate::record::emit::Scratch;
use crate::respond::Body;
use crate::respond::nobody::Told;
use crate::risk::{self, Assessed, Visit};
use crate::snapshot::{Shared, Snapshot};
use crate::store::Recorder;

/// One worker thread's state.
pub struct Worker {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// This thread's end of the journal.
    pub recorder: Recorder,
    /// This thread's end of the access log.
    pub access_log: AccessLog,
    /// This thread's counters.
    pub metrics: Rc<WorkerMetrics>,
    /// Makes request ids.
    pub ids: Ids,
    /// Which cookies were expired for whom lately.
    pub expirer: RefCell<Expirer>,
    /// Visitor cookies verified lately.
    pub visitors: RefCell<VerifyCache>,
    /// What was told of requests that belong to no site.
    pub told: Told,
    /// Memory for encoding records.
    pub scratch: RefCell<Scratch>,
    places: RefCell<Box<[LookupCache]>>,
    /// The last value of `kelisim-consent` and what it says: most requests in a row say the same.
    consent_field: RefCell<Option<(ConsentSays, HeaderValue)>>,
    state: RefCell<Rc<State>>,
    connections: RefCell<HashMap<u64, Arc<Connection>>>,
    next_key: Cell<u64>,
    arriving: Cell<usize>,
    lingering: Cell<usize>,
    draining: Cell<bool>,
    closing: Cell<bool>,
    closed: Notify,
}

/// The snapshot in force with this thread's pools for it.
pub struct State {
    snapshot: Arc<Snapshot>,
    /// One per site, in the order of the configuration.
    pub upstreams: Vec<Rc<Upstreams>>,
}

impl Deref for State {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl State {
    /// Pools whose site did not change are taken from `old`, with their connections.
    fn new(snapshot: Arc<Snapshot>, old: &[Rc<Upstreams>]) -> Rc<Self> {
        let config::Config { sites, limits, timeouts, .. } = &snapshot.config;
        let pools = |(site, shared): (&config::Site, &Arc<SiteUpstream>)| {
            let kept = old.iter().find(|pools| pools.fits(site, shared, limits, timeouts));
            kept.map_or_else(|| Upstreams::new(site, Arc::clone(shared), limits, timeouts), Rc::clone)
        };
        let upstreams = sites.iter().zip(&snapshot.upstreams).map(pools).collect();
        Rc::new(Self { snapshot, upstreams })
    }
}

impl Worker {
    /// A worker without connections.
    #[must_use]
    pub fn new(shared: Arc<Shared>, recorder: Recorder, metrics: WorkerMetrics) -> Self {
        let state = State::new(shared.snapshot.load_full(), &[]);
        Self {
            shared,
            recorder,
            access_log: AccessLog::default(),
            metrics: Rc::new(metrics),
            ids: Ids::new(),
            expirer: RefCell::new(Expirer::new(EXPIRER_BYTES)),
            visitors: RefCell::default(),
            told: Told::default(),
            scratch: RefCell::default(),
            consent_field: RefCell::default(),
            places: RefCell::new((0..PLACES).map(|_| LookupCache::default()).collect()),
            state: RefCell::new(state),
            connections: RefCell::default(),
            next_key: Cell::new(0),
            arriving: Cell::new(0),
            lingering: Cell::new(0),
            draining: Cell::new(false),
            closing: Cell::new(false),
            closed: Notify::new(),
        }
    }

    /// The snapshot in force, with the pools for it. After a reload the pools of a site that changed end with their last
    /// request; the others stay.
    #[must_use]
    pub fn snapshot(&self) -> Rc<State> {
        let current = self.shared.snapshot.load();
        let mut state = self.state.borrow_mut();
        if !Arc::ptr_eq(&state.snapshot, &current) {
            *state = State::new(Arc::clone(&current), &state.upstreams);
        }
        Rc::clone(&state)
    }

    /// The visitor, if one of the cookies is genuine. The first genuine copy counts.
    #[must_use]
    pub fn visitor(&self, carried: &RequestCookies<'_>, now: Timestamp) -> Option<Visitor> {
        let mut cache = self.visitors.borrow_mut();
        carried
            .values_of(visitor::NAME.as_bytes())
            .take(MOST_COPIES)
            .find_map(|value| cache.verify(&self.shared.visitor_keys, value, now))
    }

    /// Counts a decision about advertising.
    pub fn count_decision(&self, decision: &Decision) {
        let source = match decision.source {
            Source::Own => ConsentOrigin::Own,
            Source::Gpc => ConsentOrigin::Gpc,
            Source::Dnt => ConsentOrigin::Dnt,
            Source::None => ConsentOrigin::None,
            Source::Tcf => ConsentOrigin::Tcf,
            Source::Gpp => ConsentOrigin::Gpp,
            Source::UsPrivacy => ConsentOrigin::UsPrivacy,
            Source::ConsentMode => ConsentOrigin::ConsentMode,
            // A banner by its name, one of the operator's entries without one.
            Source::Vendor(name) => {
                let named = |origin: &&ConsentOrigin| origin.label() == name;
                ConsentOrigin::ALL.iter().find(named).copied().unwrap_or(ConsentOrigin::Cookie)
            }
        };
        let result = match decision.result {
            consent::Outcome::Granted => ConsentResult::Granted,
            consent::Outcome::Denied => ConsentResult::Denied,
        };
        self.metrics.consent(result, source);
    }

    /// The value of `kelisim-consent` for a decision.
    #[must_use]
    pub fn consent_field(&self, decision: &Decision) -> HeaderValue {
        let says = (decision.result, decision.source, decision.policy_version);
        let mut last = self.consent_field.borrow_mut();
        match &*last {
            Some((said, value)) if *said == says => value.clone(),
            _ => last.insert((says, decision.header_value())).1.clone(),
        }
    }

    /// Locates the client for the risk signals, and judges the visit.
    #[must_use]
    pub fn assess(&self, exchange: &Exchange, parts: &Parts, now: Timestamp) -> Assessed {
        let visit = Visit {
            address: exchange.admitted.client,
            visitor: exchange.visitor,
            method: &parts.method,
            path: parts.uri.path(),
            user_agent: exchange.kept.user_agent(),
        };
        let mut places = self.places.borrow_mut();
        let place = place_of(exchange.admitted.client, places.len());
        let assessed =
            exchange.state.assessor.assess(now, &self.shared.geo.load(), &mut places[place], &visit);
        if assessed.asked {
            self.count_lookups(assessed.located.place());
        }
        self.count_assessment(&assessed);
        assessed
    }

    fn count_lookups(&self, place: &Place) {
        for (database, lookup) in
            [(GeoDatabase::Country, place.country_lookup()), (GeoDatabase::Asn, place.asn_lookup())]
        {
            match lookup {
                Lookup::Hit => self.metrics.geo_lookup(database, GeoResult::Hit),
                Lookup::Miss => self.metrics.geo_lookup(database, GeoResult::Miss),
                Lookup::Error => self.metrics.geo_lookup(database, GeoResult::Error),
                Lookup::Off => {}
            }
        }
    }

    fn count_assessment(&self, assessed: &Assessed) {
        self.metrics.risk_assessment(level_label(assessed.assessment.level));
        for (name, level) in assessed.assessment.signals.iter() {
            self.metrics.risk_signal(signal_label(name), level_label(level));
        }
        if let Some(action) = assessed.applied.would_have {
            self.metrics.risk_action(action_label(action), Applied::No);
        }
        if assessed.applied.action != risk::Action::Observe {
            self.metrics.risk_action(action_label(assessed.applied.action), Applied::Yes);
        }
    }

    /// Keeps the connection, or the tunnel that it became, reachable for a drain until the guard is dropped.
    #[must_use]
    pub fn register(self: &Rc<Self>, connection: &Arc<Connection>) -> Registered {
        let key = self.next_key.get();
        self.next_key.set(key.wrapping_add(1));
        self.connections.borrow_mut().insert(key, Arc::clone(connection));
        Registered { worker: Rc::clone(self), key }
    }

    /// Keeps the gauges of the pools up to date. Runs until dropped.
    pub async fn watch_pools(&self) {
        let mut state = self.snapshot();
        let mut figures: Vec<Pools> = Vec::new();
        loop {
            let current = self.snapshot();
            if !Rc::ptr_eq(&state, &current) {
                for (site, pools) in figures.iter_mut().enumerate() {
                    pools.update(&self.metrics, state.upstream_labels[site], &state.upstreams[site]);
                    pools.clear(&self.metrics, state.upstream_labels[site]);
                }
                figures.clear();
                state = current;
            }
            figures.resize_with(state.upstreams.len(), Pools::default);
            for (site, pools) in figures.iter_mut().enumerate() {
                let (label, upstreams) = (state.upstream_labels[site], &state.upstreams[site]);
                pools.update(&self.metrics, label, upstreams);
            }
            tokio::time::sleep(POOLS_EVERY).await;
        }
    }

    /// A connection was accepted and is not registered yet: until the guard is dropped a drain waits for it, for as long as
    /// it waits for idle connections.
    #[must_use]
    pub fn arriving(self: &Rc<Self>) -> Arriving {
        self.arriving.set(self.arriving.get() + 1);
        Arriving(Rc::clone(self))
    }

    /// A place for a connection that is read on after its last answer, unless `most` are.
    #[must_use]
    pub fn linger(&self, most: usize) -> Option<Lingering<'_>> {
        let now = self.lingering.get();
        if now >= most {
            return None;
        }
        self.lingering.set(now + 1);
        Some(Lingering { worker: self, _counted: self.metrics.hold_connection(ConnectionState::Lingering) })
    }

    /// Begins to end: HTTP/2 connections are told now which requests they still take, HTTP/1 connections with their next
    /// answer. Idle ones stay, since a request may be on its way: [`Worker::close_idle`].
    pub fn drain(&self) {
        self.draining.set(true);
        for connection in self.connections.borrow().values().filter(|c| c.multiplexed()) {
            connection.ask_to_close();
        }
    }

    /// In a drain, every answer is the last one of its connection.
    pub fn announce_end(&self, connection: &Connection, response: &mut Response<Body>) {
        if self.draining.get() {
            self.end_with(connection, response);
        }
    }

    /// Ends a connection with this answer, and tells the client in it: one that is closed without a word fails the
    /// client's next request. Whether nobody had ended it before.
    pub fn end_with(&self, connection: &Connection, response: &mut Response<Body>) -> bool {
        let first = connection.ask_to_close();
        if !connection.multiplexed() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        first
    }

    /// In a drain: closes connections that have waited for a request since `then` or longer, and no longer waits for
    /// arriving ones.
    pub fn close_idle(&self, then: Instant) {
        self.closing.set(true);
        for connection in self.connections.borrow().values() {
            let (phase, since) = connection.phase();
            if matches!(phase, Phase::First | Phase::Idle) && since <= then {
                connection.ask_to_close();
            }
        }
        self.closed.notify_one();
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Resolves when no connection is open, and none is arriving unless that has been waited for.
    pub async fn all_closed(&self) {
        while self.open_connections() > 0 || (self.arriving.get() > 0 && !self.closing.get()) {
            self.closed.notified().await;
        }
    }
}

/// A connection between accept and its first byte of HTTP.
pub struct Arriving(Rc<Worker>);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.arriving.set(self.0.arriving.get().saturating_sub(1));
        self.0.closed.notify_one();
    }
}

/// A connection that is read on after its last answer.
pub struct Lingering<'a> {
    worker: &'a Worker,
    _counted: Held,
}

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.worker.lingering.set(self.worker.lingering.get().saturating_sub(1));
    }
}

/// A connection's entry; leaves with it.
pub struct Registered {
    worker: Rc<Worker>,
    key: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.key);
        self.worker.closed.notify_one();
    }
}

/// What a value of `kelisim-consent` depends on.
type ConsentSays = (consent::Outcome, Source, VersionId);

/// Which of `n` places the look-up of this address is remembered in.
fn place_of(client: ClientAddress, n: usize) -> usize {
    let bits = match client.ip() {
        IpAddr::V4(four) => u64::from(four.to_bits()),
        IpAddr::V6(six) => (six.to_bits() >> 64) as u64 ^ six.to_bits() as u64,
    };
    // The upper half of the product depends on every bit of the address.
    (bits.wrapping_mul(GOLDEN_RATIO) >> 32) as usize % n.max(1)
}

const fn level_label(level: risk::Level) -> RiskLevel {
    match level {
        risk::Level::None => RiskLevel::None,
        risk::Level::Low => RiskLevel::Low,
        risk::Level::Medium => RiskLevel::Medium,
        risk::Level::High => RiskLevel::High,
    }
}

const fn signal_label(name: risk::SignalName) -> RiskSignal {
    match name {
        risk::SignalName::CountryHop => RiskSignal::CountryHop,
        risk::SignalName::SessionSpread => RiskSignal::SessionSpread,
        risk::SignalName::Velocity => RiskSignal::Velocity,
        risk::SignalName::NewCountry => RiskSignal::NewCountry,
        risk::SignalName::NewNetwork => RiskSignal::NewNetwork,
    }
}

const fn action_label(action: risk::Action) -> RiskAction {
    match action {
        risk::Action::Observe => RiskAction::Observe,
        risk::Action::Tag => RiskAction::Tag,
        risk::Action::Throttle => RiskAction::Throttle,
        risk::Action::Deny => RiskAction::Deny,
    }
}

/// How often the gauges of the pools are brought up to date.
const POOLS_EVERY: Duration = Duration::from_secs(1);
/// Copies of the visitor cookie that are looked at.
const MOST_COPIES: usize = 4;
/// Look-ups that each thread remembers; about 64 bytes each.
const PLACES: usize = 4096;
/// 2⁶⁴ divided by the golden ratio: multiplied by it, neighbours come to lie far apart.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
/// Memory of each thread for cookies that were expired lately.
const EXPIRER_BYTES: usize = 1 << 20;
