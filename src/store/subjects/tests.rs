//! What a block promises, one test per sentence; [`erase`] has the erasure's, [`tombstones`] the book's,
//! [`index`] those of the indexes and of the key of tags.

mod erase;
mod index;
mod tombstones;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;

use super::index::{Found, look_up};
use super::person::Search;
use super::*;
use crate::clock::{self, Timestamp};
use crate::config::Durability;
use crate::record::{COLUMNS, Column, Event, Purpose, Row, Subject, Value};
use crate::seal::{KeyClass, KeyProvider, Keyring, Lasting, LocalKeys};
use crate::store::files;
use crate::store::query::testing::granted_in;
use crate::store::query::{By, Filter, Limits, Scan, Seen, Top, TopOf, parse};
use crate::store::segments::tests::compact;
use crate::store::segments::{self, Manifest};
use crate::store::terms::Terms;
use crate::store::{Came, Follower, Journal, JournalOptions, RecorderHandle};

const ANNA: [u8; 16] = [1; 16];
const BOLAT: [u8; 16] = [2; 16];
const ACCOUNT: &[u8] = b"account-of-anna";

fn keys(dir: &Path) -> Arc<dyn KeyProvider> {
    Arc::new(LocalKeys::prepare(&dir.join("keys")).expect("keys"))
}

fn start(dir: &Path) -> (Journal, RecorderHandle) {
    let options = JournalOptions {
        dir: dir.to_owned(),
        keys_dir: dir.join("keys"),
        rotate_after: Duration::from_secs(900),
        durability: Durability::Group,
        group_commit: Duration::from_millis(5),
        file_bytes: 1 << 16,
        ring_bytes: 1 << 20,
        max_bytes: 1 << 30,
        terms: Terms::days(90),
        hold: Duration::from_secs(5),
        node: "node-1".into(),
        workers: 1,
    };
    let (journal, mut handles) = Journal::start(options, clock::now).expect("a journal");
    (journal, handles.remove(0))
}

fn address(visitor: [u8; 16]) -> IpAddr {
    IpAddr::from([203, 0, 113, visitor[0]])
}

fn person(dir: &Path, visitor: [u8; 16]) -> Person {
    let tagger = Tagger::new(&*keys(dir)).expect("a key");
    Person::of(&tagger, &[Identifier::Visitor(visitor)], &[]).expect("somebody")
}

/// Requests of these visitors in turn, each with its own path; `more` says when it is enough.
fn visit(handle: RecorderHandle, visitors: &[[u8; 16]], mut more: impl FnMut(u64) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let recorder = handle.attach();
        tokio::task::spawn_local(recorder.run());
        for n in 0.. {
            if !more(n) {
                break;
            }
            let visitor = visitors[n as usize % visitors.len()];
            let path = format!("/{}/{n}", if visitor == ANNA { "anna" } else { "bolat" });
            let event = Event {
                start_ts: Some(clock::now()),
                path: Some(path.as_bytes()),
                client_address: Some(address(visitor)),
                user_agent: Some(b"agent"),
                subject: Subject {
                    visitor: Some(visitor),
                    account: Some(ACCOUNT).filter(|_| visitor == ANNA && n % 4 == 0),
                },
                ..Event::default()
            };
            recorder.record_or_hold(&event).await.expect("room").await;
        }
    });
}

/// A stopped journal with so many requests of each of the two.
fn filled(each: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    add(dir.path(), each);
    dir
}

fn add(dir: &Path, each: u64) {
    let (journal, handle) = start(dir);
    visit(handle, &[ANNA, BOLAT], |n| n < 2 * each);
    assert!(journal.stop());
}

fn text(row: &Row<'_>) -> String {
    let value = |column: &Column| match row.get(column)? {
        Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        other => Some(format!("{other:?}")),
    };
    let shown = |column: &'static Column| Some(format!("{}={}", column.name, value(column)?));
    COLUMNS.iter().filter_map(shown).collect::<Vec<_>>().join(" ")
}

/// Whether a record is of one of Anna's pages.
fn is_annas(row: &Row<'_>) -> bool {
    let path = Column::by_name("url.path").and_then(|column| row.get(column));
    matches!(path, Some(Value::Text(path)) if path.starts_with(b"/anna/"))
}

/// Ends the others also when a test panics.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What each way of reading gives under each purpose.
fn everything(dir: &Path) -> Ways {
    let purposes = [Purpose::Support, Purpose::Security, Purpose::Fraud, Purpose::Diagnostics];
    let mut all = BTreeMap::new();
    for purpose in purposes {
        let grant = granted_in(dir, purpose);
        let any = parse("kind:*").expect("a filter");
        let scan = |filter: &Filter| Scan::new(dir, &grant, keys(dir), filter, clock::now());
        for (name, filter) in [("requests", &Filter::default()), ("any kind", &any)] {
            let mut rows = Vec::new();
            let seen = scan(filter).newest_first(|row| {
                rows.push(text(row));
                ControlFlow::Continue(())
            });
            assert_eq!(seen.expect("readable").matched, rows.len() as u64);
            all.insert(format!("{purpose} {name} newest first"), rows);
            let mut rows = Vec::new();
            scan(filter).from_seq(0, |row| rows.push(text(row))).expect("readable");
            all.insert(format!("{purpose} {name} from seq"), rows);
            let (sums, _): (Vec<Vec<String>>, Seen) =
                scan(filter).fold(Vec::new, |rows, row| rows.push(text(row))).expect("readable");
            let mut rows: Vec<String> = sums.into_iter().flatten().collect();
            rows.sort();
            all.insert(format!("{purpose} {name} folded"), rows);
        }
        all.insert(format!("{purpose} counted over columns"), counted(&scan(&Filter::default())));
        let mut rows = Vec::new();
        let keyring = Keyring::new(&grant, keys(dir));
        let mut follower = Follower::from_start(dir, keyring);
        follower
            .poll(|row| {
                rows.push(text(row));
                ControlFlow::Continue(())
            })
            .expect("readable");
        all.insert(format!("{purpose} followed"), rows);
    }
    all
}

/// The paths and how often each was asked for, as `top` counts them.
fn counted(scan: &Scan) -> Vec<String> {
    let path = Column::by_name("url.path").expect("a column");
    let mut total = Top::new(path.ty, By::Hits, Limits::default());
    let (parts, _) = scan.gather(|| TopOf::new(total.sibling(), path, None)).expect("readable");
    parts.into_iter().for_each(|part| total.merge(part.into_top()));
    let shown = |value: &Value<'_>| match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    };
    let rows = total.finish(usize::MAX, 0).rows;
    let mut rows: Vec<_> =
        rows.iter().map(|row| format!("{} {}", shown(&row.key.as_value()), row.hits)).collect();
    rows.sort();
    rows
}

/// Rows by the way of reading them.
type Ways = BTreeMap<String, Vec<String>>;

/// The ways of reading that give something else than before of one of the two; a follower reads the journal only.
fn differing<'a>((before, after): (&'a Ways, &Ways), who: &str) -> Vec<&'a String> {
    let scanned = before.keys().filter(|way| !way.ends_with("followed"));
    let mine = |all: &Ways, way: &String| -> Vec<String> {
        all[way].iter().filter(|row| row.contains(who)).cloned().collect()
    };
    scanned.filter(|way| mine(before, way) != mine(after, way)).collect()
}

fn of<'a>(all: &'a Ways, who: &str) -> BTreeMap<&'a str, Vec<&'a String>> {
    let mine = |rows: &'a Vec<String>| rows.iter().filter(|row| row.contains(who)).collect();
    all.iter().map(|(way, rows)| (way.as_str(), mine(rows))).collect()
}

fn block_now(dir: &Path, visitor: [u8; 16]) -> u64 {
    block(dir, &keys(dir), &person(dir, visitor), clock::now, &|_| Ok(())).expect("blocked").records
}

fn unblock_now(dir: &Path, visitor: [u8; 16]) -> usize {
    unblock(dir, &keys(dir), &person(dir, visitor), clock::now()).expect("lifted").len()
}

#[test]
fn tags_are_in_the_records_and_identifiers_are_not() {
    let dir = filled(8);
    let all = everything(dir.path());
    let seen = &all["security requests newest first"];
    let tagger = Tagger::new(&*keys(dir.path())).expect("a key");
    for (column, identifier) in [
        ("subject_tag", Identifier::Address(address(ANNA))),
        ("subject_tag.visitor", Identifier::Visitor(ANNA)),
        ("account_tag", Identifier::Account(ACCOUNT)),
    ] {
        let wanted = format!("{column}={}", tagger.tag(&identifier).expect("a tag"));
        let count = seen.iter().filter(|row| row.contains(&wanted)).count();
        assert_eq!(count, if column == "account_tag" { 4 } else { 8 }, "{column}");
    }
    assert!(!seen.iter().any(|row| row.contains("account-of-anna")));
    assert!(all["support requests newest first"].iter().all(|row| !row.contains("subject_tag")));
}

#[test]
fn after_a_block_no_way_of_reading_shows_the_person_and_others_are_unchanged() {
    for compacted in [false, true] {
        let dir = filled(50);
        if compacted {
            compact(dir.path());
        }
        let before = everything(dir.path());
        assert_eq!(block_now(dir.path(), ANNA), 50);
        let after = everything(dir.path());
        assert!(of(&after, "/anna/").values().all(Vec::is_empty), "compacted: {compacted}");
        assert_eq!(differing((&before, &after), "/bolat/"), Vec::<&String>::new());
        assert_eq!(block_now(dir.path(), ANNA), 50, "once more changes nothing");
        assert!(everything(dir.path()) == after, "something changed");
        let book = Book::read(dir.path()).expect("a book");
        assert_eq!(book.tombstones().count(), 1, "it is the same block");
        // Compaction, a start and a stop change nothing either.
        add(dir.path(), 5);
        compact(dir.path());
        let later = everything(dir.path());
        assert!(of(&later, "/anna/").values().all(Vec::is_empty), "compacted: {compacted}");
        assert_eq!(of(&later, "/bolat/")["support requests from seq"].len(), 55);
        assert_eq!((unblock_now(dir.path(), ANNA), unblock_now(dir.path(), ANNA)), (1, 0));
        let lifted = everything(dir.path());
        assert_eq!(of(&lifted, "/anna/")["security requests from seq"].len(), 55);
    }
}

#[test]
fn each_identifier_blocks_what_it_is_linked_to() {
    for (identifier, records) in [
        (Identifier::Address(address(ANNA)), 20),
        (Identifier::Visitor(ANNA), 20),
        (Identifier::Account(ACCOUNT), 10),
    ] {
        let dir = filled(20);
        let tagger = Tagger::new(&*keys(dir.path())).expect("a key");
        let person = Person::of(&tagger, &[identifier], &[]).expect("somebody");
        let by_tag = Person::of(&tagger, &[], person.tags()).expect("somebody");
        let keys = keys(dir.path());
        let done = block(dir.path(), &keys, &person, clock::now, &|_| Ok(())).expect("blocked");
        assert_eq!((done.records, done.before), (records, false), "{identifier:?}");
        let again = block(dir.path(), &keys, &by_tag, clock::now, &|_| Ok(())).expect("blocked");
        assert_eq!((again.records, again.before), (records, true), "{identifier:?}");
    }
}

#[test]
fn a_record_tagged_with_an_older_key_is_found() {
    let dir = filled(10);
    keys(dir.path()).renew(Lasting::Subject).expect("a version");
    add(dir.path(), 10);
    assert_eq!(person(dir.path(), ANNA).tags().len(), 2);
    assert_eq!(block_now(dir.path(), ANNA), 20);
}

#[test]
fn records_that_are_written_while_a_block_is_set_are_hidden_before_anybody_can_read_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    let (blocked, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let written = AtomicU64::new(0);
    let (path, blocked, done, written) = (dir.path(), &blocked, &done, &written);
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            visit(handle, &[ANNA, BOLAT], |n| {
                written.store(n, SeqCst);
                // Slower than the readers are, which otherwise would never come to the end.
                std::thread::sleep(Duration::from_micros(500));
                !done.load(SeqCst)
            });
        });
        let following = scope.spawn(move || {
            let keyring = Keyring::new(&granted_in(path, Purpose::Support), keys(path));
            let mut follower = Follower::from_start(path, keyring);
            let mut anna = 0u64;
            loop {
                // Asked before the look: a look that began before the block may show what was there.
                let (over, hidden) = (done.load(SeqCst), blocked.load(SeqCst));
                let each = |came: Came<'_, '_>| {
                    let Came::Row(row) = came else { panic!("a hidden record was taken for lost") };
                    let of_anna = is_annas(row);
                    assert!(!(hidden && of_anna), "a record of a blocked person was shown");
                    anna += u64::from(of_anna);
                    ControlFlow::Continue(())
                };
                follower.poll_all(each).expect("readable");
                if over {
                    return anna;
                }
            }
        });
        let ending = Ending(done);
        let wait = |count: u64| {
            while written.load(SeqCst) < count {
                assert!(!writing.is_finished(), "the writer ended early");
                std::thread::yield_now();
            }
        };
        wait(200);
        block_now(path, ANNA);
        blocked.store(true, SeqCst);
        for _ in 0..20 {
            let grant = granted_in(path, Purpose::Support);
            let scan = Scan::new(path, &grant, keys(path), &Filter::default(), clock::now());
            let rows = scan.from_seq(0, |row| assert!(!is_annas(row), "{}", text(row)));
            assert!(rows.expect("readable").matched >= 100);
        }
        wait(written.load(SeqCst) + 400);
        drop(ending);
        writing.join().expect("a writer");
        let anna = following.join().expect("a follower");
        assert!(anna > 0, "nothing was there before the block");
    });
    assert!(journal.board().marked.load(SeqCst) >= 100, "records were marked as they were written");
    assert!(journal.stop());
    let all = everything(path);
    assert!(of(&all, "/anna/").values().all(Vec::is_empty));
    // What was marked is in the book when the journal is gone.
    compact(path);
    assert!(of(&everything(path), "/anna/").values().all(Vec::is_empty));
    assert_eq!(unblock_now(path, ANNA), 1);
    let lifted = everything(path);
    let counts = ["/anna/", "/bolat/"].map(|who| of(&lifted, who)["support requests from seq"].len());
    assert!(counts[0].abs_diff(counts[1]) <= 1 && counts[0] >= 300, "{counts:?}");
}

#[test]
fn a_block_that_dies_at_any_step_is_finished_by_the_next_one_to_work() {
    for step in ["listed", "seen", "resolved"] {
        for by_repeating in [true, false] {
            let dir = filled(30);
            let before = everything(dir.path());
            let (keys, person) = (keys(dir.path()), person(dir.path(), ANNA));
            let die = |at: &str| if at == step { Err(io::Error::other("died")) } else { Ok(()) };
            block(dir.path(), &keys, &person, clock::now, &die).expect_err("died");
            if by_repeating {
                assert_eq!(block_now(dir.path(), ANNA), 30);
            } else {
                finish_pending(dir.path(), &keys, true, clock::now).expect("finished");
            }
            let after = everything(dir.path());
            assert!(of(&after, "/anna/").values().all(Vec::is_empty), "{step}");
            assert_eq!(differing((&before, &after), "/bolat/"), Vec::<&String>::new(), "{step}");
            let states: Vec<State> =
                Book::read(dir.path()).expect("a book").tombstones().map(|t| t.state).collect();
            assert_eq!(states, [State::Blocked], "{step}");
        }
    }
}

/// Turns a bit in the middle of a file.
fn hurt(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn who_answers_a_person_is_told_of_files_that_could_not_be_searched() {
    let dir = filled(30);
    let grant = granted_in(dir.path(), Purpose::SubjectRights);
    let search = || {
        let mut found = 0;
        let anna = person(dir.path(), ANNA);
        let unread = anna.records(dir.path(), &grant, keys(dir.path()), |_| found += 1).expect("readable");
        (found, unread.len())
    };
    assert_eq!(search(), (30, 0));
    compact(dir.path());
    add(dir.path(), 5);
    assert_eq!(search(), (35, 0));
    let listed = files::list(&dir.path().join("journal")).expect("files");
    hurt(&listed[0].path);
    let (found, damaged) = search();
    assert!((30..35).contains(&found) && damaged == 1, "{found} records, {damaged} files");
    let folder = dir.path().join(segments::FOLDER);
    let manifest = Manifest::read(&folder).expect("a manifest");
    std::fs::remove_file(folder.join(&manifest.entries()[0].file)).expect("removed");
    assert_eq!(search(), (found - 30, 2));
}

#[test]
fn the_index_finds_what_the_columns_hold_and_dies_with_its_key() {
    let dir = filled(40);
    compact(dir.path());
    let folder = dir.path().join(segments::FOLDER);
    let manifest = Manifest::read(&folder).expect("a manifest");
    let [entry] = manifest.entries() else { panic!("one segment") };
    let segment = folder.join(&entry.file);
    let anna = person(dir.path(), ANNA);
    let find = |person: &Person| {
        let keyring = Keyring::of_the_store(keys(dir.path()));
        look_up((&segment, entry), &keyring, person.tags()).expect("readable")
    };
    let Found::Rows(rows) = find(&anna) else { panic!("no index") };
    let Search { rows: numbers, found, .. } =
        anna.numbers(dir.path(), &keys(dir.path()), None).expect("readable");
    assert_eq!((rows.clone(), found.segments), (numbers, 1));
    assert_eq!(rows.numbers(), 40);
    assert_eq!(find(&person(dir.path(), [9; 16])), Found::Rows(Ranges::default()));
    // Without it, and with one that is damaged, the columns are asked.
    let index = index_of(&segment);
    let whole = std::fs::read(&index).expect("an index");
    assert!(!whole.windows(16).any(|w| w == ANNA));
    let mut damaged = whole.clone();
    let middle = damaged.len() - 40;
    damaged[middle..].fill(7);
    for bytes in [Some(damaged), Some(b"nonsense".to_vec()), None] {
        match bytes {
            Some(bytes) => std::fs::write(&index, bytes).expect("written"),
            None => std::fs::remove_file(&index).expect("removed"),
        }
        assert_eq!(anna.numbers(dir.path(), &keys(dir.path()), None).expect("readable").rows, rows);
    }
    std::fs::write(&index, whole).expect("written");
    for key in keys(dir.path()).list().expect("keys").iter().filter(|key| key.class == KeyClass::Sec) {
        assert!(keys(dir.path()).destroy(key).expect("destroyed"));
    }
    assert_eq!(find(&anna), Found::Gone);
    assert!(anna.numbers(dir.path(), &keys(dir.path()), None).expect("readable").rows.is_empty());
}

proptest! {
    #[test]
    fn any_bytes_are_a_book_or_damage(bytes: Vec<u8>, json in "[ -~]{0,80}") {
        let line = format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()));
        for text in [bytes, line.into_bytes()] {
            let dir = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(dir.path().join(book::FOLDER)).expect("a folder");
            std::fs::write(book::path(dir.path()), text).expect("written");
            let _ = Book::read(dir.path());
        }
    }

    #[test]
    fn any_bytes_are_an_index_or_none(mut bytes: Vec<u8>, magic: bool) {
        if magic {
            bytes.splice(0..0, b"KELTAGS\x02".iter().copied());
        }
        let dir = tempfile::tempdir().expect("a folder");
        let segment = dir.path().join("segment.parquet");
        std::fs::write(index_of(&segment), bytes).expect("written");
        let keyring = Keyring::of_the_store(keys(dir.path()));
        let tag = "1-Zm9vYmFyYmF6cXV4".parse().expect("a tag");
        let entry = segments::Entry { keys: vec!["sec/2026-11-22#0".to_owned()], ..segments::Entry::default() };
        let found = look_up((&segment, &entry), &keyring, &[tag]);
        prop_assert!(!matches!(found, Ok(Found::Rows(rows)) if !rows.is_empty()));
    }
}
