//! Which endpoint gets a request.
//!
//! One after the other, or the one with the fewest requests in flight; ejected endpoints are passed over unless all
//! are, because a broken guess must not take a site down. Never waits. Bound: one pass over the endpoints.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::FailedBefore;
use super::counts::add_one;
use super::health::Admission;
use super::pool::Pool;
use crate::config::Balance;

/// The rule and its state.
pub(super) struct Balancer {
    rule: Balance,
    next: Cell<usize>,
    fail_open: Cell<u64>,
}

/// The endpoint picked.
pub(super) struct Pick {
    pub(super) endpoint: usize,
    pub(super) pool: Rc<Pool>,
    /// Ends the trial of an ejected endpoint, if this is one.
    _trial: Option<Trial>,
}

/// A trial of an ejected endpoint; over when dropped, so that a request that is cancelled does not block the next.
struct Trial(Rc<Pool>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.health.trial_over();
    }
}

impl Balancer {
    /// A balancer that begins with the first endpoint.
    pub(super) const fn new(rule: Balance) -> Self {
        Self { rule, next: Cell::new(0), fail_open: Cell::new(0) }
    }

    /// The rule.
    pub(super) const fn rule(&self) -> Balance {
        self.rule
    }

    /// How often every endpoint was ejected and one was used all the same, since this was asked last.
    pub(super) fn take_fail_open(&self) -> u64 {
        self.fail_open.take()
    }

    /// Picks one of `pools` but those in `except`. `None` if there is no other.
    pub(super) fn pick(&self, pools: &[Rc<Pool>], except: &[FailedBefore], now: Instant) -> Option<Pick> {
        if let Some((endpoint, admission)) = self.best(pools, except, |pool| pool.health.admits(now)) {
            let pool = Rc::clone(pools.get(endpoint)?);
            let trial = (admission == Admission::Trial).then(|| {
                pool.health.trial_begins();
                Trial(Rc::clone(&pool))
            });
            return Some(Pick { endpoint, pool, _trial: trial });
        }
        let (endpoint, _) = self.best(pools, except, |_| Admission::Open)?;
        // Only a first choice: where a request goes on to says nothing about those that it has tried.
        if except.is_empty() {
            add_one(&self.fail_open);
        }
        Some(Pick { endpoint, pool: Rc::clone(pools.get(endpoint)?), _trial: None })
    }

    fn best(
        &self,
        pools: &[Rc<Pool>],
        except: &[FailedBefore],
        admits: impl Fn(&Pool) -> Admission,
    ) -> Option<(usize, Admission)> {
        let start = self.next.get();
        let mut best: Option<(usize, Admission, usize)> = None;
        // The walk begins after the last pick, so that endpoints with equal load take turns as well.
        for step in 0..pools.len() {
            let index = (start + step) % pools.len();
            if except.iter().any(|failed| failed.endpoint == index) {
                continue;
            }
            let admission = admits(&pools[index]);
            let load = match (admission, self.rule) {
                (Admission::Ejected, _) => continue,
                // A trial is taken at once, or an endpoint without load would hide another that could come back.
                (Admission::Trial, _) | (_, Balance::RoundRobin) => 0,
                (Admission::Open, Balance::Least) => pools[index].load(),
            };
            let first = admission == Admission::Trial || self.rule == Balance::RoundRobin;
            if first || best.is_none_or(|(_, _, least)| load < least) {
                best = Some((index, admission, load));
            }
            if first {
                break;
            }
        }
        let (index, admission, _) = best?;
        self.next.set((index + 1) % pools.len());
        Some((index, admission))
    }
}
