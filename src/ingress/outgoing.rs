//! The fields that the site may trust, written on every request whatever the client sent.
//!
//! Set or remove, never set-if-known: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Request-Id`, and the operator's own
//! field for the client's address. The values come from the connection and from trusted proxies only. Bound: the
//! trusted chain.

use std::fmt;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::request_id;
use crate::identify::ClientAddress;
use crate::identify::written::{self, Written};

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
    /// Which further field gets the client's address alone.
    pub client_address_to: Option<&'a HeaderName>,
}

/// What the first request of a connection was told: the next ones are told the same, nearly always.
#[derive(Default)]
pub struct Remembered(OnceLock<Known>);

struct Known {
    client: ClientAddress,
    /// A copy: the value itself would keep the buffer that its head was read into, for as long as the connection lives.
    host: Box<[u8]>,
    secure: bool,
    written: Written,
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered(..)")
    }
}

/// Writes all of them.
pub fn set(headers: &mut HeaderMap, facts: &Facts<'_>, remembered: &Remembered) {
    let proto = if facts.secure { "https" } else { "http" };
    let written = match facts.chain {
        // No proxy is believed: every request of the connection has this client.
        &[client] => remembered.written(client, facts, proto),
        chain => written::write(chain, facts.host.as_bytes(), proto),
    };
    if let (Some(name), Some(client)) = (facts.client_address_to, facts.chain.first()) {
        headers.insert(name, written::address(*client));
    }
    headers.insert(X_FORWARDED_FOR, written.forwarded_for);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(X_FORWARDED_HOST, facts.host.clone());
    headers.insert(header::FORWARDED, written.forwarded);
    headers.insert(request_id::NAME, facts.id.clone());
}

impl Remembered {
    fn written(&self, client: ClientAddress, facts: &Facts<'_>, proto: &str) -> Written {
        let fresh = || written::write(&[client], facts.host.as_bytes(), proto);
        let known = self.0.get_or_init(|| Known {
            client,
            host: facts.host.as_bytes().into(),
            secure: facts.secure,
            written: fresh(),
        });
        if known.client == client && known.secure == facts.secure && *known.host == *facts.host.as_bytes() {
            known.written.clone()
        } else {
            fresh()
        }
    }
}

/// Read by `identify::forwarded` for trusted peers, then written anew.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the visitor used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the visitor asked for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_holds_no_memory_of_the_head() {
        let head = bytes::Bytes::from(b"host: kz.example".to_vec());
        let host = HeaderValue::from_maybe_shared(head.slice(6..)).unwrap();
        let id = HeaderValue::from_static("id");
        let chain = [ClientAddress::from_resolved("192.0.2.1".parse().unwrap())];
        let facts = Facts { host: &host, secure: true, chain: &chain, id: &id, client_address_to: None };
        let (mut headers, remembered) = (HeaderMap::new(), Remembered::default());
        set(&mut headers, &facts, &remembered);
        drop((headers, host));
        assert!(head.is_unique());
    }

    #[test]
    fn what_the_client_sent_is_replaced() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "forwarded",
            "x-request-id",
        ] {
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
                client_address_to: Some(&HeaderName::from_static("x-real-ip")),
            },
            &Remembered::default(),
        );
        let all: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert_eq!(
            all,
            [
                "x-real-ip: 2001:db8::1",
                "x-forwarded-for: 2001:db8::1",
                "x-forwarded-proto: https",
                "x-forwarded-host: kz.example",
                "forwarded: for=\"[2001:db8::1]\";host=kz.example;proto=https",
                "x-request-id: id",
            ]
        );
    }

    #[test]
    fn what_is_remembered_holds_only_for_the_same_facts() {
        let remembered = Remembered::default();
        let chain = ["203.0.113.7", "203.0.113.8", "10.0.0.1"]
            .map(|ip| ClientAddress::from_resolved(ip.parse().unwrap()));
        let (a, b) = (HeaderValue::from_static("a.example"), HeaderValue::from_static("b.example"));
        let told = |host, secure, chain: &[ClientAddress]| {
            let mut headers = HeaderMap::new();
            let id = HeaderValue::from_static("id");
            let facts = Facts { host, secure, chain, id: &id, client_address_to: None };
            set(&mut headers, &facts, &remembered);
            headers[header::FORWARDED].to_str().unwrap().to_owned()
        };
        for _ in 0..2 {
            assert_eq!(told(&a, true, &chain[..1]), "for=203.0.113.7;host=a.example;proto=https");
            assert_eq!(told(&b, true, &chain[..1]), "for=203.0.113.7;host=b.example;proto=https");
            assert_eq!(told(&a, false, &chain[..1]), "for=203.0.113.7;host=a.example;proto=http");
            assert_eq!(told(&a, true, &chain[1..2]), "for=203.0.113.8;host=a.example;proto=https");
            let both = "for=203.0.113.8;host=a.example;proto=https, for=10.0.0.1";
            assert_eq!(told(&a, true, &chain[1..]), both);
        }
    }
}
