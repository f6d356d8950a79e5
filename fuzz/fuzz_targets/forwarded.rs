//! The trusted-proxy walk over any `X-Forwarded-For` and any `Forwarded`, and what is written from it.
//!
//! Without a trusted proxy the peer is the client. What stands to the left of the first untrusted address changes
//! nothing. What is written is one valid field value, which reads back as the same chain.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderValue;
use kelisim::identify::forwarded::{MAX_ELEMENTS, Resolved, resolve, resolve_forwarded, resolve_single};
use kelisim::ingress::outgoing::{self, Facts, Remembered};
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
        let host = HeaderValue::from_bytes(&left).unwrap_or(HeaderValue::from_static("kz.example"));
        let id = HeaderValue::from_static("id");
        let chain = &resolved.chain;
        let facts = Facts { host: &host, secure: true, chain, id: &id, client_address_to: None };
        let written = outgoing::fields(&facts, &Remembered::default());
        let lines = written.lines().iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, written.iter().count(), "one line for each field");
        let value = |wanted: &str| written.iter().find(|(name, _)| name.as_str() == wanted).unwrap().1;
        for name in ["x-forwarded-for", "forwarded"] {
            assert!(value(name).to_str().is_ok());
        }
        let forwarded = value("forwarded");
        let everybody = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        let back = resolve_forwarded(peer, [forwarded.as_bytes()], &everybody).0;
        if resolved.chain.len() < MAX_ELEMENTS {
            assert!(!back.malformed && back.chain[..back.chain.len() - 1] == resolved.chain[..]);
        }
    }
    assert!(!resolve_single(peer, [field.as_slice()], &trusted).chain.is_empty());
});
