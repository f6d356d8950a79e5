//! What lies on the disk is sealed, and opens for the right purpose, at its own place, as long as its key lives.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed, Ordering::SeqCst};

use super::kit::*;
use crate::clock::{self, Timestamp};
use crate::record::{Column, Event, Kind, Purpose, Value};
use crate::seal::{Day, Dek, KeyClass, KeyError, KeyId, KeyProvider, Lasting, LocalKeys, Permitted, Version};
use crate::store::disk::OsDisk;
use crate::store::frame::{Frame, Next};
use crate::store::head::FileHead;
use crate::store::{
    Follower, Journal, JournalOptions, LossReason, Outcome, Reader, Scanned, StartError, TimeRange, files,
};

const PATH: &str = "/a-path-that-nobody-must-find";
const AGENT: &[u8] = b"Agent-That-Nobody-Must-Find/1.0";
const ADDRESS: [u8; 16] = *b"\x20\x01\x0d\xb8FINDMENEVER!";

/// A stopped journal of so many records of a person, one frame each.
fn filled(count: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(Arc::new(OsDisk), options(dir.path()));
    work(handle, async |recorder| {
        for _ in 0..count {
            let event =
                Event { user_agent: Some(AGENT), client_address: Some(ADDRESS.into()), ..access(PATH) };
            assert_eq!(recorder.record_or_hold(&event).await.expect("room").await, Outcome::Durable);
        }
    });
    assert!(journal.stop());
    dir
}

/// How many rows have the path, the address and the user agent, and what the scan came across.
fn seen(dir: &Path, purpose: Purpose) -> ([usize; 3], Scanned) {
    let columns =
        ["url.path", "client.address", "user_agent.original"].map(|name| Column::by_name(name).expect("one"));
    let mut counts = [0; 3];
    let each = |row: &crate::record::Row<'_>| {
        for (count, column) in counts.iter_mut().zip(columns) {
            *count += usize::from(row.get(column).is_some());
        }
        ControlFlow::Continue(())
    };
    let mut reader = Reader::open(dir).expect("a folder");
    let scanned = reader.for_each_row(&keyring(dir, purpose), &TimeRange::default(), each).expect("readable");
    (counts, scanned)
}

fn keys(dir: &Path) -> LocalKeys {
    LocalKeys::at(&dir.join("keys"))
}

fn key_of(dir: &Path, class: KeyClass) -> KeyId {
    keys(dir).list().expect("a list").into_iter().find(|key| key.class == class).expect("a key")
}

fn first_file(dir: &Path) -> PathBuf {
    files::path(&dir.join("journal"), 1, 0)
}

#[test]
fn no_field_of_a_record_lies_on_the_disk_in_the_clear() {
    let dir = filled(3);
    let mut looked = 0;
    for folder in ["journal", "keys", "keys/clear", "keys/sec"] {
        for entry in std::fs::read_dir(dir.path().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let Ok(bytes) = std::fs::read(&path) else { continue };
            looked += bytes.len();
            for needle in [PATH.as_bytes(), AGENT, &ADDRESS, b"GET"] {
                assert!(memchr::memmem::find(&bytes, needle).is_none(), "{} shows a field", path.display());
            }
        }
    }
    assert!(looked > 1000, "there was nothing to look at");
    assert_eq!(seen(dir.path(), Purpose::Support).0[0], 3, "but it is there");
}

#[test]
fn a_purpose_opens_its_classes_and_no_other() {
    let dir = filled(2);
    for (purpose, counts) in [
        (Purpose::Support, [2, 0, 0]),
        (Purpose::Security, [2, 2, 0]),
        (Purpose::Diagnostics, [2, 0, 2]),
        (Purpose::Advertising, [2, 0, 0]),
        // After another purpose has read: nothing that was opened is kept.
        (Purpose::Support, [2, 0, 0]),
    ] {
        let (found, scanned) = seen(dir.path(), purpose);
        assert_eq!((found, scanned.locked, scanned.damaged), (counts, 0, 0), "{purpose}");
    }
}

#[test]
fn a_class_that_begins_late_in_a_frame_stays_with_its_records() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
    work(handle, async |recorder| {
        // All in one frame: the disk is held until they are there.
        disk.stuck(true);
        let mut tickets = vec![recorder.record_or_hold(&access("/0")).await.expect("room")];
        recorder.flush();
        for (path, agent) in [("/1", None), ("/2", Some(AGENT)), ("/3", None)] {
            let event = Event { user_agent: agent, ..access(path) };
            tickets.push(recorder.record_or_hold(&event).await.expect("room"));
        }
        recorder.flush();
        disk.stuck(false);
        for ticket in tickets {
            assert_eq!(ticket.await, Outcome::Durable);
        }
    });
    assert!(journal.stop());
    let (path, agent) = (Column::by_name("url.path"), Column::by_name("user_agent.original"));
    let mut with = Vec::new();
    let each = |row: &crate::record::Row<'_>| {
        if row.get(agent.expect("a column")).is_some()
            && let Some(Value::Text(path)) = row.get(path.expect("a column"))
        {
            with.push(path.to_vec());
        }
        ControlFlow::Continue(())
    };
    let mut reader = Reader::open(dir.path()).expect("a folder");
    reader
        .for_each_row(&keyring(dir.path(), Purpose::Diagnostics), &TimeRange::default(), each)
        .expect("readable");
    assert_eq!(with, [b"/2"]);
}

#[test]
fn a_destroyed_key_makes_its_columns_absent() {
    let dir = filled(2);
    assert!(keys(dir.path()).destroy(&key_of(dir.path(), KeyClass::Sec)).expect("destroyed"));
    let (found, scanned) = seen(dir.path(), Purpose::Security);
    assert_eq!((found, scanned.locked), ([2, 0, 0], 0));
    assert!(keys(dir.path()).destroy(&key_of(dir.path(), KeyClass::Clear)).expect("destroyed"));
    let (found, scanned) = seen(dir.path(), Purpose::Security);
    assert_eq!((found, scanned.expired, scanned.rows), ([0, 0, 0], 1, 0));
    // The next run seals under the next generation, and its records can be read.
    let (journal, handle) = start(Arc::new(OsDisk), options(dir.path()));
    work(handle, async |recorder| {
        assert_eq!(recorder.record_or_hold(&access(PATH)).await.expect("room").await, Outcome::Durable);
    });
    assert!(journal.stop());
    assert_eq!(seen(dir.path(), Purpose::Security).0, [1, 0, 0]);
}

#[test]
fn a_lost_key_is_an_error_for_clear_and_told_for_others() {
    let dir = filled(2);
    let lose = |class| {
        let key = key_of(dir.path(), class);
        std::fs::remove_file(dir.path().join(format!("keys/{key}.key"))).expect("removed");
        key
    };
    lose(KeyClass::Sec);
    let (found, scanned) = seen(dir.path(), Purpose::Security);
    assert_eq!((found, scanned.locked), ([2, 0, 0], 1));
    assert_eq!(seen(dir.path(), Purpose::Support).1.locked, 0, "support misses nothing");
    let lost = lose(KeyClass::Clear);
    let mut reader = Reader::open(dir.path()).expect("a folder");
    let ring = keyring(dir.path(), Purpose::Support);
    let error = reader.for_each_row(&ring, &TimeRange::default(), |_| ControlFlow::Continue(()));
    let text = error.expect_err("no key").to_string();
    assert!(text.contains("000001-000000.kjl") && text.contains(&format!("key {lost} is missing")), "{text}");
}

/// Where the frames of a file begin and end.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (_, mut at) = FileHead::decode(bytes).expect("a head");
    let mut found = Vec::new();
    while let Next::Frame(_, len) = Frame::decode(&bytes[at..]) {
        found.push((at, at + len));
        at += len;
    }
    found
}

/// Makes the checksum fit again, as who changes a file on purpose would.
fn fix(frame: &mut [u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_change_that_the_checksum_hides_is_noticed_by_the_seal() {
    const MARK_AT: usize = 8;
    let dir = filled(4);
    let path = first_file(dir.path());
    let whole = std::fs::read(&path).expect("the file");
    let (from, to) = frames(&whole)[1];
    let check = |bytes: &[u8], rows: usize, what: &str| {
        std::fs::write(&path, bytes).expect("written");
        let (found, scanned) = seen(dir.path(), Purpose::Support);
        assert_eq!((found[0], scanned.damaged), (rows, 1), "{what}");
        let mut follower = Follower::from_start(dir.path(), keyring(dir.path(), Purpose::Support));
        assert_eq!(follower.poll(|_| ControlFlow::Continue(())).expect("readable"), rows as u64, "{what}");
    };
    // Every byte of the head behind the checksum but the mark, which other code reads; then some of the sections.
    let head = (from + MARK_AT + 1)..(from + 44);
    for at in head.chain([from + 52, from + 60]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fix(&mut bytes[from..to]);
        check(&bytes, 1, &format!("byte {} of the frame", at - from));
    }
    // What a purpose does not open, it does not decrypt either.
    let mut sealed = whole.clone();
    sealed[to - 1] ^= 1;
    fix(&mut sealed[from..to]);
    std::fs::write(&path, &sealed).expect("written");
    assert_eq!(seen(dir.path(), Purpose::Support).1.damaged, 0);
    assert_eq!(seen(dir.path(), Purpose::Diagnostics).1.damaged, 1);
    let (first, second) = (whole[from..to].to_vec(), frames(&whole)[2]);
    let mut swapped = whole.clone();
    swapped[from..to].copy_from_slice(&whole[second.0..second.1]);
    swapped[second.0..second.1].copy_from_slice(&first);
    check(&swapped, 1, "two frames that changed places");
    let mut twice = whole.clone();
    twice[second.0..second.1].copy_from_slice(&first);
    check(&twice, 2, "a frame that comes twice");
    let mut moved = whole;
    moved[20..24].copy_from_slice(&0u32.to_le_bytes());
    std::fs::write(&path, &moved).expect("written");
    assert_eq!(seen(dir.path(), Purpose::Support).0[0], 0, "a head that was changed");
}

#[test]
fn a_frame_of_another_file_does_not_open() {
    let dir = filled(2);
    let other = filled(2);
    // The same keys folder, so that only the place differs.
    let (journal, handle) = start(Arc::new(OsDisk), options(dir.path()));
    work(handle, async |recorder| {
        for _ in 0..2 {
            assert_eq!(recorder.record_or_hold(&access(PATH)).await.expect("room").await, Outcome::Durable);
        }
    });
    assert!(journal.stop());
    drop(other);
    let (one, two) = (first_file(dir.path()), files::path(&dir.path().join("journal"), 2, 0));
    let (mut a, b) = (std::fs::read(&one).expect("a file"), std::fs::read(&two).expect("a file"));
    // The second frame of the second file in the place of the second of the first.
    let ((from, _), (start, end)) = (frames(&a)[1], frames(&b)[1]);
    a.truncate(from);
    a.extend_from_slice(&b[start..end]);
    std::fs::write(&one, a).expect("written");
    let (found, scanned) = seen(dir.path(), Purpose::Support);
    assert_eq!((found[0], scanned.damaged), (1 + 2, 1));
}

#[test]
fn two_processes_in_one_folder_use_the_same_keys() {
    let dir = tempfile::tempdir().expect("a folder");
    let journals: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..2).map(|_| scope.spawn(|| start(Arc::new(OsDisk), options(dir.path())))).collect();
        starts.into_iter().map(|thread| thread.join().expect("a journal")).collect()
    });
    for (journal, handle) in journals {
        work(handle, async |recorder| {
            assert_eq!(recorder.record_or_hold(&access(PATH)).await.expect("room").await, Outcome::Durable);
        });
        assert_eq!(journal.stats().keys(KeyClass::Sec), (1, 0));
        assert!(journal.stop());
    }
    let live = keys(dir.path()).list().expect("a list");
    assert!(live.iter().all(|key| key.generation == 0), "{live:?}");
    assert_eq!(seen(dir.path(), Purpose::Support).0[0], 2);
}

#[test]
fn a_day_has_its_own_keys_and_a_file_those_of_its_day() {
    static NOW: AtomicI64 = AtomicI64::new(86_400_000_000 * 20_000 - 1);
    let dir = tempfile::tempdir().expect("a folder");
    let now = || Timestamp::from_micros(NOW.load(SeqCst));
    let (journal, mut handles) = Journal::start(options(dir.path()), now).expect("a journal");
    work(handles.remove(0), async |recorder| {
        for _ in 0..2 {
            assert_eq!(recorder.record_or_hold(&access(PATH)).await.expect("room").await, Outcome::Durable);
            NOW.fetch_add(2, SeqCst);
        }
    });
    assert!(journal.stop());
    for file in files::list(&dir.path().join("journal")).expect("a folder") {
        let (head, _) = FileHead::decode(&std::fs::read(&file.path).expect("a file")).expect("a head");
        assert_eq!(head.keys.len(), 5);
        assert!(head.keys.iter().all(|key| key.id.day == Day::of(head.created)), "{head:?}");
    }
    // The first day's keys end with the first day's records.
    let oldest = key_of(dir.path(), KeyClass::Clear);
    assert!(keys(dir.path()).destroy(&oldest).expect("destroyed"));
    let (found, scanned) = seen(dir.path(), Purpose::Support);
    assert_eq!((found[0], scanned.expired), (1, 1));
}

#[test]
fn a_number_is_never_used_twice_under_one_key() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), RecordingDisk::default());
    let hold = std::time::Duration::from_millis(50);
    let options = JournalOptions { hold, ..options(dir.path()) };
    let (journal, handle) = start(Arc::new(disk.clone()), options);
    work(handle, async |recorder| {
        for i in 0..12 {
            // Now and then a write stops short: also the first of a file.
            disk.fail_writes(if i % 3 == 0 { 3 } else { 0 });
            let ticket = recorder.record_or_hold(&access(PATH)).await.expect("room");
            ticket.await;
        }
    });
    journal.stop();
    let mut used = std::collections::HashMap::new();
    let mut key_of_file = std::collections::HashMap::new();
    let mut begun_again = 0;
    for (file, offset, bytes) in disk.writes() {
        let mut frame = &bytes[..];
        if offset == 0 {
            let (head, len) = FileHead::decode(&bytes).expect("a head");
            let before = key_of_file.insert(file.clone(), head.keys[0].wrapped.clone());
            begun_again += usize::from(before.is_some());
            frame = &bytes[len..];
        }
        let Next::Frame(frame, _) = Frame::decode(frame) else { panic!("no frame") };
        if frame.count > 0 {
            let key = key_of_file[&file].clone();
            let text = bytes.clone();
            assert_eq!(used.insert((key, frame.index), text.clone()).filter(|b| *b != text), None);
        }
    }
    assert!(begun_again > 0, "no first write failed");
    assert!(used.len() > 12);
}

/// A keeper of keys that can be told to fail.
#[derive(Debug)]
struct Failing(LocalKeys, Arc<AtomicBool>);

impl Failing {
    fn ask(&self) -> Result<&LocalKeys, KeyError> {
        if self.1.load(SeqCst) { Err(KeyError::Random) } else { Ok(&self.0) }
    }
}

impl KeyProvider for Failing {
    fn current(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        self.ask()?.current(class, day)
    }
    fn wrap(&self, key: &KeyId, dek: &Dek) -> Result<Vec<u8>, KeyError> {
        self.ask()?.wrap(key, dek)
    }
    fn unwrap(&self, key: Permitted<'_>, wrapped: &[u8]) -> Result<Dek, KeyError> {
        self.ask()?.unwrap(key, wrapped)
    }
    fn rotate(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        self.ask()?.rotate(class, day)
    }
    fn destroy(&self, key: &KeyId) -> Result<bool, KeyError> {
        self.ask()?.destroy(key)
    }
    fn list(&self) -> Result<Vec<KeyId>, KeyError> {
        self.ask()?.list()
    }
    fn destroyed(&self) -> Result<Vec<KeyId>, KeyError> {
        self.ask()?.destroyed()
    }
    fn forget(&self, key: &KeyId) -> Result<bool, KeyError> {
        self.ask()?.forget(key)
    }
    fn lasting(&self, which: Lasting) -> Result<Vec<Version>, KeyError> {
        self.ask()?.lasting(which)
    }
    fn renew(&self, which: Lasting) -> Result<u32, KeyError> {
        self.ask()?.renew(which)
    }
}

#[test]
fn without_keys_records_are_shed_and_counted_never_written_plain() {
    let (dir, fails) = (tempfile::tempdir().expect("a folder"), Arc::new(AtomicBool::new(false)));
    let options = JournalOptions { file_bytes: 1500, ..options(dir.path()) };
    let keys = Failing(LocalKeys::prepare(&options.keys_dir).expect("keys"), fails.clone());
    let (journal, mut handles) =
        Journal::start_on(Arc::new(OsDisk), Arc::new(keys), options, clock::now).expect("a journal");
    let stats = journal.stats();
    let mut kept = 0;
    work(handles.remove(0), async |recorder| {
        let record = async || recorder.record_or_hold(&access(PATH)).await.expect("room").await;
        fails.store(true, SeqCst);
        // Files are small: what was made ahead is soon used up.
        while record().await == Outcome::Durable {
            kept += 1;
            assert!(kept < 100, "files without new keys");
        }
        fails.store(false, SeqCst);
        assert_eq!(record().await, Outcome::Durable);
    });
    assert!(journal.stop());
    assert!(stats.seal_errors.load(Relaxed) > 0 && stats.key_errors.load(Relaxed) > 0);
    assert_eq!(stats.dropped(Kind::Access, LossReason::WriteError), 1);
    assert_eq!(paths(dir.path()).len(), kept + 1);
    assert_eq!(gaps(dir.path()), [("write_error".to_owned(), Some(1))]);
}

#[test]
fn without_a_keys_folder_nothing_starts() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("keys"), "not a folder").expect("written");
    let error = Journal::start(options(dir.path()), clock::now).err().expect("no keys");
    assert!(matches!(error, StartError::Keys(_)), "{error}");
    assert!(!dir.path().join("journal").exists(), "nothing was begun");
}

#[test]
fn a_key_that_is_only_not_there_gives_its_name_to_no_other() {
    let dir = filled(3);
    let (keys_dir, away) = (dir.path().join("keys"), dir.path().join("away"));
    let key = key_of(dir.path(), KeyClass::Clear);
    assert_eq!(key.generation, 0);
    std::fs::rename(&keys_dir, &away).expect("the folder is not mounted");
    let (journal, handle) = Journal::start(options(dir.path()), clock::now)
        .map(|(journal, mut handles)| (journal, handles.remove(0)))
        .expect("it records all the same");
    drop(handle);
    assert!(journal.stop());
    let names = |folder: &Path| {
        let of_class = |class| std::fs::read_dir(folder.join(class)).expect("a folder");
        let mut names: Vec<_> = ["clear", "sec", "fraud", "diag", "ads", "lasting"]
            .into_iter()
            .flat_map(|class| of_class(class).map(move |e| (class, e.expect("an entry").file_name())))
            .collect();
        names.sort();
        names
    };
    let (before, since) = (names(&away), names(&keys_dir));
    assert!(!since.is_empty());
    assert!(since.iter().all(|name| !before.contains(name)), "{since:?} {before:?}");
}
