//! Files that are not what was written: nothing else is lost for them, and they are told by name.

use rustix::fs::{CWD, FileType, Mode};

use super::*;
use crate::seal::KeyProvider;
use crate::store::segments::manifest::{NAME, Removed};
use crate::store::segments::verify_keys;
use crate::store::verify::{verify_journal, verify_other_keys};

/// What a scan shows, and which files it says are damaged.
fn read(dir: &Path) -> (usize, BTreeSet<PathBuf>) {
    let mut shown = 0;
    let seen = scan(dir, Purpose::Support, "").newest_first(|_| {
        shown += 1;
        ControlFlow::Continue(())
    });
    (shown, seen.expect("readable").damaged)
}

/// The segment files, whatever the manifest says.
fn on_disk(dir: &Path) -> usize {
    let files = super::super::listed(&dir.join(super::super::FOLDER)).expect("a folder");
    files.iter().filter(|file| file.ends_with(".parquet")).count()
}

/// Two segments of so many rows each.
fn two_segments(count: u64) -> tempfile::TempDir {
    let dir = filled(count);
    compact(dir.path());
    let (journal, handle) = start(dir.path());
    write(handle, count, 100);
    assert!(journal.stop());
    compact(dir.path());
    assert_eq!(segments(dir.path()).len(), 2);
    dir
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("a file");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_manifest_that_is_lost_emptied_or_cut_costs_no_segment_and_is_told() {
    let dir = two_segments(300);
    let manifest = dir.path().join(super::super::FOLDER).join(NAME);
    let whole = std::fs::read(&manifest).expect("a manifest");
    let second = whole.iter().position(|b| *b == b'\n').expect("a line") + 1;
    for (left, unlisted) in [(None, 2), (Some(0), 2), (Some(second), 1), (Some(second + 9), 1)] {
        match left {
            Some(left) => std::fs::write(&manifest, &whole[..left]).expect("written"),
            None => std::fs::remove_file(&manifest).expect("removed"),
        }
        let work = work(dir.path(), NoFaults);
        assert_eq!(work.sweep().expect("swept"), 0, "{left:?}");
        assert_eq!(on_disk(dir.path()), 2, "{left:?}");
        assert_eq!(work.stats.unlisted.load(Relaxed), unlisted);
        assert!(matches!(work.accounted(), Err(SegmentError::Unlisted(n)) if n == unlisted));
        let findings = verify(dir.path()).expect("readable").findings;
        assert_eq!(findings.len() as u64, unlisted, "{findings:?}");
        assert!(findings.iter().all(|f| matches!(f, Finding::Unlisted(_))), "{findings:?}");
        let (shown, damaged) = read(dir.path());
        assert_eq!((shown as u64, damaged.len() as u64), (300 * (2 - unlisted), unlisted), "{left:?}");
    }
    std::fs::write(&manifest, whole).expect("put back");
    let work = work(dir.path(), NoFaults);
    assert_eq!(work.sweep().expect("swept"), 0);
    work.accounted().expect("whole");
    assert_eq!(
        (read(dir.path()), verify(dir.path()).expect("readable").findings),
        ((600, BTreeSet::new()), vec![])
    );
}

#[test]
fn a_segment_that_the_manifest_gave_up_goes_though_its_records_are_nowhere() {
    let dir = two_segments(100);
    let file = manifest(dir.path()).entries()[0].file.clone();
    let dies = work(dir.path(), StopAt(Step::ManifestSynced));
    dies.forget(&mut manifest(dir.path()), &file, Removed::Size, clock::now()).expect_err("stopped");
    assert_eq!(on_disk(dir.path()), 2);
    assert_eq!(
        (read(dir.path()).1, verify(dir.path()).expect("readable").findings),
        (BTreeSet::new(), vec![])
    );
    let work = work(dir.path(), NoFaults);
    assert_eq!(work.sweep().expect("swept"), 2, "the segment and its index");
    work.accounted().expect("nothing else is missing");
}

#[test]
fn a_day_that_is_over_takes_segments_without_a_line_along() {
    let dir = two_segments(100);
    std::fs::remove_file(dir.path().join(super::super::FOLDER).join(NAME)).expect("removed");
    let mut expiry = super::super::expire::Expiry::new(Terms::days(30));
    let work = work(dir.path(), NoFaults);
    let later = clock::now().plus(Duration::from_secs(40 * 86_400));
    work.expire(&mut expiry, &mut manifest(dir.path()), later, &Stats::default()).expect("done");
    assert_eq!(on_disk(dir.path()), 0);
}

#[test]
fn one_damaged_segment_stops_no_read_and_is_named() {
    let dir = two_segments(300);
    let path = segments(dir.path()).remove(0);
    let whole = std::fs::read(&path).expect("a file");
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 100);
    // The footer stays whole, so the file opens.
    let hurt = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[4..middle].fill(0xff);
    };
    for how in [&cut as &dyn Fn(&mut Vec<u8>), &hurt] {
        change(&path, how);
        let named = BTreeSet::from([path.clone()]);
        assert_eq!(read(dir.path()), (300, named.clone()));
        let of = scan(dir.path(), Purpose::Support, "");
        let (sums, seen) = of.fold(|| 0_u64, |sum, _| *sum += 1).expect("readable");
        assert_eq!((sums.iter().sum(), seen.damaged), (300_u64, named.clone()));
        let field = Column::by_name("url.path").expect("a column");
        let top = || TopOf::new(Top::new(field.ty, By::Hits, Limits::default()), field, None);
        let (_, seen) = scan(dir.path(), Purpose::Support, "").gather(top).expect("readable");
        assert_eq!((seen.matched >= 300, seen.damaged), (true, named));
        std::fs::write(&path, &whole).expect("written");
    }
    assert_eq!(read(dir.path()), (600, BTreeSet::new()));
}

#[test]
fn a_damaged_head_of_a_journal_file_is_told_and_a_spare_is_not() {
    let dir = filled(3000);
    let listed = files::list(&dir.path().join("journal")).expect("files");
    let (all, damaged) = read(dir.path());
    assert_eq!((all, damaged.len()), (3000, 0));
    let spare = dir.path().join("journal/000077-000000.kjl");
    std::fs::write(&spare, vec![0; 1 << 16]).expect("written");
    assert_eq!(read(dir.path()), (3000, BTreeSet::new()));
    let hurt = &listed[1].path;
    for at in [0, 5, 40, 90] {
        change(hurt, |bytes| bytes[at] ^= 4);
        let (shown, damaged) = read(dir.path());
        assert!(shown < 3000);
        assert_eq!(damaged, BTreeSet::from([hurt.clone()]), "byte {at}");
        change(hurt, |bytes| bytes[at] ^= 4);
    }
    // A beginning without a byte is not that of a spare: the file has an end.
    change(hurt, |bytes| {
        let end = bytes.len() - 44;
        bytes[..end].fill(0);
    });
    assert_eq!(read(dir.path()).1, BTreeSet::from([hurt.clone()]));
}

/// A gateway's compactor: what it finds is told by the journal.
fn gateway(dir: &Path, journal: &Arc<Stats>) -> Work {
    Work { journal: Some(Arc::clone(journal)), ..work(dir, NoFaults) }
}

#[test]
fn what_a_closed_file_lost_is_counted_copied_and_told_once() {
    let lost =
        |stats: &Stats| stats.dropped(crate::record::Kind::Unknown, crate::store::LossReason::TornTail);
    for at_head in [false, true] {
        let dir = filled(3000);
        let journal = dir.path().join("journal");
        let listed = files::list(&journal).expect("files");
        let hurt = &listed[1].path;
        let (first, end) = {
            let file = std::fs::File::open(hurt).expect("a file");
            let (head, _) = files::head(&file).expect("readable").expect("a head");
            (head.first_seq, files::end(&file).expect("readable").expect("an end"))
        };
        change(hurt, |bytes| {
            let at = if at_head { 40 } else { bytes.len() / 2 };
            bytes[at] ^= 0x40;
        });
        let readable = read(dir.path()).0 as u64;
        let stats = Arc::new(Stats::default());
        let mut compactor = gateway(dir.path(), &stats);
        pass(&mut compactor, clock::now()).expect("a pass");
        pass(&mut compactor, clock::now()).expect("a pass");
        assert_eq!(lost(&stats), 3000 - readable, "at head: {at_head}");
        assert!(!at_head || lost(&stats) == end.next_seq - first);
        assert!(stats.torn_bytes.load(Relaxed) > 0);
        assert_eq!(compactor.stats.damaged.load(Relaxed), 1);
        assert!(hurt.exists(), "it stays");
        assert_eq!(std::fs::read_dir(journal.join("quarantine")).expect("a folder").count(), 1);
        let again = Arc::new(Stats::default());
        pass(&mut gateway(dir.path(), &again), clock::now()).expect("a pass");
        assert_eq!((lost(&again), again.torn_bytes.load(Relaxed)), (0, 0), "told before");
    }
}

#[test]
fn a_file_that_lost_its_end_is_recovered_by_the_next_start_and_told() {
    let dir = filled(3000);
    let listed = files::list(&dir.path().join("journal")).expect("files");
    let cut = listed[1].path.clone();
    change(&cut, |bytes| bytes.truncate(bytes.len() * 2 / 3));
    let readable = read(dir.path()).0 as u64;
    assert!(readable < 3000);
    let (journal, handle) = start(dir.path());
    drop(handle);
    assert!(journal.stop());
    let gaps =
        |filter: &str| scan(dir.path(), Purpose::Support, filter).newest_first(|_| ControlFlow::Continue(()));
    let seen = gaps("").expect("readable");
    assert_eq!((seen.missing, seen.damaged), (3000 - readable, BTreeSet::new()));
    assert_eq!(verify_journal(dir.path()).expect("readable").findings, []);
    compact(dir.path());
    assert_eq!((journal_files(dir.path()), read(dir.path()).0 as u64), (0, readable));
}

#[test]
fn verify_finds_what_is_wrong_with_journal_files_without_a_key() {
    let dir = filled(3000);
    std::fs::remove_dir_all(dir.path().join("keys")).expect("removed");
    let listed = files::list(&dir.path().join("journal")).expect("files");
    let found = || verify_journal(dir.path()).expect("readable");
    let clean = found();
    assert_eq!((clean.findings, clean.files), (vec![], listed.len() as u64));
    let hurt = &listed[1].path;
    let whole = std::fs::read(hurt).expect("a file");
    let name = hurt.file_name().expect("a name").to_string_lossy().into_owned();
    for (at, fault) in [(40, "its head is damaged"), (whole.len() / 2, "it is damaged before its end")] {
        change(hurt, |bytes| bytes[at] ^= 1);
        assert_eq!(found().findings, [(name.clone(), fault)]);
        std::fs::write(hurt, &whole).expect("put back");
    }
    change(hurt, |bytes| bytes.truncate(bytes.len() - 44));
    assert_eq!(found().findings, [(name, "its end is missing")]);
}

#[test]
fn what_is_no_file_stops_no_start_and_no_read_and_is_told() {
    let dir = two_segments(300);
    let pipe = |path: &Path| {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    };
    pipe(&dir.path().join("journal/000009-000001.kjl"));
    let [first, _] = &segments(dir.path())[..] else { panic!("two") };
    std::fs::remove_file(first).expect("removed");
    pipe(first);
    let (shown, damaged) = read(dir.path());
    assert_eq!((shown, damaged), (300, BTreeSet::from([first.clone()])));
    let findings = verify(dir.path()).expect("readable").findings;
    assert!(matches!(findings[..], [Finding::Unreadable(_)]), "{findings:?}");
    let told = verify_journal(dir.path()).expect("readable").findings;
    assert!(matches!(&told[..], [(name, _)] if name == "000009-000001.kjl"), "{told:?}");
    // A start goes on, and no number comes twice.
    let (journal, handle) = start(dir.path());
    write(handle, 100, 100);
    assert!(journal.stop());
    assert_eq!(read(dir.path()).0, 400);
    let names = files::list(&dir.path().join("journal")).expect("a list");
    assert!(names.iter().all(|name| name.instance > 9), "{names:?}");
}

#[test]
fn verify_finds_a_key_that_was_overwritten_or_cut() {
    let dir = two_segments(300);
    let (journal, handle) = start(dir.path());
    write(handle, 100, 100);
    assert!(journal.stop());
    let provider: Arc<dyn KeyProvider> = keys(dir.path());
    let told = || {
        let of_segments = verify_keys(dir.path(), &provider).expect("readable");
        assert_eq!(of_segments.missing, []);
        let others = verify_other_keys(dir.path(), &provider).expect("readable");
        of_segments.unfit.into_iter().chain(others).collect::<Vec<_>>()
    };
    assert_eq!(told(), []);
    for key in provider.list().expect("keys") {
        let path = dir.path().join(format!("keys/{key}.key"));
        let whole = std::fs::read(&path).expect("a key");
        for bytes in [&[7; 32][..], &whole[..16]] {
            std::fs::write(&path, bytes).expect("written");
            let found = told();
            // Tags of visits are opened by nobody, and the footer is in the clear.
            let opens_nothing =
                key.class == KeyClass::Visit || (key.class == KeyClass::Ops && bytes.len() == 32);
            assert_eq!(found.is_empty(), opens_nothing, "{key}: {found:?}");
        }
        std::fs::write(&path, whole).expect("written");
    }
    assert_eq!(told(), []);
}
