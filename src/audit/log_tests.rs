//! The log as readers write it, kill it and change it.

use std::fs;

use super::super::verify::{Verified, verify};
use super::super::{Basis, Disclosure};
use super::*;
use crate::ledger::TAIL_BYTES;
use crate::record::Purpose;

fn reading<'a>(reason: &'a str) -> Reading<'a> {
    Reading {
        purpose: Purpose::Security,
        reason: Some(reason),
        command: "logs query",
        filter: "client.address=hmac:0011",
        sql: None,
        addresses: None,
        columns: &["client.address"],
        disclosure: None,
    }
}

fn read_once(dir: &Path, reason: &str) {
    let audited = AuditLog::open(dir).and_then(|log| log.begin(&reading(reason), Timestamp::from_secs(1)));
    audited.expect("audited").end(7, Outcome::Complete, Timestamp::from_secs(2)).expect("ended");
}

fn checked(dir: &Path) -> (Verified, Vec<Entry>) {
    let mut entries = Vec::new();
    let verified = verify(dir, |entry, _| entries.push(entry.clone())).expect("readable");
    (verified, entries)
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join("audit/audit.log")
}

#[test]
fn a_read_has_a_beginning_and_an_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let audited =
        AuditLog::open(dir.path()).and_then(|log| log.begin(&reading("ticket 7"), Timestamp::from_secs(1)));
    let audited = audited.expect("audited");
    let (verified, entries) = checked(dir.path());
    assert_eq!((verified.entries, verified.unended, entries[0].kind), (1, 1, Kind::Read));
    assert_eq!(entries[0].reason.as_deref(), Some("ticket 7"));
    assert_eq!(entries[0].purpose.as_deref(), Some("security"));
    assert_eq!(entries[0].time, "1970-01-01T00:00:01.000000Z");
    assert_eq!(entries[0].who.uid, rustix::process::getuid().as_raw());
    audited.end(3, Outcome::Broken, Timestamp::from_secs(2)).expect("ended");
    let (verified, entries) = checked(dir.path());
    assert_eq!((verified.entries, verified.unended, verified.problems.len()), (2, 0, 0));
    assert_eq!(
        (entries[1].of, entries[1].rows, entries[1].outcome),
        (Some(1), Some(3), Some(Outcome::Broken))
    );
}

#[test]
fn a_disclosure_names_its_ground_and_recipient() {
    let dir = tempfile::tempdir().expect("a folder");
    let disclosure = Some(Disclosure { basis: Basis::Law, recipient: "the court" });
    let log = AuditLog::open(dir.path()).expect("a log");
    let _open =
        log.begin(&Reading { disclosure, ..reading("order 12") }, Timestamp::default()).expect("audited");
    let (_, entries) = checked(dir.path());
    assert_eq!((entries[0].kind, entries[0].basis), (Kind::Disclosure, Some(Basis::Law)));
    assert_eq!(entries[0].recipient.as_deref(), Some("the court"));
}

#[test]
fn every_changed_byte_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    for n in 0..3 {
        read_once(dir.path(), &format!("ticket {n}"));
    }
    let written = fs::read(log_of(dir.path())).expect("a log");
    for at in 0..written.len() {
        for change in [1, 0x20, 0x80] {
            let mut bytes = written.clone();
            bytes[at] ^= change;
            fs::write(log_of(dir.path()), bytes).expect("written");
            assert!(!checked(dir.path()).0.problems.is_empty(), "byte {at}, change {change:#x}");
        }
    }
    fs::write(log_of(dir.path()), written).expect("written");
    assert_eq!(checked(dir.path()).0.problems, []);
}

#[test]
fn a_missing_swapped_or_cut_off_entry_is_found_and_stays_found() {
    let dir = tempfile::tempdir().expect("a folder");
    (0..3).for_each(|n| read_once(dir.path(), &format!("ticket {n}")));
    let written = fs::read_to_string(log_of(dir.path())).expect("a log");
    let lines: Vec<&str> = written.split_inclusive('\n').collect();
    let without =
        |k: usize| lines.iter().enumerate().filter(|(i, _)| *i != k).map(|(_, l)| *l).collect::<String>();
    for k in 0..lines.len() {
        fs::write(log_of(dir.path()), without(k)).expect("written");
        assert!(!checked(dir.path()).0.problems.is_empty(), "entry {k} is gone");
    }
    fs::write(log_of(dir.path()), [lines[0], lines[2], lines[1], lines[3]].concat()).expect("written");
    assert!(!checked(dir.path()).0.problems.is_empty());
    // The next reader goes on, and the log keeps saying that its end was cut off.
    fs::write(log_of(dir.path()), without(5)).expect("written");
    read_once(dir.path(), "later");
    let (verified, entries) = checked(dir.path());
    assert_eq!(verified.problems.len(), 1, "{:?}", verified.problems);
    assert_eq!((entries[5].kind, entries[5].lost), (Kind::Interrupted, Some(1)));
    // So it does when the head was taken away too.
    fs::remove_file(dir.path().join("audit/audit.head")).expect("removed");
    assert_eq!(checked(dir.path()).0.problems.len(), 2);
    read_once(dir.path(), "much later");
    assert_eq!(checked(dir.path()).0.problems.len(), 2);
}

#[test]
fn a_writer_killed_at_any_byte_is_told_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    read_once(dir.path(), "ticket 1");
    let whole = fs::read(log_of(dir.path())).expect("a log");
    let head = fs::read(dir.path().join("audit/audit.head")).expect("a head");
    read_once(dir.path(), "ticket 2");
    let longer = fs::read(log_of(dir.path())).expect("a log");
    let second = whole.len() + memchr::memchr(b'\n', &longer[whole.len()..]).expect("a line");
    for end in (whole.len()..=second).step_by(7) {
        fs::write(log_of(dir.path()), &longer[..end]).expect("written");
        for name in ["audit/audit.head", "audit.head"] {
            fs::write(dir.path().join(name), &head).expect("written");
        }
        let torn = u64::from(end > whole.len());
        let (verified, _) = checked(dir.path());
        assert_eq!((verified.problems, verified.interrupted), (vec![], torn), "cut at {end}");
        read_once(dir.path(), "afterwards");
        let (verified, entries) = checked(dir.path());
        assert_eq!((verified.problems, verified.interrupted), (vec![], torn), "cut at {end}");
        assert_eq!(entries.len() as u64, 4 + torn);
        // What was left is covered as well.
        if torn == 1 {
            let mut bytes = fs::read(log_of(dir.path())).expect("a log");
            bytes[whole.len()] ^= 1;
            fs::write(log_of(dir.path()), bytes).expect("written");
            assert_eq!(checked(dir.path()).0.problems.len(), 1);
        }
    }
}

#[test]
fn two_readers_at_once_make_one_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let dir = dir.path();
            scope.spawn(move || (0..10).for_each(|n| read_once(dir, &format!("reader {reader} read {n}"))));
        }
    });
    let (verified, entries) = checked(dir.path());
    assert_eq!((verified.entries, verified.unended, verified.problems), (80, 0, vec![]));
    let ended: std::collections::HashSet<u64> = entries.iter().filter_map(|e| e.of).collect();
    assert_eq!(ended.len(), 40);
}

#[test]
fn without_a_place_to_write_there_is_no_proof() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("audit"), b"a file where the folder must be").expect("written");
    let Err(refused) = AuditLog::open(dir.path()) else { panic!("opened") };
    assert!(refused.to_string().contains("cannot be written"), "{refused}");
    let dir = tempfile::tempdir().expect("a folder");
    read_once(dir.path(), "ticket 1");
    let log = AuditLog::open(dir.path()).expect("a log");
    fs::remove_file(log_of(dir.path())).expect("removed");
    fs::create_dir(log_of(dir.path())).expect("a folder in its place");
    assert!(log.begin(&reading("ticket 2"), Timestamp::default()).is_err());
}

#[test]
fn a_text_that_no_entry_holds_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let long = "x".repeat(TEXT_BYTES + 1);
    let log = AuditLog::open(dir.path()).expect("a log");
    assert!(matches!(
        log.begin(&reading(&long), Timestamp::default()),
        Err(AuditError::TooLong("the reason"))
    ));
    // The longest that fits, in characters that JSON writes with six, still makes one entry.
    let longest = "\u{1}".repeat(TEXT_BYTES);
    let log = AuditLog::open(dir.path()).expect("a log");
    let long = Reading { filter: "", ..reading(&longest) };
    let _open = log.begin(&long, Timestamp::default()).expect("audited");
    assert_eq!(checked(dir.path()).0.entries, 1);
}

#[test]
fn a_log_without_an_entry_near_its_end_is_not_continued() {
    let dir = tempfile::tempdir().expect("a folder");
    read_once(dir.path(), "ticket 1");
    let mut bytes = fs::read(log_of(dir.path())).expect("a log");
    bytes.resize(bytes.len() + usize::try_from(TAIL_BYTES).expect("small"), b'x');
    fs::write(log_of(dir.path()), bytes).expect("written");
    let log = AuditLog::open(dir.path()).expect("a log");
    assert!(matches!(log.begin(&reading("ticket 2"), Timestamp::default()), Err(AuditError::Damaged(_))));
}

#[test]
fn a_log_that_was_removed_is_found_by_its_heads_and_by_tombstones() {
    let dir = tempfile::tempdir().expect("a folder");
    let none = |dir: &Path| verify(dir, |_, _| ()).map_err(|cause| cause.kind()).err();
    assert_eq!(none(dir.path()), Some(io::ErrorKind::NotFound), "nobody has read yet");
    read_once(dir.path(), "ticket 1");
    let problem = |dir: &Path| checked(dir).0.problems.iter().map(|p| p.what.clone()).collect::<Vec<_>>();
    let gone = ["the log is gone; its head says that it had 2 entries".to_owned()];
    fs::remove_file(log_of(dir.path())).expect("removed");
    assert_eq!(problem(dir.path()), gone);
    fs::remove_dir_all(dir.path().join("audit")).expect("removed");
    assert_eq!(problem(dir.path()), gone, "the head beside the folder");
    // The next reader begins anew, and the log keeps saying what is gone.
    read_once(dir.path(), "ticket 2");
    let (verified, entries) = checked(dir.path());
    assert_eq!((entries[0].kind, entries[0].lost), (Kind::Interrupted, Some(2)));
    assert_eq!((verified.entries, verified.problems.len()), (3, 1), "{:?}", verified.problems);
    // Without any head, a tombstone says that there was one: nobody is blocked without an entry.
    fs::remove_dir_all(dir.path().join("audit")).expect("removed");
    fs::remove_file(dir.path().join("audit.head")).expect("removed");
    assert_eq!(none(dir.path()), Some(io::ErrorKind::NotFound));
    fs::write(dir.path().join("tombstones.head"), "").expect("written");
    assert_eq!(problem(dir.path()), ["the log is gone; tombstones say that there was one"]);
}

#[test]
fn an_older_log_with_its_head_is_found_by_the_other_head() {
    let dir = tempfile::tempdir().expect("a folder");
    read_once(dir.path(), "ticket 1");
    let older = ["audit.log", "audit.head"].map(|name| {
        let path = dir.path().join("audit").join(name);
        (fs::read(&path).expect("a file"), path)
    });
    read_once(dir.path(), "ticket 2");
    older.iter().for_each(|(bytes, path)| fs::write(path, bytes).expect("written"));
    let (verified, _) = checked(dir.path());
    assert_eq!(verified.problems.len(), 1, "{:?}", verified.problems);
}

#[test]
fn a_link_in_place_of_the_log_leads_nowhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let victim = dir.path().join("victim");
    fs::write(&victim, "abc").expect("written");
    fs::create_dir(dir.path().join("audit")).expect("a folder");
    std::os::unix::fs::symlink(&victim, log_of(dir.path())).expect("a link");
    assert!(AuditLog::open(dir.path()).is_err());
    assert_eq!(fs::read(&victim).expect("a file"), b"abc");
}
