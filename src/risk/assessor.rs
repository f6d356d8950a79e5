//! The one door to risk: from a visit to an assessment and an action.
//!
//! Looks up the place itself, so that nobody else needs the purpose. Synchronous; reads no body; never tells a place to
//! anything but the record's `fraud` section, by way of [`Located`]. Bound: `risk.memory_bytes`.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::{Method, StatusCode};

use super::action::{Action, Actions, Applied, decide_action};
use super::memory::{Counted, Facts, Kind, MemoryStats, SharedMemory};
use super::pages;
use super::score::Assessment;
use super::shared::SharedNetworks;
use super::signal::Caps;
use super::travel::Origin;
use super::velocity::Answer;
use super::{Located, SecurityPurpose};
use crate::clock::Timestamp;
use crate::config;
use crate::consent::Gate;
use crate::geo::{Databases, LookupCache};
use crate::identify::address::ClientAddress;
use crate::identify::visitor::Visitor;

/// Judges visits. Shared by all threads.
pub struct Assessor {
    purpose: SecurityPurpose,
    memory: Arc<SharedMemory>,
    actions: Actions,
    caps: Caps,
    logins: Gate,
    /// Statuses of a failed login.
    failed: Vec<RangeInclusive<u16>>,
    shared: SharedNetworks,
    observe_until: Option<Timestamp>,
}

/// One request, as far as risk looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Who asks.
    pub address: ClientAddress,
    /// Whose cookie came with the request, or was given for it.
    pub visitor: Option<Visitor>,
    /// The method.
    pub method: &'a Method,
    /// The path without the query.
    pub path: &'a str,
    /// `User-Agent`. Only hashed, only where a visitor without a cookie is denied or many share the address.
    pub user_agent: Option<&'a [u8]>,
}

/// What came of one visit.
#[derive(Debug)]
pub struct Assessed {
    /// Level, score and signals.
    pub assessment: Assessment,
    /// What is to be done.
    pub applied: Applied,
    /// The place, for the record's `fraud` section.
    pub located: Located,
    /// Whether the databases were really asked, and not the connection's cache: then count
    /// `kelisim_geo_lookups_total` by [`crate::geo::place::Place::country_lookup`] and `asn_lookup`.
    pub asked: bool,
    counts: Counts,
}

/// What the site's answer to a visit is counted for. Only an assessed visit has it.
struct Counts {
    counted: Counted,
    subject: Option<u64>,
    login: bool,
}

impl Assessed {
    /// Whether many share the address, as the configuration says: then nothing is counted of the address by itself.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.counts.counted, Counted::Shared(_))
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts(..)")
    }
}

impl Assessor {
    /// An assessor with an empty memory. `observe_until`: see [`super::observe`]; without it `deny` never acts.
    #[must_use]
    pub fn new(config: &config::Risk, observe_until: Option<Timestamp>, now: Timestamp) -> Self {
        Self::with_memory(config, observe_until, Arc::new(SharedMemory::new(config.memory_bytes, now)))
    }

    /// The assessor of a new configuration, with the memory of this one. The memory keeps its size.
    #[must_use]
    pub fn reconfigured(&self, config: &config::Risk, observe_until: Option<Timestamp>) -> Self {
        Self::with_memory(config, observe_until, Arc::clone(&self.memory))
    }

    /// Locates and judges one visit, remembers it, and says what to do. Takes two short locks, a third where `deny`
    /// is configured.
    pub fn assess(
        &self,
        now: Timestamp,
        databases: &Databases,
        cache: &mut LookupCache,
        visit: &Visit<'_>,
    ) -> Assessed {
        let (found, asked) = cache.locate(databases, &self.purpose, visit.address);
        let place = found.place;
        let located = Located::new(found, SecurityPurpose(()));
        let counted = self.counted(visit, place.asn(&self.purpose));
        let facts = Facts {
            counted,
            subject: self.subject_key(visit),
            origin: Origin {
                country: place.country_code(&self.purpose),
                asn: place.asn(&self.purpose),
                category: place.category(&self.purpose),
                // Half of the hash is enough to tell nine networks apart.
                net: self.memory.hash_net(Kind::Network, visit.address.net()) as u32,
            },
            login: self.is_login(visit),
            page: self.page_of(visit, counted),
        };
        let assessment = self.memory.assess(now, &facts, &self.caps);
        let applied = decide_action(&assessment, &self.actions, self.observe_until, now);
        let applied = self.refuse(applied, &facts, visit, now);
        let counts = Counts { counted, subject: facts.subject, login: facts.login };
        Assessed { assessment, applied, located, asked, counts }
    }

    /// Counts the site's answer to a visit: failed logins, refused paths. `path` is that of the visit. Not for answers
    /// of our own.
    pub fn observe_answer(&self, now: Timestamp, assessed: &Assessed, path: &[u8], status: StatusCode) {
        let Counts { counted, subject, login } = assessed.counts;
        let is_failed = |statuses: &RangeInclusive<u16>| statuses.contains(&status.as_u16());
        let failed_login = login && self.failed.iter().any(is_failed);
        let refused = status.is_client_error();
        if !failed_login && !refused {
            return;
        }
        let answer = Answer {
            failed_login,
            auth_failure: matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            refused_path: refused.then(|| self.memory.hash_path(path)),
        };
        self.memory.observe_answer(now, counted, subject, answer);
    }

    /// Fill of the memory, for the metrics.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        self.memory.stats()
    }

    fn with_memory(
        config: &config::Risk,
        observe_until: Option<Timestamp>,
        memory: Arc<SharedMemory>,
    ) -> Self {
        Self {
            purpose: SecurityPurpose(()),
            memory,
            actions: config.actions,
            caps: Caps::new(&config.off, &config.caps),
            logins: Gate::new(&config.login_paths),
            failed: config.failed_login_statuses.clone(),
            shared: SharedNetworks::new(&config.shared_networks, &config.shared_asns),
            observe_until,
        }
    }

    /// A refusal lasts: it is looked up before, and begun by, the action `deny`.
    fn refuse(&self, applied: Applied, facts: &Facts, visit: &Visit<'_>, now: Timestamp) -> Applied {
        let acts = self.actions.denies() && self.observe_until.is_some_and(|until| now >= until);
        if !acts {
            return applied;
        }
        let key = facts.subject.unwrap_or_else(|| self.agent_key(visit));
        let left = match self.memory.denied_for(key, now) {
            Some(left) => left,
            None if applied.action == Action::Deny => self.memory.deny(key, now),
            None => return applied,
        };
        Applied { action: Action::Deny, would_have: None, retry_after: Some(left) }
    }

    fn is_login(&self, visit: &Visit<'_>) -> bool {
        // As the site may read it: `//login` and `/%6cogin` are attempts too.
        visit.method == Method::POST && self.logins.requires(visit.path)
    }

    fn counted(&self, visit: &Visit<'_>, asn: Option<u32>) -> Counted {
        if self.shared.contain(visit.address.ip(), asn) {
            Counted::Shared(self.agent_key(visit))
        } else {
            Counted::Alone(self.memory.hash_net(Kind::Address, visit.address.subscriber()))
        }
    }

    fn page_of(&self, visit: &Visit<'_>, counted: Counted) -> Option<u64> {
        let counts = matches!(counted, Counted::Alone(_)) && pages::is_page(visit.method, visit.path);
        counts.then(|| self.memory.hash_path(visit.path.as_bytes()))
    }

    fn agent_key(&self, visit: &Visit<'_>) -> u64 {
        self.memory.hash(Kind::AddressAndAgent, (visit.address.subscriber(), visit.user_agent))
    }

    fn subject_key(&self, visit: &Visit<'_>) -> Option<u64> {
        let visitor = visit.visitor.filter(Visitor::returned)?;
        Some(self.memory.hash(Kind::Subject, visitor.id))
    }
}

impl fmt::Debug for Assessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assessor")
            .field("actions", &self.actions)
            .field("caps", &self.caps)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{CountryDatabase, Geoip, Risk};
    use crate::identify::visitor::VisitorKeys;
    use crate::risk::{Level, SignalName};

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

    struct Bench {
        assessor: Assessor,
        databases: Databases,
        keys: VisitorKeys,
        _data: tempfile::TempDir,
    }

    fn bench(actions: Actions, observe_until: Option<Timestamp>) -> Bench {
        bench_of(&Risk { actions, ..risk() }, observe_until)
    }

    fn risk() -> Risk {
        Risk {
            actions: Actions::default(),
            off: Vec::new(),
            caps: Vec::new(),
            observe_days: None,
            login_paths: vec!["/login".to_owned()],
            failed_login_statuses: vec![401..=401, 403..=403],
            shared_networks: Vec::new(),
            shared_asns: Vec::new(),
            visitor_cookie: true,
            memory_bytes: 0,
        }
    }

    fn bench_of(risk: &Risk, observe_until: Option<Timestamp>) -> Bench {
        let geoip = Geoip {
            country: CountryDatabase::Shipped,
            asn: None,
            check_every: Duration::from_secs(60),
            headers: None,
        };
        let data = tempfile::tempdir().unwrap();
        Bench {
            assessor: Assessor::new(risk, observe_until, NOW),
            databases: Databases::open(&geoip, NOW).unwrap().0,
            keys: VisitorKeys::load_or_create(data.path()).unwrap(),
            _data: data,
        }
    }

    #[test]
    fn no_spelling_of_a_login_path_is_not_counted() {
        let bench = bench(Actions::default(), None);
        for path in ["/login", "//login", "/%6cogin", "/x/../login", "/login/step2"] {
            let attempt = Visit { path, ..visit("8.8.8.8", None, &Method::POST) };
            assert!(bench.assessor.is_login(&attempt), "{path}");
        }
        assert!(!bench.assessor.is_login(&Visit { path: "/", ..visit("8.8.8.8", None, &Method::POST) }));
    }

    impl Bench {
        fn returning(&self) -> Visitor {
            let header = self.keys.issue(NOW, true).1;
            let text = header.to_str().unwrap().strip_prefix("kelisim_vid=").unwrap();
            self.keys.verify(text.split(';').next().unwrap().as_bytes(), NOW).unwrap()
        }

        fn visit(&self, ip: &str, visitor: Option<Visitor>, method: &Method, after: u64) -> Assessed {
            let now = NOW.plus(Duration::from_secs(after));
            self.assessor.assess(
                now,
                &self.databases,
                &mut LookupCache::default(),
                &visit(ip, visitor, method),
            )
        }

        /// A visit that the site answers so; what the next one would be.
        fn answered(&self, ip: &str, method: &Method, status: u16) -> Level {
            let assessed = self.visit(ip, None, method, 0);
            let status = StatusCode::from_u16(status).unwrap();
            self.assessor.observe_answer(NOW, &assessed, b"/login", status);
            self.velocity(ip, "/a.css")
        }

        fn velocity(&self, ip: &str, path: &str) -> Level {
            let visit = Visit { path, ..visit(ip, None, &Method::GET) };
            let cache = &mut LookupCache::default();
            let assessed = self.assessor.assess(NOW, &self.databases, cache, &visit);
            assessed.assessment.signals.get(SignalName::Velocity)
        }
    }

    fn visit<'a>(ip: &str, visitor: Option<Visitor>, method: &'a Method) -> Visit<'a> {
        let address = ClientAddress::from_resolved(ip.parse().unwrap());
        Visit { address, visitor, method, path: "/login", user_agent: Some(b"Mozilla/5.0") }
    }

    #[test]
    fn a_session_in_two_countries_is_noticed_with_the_default_files() {
        let bench = bench(Actions::default(), None);
        let visitor = Some(bench.returning());
        let first = bench.visit("8.8.8.8", visitor, &Method::GET, 0);
        assert_eq!(first.assessment, Assessment::default());
        let (purpose, place) = first.located.evidence();
        assert_eq!(place.country(purpose), Some("US"));
        let second = bench.visit("77.88.55.88", visitor, &Method::GET, 60);
        assert_eq!(second.assessment.signals.get(SignalName::CountryHop), Level::Low);
        assert_eq!(second.assessment.signals.get(SignalName::SessionSpread), Level::Low);
        assert_eq!((second.assessment.score, second.assessment.level), (20, Level::Low));
        assert!(!format!("{second:?}").contains("RU"));
    }

    #[test]
    fn a_visitor_who_was_just_given_a_cookie_is_not_remembered() {
        let bench = bench(Actions::default(), None);
        let given = bench.keys.issue(NOW, true).0;
        bench.visit("8.8.8.8", Some(given), &Method::GET, 0);
        assert_eq!(bench.assessor.stats().subjects, 0);
        bench.visit("8.8.8.8", Some(bench.returning()), &Method::GET, 0);
        assert_eq!(bench.assessor.stats().subjects, 1);
    }

    #[test]
    fn logins_and_their_failures_need_method_path_and_status() {
        let bench = bench(Actions::default(), None);
        let last = |ip: &str, method: &Method, status: u16, count: usize| {
            (0..count).fold(Level::None, |_, _| bench.answered(ip, method, status))
        };
        assert_eq!(last("192.0.2.1", &Method::POST, 200, 10), Level::None);
        assert_eq!(last("192.0.2.2", &Method::GET, 401, 5), Level::None);
        assert_eq!(last("192.0.2.3", &Method::POST, 403, 2), Level::Low);
        assert_eq!(last("192.0.2.3", &Method::POST, 401, 9), Level::High);
    }

    #[test]
    fn a_failed_login_may_have_any_status_and_is_no_failure_of_authentication_then() {
        let bench = bench_of(&Risk { failed_login_statuses: vec![200..=200, 302..=303], ..risk() }, None);
        let last = |ip: &str, method: &Method, status: u16, count: usize| {
            (0..count).fold(Level::None, |_, _| bench.answered(ip, method, status))
        };
        assert_eq!(last("192.0.2.1", &Method::POST, 200, 6), Level::Medium);
        assert_eq!(last("192.0.2.2", &Method::POST, 303, 6), Level::Medium);
        assert_eq!(last("192.0.2.3", &Method::GET, 200, 20), Level::None, "no attempt");
        assert_eq!(last("192.0.2.4", &Method::POST, 401, 5), Level::None, "not a failed login here");
        assert_eq!(last("192.0.2.4", &Method::POST, 401, 1), Level::Medium, "but still a refusal");
    }

    #[test]
    fn pages_are_counted_by_their_path_and_files_are_not() {
        let bench = bench(Actions::default(), None);
        let last = |ip: &str, name: fn(u32) -> String| {
            (0..60).fold(Level::None, |_, n| bench.velocity(ip, &name(n)))
        };
        assert_eq!(last("192.0.2.1", |n| format!("/news/{n}")), Level::Medium);
        assert_eq!(last("192.0.2.2", |n| format!("/img/{n}.png")), Level::None);
        assert_eq!(last("192.0.2.3", |n| format!("/{}", n % 30)), Level::None);
        assert_eq!(bench.assessor.stats().pages, 2, "who asks for files alone takes no room");
        assert_eq!(bench.assessor.stats().addresses, 0);
    }

    #[test]
    fn nothing_of_a_shared_address_is_counted_by_itself() {
        let shared_networks = vec!["192.0.2.0/24".parse().unwrap()];
        let bench = bench_of(&Risk { shared_networks, ..risk() }, None);
        (0..60).for_each(|_| assert_eq!(bench.answered("192.0.2.1", &Method::POST, 401), Level::None));
        (0..60).for_each(|n| assert_eq!(bench.velocity("192.0.2.1", &format!("/{n}")), Level::None));
        let stats = bench.assessor.stats();
        assert_eq!((stats.addresses, stats.pages, stats.crowds), (0, 0, 1));
        (0..40).for_each(|_| assert_eq!(bench.answered("192.0.2.1", &Method::POST, 200), Level::None));
        let last = bench.visit("192.0.2.1", None, &Method::POST, 0);
        assert_eq!(last.assessment.signals.get(SignalName::Velocity), Level::Medium);
        assert!(last.is_shared() && !bench.visit("8.8.8.8", None, &Method::GET, 0).is_shared());
    }

    #[test]
    fn a_session_counts_its_logins_wherever_it_is() {
        let shared_networks = vec!["192.0.2.0/24".parse().unwrap()];
        let bench = bench_of(&Risk { shared_networks, ..risk() }, None);
        let visitor = Some(bench.returning());
        let mut level = Level::None;
        for _ in 0..12 {
            let assessed = bench.visit("192.0.2.1", visitor, &Method::POST, 0);
            level = assessed.assessment.signals.get(SignalName::Velocity);
            bench.assessor.observe_answer(NOW, &assessed, b"/login", StatusCode::FORBIDDEN);
        }
        assert_eq!(level, Level::High);
    }

    #[test]
    fn a_denial_lasts_and_then_ends() {
        let actions = Actions { high: Action::Deny, ..Actions::default() };
        let bench = bench(actions, Some(NOW));
        let flood = |after: u64| {
            (0..20).for_each(|_| _ = bench.visit("8.8.8.8", None, &Method::POST, after));
            bench.visit("8.8.8.8", None, &Method::POST, after)
        };
        let denied = flood(0).applied;
        assert_eq!(denied.action, Action::Deny);
        assert_eq!(denied.retry_after, Some(Duration::from_secs(600)));
        let later = bench.visit("8.8.8.8", None, &Method::GET, 599).applied;
        assert_eq!((later.action, later.retry_after), (Action::Deny, Some(Duration::from_secs(1))));
        let other = bench.visit("8.8.4.4", None, &Method::GET, 599).applied;
        assert_eq!(other.action, Action::Observe);
        let over = bench.visit("8.8.8.8", None, &Method::GET, 1800).applied;
        assert_eq!(over.action, Action::Observe);
        assert_eq!(flood(1800).applied.retry_after, Some(Duration::from_secs(1200)), "twice as long");
    }

    #[test]
    fn nothing_is_denied_while_observing() {
        let actions = Actions { high: Action::Deny, ..Actions::default() };
        let bench = bench(actions, Some(NOW.plus(Duration::from_secs(1000))));
        (0..30).for_each(|_| _ = bench.visit("8.8.8.8", None, &Method::POST, 0));
        let last = bench.visit("8.8.8.8", None, &Method::POST, 0);
        assert_eq!((last.applied.action, last.applied.would_have), (Action::Observe, Some(Action::Deny)));
        assert_eq!(bench.assessor.stats().denied, 0);
    }

    #[test]
    fn a_new_configuration_keeps_the_memory() {
        let bench = bench(Actions::default(), None);
        bench.visit("8.8.8.8", Some(bench.returning()), &Method::GET, 0);
        let risk = Risk {
            actions: Actions { low: Action::Tag, ..Actions::default() },
            off: vec![SignalName::Velocity],
            login_paths: Vec::new(),
            ..risk()
        };
        assert_eq!(bench.assessor.reconfigured(&risk, None).stats().subjects, 1);
    }

    #[test]
    fn a_cap_holds_from_the_configuration_on_that_has_it() {
        let mut bench = bench(Actions::default(), None);
        let attempt = |bench: &Bench| bench.visit("192.0.2.1", None, &Method::POST, 0).assessment;
        let last = (0..30).fold(Assessment::default(), |_, _| attempt(&bench));
        assert_eq!((last.level, last.score), (Level::High, 70));
        let caps = vec![(SignalName::Velocity, Level::Medium)];
        bench.assessor = bench.assessor.reconfigured(&Risk { caps, ..risk() }, None);
        assert_eq!((attempt(&bench).level, attempt(&bench).score), (Level::Low, 25));
        let off = vec![SignalName::Velocity];
        bench.assessor = bench.assessor.reconfigured(&Risk { off, ..risk() }, None);
        assert_eq!(attempt(&bench), Assessment::default());
        bench.assessor = bench.assessor.reconfigured(&risk(), None);
        assert_eq!(attempt(&bench).level, Level::High);
    }

    #[test]
    fn the_databases_are_asked_once_per_connection() {
        let bench = bench(Actions::default(), None);
        let mut cache = LookupCache::default();
        let visit = visit("8.8.8.8", None, &Method::GET);
        let mut asked = || bench.assessor.assess(NOW, &bench.databases, &mut cache, &visit).asked;
        assert_eq!((asked(), asked()), (true, false));
    }
}
