//! Whether a `Set-Cookie` field may reach the browser.
//!
//! One field is one cookie; it is classified by what the browser will send back. Deletions pass, with consent or
//! without. A field passes whole or not at all: no byte of it changes. Never looks at other fields. Bound: one pass over
//! the field.

use std::fmt;

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
    /// The name under which the browser will send the cookie back.
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

/// Judges one `Set-Cookie` field. Attributes are looked at only if the cookie may not be set.
#[must_use]
pub fn judge<'a>(field: &'a [u8], policy: &CookiePolicy, permits: &Permits, now: Timestamp) -> Judgement<'a> {
    let rest = trim_start(field);
    let Reading { key: name, class, end, .. } = read(rest, &policy.catalogue);
    let attributes = rest.get(end + 1..).unwrap_or_default();
    let verdict = if is_reserved(name) {
        Verdict::Reserved
    } else if !policy.blocks(class, permits) {
        Verdict::Keep
    } else if deletes(attributes, now) {
        Verdict::Deletion
    } else {
        Verdict::Strip
    };
    let removes = match verdict {
        Verdict::Keep | Verdict::Deletion => false,
        Verdict::Strip => policy.mode == Mode::Enforce,
        Verdict::Reserved => true,
    };
    Judgement { verdict, class, name, removes }
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

/// Browsers tell upper from lower case, some sites do not: in any case the name is ours.
fn is_reserved(name: &[u8]) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// Whether the attributes make the browser forget the cookie: the last valid `Max-Age` decides, without one the last
/// valid `Expires` (RFC 6265 §5.3 step 3). What cannot be read does not delete, so that a doubtful field is stripped.
fn deletes(attributes: &[u8], now: Timestamp) -> bool {
    let mut max_age = None;
    let mut expires = None;
    for attribute in attributes.split(|&byte| byte == b';') {
        let (name, value) = match memchr(b'=', attribute) {
            Some(at) => (trim(&attribute[..at]), trim(&attribute[at + 1..])),
            None => (trim(attribute), &[] as &[u8]),
        };
        if value.len() > MAX_ATTRIBUTE {
            continue;
        }
        if name.eq_ignore_ascii_case(b"max-age") {
            max_age = max_age_is_past(value).or(max_age);
        } else if name.eq_ignore_ascii_case(b"expires") {
            expires = date::parse(value).or(expires);
        }
    }
    max_age.unwrap_or_else(|| expires.is_some_and(|at| at <= now))
}

/// Whether a `Max-Age` is zero or less; `None` if it is not a number.
fn max_age_is_past(value: &[u8]) -> Option<bool> {
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| negative || digits.iter().all(|&digit| digit == b'0'))
}

/// Longer attribute values are ignored by browsers (RFC 6265bis §5.6).
const MAX_ATTRIBUTE: usize = 1024;

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
