//! Addresses as text, without the formatting machinery: they are written several times per request.
//!
//! Writes what `Display` of [`IpAddr`] writes. Never allocates but in the given buffer. Bound: 39 bytes an address.

use std::io::Write as _;
use std::net::IpAddr;

/// Appends an address.
pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(four) => {
            let (mut text, mut at) = ([0; 16], 0);
            for octet in four.octets() {
                let (digits, length) = OCTETS[usize::from(octet)];
                text[at..at + 4].copy_from_slice(&digits);
                at += usize::from(length);
            }
            // Without the last dot.
            out.extend_from_slice(&text[..at - 1]);
        }
        // Rare enough, and its shortening rules are not worth writing again. Writing to a vector cannot fail.
        IpAddr::V6(six) => _ = write!(out, "{six}"),
    }
}

/// Appends a number below 256.
pub(crate) fn push_octet(out: &mut Vec<u8>, octet: u8) {
    let (digits, length) = OCTETS[usize::from(octet)];
    out.extend_from_slice(&digits[..usize::from(length) - 1]);
}

/// Each number below 256 with a dot behind it, and the length of both.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut n = 0;
    while n < octets.len() {
        let digits = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        let skip = if n < 10 {
            2
        } else if n < 100 {
            1
        } else {
            0
        };
        let mut at = skip;
        while at < 3 {
            octets[n].0[at - skip] = digits[at];
            at += 1;
        }
        octets[n].1 = 4 - skip as u8;
        n += 1;
    }
    octets
};

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
