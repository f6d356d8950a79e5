//! Runs of a text that look like a token: whoever has one may be let in by it, or be known by it.
//!
//! [`SHORTEST_DIGITS`] hexadecimal digits, as in links that reset a password, or an object of JSON in base64, as a JSON Web
//! Token begins. A UUID is none, nor is any other text of random letters: those cannot be told from words. Never decodes.
//! Bound: the text.

use std::ops::Range;

/// Where the first token of a text is.
pub(super) fn token_in(text: &[u8]) -> Option<Range<usize>> {
    if text.len() < SHORTEST_JSON {
        return None;
    }
    let mut digits = 0;
    for (at, byte) in text.iter().enumerate() {
        digits = if byte.is_ascii_hexdigit() { digits + 1 } else { 0 };
        if digits == SHORTEST_DIGITS {
            return Some(at + 1 - SHORTEST_DIGITS..run_end(text, at, u8::is_ascii_hexdigit));
        }
        if *byte == b'J'
            && let Some(json) = json_at(text, at)
        {
            return Some(json);
        }
    }
    None
}

/// The JSON in base64 whose third letter is here: `eyJ` is `{"`.
#[cold]
fn json_at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = text[..at].strip_suffix(b"ey")?;
    // Asked first: behind this, a run is looked through once.
    if before.last().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let end =
        run_end(text, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'.' | b'='));
    (end - before.len() >= SHORTEST_JSON).then_some(before.len()..end)
}

/// The end of the run of such bytes from `at` on.
fn run_end(text: &[u8], at: usize, is_such: impl Fn(&u8) -> bool) -> usize {
    text[at..].iter().position(|b| !is_such(b)).map_or(text.len(), |length| at + length)
}

/// Fewest hexadecimal digits of a token: 128 bits.
pub(super) const SHORTEST_DIGITS: usize = 32;
/// Fewest letters of JSON in base64.
const SHORTEST_JSON: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_and_words_are_not() {
        let digits = "0123456789abcdefABCDEF0123456789";
        for (text, token) in [
            (digits.to_owned(), 0..32),
            (format!("x-{digits}0.js"), 2..35),
            ("eyJhbGciOiJub25lIn0.eyJ1IjoxfQ.".to_owned(), 0..31),
            ("t:eyJ1c2VyIjoiYm9iIn0=/x".to_owned(), 2..22),
        ] {
            assert_eq!(token_in(text.as_bytes()), Some(token), "{text}");
        }
        for none in [
            &digits[1..],
            "",
            "123e4567-e89b-12d3-a456-426614174000",
            "eyJ",
            "a-long-title-of-an-article-about-honeyJars-and-more",
            "0123456789abcdef-0123456789abcdef",
        ] {
            assert_eq!(token_in(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_long_text_takes_time_in_proportion_to_its_length() {
        // Quadratic, this would take minutes.
        for piece in ["aeyJ", ".eyJ/", "eyJ_a.@", "0123456789abcdef0123456789abcde."] {
            assert!(token_in(piece.repeat(1 << 18).as_bytes()).is_none(), "{piece}");
        }
    }
}
