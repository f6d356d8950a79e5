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
fn a_lost_key_of_consent_or_of_visitors_is_told() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let is_told = |gateway: &Gateway, what: &str| gateway.log_lines().iter().any(|line| line.contains(what));
    assert!(!is_told(&gateway, "is missing"));
    Visitor::new(&gateway, Protocol::Http1).choose(r#"{"advertising":true}"#);
    let keys = gateway.data().join("keys");
    let gateway = gateway.crash_and_edit(|| fs::remove_file(keys.join("consent.key")).unwrap());
    assert!(is_told(&gateway, "the key of consent is missing") && !is_told(&gateway, "the key of visitors"));
    let gateway = gateway.crash_and_edit(|| fs::remove_file(keys.join("visitor.key")).unwrap());
    assert!(is_told(&gateway, "the key of visitors is missing") && !is_told(&gateway, "the key of consent"));
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

/// What `consent show` says of a receipt.
fn show(data: &Path, id: &str, more: &[&str]) -> (i32, Value) {
    let data = data.display().to_string();
    let said = kelisim(&[&["consent", "show", id, "--format", "json", "--data", &data], more].concat());
    (said.code, serde_json::from_str(&said.out).unwrap_or_default())
}

#[test]
fn a_receipt_is_shown_and_its_client_only_under_a_purpose_that_opens_it() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let mut visitor = Visitor::new(&gateway, Protocol::Http1).always("user-agent", "AnnasAgent/1.0");
    let first = visitor.choose(r#"{"advertising":true}"#).json()["receipt"].clone();
    let second = visitor.choose(r#"{"action":"withdraw"}"#).json()["receipt"].clone();
    let (first, second) = (first.as_str().expect("a receipt"), second.as_str().expect("another"));
    let (code, shown) = show(&data, first, &[]);
    assert_eq!((code, &shown["receipt"]["event"], &shown["good"]), (0, &"given".into(), &true.into()));
    assert_eq!((&shown["replaced_by"], &shown["place"]["n"]), (&second.into(), &1.into()));
    assert_eq!((&shown["client"]["state"], &shown["client"]["address"]), (&"alive".into(), &Value::Null));
    assert_eq!(shown["client"]["opened_by"]["address"], "security");
    assert_eq!(shown["receipt"]["client"], Value::Null, "nor as it is sealed");
    let (_, shown) = show(&data, first, &["--purpose", "security", "--reason", "case 17"]);
    assert_eq!(
        (&shown["client"]["address"], &shown["client"]["user_agent"]),
        (&"127.0.0.1".into(), &Value::Null)
    );
    let (_, shown) = show(&data, first, &["--purpose", "diagnostics", "--reason", "case 17"]);
    assert_eq!(
        (&shown["client"]["address"], &shown["client"]["user_agent"]),
        (&Value::Null, &"AnnasAgent/1.0".into())
    );
    assert_eq!(show(&data, first, &["--purpose", "security"]).0, 2, "a reason is missing");
    assert_eq!(show(&data, "01a20513-d8f4-79ea-b03f-6123ac76a1e0", &[]).0, 1, "there is none");
    assert_eq!(show(&data, "nonsense", &[]).0, 2);
    let audit = kelisim(&["logs", "audit", "--data", &data.display().to_string()]);
    assert!(audit.out.contains("consent show --purpose security because: case 17"), "{}", audit.out);
    // A changed byte anywhere is told with every receipt.
    let log = data.join("receipts/receipts.log");
    let gateway = gateway.crash_and_edit(|| {
        let changed = fs::read_to_string(&log).unwrap().replacen("\"withdrawn\"", "\"Withdrawn\"", 1);
        fs::write(&log, changed).unwrap();
    });
    let (code, shown) = show(&data, first, &[]);
    assert_eq!((code, &shown["good"]), (1, &false.into()));
    gateway.finish();
}

#[test]
fn after_the_proof_term_nobody_sees_the_client_and_the_day_of_its_end_is_told() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("consent.proof_term", "\"1d\"").start();
    let data = gateway.data();
    let state = Visitor::new(&gateway, Protocol::Http1).choose(r#"{"advertising":true}"#).json();
    let id = state["receipt"].as_str().expect("a receipt").to_owned();
    // The same receipt as if it were of an old month: its key is over at the next start.
    let keys = data.join("keys/receipts");
    let folder = gateway.finish_and_keep();
    let month = entries(&data)[0]["client"]["key"].as_str().expect("a month").to_owned();
    fs::rename(keys.join(format!("{month}.key")), keys.join("2020-01.key")).unwrap();
    let log = fs::read_to_string(data.join("receipts/receipts.log")).unwrap();
    let aged = log.replace(&format!("\"key\":\"{month}\""), "\"key\":\"2020-01\"");
    fs::write(data.join("receipts/receipts.log"), resealed(&aged)).unwrap();
    fs::remove_file(data.join("receipts/receipts.head")).unwrap();
    fs::remove_file(data.join("receipts.head")).unwrap();
    let gateway = Gateway::on(folder);
    wait_for("the end of the key", || (!keys.join("2020-01.key").exists()).then_some(()));
    let purpose = ["--purpose", "security", "--reason", "r"];
    let shown = wait_for("the end of it in the audit log", || {
        let (_, shown) = show(&data, &id, &purpose);
        (shown["client"]["state"] == "destroyed").then_some(shown)
    });
    assert_eq!((&shown["client"]["key"], &shown["client"]["address"]), (&"2020-01".into(), &Value::Null));
    assert!(shown["client"]["destroyed"].as_str().is_some_and(|at| at.starts_with("20")), "{shown}");
    let audit = kelisim(&["logs", "audit", "--data", &data.display().to_string()]);
    assert!(audit.out.contains("destroys receipt of 2020-01"), "{}", audit.out);
    gateway.finish();
}

/// A log of one entry with its hash made anew.
fn resealed(line: &str) -> String {
    let (hashed, _) = line.rsplit_once(",\"hash\":\"").expect("an entry");
    format!("{hashed},\"hash\":\"{}\"}}\n", crate::support::digest(hashed.as_bytes()))
}

#[test]
fn a_new_key_is_taken_by_a_reload_and_no_visitor_chooses_again() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let data = gateway.data().display().to_string();
    let mut visitors = Protocol::ALL.map(|protocol| Visitor::with_ads(&gateway, protocol));
    let key_of = |visitor: &Visitor| {
        visitor.cookie("kelisim_consent").expect("a choice").split('.').nth(5).expect("a key").to_owned()
    };
    for visitor in &mut visitors {
        visitor.choose(r#"{"advertising":true}"#);
    }
    let old = key_of(&visitors[0]);
    origin.grant_advertising(true);
    let mut known = vec![old.clone()];
    for _ in 0..2 {
        let said = kelisim(&["consent", "rotate-key", "--data", &data, "--reason", "every year"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains(&format!("key {} verifies on", known[known.len() - 1])), "{said:?}");
        assert!(gateway.reload(|text| text).contains("configuration reloaded"));
        for visitor in &mut visitors {
            visitor.open("/");
            assert!(origin.last().cookies().contains("_fbp"), "the choice under {old} counts");
            assert_eq!(key_of(visitor), old, "nobody was asked");
        }
        // The next choice is signed with the new one.
        let mut other = Visitor::new(&gateway, Protocol::Http1);
        other.choose(r#"{"advertising":true}"#);
        let new = key_of(&other);
        assert!(!known.contains(&new), "{known:?} {new}");
        known.push(new);
    }
    // A key that became known is gone at once.
    let said = kelisim(&["consent", "rotate-key", "--data", &data, "--revoke", "--reason", "lost laptop"]);
    assert_eq!((said.code, said.out.matches("is gone").count()), (0, 3), "{said:?}");
    origin.grant_advertising(false);
    gateway.reload(|text| text);
    for visitor in &mut visitors {
        let state = visitor.fetch(ask("GET", "/.kelisim/consent")).json();
        assert_eq!(state["decision"], "denied");
    }
    let audit = kelisim(&["logs", "audit", "--data", &data]);
    assert!(audit.out.contains("consent rotate-key because: every year"), "{}", audit.out);
    assert!(audit.out.contains("consent rotate-key --revoke because: lost laptop"), "{}", audit.out);
    // A file that cannot be read leaves the keys in force.
    let path = gateway.data().join("keys/consent.key");
    fs::write(&path, "nonsense").unwrap();
    assert!(gateway.reload(|text| text).contains("stays in force"));
    assert_eq!(kelisim(&["consent", "rotate-key", "--data", &data]).code, 70);
    assert_eq!(Visitor::new(&gateway, Protocol::Http1).choose(r#"{"advertising":true}"#).status, 200);
}

#[test]
fn an_export_for_consent_leaves_out_whoever_has_withdrawn_since() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let [mut anna, mut bolat, mut dana] = [(); 3].map(|()| Visitor::new(&gateway, Protocol::Http1));
    for (visitor, name) in [(&mut anna, "anna"), (&mut bolat, "bolat"), (&mut dana, "dana")] {
        visitor.grant();
        visitor.open(&format!("/{name}/1"));
    }
    // A choice that keeps the consent replaces the receipt; what was withdrawn stays so when consent is given again.
    bolat.grant();
    bolat.open("/bolat/2");
    dana.withdraw();
    dana.grant();
    dana.open("/dana/2");
    anna.choose(r#"{"advertising":true,"statistics":true}"#);
    anna.open("/anna/2");
    anna.withdraw();
    anna.open("/anna/3");
    for path in ["/anna/3", "/bolat/2", "/dana/2"] {
        gateway.record(path);
    }
    let data = data.display().to_string();
    let given = |more: &[&str]| -> Vec<String> {
        let words = ["logs", "export", "--data", &data, "--purpose", "support", "--basis", "consent"];
        let said = kelisim(&[&words[..], &["--recipient", "a partner"], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        let records = said.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        let mut paths: Vec<String> =
            records.filter_map(|record| record["url.path"].as_str().map(str::to_owned)).collect();
        paths.retain(|path| path.matches('/').count() == 2 && !path.starts_with("/.kelisim"));
        paths.sort();
        paths
    };
    assert_eq!(given(&[]), ["/bolat/1", "/bolat/2", "/dana/2"]);
    assert_eq!(given(&["--fields", "path"]), ["/bolat/1", "/bolat/2", "/dana/2"], "whatever is shown");
    let said = kelisim(&[
        "logs",
        "export",
        "--data",
        &data,
        "--purpose",
        "support",
        "--basis",
        "consent",
        "--recipient",
        "x",
        "method=DELETE",
    ]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "nor the request that withdrew");
    let log = gateway.data().join("receipts/receipts.log");
    let text = fs::read_to_string(&log).expect("the receipts");
    fs::write(&log, text.replacen("withdrawn", "given", 1)).expect("written");
    let said = kelisim(&[
        "logs",
        "export",
        "--data",
        &data,
        "--purpose",
        "support",
        "--basis",
        "consent",
        "--recipient",
        "x",
    ]);
    assert_eq!((said.code, said.out.as_str()), (70, ""), "{said:?}");
    assert!(said.err.contains("nobody knows who has withdrawn"), "{said:?}");
}

#[test]
fn the_receipts_of_a_person_are_found_given_out_and_kept_with_an_end() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let mut anna = Visitor::new(&gateway, Protocol::Http1).always("user-agent", "AnnasAgent/1.0");
    anna.open("/anna");
    let choose = |visitor: &mut Visitor, body: &str| {
        let state = visitor.choose(body).json();
        state["receipt"].as_str().expect("a receipt").to_owned()
    };
    let ids = [choose(&mut anna, r#"{"advertising":true}"#), choose(&mut anna, r#"{"action":"withdraw"}"#)];
    anna.open("/anna-again");
    let mut bolat = Visitor::new(&gateway, Protocol::Http2);
    let other = choose(&mut bolat, r#"{"advertising":true}"#);
    bolat.open("/bolat");
    gateway.record("/anna-again");
    gateway.record("/bolat");
    let cookie = anna.cookie("kelisim_vid").expect("a visitor cookie").to_owned();
    let subject = |verb: &str, more: &[&str]| {
        let data = data.display().to_string();
        kelisim(&[&["subject", verb, "--data", &data, "--reason", "request 17"], more].concat())
    };
    let found = |who: &[&str]| -> Value {
        let said = subject("find", &[who, &["--format", "json"]].concat());
        serde_json::from_str::<Value>(&said.out).expect("JSON")["receipts"].clone()
    };
    assert_eq!(found(&["--cookie", &cookie]), serde_json::json!(ids), "by the records");
    let all = [&ids[0], &ids[1], &other];
    assert_eq!(found(&["--address", "127.0.0.1"]), serde_json::json!(all), "by the sealed address");
    assert_eq!(found(&["--address", "203.0.113.9"]), serde_json::json!([]));
    let given: Value =
        serde_json::from_str(&subject("export", &["--cookie", &cookie]).out).expect("an export");
    assert_eq!(given["receipts"][0]["receipt"], ids[0].as_str());
    assert_eq!(given["receipts"][0]["client"]["user_agent"], "AnnasAgent/1.0");
    assert_eq!(given["receipts"].as_array().map(Vec::len), Some(2));
    let rehearsed = subject("erase", &["--cookie", &cookie]);
    assert!(rehearsed.out.contains("kept: 2 receipts of consent"), "{rehearsed:?}");
    assert!(
        rehearsed.out.contains("sealed, until the last of their keys is destroyed on 20"),
        "{rehearsed:?}"
    );
    let erased = subject("erase", &["--cookie", &cookie, "--yes"]);
    assert_eq!(erased.code, 0, "{erased:?}");
    assert!(erased.out.contains("2 receipts of consent") && erased.out.contains(&ids[1]), "{erased:?}");
    assert!(!erased.out.contains(&other) && !erased.out.contains("127.0.0.1"), "{erased:?}");
    let (code, report) = verify(&data);
    assert_eq!((code, &report["entries"]), (0, &3.into()), "the chain is whole");
    assert_eq!(found(&["--cookie", &cookie]), serde_json::json!([]), "no record leads to them any more");
}
