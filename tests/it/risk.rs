//! What is judged of addresses, and what the site is told: of the risk, and of where visitors are.

use crate::corpora::corpus;
use crate::support::builder::Builder;
use crate::support::{Answer, Client, Gateway, Origin, Protocol, Seen, Visitor, ask, wait_for};

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
        assert_eq!(told(&mut client, &origin, shared, logins(3)), "low;score=25", "{shared}");
        client.fetch(&ask("GET", "/").header("x-forwarded-for", shared).header("user-agent", "another"));
        assert!(!origin.last().headers.has("kelisim-risk"), "{shared}");
    }
    assert!((gateway.metric("kelisim_risk_memory_entries", &["part=\"crowds\""]) - 3.0).abs() < 0.1);
    assert_eq!(told(&mut client, &origin, "1.0.0.1", logins(12)), "high;score=70", "an address of one's own");
}

/// The names in which the site may be told, and how it was told.
const NAMES: [&str; 3] = ["kelisim-country", "kelisim-network", "cf-ipcountry"];
/// What clients would like the site to believe.
const LIE: &str = "ZW";

fn places(seen: &Seen) -> [Option<&str>; 3] {
    NAMES.map(|name| {
        let all = seen.headers.all(name);
        assert!(all.len() <= 1 && !all.contains(&LIE), "{name}: {all:?}");
        all.first().copied()
    })
}

/// Asks from an address and claims another place, in every way; where the site was told that the visitor is.
fn place_of(gateway: &Gateway, origin: &Origin, from: &str) -> [Option<String>; 3] {
    let mut seen: Vec<[Option<String>; 3]> = Vec::new();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(gateway, protocol).always("x-forwarded-for", from);
        for forged in [&NAMES[..], &["Kelisim-Country", "CF-IPCountry"], &["kelisim_country", "cf_ipcountry"]]
        {
            let name =
                |name: &str| if protocol == Protocol::Http1 { name.to_owned() } else { name.to_lowercase() };
            let question = forged.iter().fold(ask("GET", "/"), |question, field| {
                question.header(&name(field), LIE).header(&name(field), LIE)
            });
            assert_eq!(visitor.fetch(question).status, 200);
            let last = origin.last();
            assert!(!last.headers.0.iter().any(|(_, value)| value == LIE), "{last:?}");
            seen.push(places(&last).map(|value| value.map(str::to_owned)));
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

fn country(code: Option<&str>, network: Option<&str>, other: Option<&str>) -> [Option<String>; 3] {
    [code, network, other].map(|value| value.map(str::to_owned))
}

fn disclosing(origin: &Origin) -> Builder {
    NAMES.iter().for_each(|name| origin.tolerate(name));
    telling(origin)
        .key("geoip.headers", "[\"country\", \"network\"]")
        .key("geoip.headers_purpose", "\"checks of orders\"")
        .key("geoip.headers_as", "\"cloudflare\"")
}

#[test]
fn without_a_configured_purpose_no_place_reaches_the_site_and_no_forged_one() {
    let origin = Origin::pages();
    for database in ["\"shipped\"", "\"off\""] {
        let gateway = telling(&origin).key("geoip.country", database).start();
        for address in ["8.8.8.8", "192.0.2.1"] {
            assert_eq!(place_of(&gateway, &origin, address), country(None, None, None), "{address}");
        }
        assert!(!gateway.log_lines().iter().any(|line| line.contains("is told")));
    }
}

#[test]
fn the_site_is_told_the_country_and_the_kind_of_network_for_a_purpose() {
    let Some(corpus) = corpus("maxmind-db") else { return };
    let file = corpus.canonicalize().expect("a folder").join("test-data/GeoLite2-ASN-Test.mmdb");
    let origin = Origin::pages();
    let gateway = disclosing(&origin).key("geoip.asn", &format!("{file:?}")).start();
    let line =
        gateway.wait_for_log(0, "what is told", |line| line.contains("the site is told where visitors are"));
    assert!(line.contains("country, network, CF-IPCountry") && line.contains("checks of orders"), "{line}");
    assert!(line.contains("INFO"), "{line}");
    for (address, code, network) in
        [("1.0.0.1", Some("US"), "isp"), ("8.8.8.8", Some("US"), "unknown"), ("192.0.2.1", None, "unknown")]
    {
        let expected = country(code, Some(network), code.or(Some("XX")));
        assert_eq!(place_of(&gateway, &origin, address), expected, "{address}");
    }
    let changed = gateway.log_lines().len();
    gateway.reload(|text| {
        text.lines().filter(|line| !line.starts_with("geoip.headers")).collect::<Vec<_>>().join("\n")
    });
    gateway.wait_for_log(changed, "the change", |line| line.contains("told nothing of where visitors are"));
    assert_eq!(place_of(&gateway, &origin, "8.8.8.8"), country(None, None, None));
}

#[test]
fn without_a_database_or_with_one_that_cannot_be_read_nothing_false_is_told() {
    let origin = Origin::pages();
    let off = disclosing(&origin).key("geoip.country", "\"off\"").start();
    assert!(off.log_lines().iter().any(|line| line.contains("geoip.country is")), "a warning");
    assert_eq!(place_of(&off, &origin, "8.8.8.8"), country(None, None, Some("XX")));
    let builder =
        disclosing(&origin).key("geoip.country", "\"country.mmdb\"").key("geoip.check_every", "\"1s\"");
    let path = builder.folder().join("country.mmdb");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/geoip/country.mmdb"), &path).unwrap();
    let gateway = builder.start();
    assert_eq!(place_of(&gateway, &origin, "8.8.8.8"), country(Some("US"), None, Some("US")));
    let broken = path.with_extension("new");
    std::fs::write(&broken, "no database").unwrap();
    std::fs::rename(&broken, &path).unwrap();
    gateway.wait_for_log(0, "the refusal", |line| line.contains("the old location database stays"));
    assert_eq!(place_of(&gateway, &origin, "8.8.8.8"), country(Some("US"), None, Some("US")), "the old one");
    assert_eq!(place_of(&gateway, &origin, "192.0.2.1"), country(None, None, Some("XX")));
}

#[test]
fn whatever_is_done_about_the_risk_no_forged_place_reaches_the_site() {
    for action in ["observe", "tag", "throttle", "deny"] {
        let origin = Origin::pages();
        let builder = disclosing(&origin)
            .key("risk.action", &format!("{{ high = {action:?} }}"))
            .key("risk.observe_days", "1");
        // The days of observation are over.
        let data = builder.folder().join("records");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("risk-observe-since"), "2026-01-01T00:00:00Z\n").unwrap();
        let gateway = builder.start();
        let mut client = gateway.client();
        let mut last = 0;
        for _ in 0..40 {
            let question = ask("POST", "/login").header("x-forwarded-for", "8.8.8.8");
            let question = NAMES.iter().fold(question, |question, name| question.header(name, LIE));
            last = client.fetch(&question).status;
        }
        let expected = match action {
            "throttle" => 429,
            "deny" => 403,
            _ => 200,
        };
        assert_eq!(last, expected, "{action}");
        assert_eq!(origin.last().headers.has("kelisim-risk"), action == "tag", "{action}");
        for seen in origin.seen() {
            assert_eq!(places(&seen), [Some("US"), None, Some("US")], "{action}");
        }
        wait_for("the counts", || {
            let reason = "reason=\"forged\"";
            (gateway.metric("kelisim_ingress_dropped_headers_total", &[reason]) >= 80.0).then_some(())
        });
    }
}
