//! One session in many networks at once, and its logins.
//!
//! The best signal that a gateway has: it needs no city and little memory. Keeps keyed hashes only. Bound: nine values
//! per axis, since more than eight is already high.

use super::memory::Tick;
use super::signal::Level;
use super::velocity::{Threshold, Window};

/// What is told apart. The discriminant is the axis' place in [`Spread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Network,
    Country,
    Asn,
}

/// Distinct values per axis within the last five minutes.
#[derive(Clone, Copy, Default)]
pub(super) struct Spread {
    axes: [Slots; 3],
    last: Tick,
}

#[derive(Clone, Copy, Default)]
struct Slots {
    values: [u32; SLOTS],
    /// Low 16 bits of the second last seen. Unambiguous: an entry is looked at, and dropped, before it is 2·`WITHIN` old.
    seen: [u16; SLOTS],
    used: u8,
}

impl Spread {
    /// Notes the values of one request and judges all axes. `None`: not known, not counted.
    pub(super) fn observe(&mut self, values: [(Axis, Option<u32>); 3], now: Tick) -> Level {
        if now.saturating_sub(self.last) >= WITHIN {
            self.axes = Default::default();
        }
        self.last = self.last.max(now);
        let mut level = Level::None;
        for (axis, value) in values {
            let slots = &mut self.axes[axis as usize];
            slots.forget(now);
            if let Some(value) = value {
                slots.note(value, now);
            }
            level = level.max(axis.threshold().judge(f32::from(slots.used)));
        }
        level
    }
}

impl Axis {
    /// AWS Bot Control; for ASN one step above: a hand-over from Wi-Fi to mobile is two.
    const fn threshold(self) -> Threshold {
        match self {
            Self::Network => Threshold { low: 2.0, medium: 5.0, high: 8.0 },
            Self::Country => Threshold { low: 1.0, medium: 2.0, high: 3.0 },
            Self::Asn => Threshold { low: 2.0, medium: 3.0, high: 4.0 },
        }
    }
}

impl Slots {
    fn forget(&mut self, now: Tick) {
        let mut kept = 0;
        for index in 0..usize::from(self.used) {
            if u32::from((now as u16).wrapping_sub(self.seen[index])) < WITHIN {
                self.values[kept] = self.values[index];
                self.seen[kept] = self.seen[index];
                kept += 1;
            }
        }
        self.used = kept as u8;
    }

    fn note(&mut self, value: u32, now: Tick) {
        let used = usize::from(self.used);
        let index = match self.values[..used].iter().position(|&known| known == value) {
            Some(index) => index,
            None if used < SLOTS => {
                self.used += 1;
                used
            }
            // Full is high already: the longest unseen makes room.
            None => (0..SLOTS).max_by_key(|&i| (now as u16).wrapping_sub(self.seen[i])).unwrap_or(0),
        };
        self.values[index] = value;
        self.seen[index] = now as u16;
    }
}

/// Logins of one session.
#[derive(Clone, Copy, Default)]
pub(super) struct Logins {
    attempts: Window,
    failed: Window,
    /// Since when there has been a login attempt at least every half hour; with `last`, 0 before the first.
    since: Tick,
    last: Tick,
}

impl Logins {
    /// Counts a login attempt.
    pub(super) fn attempt(&mut self, now: Tick) {
        self.attempts.add(now, WINDOW);
        if self.last == 0 || now.saturating_sub(self.last) > WINDOW {
            self.since = now;
        }
        self.last = now;
    }

    /// Counts a failed one.
    pub(super) fn fail(&mut self, now: Tick) {
        self.failed.add(now, WINDOW);
    }

    /// Judges them.
    pub(super) fn judge(&mut self, now: Tick) -> Level {
        let attempts = ATTEMPTS.judge(self.attempts.rate(now, WINDOW));
        let failed = FAILED.judge(self.failed.rate(now, WINDOW));
        let goes_on = now.saturating_sub(self.last) <= WINDOW;
        let long = goes_on && self.last.saturating_sub(self.since) > LONG;
        attempts.max(failed).max(if long { Level::High } else { Level::None })
    }
}

/// Values kept per axis.
const SLOTS: usize = 9;
/// Five minutes.
const WITHIN: Tick = 300;
/// Half an hour.
const WINDOW: Tick = 1800;
/// Six hours of logging in again and again (AWS ATP).
const LONG: Tick = 6 * 3600;
/// Login attempts per session and window (AWS ATP).
const ATTEMPTS: Threshold = Threshold { low: f32::INFINITY, medium: f32::INFINITY, high: 20.0 };
/// Failed logins per session and window (AWS ATP).
const FAILED: Threshold = Threshold { low: 1.0, medium: 5.0, high: 10.0 };

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tick = 1_800_000;

    fn values(network: u32, country: u32, asn: u32) -> [(Axis, Option<u32>); 3] {
        [(Axis::Network, Some(network)), (Axis::Country, Some(country)), (Axis::Asn, Some(asn))]
    }

    fn levels(make: impl Fn(u32) -> [(Axis, Option<u32>); 3]) -> Vec<Level> {
        let mut spread = Spread::default();
        (1..=12).map(|n| spread.observe(make(n), T + n)).collect()
    }

    #[test]
    fn each_axis_has_its_thresholds() {
        use Level::{High, Low, Medium, None};
        assert_eq!(
            levels(|n| values(n, 1, 1))[..9],
            [None, None, Low, Low, Low, Medium, Medium, Medium, High]
        );
        assert_eq!(levels(|n| values(1, n, 1))[..4], [None, Low, Medium, High]);
        assert_eq!(levels(|n| values(1, 1, n))[..5], [None, None, Low, Medium, High]);
        assert_eq!(levels(|n| values(n, 1, 1))[11], High, "full slots");
    }

    #[test]
    fn the_window_slides() {
        let mut spread = Spread::default();
        assert_eq!(spread.observe(values(1, 1, 1), T), Level::None);
        assert_eq!(spread.observe(values(1, 2, 1), T + 150), Level::Low);
        assert_eq!(spread.observe(values(1, 2, 1), T + 299), Level::Low);
        assert_eq!(spread.observe(values(1, 2, 1), T + 300), Level::None);
    }

    #[test]
    fn a_value_of_days_ago_is_not_taken_for_fresh() {
        let mut spread = Spread::default();
        spread.observe(values(1, 1, 1), T);
        assert_eq!(spread.observe(values(2, 2, 2), T + 65_536), Level::None);
    }

    #[test]
    fn what_is_not_known_is_not_counted() {
        let mut spread = Spread::default();
        for n in 0..20 {
            let unknown = [(Axis::Network, Some(1)), (Axis::Country, None), (Axis::Asn, None)];
            assert_eq!(spread.observe(unknown, T + n), Level::None);
        }
    }

    #[test]
    fn logins_of_a_session() {
        let mut logins = Logins::default();
        (0..20).for_each(|_| logins.attempt(T));
        assert_eq!(logins.judge(T), Level::None);
        logins.attempt(T);
        assert_eq!(logins.judge(T), Level::High);

        let mut logins = Logins::default();
        let levels: Vec<_> = (0..11)
            .map(|_| {
                logins.fail(T);
                logins.judge(T)
            })
            .collect();
        assert_eq!(
            (levels[0], levels[1], levels[5], levels[10]),
            (Level::None, Level::Low, Level::Medium, Level::High)
        );
    }

    #[test]
    fn six_hours_of_logins_are_too_long_unless_there_was_a_pause() {
        let every = |step: Tick| {
            let mut logins = Logins::default();
            let mut level = Level::None;
            for now in (T..T + 7 * 3600).step_by(step as usize) {
                logins.attempt(now);
                level = level.max(logins.judge(now));
            }
            level
        };
        assert_eq!(every(1700), Level::High);
        assert_eq!(every(1900), Level::None);
    }
}
