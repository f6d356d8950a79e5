//! Whether a `Set-Cookie` field may reach the browser.
//!
//! One field is one cookie; it is classified by what the browser will send back. Deletions pass, with consent or
//! without. A field passes whole or not at all: no byte of it changes. Of other fields only `Date` is looked at. Bound:
//! one pass over the field.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, header};
use memchr::memchr;

use super::catalogue::{Class, RESERVED_PREFIX};
use super::parse::{Reading, read, trim, trim_start};
use super::{CookiePolicy, Mode, Permits, date};
use crate::clock::Timestamp;

/// What is decided about one `Set-Cookie` field.
pub struct Judgement<'a> {
    /// The decision.
    pub verdict: Verdict,
    /// What the name means.
    pub class: Class,
    /// The name under which the browser will send the cookie back, as it may be recorded: empty for a cookie without a
    /// name, of which everything is value.
    pub name: &'a [u8],
    /// Whether the field is removed: always when [`Verdict::Reserved`], and when [`Verdict::Strip`] in mode enforce.
    pub removes: bool,
}

/// The decision about a `Set-Cookie` field, whatever the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May pass.
    Keep,
    /// May not be set, but this deletes it: passes.
    Deletion,
    /// May not pass.
    Strip,
    /// Bears a name of the gateway's own: never passes, in no mode.
    Reserved,
}

/// Judges one `Set-Cookie` field of an answer with these fields. Attributes are looked at only if the cookie may not be
/// set.
#[must_use]
pub fn judge<'a>(
    field: &'a [u8],
    policy: &CookiePolicy,
    permits: &Permits,
    answer: &HeaderMap,
    now: Timestamp,
) -> Judgement<'a> {
    let rest = trim_start(field);
    let reading = read(rest, &policy.catalogue);
    let Reading { key, class, end, .. } = reading;
    let attributes = rest.get(end + 1..).unwrap_or_default();
    let verdict = if is_reserved(key) {
        Verdict::Reserved
    } else if !policy.blocks(class, permits) {
        Verdict::Keep
    } else if deletes(attributes, answer, now) {
        Verdict::Deletion
    } else {
        Verdict::Strip
    };
    let removes = match verdict {
        Verdict::Keep | Verdict::Deletion => false,
        Verdict::Strip => policy.mode == Mode::Enforce,
        Verdict::Reserved => true,
    };
    Judgement { verdict, class, name: if reading.is_named() { key } else { b"" }, removes }
}

/// Without the name: it may be anything.
impl fmt::Debug for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judgement")
            .field("verdict", &self.verdict)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

/// Whether only the gateway speaks in this name. Browsers tell upper from lower case, some sites do not: in any case the name
/// is ours.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// Whether the attributes make every browser forget the cookie: the last `Max-Age` decides, without one the last
/// `Expires` (RFC 6265 §5.3 step 3). Browsers differ in what an attribute that they cannot read does to one that they can:
/// so the last is never passed over for one before it, and what cannot be read does not delete.
fn deletes(attributes: &[u8], answer: &HeaderMap, now: Timestamp) -> bool {
    let mut max_age = None;
    let mut expires = None;
    for attribute in attributes.split(|&byte| byte == b';') {
        let (name, value) = match memchr(b'=', attribute) {
            Some(at) => (trim(&attribute[..at]), trim(&attribute[at + 1..])),
            None => (trim(attribute), &[] as &[u8]),
        };
        if name.eq_ignore_ascii_case(b"max-age") {
            max_age = Some(value);
        } else if name.eq_ignore_ascii_case(b"expires") {
            expires = Some(value);
        }
    }
    // So long a value is read by some browsers only.
    let is_read = |value: &[u8]| value.len() <= MAX_ATTRIBUTE;
    match (max_age, expires) {
        (Some(value), _) => is_read(value) && max_age_is_past(value),
        (None, Some(value)) => date::parse(value).is_some_and(|at| is_past(at, answer, now)),
        (None, None) => false,
    }
}

/// Whether a date is past in every browser. Some take the answer's `Date` for the site's clock and set right by it what
/// the site says: then a date is past only if it lies before that too. Some do not, and have a clock that is slow.
fn is_past(at: Timestamp, answer: &HeaderMap, now: Timestamp) -> bool {
    let at = at.plus(SLACK);
    let is_before = |date: &[u8]| date::parse(date).is_some_and(|date| at <= date);
    at <= now && answer.get_all(header::DATE).iter().all(|date| is_before(date.as_bytes()))
}

/// Whether a `Max-Age` is a number, and zero or less.
fn max_age_is_past(value: &[u8]) -> bool {
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid && (negative || digits.iter().all(|&digit| digit == b'0'))
}

/// How long ago an `Expires` must be: clocks differ, and a site that deletes a cookie by a date names one long gone.
const SLACK: Duration = Duration::from_secs(30 * 60);
/// Longer attribute values are ignored by browsers (RFC 6265bis §5.6).
const MAX_ATTRIBUTE: usize = 1024;

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
