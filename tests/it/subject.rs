//! One person's rights: after a block nobody reads their records, after an erasure there are none, and nobody else's change.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::Value;

use crate::sql::duckdb;
use crate::support::cli::{Said, command, kelisim};
use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, digest, wait_for};

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

/// What every command gives in every format, under every purpose, by its words; `filter` narrows it.
fn everything(data: &Path, filter: &[&str]) -> BTreeMap<String, String> {
    let data = data.to_str().expect("a path");
    let mut all = BTreeMap::new();
    for purpose in ["support", "security", "fraud", "diagnostics", "advertising"] {
        let read = ["--data", data, "--purpose", purpose, "--reason", "r"];
        let mut add = |words: &[&str]| {
            let said = kelisim(&[&["logs"], words, &read[..], filter].concat());
            assert_eq!(said.code, 0, "{words:?}: {said:?}");
            all.insert(format!("{purpose} {}", words.join(" ")), said.out);
        };
        add(&["query", "--format", "json"]);
        // The rest makes no difference between purposes: rows are hidden before they are shown in any form.
        if purpose != "support" {
            continue;
        }
        for format in ["table", "csv", "clf"] {
            add(&["query", "--format", format]);
        }
        for format in ["table", "json", "csv", "clf"] {
            add(&["tail", "-n", "10000", "--format", format]);
        }
        for format in ["table", "json", "csv"] {
            add(&["top", "path", "-n", "10000", "--format", format]);
            add(&["hist", "status", "--bucket", "1", "--format", format]);
        }
        for format in ["json", "csv", "clf"] {
            add(&["export", "--basis", "law", "--recipient", "court", "--format", format]);
        }
    }
    all
}

/// What must not be seen of Anna anywhere.
fn assert_nothing_of_anna(data: &Path) {
    for (words, out) in everything(data, &[]) {
        for trace in ["/anna", "AnnasAgent", "anna-4711"] {
            assert!(!out.contains(trace), "{trace} in {words}: {out}");
        }
        assert!(words.contains("hist") || out.contains("/bolat/"), "{words}: {out}");
    }
    let anna = everything(data, &["path~^/anna"]);
    for (words, out) in anna.iter().filter(|(words, _)| words.contains("json")) {
        assert_eq!(out, "", "{words}");
    }
}

/// What DuckDB sees of Anna and of Bolat, in the view of `logs sql` and in an export as a table.
fn assert_nothing_of_anna_in_tables(data: &Path) {
    let Some(duckdb) = duckdb() else { return };
    let (data, duckdb) = (data.to_str().expect("a path"), duckdb.display().to_string());
    let counts = |from: &str| {
        format!(
            "SELECT count(*) FILTER (url_path LIKE '/anna%') AS anna, \
             count(*) FILTER (url_path LIKE '/bolat%') > 0 AS bolat FROM {from}"
        )
    };
    let nothing_of_anna = |out: &str| {
        let row = out.lines().last().expect("a row").trim();
        assert_eq!(row, "0,true", "{out}");
    };
    let view = counts("records");
    let said = kelisim(&["logs", "sql", &view, "--data", data, "--duckdb", &duckdb, "--format", "csv"]);
    assert_eq!(said.code, 0, "{said:?}");
    nothing_of_anna(&said.out);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("records.parquet").display().to_string();
    let export = ["logs", "export", "--basis", "law", "--recipient", "court", "--format", "parquet"];
    let read = ["--purpose", "support", "--reason", "r", "--data", data, "--output", &file];
    let said = kelisim(&[&export[..], &read[..]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let read = Command::new(duckdb).args(["-csv", "-c", &counts(&format!("'{file}'"))]).output();
    nothing_of_anna(&String::from_utf8_lossy(&read.expect("duckdb").stdout));
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
        assert_nothing_of_anna_in_tables(&data);
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
    assert_nothing_of_anna_in_tables(&data);
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
    assert_eq!(subject(&data, "export", &who).code, 70, "a file is never overwritten");
    let plain = subject(&data, "export", &["--cookie", &cookie(&anna), "--format", "text"]);
    assert!(plain.out.contains("Record 4") && plain.out.contains("user_agent.original: AnnasAgent/1.0"));
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        // What goes while it is copied is not part of the copy.
        let _ = std::fs::copy(&file, target);
    }
}

/// Whether a record of Anna's pages is in the files of a data folder, tombstones aside: with all its keys.
fn holds_anna(data: &Path) -> bool {
    let copied = tempfile::tempdir().expect("a folder");
    copy(data, copied.path());
    let _ = std::fs::remove_dir_all(copied.path().join("subjects"));
    let paths = crate::support::cli::records(copied.path(), &["kind:*"]);
    paths.iter().any(|record| record["url.path"].as_str().is_some_and(|path| path.starts_with("/anna/")))
}

/// Files below the folder of segments that the manifest does not name.
fn unknown(data: &Path) -> Vec<String> {
    let folder = data.join("segments");
    // Before the manifest: what is named later is named there.
    let names: Vec<String> = files(&folder)
        .iter()
        .map(|file| file.strip_prefix(&folder).expect("below it").to_str().expect("UTF-8").to_owned())
        .collect();
    let manifest = std::fs::read_to_string(folder.join("MANIFEST")).unwrap_or_default();
    let mut named = vec![Value::from("MANIFEST"), Value::from("compactor.lock")];
    for line in manifest.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match line["op"].as_str() {
            Some("replace") => {
                named.retain(|file| *file != line["old"]);
                named.push(line["new"]["file"].clone());
            }
            Some("remove") => named.retain(|file| *file != line["file"]),
            _ => named.push(line["file"].clone()),
        }
    }
    let segment = |name: &str| Value::from(name.strip_suffix(".tags").unwrap_or(name));
    names.into_iter().filter(|name| !named.contains(&segment(name))).collect()
}

/// No old file is left; one that the compactor is writing just now gets its name.
fn assert_no_old_files(data: &Path) {
    wait_for("the manifest to name every file", || unknown(data).is_empty().then_some(()));
    assert_eq!(files(&data.join("journal/quarantine")), Vec::<PathBuf>::new());
}

fn assert_erased(gateway: &Gateway, before: &BTreeMap<String, String>) {
    let data = gateway.data();
    assert!(!holds_anna(&data));
    assert_no_old_files(&data);
    assert_eq!(&bolats(&data), before, "others' records are as they were");
    let verified = kelisim(&["logs", "verify", "--data", data.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn an_erasure_takes_the_persons_records_out_of_the_folder_and_nobody_elses() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 6);
    let who = cookie(&anna);
    // Some of them in a segment, some in the journal.
    let gateway = gateway.end_and_restart();
    wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
    let mut anna = Visitor::new(&gateway, Protocol::Http1);
    let mut bolat = Visitor::new(&gateway, Protocol::Http1);
    anna.hold(COOKIE, &who);
    (6..12).for_each(|n| drop(anna.open(&format!("/anna/{n}"))));
    gateway.record("/anna/11");
    let before = bolats(&data);
    let rehearsal = subject(&data, "erase", &["--cookie", &who]);
    assert_eq!((rehearsal.code, holds_anna(&data)), (0, true), "{rehearsal:?}");
    assert!(rehearsal.out.contains("nothing was erased"), "{rehearsal:?}");
    let file = gateway.folder().join("certificate.txt");
    let certificate = under_load(&mut anna, &mut bolat, || {
        let said =
            subject(&data, "erase", &["--cookie", &who, "--yes", "--certificate", file.to_str().unwrap()]);
        assert_eq!(said.code, 0, "{said:?}");
        std::fs::read_to_string(&file).expect("a certificate")
    });
    for part in ["CERTIFICATE OF ERASURE", "request 17", "segments written anew", "not covered"] {
        assert!(certificate.contains(part), "{part} in {certificate}");
    }
    for secret in ["/anna", "127.0.0.1", &who] {
        assert!(!certificate.contains(secret), "{secret} in {certificate}");
    }
    assert_erased(&gateway, &before);
    // What was sent afterwards is recorded anew; once more there is only that to erase.
    anna.open("/anna-later");
    gateway.record("/anna-later");
    // The gateway looks at the book from time to time.
    wait_for("the gauge", || {
        (gateway.metric("kelisim_subject_tombstones", &["state=\"erased\""]) >= 1.0).then_some(())
    });
    let gateway = gateway.crash_and_restart();
    assert_erased(&gateway, &before);
    gateway.record("/anna-later");
}

#[test]
fn an_erasure_needs_no_running_gateway_and_no_clean_end() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 6);
    let before = bolats(&data);
    let gateway = gateway.crash_and_edit(|| {
        let said = subject(&data, "block", &["--cookie", &cookie(&anna)]);
        assert_eq!(said.code, 0, "{said:?}");
        let said = subject(&data, "erase", &["--cookie", &cookie(&anna), "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("6 records, recorded until"), "{said:?}");
    });
    assert_erased(&gateway, &before);
    // The unclean end is told all the same.
    let gaps = crate::support::cli::records(&data, &["kind=gap"]);
    assert!(gaps.iter().any(|gap| gap["gap.reason"] == "unclean_stop"), "{gaps:?}");
}

#[test]
fn an_erasure_that_is_killed_is_finished_by_the_command_or_by_the_gateway() {
    for (step, by_gateway) in [("erase", true), ("erase", false), ("resolved", true), ("resolved", false)] {
        let origin = site();
        let gateway = Gateway::of(&origin);
        let data = gateway.data();
        let (anna, _) = two_visitors(&gateway, 4);
        let gateway = gateway.end_and_restart();
        wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
        let before = bolats(&data);
        let who = cookie(&anna);
        let mut erasing = command()
            .args(["subject", "erase", "--yes", "--reason", "r", "--cookie", &who, "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("an erasure");
        let book = data.join("subjects/tombstones");
        wait_for("the step", || {
            let text = std::fs::read_to_string(&book).unwrap_or_default();
            (text.contains(&format!("\"op\":{step:?}"))).then_some(())
        });
        erasing.kill().expect("killed");
        erasing.wait().expect("ended");
        let gateway = if by_gateway {
            let gateway = gateway.crash_and_restart();
            wait_for("the end of the erasure", || {
                let text = std::fs::read_to_string(&book).unwrap_or_default();
                text.contains("\"op\":\"erased\"").then_some(())
            });
            gateway
        } else {
            let said = subject(&data, "erase", &["--cookie", &who, "--yes"]);
            assert!([0, 1].contains(&said.code), "{said:?}");
            gateway
        };
        assert_erased(&gateway, &before);
    }
}

#[test]
fn with_new_keys_for_the_day_no_backup_of_the_sealed_columns_opens_any_more() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 5);
    let gateway = gateway.end_and_restart();
    wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
    let mut bolat = Visitor::new(&gateway, Protocol::Http1).always("user-agent", "BolatsAgent/1.0");
    bolat.open("/bolat/in-the-journal");
    gateway.record("/bolat/in-the-journal");
    let backup = tempfile::tempdir().expect("a folder");
    copy(&data, backup.path());
    std::fs::remove_dir_all(backup.path().join("keys")).expect("removed");
    let before = bolats(&data);
    let said = subject(&data, "erase", &["--cookie", &cookie(&anna), "--yes", "--rotate-day"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("covered: these keys were destroyed") && said.out.contains("sec/"), "{said:?}");
    assert_erased(&gateway, &before);
    // The backup has the files, and the keys that are left open none of their sealed columns.
    let keys = data.join("keys");
    let old = ["--purpose", "diagnostics", "--reason", "r", "--keys", keys.to_str().unwrap()];
    let seen = crate::support::cli::records(backup.path(), &old);
    assert!(
        seen.iter().all(|record| record.get("user_agent.original").is_none_or(Value::is_null)),
        "{seen:?}"
    );
    // The gateway goes on under the new keys, and so does a restart.
    bolat.open("/bolat-later");
    gateway.record("/bolat-later");
    let gateway = gateway.crash_and_restart();
    gateway.record("/bolat-later");
    gateway.record("/bolat/in-the-journal");
    let seen = crate::support::cli::records_for(&data, "diagnostics");
    assert!(seen.iter().all(|record| record["user_agent.original"] == "BolatsAgent/1.0"), "{seen:?}");
}

#[test]
fn records_that_come_back_from_a_backup_stay_hidden_and_are_erased_again() {
    for in_segments in [false, true] {
        let origin = site();
        let mut gateway = Gateway::of(&origin);
        let data = gateway.data();
        let (anna, _) = two_visitors(&gateway, 5);
        let who = cookie(&anna);
        if in_segments {
            gateway = gateway.end_and_restart();
            wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
        }
        let folder = gateway.finish_and_keep();
        let backup = tempfile::tempdir().expect("a folder");
        copy(&data, backup.path());
        let said = subject(&data, "erase", &["--cookie", &who, "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!holds_anna(&data));
        // Journal and segments as they were, with the book of today.
        for part in ["journal", "segments"] {
            let _ = std::fs::remove_dir_all(data.join(part));
            copy(&backup.path().join(part), &data.join(part));
        }
        assert!(holds_anna(&data));
        let seen = crate::support::cli::records(&data, &[]);
        let of_anna = |r: &Value| r["url.path"].as_str().unwrap_or_default().starts_with("/anna");
        assert!(!seen.is_empty() && !seen.iter().any(of_anna), "{seen:?}");
        assert_eq!(subject(&data, "find", &["--cookie", &who]).code, 1, "nor are they found");
        let gateway = Gateway::on(folder);
        wait_for("them to be erased again", || (!holds_anna(&data)).then_some(()));
        gateway.finish();
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
