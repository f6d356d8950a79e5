//! How often one client may ask: `site[].rate_limit`, exact over all threads.
//!
//! The generic cell rate algorithm: a client has one number, the moment at which its allowance would be full again.
//! A client whose moment has passed is the same as one never seen, so forgetting it changes nothing; a client whose
//! moment is ahead is never forgotten, so no flood of addresses gives anybody a fresh allowance. Clients for whom there
//! is no place are judged by an estimate that they share: it can refuse too early, never let through too much. Keeps no
//! address, only hashes made with a secret of this process. Never allocates after the start. Bound:
//! `limits.rate_memory_bytes`.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::identify::ClientAddress;

/// A limit: so many requests in a time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that each request costs.
    interval: u64,
    /// Nanoseconds that may be owed.
    tolerance: u64,
}

/// What the limit says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How long this client must wait before a request passes; `None` if this one does.
    pub wait: Option<Duration>,
    /// Whether it rests on the shared estimate, since the memory had no place for this client.
    pub estimated: bool,
}

/// The allowances of all clients of all sites.
pub struct RateLimiter {
    /// Each lock is held for some dozen instructions, never two at once, never across an await.
    shards: Box<[Mutex<Shard>]>,
    seed: RandomState,
    base: Instant,
}

/// A part of the clients. Moments are nanoseconds since `base`.
struct Shard {
    /// Sets of [`WAYS`] places, each a key and a moment.
    places: Box<[u64]>,
    /// [`ROWS`] rows of moments, each at least as late as that of any client that shares it.
    estimates: Box<[u64]>,
    /// When every estimate has passed.
    estimates_end: u64,
}

impl Rate {
    /// `requests` (at least one) in the time `per` on average, and `burst` (at least one) at once.
    #[must_use]
    pub fn new(requests: u64, per: Duration, burst: u64) -> Self {
        let nanos = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: rather a request too few.
        let interval = nanos.div_ceil(requests.max(1)).clamp(1, MOST_NANOS);
        Self { interval, tolerance: interval.saturating_mul(burst.max(1)).min(MOST_NANOS) }
    }
}

impl RateLimiter {
    /// At most `bytes` of memory, of which nothing is resident before the first request of a site with a limit.
    #[must_use]
    pub fn new(bytes: usize, now: Instant) -> Self {
        let each = bytes / SHARDS;
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::with_bytes(each))).collect(),
            seed: RandomState::new(),
            base: now,
        }
    }

    /// Takes one request of a client out of its allowance for `site`, or says how long it must wait. A refused request
    /// costs nothing.
    pub fn check(&self, now: Instant, site: &str, client: ClientAddress, rate: Rate) -> Verdict {
        let key = self.seed.hash_one((site, client.subscriber()));
        let since = now.saturating_duration_since(self.base).as_nanos();
        // One more, so that a moment of 0 has always passed.
        let now = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        // The upper bits: the lower ones choose the set.
        let shard = &self.shards[(key >> 32) as usize % self.shards.len()];
        // Nothing panics while the lock is held.
        shard.lock().unwrap_or_else(PoisonError::into_inner).check(now, key, rate)
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RateLimiter(..)")
    }
}

impl Shard {
    fn with_bytes(bytes: usize) -> Self {
        let words = bytes / size_of::<u64>();
        let sets = (words / 4 * 3 / SET).max(1);
        let width = (words / 4 / ROWS).max(1);
        // Zeroed memory becomes resident where it is used.
        Self {
            places: vec![0; sets * SET].into_boxed_slice(),
            estimates: vec![0; width * ROWS].into_boxed_slice(),
            estimates_end: 0,
        }
    }

    fn check(&mut self, now: u64, key: u64, rate: Rate) -> Verdict {
        let place = self.place(now, key);
        let known = match place {
            Some((place, true)) => self.places[place + 1],
            // It may have asked while there was no place for it.
            _ if self.estimates_end > now => self.estimate(key),
            _ => 0,
        };
        let latest = now.saturating_add(rate.tolerance);
        // After a reload a stricter limit forgives what a laxer one let somebody owe.
        let moment = known.clamp(now, latest).saturating_add(rate.interval);
        let estimated = place.is_none();
        if moment > latest {
            return Verdict { wait: Some(Duration::from_nanos(moment - latest)), estimated };
        }
        match place {
            Some((place, _)) => (self.places[place], self.places[place + 1]) = (key, moment),
            None => self.raise(key, moment),
        }
        Verdict { wait: None, estimated }
    }

    /// The index of this key's place, with `true`; else of one whose client's moment has passed, with `false`.
    fn place(&self, now: u64, key: u64) -> Option<(usize, bool)> {
        let sets = self.places.len() / SET;
        let first = key as usize % sets * SET;
        let mut free = None;
        for place in (first..first + SET).step_by(2) {
            let (owner, moment) = (self.places[place], self.places[place + 1]);
            if owner == key {
                return Some((place, true));
            }
            if moment <= now && free.is_none() {
                free = Some((place, false));
            }
        }
        free
    }

    /// The earliest of the moments that this key shares with others: never before its own.
    fn estimate(&self, key: u64) -> u64 {
        self.cells(key).map(|cell| self.estimates[cell]).min().unwrap_or(0)
    }

    fn raise(&mut self, key: u64, moment: u64) {
        for cell in self.cells(key) {
            self.estimates[cell] = self.estimates[cell].max(moment);
        }
        self.estimates_end = self.estimates_end.max(moment);
    }

    /// One cell of each row. Rows take different bits of the key, mixed by an odd number.
    fn cells(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        let width = self.estimates.len() / ROWS;
        (0..ROWS).map(move |row| {
            let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(16 * row as u32);
            row * width + (mixed >> 32) as usize % width
        })
    }
}

/// Places in which one client can be: 128 bytes are searched.
const WAYS: usize = 8;
/// Words of a set.
const SET: usize = 2 * WAYS;
/// Cells by which a client without a place is estimated.
const ROWS: usize = 4;
/// Locks; threads seldom meet at one.
const SHARDS: usize = 16;
/// A year.
const MOST_NANOS: u64 = 365 * 86_400 * 1_000_000_000;

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
