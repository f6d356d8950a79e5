//! Which endpoints are taken for broken.
//!
//! Two judges, and each can eject an endpoint by itself. Real requests: five failures in a row eject for 10 s, then
//! 20 s, 40 s and at most 60 s; after that one request may try it, and its outcome decides. Health checks, where there
//! are any: as long as they say so. Never asks the time. Bound: six words.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::probe::Verdict;

/// What is thought of one endpoint by one thread.
#[derive(Default)]
pub(super) struct Health {
    /// What health checks say, the same for all threads.
    checks: Arc<Verdict>,
    failures: Cell<u32>,
    /// Ejected at least until then, and until a trial succeeds.
    until: Cell<Option<Instant>>,
    ejections: Cell<u32>,
    /// A trial request is under way.
    trying: Cell<bool>,
}

/// Whether an endpoint may have a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes.
    Open,
    /// One request may try it.
    Trial,
    /// No.
    Ejected,
}

impl Health {
    /// Nothing is held against the endpoint but what health checks say.
    pub(super) fn new(checks: Arc<Verdict>) -> Self {
        Self { checks, ..Self::default() }
    }

    /// Whether the endpoint may have a request now.
    pub(super) fn admits(&self, now: Instant) -> Admission {
        if self.checks.is_down() {
            return Admission::Ejected;
        }
        match self.until.get() {
            None => Admission::Open,
            Some(until) if now >= until && !self.trying.get() => Admission::Trial,
            Some(_) => Admission::Ejected,
        }
    }

    /// Whether the endpoint is ejected, a trial included.
    pub(super) fn is_ejected(&self) -> bool {
        self.until.get().is_some() || self.checks.is_down()
    }

    /// A trial begins. It ends with a verdict or with [`Self::trial_over`].
    pub(super) fn trial_begins(&self) {
        self.trying.set(true);
    }

    /// The trial ended, perhaps without a verdict; another may begin.
    pub(super) fn trial_over(&self) {
        self.trying.set(false);
    }

    /// The endpoint answered.
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
        self.until.set(None);
        self.ejections.set(0);
    }

    /// The endpoint could not be reached, closed without an answer, or said 502, 503 or 504. If that ejects it and nobody
    /// told of it lately: for how long.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        // While ejected only a failed trial counts; requests sent because nothing else is left say nothing new.
        let again = self.trying.replace(false);
        if again || (failures >= FAILURES && self.until.get().is_none()) {
            let ejections = self.ejections.get();
            let period = FIRST_EJECTION.saturating_mul(1 << ejections.min(8)).min(LONGEST_EJECTION);
            self.ejections.set(ejections.saturating_add(1));
            self.until.set(Some(now + period));
            return self.checks.tells(now).then_some(period);
        }
        None
    }
}

/// Failures in a row that eject.
pub(super) const FAILURES: u32 = 5;
/// The first ejection.
pub(super) const FIRST_EJECTION: Duration = Duration::from_secs(10);
/// The longest ejection.
const LONGEST_EJECTION: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn ejected(health: &Health, now: Instant) {
        for _ in 0..FAILURES {
            assert_eq!(health.admits(now), Admission::Open);
            health.failed(now);
        }
        assert_eq!(health.admits(now), Admission::Ejected);
    }

    #[test]
    fn a_success_forgets_failures() {
        let (health, now) = (Health::default(), clock::monotonic());
        for _ in 1..FAILURES {
            health.failed(now);
        }
        health.succeeded();
        health.failed(now);
        assert_eq!(health.admits(now), Admission::Open);
    }

    #[test]
    fn health_checks_eject_and_bring_back() {
        let (checks, now) = (Arc::<Verdict>::default(), clock::monotonic());
        let health = Health::new(Arc::clone(&checks));
        checks.set_down(true);
        assert_eq!(health.admits(now), Admission::Ejected);
        health.succeeded();
        assert!(health.is_ejected());
        checks.set_down(false);
        assert_eq!(health.admits(now), Admission::Open);
        // What requests found out stays.
        ejected(&health, now);
        checks.set_down(true);
        checks.set_down(false);
        assert_eq!(health.admits(now), Admission::Ejected);
    }

    #[test]
    fn one_trial_at_a_time() {
        let (health, now) = (Health::default(), clock::monotonic());
        ejected(&health, now);
        let later = now + FIRST_EJECTION;
        assert_eq!(health.admits(later), Admission::Trial);
        health.trial_begins();
        assert_eq!(health.admits(later), Admission::Ejected);
        health.trial_over();
        assert_eq!(health.admits(later), Admission::Trial);
        health.succeeded();
        assert_eq!(health.admits(now), Admission::Open);
    }

    #[test]
    fn an_ejection_is_told_once_a_minute_over_all_threads() {
        let (checks, now) = (Arc::<Verdict>::default(), clock::monotonic());
        let threads = [Health::new(Arc::clone(&checks)), Health::new(checks)];
        let told =
            |health: &Health, now| (0..FAILURES).filter_map(|_| health.failed(now)).collect::<Vec<_>>();
        assert_eq!(told(&threads[0], now), [FIRST_EJECTION]);
        assert!(told(&threads[1], now).is_empty());
        threads[1].succeeded();
        assert_eq!(told(&threads[1], now + Duration::from_secs(60)), [FIRST_EJECTION]);
    }

    #[test]
    fn ejections_double_up_to_a_minute() {
        let (health, mut now) = (Health::default(), clock::monotonic());
        ejected(&health, now);
        for expected in [10, 20, 40, 60, 60] {
            let due = now + Duration::from_secs(expected);
            assert_eq!(health.admits(due - Duration::from_millis(1)), Admission::Ejected, "{expected}");
            assert_eq!(health.admits(due), Admission::Trial, "{expected}");
            health.trial_begins();
            now = due;
            health.failed(now);
        }
    }
}
