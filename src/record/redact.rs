//! What of a request's texts may be recorded.
//!
//! `query`: the keys of a query, and values without click ids; `path`: a path without what names a person or opens
//! something; `hints`: what the browser says of itself. Each looks at every round of percent-decoding. Never changes
//! what the site gets. Bounds: the head, and [`MAX_NESTING`] rounds, behind which a text is left out.

mod click_ids;
mod decoding;
mod hints;
mod path;
mod query;
mod tokens;

pub use decoding::MAX_NESTING;
pub use hints::{brands, method, platform};
pub use path::path;
pub use query::{allowed_values, query_keys, strip_click_ids};

pub(crate) use click_ids::{Key, key};
pub(super) use decoding::decode;

/// A value that consists of known tokens only (`Sec-Fetch-*`): lower-case letters and `-`.
#[must_use]
pub fn token(value: &[u8]) -> Option<&[u8]> {
    let is_legal = |b: &u8| b.is_ascii_lowercase() || *b == b'-';
    // Without a branch for each byte.
    let is_token = || value.iter().fold(true, |so_far, b| so_far & is_legal(b));
    ((1..=24).contains(&value.len()) && is_token()).then_some(value)
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

/// The parts of an absolute `http` or `https` URL; `None` for anything else, and for a URL whose authority is not a host
/// with or without a port: that leaves out user info.
#[must_use]
pub fn page(url: &[u8]) -> Option<Page<'_>> {
    let start = [&b"https://"[..], b"http://"].iter().find(|scheme| url.starts_with(scheme))?.len();
    let length = url[start..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (origin, rest) = url.split_at(length.map_or(url.len(), |length| start + length));
    let authority = &origin[start..];
    if !is_authority(authority) {
        return None;
    }
    let end = rest.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(rest.len());
    Some(Page { origin, authority, path: &rest[..end] })
}

/// Whether this is `host` or `host:port`: anything else in its place may be a value.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text {
        [b'[', rest @ ..] => match rest.iter().position(|&b| b == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        _ => text.split_at(text.iter().position(|&b| b == b':').unwrap_or(text.len())),
    };
    let is_literal = text.first() == Some(&b'[');
    let legal = |b: &u8| match is_literal {
        true => b.is_ascii_hexdigit() || matches!(b, b':' | b'.'),
        false => b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'),
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    (1..=LONGEST_HOST).contains(&host.len()) && host.iter().all(legal) && is_port
}

/// Longest name of a host (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 253;

#[cfg(test)]
mod tests;
