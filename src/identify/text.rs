//! Addresses as text, without the formatting machinery: they are written several times per request.
//!
//! Writes what `Display` of [`IpAddr`] writes. Never allocates but in the given buffer. Bound: 39 bytes an address.

use std::io::Write as _;
use std::net::IpAddr;

/// Appends an address.
pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(four) => {
            for (index, octet) in four.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_octet(out, octet);
            }
        }
        // Rare enough, and its shortening rules are not worth writing again. Writing to a vector cannot fail.
        IpAddr::V6(six) => _ = write!(out, "{six}"),
    }
}

/// Appends a number below 256.
pub(crate) fn push_octet(out: &mut Vec<u8>, octet: u8) {
    if octet >= 100 {
        out.push(b'0' + octet / 100);
    }
    if octet >= 10 {
        out.push(b'0' + octet / 10 % 10);
    }
    out.push(b'0' + octet % 10);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_display_writes(ip: IpAddr) {
            let mut out = Vec::new();
            push_ip(&mut out, ip);
            prop_assert_eq!(out, ip.to_string().into_bytes());
        }
    }
}
