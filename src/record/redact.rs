//! What of a URL's query may be kept: its keys, and the query without click ids.
//!
//! A click id names one person's click on one advertisement, so it never reaches a record or a log. It is found by its
//! exact key after percent-decoding, also in a URL that is the value of another parameter. What is not removed keeps its
//! bytes, order and encoding; `erid` stays, since it labels the advertisement. Never touches a path. Bounds: a query as
//! long as the request target may be, URLs nested [`MAX_NESTING`] deep.

use std::borrow::Cow;
use std::ops::Range;

/// How many times a value is decoded in search of a nested URL. What is hidden deeper stays.
pub const MAX_NESTING: usize = 4;

/// Whether campaign parameters (`utm_*`, `itm_*`) go too. They name a campaign, not a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Campaign {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Remove,
}

/// The keys of a query (without `?`), as written, in order. Click ids are left out, and so is a part without `=`: it is
/// a value that lacks a key.
pub fn query_keys(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    let keys = query.split(|&byte| is_separator(byte)).filter_map(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=')?;
        Some(&pair[..end])
    });
    keys.filter(|key| is_key(key) && !is_click_id(&decode(key)))
}

/// Whether this names a parameter; anything else in a key's place may be a value, such as a mail address.
fn is_key(key: &[u8]) -> bool {
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'[' | b']' | b'%');
    (1..=64).contains(&key.len()) && key.iter().all(legal)
}

/// The path without what names a person: a segment with an `@`, or a run of 32 and more hexadecimal digits, as in links
/// that reset a password, becomes `~`. Borrowed if nothing is.
#[must_use]
pub fn path(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.split(|&b| b == b'/').any(names_a_person) {
        return Cow::Borrowed(path);
    }
    let segments = path.split(|&b| b == b'/').map(|s| if names_a_person(s) { &b"~"[..] } else { s });
    Cow::Owned(segments.collect::<Vec<_>>().join(&b'/'))
}

fn names_a_person(segment: &[u8]) -> bool {
    let is_token = segment.len() >= 32 && segment.iter().all(u8::is_ascii_hexdigit);
    is_token || segment.contains(&b'@') || (segment.contains(&b'%') && decode(segment).contains(&b'@'))
}

/// A value that consists of known tokens only (`Sec-Fetch-*`): lower-case letters and `-`.
#[must_use]
pub fn token(value: &[u8]) -> Option<&[u8]> {
    let is_legal = |b: &u8| b.is_ascii_lowercase() || *b == b'-';
    // Without a branch for each byte.
    let is_token = || value.iter().fold(true, |so_far, b| so_far & is_legal(b));
    ((1..=24).contains(&value.len()) && is_token()).then_some(value)
}

/// The query (without `?`) without click ids, at any depth.
#[must_use]
pub fn strip_click_ids(query: &[u8]) -> Cow<'_, [u8]> {
    strip(query, Campaign::Keep)
}

/// The query (without `?`) without click ids and, if wanted, campaign parameters. Borrowed if nothing was removed.
#[must_use]
pub fn strip(query: &[u8], campaign: Campaign) -> Cow<'_, [u8]> {
    let is_plain =
        |part: &[u8]| !part.iter().any(|byte| matches!(byte, b'%' | b'?' | b'#')) && !goes(part, campaign);
    if query.split(|&byte| is_separator(byte)).all(is_plain) {
        return Cow::Borrowed(query);
    }
    let units: Vec<Unit> =
        (0..).zip(query).map(|(at, &byte)| Unit { byte, start: at, end: at + 1 }).collect();
    let mut cuts = Vec::new();
    find(&units, 0, campaign, &mut cuts);
    if cuts.is_empty() {
        return Cow::Borrowed(query);
    }
    let mut kept = Vec::with_capacity(query.len());
    let mut from = 0;
    for cut in cuts {
        kept.extend_from_slice(&query[from..cut.start]);
        from = cut.end;
    }
    kept.extend_from_slice(&query[from..]);
    Cow::Owned(kept)
}

/// The pairs of a query whose keys the operator allows, without click ids; `None` if there are none.
#[must_use]
pub fn allowed_values(query: &[u8], allowed: &[String]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    if allowed.is_empty() {
        return None;
    }
    for pair in query.split(|&byte| is_separator(byte)) {
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

/// The parts of a page's address that may be looked at; query and fragment hold values that are not ours to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Scheme and authority.
    pub origin: &'a [u8],
    /// Host, and port if there is one.
    pub authority: &'a [u8],
    /// The path, which may be empty.
    pub path: &'a [u8],
}

/// The parts of an absolute `http` or `https` URL; `None` for anything else, and for a URL with userinfo.
#[must_use]
pub fn page(url: &[u8]) -> Option<Page<'_>> {
    let start = [&b"https://"[..], b"http://"].iter().find(|scheme| url.starts_with(scheme))?.len();
    let length = url[start..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (origin, rest) = url.split_at(length.map_or(url.len(), |length| start + length));
    let authority = &origin[start..];
    if authority.is_empty() || authority.contains(&b'@') {
        return None;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(rest.len());
    Some(Page { origin, authority, path: &rest[..end] })
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
fn find(units: &[Unit], depth: usize, campaign: Campaign, cuts: &mut Vec<Range<usize>>) {
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
            (Some(first), Some(last)) if part_goes(part, depth, campaign) => {
                let start = before.filter(|_| kept_before).map_or(first.start, |separator| separator.start);
                let end = list_goes_on.filter(|_| !kept_before).map_or(last.end, |separator| separator.end);
                cuts.push(start..end);
            }
            _ => {
                kept_before = true;
                look_inside(part, depth, campaign, cuts);
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
fn look_inside(part: &[Unit], depth: usize, campaign: Campaign, cuts: &mut Vec<Range<usize>>) {
    if depth < MAX_NESTING {
        let decoded = decode_units(part);
        let has_list = depth == 0 && part.iter().any(|unit| matches!(unit.byte, b'?' | b'#'));
        if decoded.len() < part.len() || has_list {
            find(&decoded, depth + 1, campaign, cuts);
        }
    }
}

/// Whether a part is a parameter that goes. Inside a value a bare word is a word, not a parameter.
fn part_goes(part: &[Unit], depth: usize, campaign: Campaign) -> bool {
    let bytes: Vec<u8> = part.iter().map(|unit| unit.byte).collect();
    (depth == 0 || bytes.contains(&b'=')) && goes(&bytes, campaign)
}

fn goes(part: &[u8], campaign: Campaign) -> bool {
    match key(part) {
        Key::ClickId => true,
        Key::Campaign => campaign == Campaign::Remove,
        Key::Other => false,
    }
}

/// What a parameter is, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Names a person's click.
    ClickId,
    /// Names a campaign.
    Campaign,
    /// Anything else.
    Other,
}

/// What a pair of a query is, by its key after percent-decoding.
pub(crate) fn key(pair: &[u8]) -> Key {
    let key = decode(key_of(pair));
    if is_click_id(&key) {
        Key::ClickId
    } else if key.starts_with(b"utm_") || key.starts_with(b"itm_") {
        Key::Campaign
    } else {
        Key::Other
    }
}

fn is_click_id(key: &[u8]) -> bool {
    CLICK_IDS.binary_search(&key).is_ok() || CLICK_ID_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn key_of(part: &[u8]) -> &[u8] {
    part.iter().position(|&byte| byte == b'=').map_or(part, |end| &part[..end])
}

/// `;` separated parameters once, and some sites still read it so.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'&' | b';')
}

pub(super) fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let units: Vec<Unit> = bytes.iter().map(|&byte| Unit { byte, start: 0, end: 0 }).collect();
    Cow::Owned(decode_units(&units).iter().map(|unit| unit.byte).collect())
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

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// In order of bytes: they are searched by halves.
const CLICK_IDS: &[&[u8]] = &[
    b"ScCid",
    b"__hsfp",
    b"__hssc",
    b"__hstc",
    b"__s",
    b"_gl",
    b"_hsenc",
    b"_openstat",
    b"admitad_uid",
    b"dclid",
    b"epik",
    b"et_rid",
    b"fbclid",
    b"gad_campaignid",
    b"gad_source",
    b"gbraid",
    b"gclid",
    b"gclsrc",
    b"hsCtaTracking",
    b"irclickid",
    b"li_fat_id",
    b"mc_eid",
    b"mindbox-click-id",
    b"mindbox-message-key",
    b"msclkid",
    b"mtm_cid",
    b"pk_cid",
    b"rb_clickid",
    b"rdt_cid",
    b"s_cid",
    b"srsltid",
    b"syclid",
    b"ttclid",
    b"twclid",
    b"unicorn_click_id",
    b"vgo_ee",
    b"wbraid",
    b"wickedid",
    b"yclid",
    b"ymclid",
    b"ysclid",
];

const CLICK_ID_PREFIXES: &[&[u8]] = &[
    b"_branch_",
    b"bsft_",
    b"fb_action_",
    b"fb_comment_",
    b"guce_referrer",
    b"hsa_",
    b"ml_subscriber",
    b"oft_",
    b"oly_",
    b"sfmc_",
    b"vero_",
];

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
