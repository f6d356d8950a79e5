//! What is over is destroyed, what is held stays, and the audit log says both, whatever falls between.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::super::expire::Expiry;
use super::super::{Change, Entry, KeyReport, verify_keys};
use super::*;
use crate::audit::{self, Kind, Outcome};
use crate::record::Class;
use crate::seal::{Dek, KeyError, KeyId, KeyProvider, Lasting, Permitted, Version};

const DAY: Duration = Duration::from_secs(86_400);

fn after(days: u32) -> Timestamp {
    clock::now().plus(DAY * days)
}

/// One run of a new process.
fn expire(
    dir: &Path,
    terms: &Terms,
    now: Timestamp,
    faults: impl Faults + 'static,
) -> Result<(), SegmentError> {
    let work = work(dir, faults);
    work.sweep()?;
    work.expire(&mut Expiry::new(terms.clone()), &mut manifest(dir), now, &Stats::default())
}

/// 90 days of facts, 30 of everything sealed but technical detail, which stays 7.
fn usual() -> Terms {
    Terms::new([90, 30, 30, 7, 30], [0; 5], Vec::new())
}

/// A folder with a segment and journal files, 300 records in each.
fn segment_and_journal() -> tempfile::TempDir {
    let dir = filled(300);
    assert_eq!(compact(dir.path()), 1);
    let (journal, handle) = start(dir.path());
    write(handle, 300, 100);
    assert!(journal.stop());
    dir
}

fn live(dir: &Path, class: KeyClass) -> usize {
    keys(dir).list().expect("keys").iter().filter(|key| key.class == class).count()
}

fn audited(dir: &Path) -> Vec<audit::Entry> {
    let mut entries = Vec::new();
    match audit::verify(dir, |entry, _| entries.push(entry.clone())) {
        Ok(verified) => assert_eq!((verified.problems, verified.unended), (vec![], 0)),
        Err(cause) => assert_eq!(cause.kind(), io::ErrorKind::NotFound),
    }
    entries
}

#[test]
fn a_class_whose_days_are_over_is_unreadable_in_journal_and_segments_alike() {
    let dir = segment_and_journal();
    // The same scans before and after: nothing that was opened is kept.
    let scans = [Purpose::Diagnostics, Purpose::Security].map(|purpose| scan(dir.path(), purpose, ""));
    let texts = |scan: &Scan| {
        let mut found = Vec::new();
        let each = |row: &Row<'_>| {
            found.push(text(row));
            ControlFlow::Continue(())
        };
        scan.newest_first(each).expect("readable");
        found
    };
    let before = scans.each_ref().map(texts);
    assert!(before[0].iter().all(|row| row.contains("user_agent.original=")));
    expire(dir.path(), &usual(), after(1), NoFaults).expect("nothing is over");
    assert_eq!(audited(dir.path()).len(), 0);
    expire(dir.path(), &usual(), after(7), NoFaults).expect("the visit tag's key is");
    assert_eq!((scans.each_ref().map(texts), live(dir.path(), KeyClass::Diag)), (before.clone(), 1));
    expire(dir.path(), &usual(), after(8), NoFaults).expect("expired");
    let seen = scans.each_ref().map(texts);
    assert_eq!(seen[0].len(), 600);
    assert!(seen[0].iter().all(|row| row.contains("url.path=") && !row.contains("user_agent.original=")));
    assert_eq!(seen[1], before[1], "other classes stay");
    assert_eq!((live(dir.path(), KeyClass::Diag), live(dir.path(), KeyClass::Visit)), (0, 0));
    let entries = audited(dir.path());
    let kinds: Vec<_> = entries.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [Kind::Destruction, Kind::End, Kind::Destruction, Kind::End]);
    let (begun, ended) = (&entries[2], &entries[3]);
    assert_eq!((begun.class.as_deref(), begun.rows, begun.keys), (Some("diag"), Some(600), Some(1)));
    assert_eq!(begun.reason.as_deref(), Some("retention of 7 days"));
    assert_eq!((ended.of, ended.outcome, ended.rows), (Some(begun.n), Some(Outcome::Complete), Some(600)));
    expire(dir.path(), &usual(), after(8), NoFaults).expect("nothing is left");
    assert_eq!(audited(dir.path()).len(), 4);
}

#[test]
fn columns_that_nobody_can_open_go_and_nothing_else() {
    let dir = segment_and_journal();
    let before = rows(dir.path(), Purpose::Security, "");
    expire(dir.path(), &usual(), after(8), NoFaults).expect("expired");
    let mut work = work(dir.path(), NoFaults);
    // Journal files that become segments now have the columns no more, and get no new key for them.
    assert_eq!(pass(&mut work, clock::now()).expect("a pass"), 1);
    assert!(!work.drop_columns(&mut manifest(dir.path()), clock::now()).expect("rewritten"));
    assert_eq!(work.stats.columns_dropped.load(Relaxed), 1);
    assert_eq!(rows(dir.path(), Purpose::Security, ""), before);
    assert_eq!(live(dir.path(), KeyClass::Diag), 0);
    for path in segments(dir.path()) {
        let reader =
            SerializedFileReader::new(std::fs::File::open(&path).expect("a file")).expect("a footer");
        let group = reader.metadata().row_group(0);
        let names: BTreeSet<_> = group.columns().iter().map(|c| c.column_path().parts()[0].clone()).collect();
        for column in COLUMNS {
            assert_eq!(names.contains(column.column), column.class != Class::Diag, "{}", column.name);
        }
    }
    assert_eq!(verify(dir.path()).expect("readable").findings, []);
    assert!(!work.drop_columns(&mut manifest(dir.path()), clock::now()).expect("nothing to do"));
    assert_eq!(work.stats.columns_dropped.load(Relaxed), 1, "once");
}

#[test]
fn a_segment_without_a_sealed_column_is_read_without_any_key() {
    let dir = segment_and_journal();
    let before = rows(dir.path(), Purpose::Support, "");
    expire(dir.path(), &usual(), after(31), NoFaults).expect("expired");
    let mut work = work(dir.path(), NoFaults);
    pass(&mut work, clock::now()).expect("a pass");
    work.drop_columns(&mut manifest(dir.path()), clock::now()).expect("rewritten");
    assert_eq!(rows(dir.path(), Purpose::Support, ""), before);
    for path in segments(dir.path()) {
        let reader =
            SerializedFileReader::new(std::fs::File::open(&path).expect("a file")).expect("a footer");
        let chunks = reader.metadata().row_group(0).columns();
        assert!(chunks.iter().all(|chunk| chunk.crypto_metadata().is_none()));
    }
    assert_eq!(verify(dir.path()).expect("readable").findings, []);
}

#[test]
fn verify_tells_destroyed_keys_from_missing_ones() {
    let dir = segment_and_journal();
    let provider: Arc<dyn KeyProvider> = keys(dir.path());
    let report = || verify_keys(dir.path(), &provider).expect("readable");
    assert_eq!(report(), KeyReport::default());
    expire(dir.path(), &usual(), after(8), NoFaults).expect("expired");
    assert_eq!((report().expired, report().missing.len()), (1, 0));
    let lost = keys(dir.path()).list().expect("keys").into_iter().find(|key| key.class == KeyClass::Sec);
    let lost = lost.expect("a key").to_string();
    std::fs::remove_file(dir.path().join(format!("keys/{lost}.key"))).expect("removed");
    let [(_, key)] = &report().missing[..] else { panic!("one") };
    assert_eq!(*key, lost);
}

#[test]
fn a_gateway_that_was_down_for_long_catches_up_when_it_starts() {
    let dir = segment_and_journal();
    let options =
        |terms| CompactorOptions { dir: dir.path().to_owned(), terms, max_bytes: u64::MAX, segments: false };
    let now = || after(40);
    let compactor = Compactor::start(options(usual()), keys(dir.path()), Arc::<Stats>::default(), now, None)
        .expect("a thread");
    let stats = compactor.stats();
    let deadline = clock::monotonic() + Duration::from_secs(60);
    while stats.retention_runs.load(Relaxed) == 0 {
        assert!(clock::monotonic() < deadline, "too long");
        std::thread::sleep(Duration::from_millis(5));
    }
    compactor.stop();
    for class in [KeyClass::Sec, KeyClass::Fraud, KeyClass::Diag, KeyClass::Ads, KeyClass::Visit] {
        assert_eq!(live(dir.path(), class), 0, "{}", class.label());
    }
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), 600);
    assert!(stats.retention_lag(now()) < DAY);
}

#[test]
fn a_gateway_that_runs_on_uses_no_key_that_was_destroyed() {
    static AHEAD: AtomicI64 = AtomicI64::new(0);
    let now = || clock::now().plus(DAY * AHEAD.load(SeqCst) as u32);
    let dir = tempfile::tempdir().expect("a folder");
    let two = JournalOptions { workers: 2, ..options(dir.path()) };
    let (journal, mut handles) = Journal::start(two, now).expect("a journal");
    write(handles.remove(0), 50, 10);
    // Nothing comes for forty days; the file is closed at the first midnight.
    AHEAD.store(40, SeqCst);
    let deadline = clock::monotonic() + Duration::from_secs(60);
    let open = || {
        files::list(&dir.path().join("journal")).expect("files").iter().any(|name| {
            let file = std::fs::File::open(&name.path).expect("a file");
            files::head(&file).expect("readable").is_some() && files::end(&file).expect("readable").is_none()
        })
    };
    while open() {
        assert!(clock::monotonic() < deadline, "too long");
        std::thread::sleep(Duration::from_millis(5));
    }
    expire(dir.path(), &usual(), now(), NoFaults).expect("expired");
    write(handles.remove(0), 50, 10);
    assert!(journal.stop());
    let seen = rows(dir.path(), Purpose::Security, "");
    let addresses: Vec<_> = seen.iter().map(|row| row.contains("client.address=")).collect();
    assert_eq!(addresses, [[true; 50], [false; 50]].concat(), "newest first");
    let tags: BTreeSet<_> =
        seen.iter().filter_map(|row| row.split("visit_tag=").nth(1)?.split(' ').next()).collect();
    assert_eq!(tags.len(), 100, "the same browsers have other tags on the other day");
    let destroyed = keys(dir.path()).destroyed().expect("keys");
    assert!(destroyed.iter().all(|key| key.day == Day::of(clock::now())), "none of the new day");
}

#[test]
fn days_go_with_their_files_and_keys() {
    let dir = segment_and_journal();
    expire(dir.path(), &usual(), after(90), NoFaults).expect("expired");
    assert_eq!((rows(dir.path(), Purpose::Support, "").len(), live(dir.path(), KeyClass::Clear)), (600, 1));
    expire(dir.path(), &usual(), after(91), NoFaults).expect("expired");
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), 0);
    assert_eq!((segments(dir.path()).len(), journal_files(dir.path())), (0, 0));
    assert_eq!(keys(dir.path()).list().expect("keys"), []);
    let left = std::fs::read_dir(dir.path().join(super::super::FOLDER)).expect("a folder");
    assert!(left.filter_map(Result::ok).all(|e| !e.file_name().as_encoded_bytes().starts_with(b"dt=")));
    let entries = audited(dir.path());
    let day = entries.iter().find(|e| e.class.as_deref() == Some("clear")).expect("an entry");
    assert_eq!((day.rows, day.method), (Some(600), Some(audit::Method::Files)));
    assert!(day.files.is_some_and(|n| n >= 2));
}

#[test]
fn a_destruction_that_a_crash_interrupted_is_finished_at_the_next_start() {
    use Step::{Ended, Intended, KeyDestroyed, ManifestSynced, ManifestWritten, Unlinked};
    for (step, days) in [
        (Intended, 8),
        (KeyDestroyed, 8),
        (Ended, 8),
        (Intended, 91),
        (ManifestWritten, 91),
        (ManifestSynced, 91),
        (Unlinked, 91),
        (KeyDestroyed, 91),
        (Ended, 91),
    ] {
        let dir = segment_and_journal();
        expire(dir.path(), &usual(), after(days), StopAt(step)).expect_err("stopped");
        expire(dir.path(), &usual(), after(days), NoFaults).expect("finished");
        // Every intention has exactly one end; a later run finds nothing to do.
        let entries = audited(dir.path());
        let ends = entries.iter().filter(|e| e.kind == Kind::End).count();
        assert_eq!(ends * 2, entries.len(), "{step:?} {days}");
        let begun: BTreeSet<_> = entries
            .iter()
            .filter(|e| e.kind == Kind::Destruction)
            .map(|e| (e.class.clone(), e.day.clone()))
            .collect();
        assert_eq!(begun.len(), ends, "each once: {step:?} {days}");
        expire(dir.path(), &usual(), after(days), NoFaults).expect("nothing to do");
        assert_eq!(audited(dir.path()).len(), entries.len());
        assert_eq!(live(dir.path(), KeyClass::Diag), 0, "{step:?} {days}");
        let left = if days == 8 { 600 } else { 0 };
        assert_eq!(rows(dir.path(), Purpose::Support, "").len(), left, "{step:?} {days}");
        assert_eq!(verify(dir.path()).expect("readable").findings, [], "{step:?} {days}");
    }
}

#[test]
fn a_hold_wins_and_is_told_once() {
    let dir = segment_and_journal();
    let today = Day::of(clock::now());
    let hold = Hold { name: "case 7".into(), from: today, until: today, classes: vec![Class::Sec] };
    let held = Terms::new([90, 30, 30, 7, 30], [0; 5], vec![hold]);
    for days in [31, 32, 91, 4000] {
        expire(dir.path(), &held, after(days), NoFaults).expect("expired");
        let seen = rows(dir.path(), Purpose::Security, "");
        assert_eq!(seen.len(), 600, "{days}");
        assert!(seen.iter().all(|row| row.contains("client.address=")), "{days}");
    }
    assert_eq!((live(dir.path(), KeyClass::Sec), live(dir.path(), KeyClass::Fraud)), (1, 0));
    let told: Vec<_> = audited(dir.path()).into_iter().filter(|e| e.kind == Kind::Hold).collect();
    let classes: Vec<_> = told.iter().map(|e| e.class.as_deref().unwrap_or_default()).collect();
    assert_eq!(classes, ["sec", "clear", "ops"], "once for each");
    assert!(told.iter().all(|e| e.reason.as_deref() == Some("legal hold case 7")));
    // The hold is taken out: what was held goes.
    expire(dir.path(), &usual(), after(4001), NoFaults).expect("expired");
    assert_eq!(
        (rows(dir.path(), Purpose::Support, "").len(), keys(dir.path()).list().expect("keys").len()),
        (0, 0)
    );
}

#[test]
fn a_hold_that_came_after_the_intention_still_wins() {
    let dir = segment_and_journal();
    expire(dir.path(), &usual(), after(31), StopAt(Step::Intended)).expect_err("stopped");
    let today = Day::of(clock::now());
    let hold = Hold { name: "case 8".into(), from: today, until: today, classes: Vec::new() };
    let held = Terms::new([90, 30, 30, 7, 30], [0; 5], vec![hold]);
    expire(dir.path(), &held, after(31), NoFaults).expect("held");
    assert_eq!(live(dir.path(), KeyClass::Sec), 1);
    let entries = audited(dir.path());
    assert_eq!((entries[1].of, entries[1].outcome), (Some(entries[0].n), Some(Outcome::Broken)));
}

#[test]
fn nothing_is_destroyed_without_an_entry_in_the_audit_log() {
    let dir = segment_and_journal();
    std::fs::write(dir.path().join("audit"), "in the way").expect("written");
    let wrong = expire(dir.path(), &usual(), after(91), NoFaults).expect_err("no log");
    assert!(matches!(wrong, SegmentError::Audit(_) | SegmentError::File(_)), "{wrong}");
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), 600);
    assert_eq!(live(dir.path(), KeyClass::Diag), 1);
    std::fs::remove_file(dir.path().join("audit")).expect("removed");
    expire(dir.path(), &usual(), after(91), NoFaults).expect("tried again");
    assert_eq!(rows(dir.path(), Purpose::Support, "").len(), 0);
}

/// Keys in memory: three years of key files would only test the file system.
#[derive(Debug, Default)]
struct Remembered(Mutex<(BTreeSet<KeyId>, BTreeSet<KeyId>)>);

impl KeyProvider for Remembered {
    fn current(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        let key = KeyId { class, day, generation: 0 };
        self.0.lock().expect("one at a time").0.insert(key);
        Ok(key)
    }

    fn wrap(&self, _: &KeyId, _: &Dek) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::Cipher)
    }

    fn unwrap(&self, _: Permitted<'_>, _: &[u8]) -> Result<Dek, KeyError> {
        Err(KeyError::Cipher)
    }

    fn rotate(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        self.current(class, day)
    }

    fn destroy(&self, key: &KeyId) -> Result<bool, KeyError> {
        let mut keys = self.0.lock().expect("one at a time");
        let lived = keys.0.remove(key);
        keys.1.insert(*key);
        Ok(lived)
    }

    fn list(&self) -> Result<Vec<KeyId>, KeyError> {
        Ok(self.0.lock().expect("one at a time").0.iter().copied().collect())
    }

    fn destroyed(&self) -> Result<Vec<KeyId>, KeyError> {
        Ok(self.0.lock().expect("one at a time").1.iter().copied().collect())
    }

    fn forget(&self, key: &KeyId) -> Result<bool, KeyError> {
        Ok(self.0.lock().expect("one at a time").1.remove(key))
    }

    fn lasting(&self, _: Lasting) -> Result<Vec<Version>, KeyError> {
        Err(KeyError::Cipher)
    }

    fn renew(&self, _: Lasting) -> Result<u32, KeyError> {
        Err(KeyError::Cipher)
    }
}

fn on(day: i64) -> Timestamp {
    Timestamp::from_secs(day * 86_400 + 3600)
}

/// A segment of a day that only has a name: its content is not looked at.
fn add_day(folder: &Path, manifest: &mut Manifest, day: i64) {
    let dt = format!("dt={}", Day::of(on(day)));
    std::fs::create_dir(folder.join(&dt)).expect("a folder");
    let file = format!("{dt}/01-node-{day}.parquet");
    std::fs::write(folder.join(&file), "").expect("written");
    let entry = Entry {
        file,
        bytes: 0,
        sha256: String::new(),
        rows: 1,
        erased: 0,
        instance: 1,
        first_seq: day as u64,
        last_seq: day as u64,
        first_ts: on(day).as_micros(),
        last_ts: on(day).as_micros(),
        earliest: on(day).as_micros(),
        schema: 1,
        node: "node".into(),
        keys: Vec::new(),
    };
    manifest.append(folder, Change::Add(entry), 0, &NoFaults).expect("appended");
}

#[test]
fn over_three_years_every_key_and_folder_exists_exactly_as_long_as_the_terms_say() {
    const FIRST: i64 = 20_000;
    const HELD: std::ops::RangeInclusive<i64> = FIRST + 400..=FIRST + 420;
    let memory = Path::new("/dev/shm");
    let dir =
        if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
    let keys = Arc::new(Remembered::default());
    let work = Work { keys: Arc::clone(&keys) as Arc<dyn KeyProvider>, ..work(dir.path(), NoFaults) };
    let folder = work.folder().expect("a folder");
    let mut manifest = manifest(dir.path());
    let hold = Hold {
        name: "case".into(),
        from: Day::of(on(FIRST + 400)),
        until: Day::of(on(FIRST + 420)),
        classes: vec![],
    };
    let with = Terms::new([90, 30, 30, 7, 30], [0, 0, 0, 10, 0], vec![hold]);
    // The hold is taken out after two years.
    let (mut early, mut late) =
        (Expiry::new(with), Expiry::new(Terms::new([90, 30, 30, 7, 30], [0, 0, 0, 10, 0], vec![])));
    for today in FIRST..FIRST + 3 * 365 {
        for class in KeyClass::ALL {
            keys.current(class, Day::of(on(today))).expect("a key");
        }
        add_day(&folder, &mut manifest, today);
        // For forty days nobody runs; the next run catches up.
        if (FIRST + 600..FIRST + 640).contains(&today) {
            continue;
        }
        let expiry = if today < FIRST + 730 { &mut early } else { &mut late };
        work.expire(expiry, &mut manifest, on(today), &Stats::default()).expect("expired");
        let stays = |class: KeyClass, day: i64| {
            let days = match class {
                KeyClass::Clear | KeyClass::Ops => 90,
                KeyClass::Sec | KeyClass::Fraud | KeyClass::Ads => 30,
                KeyClass::Diag => 10,
                KeyClass::Visit => return today - day < 2,
            };
            today - day <= days || HELD.contains(&day) && today < FIRST + 730
        };
        let all = (FIRST..=today).flat_map(|day| KeyClass::ALL.map(|class| (class, day)));
        let (live, gone): (Vec<_>, Vec<_>) = all.partition(|(class, day)| stays(*class, *day));
        let sorted = |keys: Vec<(KeyClass, i64)>| {
            let key = |(class, day)| KeyId { class, day: Day::of(on(day)), generation: 0 };
            keys.into_iter().map(key).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(keys.list().expect("keys"), sorted(live), "day {}", today - FIRST);
        // The names of those that were destroyed are remembered for 400 days after the last term.
        let gone = gone.into_iter().filter(|(_, day)| today - day <= 90 + 400).collect();
        assert_eq!(keys.destroyed().expect("keys"), sorted(gone), "day {}", today - FIRST);
        let days: BTreeSet<String> = (FIRST..=today)
            .filter(|day| stays(KeyClass::Clear, *day))
            .map(|day| format!("dt={}", Day::of(on(day))))
            .collect();
        assert_eq!(day_folders(&folder), days, "day {}", today - FIRST);
        assert_eq!(manifest.entries().len(), days.len());
    }
    let entries = audited(dir.path());
    let told =
        entries.iter().filter(|e| e.kind == Kind::Hold && e.reason.as_deref() == Some("legal hold case"));
    assert_eq!(told.count(), 21 * 6, "each class of each held day once");
}

fn day_folders(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    names.filter_map(|e| e.file_name().into_string().ok()).filter(|name| name.starts_with("dt=")).collect()
}

#[test]
fn what_gap_records_of_a_removed_segment_said_is_told_again_and_the_audit_log_tells_of_it() {
    use crate::record::Kind;
    use crate::store::LossReason::{Quota, RingFull};
    let dir = tempfile::tempdir().expect("a folder");
    for lost in [7, 0] {
        let (journal, handle) = start(dir.path());
        if lost > 0 {
            journal.stats().lose(Kind::Open, RingFull, lost, Timestamp::from_secs(5));
        }
        write(handle, 300, 100);
        assert!(journal.stop());
        compact(dir.path());
    }
    let (stats, work) = (Stats::default(), work(dir.path(), NoFaults));
    let newest = std::fs::metadata(&segments(dir.path())[1]).expect("a file").len();
    work.retire(&mut manifest(dir.path()), clock::now(), (&Terms::days(1), newest), &stats).expect("retired");
    assert_eq!(Kind::ALL.map(|kind| stats.dropped(kind, Quota)), [0, 300, 0, 0, 0]);
    assert_eq!(stats.dropped(Kind::Open, RingFull), 0, "counted by the process that lost them");
    let notes = stats.take_again();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert_eq!((note.reason, note.kind, note.count), (RingFull, Some(Kind::Open), Some(7)));
    assert_eq!(note.first, Some(Timestamp::from_secs(5)));
    let mut entries = Vec::new();
    audit::verify(dir.path(), |entry, _| entries.push((entry.kind, entry.rows))).expect("an audit log");
    assert_eq!(entries, [(audit::Kind::Destruction, Some(301)), (audit::Kind::End, Some(301))]);
}
