//! Text from the wire, made harmless for a terminal, a spreadsheet and a log parser.
//!
//! Whoever sends a request chooses its path and its user agent, so both may hold escape sequences that recolour,
//! retitle or rewrite the operator's terminal. Every format writes text through this module. Nothing is lost in the
//! text formats: a backslash is doubled, so `\x1b` and `\u{202e}` are reversible. Bound: six times the input.

use std::fmt::Write as _;

/// Appends text for people and text formats: what could act on a terminal becomes `\xNN` or `\u{NNNN}`.
pub(in crate::cli) fn push_text(out: &mut String, bytes: &[u8]) {
    if bytes.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'\\') {
        out.extend(bytes.iter().map(|b| char::from(*b)));
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if !acts(c) => out.push(c),
                c if c.is_ascii() => push_hex(out, u32::from(c)),
                c => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
            }
        }
        for byte in chunk.invalid() {
            push_hex(out, u32::from(*byte));
        }
    }
}

/// Appends a line that a program has laid out: like [`push_text`], but a backslash stays one.
pub(super) fn push_line(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if !acts(c) => out.push(c),
                c if c.is_ascii() => push_hex(out, u32::from(c)),
                c => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
            }
        }
        for byte in chunk.invalid() {
            push_hex(out, u32::from(*byte));
        }
    }
}

/// Appends a line of JSON that a program has written: what acts can only be within its strings.
pub(super) fn push_json_line(out: &mut String, bytes: &[u8]) {
    for c in String::from_utf8_lossy(bytes).chars() {
        if acts(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
}

/// Like [`push_text`] for a field between double quotes: a quote becomes `\x22`.
pub(super) fn push_quotable(out: &mut String, bytes: &[u8]) {
    let mut parts = bytes.split(|b| *b == b'"');
    if let Some(first) = parts.next() {
        push_text(out, first);
    }
    for part in parts {
        push_hex(out, u32::from(b'"'));
        push_text(out, part);
    }
}

/// Appends a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
pub(in crate::cli) fn push_json(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if !acts(c) => out.push(c),
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
            }
        }
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out.push('"');
}

/// Appends one field of a CSV row (RFC 4180): quoted when it must be. Text that a spreadsheet would run as a formula
/// gets a leading apostrophe; a number below zero is none.
pub(super) fn push_csv(out: &mut String, bytes: &[u8]) {
    let mut text = String::with_capacity(bytes.len());
    if matches!(bytes.first(), Some(b'=' | b'+' | b'-' | b'@')) && !is_below_zero(bytes) {
        text.push('\'');
    }
    push_text(&mut text, bytes);
    if !text.contains([',', '"']) && !text.starts_with(' ') && !text.ends_with(' ') {
        out.push_str(&text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
}

/// `-300`, `-1.5`, `-2e-7`: digits, and nothing to be worked out.
fn is_below_zero(text: &[u8]) -> bool {
    let Some(number) = text.strip_prefix(b"-") else { return false };
    let (number, exponent) = match number.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let mut parts = number.splitn(2, |b| *b == b'.');
    let signless = |text: &[u8]| text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text).to_vec();
    parts.all(digits) && exponent.is_none_or(|exponent| digits(&signless(exponent)))
}

fn push_hex(out: &mut String, byte: u32) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// Whether a terminal or an editor acts on the character instead of showing it: C0 and C1 controls, line and
/// paragraph separators, and the invisible ones that reorder or hide text.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = String::new();
        push_text(&mut out, bytes);
        out
    }

    #[test]
    fn escapes_lose_their_power_and_stay_readable() {
        assert_eq!(text(b"/a\x1b[31mred\x07"), "/a\\x1b[31mred\\x07");
        assert_eq!(text("/\u{202e}gpj.exe".as_bytes()), "/\\u{202e}gpj.exe");
        assert_eq!(text("\u{9b}2J".as_bytes()), "\\u{9b}2J", "C1 CSI");
        assert_eq!(text(b"\xff\\x1b"), "\\xff\\\\x1b");
        assert_eq!(text("Қазақ".as_bytes()), "Қазақ");
    }

    #[test]
    fn a_quote_cannot_end_its_field() {
        let mut out = String::new();
        push_quotable(&mut out, b"a\" 200 \"b");
        assert_eq!(out, "a\\x22 200 \\x22b");
    }

    #[test]
    fn csv_quotes_and_disarms_formulas() {
        let csv = |bytes: &[u8]| {
            let mut out = String::new();
            push_csv(&mut out, bytes);
            out
        };
        assert_eq!(csv(b"plain"), "plain");
        assert_eq!(csv(b"a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv(b"=cmd|'/C calc'!A0"), "'=cmd|'/C calc'!A0");
        assert_eq!(csv(b"two\r\nlines"), "two\\x0d\\x0alines");
    }

    #[test]
    fn a_number_below_zero_is_no_formula() {
        for (text, given) in [
            ("-300", "-300"),
            ("-1.5", "-1.5"),
            ("-2e-7", "-2e-7"),
            ("-1+cmd", "'-1+cmd"),
            ("-", "'-"),
            ("-1.", "'-1."),
            ("-e5", "'-e5"),
            ("-1e", "'-1e"),
            ("+1", "'+1"),
        ] {
            let mut out = String::new();
            push_csv(&mut out, text.as_bytes());
            assert_eq!(out, given);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_comes_out(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for push in [push_text, push_quotable, push_json, push_csv] {
                let mut out = String::new();
                push(&mut out, &bytes);
                prop_assert!(!out.chars().any(acts));
            }
        }

        #[test]
        fn json_strings_parse_back(s in any::<String>()) {
            let mut out = String::new();
            push_json(&mut out, s.as_bytes());
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), s);
        }
    }
}
