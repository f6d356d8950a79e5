//! Percent-encoding: forms, queries, and paths as a server may read them.
//!
//! Never fails: what is not an escape is taken as it stands. Bound: the first [`MAX_PAIRS`] pairs are looked at;
//! [`pairs`] says when there are more.

use std::borrow::Cow;

/// A name and its value, decoded.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The pairs of a form or query, decoded; `None` if there are more than [`MAX_PAIRS`].
pub(super) fn pairs(text: &str) -> Option<impl Iterator<Item = Pair<'_>>> {
    let pieces = || text.split('&').filter(|piece| !piece.is_empty());
    (pieces().count() <= MAX_PAIRS).then(|| {
        pieces().map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (component(name), component(value))
        })
    })
}

/// The first value of a name in a query.
pub(super) fn first<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    pairs(query?)?.find(|(n, _)| n == name).map(|(_, value)| value)
}

/// Decodes every valid `%XX` once; anything else stays as it is.
pub(super) fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        out.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(out)
}

/// Encodes a text as the value of a query: everything but unreserved characters and `/`.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => push_escaped(&mut out, byte),
        }
    }
    out
}

/// Appends `%XX`.
pub(super) fn push_escaped(out: &mut String, byte: u8) {
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.extend(char::from_digit(u32::from(digit), 16).map(|c| c.to_ascii_uppercase()));
    }
}

/// One name or value of a form: `+` is a blank, bytes that are not UTF-8 become U+FFFD.
fn component(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let blanks = text.replace('+', " ");
    Cow::Owned(String::from_utf8_lossy(&percent_decode(blanks.as_bytes())).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Most pairs of a form or query that are looked at.
pub(super) const MAX_PAIRS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_a_form() {
        let found: Vec<_> = pairs("a=1&b=x+y%2B%zz&&c&d=%E0%A4&%61=%D2%9B").unwrap().collect();
        let expected = [("a", "1"), ("b", "x y+%zz"), ("c", ""), ("d", "\u{fffd}"), ("a", "қ")];
        assert_eq!(found, expected.map(|(a, b)| (a.into(), b.into())));
        assert_eq!(first(Some("x=1&x=2"), "x").as_deref(), Some("1"));
        assert_eq!(first(None, "x"), None);
    }

    #[test]
    fn too_many_pairs_are_none() {
        assert!(pairs(&"a=1&".repeat(MAX_PAIRS)).is_some());
        assert!(pairs(&"a=1&".repeat(MAX_PAIRS + 1)).is_none());
    }

    proptest! {
        #[test]
        fn encoding_can_be_undone(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii());
            prop_assert_eq!(percent_decode(encoded.as_bytes()), text.as_bytes());
        }

        #[test]
        fn decoding_never_grows(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(percent_decode(&text).len() <= text.len());
        }
    }
}
