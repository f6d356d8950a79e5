//! Which cookies may pass, in both directions.
//!
//! [`parse`] splits a request's `Cookie` fields once and classifies every pair by the [`catalogue`]; [`request`]
//! makes the field that the site may see, [`response`] judges each `Set-Cookie`, [`expire`] tells the browser to
//! forget. Works on bytes and never changes the bytes of a cookie that it keeps. Never decides about consent: it is
//! handed a permit or none. Bound: the size of the head.

mod automaton;
pub mod catalogue;
#[cfg(test)]
#[path = "../../fuzz/shared/cookie_readers.rs"]
mod cookie_readers;
mod date;
pub mod expire;
mod find;
mod names;
pub mod parse;
pub mod request;
pub mod response;
mod rule;
pub mod rules;
mod shareable;

use std::fmt;

use crate::consent::{Advertising, Analytics, Functional, Permit};

/// What a cookie is for. The order is the order in metrics and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Category {
    /// The site does not work without it.
    Necessary,
    /// Protects the visitor or the site.
    Security,
    /// Remembers a preference.
    Functional,
    /// Counts and measures.
    Analytics,
    /// Advertising: passes only with consent.
    Advertising,
    /// No rule knows it.
    Unknown,
}

impl Category {
    /// Every category, in order.
    pub const ALL: [Self; 6] = [
        Self::Necessary,
        Self::Security,
        Self::Functional,
        Self::Analytics,
        Self::Advertising,
        Self::Unknown,
    ];

    /// The name used in configuration, metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Necessary => "necessary",
            Self::Security => "security",
            Self::Functional => "functional",
            Self::Analytics => "analytics",
            Self::Advertising => "advertising",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a visitor can be asked about it. The browser is told to forget only such cookies: of the others nobody
    /// said that they are not wanted there.
    #[must_use]
    pub const fn is_chosen(self) -> bool {
        matches!(self, Self::Functional | Self::Analytics | Self::Advertising)
    }

    /// The category of that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.label() == label)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What happens to the cookies of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They pass.
    Allow,
    /// They pass with the permit of their category.
    Consent,
    /// They never pass.
    Strip,
}

/// The action for each category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions([Action; 6]);

impl Actions {
    /// The action for a category.
    #[must_use]
    pub const fn get(&self, category: Category) -> Action {
        self.0[category as usize]
    }

    /// Sets the action for a category.
    pub const fn set(&mut self, category: Category, action: Action) {
        self.0[category as usize] = action;
    }
}

/// Advertising needs consent, all others pass.
impl Default for Actions {
    fn default() -> Self {
        let mut actions = Self([Action::Allow; 6]);
        actions.set(Category::Advertising, Action::Consent);
        actions
    }
}

/// Whether decisions change the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are made, counted and reported; the traffic stays as it is.
    DryRun,
}

impl Mode {
    /// The name used in configuration, metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::DryRun => "dry-run",
        }
    }
}

/// The permits of one request; only [`crate::consent::decide`] can make the permits inside.
#[derive(Debug, Default)]
pub struct Permits {
    /// Present after consent to advertising.
    pub advertising: Option<Permit<Advertising>>,
    /// Present after consent to analytics.
    pub analytics: Option<Permit<Analytics>>,
    /// Present after consent to functional cookies.
    pub functional: Option<Permit<Functional>>,
}

/// The compiled rules with their actions: what the filters are handed.
#[derive(Debug)]
pub struct CookiePolicy {
    /// The rules.
    pub catalogue: catalogue::Catalogue,
    /// The action per category.
    pub actions: Actions,
    /// Enforce or dry-run.
    pub mode: Mode,
}

impl CookiePolicy {
    /// Whether a cookie of this category may pass with these permits. Protected (never-strip) names always may: ask
    /// [`catalogue::Class::protected`] first.
    #[must_use]
    pub fn passes(&self, category: Category, permits: &Permits) -> bool {
        match self.actions.get(category) {
            Action::Allow => true,
            Action::Strip => false,
            Action::Consent => match category {
                Category::Advertising => permits.advertising.is_some(),
                Category::Analytics => permits.analytics.is_some(),
                Category::Functional => permits.functional.is_some(),
                // No choice exists for these: they never wait for one.
                Category::Necessary | Category::Security | Category::Unknown => true,
            },
        }
    }

    /// Whether a cookie of this class may not pass with these permits, whatever the mode.
    #[must_use]
    pub fn blocks(&self, class: catalogue::Class, permits: &Permits) -> bool {
        !class.protected && !self.passes(class.category, permits)
    }
}
