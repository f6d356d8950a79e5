//! How fast one address does things: logins, failed logins, refused paths.
//!
//! Rates are taken over two fixed windows; leaky buckets count distinct paths. Addresses are counted exactly until
//! their bytes are used, then rates go to a sketch whose verdicts are capped at medium, and buckets are not judged.
//! No body is read, no path and no address is kept. Bound: the bytes given to [`Addresses::with_bytes`].

use super::bounded::BoundedMap;
use super::leaky::{Distinct, Leaky};
use super::memory::Tick;
use super::signal::Level;
use super::sketch::Sketch;

/// Events in the current and the previous window.
#[derive(Clone, Copy, Default)]
pub(super) struct Window {
    index: Tick,
    previous: u16,
    current: u16,
}

impl Window {
    pub(super) fn add(&mut self, now: Tick, length: Tick) {
        self.roll(now / length);
        self.current = self.current.saturating_add(1);
    }

    /// `previous · (1 − elapsed part) + current`, in events per window.
    pub(super) fn rate(&mut self, now: Tick, length: Tick) -> f32 {
        self.roll(now / length);
        let elapsed = (now % length) as f32 / length as f32;
        f32::from(self.previous) * (1.0 - elapsed) + f32::from(self.current)
    }

    fn roll(&mut self, index: Tick) {
        match index.saturating_sub(self.index) {
            0 => return,
            1 => self.previous = self.current,
            _ => self.previous = 0,
        }
        self.current = 0;
        self.index = index;
    }
}

/// Rates above which a level begins; `f32::INFINITY` where there is none.
#[derive(Clone, Copy)]
pub(super) struct Threshold {
    pub(super) low: f32,
    pub(super) medium: f32,
    pub(super) high: f32,
}

impl Threshold {
    pub(super) fn judge(&self, rate: f32) -> Level {
        if rate > self.high {
            Level::High
        } else if rate > self.medium {
            Level::Medium
        } else if rate > self.low {
            Level::Low
        } else {
            Level::None
        }
    }
}

/// What is counted for one address.
#[derive(Clone, Copy, Default)]
struct Counters {
    logins: Window,
    failed: Window,
    refused: Distinct,
    auth: Leaky,
    last: Tick,
}

/// What is counted for all addresses. Keys are keyed hashes.
#[derive(Clone)]
pub(super) struct Addresses {
    table: BoundedMap<Counters>,
    sketch: Option<Sketch>,
}

/// An answer of the site, as far as it is counted.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    /// A login attempt was answered as failed ones are.
    pub(super) failed_login: bool,
    /// The status is 401 or 403.
    pub(super) auth_failure: bool,
    /// Keyed hash of the path, when the status is 4xx.
    pub(super) refused_path: Option<u64>,
}

impl Addresses {
    /// Bytes of the table; the sketch comes on top with [`Sketch::BYTES`].
    pub(super) fn with_bytes(bytes: usize) -> Self {
        Self { table: BoundedMap::with_bytes(bytes), sketch: None }
    }

    /// Counts a login attempt, if the request is one, and judges the address.
    pub(super) fn observe(&mut self, key: u64, login: bool, now: Tick) -> Level {
        if login {
            match self.counters(key, now) {
                Some(counters) => counters.logins.add(now, WINDOW),
                None => self.sketch().add(login_key(key), now, WINDOW),
            }
        }
        match self.table.get_mut(key) {
            Some(counters) => counters.judge(now),
            None => self.sketch.as_mut().map_or(Level::None, |sketch| {
                let logins = LOGINS.judge(sketch.rate(login_key(key), now, WINDOW));
                let failed = FAILED.judge(sketch.rate(failed_key(key), now, WINDOW));
                logins.max(failed).min(Level::Medium)
            }),
        }
    }

    /// Counts an answer.
    pub(super) fn observe_answer(&mut self, key: u64, answer: Answer, now: Tick) {
        match self.counters(key, now) {
            Some(counters) => counters.count(answer, now),
            None if answer.failed_login => self.sketch().add(failed_key(key), now, WINDOW),
            None => {}
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.table.capacity()
    }

    pub(super) const fn sketch_in_use(&self) -> bool {
        self.sketch.is_some()
    }

    /// The exact counters, in the place of an address idle for two windows if need be; `None` when there is no room.
    fn counters(&mut self, key: u64, now: Tick) -> Option<&mut Counters> {
        let idle = |counters: &Counters| counters.last.saturating_add(2 * WINDOW) < now;
        let counters = self.table.get_or_replace(key, idle, Counters::default)?;
        counters.last = now;
        Some(counters)
    }

    fn sketch(&mut self) -> &mut Sketch {
        self.sketch.get_or_insert_with(Sketch::new)
    }
}

impl Counters {
    fn judge(&mut self, now: Tick) -> Level {
        let above = |level: f32, limit: f32| if level > limit { Level::Medium } else { Level::None };
        let logins = LOGINS.judge(self.logins.rate(now, WINDOW));
        let failed = FAILED.judge(self.failed.rate(now, WINDOW));
        let refused = above(self.refused.drip(now, LEAK), REFUSED_PATHS);
        let auth = above(self.auth.drip(now, LEAK), AUTH_FAILURES);
        logins.max(failed).max(refused).max(auth)
    }

    fn count(&mut self, answer: Answer, now: Tick) {
        if answer.failed_login {
            self.failed.add(now, WINDOW);
        }
        if answer.auth_failure {
            self.auth.drip(now, LEAK);
            self.auth.add();
        }
        if let Some(path) = answer.refused_path {
            self.refused.add(path, now, LEAK);
        }
    }
}

const fn login_key(key: u64) -> u64 {
    key
}

/// Another key for the same address; multiplying by an odd number loses nothing, the shift mixes the low bits.
const fn failed_key(key: u64) -> u64 {
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// Ten minutes.
const WINDOW: Tick = 600;
/// Login attempts per address and window (AWS ATP).
const LOGINS: Threshold = Threshold { low: 10.0, medium: 15.0, high: 20.0 };
/// Failed logins per address and window (AWS ATP).
const FAILED: Threshold = Threshold { low: 1.0, medium: 5.0, high: 10.0 };
/// Distinct refused paths in the bucket of an address (CrowdSec).
const REFUSED_PATHS: f32 = 10.0;
/// Authentication failures in the bucket of an address (CrowdSec).
const AUTH_FAILURES: f32 = 5.0;
/// Seconds until one event leaks out of either bucket.
const LEAK: f32 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tick = 600_000;

    fn room() -> Addresses {
        Addresses::with_bytes(1 << 16)
    }

    fn refused(path: u64) -> Answer {
        Answer { failed_login: false, auth_failure: false, refused_path: Some(path) }
    }

    #[test]
    fn login_attempts_rise_through_the_levels() {
        let mut addresses = room();
        let levels: Vec<_> = (0..21).map(|_| addresses.observe(1, true, T)).collect();
        assert_eq!(levels[9], Level::None);
        assert_eq!(levels[10], Level::Low);
        assert_eq!(levels[15], Level::Medium);
        assert_eq!(levels[20], Level::High);
        assert_eq!(addresses.observe(2, false, T), Level::None, "another address");
        assert_eq!(addresses.observe(1, false, T + WINDOW + 300), Level::Low, "half of 21 is left");
        assert_eq!(addresses.observe(1, false, T + 2 * WINDOW), Level::None);
    }

    #[test]
    fn failed_logins_count_more() {
        let mut addresses = room();
        let failed = Answer { failed_login: true, auth_failure: false, refused_path: None };
        let mut levels = Vec::new();
        for _ in 0..11 {
            addresses.observe_answer(1, failed, T);
            levels.push(addresses.observe(1, false, T));
        }
        assert_eq!(
            (levels[0], levels[1], levels[5], levels[10]),
            (Level::None, Level::Low, Level::Medium, Level::High)
        );
    }

    #[test]
    fn distinct_refused_paths_fill_a_bucket_that_leaks() {
        let mut addresses = room();
        for _ in 0..100 {
            addresses.observe_answer(1, refused(5), T);
        }
        assert_eq!(addresses.observe(1, false, T), Level::None, "one path, many times");
        for path in 0..11 {
            addresses.observe_answer(1, refused(path), T);
        }
        assert_eq!(addresses.observe(1, false, T), Level::Medium);
        assert_eq!(addresses.observe(1, false, T + 10), Level::None, "one has leaked out");
        addresses.observe_answer(1, refused(5), T + 1000);
        let bucket = &mut addresses.table.get_mut(1).unwrap().refused;
        assert!(bucket.drip(T + 1000, LEAK) > 0.0, "the set was emptied with the bucket");
    }

    #[test]
    fn authentication_failures_fill_another() {
        let mut addresses = room();
        let auth = Answer { failed_login: false, auth_failure: true, refused_path: None };
        for _ in 0..6 {
            addresses.observe_answer(1, auth, T);
        }
        assert_eq!(addresses.observe(1, false, T), Level::Medium);
        assert_eq!(addresses.observe(1, false, T + 10), Level::None);
    }

    #[test]
    fn a_full_table_hands_over_to_the_sketch_capped_at_medium() {
        let mut addresses = Addresses::with_bytes(2000);
        let capacity = addresses.capacity() as u64;
        for key in 0..capacity {
            addresses.observe(key.wrapping_mul(failed_key(1)), true, T);
        }
        assert!(!addresses.sketch_in_use());
        let newcomer = 0x0123_4567_89ab_cdef;
        let level = (0..100).map(|_| addresses.observe(newcomer, true, T)).last();
        assert_eq!(level, Some(Level::Medium));
        assert!(addresses.sketch_in_use());
        assert_eq!(addresses.len() as u64, capacity);
        let later = T + 3 * WINDOW;
        (0..21).for_each(|_| {
            addresses.observe(newcomer, true, later);
        });
        assert_eq!(
            addresses.observe(newcomer, false, later),
            Level::High,
            "exact again in an idle one's place"
        );
    }

    #[test]
    fn a_clock_that_steps_back_changes_no_window() {
        let mut window = Window::default();
        (0..5).for_each(|_| window.add(T, WINDOW));
        assert!(window.rate(T - 1, WINDOW) >= 5.0);
        (0..70_000).for_each(|_| window.add(T, WINDOW));
        assert!(window.rate(T, WINDOW) >= f32::from(u16::MAX), "saturates");
    }
}
