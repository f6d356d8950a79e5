//! Who the client is behind proxies.
//!
//! Walks from the peer to the left while the address is trusted; the leftmost entry decides nothing. One field is read:
//! [`resolve`] walks `X-Forwarded-For`, [`resolve_forwarded`] `Forwarded` (RFC 7239), [`resolve_single`] believes a
//! CDN's field. Never fails: a malformed element ends the walk at the last good address. Bound: [`MAX_ELEMENTS`]
//! elements walked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::address::ClientAddress;
use super::rfc7239::{self, Text};

/// What the walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The client.
    pub client: ClientAddress,
    /// The client, the proxies walked over, and the peer, in the order of the header: what the site may believe.
    pub chain: Chain,
    /// A malformed element, or too many of them, ended the walk. To be counted.
    pub malformed: bool,
}

/// Believed addresses from the client to the peer. Never empty.
pub type Chain = SmallVec<[ClientAddress; 2]>;

/// What the proxy that met the client said in `Forwarded` about the request, unquoted and unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `host`.
    pub host: Option<Text>,
    /// `proto`.
    pub proto: Option<Text>,
}

/// One step of the walk.
enum Element {
    Address(IpAddr),
    /// Nothing between two commas (RFC 9110 §5.6.1.2).
    Empty,
    /// A proxy that knows the address, or not, and does not tell.
    Hidden,
    Malformed,
}

impl Resolved {
    /// The peer itself is the client: nobody is trusted to say otherwise.
    #[must_use]
    pub fn peer(peer: IpAddr) -> Self {
        let client = ClientAddress::from_resolved(peer);
        Self { client, chain: SmallVec::from_buf_and_len([client; 2], 1), malformed: false }
    }
}

/// Walks from the peer to the left while the address is trusted.
///
/// `fields` are the values of all `X-Forwarded-For` fields in their order; they are not touched unless the peer is
/// trusted. Elements may be addresses with or without a port; empty elements are skipped (RFC 9110 §5.6.1.2).
pub fn resolve<'a, I>(peer: IpAddr, fields: I, trusted: &[IpNet]) -> Resolved
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: DoubleEndedIterator,
{
    let elements = fields.into_iter().rev().flat_map(|field| field.rsplit(|&byte| byte == b','));
    walk(
        peer,
        trusted,
        elements.map(|element| match element.trim_ascii() {
            b"" => Element::Empty,
            element => parse_element(element).map_or(Element::Malformed, Element::Address),
        }),
    )
}

/// The same for the values of all `Forwarded` fields, which form one list. Also what was said about the request by the
/// proxy that met the client: the last element walked over was written by the last proxy that is trusted.
pub fn resolve_forwarded<'a, I>(peer: IpAddr, fields: I, trusted: &[IpNet]) -> (Resolved, Said)
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: DoubleEndedIterator,
{
    let mut said = Said::default();
    let elements = fields.into_iter().rev().flat_map(|field| {
        let mut rest = Some(field);
        std::iter::from_fn(move || rfc7239::next_back(&mut rest))
    });
    let resolved = walk(
        peer,
        trusted,
        elements.map(|element| {
            let element = element.trim_ascii();
            if element.is_empty() {
                return Element::Empty;
            }
            let Some(element) = rfc7239::parse(element) else { return Element::Malformed };
            said = Said { host: element.host, proto: element.proto };
            element.client.map_or(Element::Hidden, Element::Address)
        }),
    );
    (resolved, said)
}

/// The client as a CDN names it: one field with one address, with or without a port. There is nothing to walk: whom the
/// CDN trusts is its own affair. Without the field the client is the peer.
pub fn resolve_single<'a, I>(peer: IpAddr, fields: I, trusted: &[IpNet]) -> Resolved
where
    I: IntoIterator<Item = &'a [u8]>,
{
    let mut resolved = Resolved::peer(peer);
    let mut fields = fields.into_iter();
    if !is_trusted(resolved.client.ip(), trusted) {
        return resolved;
    }
    let Some(field) = fields.next() else { return resolved };
    match parse_element(field.trim_ascii()) {
        Some(ip) if fields.next().is_none() => {
            resolved.client = ClientAddress::from_resolved(ip);
            resolved.chain.insert(0, resolved.client);
        }
        _ => resolved.malformed = true,
    }
    resolved
}

/// Whether an address is one of the trusted proxies. `ip` must be canonical; a network written IPv4-mapped counts as
/// the IPv4 network that it is.
#[must_use]
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| match (net, ip) {
        (IpNet::V6(mapped), IpAddr::V4(v4)) => {
            mapped.prefix_len() >= 96
                && mapped.addr().to_ipv4_mapped().is_some()
                && mapped.contains(&v4.to_ipv6_mapped())
        }
        _ => net.contains(&ip),
    })
}

fn walk(peer: IpAddr, trusted: &[IpNet], elements: impl Iterator<Item = Element>) -> Resolved {
    let mut resolved = Resolved::peer(peer);
    if !is_trusted(resolved.client.ip(), trusted) {
        return resolved;
    }
    for (count, element) in elements.enumerate() {
        if count == MAX_ELEMENTS {
            resolved.malformed = true;
            break;
        }
        match element {
            Element::Empty => {}
            Element::Hidden => break,
            Element::Malformed => {
                resolved.malformed = true;
                break;
            }
            Element::Address(ip) => {
                resolved.client = ClientAddress::from_resolved(ip);
                resolved.chain.push(resolved.client);
                if !is_trusted(ip, trusted) {
                    break;
                }
            }
        }
    }
    resolved.chain.reverse();
    resolved
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; canonical.
fn parse_element(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let port_is_good = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        let ip: Ipv6Addr = address.parse().ok()?;
        return port_is_good.then(|| IpAddr::from(ip).to_canonical());
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some((address, port)) if address.contains('.') && is_port(port) => {
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
        Some(_) => text.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::from(ip).to_canonical()),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Elements of one request's `X-Forwarded-For` that are walked, empty ones included.
pub const MAX_ELEMENTS: usize = 64;

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
