//! The fields that the site may trust, written on every request whatever the client sent.
//!
//! Set or remove, never set-if-known: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Request-Id`. The values come from the
//! connection and from trusted proxies only. Bound: the trusted chain.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::host;
use super::request_id;
use crate::identify::{ClientAddress, forwarded};

/// What is written.
#[derive(Debug)]
pub struct Facts<'a> {
    /// `host[:port]` as the visitor's browser wrote it.
    pub host: &'a HeaderValue,
    /// Whether the visitor came by https.
    pub secure: bool,
    /// From the client to the peer.
    pub chain: &'a [ClientAddress],
    /// The request id.
    pub id: &'a HeaderValue,
}

/// Writes all of them.
pub fn set(headers: &mut HeaderMap, facts: &Facts<'_>) {
    let proto = if facts.secure { "https" } else { "http" };
    let host = facts.host.to_str().unwrap_or_default();
    headers.insert(X_FORWARDED_FOR, forwarded::x_forwarded_for(facts.chain));
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(X_FORWARDED_HOST, facts.host.clone());
    headers.insert(header::FORWARDED, forwarded::forwarded(facts.chain, host, proto));
    headers.insert(request_id::NAME, facts.id.clone());
}

/// The scheme that a trusted proxy names, if it names exactly one that exists.
#[must_use]
pub fn forwarded_proto(headers: &HeaderMap) -> Option<bool> {
    match single(headers, &X_FORWARDED_PROTO)?.as_bytes() {
        b"https" => Some(true),
        b"http" => Some(false),
        _ => None,
    }
}

/// The host that a trusted proxy names, if it names exactly one that parses.
#[must_use]
pub fn forwarded_host(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = single(headers, &X_FORWARDED_HOST)?;
    host::parse(value.as_bytes()).map(|_| value.clone())
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// Read by `identify::forwarded` for trusted peers, then written anew.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_sent_is_replaced() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id"]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("evil"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("evil2"));
        }
        let client = ClientAddress::from_resolved("2001:db8::1".parse().unwrap());
        set(
            &mut headers,
            &Facts {
                host: &HeaderValue::from_static("kz.example"),
                secure: true,
                chain: &[client],
                id: &HeaderValue::from_static("id"),
            },
        );
        let all: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert_eq!(
            all,
            [
                "x-forwarded-for: 2001:db8::1",
                "x-forwarded-proto: https",
                "x-forwarded-host: kz.example",
                "forwarded: for=\"[2001:db8::1]\";host=kz.example;proto=https",
                "x-request-id: id",
            ]
        );
    }

    #[test]
    fn a_proxy_must_name_one_scheme() {
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_proto(&headers), None);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert_eq!(forwarded_proto(&headers), Some(true));
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        assert_eq!(forwarded_proto(&headers), None);
    }
}
