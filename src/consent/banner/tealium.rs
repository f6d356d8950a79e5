//! Tealium: `CONSENTMGR`, pairs such as `consent:true|ts:…|c1:1|c3:0`.
//!
//! `consent:true` together with categories is a partial choice: then only the categories count. Bound: one cookie.

use super::document::{Document, Format, Found, Path};
use super::jar::{Jar, Name};
use super::reading::{Reading, all, of_words};
use super::text::moment;
use crate::consent::signal::Verdict;

/// The cookie.
pub(super) fn names() -> Vec<Name> {
    vec![Name::exact(COOKIE)]
}

/// What the request says about these categories.
pub(super) fn read(jar: &Jar<'_>, categories: &[String]) -> Option<Reading> {
    jar.read(&Name::exact(COOKIE), |value| judge(value, categories).unwrap_or(Reading::UNKNOWN))
}

fn judge(value: &[u8], categories: &[String]) -> Option<Reading> {
    let format = Format::Pairs { between: "|".into(), inside: ":".into() };
    let path = |key: &str| -> Path { vec![key.to_owned()] };
    let known = [path("consent"), path("ts")];
    let document = Document::read(&format, value, &known.each_ref())?;
    let Document::Pairs(pairs) = &document else { return None };
    let word = |key: &str| match document.find(&path(key)) {
        Found::Word(word) => Some(word),
        _ => None,
    };
    let yes_or_no = |word: Option<String>, yes: &str, no: &str| {
        word.map_or(Verdict::Unknown, |word| of_words(&word, &[yes.to_owned()], &[no.to_owned()]))
    };
    let at = match word("ts") {
        Some(ts) => Some(moment(&ts)?),
        None => None,
    };
    let overall = yes_or_no(word("consent"), "true", "false");
    let is_category = |key: &str| {
        key.strip_prefix('c').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    if overall != Verdict::Granted || !pairs.iter().any(|(key, _)| is_category(key)) {
        return Some(Reading::new(overall, at));
    }
    let chosen = all(categories.iter().map(|category| yes_or_no(word(category), "1", "0")));
    Some(Reading::new(chosen, at))
}

const COOKIE: &str = "CONSENTMGR";
