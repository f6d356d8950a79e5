//! What is done about an assessment.
//!
//! The default is to watch. `deny` acts only after the days of observation; before that it is counted and does nothing.
//! Never looks at a place. Bound: none needed, it keeps nothing.

use std::time::Duration;

use super::score::Assessment;
use super::signal::Level;
use crate::clock::Timestamp;

/// What is done at a level, from the mildest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Record and count; the site sees nothing.
    #[default]
    Observe,
    /// Observe, and tell the site in two headers.
    Tag,
    /// Answer 429 with `Retry-After`.
    Throttle,
    /// Answer 403.
    Deny,
}

impl Action {
    /// Every action, from the mildest.
    pub const ALL: [Self; 4] = [Self::Observe, Self::Tag, Self::Throttle, Self::Deny];

    /// The name used in configuration, metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Tag => "tag",
            Self::Throttle => "throttle",
            Self::Deny => "deny",
        }
    }

    /// The action of that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.label() == label)
    }
}

/// What is done at each level. All `observe` by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// At level low.
    pub low: Action,
    /// At level medium.
    pub medium: Action,
    /// At level high.
    pub high: Action,
}

impl Actions {
    /// The action at a level; at none there is nothing to do but observe.
    #[must_use]
    pub const fn get(&self, level: Level) -> Action {
        match level {
            Level::None => Action::Observe,
            Level::Low => self.low,
            Level::Medium => self.medium,
            Level::High => self.high,
        }
    }

    /// Whether any level is denied: then `observe_days` must be set.
    #[must_use]
    pub fn denies(&self) -> bool {
        [self.low, self.medium, self.high].contains(&Action::Deny)
    }
}

/// What is done to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The action that acts.
    pub action: Action,
    /// The action that would have acted after the days of observation.
    pub would_have: Option<Action>,
    /// For `Retry-After` under `throttle`; under `deny` how much longer it lasts.
    pub retry_after: Option<Duration>,
}

/// The action for an assessment. `deny` acts as `observe` until `observe_until`, and for ever without such a time.
#[must_use]
pub fn decide_action(
    assessment: &Assessment,
    actions: &Actions,
    observe_until: Option<Timestamp>,
    now: Timestamp,
) -> Applied {
    let action = actions.get(assessment.level);
    let observing = observe_until.is_none_or(|until| now < until);
    match action {
        Action::Deny if observing => Applied { would_have: Some(Action::Deny), ..Applied::default() },
        Action::Throttle => Applied { action, would_have: None, retry_after: Some(RETRY_AFTER) },
        Action::Observe | Action::Tag | Action::Deny => {
            Applied { action, would_have: None, retry_after: None }
        }
    }
}

/// What a throttled client is told to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::Signals;

    const UNTIL: Timestamp = Timestamp::from_secs(1000);

    fn decide(level: Level, actions: Actions, until: Option<Timestamp>, now: i64) -> Applied {
        let assessment = Assessment { level, score: 0, signals: Signals::default() };
        decide_action(&assessment, &actions, until, Timestamp::from_secs(now))
    }

    #[test]
    fn everything_is_observed_by_default() {
        for level in Level::ALL {
            assert_eq!(decide(level, Actions::default(), Some(UNTIL), 2000), Applied::default());
        }
    }

    #[test]
    fn deny_observes_first_and_says_what_it_would_have_done() {
        let actions = Actions { high: Action::Deny, ..Actions::default() };
        let before = decide(Level::High, actions, Some(UNTIL), 999);
        assert_eq!((before.action, before.would_have), (Action::Observe, Some(Action::Deny)));
        let after = decide(Level::High, actions, Some(UNTIL), 1000);
        assert_eq!((after.action, after.would_have), (Action::Deny, None));
        assert_eq!(decide(Level::High, actions, None, i64::MAX / 2_000_000).action, Action::Observe);
        assert!(actions.denies() && !Actions::default().denies());
    }

    #[test]
    fn throttle_says_how_long() {
        let actions = Actions { medium: Action::Throttle, ..Actions::default() };
        let applied = decide(Level::Medium, actions, None, 0);
        assert_eq!((applied.action, applied.retry_after), (Action::Throttle, Some(RETRY_AFTER)));
    }

    #[test]
    fn labels_lead_back_to_actions() {
        for action in Action::ALL {
            assert_eq!(Action::from_label(action.label()), Some(action));
        }
    }
}
