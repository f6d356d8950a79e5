//! What the browser says of itself, as it says it.
//!
//! Borrowed views of a few request fields. Never parses the user agent: that comes later and off the request's way.
//! `Debug` is redacted. Bound: the head, and [`MAX_RANGES`] language ranges.

use std::fmt;
use std::str;

use http::{HeaderMap, HeaderName, header};

/// The fields of one request. Missing ones are `None`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Agent<'a> {
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Sec-CH-UA`: the brands.
    pub brands: Option<&'a [u8]>,
    /// `Sec-CH-UA-Mobile`.
    pub mobile: Option<&'a [u8]>,
    /// `Sec-CH-UA-Platform`.
    pub platform: Option<&'a [u8]>,
    /// The primary subtag of the language that `Accept-Language` prefers, as written, e.g. `kk`.
    pub language: Option<&'a str>,
}

impl<'a> Agent<'a> {
    /// Reads the fields. Of a field that is there twice the first counts.
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Self {
        let get = |name: HeaderName| headers.get(name).map(http::HeaderValue::as_bytes);
        Self {
            user_agent: get(header::USER_AGENT),
            brands: get(HeaderName::from_static("sec-ch-ua")),
            mobile: get(HeaderName::from_static("sec-ch-ua-mobile")),
            platform: get(HeaderName::from_static("sec-ch-ua-platform")),
            language: get(header::ACCEPT_LANGUAGE).and_then(preferred_language),
        }
    }
}

impl fmt::Debug for Agent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agent(..)")
    }
}

/// The range with the highest weight, the first among equals; `*` and weight 0 do not count (RFC 9110 §12.5.4).
#[must_use]
pub fn preferred_language(value: &[u8]) -> Option<&str> {
    if let Some(tag) = plain_first(value) {
        return Some(tag);
    }
    let value = str::from_utf8(value).ok()?;
    let mut best = None;
    let mut best_weight = 0;
    for range in value.split(',').take(MAX_RANGES) {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next()?.split('-').next()?;
        let weight =
            parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))).map_or(1000, weight);
        if is_primary(tag) && weight > best_weight {
            (best, best_weight) = (Some(tag), weight);
        }
    }
    best
}

/// Nearly every browser names its best first and without a weight, which is the highest there is: then only that one is
/// read. `None` says nothing.
fn plain_first(value: &[u8]) -> Option<&str> {
    let first = &value[..memchr::memchr(b',', value).unwrap_or(value.len())];
    let length = first.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let is_plain = (2..=8).contains(&length)
        && matches!(first.get(length), None | Some(b'-'))
        && !first.contains(&b';')
        && value.is_ascii();
    if is_plain { str::from_utf8(&first[..length]).ok() } else { None }
}

fn is_primary(tag: &str) -> bool {
    (2..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Thousandths; 0 for what is not a weight.
fn weight(text: &str) -> u32 {
    match text.parse::<f32>() {
        // The cast saturates and the range is checked.
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u32,
        _ => 0,
    }
}

/// Language ranges of one field that are read.
pub const MAX_RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_is_found() {
        for (value, language) in [
            ("kk", Some("kk")),
            ("kk-KZ,kk;q=0.9,ru;q=0.8", Some("kk")),
            ("ru;q=0.5, en;q=0.7", Some("en")),
            ("ru-RU;q=0.5,en", Some("en")),
            (" ru-RU , en", Some("ru")),
            ("x, en", Some("en")),
            ("ruru_RU, en", Some("en")),
            ("*, ru;q=0.1", Some("ru")),
            ("ru;q=0", None),
            ("ru;q=2", None),
            ("", None),
            ("1234", None),
        ] {
            assert_eq!(preferred_language(value.as_bytes()), language, "{value}");
        }
        assert_eq!(preferred_language(b"\xff"), None);
    }

    #[test]
    fn ranges_beyond_the_bound_are_not_read() {
        let long = format!("{}ru", "*,".repeat(MAX_RANGES));
        assert_eq!(preferred_language(long.as_bytes()), None);
        assert_eq!(preferred_language(&long.as_bytes()[2..]), Some("ru"));
    }

    #[test]
    fn fields_are_borrowed_and_hidden() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "Mozilla/5.0".parse().unwrap());
        headers.insert("sec-ch-ua-platform", "\"Linux\"".parse().unwrap());
        let agent = Agent::of(&headers);
        assert_eq!(agent.user_agent, Some(&b"Mozilla/5.0"[..]));
        assert_eq!(agent.platform, Some(&b"\"Linux\""[..]));
        assert_eq!(agent.brands, None);
        assert_eq!(format!("{agent:?}"), "Agent(..)");
    }
}
