//! The promises of the segments, one test per sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::compact::Work;
use super::manifest::Manifest;
use super::sole::Sole;
use super::step::{Faults, NoFaults, Step};
use super::{Compactor, CompactorOptions, Finding, SegmentError, Shape, verify};
use crate::clock::{self, Timestamp};
use crate::config::Durability;
use crate::record::{COLUMNS, Column, Event, Fraud, ListBuf, Purpose, Row, Value};
use crate::risk::test_purpose;
use crate::seal::{Day, KeyClass, KeyProvider as _, LocalKeys};
use crate::store::lent::{self, LendError, PrivateFolder, lend};
use crate::store::query::testing::granted;
use crate::store::query::{By, Histogram, HistogramOf, Limits, OwnedValue, Scale, Scan, Top, TopOf, parse};
use crate::store::{Came, Follower, Hold, Journal, JournalOptions, RecorderHandle, Stats, Terms, files};

mod damage;
mod expire;
mod reading;
mod rewrite;

const FILE_BYTES: u64 = 1 << 16;

fn keys(dir: &Path) -> Arc<LocalKeys> {
    Arc::new(LocalKeys::prepare(&dir.join("keys")).expect("keys"))
}

fn start(dir: &Path) -> (Journal, RecorderHandle) {
    let (journal, mut handles) = Journal::start(options(dir), clock::now).expect("a journal");
    (journal, handles.remove(0))
}

fn options(dir: &Path) -> JournalOptions {
    JournalOptions {
        dir: dir.to_owned(),
        keys_dir: dir.join("keys"),
        rotate_after: Duration::from_secs(900),
        durability: Durability::Group,
        group_commit: Duration::from_millis(5),
        file_bytes: FILE_BYTES,
        ring_bytes: 1 << 20,
        max_bytes: 1 << 30,
        terms: Terms::days(90),
        hold: Duration::from_secs(5),
        node: "node-1".into(),
        workers: 1,
    }
}

/// Writes so many requests with values of every sort and class.
fn write(handle: RecorderHandle, count: u64, pause_every: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let recorder = handle.attach();
        tokio::task::spawn_local(recorder.run());
        for n in 0..count {
            let path = format!("/page/{}", n % 50);
            let (id, agent) = (format!("id-{n}"), format!("SecretAgent/{}", n % 7));
            let names: ListBuf = [&b"sid"[..], b"", b"\xff_ga"].into_iter().take(n as usize % 4).collect();
            let purpose = test_purpose();
            let mut fraud = Fraud::new(&purpose);
            fraud.country = Some(if n % 3 == 0 { b"QQSECRETLAND" } else { b"KZ" });
            fraud.asn = Some(n);
            let event = Event {
                start_ts: Some(clock::now().minus(Duration::from_micros(n % 1000))),
                path: Some(path.as_bytes()),
                status: Some(if n % 10 == 0 { 503 } else { 200 }),
                request_id: Some(id.as_bytes()),
                gpc: (n % 2 == 0).then_some(n % 4 == 0),
                cookie_names: names.as_list(),
                response_bytes: Some(n),
                client_address: Some(IpAddr::from([203, 0, 113, (n % 250) as u8])),
                user_agent: Some(agent.as_bytes()),
                fraud: Some(fraud),
                ..Event::default()
            };
            let ticket = recorder.record_or_hold(&event).await;
            if n % pause_every == pause_every - 1 || n + 1 == count {
                ticket.expect("room").await;
            }
        }
    });
}

/// A stopped journal of several files.
fn filled(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    write(handle, count, 100);
    assert!(journal.stop());
    dir
}

fn work(dir: &Path, faults: impl Faults + 'static) -> Work {
    Work {
        dir: dir.to_owned(),
        keys: keys(dir),
        stats: Arc::default(),
        stop: Arc::default(),
        faults: Box::new(faults),
        journal: None,
        settle: Duration::ZERO,
        unsettled: false,
        damaged: BTreeSet::new(),
        complete: None,
        stuck: BTreeSet::new(),
        gone: Arc::default(),
    }
}

pub(in crate::store) fn compact(dir: &Path) -> u64 {
    pass(&mut work(dir, NoFaults), clock::now()).expect("a pass")
}

fn pass(work: &mut Work, now: Timestamp) -> Result<u64, SegmentError> {
    let mut manifest = manifest(&work.dir);
    work.pass(&mut manifest, now)
}

fn manifest(dir: &Path) -> Manifest {
    Manifest::read(&dir.join(super::FOLDER)).expect("a manifest")
}

fn scan(dir: &Path, purpose: Purpose, filter: &str) -> Scan {
    let filter = parse(filter).expect("a filter");
    let grant = granted(purpose);
    Scan::new(dir, &grant, keys(dir), &filter, clock::now())
}

/// A row as text, every column.
fn text(row: &Row<'_>) -> String {
    let mut out = String::new();
    for column in COLUMNS {
        let value = match row.get(column) {
            None => continue,
            Some(Value::U64(n)) => n.to_string(),
            Some(Value::Time(t)) => t.to_string(),
            Some(Value::Text(t)) => String::from_utf8_lossy(t).into_owned(),
            Some(Value::Bool(b)) => b.to_string(),
            Some(Value::Address(ip)) => ip.to_string(),
            Some(Value::List(l)) => l.iter().map(|i| String::from_utf8_lossy(i).into_owned() + "|").collect(),
        };
        out.push_str(&format!("{}={value} ", column.name));
    }
    out
}

/// Everything that a purpose sees, newest first.
fn rows(dir: &Path, purpose: Purpose, filter: &str) -> Vec<String> {
    let mut found = Vec::new();
    scan(dir, purpose, filter)
        .newest_first(|row| {
            found.push(text(row));
            ControlFlow::Continue(())
        })
        .expect("readable");
    found
}

/// The numbers that threads see, and how often.
fn folded(dir: &Path) -> BTreeMap<u64, u64> {
    let add = |sum: &mut BTreeMap<u64, u64>, row: &Row<'_>| *sum.entry(row.seq).or_default() += 1;
    let (parts, _) = scan(dir, Purpose::Support, "").fold(BTreeMap::new, add).expect("readable");
    let mut all = BTreeMap::new();
    parts.into_iter().flatten().for_each(|(seq, n)| *all.entry(seq).or_default() += n);
    all
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let folder = dir.join(super::FOLDER);
    let manifest = Manifest::read(&folder).expect("a manifest");
    manifest.entries().iter().map(|e| folder.join(&e.file)).collect()
}

fn journal_files(dir: &Path) -> usize {
    files::list(&dir.join("journal")).expect("a folder").len()
}

#[test]
fn every_value_is_the_same_in_a_segment_as_in_the_journal() {
    let dir = filled(3000);
    assert!(journal_files(dir.path()) > 2);
    let filters =
        ["", "status>=500", "path=/page/7 gpc=true", "since:1h cookie.names=sid", "since:2030-01-01"];
    let all = |dir: &Path| -> Vec<_> {
        let purposes = [Purpose::Support, Purpose::Security, Purpose::Fraud, Purpose::Diagnostics];
        purposes.iter().flat_map(|p| filters.map(|filter| rows(dir, *p, filter))).collect()
    };
    let before = all(dir.path());
    assert_eq!(before[0].len(), 3000);
    assert_eq!(compact(dir.path()), 1);
    assert_eq!(journal_files(dir.path()), 0);
    assert_eq!(all(dir.path()), before);
    assert!(folded(dir.path()).values().all(|n| *n == 1));
    assert_eq!(folded(dir.path()).len(), 3000);
}

/// Stops after the first time a step was done.
struct StopAt(Step);

impl Faults for StopAt {
    fn at(&self, step: Step) -> io::Result<()> {
        if step == self.0 { Err(io::Error::other("stopped by the test")) } else { Ok(()) }
    }
}

#[test]
fn a_crash_after_any_step_loses_nothing_and_shows_nothing_twice() {
    use Step::{Begun, Done, FileSynced, ManifestSynced, ManifestWritten, NameSynced, Renamed, Unlinked};
    let steps = [Begun, FileSynced, Renamed, NameSynced, ManifestWritten, ManifestSynced, Unlinked, Done];
    for step in steps {
        let dir = filled(1200);
        let before = rows(dir.path(), Purpose::Security, "");
        pass(&mut work(dir.path(), StopAt(step)), clock::now()).expect_err("stopped");
        assert_eq!(rows(dir.path(), Purpose::Security, ""), before, "{step:?}");
        assert!(folded(dir.path()).values().all(|n| *n == 1), "{step:?}");
        let mut again = work(dir.path(), NoFaults);
        let orphans = again.sweep().expect("swept");
        assert_eq!(orphans > 0, matches!(step, FileSynced | Renamed | NameSynced), "{step:?}");
        pass(&mut again, clock::now()).expect("a pass");
        assert_eq!(rows(dir.path(), Purpose::Security, ""), before, "{step:?}");
        assert_eq!((journal_files(dir.path()), segments(dir.path()).len()), (0, 1), "{step:?}");
        let report = verify(dir.path()).expect("readable");
        assert_eq!((report.findings, report.records), (vec![], 1200), "{step:?}");
    }
}

#[test]
fn a_segment_shows_no_sealed_value() {
    let dir = filled(2000);
    compact(dir.path());
    let [path] = &segments(dir.path())[..] else { panic!("one segment") };
    let bytes = std::fs::read(path).expect("a file");
    for secret in [&b"QQSECRETLAND"[..], b"SecretAgent", &[255, 255, 203, 0, 113]] {
        assert!(!bytes.windows(secret.len()).any(|w| w == secret));
    }
    assert!(bytes.windows(6).any(|w| w == b"/page/"), "the search finds what is clear");
    let reader = SerializedFileReader::new(std::fs::File::open(path).expect("a file")).expect("a footer");
    for group in reader.metadata().row_groups() {
        for chunk in group.columns() {
            let name = &chunk.column_path().parts()[0];
            let column = COLUMNS.iter().find(|c| c.column == *name).expect("a column of ours");
            let sealed = super::schema::sealed(column);
            assert_eq!(chunk.crypto_metadata().is_some(), sealed, "{name}");
            assert!(!sealed || chunk.statistics().is_none(), "{name}");
            assert!(chunk.bloom_filter_offset().is_none(), "{name}");
        }
    }
}

#[test]
fn a_destroyed_key_takes_its_columns_and_no_other() {
    let dir = filled(500);
    compact(dir.path());
    let keys = keys(dir.path());
    for key in keys.list().expect("keys").into_iter().filter(|key| key.class == KeyClass::Sec) {
        assert!(keys.destroy(&key).expect("destroyed"));
    }
    let seen = rows(dir.path(), Purpose::Security, "");
    assert_eq!(seen.len(), 500);
    assert!(seen.iter().all(|row| row.contains("url.path=") && !row.contains("client.address=")));
    assert!(rows(dir.path(), Purpose::Fraud, "").iter().all(|row| row.contains("as.number=")));
}

#[test]
fn a_reader_of_one_purpose_leaves_nothing_to_the_next() {
    let dir = filled(500);
    compact(dir.path());
    assert!(rows(dir.path(), Purpose::Security, "").iter().all(|row| row.contains("client.address=")));
    for row in rows(dir.path(), Purpose::Support, "") {
        for column in COLUMNS.iter().filter(|c| super::schema::sealed(c)) {
            assert!(!row.contains(&format!("{}=", column.name)), "{}", column.name);
        }
    }
}

#[test]
fn readers_see_every_record_once_while_a_compactor_works() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    let stop = Arc::<AtomicBool>::default();
    let (compacting, done) = (dir.path().to_owned(), Arc::clone(&stop));
    let compactor = std::thread::spawn(move || {
        let mut made = 0;
        while !done.load(Relaxed) {
            made += compact(&compacting);
        }
        made + compact(&compacting)
    });
    let (reading, done) = (dir.path().to_owned(), Arc::clone(&stop));
    let reader = std::thread::spawn(move || {
        let (mut least, mut looks) = (0, 0);
        while !done.load(Relaxed) || looks == 0 {
            let found = folded(&reading);
            assert!(found.values().all(|n| *n == 1), "twice");
            let numbers: Vec<u64> = found.into_keys().collect();
            assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "a hole");
            assert!(numbers.len() >= least, "{} after {least}", numbers.len());
            least = numbers.len();
            looks += 1;
        }
        looks
    });
    write(handle, 12_000, 40);
    assert!(journal.stop());
    stop.store(true, Relaxed);
    assert!(reader.join().expect("a reader") > 0);
    assert!(compactor.join().expect("a compactor") > 1);
    assert_eq!(folded(dir.path()).len(), 12_000);
    assert_eq!(journal_files(dir.path()), 0);
}

#[test]
fn a_damaged_journal_file_stays_and_the_others_go() {
    let dir = filled(3000);
    let listed = files::list(&dir.path().join("journal")).expect("files");
    let hurt = &listed[1].path;
    let mut bytes = std::fs::read(hurt).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(hurt, bytes).expect("written");
    let before = rows(dir.path(), Purpose::Support, "").len();
    let mut work = work(dir.path(), NoFaults);
    pass(&mut work, clock::now()).expect("a pass");
    pass(&mut work, clock::now()).expect("a pass");
    assert_eq!(work.stats.damaged.load(Relaxed), 1);
    assert!(hurt.exists());
    assert_eq!(journal_files(dir.path()), 1);
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), before);
}

#[test]
fn the_oldest_segment_goes_when_there_are_too_many_unless_it_is_held() {
    let dir = filled(500);
    compact(dir.path());
    let (journal, handle) = start(dir.path());
    write(handle, 500, 100);
    assert!(journal.stop());
    compact(dir.path());
    assert_eq!(segments(dir.path()).len(), 2);
    let (stats, now) = (Stats::default(), clock::now());
    let work = work(dir.path(), NoFaults);
    let newest = std::fs::metadata(&segments(dir.path())[1]).expect("a file").len();
    let retire = |terms: &Terms, bytes| {
        work.retire(&mut manifest(dir.path()), now, (terms, bytes), &stats).expect("retired");
        segments(dir.path()).len()
    };
    let (today, all) = (Day::of(now), Vec::new());
    let hold = Hold { name: "a case".into(), from: today, until: today, classes: all };
    assert_eq!(retire(&Terms::days(1), u64::MAX), 2);
    assert_eq!(retire(&Terms::new([1; 5], [0; 5], vec![hold]), newest), 2);
    assert_eq!(retire(&Terms::days(1), newest), 1);
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), 500);
    assert_eq!(stats.dropped(crate::record::Kind::Access, crate::store::LossReason::Quota), 500);
    assert_eq!(work.sweep().expect("swept"), 0);
}

#[test]
fn verify_finds_a_changed_file_and_a_missing_one() {
    let dir = filled(500);
    compact(dir.path());
    assert_eq!(verify(dir.path()).expect("readable").findings, []);
    let path = segments(dir.path()).remove(0);
    let mut bytes = std::fs::read(&path).expect("a file");
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let findings = verify(dir.path()).expect("readable").findings;
    assert!(matches!(findings[..], [Finding::Changed(_)]), "{findings:?}");
    std::fs::remove_file(&path).expect("removed");
    let findings = verify(dir.path()).expect("readable").findings;
    assert!(matches!(findings[..], [Finding::Missing(_)]), "{findings:?}");
}

#[test]
fn one_of_two_compactors_works_and_the_other_takes_over() {
    let dir = filled(500);
    let folder = work(dir.path(), NoFaults).folder().expect("a folder");
    let held = Sole::try_take(&folder).expect("a lock").expect("free");
    let options = CompactorOptions {
        dir: dir.path().to_owned(),
        terms: Terms::days(90),
        max_bytes: u64::MAX,
        segments: true,
    };
    let begin = || {
        let (keys, stats) = (keys(dir.path()), Arc::<Stats>::default());
        // Far ahead, so that the files have settled.
        let now = || Timestamp::from_secs(clock::now().as_secs() + 60);
        Compactor::start(options.clone(), keys, stats, now, None).expect("a thread")
    };
    let wait_for = |done: &dyn Fn() -> bool| {
        let deadline = clock::monotonic() + Duration::from_secs(60);
        while !done() {
            assert!(clock::monotonic() < deadline, "too long");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let (first, second) = (begin(), begin());
    std::thread::sleep(Duration::from_millis(20));
    let made = |c: &Compactor| c.stats().records.load(Relaxed);
    assert_eq!((journal_files(dir.path()) > 0, made(&first), made(&second)), (true, 0, 0), "they wait");
    drop(held);
    first.thread().unpark();
    second.thread().unpark();
    wait_for(&|| journal_files(dir.path()) == 0);
    first.stop();
    second.thread().unpark();
    wait_for(&|| second.stats().segments.load(Relaxed) == 1);
    second.stop();
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), 500);
}

#[test]
fn what_the_writer_had_no_time_for_is_completed_on_the_way_into_a_segment() {
    struct Nothing;
    impl crate::store::Enrich for Nothing {
        fn begin(&mut self) -> u64 {
            0
        }
        fn fields(&mut self, _: &crate::store::Facts<'_>, _: &mut Vec<u8>) {}
    }
    let dir = tempfile::tempdir().expect("a folder");
    let options = JournalOptions {
        dir: dir.path().to_owned(),
        keys_dir: dir.path().join("keys"),
        rotate_after: Duration::from_secs(900),
        durability: Durability::Group,
        group_commit: Duration::from_millis(5),
        file_bytes: FILE_BYTES,
        ring_bytes: 1 << 20,
        max_bytes: 1 << 30,
        terms: Terms::days(90),
        hold: Duration::from_secs(5),
        node: "node-1".into(),
        workers: 1,
    };
    let (journal, mut handles) =
        Journal::start_enriched(options, clock::now, Box::new(Nothing)).expect("a journal");
    write(handles.remove(0), 40, 10);
    assert!(journal.stop());
    let versions = || {
        let mut found = BTreeMap::new();
        let column = |name| Column::by_name(name).expect("a column");
        let (version, agent) = (column("ua.data_version"), column("user_agent.original"));
        scan(dir.path(), Purpose::Support, "")
            .newest_first(|row| {
                assert!(row.get(agent).is_none(), "the text stays sealed");
                let version = match row.get(version) {
                    Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
                    _ => String::new(),
                };
                *found.entry(version).or_insert(0) += 1;
                ControlFlow::Continue(())
            })
            .expect("readable");
        found
    };
    assert_eq!(versions(), BTreeMap::from([(String::new(), 40)]));
    let agents = Arc::<crate::agents::AgentData>::default();
    let mut work = work(dir.path(), NoFaults);
    work.complete = Some(Box::new(crate::agents::Agents::following(Arc::clone(&agents))));
    assert_eq!(pass(&mut work, clock::now()).expect("a pass"), 1);
    let version = agents.in_force().version().to_owned();
    assert_eq!(versions(), BTreeMap::from([(version, 40)]));
    assert_eq!(agents.figures.completed.load(Relaxed), 40);
    // Seven texts were parsed, the others known.
    assert_eq!(agents.figures.misses.load(Relaxed), 7);
}
