//! What one consent cookie says about one purpose, and what several say together.
//!
//! Never weighs age or precedence: that is [`crate::consent::precedence`]. Bound: none needed.

use crate::clock::Timestamp;
use crate::consent::signal::Verdict;

/// What a cookie says, and when that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it says.
    pub verdict: Verdict,
    /// When; `None`: as fresh as the cookie.
    pub at: Option<Timestamp>,
    /// Whether a TC string says it.
    pub by_tcf: bool,
}

impl Reading {
    /// No choice, a default, or nothing that can be read.
    pub const UNKNOWN: Self = Self::new(Verdict::Unknown, None);
    /// A refusal; it has no age.
    pub const DENIED: Self = Self::new(Verdict::Denied, None);

    /// A statement of that time.
    #[must_use]
    pub const fn new(verdict: Verdict, at: Option<Timestamp>) -> Self {
        Self { verdict, at, by_tcf: false }
    }

    /// A statement of that time in a TC string.
    #[must_use]
    pub const fn of_tcf(verdict: Verdict, at: Timestamp) -> Self {
        Self { verdict, at: Some(at), by_tcf: true }
    }
}

/// Several copies of one cookie: equal verdicts are that verdict, of the oldest age; different ones are a refusal.
pub(super) fn fold(mut readings: impl Iterator<Item = Reading>) -> Option<Reading> {
    let first = readings.next()?;
    Some(readings.fold(first, |all, next| {
        if all.verdict == next.verdict {
            Reading { at: all.at.into_iter().chain(next.at).min(), by_tcf: all.by_tcf && next.by_tcf, ..all }
        } else {
            Reading::DENIED
        }
    }))
}

/// Several conditions that must all hold: one refusal refuses, and only grants together grant.
pub(super) fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut out = None;
    for verdict in verdicts {
        out = match (out, verdict) {
            (_, Verdict::Denied) => return Verdict::Denied,
            (None | Some(Verdict::Granted), verdict) => Some(verdict),
            (out, _) => out,
        };
    }
    out.unwrap_or(Verdict::Unknown)
}

/// Yes or no, as far as it is one of the two words.
pub(super) fn of_words(word: &str, grants: &[String], denies: &[String]) -> Verdict {
    let said = |words: &[String]| words.iter().any(|known| known == word);
    match (said(grants), said(denies)) {
        (_, true) => Verdict::Denied,
        (true, false) => Verdict::Granted,
        (false, false) => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(Verdict::Granted), Just(Verdict::Denied), Just(Verdict::Unknown)]
    }

    #[test]
    fn nothing_is_no_grant() {
        assert_eq!(all([]), Verdict::Unknown);
        assert_eq!(fold(std::iter::empty()), None);
    }

    #[test]
    fn of_two_copies_that_grant_the_older_one_has_the_say() {
        let at = |secs| Reading::new(Verdict::Granted, Some(Timestamp::from_secs(secs)));
        assert_eq!(fold([at(5), at(3), Reading::new(Verdict::Granted, None)].into_iter()), Some(at(3)));
    }

    proptest! {
        #[test]
        fn only_unanimous_grants_grant(verdicts in proptest::collection::vec(verdict(), 1..6)) {
            let unanimous = verdicts.iter().all(|v| *v == Verdict::Granted);
            let folded = fold(verdicts.iter().map(|v| Reading::new(*v, None))).unwrap().verdict;
            prop_assert_eq!(folded == Verdict::Granted, unanimous);
            prop_assert_eq!(all(verdicts.iter().copied()) == Verdict::Granted, unanimous);
            let same = verdicts.iter().all(|v| *v == verdicts[0]);
            prop_assert_eq!(folded, if same { verdicts[0] } else { Verdict::Denied });
            if verdicts.contains(&Verdict::Denied) {
                prop_assert_eq!(all(verdicts), Verdict::Denied);
            }
        }
    }
}
