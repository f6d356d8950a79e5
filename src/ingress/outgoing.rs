//! The fields that the site may trust, written on every request whatever the client sent.
//!
//! Set or remove, never set-if-known: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Request-Id`, and the operator's own
//! field for the client's address. The values come from the connection and from trusted proxies only. Bound: the
//! trusted chain.

use std::fmt;
use std::sync::OnceLock;

use http::{HeaderName, HeaderValue, header};

use super::request_id;
use crate::identify::ClientAddress;
use crate::identify::text::push_ip;
use crate::identify::written;

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

/// Fields of ours as they stand on the wire, `name: value` and a line end each. They come behind those of the client, none
/// of which has such a name any more: [`super::headers::scan`] sees to that. Only header values get in, so nobody can
/// break out of a line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    lines: Vec<u8>,
}

impl Fields {
    /// None.
    pub const NONE: Self = Self { lines: Vec::new() };

    /// Adds one.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.push_text(name.as_str(), value.as_bytes());
    }

    /// All of them.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// One by one, for a protocol without lines.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.lines.split_inclusive(|&byte| byte == b'\n').filter_map(|line| {
            let (name, value) = line.trim_ascii_end().split_at_checked(memchr::memchr(b':', line)?)?;
            let value = value.get(2..).unwrap_or_default();
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        })
    }

    /// `value` must have no line end.
    fn push_text(&mut self, name: &str, value: &[u8]) {
        self.begin(name);
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }

    fn begin(&mut self, name: &str) {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
    }
}

/// Names only: the values are about the client.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// What the first request of a connection was told: the next ones are told the same, nearly always.
#[derive(Default)]
pub struct Remembered(OnceLock<Known>);

struct Known {
    client: ClientAddress,
    /// A copy: the value itself would keep the buffer that its head was read into, for as long as the connection lives.
    host: Box<[u8]>,
    secure: bool,
    lines: Box<[u8]>,
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered(..)")
    }
}

/// Writes all of them.
#[must_use]
pub fn fields(facts: &Facts<'_>, remembered: &Remembered) -> Fields {
    let mut fields = Fields { lines: Vec::with_capacity(USUAL_BYTES) };
    match facts.chain {
        // No proxy is believed: every request of the connection has this client.
        &[client] => remembered.push(&mut fields, client, facts),
        _ => push_forwarded(&mut fields, facts),
    }
    if let (Some(name), Some(client)) = (facts.client_address_to, facts.chain.first()) {
        fields.begin(name.as_str());
        push_ip(&mut fields.lines, client.ip());
        fields.lines.extend_from_slice(b"\r\n");
    }
    fields.push(&request_id::NAME, facts.id);
    fields
}

/// Who asked for what, and how it came here.
fn push_forwarded(fields: &mut Fields, facts: &Facts<'_>) {
    let proto = if facts.secure { "https" } else { "http" };
    fields.begin(X_FORWARDED_FOR.as_str());
    written::push_chain(&mut fields.lines, facts.chain);
    fields.lines.extend_from_slice(b"\r\n");
    fields.push_text(X_FORWARDED_PROTO.as_str(), proto.as_bytes());
    fields.push(&X_FORWARDED_HOST, facts.host);
    fields.begin(header::FORWARDED.as_str());
    written::push_forwarded(&mut fields.lines, facts.chain, facts.host.as_bytes(), proto);
    fields.lines.extend_from_slice(b"\r\n");
}

impl Remembered {
    fn push(&self, fields: &mut Fields, client: ClientAddress, facts: &Facts<'_>) {
        let known = self.0.get_or_init(|| {
            let mut first = Fields::default();
            push_forwarded(&mut first, facts);
            Known {
                client,
                host: facts.host.as_bytes().into(),
                secure: facts.secure,
                lines: first.lines.into_boxed_slice(),
            }
        });
        if known.client == client && known.secure == facts.secure && *known.host == *facts.host.as_bytes() {
            fields.lines.extend_from_slice(&known.lines);
        } else {
            push_forwarded(fields, facts);
        }
    }
}

/// Enough for nearly every request.
const USUAL_BYTES: usize = 512;

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
        let remembered = Remembered::default();
        let _ = fields(&facts, &remembered);
        drop(host);
        assert!(head.is_unique());
    }

    #[test]
    fn everything_that_the_site_may_trust_is_written() {
        let client = ClientAddress::from_resolved("2001:db8::1".parse().unwrap());
        let facts = Facts {
            host: &HeaderValue::from_static("kz.example"),
            secure: true,
            chain: &[client],
            id: &HeaderValue::from_static("id"),
            client_address_to: Some(&HeaderName::from_static("x-real-ip")),
        };
        let mut written = fields(&facts, &Remembered::default());
        written.push(&HeaderName::from_static("kelisim-consent"), &HeaderValue::from_static(""));
        let expected = "x-forwarded-for: 2001:db8::1\r\nx-forwarded-proto: https\r\n\
                        x-forwarded-host: kz.example\r\n\
                        forwarded: for=\"[2001:db8::1]\";host=kz.example;proto=https\r\n\
                        x-real-ip: 2001:db8::1\r\nx-request-id: id\r\nkelisim-consent: \r\n";
        assert_eq!(String::from_utf8_lossy(written.lines()), expected);
        let one_by_one: String =
            written.iter().map(|(n, v)| format!("{n}: {}\r\n", v.to_str().unwrap())).collect();
        assert_eq!(one_by_one, expected);
        assert!(!format!("{written:?}").contains("2001"));
    }

    #[test]
    fn what_is_remembered_holds_only_for_the_same_facts() {
        let remembered = Remembered::default();
        let chain = ["203.0.113.7", "203.0.113.8", "10.0.0.1"]
            .map(|ip| ClientAddress::from_resolved(ip.parse().unwrap()));
        let (a, b) = (HeaderValue::from_static("a.example"), HeaderValue::from_static("b.example"));
        let told = |host, secure, chain: &[ClientAddress]| {
            let id = HeaderValue::from_static("id");
            let facts = Facts { host, secure, chain, id: &id, client_address_to: None };
            let written = fields(&facts, &remembered);
            let forwarded = written.iter().find(|(name, _)| *name == header::FORWARDED).unwrap().1;
            forwarded.to_str().unwrap().to_owned()
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
