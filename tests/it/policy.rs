//! The published policy: its gate, its versions, and what they mean for a choice.

use std::path::Path;

use ring::hmac;

use crate::support::{Gateway, HOST, Origin, Protocol, Visitor, ask};

/// A gateway whose site publishes these versions: id and day of effect.
fn publishing(origin: &Origin, versions: &[(&str, &str)]) -> Gateway {
    let mut gateway = Gateway::build(&[origin]);
    let mut entries = Vec::new();
    for (id, effective) in versions {
        gateway = gateway.file(&format!("{id}.en.md"), &format!("# Policy {id}\n\nThe text of **{id}**.\n"));
        entries.push(format!(
            "{{ id = \"{id}\", file = \"{id}.en.md\", language = \"en\", effective = {effective} }}"
        ));
    }
    gateway
        .tables(&format!("[site.policy]\nversions = [{}]\ngate = [\"/register\"]\n", entries.join(", ")))
        .start()
}

fn page(path: &str) -> crate::support::Ask {
    ask("GET", path).header("accept", "text/html").header("sec-fetch-mode", "navigate")
}

#[test]
fn the_gate_sends_a_visitor_to_the_page_and_lets_them_in_after_acceptance() {
    let origin = Origin::pages();
    let gateway = publishing(&origin, &[("2020-01", "2020-01-01")]);
    for protocol in Protocol::ALL {
        let before = origin.count();
        let mut visitor = Visitor::new(&gateway, protocol);
        let reply = visitor.fetch(page("/register?x=1"));
        assert_eq!((reply.status, reply.header("location")), (303, "/.kelisim/?return=/register%3Fx%3D1"));
        for sly in ["/register/", "/register;x", "//register", "/a/../register", "/%72egister", "/register%2F"] {
            let reply = visitor.fetch(page(sly));
            assert!(matches!(reply.status, 303 | 400), "{sly}: {}", reply.status);
        }
        let reply = visitor.fetch(ask("POST", "/register").body("a=1"));
        assert_eq!((reply.status, &reply.json()["error"]), (403, &"policy_not_accepted".into()));
        assert_eq!(origin.count(), before, "the site saw nothing of it");
        let reply = visitor.submit("action=refuse&policy=accepted&return=/register");
        assert_eq!((reply.status, reply.header("location")), (303, "/register"));
        assert_eq!(visitor.fetch(page("/register")).status, 200);
        let consent = origin.last().headers.one("kelisim-consent").map(ToOwned::to_owned);
        assert_eq!(consent.as_deref(), Some("advertising=denied; policy=2020-01; source=own"));
        // Acceptance is no consent, and taking back a consent is no withdrawal of the acceptance.
        visitor.withdraw();
        assert_eq!(visitor.fetch(page("/register")).status, 200);
        assert_eq!(visitor.fetch(page("/registered")).status, 200, "another path");
    }
}

#[test]
fn the_policy_is_published_in_every_version() {
    let origin = Origin::pages();
    let gateway = publishing(&origin, &[("2020-01", "2020-01-01"), ("2024-01", "2024-01-01"), ("2999-01", "2999-01-01")]);
    let mut client = gateway.client();
    assert!(client.get("/.kelisim/policy").text().contains("<strong>2024-01</strong>"), "the one in force");
    for id in ["2020-01", "2024-01", "2999-01"] {
        let reply = client.get(&format!("/.kelisim/policy/{id}"));
        assert!(reply.text().contains(&format!("<strong>{id}</strong>")), "{id}");
    }
    assert_eq!(client.get("/.kelisim/policy/1999-01").status, 404);
}

#[test]
fn a_new_version_asks_again() {
    let origin = Origin::pages();
    let gateway = publishing(&origin, &[("2020-01", "2020-01-01"), ("2024-01", "2999-01-01")]);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http2);
    visitor.choose(r#"{"advertising":true,"policy":"accepted"}"#);
    origin.grant_advertising(true);
    visitor.hold("_fbp", "1");
    visitor.open("/");
    assert!(origin.last().cookies().contains("_fbp=1"));
    origin.grant_advertising(false);
    // The new version comes into force.
    gateway.reload(|text| text.replace("2999-01-01", "2024-01-01"));
    visitor.hold("_fbp", "1");
    visitor.open("/");
    let seen = origin.last();
    assert!(!seen.cookies().contains("_fbp"));
    let consent = seen.headers.one("kelisim-consent").unwrap_or_default();
    assert!(consent.starts_with("advertising=denied; policy=2024-01;"), "{consent}");
    assert_eq!(visitor.fetch(page("/register")).status, 303, "the gate asks for the new version");
}

#[test]
fn an_expired_record_is_no_consent() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let day = 24 * 3600;
    for (at, fresh) in [(now - day, true), (now - 364 * day, true), (now - 366 * day, false), (now + day, false)] {
        let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
        visitor.hold("kelisim_consent", &signed(&gateway.data(), at));
        origin.grant_advertising(fresh);
        visitor.open("/");
        let seen = origin.last();
        assert_eq!(seen.cookies().contains("_fbp"), fresh, "{at} at {now}");
        let consent = seen.headers.one("kelisim-consent").unwrap_or_default();
        assert!(consent.starts_with(if fresh { "advertising=granted;" } else { "advertising=denied;" }), "{consent}");
    }
}

/// A record that grants advertising since `at`, signed as the gateway itself signs, with its own key.
fn signed(data: &Path, at: u64) -> String {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let keys = std::fs::read_to_string(data.join("keys/consent.key")).expect("the key file");
    let line = keys.lines().find(|line| !line.starts_with('#')).expect("a key");
    let (id, secret) = line.split_once(' ').expect("id and secret");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &base64::Engine::decode(&engine, secret).expect("base64"));
    let text = format!("v1.0.{at}.8.01936f2e-7c1b-7d3a-9f3e-2b1c4d5e6f70.{id}.");
    let tag = hmac::sign(&key, format!("kelisim_consent|{HOST}|{text}").as_bytes());
    text + &base64::Engine::encode(&engine, &tag.as_ref()[..16])
}
