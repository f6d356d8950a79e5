//! Where the visitor goes back to after a choice: somewhere on this site, or nowhere.
//!
//! Never lets a redirect leave the site, however the address is spelled. Bound: [`PATH_BYTES`].

use std::borrow::Cow;

use super::form;

/// The address as a `Location` value if it is a same-site relative one: one leading `/`, no `//` and no `\` in the
/// path, no control character, also after percent-decoding.
pub(super) fn sanitise(address: &str) -> Option<String> {
    if address.len() > PATH_BYTES || !address.starts_with('/') {
        return None;
    }
    let path_end = address.find(['?', '#']).unwrap_or(address.len());
    let (path, rest) = address.as_bytes().split_at(path_end);
    if !every_reading(path, |p| harmless(p) && memchr::memmem::find(p, b"//").is_none())
        || !every_reading(rest, harmless)
    {
        return None;
    }
    let mut out = String::with_capacity(address.len());
    for byte in address.bytes() {
        match byte {
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => form::push_escaped(&mut out, byte),
        }
    }
    Some(out)
}

/// Whether a property holds for the bytes as they are and after each of [`MAX_DECODINGS`] decodings; what can still be
/// decoded after that is refused.
fn every_reading(bytes: &[u8], holds: impl Fn(&[u8]) -> bool) -> bool {
    let mut reading = Cow::Borrowed(bytes);
    for _ in 0..MAX_DECODINGS {
        if !holds(&reading) {
            return false;
        }
        let decoded = form::percent_decode(&reading).into_owned();
        if decoded == *reading {
            return true;
        }
        reading = Cow::Owned(decoded);
    }
    false
}

fn harmless(bytes: &[u8]) -> bool {
    !bytes.iter().any(|&b| b.is_ascii_control() || b == b'\\')
}

/// Longest address in bytes.
pub(super) const PATH_BYTES: usize = 2048;
/// How often an address may be encoded over itself.
const MAX_DECODINGS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_pass() {
        for good in [
            "/",
            "/register",
            "/a/b?x=1&next=https://e.example//y",
            "/a#b",
            "/100%",
            "/a%20b",
            "/a?b=%252F%252F",
        ] {
            assert_eq!(sanitise(good).as_deref(), Some(good));
        }
        assert_eq!(sanitise("/қ б").as_deref(), Some("/%D2%9B%20%D0%B1"));
    }

    #[test]
    fn attacks_do_not() {
        for bad in [
            "",
            "a",
            "https://evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%252fevil.example",
            "/%25252fevil.example",
            "/%5cevil.example",
            "/%255Cevil.example",
            "/a//b",
            "/.//evil.example",
            "/%2e%2e//evil.example",
            "/\t/evil.example",
            "/%09/evil.example",
            "/\n",
            "/a%0d%0aSet-Cookie:x=y",
            "/a?b=%0d%0aLocation:x",
            "/a?b=%250a",
            "/a\r\nX: y",
            "/a\0",
            "/%00",
            "/a\\b",
            "/a?\\",
            "/a#%5c",
            " /a",
            "javascript:alert(1)",
            "/%2525252525252525256a",
        ] {
            assert_eq!(sanitise(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn long_addresses_do_not_pass() {
        assert!(sanitise(&format!("/{}", "a".repeat(PATH_BYTES - 1))).is_some());
        assert!(sanitise(&format!("/{}", "a".repeat(PATH_BYTES))).is_none());
    }
}
