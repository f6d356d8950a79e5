//! The walk against examples, against another way to walk, and against any bytes.

use proptest::prelude::*;

use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn walk(peer: &str, fields: &[&str], trusted: &[&str]) -> Resolved {
    resolve(peer.parse().unwrap(), fields.iter().map(|f| f.as_bytes()), &nets(trusted))
}

fn addresses(resolved: &Resolved) -> String {
    resolved.chain.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
}

fn client(resolved: &Resolved) -> String {
    resolved.client.ip().to_string()
}

#[test]
fn nobody_is_trusted_by_default() {
    let resolved = walk("203.0.113.9", &["1.1.1.1"], &[]);
    assert_eq!(client(&resolved), "203.0.113.9");
    assert_eq!(addresses(&resolved), "203.0.113.9");
    assert_eq!(client(&walk("203.0.113.9", &["1.1.1.1"], &["10.0.0.0/8"])), "203.0.113.9");
}

#[test]
fn the_first_untrusted_from_the_right_is_the_client() {
    let resolved = walk("10.0.0.1", &["6.6.6.6, 203.0.113.9", "10.0.0.2"], &["10.0.0.0/8"]);
    assert_eq!(client(&resolved), "203.0.113.9");
    assert!(!resolved.malformed);
    assert_eq!(addresses(&resolved), "203.0.113.9 10.0.0.2 10.0.0.1", "nothing unverified");
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

    #[test]
    fn every_walk_is_the_one_of_the_reference(
        peer in 0u8..4, elements in prop::collection::vec((0u8..4, 0u8..8), 0..12), split in 0usize..12
    ) {
        // The field as text, in two fields, for both notations; trusted are the addresses 10.0.0.0 to 10.0.0.2.
        let trusted = nets(&["10.0.0.0/31", "10.0.0.2/32"]);
        let peer = ip_of(peer);
        let write = |standard: bool| -> Vec<String> {
            let texts: Vec<String> = elements.iter().map(|&(ip, kind)| text_of(ip, kind, standard)).collect();
            let (left, right) = texts.split_at(split.min(texts.len()));
            vec![left.join(","), right.join(", ")]
        };
        let expected = reference(peer, &elements, &trusted);
        let (plain, standard) = (write(false), write(true));
        let walked = resolve(peer, plain.iter().map(String::as_bytes), &trusted);
        let (forwarded, _) = resolve_forwarded(peer, standard.iter().map(String::as_bytes), &trusted);
        prop_assert_eq!(walked.client.ip(), expected);
        prop_assert_eq!(forwarded.client.ip(), expected);
        prop_assert_eq!(walked.chain, forwarded.chain);
    }

    #[test]
    fn what_stands_left_of_the_client_changes_nothing_in_forwarded(left in "[ -~]{0,80}", hops in 0usize..4) {
        let right = format!("for=\"[2001:db8::9]\";proto=https{}", ", for=10.0.0.2".repeat(hops));
        let honest = standard("10.0.0.1", &[&right], &["10.0.0.0/8"]);
        prop_assert_eq!(honest.1.proto.as_deref(), Some(&b"https"[..]));
        prop_assert_eq!(&honest, &standard("10.0.0.1", &[&format!("{left},{right}")], &["10.0.0.0/8"]));
        prop_assert_eq!(honest, standard("10.0.0.1", &[&left, &right], &["10.0.0.0/8"]));
    }

    #[test]
    fn any_forwarded_gives_some_client(
        peer: IpAddr, fields in prop::collection::vec("[forby=;\"\\\\,.:_0-9\\[\\] ]{0,60}", 0..4)
    ) {
        let all = [IpNet::V4("0.0.0.0/0".parse().unwrap()), IpNet::V6("::/0".parse().unwrap())];
        let (resolved, _) = resolve_forwarded(peer, fields.iter().map(String::as_bytes), &all);
        prop_assert_eq!(Some(&resolved.client), resolved.chain.first());
    }
}

fn standard(peer: &str, fields: &[&str], trusted: &[&str]) -> (Resolved, Said) {
    resolve_forwarded(peer.parse().unwrap(), fields.iter().map(|f| f.as_bytes()), &nets(trusted))
}

fn ip_of(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// An address for the kinds below 7, else something that is none.
fn text_of(ip: u8, kind: u8, standard: bool) -> String {
    match (kind, standard) {
        (7, false) => "nonsense".into(),
        (7, true) => "for=nonsense".into(),
        (5 | 6, false) => format!("{}:80", ip_of(ip)),
        (5 | 6, true) => format!("proto=http;FOR=\"{}:_x\"", ip_of(ip)),
        (_, false) => ip_of(ip).to_string(),
        (_, true) => format!("for={}", ip_of(ip)),
    }
}

/// The same decision made the other way round: the client is the last address, from the left, before which everything to
/// the right is trusted.
fn reference(peer: IpAddr, elements: &[(u8, u8)], trusted: &[IpNet]) -> IpAddr {
    let good: Vec<IpAddr> = match elements.iter().rposition(|&(_, kind)| kind == 7) {
        Some(bad) => elements[bad + 1..].iter().map(|&(ip, _)| ip_of(ip)).collect(),
        None => elements.iter().map(|&(ip, _)| ip_of(ip)).collect(),
    };
    let chain: Vec<IpAddr> = good.into_iter().chain([peer]).collect();
    let untrusted = chain.iter().rposition(|ip| !trusted.iter().any(|net| net.contains(ip)));
    chain[untrusted.unwrap_or(0)]
}

#[test]
fn all_forwarded_fields_are_one_list() {
    let fields = ["for=6.6.6.6, for=203.0.113.9;proto=https;host=kz.example", "for=10.0.0.2;proto=http"];
    let (resolved, said) = standard("10.0.0.1", &fields, &["10.0.0.0/8"]);
    assert_eq!(addresses(&resolved), "203.0.113.9 10.0.0.2 10.0.0.1");
    assert_eq!(
        (said.host.as_deref(), said.proto.as_deref()),
        (Some(&b"kz.example"[..]), Some(&b"https"[..])),
        "of the proxy that met the client"
    );
    assert_eq!(standard("203.0.113.1", &fields, &["10.0.0.0/8"]).1, Said::default(), "nobody is trusted");
}

#[test]
fn who_hides_the_client_is_no_mistake() {
    for hidden in ["for=unknown", "for=_a;proto=https", "proto=https"] {
        let (resolved, _) = standard("10.0.0.1", &[&format!("for=1.1.1.1, {hidden}")], &["10.0.0.0/8"]);
        assert_eq!((client(&resolved).as_str(), resolved.malformed), ("10.0.0.1", false), "{hidden}");
    }
    let (resolved, _) = standard("10.0.0.1", &["for=1.1.1.1, for=\"oops"], &["10.0.0.0/8"]);
    assert_eq!((client(&resolved).as_str(), resolved.malformed), ("10.0.0.1", true));
}

#[test]
fn a_cdn_names_one_address_once() {
    let single = |peer: &str, fields: &[&str]| {
        let fields = fields.iter().map(|f| f.as_bytes());
        let resolved = resolve_single(peer.parse().unwrap(), fields, &nets(&["10.0.0.0/8"]));
        (addresses(&resolved), resolved.malformed)
    };
    assert_eq!(single("10.0.0.1", &["203.0.113.9"]), ("203.0.113.9 10.0.0.1".into(), false));
    assert_eq!(single("10.0.0.1", &["2001:db8::1"]), ("2001:db8::1 10.0.0.1".into(), false));
    assert_eq!(single("10.0.0.1", &[]), ("10.0.0.1".into(), false));
    assert_eq!(single("203.0.113.1", &["1.1.1.1"]), ("203.0.113.1".into(), false));
    for bad in [&["1.1.1.1", "1.1.1.1"][..], &["1.1.1.1, 2.2.2.2"], &[""], &["unknown"]] {
        assert_eq!(single("10.0.0.1", bad), ("10.0.0.1".into(), true), "{bad:?}");
    }
}
