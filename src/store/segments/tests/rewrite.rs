//! A segment written anew shows what remains exactly once, whatever falls between.

use super::super::rewrite::Rewriter;
use super::super::{Change, Editor, Entry, Rewritten, SegmentError, Without};
use super::*;
use crate::record::Class;
use crate::seal::{KeyId, KeyProvider};

fn erasing(rows: impl IntoIterator<Item = u64>) -> Without {
    Without { rows: rows.into_iter().collect(), columns: Vec::new(), reason: Rewritten::Erased }
}

/// Writes the first segment of a folder anew.
fn rewrite(dir: &Path, without: &Without, faults: &dyn Faults) -> Result<Entry, SegmentError> {
    let folder = dir.join(super::super::FOLDER);
    let mut manifest = Manifest::read(&folder)?;
    let old = manifest.entries()[0].clone();
    let keys: Arc<dyn KeyProvider> = keys(dir);
    let rewriter = Rewriter { folder: &folder, keys: &keys, stop: &AtomicBool::new(false), faults };
    rewriter.rewrite(&mut manifest, &old, without, clock::now())
}

/// A folder with one segment, and the numbers of its rows.
fn one_segment(count: u64) -> (tempfile::TempDir, Vec<u64>) {
    let dir = filled(count);
    assert_eq!(compact(dir.path()), 1);
    let numbers = folded(dir.path()).into_keys().collect();
    (dir, numbers)
}

/// What a purpose sees of the rows whose place in the list is not erased, newest first.
fn remaining(rows: &[String], erased: impl Fn(usize) -> bool) -> Vec<String> {
    let oldest_first = rows.iter().rev().enumerate().filter(|(n, _)| !erased(*n));
    let mut left: Vec<_> = oldest_first.map(|(_, row)| row.clone()).collect();
    left.reverse();
    left
}

#[test]
fn erased_rows_are_gone_and_every_other_value_is_as_it_was() {
    let (dir, numbers) = one_segment(3000);
    let purposes = [Purpose::Support, Purpose::Security, Purpose::Fraud, Purpose::Diagnostics];
    let before = purposes.map(|purpose| rows(dir.path(), purpose, ""));
    let erased = |n: usize| n % 3 == 1 || !(10..2990).contains(&n);
    let gone = numbers.iter().copied().enumerate().filter(|(n, _)| erased(*n)).map(|(_, seq)| seq);
    let new = rewrite(dir.path(), &erasing(gone), &NoFaults).expect("rewritten");
    for (purpose, before) in purposes.iter().zip(&before) {
        assert_eq!(rows(dir.path(), *purpose, ""), remaining(before, erased), "{purpose}");
    }
    assert_eq!((new.first_seq, new.last_seq), (numbers[0], numbers[2999]), "it covers what it covered");
    assert_eq!(new.rows + new.erased, 3000);
    assert_eq!(segments(dir.path()).len(), 1);
    let day = segments(dir.path())[0].parent().expect("a folder").to_owned();
    assert_eq!(std::fs::read_dir(day).expect("a folder").count(), 2, "the old file and its index are gone");
    let report = verify(dir.path()).expect("readable");
    assert_eq!((report.findings, report.records, report.erased), (vec![], new.rows, new.erased));
}

#[test]
fn erasing_goes_on_where_it_ended_and_down_to_nothing() {
    let (dir, numbers) = one_segment(300);
    let first = rewrite(dir.path(), &erasing(numbers[..100].to_vec()), &NoFaults).expect("rewritten");
    let second = rewrite(dir.path(), &erasing(numbers[50..].to_vec()), &NoFaults).expect("rewritten");
    assert!(first.file.ends_with(".r1.parquet") && second.file.ends_with(".r2.parquet"), "{}", second.file);
    assert_eq!((second.rows, second.erased), (0, 300));
    assert_eq!((rows(dir.path(), Purpose::Security, "").len(), folded(dir.path()).len()), (0, 0));
    let report = verify(dir.path()).expect("readable");
    assert_eq!((report.findings, report.records, report.erased), (vec![], 0, 300));
}

#[test]
fn a_crash_after_any_step_of_a_rewrite_shows_every_row_once() {
    use Step::{Begun, Done, FileSynced, ManifestSynced, ManifestWritten, NameSynced, Renamed, Unlinked};
    for step in [Begun, FileSynced, Renamed, NameSynced, ManifestWritten, ManifestSynced, Unlinked, Done] {
        let (dir, numbers) = one_segment(600);
        let before = rows(dir.path(), Purpose::Security, "");
        let without = erasing(numbers[..200].to_vec());
        rewrite(dir.path(), &without, &StopAt(step)).expect_err("stopped");
        let holds = matches!(step, ManifestWritten | ManifestSynced | Unlinked | Done);
        let wanted = remaining(&before, |n| holds && n < 200);
        assert_eq!(rows(dir.path(), Purpose::Security, ""), wanted, "{step:?}");
        assert!(folded(dir.path()).values().all(|n| *n == 1), "{step:?}");
        // Whoever works next cleans up and may begin anew.
        let keys = keys(dir.path());
        let mut editor = Editor::wait(dir.path(), keys, Duration::ZERO).expect("free");
        let old = editor.entries()[0].clone();
        assert_eq!(old.erased, if holds { 200 } else { 0 }, "{step:?}");
        editor.rewrite(&old, &without, clock::now()).expect("rewritten");
        drop(editor);
        assert_eq!(rows(dir.path(), Purpose::Security, ""), remaining(&before, |n| n < 200), "{step:?}");
        let day = segments(dir.path())[0].parent().expect("a folder").to_owned();
        assert_eq!(std::fs::read_dir(day).expect("a folder").count(), 2, "{step:?}");
        assert_eq!(verify(dir.path()).expect("readable").findings, [], "{step:?}");
    }
}

#[test]
fn a_rewrite_uses_the_newest_key_and_leaves_out_what_nobody_can_open() {
    let (dir, _) = one_segment(300);
    let keys = keys(dir.path());
    let of = |class| keys.list().expect("keys").into_iter().find(|k| k.class == class).expect("a key");
    let (sec, diag): (KeyId, KeyId) = (of(KeyClass::Sec), of(KeyClass::Diag));
    let newer = keys.rotate(sec.class, sec.day).expect("a key");
    assert!(keys.destroy(&diag).expect("destroyed"));
    let before = rows(dir.path(), Purpose::Security, "");
    let nothing = Without { rows: BTreeSet::new(), columns: Vec::new(), reason: Rewritten::Keys };
    let new = rewrite(dir.path(), &nothing, &NoFaults).expect("rewritten");
    assert!(new.keys.contains(&newer.to_string()) && !new.keys.contains(&sec.to_string()), "{:?}", new.keys);
    assert!(!new.keys.iter().any(|key| key.starts_with("diag/")), "{:?}", new.keys);
    assert!(
        keys.list().expect("keys").iter().all(|k| k.class != KeyClass::Diag),
        "no new key for what is over"
    );
    // The old generation is needed no more.
    assert!(keys.destroy(&sec).expect("destroyed"));
    assert_eq!(rows(dir.path(), Purpose::Security, ""), before);
    let file = std::fs::File::open(&segments(dir.path())[0]).expect("a file");
    let reader = SerializedFileReader::new(file).expect("a footer");
    let names: BTreeSet<_> =
        reader.metadata().row_group(0).columns().iter().map(|c| c.column_path().parts()[0].clone()).collect();
    for column in COLUMNS {
        assert_eq!(names.contains(column.column), column.class != Class::Diag, "{}", column.name);
    }
}

#[test]
fn a_named_column_can_be_left_out() {
    let (dir, _) = one_segment(300);
    let columns: Vec<_> = COLUMNS.iter().filter(|c| c.name == "client.address").collect();
    let without = Without { rows: BTreeSet::new(), columns, reason: Rewritten::Erased };
    rewrite(dir.path(), &without, &NoFaults).expect("rewritten");
    let seen = rows(dir.path(), Purpose::Security, "");
    assert_eq!(seen.len(), 300);
    assert!(seen.iter().all(|row| row.contains("url.path=") && !row.contains("client.address=")));
}

#[test]
fn a_segment_stays_when_something_else_would_be_lost() {
    let (dir, numbers) = one_segment(300);
    let before = rows(dir.path(), Purpose::Security, "");
    let keys = dir.path().join("keys/fraud");
    let away = dir.path().join("elsewhere");
    std::fs::rename(&keys, &away).expect("renamed");
    let without = erasing(numbers[..5].to_vec());
    let wrong = rewrite(dir.path(), &without, &NoFaults).expect_err("a key is missing");
    assert!(matches!(wrong, SegmentError::Locked(_)), "{wrong}");
    std::fs::remove_dir(&keys).expect("empty");
    std::fs::rename(&away, &keys).expect("renamed");
    let folder = dir.path().join(super::super::FOLDER);
    let mut manifest = Manifest::read(&folder).expect("a manifest");
    let old = manifest.entries()[0].clone();
    let newer = Entry { schema: u32::MAX, ..old.clone() };
    let change = Change::Replace { old: old.file, reason: Rewritten::Keys, new: newer };
    manifest.append(&folder, change, 5, &NoFaults).expect("appended");
    let wrong = rewrite(dir.path(), &without, &NoFaults).expect_err("a newer version");
    assert!(matches!(wrong, SegmentError::Newer(_)), "{wrong}");
    assert_eq!(rows(dir.path(), Purpose::Security, ""), before);
}

#[test]
fn readers_see_every_row_once_while_segments_are_written_anew() {
    let (dir, numbers) = one_segment(2000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rewriting = scope.spawn(|| {
            let nothing = Without { rows: BTreeSet::new(), columns: Vec::new(), reason: Rewritten::Keys };
            let mut times = 0;
            while !stop.load(Relaxed) {
                rewrite(dir.path(), &nothing, &NoFaults).expect("rewritten");
                times += 1;
            }
            times
        });
        for _ in 0..40 {
            let found = folded(dir.path());
            assert!(found.values().all(|n| *n == 1), "twice");
            assert_eq!(found.len(), numbers.len());
            assert_eq!(rows(dir.path(), Purpose::Security, "").len(), numbers.len());
            assert_eq!(verify(dir.path()).expect("readable").findings, []);
        }
        stop.store(true, Relaxed);
        assert!(rewriting.join().expect("a thread") > 1);
    });
}

#[test]
fn a_command_waits_for_the_compactor_and_not_for_ever() {
    let (dir, _) = one_segment(10);
    let folder = dir.path().join(super::super::FOLDER);
    let held = Sole::try_take(&folder).expect("a lock").expect("free");
    let taken = Editor::wait(dir.path(), keys(dir.path()), Duration::from_millis(50)).map(drop);
    let wrong = taken.expect_err("somebody has it");
    assert!(
        matches!(&wrong, SegmentError::File(cause) if cause.kind() == io::ErrorKind::TimedOut),
        "{wrong}"
    );
    drop(held);
    Editor::wait(dir.path(), keys(dir.path()), Duration::ZERO).map(drop).expect("free");
}
