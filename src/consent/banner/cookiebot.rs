//! Cookiebot: `CookieConsent`, which looks like JSON and is none: bare keys, single quotes.
//!
//! Outside consent regions it is written without a question, all granted, with the stamp -1 or the method `implied`.
//! Bound: the value's length.

use super::jar::{Jar, Name};
use super::reading::{Reading, of_words};
use super::text::{MAX_ITEMS, Pass, first, moment};

/// The cookie.
pub(super) fn names() -> Vec<Name> {
    vec![Name::exact(COOKIE)]
}

/// What the request says about a category.
pub(super) fn read(jar: &Jar<'_>, category: &str) -> Option<Reading> {
    jar.read(&Name::exact(COOKIE), |value| {
        let pairs = first(value, |text, pass| match pass {
            // Nothing in it has a `%` of its own: it is still encoded.
            Pass::First => None,
            Pass::Last => pairs(text),
        });
        pairs.and_then(|pairs| judge(&pairs, category)).unwrap_or(Reading::UNKNOWN)
    })
}

/// `None` if it is no choice.
fn judge(pairs: &[(&str, String)], category: &str) -> Option<Reading> {
    let word = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
    let stamp = word("stamp")?;
    // Old cookies have no method: then the stamp alone decides.
    if stamp == "-1" || stamp.is_empty() || word("method").is_some_and(|method| method != "explicit") {
        return None;
    }
    let at = match word("utc") {
        Some(utc) => Some(moment(utc)?),
        None => None,
    };
    let verdict = of_words(word(category)?, &["true".to_owned()], &["false".to_owned()]);
    Some(Reading::new(verdict, at))
}

/// The pairs between the braces; `None` if it is not written as this banner writes.
fn pairs(text: &str) -> Option<Vec<(&'static str, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut pairs: Vec<(&'static str, String)> = Vec::new();
    let mut count = 0;
    while !rest.is_empty() {
        count += 1;
        let (key, after) = rest.split_once(':')?;
        // Some writers put an encoded blank behind the comma.
        let key = key.trim_start_matches([' ', '+']);
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || count > MAX_ITEMS
        {
            return None;
        }
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        rest = match after.strip_prefix(',') {
            Some(next) => next,
            None if after.is_empty() => after,
            None => return None,
        };
        let Some(known) = KEYS.iter().find(|known| **known == key) else { continue };
        if pairs.iter().any(|(name, _)| name == known) {
            return None;
        }
        pairs.push((known, value.to_owned()));
    }
    Some(pairs)
}

const COOKIE: &str = "CookieConsent";
const KEYS: [&str; 5] = ["stamp", "method", "utc", "marketing", "statistics"];
