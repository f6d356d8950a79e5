//! One element of `Forwarded`, read strictly (RFC 7239 §4-6), and where elements begin.
//!
//! Elements are found from the right: what an untrusted client wrote to the left, such as a quote that never ends,
//! cannot swallow what trusted proxies appended. Never decides whom to believe. Bound: the field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

use smallvec::SmallVec;

/// What an element says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// `for`: an address, if it is one; `unknown` and obfuscated names are `None`, as is an absent parameter.
    pub client: Option<IpAddr>,
    /// `host`, unquoted.
    pub host: Option<Text>,
    /// `proto`, unquoted.
    pub proto: Option<Text>,
}

/// The text of a value.
pub type Text = SmallVec<[u8; 48]>;

/// Cuts the last element off `field`, with its blanks; `None` when nothing is left.
pub fn next_back<'a>(field: &mut Option<&'a [u8]>) -> Option<&'a [u8]> {
    let text = (*field)?;
    let mut at = text.len();
    let mut quoted = false;
    while at > 0 {
        at -= 1;
        match text[at] {
            // A quote after an odd number of backslashes is one within a quoted string.
            b'"' if !(quoted && is_escaped(text, at)) => quoted = !quoted,
            b',' if !quoted => {
                *field = Some(&text[..at]);
                return Some(&text[at + 1..]);
            }
            _ => {}
        }
    }
    *field = None;
    Some(text)
}

/// Reads one element without the blanks around it. `None`: it is malformed.
#[must_use]
pub fn parse(mut rest: &[u8]) -> Option<Element> {
    let mut element = Element::default();
    let (mut seen_for, mut seen_by) = (false, false);
    let mut others: SmallVec<[&[u8]; 4]> = SmallVec::new();
    loop {
        // Pairs may be empty, as in `for=a;;proto=b`.
        if rest.first().is_some_and(|&byte| byte != b';') {
            let (name, after) = token(rest)?;
            let (value, after) = value(after.strip_prefix(b"=")?)?;
            rest = after;
            let first = match name {
                _ if name.eq_ignore_ascii_case(b"for") => {
                    element.client = node(&value)?;
                    !std::mem::replace(&mut seen_for, true)
                }
                _ if name.eq_ignore_ascii_case(b"by") => {
                    node(&value)?;
                    !std::mem::replace(&mut seen_by, true)
                }
                _ if name.eq_ignore_ascii_case(b"host") => element.host.replace(value).is_none(),
                _ if name.eq_ignore_ascii_case(b"proto") => element.proto.replace(value).is_none(),
                _ => {
                    let first = !others.iter().any(|other| other.eq_ignore_ascii_case(name));
                    others.push(name);
                    // Extensions are for others; more than these are nobody's.
                    first && others.len() <= MOST_EXTENSIONS
                }
            };
            if !first {
                return None;
            }
        }
        match rest {
            [] => return Some(element),
            [b';', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// RFC 9110 §5.6.2.
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// A token and what follows it.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or the inside of a quoted string (RFC 9110 §5.6.4), and what follows it.
fn value(text: &[u8]) -> Option<(Text, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        return token(text).map(|(token, rest)| (Text::from_slice(token), rest));
    };
    let mut value = Text::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', byte @ (b'\t' | b' '..=b'~' | 0x80..), after @ ..]
            | [byte @ (b'\t' | b' ' | b'!' | b'#'..=b'[' | b']'..=b'~' | 0x80..), after @ ..] => {
                value.push(*byte);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// The address of a node (RFC 7239 §6), if it has one; `None` outside if it is no node.
fn node(text: &[u8]) -> Option<Option<IpAddr>> {
    let text = str::from_utf8(text).ok()?;
    let (name, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if !rest.is_empty() && !rest.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    if text.starts_with('[') {
        name.parse::<Ipv6Addr>().ok().map(|ip| Some(IpAddr::from(ip).to_canonical()))
    } else if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        Some(None)
    } else {
        name.parse::<Ipv4Addr>().ok().map(|ip| Some(IpAddr::V4(ip)))
    }
}

/// 1-5 digits that are a port, or an obfuscated one.
fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && text.parse::<u16>().is_ok()) || is_obfuscated(text)
}

fn is_obfuscated(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    })
}

/// Extension parameters of one element.
const MOST_EXTENSIONS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(text: &str) -> Option<Option<String>> {
        parse(text.as_bytes()).map(|element| element.client.map(|ip| ip.to_string()))
    }

    fn split(field: &str) -> Vec<String> {
        let mut rest = Some(field.as_bytes());
        std::iter::from_fn(|| next_back(&mut rest)).map(|e| String::from_utf8_lossy(e).into_owned()).collect()
    }

    #[test]
    fn nodes_are_read_as_the_rfc_writes_them() {
        for (text, expected) in [
            ("for=192.0.2.60", Some("192.0.2.60")),
            ("For=\"192.0.2.60\"", Some("192.0.2.60")),
            ("for=\"192.0.2.60:4711\"", Some("192.0.2.60")),
            ("for=\"192.0.2.60:_port.1\"", Some("192.0.2.60")),
            ("FOR=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("for=\"[2001:db8:cafe::17]\"", Some("2001:db8:cafe::17")),
            ("for=\"[::ffff:1.2.3.4]\"", Some("1.2.3.4")),
            ("for=\"1.2.3\\.4\"", Some("1.2.3.4")),
            ("for=unknown", None),
            ("for=\"unknown:_x\"", None),
            ("for=_hidden", None),
            ("for=_SEVKISEK;proto=https", None),
            ("proto=http;by=203.0.113.43", None),
            ("", None),
            (";for=192.0.2.60;;proto=http;", Some("192.0.2.60")),
            ("for=192.0.2.60;secret=x;other=\"a,b\"", Some("192.0.2.60")),
        ] {
            assert_eq!(client(text), Some(expected.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for bad in [
            "for",
            "for=",
            "=1.2.3.4",
            "for=1.2.3.4:80",
            "for=[::1]",
            "for=\"::1\"",
            "for=\"2001:db8::1\"",
            "for=\"[::1\"",
            "for=\"[1.2.3.4]\"",
            "for=\"[::1]80\"",
            "for=\"1.2.3.4:\"",
            "for=\"1.2.3.4:65536\"",
            "for=\"1.2.3.4:000080\"",
            "for=1.2.3",
            "for=01.2.3.4",
            "for=_",
            "for=\"_a b\"",
            "for=\"1.2.3.4",
            "for=1.2.3.4\"",
            "for =1.2.3.4",
            "for= 1.2.3.4",
            "for=1.2.3.4 ;proto=http",
            "for=1.2.3.4;for=1.2.3.4",
            "for=unknown;for=1.2.3.4",
            "proto=http;proto=https",
            "by=nonsense;for=1.2.3.4",
            "for=1.2.3.4;x=1;X=2",
            "for=1.2.3.4 for=1.2.3.5",
            "1.2.3.4",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(b"for=\"1.2.3.4\0\""), None);
    }

    #[test]
    fn host_and_scheme_are_unquoted() {
        let element = parse(br#"host="kz.example:8443";proto=https;for="\[::1]""#).unwrap();
        assert_eq!(element.host.as_deref(), Some(&b"kz.example:8443"[..]));
        assert_eq!(element.proto.as_deref(), Some(&b"https"[..]));
        assert_eq!(element.client.unwrap().to_string(), "::1");
    }

    #[test]
    fn elements_are_found_from_the_right() {
        assert_eq!(split("a, b,c"), ["c", " b", "a"]);
        assert_eq!(split("a=\"x,y\",b"), ["b", "a=\"x,y\""]);
        assert_eq!(split("a=\"x\\\",y\",b"), ["b", "a=\"x\\\",y\""]);
        assert_eq!(split(""), [""]);
        // A quote that a client never closed ends at the comma that a proxy wrote.
        assert_eq!(split("for=\"evil, for=1.2.3.4"), [" for=1.2.3.4", "for=\"evil"]);
        assert_eq!(split("for=\"evil, for=\"[::1]\"")[0], " for=\"[::1]\"");
    }

    proptest! {
        #[test]
        fn what_stands_left_does_not_move_a_proxys_element(left in "[ -~]{0,40}", quoted: bool) {
            let right = if quoted { "for=\"[2001:db8::1]:80\";x=\"a,\\\"b\"" } else { "for=1.2.3.4" };
            let mut field = format!("{left},{right}").into_bytes();
            field.extend_from_slice(b"");
            prop_assert_eq!(next_back(&mut Some(&field)), Some(right.as_bytes()));
        }

        #[test]
        fn splitting_loses_nothing(field in "[a\",\\\\ ;=]{0,40}") {
            let mut parts = split(&field);
            parts.reverse();
            prop_assert_eq!(parts.join(","), field);
        }
    }
}
