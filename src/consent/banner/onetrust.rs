//! OneTrust: `OptanonConsent`, a form with the groups, and `OptanonAlertBoxClosed`, the moment of the choice.
//!
//! The groups are written before anybody chose, all granted where the law lets them; only the second cookie tells that
//! the banner was answered. Bound: two cookies.

use super::document::{Document, Format, Found, Path};
use super::jar::{Jar, Name};
use super::reading::{Reading, all, of_words};
use super::text::{Pass, first, moment};
use crate::consent::signal::Verdict;

/// The two cookies.
pub(super) fn names() -> Vec<Name> {
    vec![Name::exact(CONSENT), Name::exact(CLOSED)]
}

/// What the request says about these groups; `objection` is whether a browser's GPC, as the banner noted it, refuses.
pub(super) fn read(jar: &Jar<'_>, groups: &[String], objection: bool) -> Option<Reading> {
    let closed = jar.read(&Name::exact(CLOSED), closed).unwrap_or(Reading::UNKNOWN);
    let said = jar.read(&Name::exact(CONSENT), |value| consent(value, groups, objection, closed))?;
    Some(if closed.verdict == Verdict::Denied { closed } else { said })
}

/// What one copy says. Nothing but an objection counts before the banner was answered.
fn consent(value: &[u8], groups: &[String], objection: bool, closed: Reading) -> Reading {
    let path = |key: &str| vec![key.to_owned()];
    let known: Path = path("groups");
    let Some(document) = Document::read(&Format::Form, value, &[&known]) else { return Reading::UNKNOWN };
    let word = |key: &str| match document.find(&path(key)) {
        Found::Word(word) => Some(word),
        _ => None,
    };
    if objection && word("browserGpcFlag").as_deref() == Some("1") {
        return Reading::DENIED;
    }
    if closed.verdict != Verdict::Granted {
        return Reading::UNKNOWN;
    }
    if word("AwaitingReconsent").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        return Reading::UNKNOWN;
    }
    let Some(listed) = word("groups") else { return Reading::UNKNOWN };
    let of_group = |group: &String| {
        let states = listed.split(',').filter_map(|entry| entry.split_once(':'));
        let mut states = states.filter(|(id, _)| id == group).map(|(_, state)| state);
        match (states.next(), states.next()) {
            (Some(state), None) => of_words(state, &["1".to_owned()], &["0".to_owned()]),
            _ => Verdict::Unknown,
        }
    };
    Reading::new(all(groups.iter().map(of_group)), closed.at)
}

/// The moment at which the banner was answered.
fn closed(value: &[u8]) -> Reading {
    let at = first(value, |text, pass| match moment(text) {
        None if pass == Pass::First => None,
        at => Some(at),
    });
    match at.flatten() {
        Some(at) => Reading::new(Verdict::Granted, Some(at)),
        None => Reading::UNKNOWN,
    }
}

const CONSENT: &str = "OptanonConsent";
const CLOSED: &str = "OptanonAlertBoxClosed";
