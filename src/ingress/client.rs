//! Who the client is, and how it came: by the connection, or by the one field in which a trusted proxy says so.
//!
//! No other code reads these fields. `Forwarded` says everything when it is the chosen one; beside any other field the
//! scheme and the host come from `X-Forwarded-Proto` and `X-Forwarded-Host`. Never believes an untrusted peer. Bound:
//! the walk's.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use super::{host, outgoing};
use crate::config::ClientAddressFrom;
use crate::identify::forwarded::{self, Resolved};

/// What is believed.
#[derive(Debug)]
pub struct Told {
    /// The client and its chain.
    pub resolved: Resolved,
    /// `host[:port]` as the browser wrote it, if a proxy tells.
    pub host: Option<HeaderValue>,
    /// Whether the browser used https, if a proxy tells.
    pub secure: Option<bool>,
}

/// Where a trusted peer tells it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The one field that names the client.
    pub field: &'a ClientAddressFrom,
    /// Whether the head may have `X-Forwarded-For` or `Forwarded`: each look for a field costs.
    pub chain: bool,
    /// Whether it may have `X-Forwarded-Host` or `X-Forwarded-Proto`.
    pub ours: bool,
}

/// Reads what a trusted peer tells. Nothing is read of any other: ask first.
#[must_use]
pub fn told(headers: &HeaderMap, from: Source<'_>, peer: IpAddr, trusted: &[IpNet]) -> Told {
    let resolved = match from.field {
        ClientAddressFrom::XForwardedFor | ClientAddressFrom::Forwarded if !from.chain => {
            Resolved::peer(peer)
        }
        ClientAddressFrom::XForwardedFor => {
            forwarded::resolve(peer, values(headers, &outgoing::X_FORWARDED_FOR), trusted)
        }
        ClientAddressFrom::Field(name) => forwarded::resolve_single(peer, values(headers, name), trusted),
        ClientAddressFrom::Forwarded => {
            let fields = values(headers, &header::FORWARDED);
            let (resolved, said) = forwarded::resolve_forwarded(peer, fields, trusted);
            let host = said.host.filter(|host| host::parse(host).is_some());
            return Told {
                resolved,
                host: host.and_then(|host| HeaderValue::from_bytes(&host).ok()).map(host::canonical),
                secure: said.proto.and_then(|proto| scheme(&proto)),
            };
        }
    };
    if !from.ours {
        return Told { resolved, host: None, secure: None };
    }
    let host = single(headers, &outgoing::X_FORWARDED_HOST).filter(|v| host::parse(v.as_bytes()).is_some());
    let proto = single(headers, &outgoing::X_FORWARDED_PROTO);
    Told {
        resolved,
        host: host.cloned().map(host::canonical),
        secure: proto.and_then(|v| scheme(v.as_bytes())),
    }
}

/// A scheme has no case (RFC 3986 §3.1).
fn scheme(proto: &[u8]) -> Option<bool> {
    if proto.eq_ignore_ascii_case(b"https") {
        Some(true)
    } else {
        proto.eq_ignore_ascii_case(b"http").then_some(false)
    }
}

/// All values of one name. `GetAll` cannot be walked from the right through a closure, so the few are gathered.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> smallvec::SmallVec<[&'a [u8]; 4]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        from: &ClientAddressFrom,
        fields: &[(&'static str, &str)],
    ) -> (String, Option<String>, Option<bool>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let from = Source { field: from, chain: true, ours: true };
        let told = told(&headers, from, "10.0.0.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()]);
        let host = told.host.map(|host| host.to_str().unwrap().to_owned());
        (told.resolved.client.ip().to_string(), host, told.secure)
    }

    #[test]
    fn exactly_the_chosen_field_is_read() {
        let fields = [
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "a.example"),
            ("forwarded", "for=203.0.113.2;proto=http;host=b.example"),
            ("x-real-ip", "203.0.113.3"),
            ("cf-connecting-ip", "203.0.113.4"),
        ];
        let of = |from| {
            let (client, host, secure) = read(&from, &fields);
            (client, host.unwrap(), secure.unwrap())
        };
        let field = |name| ClientAddressFrom::Field(HeaderName::from_static(name));
        assert_eq!(of(ClientAddressFrom::XForwardedFor), ("203.0.113.1".into(), "a.example".into(), true));
        assert_eq!(of(ClientAddressFrom::Forwarded), ("203.0.113.2".into(), "b.example".into(), false));
        assert_eq!(of(field("x-real-ip")), ("203.0.113.3".into(), "a.example".into(), true));
        assert_eq!(of(field("cf-connecting-ip")), ("203.0.113.4".into(), "a.example".into(), true));
        assert_eq!(of(field("true-client-ip")).0, "10.0.0.1");
    }

    #[test]
    fn what_does_not_parse_or_is_said_twice_is_not_said() {
        for fields in [
            [("x-forwarded-proto", "ftp"), ("x-forwarded-host", "a b")],
            [("x-forwarded-proto", "https, http"), ("x-forwarded-host", "user@a.example")],
        ] {
            let (_, host, secure) = read(&ClientAddressFrom::XForwardedFor, &fields);
            assert_eq!((host, secure), (None, None), "{fields:?}");
        }
        let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")];
        assert_eq!(read(&ClientAddressFrom::XForwardedFor, &twice).2, None);
        let odd = [("forwarded", "for=203.0.113.2;proto=ftp;host=\"a b\"")];
        assert_eq!(read(&ClientAddressFrom::Forwarded, &odd), ("203.0.113.2".into(), None, None));
    }
}
