//! What of a URL's query may be kept: its keys, and the query without click ids.
//!
//! A click id that is a parameter of the query, or of a URL that is a value in it, is cut out alone, and what is left keeps
//! its bytes, order and encoding. Where one is told in another way, or a value is encoded more often than is looked at, the
//! value goes. Never lets a value take the place of a key. Bounds: a query as long as the request target may be, and
//! [`MAX_NESTING`].

use std::borrow::Cow;
use std::ops::Range;

use super::click_ids::{is_click_id, key_of, told_in};
use super::decoding::{MAX_NESTING, any_round, decode, hex};
use super::tokens::token_in;

/// The keys of a query (without `?`), as written, in order. Click ids are left out, and so is what may be a value in the
/// place of a key: a part without `=`, say.
pub fn query_keys(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(query).filter_map(|part| {
        let end = memchr::memchr(b'=', part)?;
        is_name(&part[..end], &part[end + 1..]).then_some(&part[..end])
    })
}

/// Whether this names a parameter that has this value. Anything else may be a value itself: a mail address, a token, or
/// text in base64, whose padding reads like an empty value.
pub(super) fn is_name(key: &[u8], value: &[u8]) -> bool {
    if !(1..=LONGEST_NAME).contains(&key.len()) {
        return false;
    }
    let may_be_base64 = match value {
        [] => key.len() > LONGEST_WITHOUT_VALUE,
        padding => padding.iter().all(|&b| b == b'='),
    };
    let name = decode(key);
    !may_be_base64 && is_readable(&name) && token_in(&name).is_none() && !is_click_id(&name)
}

/// Letters and digits of any language, and what usually stands between them.
fn is_readable(name: &[u8]) -> bool {
    let joins = |c: char| matches!(c, '_' | '.' | '-' | '[' | ']');
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || joins(char::from(*b));
    name.iter().all(is_plain)
        || str::from_utf8(name).is_ok_and(|name| name.chars().all(|c| c.is_alphanumeric() || joins(c)))
}

/// The query (without `?`) without click ids, at any depth. Borrowed if nothing was removed.
#[must_use]
pub fn strip_click_ids(query: &[u8]) -> Cow<'_, [u8]> {
    if parts(query).all(is_clean) {
        return Cow::Borrowed(query);
    }
    let left = without_parameters(query);
    Cow::Owned(if parts(&left).all(is_clean) { left } else { without_values(&left) })
}

/// The pairs of a query whose keys the operator allows, without click ids; `None` if there are none.
#[must_use]
pub fn allowed_values(query: &[u8], allowed: &[String]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    if allowed.is_empty() {
        return None;
    }
    for pair in parts(query) {
        let key = decode(key_of(pair));
        if allowed.iter().any(|name| name.as_bytes() == &*key) && !is_click_id(&key) {
            if !kept.is_empty() {
                kept.push(b'&');
            }
            kept.extend_from_slice(pair);
        }
    }
    (!kept.is_empty()).then_some(kept)
}

fn parts(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|&byte| is_separator(byte))
}

/// `;` separated parameters once, and some sites still read it so.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'&' | b';')
}

/// Whether nothing in this part tells a click id, however it is decoded.
fn is_clean(part: &[u8]) -> bool {
    !any_round(part, |text| is_click_id(key_of(text)) || told_in(text))
}

/// The query without the values that still tell one, or all of the part where its key does.
fn without_values(query: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(query.len());
    let (mut at, mut is_first) = (0, true);
    for part in parts(query) {
        let key = memchr::memchr(b'=', part).map(|end| &part[..=end]);
        let left = if is_clean(part) { Some(part) } else { key.filter(|key| is_clean(key)) };
        if let Some(left) = left {
            // The separator before it, if there is anything to be separated from.
            kept.extend_from_slice(if is_first { &[] } else { &query[at - 1..at] });
            kept.extend_from_slice(left);
            is_first = false;
        }
        at += part.len() + 1;
    }
    kept
}

/// The query without the parameters that are click ids, its own and those of URLs in it.
fn without_parameters(query: &[u8]) -> Vec<u8> {
    let units: Vec<Unit> =
        (0..).zip(query).map(|(at, &byte)| Unit { byte, start: at, end: at + 1 }).collect();
    let mut cuts = Vec::new();
    find(&units, 0, &mut cuts);
    let mut kept = Vec::with_capacity(query.len());
    let mut from = 0;
    for cut in cuts {
        kept.extend_from_slice(&query[from..cut.start]);
        from = cut.end;
    }
    kept.extend_from_slice(&query[from..]);
    kept
}

/// A byte after some rounds of decoding, and where it is written in the query.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    start: usize,
    end: usize,
}

/// Collects the ranges of the query to be cut out, ascending and disjoint. A part that goes takes one separator along:
/// the one before it, or the one after it if nothing before it in its list was kept.
fn find(units: &[Unit], depth: usize, cuts: &mut Vec<Range<usize>>) {
    let opens_list = |unit: &Unit| depth > 0 && matches!(unit.byte, b'?' | b'#');
    let mut kept_before = false;
    let mut before: Option<Unit> = None;
    let mut rest = units;
    loop {
        let end =
            rest.iter().position(|unit| is_separator(unit.byte) || opens_list(unit)).unwrap_or(rest.len());
        let (part, after) = (&rest[..end], rest.get(end));
        let list_goes_on = after.filter(|unit| is_separator(unit.byte));
        match (part.first(), part.last()) {
            (Some(first), Some(last)) if goes(part, depth) => {
                let start = before.filter(|_| kept_before).map_or(first.start, |separator| separator.start);
                let end = list_goes_on.filter(|_| !kept_before).map_or(last.end, |separator| separator.end);
                cuts.push(start..end);
            }
            _ => {
                kept_before = true;
                look_inside(part, depth, cuts);
            }
        }
        if after.is_none() {
            return;
        }
        before = list_goes_on.copied();
        kept_before &= before.is_some();
        rest = &rest[end + 1..];
    }
}

/// A part that stays may hold a URL, as it is or percent-encoded.
fn look_inside(part: &[Unit], depth: usize, cuts: &mut Vec<Range<usize>>) {
    if depth < MAX_NESTING {
        let decoded = decode_units(part);
        let has_list = depth == 0 && part.iter().any(|unit| matches!(unit.byte, b'?' | b'#'));
        if decoded.len() < part.len() || has_list {
            find(&decoded, depth + 1, cuts);
        }
    }
}

/// Whether a part is a parameter that goes. Inside a value a bare word is a word, not a parameter.
fn goes(part: &[Unit], depth: usize) -> bool {
    let bytes: Vec<u8> = part.iter().map(|unit| unit.byte).collect();
    (depth == 0 || bytes.contains(&b'=')) && is_click_id(&decode(key_of(&bytes)))
}

/// One round of percent-decoding; what is no valid escape stays as it is.
fn decode_units(units: &[Unit]) -> Vec<Unit> {
    let mut decoded = Vec::with_capacity(units.len());
    let mut rest = units;
    loop {
        rest = match rest {
            [Unit { byte: b'%', start, .. }, high, low, tail @ ..]
                if hex(high.byte).is_some() && hex(low.byte).is_some() =>
            {
                let byte = hex(high.byte).unwrap_or(0) << 4 | hex(low.byte).unwrap_or(0);
                decoded.push(Unit { byte, start: *start, end: low.end });
                tail
            }
            [unit, tail @ ..] => {
                decoded.push(*unit);
                tail
            }
            [] => return decoded,
        };
    }
}

/// Longest key, as written.
const LONGEST_NAME: usize = 64;
/// Longest key whose value is empty.
const LONGEST_WITHOUT_VALUE: usize = 20;
