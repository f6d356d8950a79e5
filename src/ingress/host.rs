//! The one host of a request (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! HTTP/1: exactly one `Host` that parses, equal to the authority of an absolute-form target. HTTP/2: `:authority`,
//! and a `Host` only if it says the same. Never guesses. Bound: 253 bytes of name.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version, header};
use smallvec::SmallVec;

use crate::error::Reason;

/// A host as the client wrote it, and its name for look-ups.
#[derive(Debug)]
pub struct Host {
    value: HeaderValue,
    /// Lower case, without port, without brackets.
    name: SmallVec<[u8; 64]>,
}

impl Host {
    /// The name in lower case, without port; an IPv6 literal without brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }

    /// `host[:port]` as the client wrote it: what goes upstream.
    #[must_use]
    pub fn into_value(self) -> HeaderValue {
        self.value
    }
}

/// Finds the host and leaves exactly one `Host` field in the head.
///
/// # Errors
/// [`Reason::BadHost`] for none, several, one that does not parse, or two that differ.
pub fn take(parts: &mut Parts) -> Result<Host, Reason> {
    let field = single(&parts.headers)?.cloned();
    let authority = parts.uri.authority();
    let value = match (parts.version, authority, field) {
        (Version::HTTP_2, Some(authority), None) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::BadHost)?;
            parts.headers.insert(header::HOST, value.clone());
            value
        }
        (_, Some(authority), Some(field)) => {
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(field.as_bytes()) {
                return Err(Reason::BadHost);
            }
            field
        }
        (_, None, Some(field)) => field,
        (_, _, None) => return Err(Reason::BadHost),
    };
    let (name, port) = split(value.as_bytes()).ok_or(Reason::BadHost)?;
    let plain = is_plain(port);
    let name = match value.as_bytes().first() {
        // An IPv6 literal has many spellings; the configured one is the canonical.
        Some(b'[') => match std::str::from_utf8(name).ok().and_then(|n| n.parse::<std::net::Ipv6Addr>().ok())
        {
            Some(address) => address.to_string().into_bytes().into(),
            None => return Err(Reason::BadHost),
        },
        _ => {
            let mut name: SmallVec<[u8; 64]> = SmallVec::from_slice(name);
            name.make_ascii_lowercase();
            name
        }
    };
    if plain {
        return Ok(Host { value, name });
    }
    let value = canonical(value);
    parts.headers.insert(header::HOST, value.clone());
    Ok(Host { value, name })
}

fn single(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Reason> {
    let mut all = headers.get_all(header::HOST).iter();
    let first = all.next();
    if all.next().is_some() { Err(Reason::BadHost) } else { Ok(first) }
}

/// The name in `host[:port]`, if that is what this is (RFC 3986 §3.2.2, without userinfo).
#[must_use]
pub fn parse(value: &[u8]) -> Option<&[u8]> {
    split(value).map(|(name, _)| name)
}

/// `host[:port]`, which parses, without an empty port and without zeros before one.
#[must_use]
pub fn canonical(value: HeaderValue) -> HeaderValue {
    let bytes = value.as_bytes();
    match split(bytes) {
        Some((_, port)) if !is_plain(port) => {
            let digits =
                port[1..].iter().position(|digit| *digit != b'0').map_or(&b""[..], |at| &port[1 + at..]);
            let mut plain = bytes[..bytes.len() - port.len()].to_vec();
            if !digits.is_empty() {
                plain.push(b':');
                plain.extend_from_slice(digits);
            }
            HeaderValue::from_bytes(&plain).unwrap_or(value)
        }
        _ => value,
    }
}

/// Whether this is how a port is written: not at all, or by digits of which the first is no zero.
fn is_plain(port: &[u8]) -> bool {
    port.is_empty() || matches!(port, [b':', b'1'..=b'9', ..])
}

/// The name, and the port with its colon. A port may be empty (RFC 3986 §3.2.3); 0 is none that can be asked.
fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let end = memchr::memchr(b']', rest)?;
        let literal = std::str::from_utf8(&rest[..end]).ok()?;
        literal.parse::<std::net::Ipv6Addr>().ok()?;
        (&rest[..end], &rest[end + 1..])
    } else {
        let end = memchr::memchr(b':', value).unwrap_or(value.len());
        let name = &value[..end];
        let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > 253 || !name.iter().all(legal) {
            return None;
        }
        (name, &value[end..])
    };
    match port {
        b"" | b":" => Some((name, port)),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let number = digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
            (1..=65_535).contains(&number).then_some((name, port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(version: Version, uri: &str, hosts: &[&str]) -> Parts {
        let mut request = http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn name(version: Version, uri: &str, hosts: &[&str]) -> Result<String, Reason> {
        take(&mut parts(version, uri, hosts)).map(|h| h.name().to_owned())
    }

    #[test]
    fn exactly_one_host() {
        let v1 = Version::HTTP_11;
        assert_eq!(name(v1, "/", &["KZ.example:8080"]).unwrap(), "kz.example");
        assert_eq!(name(v1, "/", &["[::1]:80"]).unwrap(), "::1");
        assert_eq!(name(v1, "/", &["[0:0:0:0:0:0:0:1]"]).unwrap(), "::1");
        assert_eq!(name(v1, "/", &[]), Err(Reason::BadHost));
        assert_eq!(name(v1, "/", &["a", "a"]), Err(Reason::BadHost));
        assert_eq!(name(Version::HTTP_10, "/", &[]), Err(Reason::BadHost));
    }

    #[test]
    fn a_port_is_written_in_one_way() {
        for (came, goes) in [
            ("kz.example:", "kz.example"),
            ("KZ.example:00080", "KZ.example:80"),
            ("[::1]:", "[::1]"),
            ("[::1]:0443", "[::1]:443"),
            ("kz.example:8080", "kz.example:8080"),
            ("[::1]", "[::1]"),
        ] {
            for (version, uri, hosts) in [
                (Version::HTTP_11, "/".to_owned(), &[came][..]),
                (Version::HTTP_2, format!("https://{came}/"), &[]),
            ] {
                let mut parts = parts(version, &uri, hosts);
                let host = take(&mut parts).unwrap();
                assert_eq!(parts.headers[header::HOST], goes, "{came} {version:?}");
                assert_eq!(host.into_value(), goes, "{came} {version:?}");
            }
        }
    }

    #[test]
    fn absolute_form_must_agree_with_host() {
        let v1 = Version::HTTP_11;
        assert_eq!(name(v1, "http://kz.example/", &["kz.example"]).unwrap(), "kz.example");
        assert_eq!(name(v1, "http://kz.example/", &["other.example"]), Err(Reason::BadHost));
    }

    #[test]
    fn h2_takes_the_authority() {
        let mut parts = parts(Version::HTTP_2, "https://kz.example/a", &[]);
        assert_eq!(take(&mut parts).unwrap().name(), "kz.example");
        assert_eq!(parts.headers[header::HOST], "kz.example");
        assert_eq!(name(Version::HTTP_2, "https://kz.example/a", &["evil.example"]), Err(Reason::BadHost));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "",
            "user@kz.example",
            "kz.example:x",
            "kz.example:0",
            "kz.example:00000",
            "kz.example:000080",
            "kz.example::",
            ":",
            "kz.example:65536",
            "a b",
            "[::1",
            "[1.2.3.4]",
            "kz/example",
            "a:1:2",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
