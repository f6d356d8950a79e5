//! `kelisim test-request`: it tells what the gateway really does, keeps values to itself, and leaves no trace.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::cli::{self, Said};
use crate::support::client::Client;
use crate::support::tls::Certificate;
use crate::support::{Answer, Gateway, HOST, Origin, Protocol, Visitor, ask, wait_for};

/// Runs the command with a head on its standard input.
fn dry_run(config: &Path, head: &[u8], more: &[&str]) -> Said {
    let mut child = cli::command()
        .args(["test-request", "--config"])
        .arg(config)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child.stdin.take().expect("its input").write_all(head).expect("the head is taken");
    let output = child.wait_with_output().expect("its end");
    let said = Said {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    };
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

fn report(config: &Path, head: &[u8], more: &[&str]) -> Value {
    let said = dry_run(config, head, &[&["--format", "json"], more].concat());
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// A configuration in a folder of its own, before a site that does not exist.
fn config(folder: &Path, more: &str) -> std::path::PathBuf {
    let path = folder.join("kelisim.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"{HOST}\"]\nupstream = [\"http://127.0.0.1:1\"]\n\
         trusted_proxies = [\"10.0.0.0/8\"]\n{more}\n[records]\ndir = {:?}\n",
        folder.join("data")
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Heads of every kind that goes on: plain, with cookies, forged, hop-by-hop, odd.
const FORWARDED: &[(&str, &str)] = &[
    ("/plain", "User-Agent: test\r\nAccept: */*\r\nAccept-Language: kk-KZ,ru;q=0.8\r\n"),
    (
        "/cookies?a=1",
        "Cookie: _fbp=fb.1.2.3; sessionid=\"a,b\"; _ga=GA1.2\r\nCookie: _gcl_au=1; theme=dark\r\n",
    ),
    (
        "/forged",
        "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nkelisim-consent: advertising=granted\r\nX-Request-Id: mine\r\n",
    ),
    (
        "/hop",
        "Connection: keep-alive, x-mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nTE: trailers, gzip\r\nProxy-Authorization: x\r\n",
    ),
    ("/underscore", "X_Forwarded_For: 1.2.3.4\r\nx_y: z\r\nProxy: http://evil.example\r\n"),
    (
        "/advertising",
        "Sec-Browsing-Topics: (1)\r\nAttribution-Reporting-Eligible: trigger\r\nDPR: 2\r\nSec-GPC: 1\r\n",
    ),
    (
        "/browser",
        "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\nSec-CH-UA: \"Chromium\";v=\"130\"\r\nReferer: https://search.example/?q=x\r\n",
    ),
    ("/a/../b//c;d?utm_source=x&token=secret", "Authorization: Bearer secret\r\nX-Odd: \u{80}\u{ff}\r\n"),
    ("/upgrade", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
    (
        "/traced",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nSave-Data: on\r\nDNT: 1\r\n",
    ),
];

/// Columns that differ from one run to the next, or that only an answer fills.
const VOLATILE: &[&str] = &[
    "ts",
    "seq",
    "start_ts",
    "request.id",
    "http.response.status_code",
    "http.response.body.size",
    "event.duration",
    "event.time_to_first_byte",
    "upstream.address",
    "upstream.status_code",
    "upstream.duration",
    "client.port",
    "tcp.rtt",
];

fn stable(record: &Value) -> BTreeMap<String, Value> {
    let fields = record.as_object().expect("an object").iter();
    fields
        .filter(|(name, _)| !VOLATILE.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

fn without_id(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.starts_with("x-request-id:")).collect()
}

#[test]
fn the_head_and_the_record_are_those_of_the_real_gateway() {
    let origin = Origin::pages();
    origin.tolerate("x-odd");
    let gateway = Gateway::of(&origin);
    let config = gateway.folder().join("kelisim.toml");
    for (target, fields) in FORWARDED {
        let text = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        let head: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let mut client = gateway.client();
        client.send(&head);
        assert_eq!(client.read().status, 200, "{target}");
        let seen = origin.last();
        let mut real = vec![format!("{} {} HTTP/1.1", seen.method, seen.target)];
        real.extend(seen.headers.0.iter().map(|(name, value)| format!("{name}: {value}")));

        let report = report(&config, &head, &["--show-values"]);
        assert_eq!(report["verdict"], "forwarded", "{target}");
        let told = report["head"].as_array().unwrap().iter();
        let told = told.map(|line| unescape(line["line"].as_str().unwrap())).collect();
        assert_eq!(without_id(told), without_id(real), "{target}");

        let path = target.split('?').next().unwrap();
        for (class, purpose) in
            [("clear", "support"), ("sec", "security"), ("fraud", "fraud"), ("diag", "diagnostics")]
        {
            let real = wait_for("the record", || {
                let more = ["--purpose", purpose, "--reason", "a test", &format!("path={path}")];
                cli::records(&gateway.data(), &more).pop()
            });
            let of_class = |class: &str| {
                let classes = report["record"].as_array().unwrap();
                let columns = classes.iter().find(|c| c["class"] == class).map(|c| c["columns"].clone());
                columns.map(|columns| stable(&columns)).unwrap_or_default()
            };
            let mut told = of_class(class);
            told.extend(of_class("clear"));
            // The journal's writer adds these to the record; a dry run has no writer.
            let mut real = stable(&real);
            real.retain(|name, _| !ADDED_BY_THE_WRITER.contains(&name.as_str()));
            // And the record of a dry run is that of the request.
            if let Some(Value::Array(words)) = real.get_mut("decision.log") {
                words.retain(|word| !word.as_str().unwrap().starts_with("answer-"));
            }
            real.retain(|_, value| *value != json!([]));
            assert_eq!(told, real, "{target} for {purpose}");
        }
    }
}

/// What is added when the record is written: what the user agent says, and the tags.
const ADDED_BY_THE_WRITER: [&str; 14] = [
    "subject_tag",
    "subject_tag.visitor",
    "account_tag",
    "user_agent.family",
    "user_agent.major",
    "os.family",
    "os.major",
    "device.class",
    "bot.is",
    "bot.name",
    "bot.category",
    "bot.rule",
    "ua.data_version",
    "visit_tag",
];

/// Bytes above 127 as the harness reads them: one character each.
fn unescape(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("\\x") {
        out.push_str(&rest[..at]);
        out.push(char::from(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap()));
        rest = &rest[at + 4..];
    }
    out + rest
}

/// Requests that are refused at each step.
const REFUSED: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: kz.example\r\nContent-Length: +5\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: kz.example\r\nBad Name: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: kz.example\r\nHost: kz.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: kz.example\r\nExpect: tea\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
];

#[test]
fn a_refusal_is_the_one_that_the_gateway_answers() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let config = gateway.folder().join("kelisim.toml");
    for head in REFUSED {
        let mut client = gateway.client();
        client.send(head);
        let real = client.read();
        assert!((400..=501).contains(&real.status), "{}: {}", real.status, head.escape_ascii());
        let said = dry_run(&config, head, &["--raw", "--format", "json"]);
        let told: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((said.code, &told["verdict"]), (1, &"refused".into()), "{}", head.escape_ascii());
        assert_eq!(told["answer"]["status"], real.status, "{}", head.escape_ascii());
        let proxy_status = told["answer"]["proxy_status"].as_str().unwrap_or_default();
        assert_eq!(
            real.header("proxy-status").trim_start_matches("kelisim; error="),
            proxy_status,
            "{}",
            head.escape_ascii()
        );
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_page_before_that_loses_its_click_ids_says_why() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("ingress.click_ids", "\"strip\"").start();
    let config = gateway.folder().join("kelisim.toml");
    let head = format!("GET / HTTP/1.1\nHost: {HOST}\nReferer: https://{HOST}/?gclid=1&a=2\n");
    let told = report(&config, head.as_bytes(), &["--show-values"]);
    assert!(told.to_string().contains(&format!("referer: https://{HOST}/?a=2")), "{told}");
    let removed = told["removed"].as_array().expect("a list");
    let referer =
        removed.iter().find(|field| field["line"].to_string().contains("gclid")).expect("the field");
    assert_eq!(referer["why"], "click ids or campaign parameters are kept from the site");
}

#[test]
fn a_visitors_real_cookies_are_recognised_and_a_choice_counts() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let config = gateway.folder().join("kelisim.toml");
    let mut visitor = Visitor::new(&gateway, Protocol::Http1);
    visitor.open("/");
    visitor.hold("_fbp", "fb.1");
    let head = |visitor: &Visitor| format!("GET / HTTP/1.1\nHost: {HOST}\nCookie: {}\n", visitor.cookies());
    let before = report(&config, head(&visitor).as_bytes(), &[]);
    assert_eq!(
        (&before["visitor"]["state"], &before["visitor"]["given"]),
        (&"genuine".into(), &false.into())
    );
    assert_eq!(
        (&before["consent"]["decision"], &before["consent"]["reason"]),
        (&"denied".into(), &"unknown".into())
    );
    assert!(before["set_cookies"].to_string().contains("_fbp=; Max-Age=0"), "{before}");
    visitor.grant();
    visitor.hold("_fbp", "fb.1");
    let after = report(&config, head(&visitor).as_bytes(), &[]);
    assert_eq!(
        (&after["consent"]["decision"], &after["consent"]["source"]),
        (&"granted".into(), &"own".into())
    );
    let kept = after["cookies"].as_array().unwrap().iter().find(|cookie| cookie["name"] == "_fbp");
    assert_eq!(kept.map(|cookie| &cookie["action"]), Some(&"kept".into()));
}

#[test]
fn both_protocols_and_tls_are_told_apart() {
    let origin = Origin::start(|_| Answer::page());
    let builder = Gateway::build(&[&origin]);
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&certificate.config()).start();
    let config = gateway.folder().join("kelisim.toml");
    let secure = Client::connect_tls(gateway.addresses[1], certificate.client(&["http/1.1"]), HOST);
    assert_eq!(secure.expect("TLS").fetch(&ask("GET", "/")).status, 200);
    let head = format!("GET /x HTTP/1.1\nHost: {HOST}\nConnection: keep-alive\n");
    let told = report(&config, head.as_bytes(), &["--tls", "--http2"]);
    let columns = &told["record"][0]["columns"];
    assert_eq!((&columns["url.scheme"], &columns["tls.protocol.version"]), (&"https".into(), &"1.3".into()));
    assert_eq!(columns["network.protocol.version"], "2");
    assert!(told["notes"].to_string().contains("HTTP/2 has no field `connection`"), "{told}");
    // The certificate does not cover this name, although it is the site's.
    let head = "GET /x HTTP/1.1\nHost: www.kz.example\n";
    assert_eq!(report(&config, head.as_bytes(), &["--listener", "2"])["reason"], "not_in_certificate");
    assert_eq!(report(&config, head.as_bytes(), &["--listener", "1"])["verdict"], "forwarded");
    assert_eq!(dry_run(&config, head.as_bytes(), &["--listener", "3"]).code, 2);
    assert_eq!(dry_run(&config, head.as_bytes(), &["--listener", "1", "--tls"]).code, 2);
}

#[test]
fn the_walk_to_the_client_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let head =
        format!("GET / HTTP/1.1\nHost: {HOST}\nX-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.0.0.2\n");
    let told = report(&config, head.as_bytes(), &["--peer", "10.9.9.9", "--show-values"]);
    let client = &told["client"];
    assert_eq!((&client["address"], &client["peer_trusted"]), (&"203.0.113.9".into(), &true.into()));
    assert_eq!(client["chain"].to_string(), r#"["203.0.113.9","10.0.0.2","10.9.9.9"]"#);
    let told = report(&config, head.as_bytes(), &["--peer", "192.0.2.7", "--show-values"]);
    assert_eq!(
        (&told["client"]["address"], &told["client"]["peer_trusted"]),
        (&"192.0.2.7".into(), &false.into())
    );
}

#[test]
fn values_are_shown_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let head = format!(
        "GET / HTTP/1.1\nHost: {HOST}\nCookie: sessionid=topsecret; _fbp=topsecret; topsecret\n\
         Authorization: Bearer topsecret\nX-Forwarded-For: 203.0.113.77\nSec-Fetch-Dest: document\n"
    );
    for format in ["text", "json"] {
        let more = ["--peer", "10.11.12.13", "--format", format];
        let hidden = dry_run(&config, head.as_bytes(), &more).out;
        for secret in ["topsecret", "203.0.113.77", "10.11.12.13"] {
            assert!(!hidden.contains(secret), "{secret} in {hidden}");
        }
        let shown = dry_run(&config, head.as_bytes(), &[&more[..], &["--show-values"]].concat()).out;
        assert!(shown.contains("topsecret") && shown.contains("203.0.113.77"), "{shown}");
    }
}

#[test]
fn caps_shared_addresses_and_what_the_site_is_told_of_places_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[risk]\nshared_networks = [\"8.8.8.0/24\"]\noff = [\"new-country\"]\ncap.velocity = \"low\"\n\
                [geoip]\nheaders = [\"country\"]\nheaders_purpose = \"checks\"\nheaders_as = \"cloudflare\"";
    let config = config(folder.path(), more);
    let head = format!("GET / HTTP/1.1\nHost: {HOST}\nKelisim-Country: ZW\n");
    for (peer, shared, code) in [("8.8.8.8", true, "US"), ("192.0.2.1", false, "XX")] {
        let told = report(&config, head.as_bytes(), &["--peer", peer]);
        assert_eq!(told["risk"]["shared"], shared, "{peer}");
        assert!(told["head"].to_string().contains(&format!("cf-ipcountry: {code}")), "{told}");
        assert_eq!(told["head"].to_string().contains("kelisim-country: US"), shared, "{told}");
        assert!(told["removed"].to_string().contains("kelisim-country: ZW"), "{told}");
        let note = "The site is told where the visitor is (country, CF-IPCountry), for: checks.";
        assert!(told["notes"].to_string().contains(note), "{told}");
        let text = dry_run(&config, head.as_bytes(), &["--peer", peer]).out;
        assert!(text.contains("  velocity        none (at most low)  many logins"), "{text}");
        assert!(text.contains("  new-country     off "), "{text}");
        assert_eq!(text.contains("shared by many"), shared, "{text}");
    }
}

#[test]
fn nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "[risk]\naction = { high = \"deny\" }\nobserve_days = 7");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let head = format!("POST /.kelisim/consent HTTP/1.1\nHost: {HOST}\nContent-Length: 0\n");
    let mut command = cli::command();
    command.args(["test-request", "-c"]).arg(&config).env("TMPDIR", &temporary);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(head.as_bytes()).unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("data").exists(), "the data folder was made");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn exit_codes_tell_whose_mistake_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path(), "");
    let head = format!("GET / HTTP/1.1\nHost: {HOST}\n");
    assert_eq!(dry_run(&good, head.as_bytes(), &[]).code, 0);
    assert_eq!(dry_run(&good, b"GET /.kelisim HTTP/1.1\nHost: kz.example\n", &[]).code, 0);
    assert_eq!(dry_run(&good, b"GET / HTTP/1.1\nHost: nobody.example\n", &[]).code, 1);
    for wrong in [&["--peer", "nobody"][..], &["--at", "noon"], &["--tls"], &["--raw", "--http2"]] {
        assert_eq!(dry_run(&good, head.as_bytes(), wrong).code, 2, "{wrong:?}");
    }
    assert_eq!(dry_run(&good, b"\n\n", &[]).code, 2);
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "a = 1").unwrap();
    assert_eq!(dry_run(&bad, head.as_bytes(), &[]).code, 64);
    // Bytes as they are: half a head is no request.
    let said = dry_run(&good, b"GET / HTTP/1.1\r\nHost: kz", &["--raw"]);
    assert!(said.code == 1 && said.out.contains("status 408"), "{said:?}");
}

#[test]
fn both_outputs_are_a_contract() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let head = format!(
        "GET /a?q=1&utm_source=x HTTP/1.1\nHost: {HOST}\nCookie: _fbp=fb.1; sessionid=abc; _ga=1; odd\n\
         Connection: keep-alive, x-mine\nX-Mine: 1\nSec-Browsing-Topics: (1)\nSec-GPC: 1\nSec-Fetch-Dest: document\n"
    );
    let more = ["--at", "2026-11-22T10:00:00Z", "--peer", "192.0.2.7:4711"];
    for format in ["text", "json"] {
        let said = dry_run(&config, head.as_bytes(), &[&more[..], &["--format", format]].concat());
        insta::assert_snapshot!(format!("test_request_{format}"), without_ids(&said.out));
    }
    let refused = b"GET /\x1b[2J HTTP/1.1\nHost: kz.example\nTransfer-Encoding: gzip\n";
    insta::assert_snapshot!("test_request_refused", without_ids(&dry_run(&config, refused, &more).out));
}

/// With a word in place of every request id, and without the time of an answer.
fn without_ids(text: &str) -> String {
    let text: String =
        text.split_inclusive('\n').filter(|line| !line.starts_with("answer       date: ")).collect();
    let is_id = |word: &str| word.len() == 36 && word.bytes().filter(|b| *b == b'-').count() == 4;
    let words = text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .map(|word| match word.char_indices().last() {
            Some((at, _)) if is_id(&word[..at]) => format!("REQUEST-ID{}", &word[at..]),
            _ => word.to_owned(),
        })
        .collect()
}
