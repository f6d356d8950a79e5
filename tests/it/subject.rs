//! One person's rights: after a block nobody reads their records, after an erasure there are none, and nobody else's change.

mod erase;
mod lost;
mod ways;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::Value;

use crate::support::cli::{Said, command, kelisim};
use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, digest, wait_for};
use ways::{assert_nothing_of_anna, everything};

/// The cookie by which a visitor is known.
const COOKIE: &str = "kelisim_vid";

/// A site that names the account.
fn site() -> Origin {
    Origin::start(|seen| {
        let account = if seen.target.starts_with("/anna") { "anna-4711" } else { "bolat-4712" };
        Answer::text("page").header("X-Account", account)
    })
}

/// Two visitors who have opened so many pages each, the first one without a cookie yet.
fn two_visitors(gateway: &Gateway, pages: usize) -> (Visitor, Visitor) {
    let mut anna = Visitor::new(gateway, Protocol::Http1).always("user-agent", "AnnasAgent/1.0");
    let mut bolat = Visitor::new(gateway, Protocol::Http2).always("user-agent", "BolatsAgent/1.0");
    for n in 0..pages {
        anna.open(&format!("/anna/{n}?secret-of=anna"));
        bolat.open(&format!("/bolat/{n}"));
    }
    gateway.record(&format!("/anna/{}", pages - 1));
    gateway.record(&format!("/bolat/{}", pages - 1));
    (anna, bolat)
}

fn cookie(visitor: &Visitor) -> String {
    visitor.cookie(COOKIE).expect("a visitor cookie").to_owned()
}

fn subject(data: &Path, verb: &str, more: &[&str]) -> Said {
    let data = data.to_str().expect("a path");
    kelisim(&[&["subject", verb, "--data", data, "--reason", "request 17"], more].concat())
}

fn found(data: &Path, who: &[&str]) -> Value {
    let said = subject(data, "find", &[who, &["--format", "json"]].concat());
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// A hash of everything that is read of Bolat's first pages.
fn bolats(data: &Path) -> BTreeMap<String, String> {
    let all = everything(data, &["path~^/bolat/"]);
    all.into_iter().map(|(words, out)| (words, digest(out.as_bytes()))).collect()
}

/// Visitors who go on while something else is done.
fn under_load<T>(anna: &mut Visitor, bolat: &mut Visitor, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (visitor, name) in [(anna, "anna-load"), (bolat, "load-of-bolat")] {
            let done = &done;
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(SeqCst) {
                        return;
                    }
                    assert_eq!(visitor.open(&format!("/{name}/{n}")).status, 200);
                }
            });
        }
        // Also when it panics, or the others would go on for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, SeqCst);
        outcome.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}

/// `logs tail -f` as it goes on.
struct Tail(Child);

impl Tail {
    fn start(data: &Path) -> (Self, BufReader<std::process::ChildStdout>) {
        let mut child = command()
            .args(["logs", "tail", "-f", "-n", "0", "--format", "json", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a tail");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        (Self(child), out)
    }
}

impl Tail {
    /// What it said besides.
    fn end(mut self) -> String {
        self.0.kill().expect("killed");
        let mut said = String::new();
        let stderr = self.0.stderr.take().expect("its words");
        BufReader::new(stderr).read_to_string(&mut said).expect("UTF-8");
        said
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn after_a_block_no_command_and_no_format_returns_a_record_of_the_person() {
    let origin = site();
    let gateway = Gateway::build(&[&origin]).key("records.account_header", "\"X-Account\"").start();
    let data = gateway.data();
    let (mut anna, mut bolat) = two_visitors(&gateway, 12);
    let who = cookie(&anna);
    let before = bolats(&data);
    let (tail, out) = Tail::start(&data);
    under_load(&mut anna, &mut bolat, || {
        wait_for("load", || gateway.records().iter().any(|r| r["url.path"] == "/anna-load/9").then_some(()));
        let said = subject(&data, "block", &["--cookie", &who]);
        assert_eq!(said.code, 0, "{said:?}");
        // At once, while both go on.
        assert_nothing_of_anna(&data);
        let (new, mut lines) = Tail::start(&data);
        let mut shown = String::new();
        for _ in 0..50 {
            lines.read_line(&mut shown).expect("a line");
        }
        assert!(!shown.contains("anna"), "{shown}");
        let said = new.end();
        assert!(!said.contains("removed"), "hidden records were taken for lost: {said}");
        drop((tail, out));
    });
    assert_nothing_of_anna(&data);
    assert_eq!(bolats(&data), before, "others' records are as they were");
    assert!(gateway.metric("kelisim_subject_hidden_records_total", &[]) > 0.0);
    assert_eq!(gateway.metric("kelisim_subject_tombstones", &["state=\"blocked\""]), 1.0);
    // The officer still finds them, and gets them out for the person.
    let counts = found(&data, &["--cookie", &who]);
    let records = counts["all"]["records"].as_u64().expect("a number");
    assert!(records > 12 && counts["blocked"].as_array().is_some_and(|b| b.len() == 1), "{counts}");
    // It holds over a restart, a crash, and when the journal has become segments.
    let gateway = gateway.end_and_restart().crash_and_restart();
    wait_for("segments", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
    gateway.client().fetch(&ask("GET", "/anna-again").header("cookie", &format!("{COOKIE}={who}")));
    gateway.client().fetch(&ask("GET", "/load-of-bolat/last"));
    gateway.record("/load-of-bolat/last");
    assert_nothing_of_anna(&data);
    assert_eq!(bolats(&data), before);
    let said = subject(&data, "unblock", &["--tag", counts["tags"][0].as_str().expect("a tag")]);
    assert_eq!(said.code, 0, "{said:?}");
    let paths: Vec<Value> = gateway.records().into_iter().map(|r| r["url.path"].clone()).collect();
    assert!(paths.contains(&"/anna/0".into()) && paths.contains(&"/anna-again".into()));
    assert_eq!(subject(&data, "unblock", &["--cookie", &who]).code, 1, "nobody is blocked any more");
}

#[test]
fn a_person_is_found_by_address_cookie_account_and_tag_without_showing_anything() {
    let origin = site();
    let gateway = Gateway::build(&[&origin]).key("records.account_header", "\"x-account\"").start();
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 5);
    let who = cookie(&anna);
    let count = |more: &[&str]| found(&data, more)["all"]["records"].as_u64().expect("a number");
    assert_eq!(count(&["--cookie", &who]), 5, "the request that got the cookie is among them");
    assert_eq!(count(&["--cookie", &format!("{COOKIE}={who}")]), 5);
    assert_eq!(count(&["--account", "anna-4711"]), 5);
    assert_eq!(count(&["--account", "bolat-4712", "--cookie", &who]), 10);
    assert_eq!(count(&["--address", "127.0.0.1"]), 10);
    assert_eq!(count(&["--address", "::ffff:127.0.0.1"]), 10);
    let by_cookie = found(&data, &["--cookie", &who]);
    assert_eq!(by_cookie["all"]["classes"]["sec"], 5);
    assert_eq!(by_cookie["all"]["classes"]["diag"], 5);
    assert_eq!(by_cookie["all"]["classes"]["ads"], 0);
    assert_eq!(count(&["--tag", by_cookie["tags"][0].as_str().expect("a tag")]), 5);
    let table = subject(&data, "find", &["--cookie", &who]);
    for secret in ["/anna", "127.0.0", "AnnasAgent", &who] {
        assert!(!table.out.contains(secret) && !by_cookie.to_string().contains(secret), "{secret}");
    }
    assert_eq!(subject(&data, "find", &["--address", "192.0.2.1"]).code, 1);
    let forged = who.replace(|c: char| c.is_ascii_digit(), "x");
    assert_eq!(subject(&data, "find", &["--cookie", &forged]).code, 2);
    // Every one of these is in the audit log, with the tag and never with what was asked for.
    let log = std::fs::read_to_string(data.join("audit/audit.log")).expect("a log");
    assert!(log.contains("subject find") && log.contains("request 17") && log.contains("subject-rights"));
    assert!(!log.contains(&who) && !log.contains("127.0.0.1") && !log.contains("anna-4711"));
    assert_eq!(kelisim(&["logs", "audit", "verify", "--data", data.to_str().unwrap()]).code, 0);
}

#[test]
fn an_export_holds_one_persons_records_of_every_class_and_explains_them() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 4);
    let file = gateway.folder().join("anna.json");
    let who = ["--cookie", &cookie(&anna), "-o", file.to_str().unwrap()];
    let said = subject(&data, "export", &who);
    assert_eq!(said.code, 0, "{said:?}");
    let text = std::fs::read_to_string(&file).expect("an export");
    let export: Value = serde_json::from_str(&text).expect("JSON");
    let records = export["records"].as_array().expect("records");
    assert_eq!(records.len(), 4);
    for record in records {
        assert!(record["url.path"].as_str().is_some_and(|path| path.starts_with("/anna/")));
        assert_eq!(record["user_agent.original"], "AnnasAgent/1.0");
        assert_eq!(record["client.address"], "127.0.0.1");
        assert_eq!(record["risk.level"], "none");
        for column in record.as_object().expect("an object").keys() {
            assert!(export["columns"][column]["meaning"].is_string(), "{column} is not explained");
        }
    }
    assert!(!text.contains("bolat") && !text.contains("Bolat"));
    let entries = || std::fs::read_to_string(data.join("audit/audit.log")).expect("a log").lines().count();
    let before = entries();
    let said = subject(&data, "export", &who);
    assert_eq!(said.code, 2, "a file is never overwritten");
    assert!(said.err.contains("anna.json is there already"), "{said:?}");
    assert_eq!(entries(), before, "nothing was given out");
    let plain = subject(&data, "export", &["--cookie", &cookie(&anna), "--format", "text"]);
    assert!(plain.out.contains("Record 4") && plain.out.contains("user_agent.original: AnnasAgent/1.0"));
}

#[test]
fn an_answer_that_is_not_everything_says_so() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let (anna, _) = two_visitors(&gateway, 4);
    let who = cookie(&anna);
    let folder = gateway.finish_and_keep();
    let data = folder.path().join("records");
    let whole: Value = found(&data, &["--cookie", &who]);
    assert_eq!((&whole["all"]["records"], &whole["damaged_files"]), (&4.into(), &0.into()));
    // In the last record, before the mark of the stop.
    let journal = std::fs::read_dir(data.join("journal")).expect("a folder");
    let mut files: Vec<PathBuf> = journal
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "kjl"))
        .collect();
    files.sort();
    let file = &files[0];
    let mut bytes = std::fs::read(file).expect("a file");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("a byte");
    bytes[end - 100] ^= 0x40;
    std::fs::write(file, bytes).expect("written");
    for (verb, format) in [("find", "table"), ("find", "json"), ("export", "json"), ("export", "text")] {
        let said = subject(&data, verb, &["--cookie", &who, "--format", format]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("1 files are damaged"), "{said:?}");
        if format == "json" {
            let answer: Value = serde_json::from_str(&said.out).expect("JSON");
            assert_eq!(answer["damaged_files"], 1);
        }
        assert_eq!(format == "text", said.out.contains("Not everything: 1 files are damaged"), "{said:?}");
    }
}

#[test]
fn who_is_not_named_or_has_no_reason_gets_nothing() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    gateway.client().get("/one");
    gateway.record("/one");
    let data = data.to_str().unwrap();
    for words in [
        &["subject", "find", "--data", data, "--reason", "r"][..],
        &["subject", "find", "--data", data, "--address", "127.0.0.1"],
        &["subject", "block", "--data", data, "--address", "127.0.0.1", "--reason", " "],
        &["subject", "erase", "--data", data, "--address", "nonsense", "--reason", "r"],
    ] {
        assert_eq!(kelisim(words).code, 2, "{words:?}");
    }
    assert!(!gateway.data().join("subjects/tombstones").exists());
}
