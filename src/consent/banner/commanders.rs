//! Commanders Act: `TC_PRIVACY` = `status@version@categories@…@times`.
//!
//! 0 is opted in and 1 is opted out, whatever the categories then say. Bound: one cookie.

use super::jar::{Jar, Name};
use super::reading::Reading;
use super::text::{MAX_ITEMS, first, moment};
use crate::consent::signal::Verdict;

/// The cookie.
pub(super) fn names() -> Vec<Name> {
    vec![Name::exact(COOKIE)]
}

/// What the request says about these categories.
pub(super) fn read(jar: &Jar<'_>, categories: &[String]) -> Option<Reading> {
    jar.read(&Name::exact(COOKIE), |value| {
        first(value, |text, _| judge(text, categories)).unwrap_or(Reading::UNKNOWN)
    })
}

fn judge(text: &str, categories: &[String]) -> Option<Reading> {
    let mut fields = text.split('@');
    let (status, _version, listed) = (fields.next()?, fields.next()?, fields.next()?);
    // Which field has the times differs between versions; the oldest is when the choice was made, others when it ends.
    let at = fields
        .flat_map(|field| field.split(','))
        .filter(|item| item.len() >= MILLIS)
        .filter_map(moment)
        .min();
    if listed.split(',').count() > MAX_ITEMS {
        return None;
    }
    let has = |category: &String| listed.split(',').any(|id| id == "ALL" || id == category);
    let verdict = match status {
        "0" if categories.is_empty() => Verdict::Unknown,
        // Every genuine one has a time, so without it nobody knows how old it is.
        "0" if categories.iter().all(has) => at.map_or(Verdict::Unknown, |_| Verdict::Granted),
        "0" | "1" => Verdict::Denied,
        _ => return None,
    };
    Some(Reading::new(verdict, at))
}

const COOKIE: &str = "TC_PRIVACY";
/// Characters that a time in milliseconds has at least; what is shorter is an id or a number of something.
const MILLIS: usize = 12;
