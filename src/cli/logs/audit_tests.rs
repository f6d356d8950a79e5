//! Purposes, the audit log and exports, by the commands.

use std::fs;
use std::path::Path;

use super::journal_tests::{filled, logs, start, work};
use crate::audit::{Basis, Entry, Kind, Outcome, verify};
use crate::clock;
use crate::record::Event;

fn entries(dir: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let verified = verify(dir, |entry, _| entries.push(entry.clone())).expect("a log");
    assert_eq!(verified.problems, []);
    entries
}

#[test]
fn every_command_that_reads_leaves_two_entries() {
    let dir = filled(30);
    let commands = ["query -n 5 status=200", "tail -n 3", "top path status=503", "hist status"];
    for command in commands {
        assert_eq!(logs(dir.path(), command).1, 0, "{command}");
    }
    let entries = entries(dir.path());
    let told: Vec<_> =
        entries.chunks(2).map(|two| (two[0].command.as_deref(), two[1].rows, two[1].outcome)).collect();
    let whole = Some(Outcome::Complete);
    assert_eq!(
        told,
        [
            (Some("logs query"), Some(5), whole),
            (Some("logs tail"), Some(3), whole),
            (Some("logs top"), Some(3), whole),
            (Some("logs hist"), Some(30), whole),
        ]
    );
    assert_eq!(entries[0].filter.as_deref(), Some("http.response.status_code=200"));
    assert_eq!(
        (entries[0].purpose.as_deref(), &entries[0].columns[..]),
        (Some("support"), &["*".to_owned()][..])
    );
    assert_eq!(entries[4].columns, ["url.path"]);
    // What reads nothing leaves none.
    logs(dir.path(), "query --explain-access");
    assert_eq!(logs(dir.path(), "query ip:10.0.0.0/8").1, 2);
    assert_eq!(self::entries(dir.path()).len(), 8);
}

#[test]
fn a_value_of_a_sealed_column_is_in_the_log_as_a_hash() {
    let dir = filled(30);
    for _ in 0..2 {
        let (out, code) =
            logs(dir.path(), "query --fields ip --purpose security --reason ticket-7 ip=10.0.0.9 path=/a");
        assert_eq!((out.contains("10.0.0.9"), code), (true, 0));
    }
    let written = fs::read_to_string(dir.path().join("audit/audit.log")).expect("a log");
    assert!(!written.contains("10.0.0.9"));
    let entries = entries(dir.path());
    let filter = entries[0].filter.as_deref().expect("a filter");
    assert!(filter.starts_with("client.address=hmac:") && filter.ends_with(" url.path=/a"), "{filter}");
    assert_eq!(entries[2].filter.as_deref(), Some(filter), "the same value has the same hash");
    assert_eq!(entries[0].reason.as_deref(), Some("ticket-7"));
}

#[test]
fn without_an_entry_nothing_is_shown() {
    let dir = filled(30);
    fs::write(dir.path().join("audit"), b"no folder").expect("written");
    for command in ["query", "tail", "top path", "hist status"] {
        assert_eq!(logs(dir.path(), command), (String::new(), 70), "{command}");
    }
    let export = "export --purpose support --basis law --recipient court";
    assert_eq!(logs(dir.path(), export), (String::new(), 70));
}

#[test]
fn the_log_is_shown_and_checked() {
    let dir = filled(30);
    assert_eq!(logs(dir.path(), "audit verify").1, 0, "nobody has read yet");
    logs(dir.path(), "query --purpose security --reason ticket-7 ip:10.0.0.0/8");
    let (out, code) = logs(dir.path(), "audit");
    assert_eq!((out.lines().count(), code), (2, 0), "{out}");
    assert!(out.contains("logs query --purpose security because: ticket-7"), "{out}");
    assert!(out.contains("ended 1: 30 records"), "{out}");
    assert_eq!(logs(dir.path(), "audit -n 1").0.lines().count(), 1);
    assert!(logs(dir.path(), "audit --json").0.starts_with("{\"n\":1,"));
    let (out, code) = logs(dir.path(), "audit verify");
    assert!(code == 0 && out.starts_with("2 entries\n") && out.ends_with("the log is whole\n"), "{out}");
    let path = dir.path().join("audit/audit.log");
    let changed = fs::read_to_string(&path).expect("a log").replace("ticket-7", "ticket-8");
    fs::write(&path, changed).expect("written");
    let (out, code) = logs(dir.path(), "audit verify");
    assert!(code == 1 && out.ends_with("the log is CHANGED\n"), "{out}");
}

#[test]
fn access_is_explained() {
    let dir = filled(1);
    let (out, code) = logs(dir.path(), "query --explain-access --purpose security");
    assert!(code == 0 && out.contains("purpose security: needs --reason"), "{out}");
    assert!(out.contains("client.address") && !out.contains("geo.country"), "{out}");
    let line = out.lines().find(|l| l.starts_with("sec ")).expect("the class");
    assert!(line.contains("open") && line.contains("kept 30 days"), "{line}");
    assert!(out.lines().any(|l| l.starts_with("fraud ") && l.contains("sealed")), "{out}");
    let (out, _) = logs(dir.path(), "tail --explain-access");
    assert!(out.contains("no sealed column"), "{out}");
}

#[test]
fn an_export_names_ground_and_recipient_and_is_in_the_register() {
    let dir = filled(30);
    let (out, code) = logs(
        dir.path(),
        "export --purpose support --basis contract --recipient hoster --format csv --fields id,status",
    );
    assert_eq!((out.lines().count(), code), (31, 0));
    assert!(out.starts_with("request.id,http.response.status_code\r\nid-0,"), "the oldest first: {out}");
    let entries = entries(dir.path());
    assert_eq!((entries[0].kind, entries[0].basis), (Kind::Disclosure, Some(Basis::Contract)));
    assert_eq!((entries[0].recipient.as_deref(), entries[1].rows), (Some("hoster"), Some(30)));
    // The rules of every read hold.
    let rest = "--basis law --recipient court";
    assert_eq!(logs(dir.path(), &format!("export --purpose security {rest}")).1, 2, "no reason");
    assert_eq!(logs(dir.path(), &format!("export --purpose support {rest} --fields ip")).1, 2, "sealed");
    let file = dir.path().join("court.json");
    let to_file =
        format!("export --purpose security --reason r --addresses full {rest} -o {}", file.display());
    assert_eq!(logs(dir.path(), &to_file), (String::new(), 0));
    assert_eq!(
        fs::read_to_string(&file).expect("a file").matches("\"client.address\":\"10.0.0.").count(),
        30
    );
    let before = self::entries(dir.path()).len();
    assert_eq!(logs(dir.path(), &to_file).1, 2, "a file that is there is not overwritten");
    assert_eq!(self::entries(dir.path()).len(), before, "and nothing was disclosed");
    let last = self::entries(dir.path()).pop().expect("an entry");
    assert_eq!((last.rows, last.outcome), (Some(30), Some(Outcome::Complete)));
}

#[test]
fn consent_exports_consenting_people_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    work(handle, async |recorder| {
        for (id, consent) in [(b"id-1", Some(&b"granted"[..])), (b"id-2", Some(b"denied")), (b"id-3", None)] {
            let event =
                Event { start_ts: Some(clock::now()), request_id: Some(id), consent, ..Event::default() };
            recorder.record(&event).expect("room").await;
        }
    });
    journal.stop();
    let export = "export --purpose support --recipient partner --fields id --format csv --basis";
    assert_eq!(logs(dir.path(), &format!("{export} consent")).0, "request.id\r\nid-1\r\n");
    assert_eq!(logs(dir.path(), &format!("{export} consent consent=denied")).0, "request.id\r\n");
    assert_eq!(logs(dir.path(), &format!("{export} law")).0.lines().count(), 4);
    let filter = entries(dir.path())[0].filter.clone();
    assert_eq!(filter.as_deref(), Some("consent.decision=granted"));
}
