//! What a client says of itself in words: recorded only where it has the form that programs give it.
//!
//! These columns have no key, so that a text of the client's choice has no place there. Never corrects a value: one that
//! does not fit is left out. Bounds: [`MOST_BRANDS`] and the lengths below.

use super::tokens::token_in;

/// The method, or `_OTHER` (as OpenTelemetry has it) for one that is in no register.
#[must_use]
pub fn method(method: &[u8]) -> &[u8] {
    let is_usual = matches!(method, b"GET" | b"HEAD" | b"POST" | b"PUT" | b"DELETE" | b"OPTIONS" | b"PATCH");
    if is_usual || METHODS.contains(&method) { method } else { b"_OTHER" }
}

/// `Sec-CH-UA`, if it is a list of brands with their versions: `"Chromium";v="148", "Not A Brand";v="24"`.
#[must_use]
pub fn brands(value: &[u8]) -> Option<&[u8]> {
    let mut rest = value;
    for _ in 0..MOST_BRANDS {
        rest = brand(rest)?;
        match rest {
            [] => return Some(value),
            [b',', tail @ ..] => rest = tail.trim_ascii_start(),
            _ => return None,
        }
    }
    None
}

/// `Sec-CH-UA-Platform`, if it is the quoted name of a system: `"Chrome OS"`.
#[must_use]
pub fn platform(value: &[u8]) -> Option<&[u8]> {
    let (_, rest) = quoted(value, LONGEST_PLATFORM, |b| b.is_ascii_alphanumeric() || b == b' ')?;
    rest.is_empty().then_some(value)
}

/// What follows a brand with its version.
fn brand(text: &[u8]) -> Option<&[u8]> {
    let (name, rest) = quoted(text, LONGEST_BRAND, is_in_brand)?;
    if token_in(name).is_some() {
        return None;
    }
    let version = rest.strip_prefix(b";")?.trim_ascii_start().strip_prefix(b"v=")?;
    let (_, rest) = quoted(version, LONGEST_VERSION, |b| b.is_ascii_digit() || b == b'.')?;
    Some(rest.trim_ascii_start())
}

/// Letters, digits, and what browsers put between those of a brand that is none, also in earlier years.
const fn is_in_brand(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'(' | b')' | b'-' | b'.' | b'/' | b':' | b';' | b'=' | b'?' | b'_' | b'+' | b'"' | b'\\'
        )
}

/// A string in quotes (RFC 9651 §3.3.3) of legal bytes, and what follows it. A quote or backslash has one before it.
fn quoted(text: &[u8], longest: usize, legal: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut at = 0;
    while at <= longest {
        match text[at..] {
            [b'"', ..] => return Some((&text[..at], &text[at + 1..])),
            [b'\\', escaped @ (b'"' | b'\\'), ..] if legal(escaped) => at += 2,
            [b'\\', ..] | [] => return None,
            [byte, ..] if legal(byte) => at += 1,
            _ => return None,
        }
    }
    None
}

/// Most brands of one browser. They send two to four.
const MOST_BRANDS: usize = 8;
/// Longest brand in bytes.
const LONGEST_BRAND: usize = 40;
/// Longest version in bytes.
const LONGEST_VERSION: usize = 24;
/// Longest name of a system in bytes.
const LONGEST_PLATFORM: usize = 24;

/// The methods that IANA knows, and one that caches know.
const METHODS: &[&[u8]] = &[
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"CONNECT",
    b"COPY",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"ORDERPATCH",
    b"PRI",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"TRACE",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_of_the_clients_choice_is_not_recorded() {
        for known in ["GET", "PATCH", "PROPFIND", "PURGE", "VERSION-CONTROL"] {
            assert_eq!(method(known.as_bytes()), known.as_bytes());
        }
        for other in ["IVAN", "get", "", "S3CRET-TOKEN"] {
            assert_eq!(method(other.as_bytes()), b"_OTHER");
        }
    }

    #[test]
    fn brands_of_browsers_are_kept_as_they_are() {
        for sent in [
            r#""Chromium";v="148", "Not A Brand";v="24""#,
            r#""Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24""#,
            r#""Not(A:Brand";v="99","Microsoft Edge";v="133.0.1""#,
            r#"" Not A;Brand";v="99""#,
            r#""\\Not\"A;Brand";v="99", "Opera";v="85""#,
            r#""Not)A;Brand"; v="8" , "Yowser";v="2.5""#,
        ] {
            assert_eq!(brands(sent.as_bytes()), Some(sent.as_bytes()), "{sent}");
        }
    }

    #[test]
    fn a_text_that_is_no_list_of_brands_is_not_recorded() {
        let one = r#""B";v="1""#;
        let long = format!("\"{}\";v=\"1\"", "x".repeat(LONGEST_BRAND + 1));
        let token = format!("\"{}\";v=\"1\"", "0123456789abcdef".repeat(2));
        let many = [one; MOST_BRANDS + 1].join(", ");
        for other in [
            "",
            "Chromium",
            r#""Chromium""#,
            r#""ivan@mail.kz";v="1""#,
            r#""B";v="ivan""#,
            r#""B";v="1";u="ivan""#,
            r#""B";v="1", "#,
            r#""B";v="1" ivan"#,
            r#""B\x";v="1""#,
            r#""B;v=1"#,
            &long,
            &token,
            &many,
            &"x".repeat(9000),
        ] {
            assert_eq!(brands(other.as_bytes()), None, "{other}");
        }
        assert!(brands([one; MOST_BRANDS].join(", ").as_bytes()).is_some());
    }

    #[test]
    fn a_platform_is_the_quoted_name_of_a_system() {
        for sent in [r#""Windows""#, r#""Chrome OS""#, r#""""#] {
            assert_eq!(platform(sent.as_bytes()), Some(sent.as_bytes()));
        }
        for other in ["", "Linux", r#""ivan@mail.kz""#, r#""Linux" x"#, r#""A name that is longer than any""#]
        {
            assert_eq!(platform(other.as_bytes()), None, "{other}");
        }
    }
}
