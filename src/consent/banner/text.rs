//! The value of a consent cookie as text: percent-decoded as often as its writer encoded it.
//!
//! Strict: a `%` without two digits or bytes that are not UTF-8 make no text, so that nothing is guessed. Never decodes
//! more than twice. Bound: [`VALUE_BYTES`].

use std::borrow::Cow;

use crate::clock::Timestamp;

/// Longest value that is read, in bytes.
pub const VALUE_BYTES: usize = 4096;
/// Most keys or items of one value.
pub const MAX_ITEMS: usize = 256;

/// Which of the at most two decodings a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::consent) enum Pass {
    /// Another one is possible if this text makes no sense.
    First,
    /// There is no other.
    Last,
}

/// What the first text that makes sense says: the value itself if it has no `%`, else the value decoded once, or twice.
pub(in crate::consent) fn first<T>(value: &[u8], mut read: impl FnMut(&str, Pass) -> Option<T>) -> Option<T> {
    if value.len() > VALUE_BYTES {
        return None;
    }
    let once = decode(value)?;
    let text = str::from_utf8(&once).ok()?;
    // A value that had nothing to decode cannot have been encoded twice.
    let again = matches!(once, Cow::Owned(_)) && text.contains('%');
    let pass = if again { Pass::First } else { Pass::Last };
    if let Some(found) = read(text, pass) {
        return Some(found);
    }
    if !again {
        return None;
    }
    let twice = decode(text.as_bytes())?;
    read(str::from_utf8(&twice).ok()?, Pass::Last)
}

/// The same for a form, whose parts are decoded after it is taken apart: the value as it is, or decoded once.
pub(super) fn first_form<T>(value: &[u8], mut read: impl FnMut(&str, Pass) -> Option<T>) -> Option<T> {
    if value.len() > VALUE_BYTES {
        return None;
    }
    let text = str::from_utf8(value).ok()?;
    let again = text.contains('%');
    if let Some(found) = read(text, if again { Pass::First } else { Pass::Last }) {
        return Some(found);
    }
    if !again {
        return None;
    }
    let once = decode(value)?;
    read(str::from_utf8(&once).ok()?, Pass::Last)
}

/// A part of a form: `+` is a blank, and every `%` must be an escape.
pub(super) fn form_part(part: &str) -> Option<String> {
    let blanks = part.replace('+', " ");
    String::from_utf8(decode(blanks.as_bytes())?.into_owned()).ok()
}

/// Every escape decoded once; `None` if a `%` is no escape.
fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr(b'%', text).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        out.push(digit(*high)? << 4 | digit(*low)?);
        rest = tail;
    }
    Some(Cow::Owned(out))
}

/// A moment, told apart by its shape: ISO 8601, seconds since 1970 (at most 11 digits), or milliseconds.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        return match text.len() {
            1..=11 => Some(Timestamp::from_secs(number)),
            12..=14 => Some(Timestamp::from_micros(number.checked_mul(1000)?)),
            _ => None,
        };
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_micros(moment.as_microsecond()));
    }
    // Without an offset it is taken for UTC: off by hours, not by days.
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let moment = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_micros(moment.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(value: &[u8], wanted: &str) -> (Option<()>, Vec<String>) {
        let mut texts = Vec::new();
        let found = first(value, |text, _| {
            texts.push(text.to_owned());
            (text == wanted).then_some(())
        });
        (found, texts)
    }

    #[test]
    fn a_value_is_decoded_once_and_once_more_only_if_it_makes_no_sense() {
        assert_eq!(seen(b"a+b", "a+b"), (Some(()), vec!["a+b".into()]));
        assert_eq!(seen(b"%7B", "{"), (Some(()), vec!["{".into()]));
        assert_eq!(seen(b"%257B", "{"), (Some(()), vec!["%7B".into(), "{".into()]));
        assert_eq!(seen(b"%25257B", "{"), (None, vec!["%257B".into(), "%7B".into()]));
        assert_eq!(seen(b"x", "y"), (None, vec!["x".into()]));
    }

    #[test]
    fn bad_encoding_is_no_text() {
        for bad in [&b"%E0%A4%A"[..], b"%", b"%4", b"%zz", b"%FF", b"\xFF", b"a%00%", b"%E0%A4"] {
            assert_eq!(seen(bad, "").1, Vec::<String>::new(), "{}", bad.escape_ascii());
        }
        assert_eq!(seen(&[b'a'; VALUE_BYTES], "").1.len(), 1);
        assert_eq!(seen(&[b'a'; VALUE_BYTES + 1], "").1.len(), 0);
    }

    #[test]
    fn moments_are_told_apart_by_their_shape() {
        for (text, seconds) in [
            ("1718103120", Some(1_718_103_120)),
            ("1705162226478", Some(1_705_162_226)),
            ("2021-10-19T03:31:41.236Z", Some(1_634_614_301)),
            ("2021-10-19T03:31:41+06:00", Some(1_634_592_701)),
            ("2021-10-19 03:31:41", Some(1_634_614_301)),
            ("2021-10-19", Some(1_634_601_600)),
            ("", None),
            ("-5", None),
            ("yesterday", None),
            ("1.5", None),
            ("170516222647800", None),
        ] {
            assert_eq!(moment(text).map(Timestamp::as_secs), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_is_found(text in "\\PC{0,60}") {
            let mut encoded = String::new();
            text.bytes().for_each(|byte| crate::consent::form::push_escaped(&mut encoded, byte));
            prop_assert_eq!(seen(encoded.as_bytes(), &text).0, Some(()));
            // A `%` of its own is escaped then, too.
            let twice = encoded.replace('%', "%25");
            prop_assert_eq!(seen(twice.as_bytes(), &text).0, Some(()));
        }

        #[test]
        fn no_bytes_are_decoded_more_than_twice(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(seen(&value, "never").1.len() <= 2);
        }
    }
}
