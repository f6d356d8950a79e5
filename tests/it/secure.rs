//! TLS: both protocols by ALPN, names that the certificate covers, and new certificates without a restart.

use std::sync::Arc;

use crate::support::cli::kelisim;
use crate::support::client::Client;
use crate::support::h2::Http2;
use crate::support::tls::Certificate;
use crate::support::{ADS, Gateway, HOST, Origin, ask, wait_for};

const NAMES: &[&str] = &[HOST, "www.kz.example"];

fn start(origin: &Origin, names: &[&str]) -> (Gateway, Certificate) {
    let builder = Gateway::build(&[origin]);
    let certificate = Certificate::write(builder.folder(), names);
    let gateway = builder.listener(&certificate.config()).key("workers", "1").start();
    (gateway, certificate)
}

fn https(gateway: &Gateway, certificate: &Certificate) -> Client {
    Client::connect_tls(gateway.addresses[1], certificate.client(&["http/1.1"]), HOST).expect("TLS")
}

#[test]
fn both_protocols_are_offered() {
    let origin = Origin::pages();
    let (gateway, certificate) = start(&origin, NAMES);
    assert_eq!(https(&gateway, &certificate).get("/one").status, 200);
    let mut http2 = Http2::connect_tls(gateway.addresses[1], certificate.client(&["h2", "http/1.1"]), HOST);
    assert_eq!(http2.fetch(&ask("GET", "/two")).status, 200);
    let mut without_alpn =
        Client::connect_tls(gateway.addresses[1], certificate.client(&[]), HOST).expect("TLS");
    assert_eq!(without_alpn.get("/three").status, 200);
    for seen in origin.seen() {
        assert_eq!(seen.headers.one("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.headers.one("forwarded"), Some("for=127.0.0.1;host=kz.example;proto=https"));
    }
    let record = gateway.record("/two");
    assert_eq!((&record["url.scheme"], &record["network.protocol.version"]), (&"https".into(), &"2".into()));
    assert_eq!(record["tls.protocol.version"], "1.3");
}

#[test]
fn our_cookies_are_secure_under_https_and_deletions_cover_partitions() {
    let origin = Origin::pages();
    let (gateway, certificate) = start(&origin, NAMES);
    let mut client = https(&gateway, &certificate);
    let grant = ask("POST", "/.kelisim/consent")
        .header("origin", "https://kz.example")
        .header("content-type", "application/json")
        .body("{\"advertising\":true}");
    let reply = client.fetch(&grant);
    let record =
        reply.set_cookies().into_iter().find(|c| c.starts_with("kelisim_consent=v1.")).expect("a record");
    // The last word on the name, after the fields that expire what others may have set elsewhere.
    let last = reply.set_cookies().into_iter().rfind(|c| c.starts_with("kelisim_consent="));
    assert_eq!(last, Some(record));
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age="] {
        assert!(record.contains(attribute), "{attribute} in {record}");
    }
    let cookies = format!("{}={}", ADS[0].0, ADS[0].1);
    let reply =
        client.fetch(&ask("GET", "/").header("sec-fetch-dest", "document").header("cookie", &cookies));
    let deletions: Vec<_> = reply.set_cookies().into_iter().filter(|c| c.starts_with("_fbp=;")).collect();
    assert!(deletions.iter().all(|c| c.contains("Secure")), "{deletions:?}");
    assert!(deletions.iter().any(|c| c.contains("Partitioned")), "{deletions:?}");
    let visitor =
        reply.set_cookies().into_iter().find(|c| c.starts_with("kelisim_vid=")).expect("a visitor cookie");
    assert!(visitor.contains("Secure") && visitor.contains("HttpOnly"), "{visitor}");
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let origin = Origin::pages();
    let (gateway, certificate) = start(&origin, &[HOST]);
    let mut client = https(&gateway, &certificate);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.fetch(&ask("GET", "/").host("www.kz.example")).status, 421);
    assert_eq!(gateway.client().fetch(&ask("GET", "/").host("www.kz.example")).status, 200, "in cleartext");
    assert_eq!(origin.count(), 2);
    // Under a reason of its own: the configuration is at fault, not who asks.
    assert_eq!(gateway.metric("kelisim_request_rejected_total", &["reason=\"not_in_certificate\""]), 1.0);
    assert_eq!(gateway.metric("kelisim_request_rejected_total", &["reason=\"unknown_host\""]), 0.0);
    let said = |words: &str| gateway.wait_for_log(0, words, |line| line.contains(words));
    assert!(said("answered 421: the listener's certificate").contains("www.kz.example"));
    assert!(said("no certificate is for www.kz.example").contains("WARN"));
}

/// `check` said "fine", the start nothing, and the reload that all was well.
#[test]
fn a_certificate_that_clients_refuse_is_told() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]);
    let certificate = Certificate::write_valid_until(builder.folder(), &["other.example"], 2026);
    let gateway = builder.listener(&certificate.config()).start();
    let ends = || gateway.metric("kelisim_certificate_expiry_timestamp_seconds", &[]);
    assert_eq!(ends(), 1_767_225_600.0);
    let config = gateway.folder().join("kelisim.toml");
    let checked = kelisim(&["check", "--config", config.to_str().expect("a path")]);
    for told in ["expired at 2026-01-01T00:00:00", "is for none of the hosts: every request over TLS"] {
        gateway.wait_for_log(0, told, |line| line.contains(told) && line.contains("listen[1].tls"));
        let warned = checked.err.lines().any(|line| line.starts_with("warning: ") && line.contains(told));
        assert!(warned, "{}", checked.err);
    }
    assert_eq!(checked.code, 0);
    // A good one.
    let renewed = Certificate::write(gateway.folder(), NAMES);
    wait_for("the new certificate", || (ends() > 2e9).then_some(()));
    assert_eq!(https(&gateway, &renewed).get("/").status, 200);
    let line = gateway.wait_for_log(0, "a reload", |line| line.contains("a certificate was reloaded"));
    assert!(line.contains("site.pem") && line.contains("listener"), "{line}");
    // And again a bad one.
    let skip = gateway.log_lines().len();
    Certificate::write_valid_until(gateway.folder(), NAMES, 2026);
    gateway.wait_for_log(skip, "the warning", |line| line.contains("expired at 2026-01-01"));
    let reloads = gateway.metric("kelisim_certificate_reloads_total", &["result=\"ok\""]);
    assert!(reloads >= 2.0, "{reloads}");
}

#[test]
fn a_host_that_a_reload_adds_is_served_over_tls() {
    let origin = Origin::pages();
    let (gateway, certificate) = start(&origin, &[HOST, "new.kz.example"]);
    let new = ask("GET", "/").host("new.kz.example");
    assert_eq!(https(&gateway, &certificate).fetch(&new).status, 421);
    gateway.reload(|text| text.replace("www.kz.example", "new.kz.example"));
    assert_eq!(https(&gateway, &certificate).fetch(&new).status, 200);
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let origin = Origin::pages();
    let (gateway, old) = start(&origin, NAMES);
    let mut open = https(&gateway, &old);
    assert_eq!(open.get("/").status, 200);
    let renewed = Certificate::write(gateway.folder(), NAMES);
    let trusts = |certificate: &Certificate| {
        let config = Arc::clone(&certificate.client(&["http/1.1"]));
        Client::connect_tls(gateway.addresses[1], config, HOST).ok()
    };
    let mut new = wait_for("the new certificate", || trusts(&renewed));
    assert_eq!(new.get("/").status, 200);
    assert!(trusts(&old).is_none(), "the old one is gone");
    assert_eq!(open.get("/").status, 200, "an open connection lives on");
    // A half-written file leaves the last good one in use.
    std::fs::write(&renewed.certificate, "-----BEGIN CERTIFICATE-----\nMIIB").expect("written");
    gateway.wait_for_log(0, "a warning", |line| line.contains("the last good one stays"));
    assert_eq!(trusts(&renewed).expect("TLS").get("/").status, 200);
}

#[test]
fn cleartext_on_the_tls_port_is_no_request() {
    let origin = Origin::pages();
    let (gateway, _certificate) = start(&origin, NAMES);
    let mut client = Client::connect(gateway.addresses[1]);
    client.send("GET / HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    client.read_to_end();
    assert_eq!(origin.count(), 0);
    wait_for("the count", || {
        (gateway.metric("kelisim_connections_rejected_total", &["reason=\"tls_error\""]) >= 1.0).then_some(())
    });
}

#[test]
fn a_silent_tls_client_is_cut() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("timeouts.tls_handshake", "\"300ms\"");
    let certificate = Certificate::write(builder.folder(), NAMES);
    let gateway = builder.listener(&certificate.config()).start();
    assert!(Client::connect(gateway.addresses[1]).is_closed());
}
