//! Named signals of fraud, in bounded memory.
//!
//! [`assess`] is pure given the time, the facts and the memory. Never blocks on Tor, relay or VPN alone, never keeps
//! a raw address, never tells where a visitor is. Bound: `risk.memory_bytes`.

/// Proof that a look-up serves security. Only this module makes one.
#[derive(Debug)]
pub struct SecurityPurpose(());

/// How sure a signal, or all of them together, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Weak.
    Low,
    /// Worth a look.
    Medium,
    /// Strong.
    High,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Action {
    /// Record and count.
    #[default]
    Observe,
    /// Observe, and tell the site.
    Tag,
    /// 429.
    Throttle,
    /// 403.
    Deny,
}

/// What is done at each level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Actions {
    /// At level low.
    pub low: Action,
    /// At level medium.
    pub medium: Action,
    /// At level high.
    pub high: Action,
}

/// A signal's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalName {
    /// Two countries within the hour.
    CountryHop,
    /// Many networks in a short time.
    SessionSpread,
    /// Too many of something in a window.
    Velocity,
    /// A country seen for the first time.
    NewCountry,
    /// A network seen for the first time.
    NewNetwork,
}

impl SignalName {
    /// Every signal.
    pub const ALL: [Self; 5] =
        [Self::CountryHop, Self::SessionSpread, Self::Velocity, Self::NewCountry, Self::NewNetwork];

    /// The name used in configuration, headers and records.
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
        Self::ALL.into_iter().find(|s| s.label() == label)
    }
}
