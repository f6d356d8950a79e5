//! What the site is told about the client: the chain of the walk, written anew and never copied.
//!
//! Appends to the caller's buffer. Never writes an address that was not believed. Bound: the chain.

use super::address::ClientAddress;
use super::rfc7239::is_token;
use super::text::push_ip;

/// Appends the value of `X-Forwarded-For`.
pub(crate) fn push_chain(text: &mut Vec<u8>, chain: &[ClientAddress]) {
    for (index, address) in chain.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        push_ip(text, address.ip());
    }
}

/// Appends the value of `Forwarded` (RFC 7239), with host and protocol of the client's request on its first element. A host
/// that no quoted string can hold is left out.
pub(crate) fn push_forwarded(text: &mut Vec<u8>, chain: &[ClientAddress], host: &[u8], proto: &str) {
    for (index, address) in chain.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b", ");
        }
        if address.ip().is_ipv4() {
            text.extend_from_slice(b"for=");
            push_ip(text, address.ip());
        } else {
            text.extend_from_slice(b"for=\"[");
            push_ip(text, address.ip());
            text.extend_from_slice(b"]\"");
        }
        if index == 0 {
            push_host(text, host);
            if !proto.is_empty() {
                text.extend_from_slice(b";proto=");
                text.extend_from_slice(proto.as_bytes());
            }
        }
    }
}

fn push_host(text: &mut Vec<u8>, host: &[u8]) {
    if host.is_empty() || !host.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return;
    }
    text.extend_from_slice(b";host=");
    if host.iter().all(|&byte| is_token(byte)) {
        text.extend_from_slice(host);
        return;
    }
    text.push(b'"');
    for &byte in host {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(texts: &[&str]) -> Vec<ClientAddress> {
        texts.iter().map(|text| ClientAddress::from_resolved(text.parse().unwrap())).collect()
    }

    #[test]
    fn forwarded_is_quoted_where_needed() {
        let both = chain(&["2001:db8::1", "10.0.0.1"]);
        let forwarded = |chain, host: &[u8], proto| {
            let mut text = Vec::new();
            push_forwarded(&mut text, chain, host, proto);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(
            forwarded(&both, b"kz.example:8443", "https"),
            "for=\"[2001:db8::1]\";host=\"kz.example:8443\";proto=https, for=10.0.0.1"
        );
        let last = |host: &[u8], proto| forwarded(&both[1..], host, proto);
        assert_eq!(last(b"kz.example", "http"), "for=10.0.0.1;host=kz.example;proto=http");
        assert_eq!(last(b"a\"b\\c", "http"), "for=10.0.0.1;host=\"a\\\"b\\\\c\";proto=http");
        assert_eq!(last(b"a\r\nb", ""), "for=10.0.0.1", "not injectable");
    }

    #[test]
    fn the_chain_is_a_list() {
        let mut text = Vec::new();
        push_chain(&mut text, &chain(&["2001:db8::1", "10.0.0.1"]));
        assert_eq!(text, b"2001:db8::1, 10.0.0.1");
    }
}
