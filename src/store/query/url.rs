//! A filter as the query of a URL: `http.response.status_code=%3E%3D500&-client.address=%3A10.0.0.0/8&since=%3A2h`.
//!
//! One parameter per term: its name, with the minus of a negated term, and as its value the operator and the values in
//! the language of the command line. What is read goes through the one parser. Never reads a record. Bound: that of a
//! filter, three times for the escapes.

use std::fmt::Write as _;

use super::filter::{FILTER_BYTES, Filter};
use super::parse::{ParseError, parse};

/// The query of a filter, without the question mark.
pub(super) fn write(filter: &Filter) -> String {
    let mut out = String::new();
    for term in &filter.terms {
        let text = term.to_string();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        escape(&mut out, rest);
    }
    out
}

/// The filter of a query, as [`Filter::to_url`] writes it and as a browser may send it.
///
/// # Errors
/// The first mistake, in the language of the command line.
pub fn from_url(query: &str) -> Result<Filter, ParseError> {
    let mut words = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, rest) = part.split_once('=').unwrap_or((part, ""));
        words.push(unescape(name) + &unescape(rest));
        if words.iter().map(String::len).sum::<usize>() > FILTER_BYTES {
            break;
        }
    }
    parse(&words.join(" "))
}

/// What stands for itself in a query (RFC 3986, 3.4), without what has a meaning in forms; the rest as `%XX`.
fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b':'
            | b','
            | b'*' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// Bytes that are not UTF-8 become U+FFFD; a `%` without two digits stands for itself; `+` is a space.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = code.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%');
        (rest, _) = match code {
            Some(byte) => (&after[2..], bytes.push(byte)),
            None => (after, bytes.push(if *first == b'+' { b' ' } else { *first })),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::filter::tests::any_filter;
    use super::*;

    #[test]
    fn a_term_is_a_parameter() {
        let filter = parse("status>=500 -url.path:\"a b&c\" since:2h").unwrap();
        let url = "http.response.status_code=%3E%3D500&-url.path=:%22a%20b%26c%22&since=:2h";
        assert_eq!(filter.to_url(), url);
        assert_eq!(from_url(url).unwrap(), filter);
        assert_eq!(from_url("status=%3D404&path=~%5E/a+b"), parse("status=404 path~^/a b"));
        assert!(from_url("statsu==1").is_err() && from_url(&"a=%".repeat(9000)).is_err());
        assert_eq!(from_url("").unwrap(), Filter::default());
    }

    proptest! {
        #[test]
        fn every_filter_comes_back(filter in any_filter()) {
            prop_assert_eq!(from_url(&filter.to_url()).unwrap(), filter);
        }

        #[test]
        fn no_query_upsets_it(query in "\\PC{0,40}") {
            let _ = from_url(&query);
        }
    }
}
