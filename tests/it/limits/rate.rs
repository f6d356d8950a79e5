//! `site[].rate_limit`: who asks too often is told when to come back, and nobody else notices.

use super::still_serves;
use crate::support::frames::{self, Frames};
use crate::support::{Client, Gateway, Origin, Reply, ask, wait_for};

/// Three requests at once, then one in an hour: no test waits for the next.
const THREE: &str = "rate_limit = { requests = 1, per = \"1h\", burst = 3 }";

fn refused(reply: &Reply) {
    assert_eq!(reply.status, 429);
    let wait: u64 = reply.header("retry-after").parse().expect("seconds");
    assert!((1..=3600).contains(&wait), "{wait}");
    assert_eq!(reply.header("proxy-status"), "kelisim; error=http_request_denied");
}

#[test]
fn a_client_that_asks_too_often_gets_429_over_both_protocols_and_all_threads() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).site(THREE).start();
    let from = |last: u8| Client::connect_from([127, 0, 0, last], gateway.addresses[0]);
    assert_eq!(from(2).get("/").status, 200);
    assert_eq!(from(2).get("/").status, 200);
    let mut kept = from(2);
    assert_eq!(kept.get("/").status, 200);
    // The connection stays: there is nothing wrong with it.
    (0..5).for_each(|_| refused(&kept.get("/")));
    (0..8).for_each(|_| refused(&from(2).get("/another-thread")));
    assert_eq!(gateway.rejected("rate_limited"), 13);
    let mut h2 = gateway.http2();
    (0..3).for_each(|_| assert_eq!(h2.fetch(&ask("GET", "/h2")).status, 200));
    refused(&h2.fetch(&ask("GET", "/h2")));
    assert_eq!((origin.count(), gateway.rejected("rate_limited")), (6, 14));
    assert_eq!(from(3).get("/neighbour").status, 200);
    assert_eq!(gateway.metric("kelisim_rate_limit_estimated_total", &[]), 0.0);
    let record = gateway.records().into_iter().filter(|r| r["error.type"] == "rate_limited").count();
    assert!(record > 0, "a refusal is recorded");
}

#[test]
fn behind_a_trusted_proxy_the_client_is_counted_and_not_the_proxy() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).site(THREE).site("trusted_proxies = [\"127.0.0.1\"]").start();
    let (mut h1, mut h2) = (gateway.client(), gateway.http2());
    let by = |client: &str| ask("GET", "/").header("x-forwarded-for", client);
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1"] {
        assert_eq!(h1.fetch(&by(client)).status, 200);
        (0..2).for_each(|_| assert_eq!(h2.fetch(&by(client)).status, 200));
        refused(&h1.fetch(&by(client)));
        refused(&h2.fetch(&by(client)));
    }
    refused(&h1.fetch(&by("2001:db8:1:2:aaaa::9")));
    assert_eq!(h1.fetch(&by("2001:db8:1:3::1")).status, 200, "another /64");
    // Only what the proxy itself wrote counts: a client cannot choose who it is.
    refused(&h1.fetch(&by("203.0.113.9, 192.0.2.1")));
    assert_eq!((origin.count(), gateway.rejected("rate_limited")), (10, 8));
}

#[test]
fn without_a_trusted_proxy_the_field_changes_nothing() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).site(THREE).start();
    let mut client = gateway.client();
    let statuses: Vec<u16> = (0..6)
        .map(|n| client.fetch(&ask("GET", "/").header("x-forwarded-for", &format!("192.0.2.{n}"))).status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
}

#[test]
fn each_site_has_its_own_limit_and_without_one_there_is_none() {
    let origin = Origin::pages();
    let other = format!("[[site]]\nhosts = [\"free.example\"]\nupstream = [{:?}]\n", origin.url());
    let gateway = Gateway::build(&[&origin]).site(THREE).tables(&other).start();
    let mut client = gateway.client();
    (0..3).for_each(|_| assert_eq!(client.get("/").status, 200));
    refused(&client.get("/"));
    (0..50).for_each(|_| assert_eq!(client.fetch(&ask("GET", "/").host("free.example")).status, 200));
    // A reload forgets nothing.
    gateway.reload(|text| text + "\n[timeouts]\nkeep_alive = \"2m\"\n");
    refused(&gateway.client().get("/"));
}

#[test]
fn a_pause_as_long_as_was_asked_for_is_enough() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).site("rate_limit = { requests = 2, burst = 1 }").start();
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    wait_for("the next turn", || (client.get("/").status == 200).then_some(()));
}

#[test]
fn a_flood_from_one_client_does_not_reach_the_site() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).site("rate_limit = { requests = 10, per = \"1h\" }").start();
    let mut flood = Frames::connect(gateway.addresses[0], &[]);
    for stream in frames::streams(0).take(50) {
        flood.send(&frames::get(stream, "/flood"));
        flood.until(frames::HEADERS).expect("an answer");
    }
    assert_eq!((origin.count(), gateway.rejected("rate_limited")), (10, 40));
    assert_eq!(Client::connect_from([127, 0, 0, 9], gateway.addresses[0]).get("/").status, 200);
    let unlimited = Gateway::of(&origin);
    still_serves(&unlimited);
}
