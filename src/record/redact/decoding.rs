//! Percent-decoding, once and again.
//!
//! What is no valid escape stays as it is, so that nothing fails here. A text is asked as it is written and after every
//! round, since nobody knows how often those who read it will decode it. Never changes the text. Bound: [`MAX_NESTING`].

use std::borrow::Cow;

/// How many times a text is decoded in search of what may not be recorded. One that then still has an escape counts as
/// having it.
pub const MAX_NESTING: usize = 4;

/// The text after one round.
pub(in crate::record) fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = text.to_vec();
    decode_in_place(&mut decoded);
    Cow::Owned(decoded)
}

/// Whether `tells` holds for the text or for what it becomes in any round, or there are rounds that are not made.
pub(super) fn any_round(text: &[u8], tells: impl Fn(&[u8]) -> bool) -> bool {
    if tells(text) {
        return true;
    }
    if memchr::memchr(b'%', text).is_none() {
        return false;
    }
    let mut decoded = text.to_vec();
    for _ in 0..MAX_NESTING {
        if !decode_in_place(&mut decoded) {
            return false;
        }
        if tells(&decoded) {
            return true;
        }
    }
    (0..decoded.len()).any(|at| escape(&decoded[at..]).is_some())
}

/// Whether anything was decoded.
fn decode_in_place(text: &mut Vec<u8>) -> bool {
    let (mut from, mut to) = (0, 0);
    while let Some(&byte) = text.get(from) {
        let decoded = escape(&text[from..]);
        from += if decoded.is_some() { 3 } else { 1 };
        text[to] = decoded.unwrap_or(byte);
        to += 1;
    }
    let is_shorter = to < text.len();
    text.truncate(to);
    is_shorter
}

/// The byte that the escape at the beginning of this text stands for.
fn escape(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

pub(super) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_asked_in_every_round_up_to_the_bound() {
        assert_eq!(&*decode(b"%41%zz%4"), b"A%zz%4");
        let mut text = "@".to_owned();
        for _ in 0..MAX_NESTING {
            text = text.replace('%', "%25").replace('@', "%40");
            assert!(any_round(text.as_bytes(), |round| round.contains(&b'@')), "{text}");
            assert!(!any_round(text.as_bytes(), |round| round.contains(&b'#')), "{text}");
        }
        let beyond = text.replace('%', "%25");
        assert!(any_round(beyond.as_bytes(), |_| false), "{beyond}");
        assert!(!any_round(b"100%25%", |_| false));
    }
}
