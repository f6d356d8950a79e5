//! TrustArc: `notice_gdpr_prefs`, the levels, and `cmapi_cookie_privacy`, what they permit.
//!
//! Both must say it, and neither may say `implied`: that is the default of a region. Bound: two cookies.

use super::jar::{Jar, Name};
use super::reading::Reading;
use super::text::{Pass, first};
use crate::consent::signal::Verdict;

/// The two cookies.
pub(super) fn names() -> Vec<Name> {
    vec![Name::exact(LEVELS), Name::exact(PERMITS)]
}

/// What the request says about a level; what it permits is numbered from 1, so one higher.
pub(super) fn read(jar: &Jar<'_>, levels: &[String]) -> Option<Reading> {
    let levels: Option<Vec<u32>> = levels.iter().map(|level| level.parse().ok()).collect();
    let levels = levels.unwrap_or_default();
    let listed = jar.read(&Name::exact(LEVELS), |value| {
        judge(
            value,
            |text| {
                let (list, rest) = text.split_once(':')?;
                // The site's own marks may follow, but no word of a default.
                (!rest.contains("implied")).then(|| numbers(list)).flatten()
            },
            &levels,
        )
    })?;
    let permits: Vec<u32> = levels.iter().map(|level| level.saturating_add(1)).collect();
    let permitted = jar.read(&Name::exact(PERMITS), |value| {
        judge(value, |text| numbers(text.strip_prefix("permit")?.trim_start_matches([' ', '+'])), &permits)
    });
    let permitted = permitted.map_or(Verdict::Unknown, |reading| reading.verdict);
    Some(match (listed.verdict, permitted) {
        (Verdict::Granted, permitted) => Reading::new(permitted, None),
        (listed, _) => Reading::new(listed, None),
    })
}

fn judge(value: &[u8], read: impl Fn(&str) -> Option<Vec<u32>>, wanted: &[u32]) -> Reading {
    let found = first(value, |text, pass| match read(text) {
        None if pass == Pass::First => None,
        found => Some(found),
    });
    match found.flatten() {
        Some(_) if wanted.is_empty() => Reading::UNKNOWN,
        Some(found) if wanted.iter().all(|number| found.contains(number)) => {
            Reading::new(Verdict::Granted, None)
        }
        Some(_) => Reading::DENIED,
        None => Reading::UNKNOWN,
    }
}

/// Numbers between commas and nothing else.
fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

const LEVELS: &str = "notice_gdpr_prefs";
const PERMITS: &str = "cmapi_cookie_privacy";
