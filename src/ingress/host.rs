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
    let name = parse(value.as_bytes()).ok_or(Reason::BadHost)?;
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
        b"" => Some(name),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let port = digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
            (port <= 65_535 && !digits.is_empty()).then_some(name)
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
            "kz.example:",
            "kz.example:x",
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
