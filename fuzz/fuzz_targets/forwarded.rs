//! The trusted-proxy walk over any `X-Forwarded-For` and any `Forwarded`, and what is written from it.
//!
//! Without a trusted proxy the peer is the client. What stands to the left of the first untrusted address changes
//! nothing. What is written is one valid field value, which reads back as the same chain.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use kelisim::identify::forwarded::{MAX_ELEMENTS, Resolved, resolve, resolve_forwarded, resolve_single};
use kelisim::identify::written;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (field, left, trusting) = input;
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let trusted: Vec<ipnet::IpNet> = if trusting { vec!["10.0.0.0/8".parse().unwrap()] } else { Vec::new() };
    let plain = |field: &[u8]| resolve(peer, [field], &trusted);
    let standard = |field: &[u8]| resolve_forwarded(peer, [field], &trusted).0;
    let walks: [&dyn Fn(&[u8]) -> Resolved; 2] = [&plain, &standard];
    for walk in walks {
        let resolved = walk(&field);
        let client = resolved.client.ip();
        assert!(trusting || client == peer);
        assert!(resolved.chain.len() <= MAX_ELEMENTS + 1 && resolved.chain[0] == resolved.client);
        if !matches!(client, IpAddr::V4(v4) if v4.octets()[0] == 10) && !resolved.malformed && trusting {
            let longer = [left.as_slice(), b",", field.as_slice()].concat();
            assert_eq!(walk(&longer).client.ip(), client);
        }
        let written = written::write(&resolved.chain, &left, "https");
        for value in [&written.forwarded_for, &written.forwarded] {
            assert!(value.to_str().is_ok());
        }
        let everybody = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let back = resolve_forwarded(peer, [written.forwarded.as_bytes()], &everybody).0;
        if resolved.chain.len() < MAX_ELEMENTS {
            assert!(!back.malformed && back.chain[..back.chain.len() - 1] == resolved.chain[..]);
        }
    }
    assert!(!resolve_single(peer, [field.as_slice()], &trusted).chain.is_empty());
});
