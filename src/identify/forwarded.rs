//! Who the client is behind proxies, and what the site is told about it.
//!
//! [`resolve`] walks `X-Forwarded-For` from the right and believes only trusted proxies; the leftmost entry decides
//! nothing. What leaves is written anew from the walk, never copied. Never fails: a malformed element ends the walk
//! at the last good address. Bound: [`MAX_ELEMENTS`] elements walked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

use http::HeaderValue;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::address::ClientAddress;
use super::text::push_ip;

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

/// Walks from the peer to the left while the address is trusted.
///
/// `fields` are the values of all `X-Forwarded-For` fields in their order; they are not touched unless the peer is
/// trusted. Elements may be addresses with or without a port; empty elements are skipped (RFC 9110 §5.6.1.2).
pub fn resolve<'a, I>(peer: IpAddr, fields: I, trusted: &[IpNet]) -> Resolved
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: DoubleEndedIterator,
{
    let mut current = peer.to_canonical();
    let mut chain: Chain = SmallVec::from_buf_and_len([ClientAddress::from_resolved(current); 2], 1);
    let mut malformed = false;
    if is_trusted(current, trusted) {
        let elements = fields.into_iter().rev().flat_map(|field| field.rsplit(|&byte| byte == b','));
        for (count, element) in elements.enumerate() {
            if count == MAX_ELEMENTS {
                malformed = true;
                break;
            }
            let element = element.trim_ascii();
            if element.is_empty() {
                continue;
            }
            let Some(ip) = parse_element(element) else {
                malformed = true;
                break;
            };
            current = ip;
            chain.push(ClientAddress::from_resolved(ip));
            if !is_trusted(ip, trusted) {
                break;
            }
        }
        chain.reverse();
    }
    Resolved { client: ClientAddress::from_resolved(current), chain, malformed }
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

/// The value of the outgoing `X-Forwarded-For`.
#[must_use]
pub fn x_forwarded_for(chain: &[ClientAddress]) -> HeaderValue {
    let mut value = Vec::with_capacity(chain.len() * 17);
    for (index, address) in chain.iter().enumerate() {
        if index > 0 {
            value.extend_from_slice(b", ");
        }
        push_ip(&mut value, address.ip());
    }
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// The value of the outgoing `Forwarded` (RFC 7239): the same chain, with host and protocol of the client's request
/// on its first element. A host that no quoted string can hold is left out.
#[must_use]
pub fn forwarded(chain: &[ClientAddress], host: &str, proto: &str) -> HeaderValue {
    let mut value = Vec::with_capacity(chain.len() * 24 + host.len() + 24);
    for (index, address) in chain.iter().enumerate() {
        if index > 0 {
            value.extend_from_slice(b", ");
        }
        if address.ip().is_ipv4() {
            value.extend_from_slice(b"for=");
            push_ip(&mut value, address.ip());
        } else {
            value.extend_from_slice(b"for=\"[");
            push_ip(&mut value, address.ip());
            value.extend_from_slice(b"]\"");
        }
        if index == 0 {
            push_pair(&mut value, "host", host);
            push_pair(&mut value, "proto", proto);
        }
    }
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

fn push_pair(value: &mut Vec<u8>, name: &str, text: &str) {
    if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return;
    }
    value.push(b';');
    value.extend_from_slice(name.as_bytes());
    value.push(b'=');
    if text.bytes().all(is_token) {
        value.extend_from_slice(text.as_bytes());
        return;
    }
    value.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            value.push(b'\\');
        }
        value.push(byte);
    }
    value.push(b'"');
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn walk(peer: &str, fields: &[&str], trusted: &[&str]) -> Resolved {
        resolve(peer.parse().unwrap(), fields.iter().map(|f| f.as_bytes()), &nets(trusted))
    }

    fn client(resolved: &Resolved) -> String {
        resolved.client.ip().to_string()
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let resolved = walk("203.0.113.9", &["1.1.1.1"], &[]);
        assert_eq!(client(&resolved), "203.0.113.9");
        assert_eq!(x_forwarded_for(&resolved.chain), "203.0.113.9");
        assert_eq!(client(&walk("203.0.113.9", &["1.1.1.1"], &["10.0.0.0/8"])), "203.0.113.9");
    }

    #[test]
    fn the_first_untrusted_from_the_right_is_the_client() {
        let resolved = walk("10.0.0.1", &["6.6.6.6, 203.0.113.9", "10.0.0.2"], &["10.0.0.0/8"]);
        assert_eq!(client(&resolved), "203.0.113.9");
        assert!(!resolved.malformed);
        assert_eq!(x_forwarded_for(&resolved.chain), "203.0.113.9, 10.0.0.2, 10.0.0.1", "nothing unverified");
    }

    #[test]
    fn when_all_are_trusted_the_leftmost_is_the_client() {
        assert_eq!(client(&walk("10.0.0.1", &["10.0.0.3,10.0.0.2"], &["10.0.0.0/8"])), "10.0.0.3");
        assert_eq!(client(&walk("10.0.0.1", &[], &["10.0.0.0/8"])), "10.0.0.1");
    }

    #[test]
    fn a_malformed_element_ends_the_walk_at_the_last_good_address() {
        for bad in [
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:+80",
            "1.2.3.4:65536",
            "[::1",
            "[::1]80",
            "[1.2.3.4]",
            "::1]",
            "fe80::1%eth0",
            "1.2.3.4 5.6.7.8",
            "\"1.2.3.4\"",
            "\u{fffd}",
        ] {
            let resolved = walk("10.0.0.1", &[&format!("203.0.113.9, {bad}, 10.0.0.2")], &["10.0.0.0/8"]);
            assert_eq!(client(&resolved), "10.0.0.2", "{bad}");
            assert!(resolved.malformed, "{bad}");
        }
    }

    #[test]
    fn every_notation_is_read_and_made_canonical() {
        for (text, ip) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:8080", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:1", "1.2.3.4"),
            ("\t1.2.3.4 ", "1.2.3.4"),
        ] {
            assert_eq!(client(&walk("10.0.0.1", &[text], &["10.0.0.0/8"])), ip, "{text}");
        }
    }

    #[test]
    fn mapped_peers_and_mapped_networks_mean_ipv4() {
        assert_eq!(client(&walk("::ffff:10.0.0.1", &["1.1.1.1"], &["10.0.0.0/8"])), "1.1.1.1");
        assert_eq!(client(&walk("10.0.0.1", &["1.1.1.1"], &["::ffff:10.0.0.0/104"])), "1.1.1.1");
        assert_eq!(client(&walk("10.0.0.1", &["1.1.1.1"], &["::/0"])), "10.0.0.1", "IPv6 only");
    }

    #[test]
    fn the_walk_is_bounded_and_empty_elements_count() {
        let long = format!("1.1.1.1{}", ",10.0.0.2".repeat(MAX_ELEMENTS - 1));
        let resolved = walk("10.0.0.1", &[&long], &["10.0.0.0/8"]);
        assert_eq!((client(&resolved).as_str(), resolved.malformed), ("1.1.1.1", false));
        for longer in [format!("{long},10.0.0.2"), format!("{long},")] {
            let resolved = walk("10.0.0.1", &[&longer], &["10.0.0.0/8"]);
            assert_eq!((client(&resolved).as_str(), resolved.malformed), ("10.0.0.2", true));
        }
        assert_eq!(client(&walk("10.0.0.1", &["1.1.1.1,, ,"], &["10.0.0.0/8"])), "1.1.1.1");
    }

    #[test]
    fn forwarded_is_quoted_where_needed() {
        let chain = walk("10.0.0.1", &["2001:db8::1"], &["10.0.0.0/8"]).chain;
        assert_eq!(
            forwarded(&chain, "kz.example:8443", "https"),
            "for=\"[2001:db8::1]\";host=\"kz.example:8443\";proto=https, for=10.0.0.1"
        );
        assert_eq!(forwarded(&chain[1..], "kz.example", "http"), "for=10.0.0.1;host=kz.example;proto=http");
        assert_eq!(forwarded(&chain[1..], "a\"b\\c", "http"), "for=10.0.0.1;host=\"a\\\"b\\\\c\";proto=http");
        assert_eq!(forwarded(&chain[1..], "a\r\nb", ""), "for=10.0.0.1", "not injectable");
    }

    proptest! {
        #[test]
        fn without_trust_the_client_is_the_peer(
            peer: IpAddr, fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)
        ) {
            let resolved = resolve(peer, fields.iter().map(Vec::as_slice), &[]);
            prop_assert_eq!(resolved.client.ip(), peer.to_canonical());
            prop_assert_eq!(resolved.chain.len(), 1);
        }

        #[test]
        fn any_bytes_give_some_client(
            peer: IpAddr, fields in prop::collection::vec("[0-9a-f:.,\\[\\] \t%]{0,60}", 0..4)
        ) {
            let all = [IpNet::V4("0.0.0.0/0".parse().unwrap()), IpNet::V6("::/0".parse().unwrap())];
            let resolved = resolve(peer, fields.iter().map(String::as_bytes), &all);
            prop_assert_eq!(Some(&resolved.client), resolved.chain.first());
            prop_assert!(resolved.chain.len() <= MAX_ELEMENTS + 1);
        }

        #[test]
        fn what_stands_left_of_the_client_changes_nothing(left in "[ -~]{0,80}", hops in 0usize..4) {
            let right = format!("203.0.113.9{}", ", 10.0.0.2".repeat(hops));
            let honest = walk("10.0.0.1", &[&right], &["10.0.0.0/8"]);
            let forged = walk("10.0.0.1", &[&format!("{left},{right}")], &["10.0.0.0/8"]);
            prop_assert_eq!(&honest, &forged);
            prop_assert_eq!(honest, walk("10.0.0.1", &[&left, &right], &["10.0.0.0/8"]));
        }
    }
}
