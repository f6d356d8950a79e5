//! One record per request, with what the policy names and nothing else; and how it is read.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::corpora::corpus;
use crate::support::{Answer, Gateway, Origin, Protocol, SESSION, Visitor, ask, cli, process, wait_for};

const ADDRESS: &str = "127.0.0.1";
const AGENT: &str = "SecretAgent/7.0 (unique)";

/// Every value of a record, as text.
fn everything(records: &[Value]) -> String {
    serde_json::to_string(records).unwrap()
}

#[test]
fn each_request_has_one_record_with_what_happened() {
    let origin =
        Origin::start(|seen| Answer::new(if seen.method == "PUT" { 201 } else { 200 }).body("hello"));
    let gateway = Gateway::of(&origin);
    for (protocol, version) in [(Protocol::Http1, "1.1"), (Protocol::Http2, "2")] {
        let mut visitor = Visitor::with_ads(&gateway, protocol);
        let path = format!("/put/{version}");
        let question = ask("PUT", &format!("{path}?b=1&a=2"))
            .header("accept-language", "kk-KZ,ru;q=0.5")
            .header("sec-fetch-site", "same-origin")
            .header("referer", "https://elsewhere.example/secret/page?x=1")
            .body("12345678");
        let reply = visitor.fetch(question);
        let record = gateway.record(&path);
        for (name, value) in [
            ("record.kind", json!("access")),
            ("http.request.method", json!("PUT")),
            ("url.scheme", json!("http")),
            ("url.domain", json!("kz.example")),
            ("url.query_keys", json!(["b", "a"])),
            ("http.response.status_code", json!(201)),
            ("http.request.header.referer", json!("https://elsewhere.example")),
            ("network.protocol.version", json!(version)),
            ("accept_language.primary", json!("kk")),
            ("http.request.body.size", json!(8)),
            ("http.response.body.size", json!(5)),
            ("upstream.address", json!(origin.address.to_string())),
            ("upstream.status_code", json!(201)),
            ("request.id", json!(reply.id())),
            ("sec_fetch.site", json!("same-origin")),
            ("consent.decision", json!("denied")),
            ("consent.reason", json!("unknown")),
            ("cookie.names", json!(["sessionid", "_fbp", "_gcl_au", "tmr_lvid", "_uetsid"])),
            ("cookies.stripped", json!(["_fbp", "_gcl_au", "tmr_lvid", "_uetsid"])),
        ] {
            assert_eq!(record[name], value, "{name}");
        }
        assert!(record["event.duration"].as_u64() >= record["event.time_to_first_byte"].as_u64(), "{record}");
    }
}

#[test]
fn answers_of_ours_are_recorded_too() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).site("body_bytes = 10").start();
    let mut client = gateway.client();
    assert_eq!(client.get("/.kelisim/").status, 200);
    assert_eq!(client.fetch(&ask("POST", "/too-large").body("12345678901")).status, 413);
    assert_eq!(gateway.record("/.kelisim/")["http.response.status_code"], 200);
    let refused = gateway.record("/too-large");
    assert_eq!(
        (&refused["http.response.status_code"], &refused["error.type"]),
        (&json!(413), &json!("body_too_large"))
    );
}

#[test]
fn support_sees_no_person() {
    let origin = Origin::start(|_| Answer::page().header("Set-Cookie", "sessionid=from-the-site"));
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1).always("user-agent", AGENT);
    visitor.open("/");
    let question = ask("POST", "/login?user=secret-query&gclid=secret-click")
        .header("referer", "http://kz.example/secret-path?yclid=secret-click")
        .header("authorization", "Bearer secret-token")
        .header("x-test-unknown", "secret-header")
        .body("password=secret-body");
    visitor.fetch(question);
    gateway.record("/login");
    let seen = everything(&gateway.records());
    let visitor_cookie = visitor.cookie("kelisim_vid").expect("a visitor cookie").to_owned();
    for secret in
        ["secret", ADDRESS, "SecretAgent", SESSION.1, "from-the-site", "fb.1.17", "gclid", &visitor_cookie]
    {
        // The site's own server is on loopback, too; that address is the site's, and configured.
        let text = seen.replace(&origin.address.to_string(), "");
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // The journal's files do not hold them in the clear either.
    for file in std::fs::read_dir(gateway.data().join("journal")).expect("the journal") {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in ["secret-token", "secret-body", "secret-click", "fb.1.17", visitor_cookie.as_str()] {
            assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{secret} on the disk");
        }
    }
    // Nor does the log.
    let log = gateway.log_lines().join("\n");
    assert!(!log.contains("secret") && !log.contains("SecretAgent"), "{log}");
}

#[test]
fn the_value_of_a_cookie_without_a_name_is_not_recorded() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    assert_eq!(gateway.client().fetch(&ask("GET", "/").header("cookie", "ivan@mail.kz; a=1")).status, 200);
    let record = gateway.record("/");
    assert_eq!(record["cookie.names"], json!(["", "a"]));
    assert!(!everything(&[record]).contains("ivan"));
}

#[test]
fn each_purpose_opens_its_own_fields_and_needs_a_reason() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    Visitor::new(&gateway, Protocol::Http1).always("user-agent", AGENT).open("/who");
    gateway.record("/who");
    let of = |purpose: &str| cli::records_for(&gateway.data(), purpose).remove(0);
    assert_eq!(of("security")["client.address"], ADDRESS);
    assert_eq!(of("security")["user_agent.original"], Value::Null);
    assert_eq!(of("diagnostics")["user_agent.original"], AGENT);
    assert_eq!(of("diagnostics")["client.address"], Value::Null);
    assert_eq!(of("fraud")["risk.level"], "none");
    let data = gateway.data().display().to_string();
    let said = cli::kelisim(&["logs", "query", "--data", &data, "--purpose", "security"]);
    assert_eq!(said.code, 2, "without a reason: {said:?}");
    let said = cli::kelisim(&["logs", "query", "--data", &data, "ip:127.0.0.0/8"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "a filter on a sealed column: {said:?}");
}

#[test]
fn values_of_query_keys_are_recorded_only_where_the_operator_says_so() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("records.query_values", "[\"page\", \"gclid\"]").start();
    gateway.client().get("/list?page=7&user=anna&gclid=click&next=%2Fa%3Ffbclid%3Dx");
    let record = gateway.record("/list");
    assert!(!everything(&[record]).contains("anna"));
    let query = cli::records_for(&gateway.data(), "diagnostics")[0]["url.query"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(query.contains("page=7"), "{query}");
    assert!(!query.contains("anna") && !query.contains("click"), "{query}");
}

#[test]
fn values_of_cookies_are_recorded_only_where_the_operator_says_so_and_opened_by_security_only() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("records.cookie_values", "[\"lang\", \"_ga\", \"ab\"]")
        .key("cookies.actions.analytics", "\"strip\"")
        .start();
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    for (name, value) in
        [("lang", "kk"), ("theme", "secret-theme"), ("_ga", "secret-statistics"), ("ab", "7;")]
    {
        visitor.hold(name, value.trim_end_matches(';'));
    }
    visitor.open("/list");
    gateway.record("/list");
    let security = cli::records_for(&gateway.data(), "security");
    assert_eq!(
        security[0]["cookie.values"],
        json!(["lang=kk", "ab=7"]),
        "what was stripped did not go to the site"
    );
    assert!(!everything(&security).contains("secret"));
    for purpose in ["support", "fraud", "diagnostics", "advertising"] {
        let seen = cli::records_for(&gateway.data(), purpose);
        assert_eq!(seen[0]["cookie.values"], Value::Null, "{purpose}");
        assert!(!everything(&seen).contains("lang=kk"), "{purpose}");
    }
}

#[test]
fn the_network_is_told_by_name_and_every_location_by_the_database_it_is_from() {
    let Some(corpus) = corpus("maxmind-db") else { return };
    let origin = Origin::pages();
    let file = corpus.canonicalize().expect("a folder").join("test-data/GeoLite2-ASN-Test.mmdb");
    let gateway = Gateway::build(&[&origin])
        .key("geoip.asn", &format!("{file:?}"))
        .site("trusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    for (page, address) in [("/known", "1.128.0.1"), ("/unknown", "192.0.2.1")] {
        Visitor::new(&gateway, Protocol::Http1).always("x-forwarded-for", address).open(page);
        gateway.record(page);
    }
    let fraud = cli::records_for(&gateway.data(), "fraud");
    assert_eq!([&fraud[0]["as.number"], &fraud[0]["as.org"]], [&json!(1221), &json!("Telstra Pty Ltd")]);
    assert_eq!([&fraud[1]["as.number"], &fraud[1]["as.org"]], [&Value::Null, &Value::Null]);
    for record in &fraud {
        let databases = record["geo.db_version"].as_str().expect("databases");
        let days: Vec<_> = databases.split(' ').filter_map(|database| database.split_once('=')).collect();
        assert_eq!([days[0].0, days[1].0], ["country", "asn"], "{databases}");
        assert!(days.iter().all(|(_, day)| day.len() == 10), "{databases}");
        assert_eq!(record["geo.precision"], Value::Null);
    }
    let security = cli::records_for(&gateway.data(), "security");
    assert_eq!([&security[0]["geo.precision"], &security[0]["as.org"]], [&json!("full"), &Value::Null]);
    assert!(!everything(&gateway.records()).contains("Telstra"));
}

#[test]
fn the_round_trip_to_the_client_is_for_diagnosis_and_not_told_of_a_proxy() {
    let origin = Origin::pages();
    let direct = Gateway::of(&origin);
    let behind = Gateway::build(&[&origin]).site("trusted_proxies = [\"127.0.0.0/8\"]").start();
    for (gateway, measured) in [(&direct, true), (&behind, false)] {
        gateway.client().get("/page");
        gateway.record("/page");
        let seen = cli::records_for(&gateway.data(), "diagnostics");
        assert_eq!(seen[0]["tcp.rtt"].as_u64().is_some_and(|rtt| rtt > 0), measured, "{}", seen[0]);
        for purpose in ["support", "security", "fraud", "advertising"] {
            assert_eq!(cli::records_for(&gateway.data(), purpose)[0]["tcp.rtt"], Value::Null, "{purpose}");
        }
    }
}

#[test]
fn a_tail_shows_requests_as_they_come() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    gateway.client().get("/before");
    gateway.record("/before");
    let mut tail = cli::command()
        .args(["logs", "tail", "-f", "--format", "json", "--data"])
        .arg(gateway.data())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a tail");
    let mut lines = BufReader::new(tail.stdout.take().expect("its output")).lines();
    let mut next =
        || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["url.path"], "/before");
    for path in ["/live/1", "/live/2", "/live/3"] {
        gateway.client().get(path);
        assert_eq!(next()["url.path"], path);
    }
    tail.kill().expect("killed");
    tail.wait().expect("ended");
    // A killed reader leaves the beginning of its read in the audit log, and the log is whole.
    let data = gateway.data().display().to_string();
    let said = cli::kelisim(&["logs", "audit", "verify", "--data", &data]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 reads without an end"), "{said:?}");
}

#[test]
fn readers_of_several_processes_make_one_audit_log() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    gateway.client().get("/page");
    gateway.record("/page");
    let read =
        || cli::command().args(["logs", "query", "--data"]).arg(gateway.data()).stdout(Stdio::null()).spawn();
    let readers: Vec<_> = (0..6).map(|_| read().expect("a reader")).collect();
    for mut reader in readers {
        assert!(reader.wait().expect("ended").success());
    }
    let data = gateway.data().display().to_string();
    let said = cli::kelisim(&["logs", "audit", "verify", "--data", &data]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.out.contains("without an end"), "{said:?}");
    let log = gateway.data().join("records/audit/audit.log");
    let log = if log.exists() { log } else { gateway.data().join("audit/audit.log") };
    let written = std::fs::read_to_string(&log).expect("the log");
    std::fs::write(&log, written.replacen("\"purpose\":\"support\"", "\"purpose\":\"Support\"", 1))
        .expect("changed");
    let said = cli::kelisim(&["logs", "audit", "verify", "--data", &data]);
    assert_eq!(said.code, 1, "{said:?}");
}

#[test]
fn the_browser_is_told_without_the_text_that_names_it() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let crawler = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    Visitor::new(&gateway, Protocol::Http1).always("user-agent", crawler).open("/crawled");
    gateway.record("/crawled");
    let found = cli::records(&gateway.data(), &["bot=search-engine"]).remove(0);
    assert_eq!(
        [&found["bot.name"], &found["device.class"], &found["bot.is"]],
        [&json!("Googlebot"), &json!("bot"), &json!(true)]
    );
    assert_eq!(found["user_agent.original"], Value::Null);
    let data = gateway.data().display().to_string();
    let top = cli::kelisim(&["logs", "top", "bot.name", "--format", "csv", "--data", &data]);
    assert!(top.out.contains("Googlebot,1"), "{top:?}");
}

#[test]
fn records_can_be_searched_counted_and_written_in_every_format() {
    let origin = Origin::start(|seen| Answer::new(if seen.target == "/bad" { 500 } else { 200 }));
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for path in ["/a", "/a", "/a", "/b", "/bad"] {
        client.get(path);
    }
    let id = client.get("/wanted").id().to_owned();
    gateway.record("/wanted");
    let data = gateway.data().display().to_string();
    let logs = |arguments: &[&str]| {
        let said = cli::kelisim(&[&["logs"], arguments, &["--data", &data]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let found = logs(&["query", &format!("id={id}"), "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&found).expect("one line")["url.path"], "/wanted");
    assert_eq!(logs(&["query", "status>=500", "--format", "json"]).lines().count(), 1);
    assert_eq!(logs(&["query", "path~^/[ab]$", "--format", "json", "-n", "2"]).lines().count(), 2);
    assert_eq!(logs(&["query", "--format", "csv"]).lines().count(), 7, "with a header");
    let clf = logs(&["query", "path=/bad", "--format", "clf"]);
    assert!(clf.contains("\"GET /bad HTTP/1.1\" 500 "), "{clf}");
    assert!(logs(&["query"]).contains("/wanted"));
    let top = logs(&["top", "path", "--format", "json"]);
    let first: Value = serde_json::from_str(top.lines().next().expect("a line")).expect("JSON");
    assert!(top.lines().next().is_some_and(|line| line.contains("/a") && line.contains('3')), "{first}");
    assert!(logs(&["hist", "status", "--bucket", "1", "--format", "csv"]).contains("500"));
    assert!(logs(&["hist", "ts", "--bucket", "1h"]).contains('6'));
    let said = cli::kelisim(&["logs", "query", "path=/nowhere", "--fail", "--data", &data]);
    assert_eq!((said.code, said.out.contains("nowhere")), (1, false));
    let said = cli::kelisim(&["logs", "query", "stauts=1", "--data", &data]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("status"), "a hint: {}", said.err);
}

#[test]
fn every_level_of_durability_keeps_records_over_a_clean_end() {
    for level in ["memory", "group", "fsync"] {
        let origin = Origin::pages();
        let gateway = Gateway::build(&[&origin]).key("records.durability", &format!("{level:?}")).start();
        for n in 0..20 {
            assert_eq!(gateway.client().get(&format!("/{level}/{n}")).status, 200);
        }
        let data = gateway.data();
        let keep = gateway.finish_and_keep();
        let records = cli::records(&data, &[]);
        assert_eq!(records.len(), 20, "{level}");
        drop(keep);
    }
}

#[test]
fn a_full_limit_of_bytes_removes_the_oldest_and_says_so() {
    let origin = Origin::pages();
    let limits = Gateway::build(&[&origin]).key("records.max_bytes", "\"4MiB\"");
    let gateway = limits.key("records.segments", "false").start();
    let mut client = gateway.client();
    let long = "x".repeat(3000);
    // Some kilobytes a record: more than four files of one mebibyte.
    wait_for("a removed file", || {
        for _ in 0..100 {
            client.get(&format!("/{long}"));
        }
        (gateway.metric("kelisim_journal_removed_files_total", &[]) >= 1.0).then_some(())
    });
    let data = gateway.data();
    wait_for("a gap record", || {
        cli::records(&data, &["kind=gap"]).iter().any(|gap| gap["gap.reason"] == "quota").then_some(())
    });
}

#[test]
fn a_tail_that_is_interrupted_ends_its_entry_in_the_audit_log() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    gateway.client().get("/first");
    gateway.record("/first");
    for signal in [Signal::INT, Signal::TERM] {
        let mut tail = cli::command()
            .args(["logs", "tail", "-f", "-n", "1", "--format", "json", "--data"])
            .arg(gateway.data())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a tail");
        let mut lines = BufReader::new(tail.stdout.take().expect("its output"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        process::send(&tail, signal);
        let status = wait_for("the end of the tail", || tail.try_wait().expect("its status"));
        assert_eq!(status.code(), Some(130), "{signal:?}");
        let log = std::fs::read_to_string(gateway.data().join("audit/audit.log")).expect("a log");
        let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let [begun, end] = &entries[entries.len() - 2..] else { panic!("{log}") };
        assert_eq!((&begun["command"], &end["of"]), (&json!("logs tail"), &begun["n"]));
        assert_eq!((&end["rows"], &end["outcome"]), (&json!(1), &json!("complete")));
    }
}
