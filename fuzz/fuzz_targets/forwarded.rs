//! The trusted-proxy walk over any `X-Forwarded-For`, and what is written from it.
//!
//! Without a trusted proxy the peer is the client. What stands to the left of the first untrusted address changes
//! nothing. What is written is one valid field value.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use kelisim::identify::forwarded::{forwarded, resolve, x_forwarded_for};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (field, left, trusting) = input;
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let trusted: Vec<ipnet::IpNet> = if trusting { vec!["10.0.0.0/8".parse().unwrap()] } else { Vec::new() };
    let resolved = resolve(peer, [field.as_slice()], &trusted);
    if !trusting {
        assert_eq!(resolved.client.ip(), peer);
    }
    let client = resolved.client.ip();
    if client != peer && !matches!(client, IpAddr::V4(v4) if v4.octets()[0] == 10) && !resolved.malformed {
        let longer = [left.as_slice(), b",", field.as_slice()].concat();
        assert_eq!(resolve(peer, [longer.as_slice()], &trusted).client.ip(), client);
    }
    let host = String::from_utf8_lossy(&left);
    for value in [x_forwarded_for(&resolved.chain), forwarded(&resolved.chain, &host, "https")] {
        assert!(value.to_str().is_ok());
    }
});
