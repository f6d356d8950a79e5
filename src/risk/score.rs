//! From signals to one level, with a memory that fades.
//!
//! A signal adds its points when it appears or rises, not once per request; points halve every fifteen minutes. Most
//! signals reach high only together. Bound: one number and one level per signal and subject.

use super::memory::Tick;
use super::signal::{Level, SignalName, Signals};

/// What is made of one request. Holds no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// The level that the score reaches.
    pub level: Level,
    /// 0 to 100.
    pub score: u8,
    /// What the score is made of: the signals that fired within the last fifteen minutes, each at its highest level.
    pub signals: Signals,
}

/// The score of one subject.
#[derive(Clone, Copy, Default)]
pub(super) struct Score {
    value: f32,
    at: Tick,
    /// When each signal fired last; 0 is never.
    fired: [Tick; SignalName::ALL.len()],
    /// The highest level of each signal since it was last quiet.
    active: Signals,
}

impl Score {
    /// Takes the signals of one request into account.
    pub(super) fn apply(&mut self, firing: &Signals, now: Tick) -> Assessment {
        let passed = now.saturating_sub(self.at) as f32;
        self.value *= (-passed / HALF_LIFE).exp2();
        self.at = self.at.max(now);
        for name in SignalName::ALL {
            self.take(name, firing.get(name), now);
        }
        // In bounds: the value is between 0 and 100.
        let score = self.value.round() as u8;
        Assessment { level: level_of(score), score, signals: self.active }
    }

    fn take(&mut self, name: SignalName, level: Level, now: Tick) {
        let fired = &mut self.fired[name as usize];
        if *fired == 0 || now.saturating_sub(*fired) >= QUIET {
            self.active.remove(name);
        }
        if level == Level::None {
            return;
        }
        *fired = now;
        let known = self.active.get(name);
        if level > known {
            self.value += points(level) - points(known);
            self.active.raise(name, level);
        }
        if level == Level::High && lifts(name) {
            self.value = self.value.max(HIGH.into());
        }
        self.value = self.value.min(100.0);
    }
}

const fn points(level: Level) -> f32 {
    match level {
        Level::None => 0.0,
        Level::Low => 10.0,
        Level::Medium => 25.0,
        Level::High => 50.0,
    }
}

/// Signals that reach level high by themselves.
const fn lifts(name: SignalName) -> bool {
    match name {
        SignalName::SessionSpread | SignalName::Velocity => true,
        SignalName::CountryHop | SignalName::NewCountry | SignalName::NewNetwork => false,
    }
}

const fn level_of(score: u8) -> Level {
    match score {
        HIGH.. => Level::High,
        MEDIUM.. => Level::Medium,
        LOW.. => Level::Low,
        _ => Level::None,
    }
}

const LOW: u8 = 20;
const MEDIUM: u8 = 40;
const HIGH: u8 = 70;
/// Fifteen minutes.
const HALF_LIFE: f32 = 900.0;
/// A signal that was quiet for so long adds its points anew.
const QUIET: Tick = 900;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::risk::signal::Caps;

    const T: Tick = 1_000_000;

    fn firing(list: &[(SignalName, Level)]) -> Signals {
        let mut signals = Signals::default();
        for (name, level) in list {
            signals.raise(*name, *level);
        }
        signals
    }

    #[test]
    fn a_signal_counts_once_and_rises_by_the_difference() {
        let mut score = Score::default();
        let low = firing(&[(SignalName::CountryHop, Level::Low)]);
        for n in 0..10 {
            assert_eq!(score.apply(&low, T + n).score, 10);
        }
        let medium = firing(&[(SignalName::CountryHop, Level::Medium)]);
        let assessment = score.apply(&medium, T + 10);
        assert_eq!((assessment.score, assessment.level), (25, Level::Low));
    }

    #[test]
    fn points_halve_and_come_back_after_quiet() {
        let mut score = Score::default();
        let low = firing(&[(SignalName::NewCountry, Level::Low)]);
        let none = Signals::default();
        score.apply(&low, T);
        assert!(!score.apply(&none, T + QUIET - 1).signals.is_empty(), "still a reason");
        let quiet = score.apply(&none, T + QUIET);
        assert_eq!((quiet.score, quiet.signals), (5, none));
        assert_eq!(score.apply(&low, T + QUIET).score, 15);
        assert_eq!(score.apply(&none, T + 100 * QUIET).score, 0);
    }

    #[test]
    fn only_spread_and_velocity_reach_high_alone() {
        for name in SignalName::ALL {
            let assessment = Score::default().apply(&firing(&[(name, Level::High)]), T);
            let alone = matches!(name, SignalName::SessionSpread | SignalName::Velocity);
            assert_eq!(assessment.level == Level::High, alone, "{name}");
        }
        let together =
            firing(&[(SignalName::CountryHop, Level::High), (SignalName::NewCountry, Level::Medium)]);
        assert_eq!(Score::default().apply(&together, T).level, Level::High);
    }

    #[test]
    fn a_capped_signal_lifts_nothing() {
        let mut signals = firing(&[(SignalName::Velocity, Level::High)]);
        signals.lower(&Caps::new(&[], &[(SignalName::Velocity, Level::Medium)]));
        let assessment = Score::default().apply(&signals, T);
        assert_eq!((assessment.score, assessment.level), (25, Level::Low));
    }

    #[test]
    fn levels_begin_where_they_should() {
        let levels = [19, 20, 39, 40, 69, 70, 100].map(level_of);
        use Level::{High, Low, Medium, None};
        assert_eq!(levels, [None, Low, Low, Medium, Medium, High, High]);
    }

    fn level() -> impl Strategy<Value = Level> {
        prop::sample::select(Level::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn the_score_stays_in_bounds_and_never_rises_without_a_signal(
            steps in prop::collection::vec(
                (0u32..2000, prop::collection::vec((prop::sample::select(SignalName::ALL.to_vec()), level()), 0..4)),
                1..50,
            )
        ) {
            let mut score = Score::default();
            let mut now = T;
            let mut last = 0;
            for (step, list) in steps {
                now += step;
                let signals = firing(&list);
                let assessment = score.apply(&signals, now);
                prop_assert!(assessment.score <= 100);
                prop_assert!(!signals.is_empty() || assessment.score <= last);
                last = assessment.score;
            }
        }
    }
}
