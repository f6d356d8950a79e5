//! Proofs of consent: durable before the answer, downloadable, chained, and refused together with the choice.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::cli::kelisim;
use crate::support::{Gateway, Origin, Protocol, Visitor, ask, wait_for};

fn entries(data: &Path) -> Vec<Value> {
    let text = fs::read_to_string(data.join("receipts/receipts.log")).expect("the receipts");
    text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

fn verify(data: &Path) -> (i32, Value) {
    let said = kelisim(&["consent", "verify", "--format", "json", "--data", &data.display().to_string()]);
    (said.code, serde_json::from_str(&said.out).expect("JSON"))
}

#[test]
fn every_choice_leaves_a_receipt_that_the_person_can_take_home() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .file("p.md", "# The policy\n")
        .tables(
            "[site.policy]\nversions = [{ id = \"v1\", file = \"p.md\", language = \"en\", effective = 2020-01-01 }]\n\
             [site.controller]\nname = \"The Shop\"\ncontact = \"privacy@kz.example\"\njurisdiction = \"kz\"\n",
        )
        .start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        assert_eq!(visitor.fetch(ask("GET", "/.kelisim/receipt")).status, 404, "nothing was chosen");
        let page = visitor.fetch(ask("GET", "/.kelisim/?lang=en")).text();
        let shown = page.split("name=\"shown\" value=\"").nth(1).expect("the hash")[..64].to_owned();
        visitor.submit(&format!("action=accept&policy=accepted&lang=en&shown={shown}"));
        let reply = visitor.fetch(ask("GET", "/.kelisim/receipt"));
        assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
        let receipt = reply.json();
        assert!(entries(&gateway.data()).contains(&receipt), "it is the entry of the log");
        assert_eq!((&receipt["event"], &receipt["method"]), (&"given".into(), &"page".into()));
        assert_eq!(receipt["controller"]["name"], "The Shop");
        assert_eq!((&receipt["jurisdiction"], &receipt["policy"]["id"]), (&"kz".into(), &"v1".into()));
        assert_eq!(receipt["text"]["sha256"], shown.as_str());
        assert_eq!(receipt["purposes"][2]["state"], "given");
        let text = fs::read_to_string(gateway.data().join("receipts/texts").join(&shown)).expect("the text");
        assert!(text.contains("Refuse all"), "{text}");
        visitor.withdraw();
        let second = visitor.fetch(ask("GET", "/.kelisim/receipt")).json();
        assert_eq!((&second["event"], &second["replaces"]), (&"withdrawn".into(), &receipt["receipt"]));
        assert_eq!(second["purposes"][2]["state"], "withdrawn");
    }
    let log = fs::read_to_string(gateway.data().join("receipts/receipts.log")).unwrap();
    assert!(!log.contains("127.0.0.1"), "the address is sealed");
    // What a script says of its own banner is kept, and is never taken for a text of ours.
    let hash = "0".repeat(64);
    let told = format!(
        r#"{{"advertising":true,"banner":{{"variant":"B","text_id":"page-en","text_sha256":"{hash}"}}}}"#
    );
    let mut script = Visitor::new(&gateway, Protocol::Http1);
    script.choose(&told);
    let receipt = script.fetch(ask("GET", "/.kelisim/receipt")).json();
    assert_eq!((&receipt["text"]["id"], &receipt["variant"]), (&"banner-page-en".into(), &"B".into()));
    let (code, report) = verify(&gateway.data());
    assert_eq!((code, &report["entries"], &report["texts"]), (0, &5.into(), &2.into()));
    assert!(gateway.metric("kelisim_consent_receipts_total", &["result=\"stored\""]) >= 4.0);
    let data = gateway.data().display().to_string();
    let stats = kelisim(&["consent", "stats", "--format", "json", "--data", &data]);
    let stats: Value = serde_json::from_str(&stats.out).expect("JSON");
    assert_eq!((&stats["events"]["given"], &stats["events"]["withdrawn"]), (&3.into(), &2.into()));
    assert_eq!((&stats["in_force"]["choices"], &stats["policies"]["v1"]), (&3.into(), &5.into()));
}

#[test]
fn a_choice_whose_receipt_cannot_be_written_does_not_count() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    let log = gateway.data().join("receipts/receipts.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let reply = visitor.choose(r#"{"advertising":true}"#);
    assert_eq!((reply.status, &reply.json()["error"]), (503, &"not_stored".into()));
    assert!(!reply.set_cookies().iter().any(|cookie| cookie.starts_with("kelisim_consent=")));
    assert_eq!(visitor.cookie("kelisim_consent"), None);
    visitor.open("/");
    assert!(!origin.last().cookies().contains("_fbp"));
    assert_eq!(gateway.metric("kelisim_consent_receipts_total", &["result=\"failed\""]), 1.0);
    // As soon as the disk is well again, so are choices.
    fs::remove_dir(&log).unwrap();
    assert_eq!(visitor.choose(r#"{"advertising":true}"#).status, 200);
}

#[test]
fn whoever_was_told_of_a_stored_choice_has_a_receipt_after_kill_9() {
    let origin = Origin::pages();
    let mut gateway = Gateway::of(&origin);
    let mut told = HashSet::new();
    for _ in 0..5 {
        for protocol in Protocol::ALL {
            for body in [r#"{"advertising":true}"#, r#"{"action":"withdraw"}"#] {
                let mut visitor = Visitor::new(&gateway, protocol);
                let state = visitor.choose(body).json();
                told.insert(state["receipt"].as_str().expect("a receipt").to_owned());
            }
        }
        gateway = gateway.crash_and_restart();
    }
    // What a killed writer left in the middle of an entry is told, not repaired.
    let log = gateway.data().join("receipts/receipts.log");
    let gateway = gateway.crash_and_edit(|| {
        let torn = "{\"n\":21,\"time\":\"20";
        let whole = fs::read_to_string(&log).unwrap();
        fs::write(&log, whole + torn).unwrap();
    });
    Visitor::new(&gateway, Protocol::Http1).choose(r#"{"advertising":true}"#);
    let kept: HashSet<String> = fs::read_to_string(&log)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["receipt"].as_str().map(str::to_owned))
        .collect();
    assert!(told.is_subset(&kept), "{:?}", told.difference(&kept));
    let (code, report) = verify(&gateway.data());
    assert_eq!((code, &report["interrupted"]), (0, &1.into()), "{report}");
    // And one changed byte is found.
    let gateway = gateway.crash_and_edit(|| {
        let changed = fs::read_to_string(&log).unwrap().replacen("\"withdrawn\"", "\"Withdrawn\"", 1);
        fs::write(&log, changed).unwrap();
    });
    assert_eq!(verify(&gateway.data()).0, 1);
}

#[test]
fn a_client_cannot_fill_the_log() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::new(&gateway, Protocol::Http1);
    let statuses: Vec<u16> = (0..130).map(|_| visitor.choose(r#"{"advertising":false}"#).status).collect();
    assert!(statuses[..120].iter().all(|status| *status == 200) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(visitor.fetch(ask("GET", "/.kelisim/consent")).status, 200, "looking is free");
}

#[test]
fn visitors_are_told_what_the_site_has_to_say() {
    let origin = Origin::pages();
    let notice = "[[site.notice]]\nid = \"n1\"\nuntil = 2199-01-01\ntext = { ru = \"Новая <политика>\", en = \"A new policy\" }\n\
                  [[site.notice]]\nid = \"old\"\nuntil = 2020-01-01\ntext = { en = \"Long ago\" }\n";
    let gateway = Gateway::build(&[&origin]).tables(notice).start();
    let mut visitor = Visitor::new(&gateway, Protocol::Http2);
    let page = visitor.fetch(ask("GET", "/.kelisim/?lang=ru")).text();
    assert!(page.contains("Новая &lt;политика&gt;") && !page.contains("Long ago"));
    let state = visitor.fetch(ask("GET", "/.kelisim/consent").header("accept-language", "en")).json();
    assert_eq!(state["notices"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&state["notices"][0]["id"], &state["notices"][0]["text"]),
        (&"n1".into(), &"A new policy".into())
    );
}

#[test]
fn a_change_of_wording_asks_nobody_again() {
    let origin = Origin::pages();
    let versions = |reconsent| {
        format!(
            "[site.policy]\ngate = [\"/register\"]\nversions = [{{ id = \"a\", file = \"a.md\", language = \"en\", effective = 2020-01-01 }}, \
             {{ id = \"b\", file = \"b.md\", language = \"en\", effective = 2198-01-01, reconsent = {reconsent} }}]\n"
        )
    };
    for (reconsent, asks) in [(false, false), (true, true)] {
        let gateway = Gateway::build(&[&origin])
            .file("a.md", "# A\n")
            .file("b.md", "# B\n")
            .tables(&versions(reconsent))
            .start();
        let mut visitor = Visitor::new(&gateway, Protocol::Http1);
        visitor.choose(r#"{"advertising":true,"policy":"accepted"}"#);
        gateway.reload(|text| text.replace("2198-01-01", "2024-01-01"));
        let state = visitor.fetch(ask("GET", "/.kelisim/consent")).json();
        assert_eq!(state["decision"], if asks { "denied" } else { "granted" });
        assert_eq!(state["policy_version"], "b");
        // Who is asked again leaves the end of the old choice and the new one.
        visitor.choose(r#"{"advertising":true,"policy":"accepted"}"#);
        let events: Vec<String> =
            entries(&gateway.data()).iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect();
        let expected: &[&str] =
            if asks { &["given", "expired", "re-confirmed"] } else { &["given", "re-confirmed"] };
        assert_eq!(events, expected);
    }
}

#[test]
fn the_report_shows_what_browsers_really_send() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    visitor.hold("basket_view", "1");
    visitor.open("/");
    let data = gateway.data().display().to_string();
    let report = wait_for("the record", || {
        let said = kelisim(&["cookies", "report", "--format", "json", "--data", &data]);
        let report: Value = serde_json::from_str(&said.out).ok()?;
        let cookies = report["cookies"].as_array()?.clone();
        (!cookies.is_empty()).then_some(cookies)
    });
    let of = |name: &str| {
        report.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name}: {report:?}"))
    };
    let ad = of("_fbp");
    assert_eq!(
        (&ad["category"], &ad["stripped"], &ad["rule"]["owner"]),
        (&"advertising".into(), &1.into(), &"Meta".into())
    );
    let unknown = of("basket_view");
    assert_eq!(
        (&unknown["category"], &unknown["sent"], &unknown["stripped"]),
        (&"unknown".into(), &1.into(), &0.into())
    );
    assert_eq!(unknown["hosts"][0], "kz.example");
    assert!(unknown["suggestion"].as_str().is_some_and(|rule| rule.contains("match = \"=basket_view\"")));
    let audit = kelisim(&["logs", "audit", "--data", &data]);
    assert!(audit.out.contains("cookies report"), "{}", audit.out);
}
