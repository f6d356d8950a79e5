//! The signals by name, and their levels.
//!
//! Names and labels are a contract: configuration, headers, metrics and records use them. Bound: one level per name.

use std::fmt;

/// How strong a signal, or a whole assessment, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Worth a look in hindsight.
    Low,
    /// Unusual.
    Medium,
    /// Very unusual.
    High,
}

impl Level {
    /// Every level, rising.
    pub const ALL: [Self; 4] = [Self::None, Self::Low, Self::Medium, Self::High];

    /// The name used in configuration, headers, metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A signal's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SignalName {
    /// One session in two countries within an hour.
    CountryHop,
    /// One session in several networks, countries or autonomous systems within five minutes.
    SessionSpread,
    /// Too many logins, failed logins, refused paths or pages.
    Velocity,
    /// A country where the visitor was not seen before.
    NewCountry,
    /// An autonomous system where the visitor was not seen before.
    NewNetwork,
}

impl SignalName {
    /// Every signal, in the order of headers and records.
    pub const ALL: [Self; 5] =
        [Self::CountryHop, Self::SessionSpread, Self::Velocity, Self::NewCountry, Self::NewNetwork];

    /// The name used in configuration, headers, metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::CountryHop => "country-hop",
            Self::SessionSpread => "session-spread",
            Self::Velocity => "velocity",
            Self::NewCountry => "new-country",
            Self::NewNetwork => "new-network",
        }
    }

    /// The signal of that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.label() == label)
    }
}

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A level for each signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals([Level; SignalName::ALL.len()]);

impl Signals {
    /// The level of one signal.
    #[must_use]
    pub const fn get(&self, name: SignalName) -> Level {
        self.0[name as usize]
    }

    /// The signals that are there, in the order of [`SignalName::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (SignalName, Level)> + '_ {
        SignalName::ALL.into_iter().zip(self.0).filter(|(_, level)| *level > Level::None)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|level| *level == Level::None)
    }

    /// Raises one signal; a lower level than the present one changes nothing.
    pub(super) fn raise(&mut self, name: SignalName, level: Level) {
        let present = &mut self.0[name as usize];
        *present = level.max(*present);
    }

    pub(super) fn remove(&mut self, name: SignalName) {
        self.0[name as usize] = Level::None;
    }

    /// Lowers every signal to its cap.
    pub(super) fn lower(&mut self, caps: &Caps) {
        for (level, cap) in self.0.iter_mut().zip(caps.0) {
            *level = cap.min(*level);
        }
    }
}

/// The highest level that each signal may have; at none it is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps([Level; SignalName::ALL.len()]);

impl Caps {
    /// Every signal at its own level.
    pub const NONE: Self = Self([Level::High; SignalName::ALL.len()]);

    /// Caps the signals that are named, and switches off those in `off`.
    #[must_use]
    pub fn new(off: &[SignalName], capped: &[(SignalName, Level)]) -> Self {
        let off = off.iter().map(|&name| (name, Level::None));
        let mut caps = Self::NONE;
        for (name, level) in off.chain(capped.iter().copied()) {
            let cap = &mut caps.0[name as usize];
            *cap = level.min(*cap);
        }
        caps
    }

    /// The highest level of one signal.
    #[must_use]
    pub const fn get(&self, name: SignalName) -> Level {
        self.0[name as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lead_back_to_names() {
        for name in SignalName::ALL {
            assert_eq!(SignalName::from_label(name.label()), Some(name));
        }
        assert_eq!(SignalName::from_label("country_hop"), None);
    }

    #[test]
    fn signals_are_listed_in_order_and_only_rise() {
        let mut signals = Signals::default();
        assert!(signals.is_empty());
        signals.raise(SignalName::NewCountry, Level::Low);
        signals.raise(SignalName::CountryHop, Level::Medium);
        signals.raise(SignalName::CountryHop, Level::Low);
        let listed: Vec<_> = signals.iter().collect();
        assert_eq!(listed, [(SignalName::CountryHop, Level::Medium), (SignalName::NewCountry, Level::Low)]);
        signals.remove(SignalName::CountryHop);
        assert_eq!(signals.get(SignalName::CountryHop), Level::None);
    }

    #[test]
    fn a_cap_lowers_and_never_raises_and_off_goes_before_it() {
        let caps = Caps::new(
            &[SignalName::NewCountry],
            &[(SignalName::NewCountry, Level::Medium), (SignalName::Velocity, Level::Medium)],
        );
        let mut signals = Signals::default();
        signals.raise(SignalName::NewCountry, Level::Low);
        signals.raise(SignalName::Velocity, Level::High);
        signals.raise(SignalName::SessionSpread, Level::High);
        signals.lower(&caps);
        assert_eq!(signals.get(SignalName::NewCountry), Level::None);
        assert_eq!(signals.get(SignalName::Velocity), Level::Medium);
        assert_eq!(signals.get(SignalName::SessionSpread), Level::High);
        assert_eq!(signals.get(SignalName::CountryHop), Level::None);
        let as_they_were = signals;
        signals.lower(&Caps::NONE);
        assert_eq!(signals, as_they_were);
    }
}
