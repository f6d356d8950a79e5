//! Drupal's EU Cookie Compliance: `cookie-agreed` and `cookie-agreed-categories`.
//!
//! No sample of a real grant is known, so only refusals are read. Bound: two cookies.

use super::document::{Document, Format, Found};
use super::jar::{Jar, Name};
use super::reading::Reading;
use crate::consent::signal::Verdict;

/// The two cookies.
pub(super) fn names() -> Vec<Name> {
    vec![Name::exact(AGREED), Name::exact(CATEGORIES)]
}

/// What the request says about these categories.
pub(super) fn read(jar: &Jar<'_>, categories: &[String]) -> Option<Reading> {
    let agreed = jar.read(&Name::exact(AGREED), |value| match Document::read(&Format::Flag, value, &[]) {
        Some(Document::Flag(word)) if word == "0" => Reading::DENIED,
        Some(Document::Flag(word)) if word == "1" || word == "2" => Reading::new(Verdict::Granted, None),
        _ => Reading::UNKNOWN,
    })?;
    if agreed.verdict != Verdict::Granted {
        return Some(agreed);
    }
    let missing = |value: &[u8]| match Document::read(&Format::Json, value, &[]) {
        Some(document)
            if categories.iter().any(|c| document.find(std::slice::from_ref(c)) == Found::Member(false)) =>
        {
            Reading::DENIED
        }
        _ => Reading::UNKNOWN,
    };
    Some(jar.read(&Name::exact(CATEGORIES), missing).unwrap_or(Reading::UNKNOWN))
}

const AGREED: &str = "cookie-agreed";
const CATEGORIES: &str = "cookie-agreed-categories";
