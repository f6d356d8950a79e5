//! What is judged of addresses, and what the site is told of it.

use crate::corpora::corpus;
use crate::support::builder::Builder;
use crate::support::{Answer, Client, Gateway, Origin, ask};

/// A gateway that tells the site of every level, behind a proxy that names the client.
fn telling(origin: &Origin) -> Builder {
    Gateway::build(&[origin])
        .key("risk.login_paths", "[\"/login\"]")
        .key("risk.action", "{ low = \"tag\", medium = \"tag\", high = \"tag\" }")
        .site("trusted_proxies = [\"127.0.0.0/8\"]")
}

/// Asks so often from one address; what the site was told of the risk of the last request.
fn told(
    client: &mut Client,
    origin: &Origin,
    from: &str,
    asks: impl Iterator<Item = (&'static str, String)>,
) -> String {
    for (method, target) in asks {
        client.fetch(&ask(method, &target).header("x-forwarded-for", from).header("user-agent", "test"));
    }
    origin.last().headers.one("kelisim-risk").unwrap_or_default().to_owned()
}

fn logins(count: usize) -> impl Iterator<Item = (&'static str, String)> {
    std::iter::repeat_n(("POST", "/login".to_owned()), count)
}

fn pages(count: usize, extension: &str) -> impl Iterator<Item = (&'static str, String)> {
    (0..count).map(move |n| ("GET", format!("/page/{n}{extension}")))
}

#[test]
fn a_capped_signal_is_never_high_and_a_reload_caps_at_once() {
    let origin = Origin::pages();
    let gateway = telling(&origin).start();
    let mut client = gateway.client();
    let one = |client: &mut Client| told(client, &origin, "192.0.2.1", logins(1));
    told(&mut client, &origin, "192.0.2.1", logins(24));
    assert_eq!(one(&mut client), "high;score=70");
    for (cap, expected) in [("medium", "low;score=25"), ("low", "")] {
        gateway.reload(|text| {
            let text = text.split("\n[risk.cap]").next().unwrap_or_default().to_owned();
            format!("{text}\n[risk.cap]\nvelocity = \"{cap}\"\n")
        });
        assert_eq!(one(&mut gateway.client()), expected, "{cap}");
    }
    let refused = gateway.reload(|text| text.replace("velocity = \"low\"", "velocty = \"low\""));
    assert!(refused.contains("stays in force"), "{refused}");
    assert_eq!(one(&mut gateway.client()), "");
}

#[test]
fn the_operator_says_what_a_failed_login_is_answered_with() {
    for (status, configured) in [(200, "200"), (302, "3xx"), (403, "403")] {
        let origin = Origin::start(move |_| Answer::new(status).header("Location", "/login"));
        let named = telling(&origin).key("risk.failed_login_statuses", &format!("[{configured:?}]")).start();
        assert_eq!(told(&mut named.client(), &origin, "192.0.2.1", logins(12)), "high;score=70", "{status}");
        let other = telling(&origin).key("risk.failed_login_statuses", "[\"500\"]").start();
        // A refusal counts as one in any case.
        let expected = if status == 403 { "low;score=25" } else { "" };
        assert_eq!(told(&mut other.client(), &origin, "192.0.2.1", logins(12)), expected, "{status}");
    }
}

#[test]
fn who_opens_page_after_page_is_noticed_and_who_loads_their_files_is_not() {
    let origin = Origin::pages();
    let gateway = telling(&origin).start();
    let mut client = gateway.client();
    assert_eq!(told(&mut client, &origin, "192.0.2.1", pages(120, ".png")), "");
    assert_eq!(told(&mut client, &origin, "192.0.2.2", pages(120, "")), "low;score=25");
    assert_eq!(origin.last().headers.one("kelisim-signals"), Some("velocity"));
    let mut other = gateway.http2();
    let question = ask("HEAD", "/").header("x-forwarded-for", "192.0.2.2");
    other.fetch(&question);
    assert_eq!(origin.last().headers.one("kelisim-risk"), Some("low;score=25"), "the same address");
    assert!((gateway.metric("kelisim_risk_memory_entries", &["part=\"pages\""]) - 1.0).abs() < 0.1);
    assert!(gateway.metric("kelisim_risk_memory_capacity_entries", &["part=\"pages\""]) > 1000.0);
    assert!(gateway.metric("kelisim_risk_memory_entries", &["part=\"counters\""]) < 0.1, "no login");
}

#[test]
fn a_full_map_of_pages_keeps_no_login_from_being_counted() {
    let origin = Origin::pages();
    let gateway = telling(&origin).key("risk.memory_bytes", "\"1MiB\"").start();
    let mut client = gateway.client();
    let room = gateway.metric("kelisim_risk_memory_capacity_entries", &["part=\"pages\""]) as usize;
    let entries = || gateway.metric("kelisim_risk_memory_entries", &["part=\"pages\""]) as usize;
    for n in 0..room + 50 {
        told(&mut client, &origin, &format!("10.{}.{}.1", n / 250, n % 250), pages(1, ""));
    }
    assert_eq!(entries(), room);
    assert_eq!(told(&mut client, &origin, "192.0.2.1", logins(25)), "high;score=70");
    assert!(gateway.metric("kelisim_risk_sketches", &[]) < 0.1);
}

#[test]
fn addresses_that_many_share_are_judged_by_their_logins_of_one_user_agent() {
    let Some(corpus) = corpus("maxmind-db") else { return };
    let file = corpus.canonicalize().expect("a folder").join("test-data/GeoLite2-ASN-Test.mmdb");
    let origin = Origin::start(|seen| Answer::new(if seen.method == "POST" { 401 } else { 404 }));
    let gateway = telling(&origin)
        .key("geoip.asn", &format!("{file:?}"))
        .key("risk.shared_networks", "[\"100.64.0.0/10\", \"2001:db8::/32\"]")
        .key("risk.shared_asns", "[1221]")
        .start();
    let mut client = gateway.client();
    for shared in ["100.64.0.1", "2001:db8::1", "1.128.0.1"] {
        assert_eq!(told(&mut client, &origin, shared, pages(60, "")), "", "{shared}");
        assert_eq!(told(&mut client, &origin, shared, logins(100)), "", "{shared}");
        assert_eq!(told(&mut client, &origin, shared, logins(1)), "low;score=25", "{shared}");
        client.fetch(&ask("GET", "/").header("x-forwarded-for", shared).header("user-agent", "another"));
        assert!(!origin.last().headers.has("kelisim-risk"), "{shared}");
    }
    assert!((gateway.metric("kelisim_risk_memory_entries", &["part=\"crowds\""]) - 3.0).abs() < 0.1);
    assert_eq!(told(&mut client, &origin, "1.0.0.1", logins(12)), "high;score=70", "an address of one's own");
}
