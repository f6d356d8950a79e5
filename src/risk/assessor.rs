//! The one door to risk: from a visit to an assessment and an action.
//!
//! Looks up the place itself, so that nobody else needs the purpose. Synchronous; reads no body; never tells a place to
//! anything but the record's `fraud` section, by way of [`Located`]. Bound: `risk.memory_bytes`.

use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode};

use super::action::{Action, Actions, Applied, decide_action};
use super::memory::{Facts, Kind, MemoryStats, SharedMemory};
use super::score::Assessment;
use super::signal::SignalName;
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
    off: Vec<SignalName>,
    logins: Gate,
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
    /// `User-Agent`. Only hashed, only where a visitor without a cookie is denied.
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
        let facts = Facts {
            address: self.address_key(visit),
            subject: self.subject_key(visit),
            origin: Origin {
                country: place.country_code(&self.purpose),
                asn: place.asn(&self.purpose),
                category: place.category(&self.purpose),
                // Half of the hash is enough to tell nine networks apart.
                net: self.memory.hash_net(Kind::Network, visit.address.net()) as u32,
            },
            login: self.is_login(visit),
        };
        let assessment = self.memory.assess(now, &facts, &self.off);
        let applied = decide_action(&assessment, &self.actions, self.observe_until, now);
        let applied = self.refuse(applied, &facts, visit, now);
        Assessed { assessment, applied, located, asked }
    }

    /// Counts the site's answer to a visit: failed logins, refused paths. Not for answers of our own.
    pub fn observe_answer(&self, now: Timestamp, visit: &Visit<'_>, status: StatusCode) {
        if !status.is_client_error() {
            return;
        }
        let auth_failure = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let answer = Answer {
            failed_login: auth_failure && self.is_login(visit),
            auth_failure,
            refused_path: Some(self.memory.hash(Kind::Path, visit.path)),
        };
        self.memory.observe_answer(now, self.address_key(visit), self.subject_key(visit), answer);
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
            off: config.off.clone(),
            logins: Gate::new(&config.login_paths),
            observe_until,
        }
    }

    /// A refusal lasts: it is looked up before, and begun by, the action `deny`.
    fn refuse(&self, applied: Applied, facts: &Facts, visit: &Visit<'_>, now: Timestamp) -> Applied {
        let acts = self.actions.denies() && self.observe_until.is_some_and(|until| now >= until);
        if !acts {
            return applied;
        }
        let key = facts.subject.unwrap_or_else(|| {
            self.memory.hash(Kind::AddressAndAgent, (visit.address.subscriber(), visit.user_agent))
        });
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

    fn address_key(&self, visit: &Visit<'_>) -> u64 {
        self.memory.hash_net(Kind::Address, visit.address.subscriber())
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
            .field("off", &self.off)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{CountryDatabase, Geoip, Risk};
    use crate::identify::visitor::VisitorKeys;
    use crate::risk::Level;

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

    struct Bench {
        assessor: Assessor,
        databases: Databases,
        keys: VisitorKeys,
        _data: tempfile::TempDir,
    }

    fn bench(actions: Actions, observe_until: Option<Timestamp>) -> Bench {
        let geoip =
            Geoip { country: CountryDatabase::Shipped, asn: None, check_every: Duration::from_secs(60) };
        let risk = Risk {
            actions,
            off: Vec::new(),
            observe_days: None,
            login_paths: vec!["/login".to_owned()],
            visitor_cookie: true,
            memory_bytes: 0,
        };
        let data = tempfile::tempdir().unwrap();
        Bench {
            assessor: Assessor::new(&risk, observe_until, NOW),
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
        let level = || bench.visit("8.8.8.8", None, &Method::GET, 0).assessment.level;
        let answer = |method: &Method, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            bench.assessor.observe_answer(NOW, &visit("8.8.8.8", None, method), status);
        };
        (0..50).for_each(|_| answer(&Method::POST, 200));
        (0..5).for_each(|_| answer(&Method::GET, 401));
        assert_eq!(level(), Level::None);
        (0..11).for_each(|_| answer(&Method::POST, 403));
        assert_eq!(level(), Level::High);
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
            observe_days: None,
            login_paths: Vec::new(),
            visitor_cookie: true,
            memory_bytes: 0,
        };
        assert_eq!(bench.assessor.reconfigured(&risk, None).stats().subjects, 1);
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
