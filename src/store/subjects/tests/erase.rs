//! What an erasure promises, one test per sentence.

use super::*;
use crate::store::holds::Holds;

/// Every record in every file, with all keys and without tombstones, that is of one of Anna's pages.
fn left_of_anna(dir: &Path) -> usize {
    let copied = tempfile::tempdir().expect("a folder");
    copy(dir, copied.path());
    std::fs::remove_dir_all(copied.path().join(book::FOLDER)).expect("removed");
    std::fs::remove_file(promise::path(copied.path())).expect("removed");
    let all = everything(copied.path());
    of(&all, "/anna/").values().map(Vec::len).sum()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn erase_now(dir: &Path, visitor: [u8; 16], rotate: bool, stop: Stop<'_>) -> Result<Erased, SubjectError> {
    let person = person(dir, visitor);
    let how = How { rotate, ..How::default() };
    erase((dir, &keys(dir)), (&person, how), clock::now, stop, &mut |_| ())
}

#[test]
fn what_is_held_is_erased_only_by_who_says_so() {
    let dir = filled(4);
    let today = crate::seal::Day::of(clock::now());
    let hold = crate::store::Hold { name: "case 7".into(), from: today, until: today, classes: Vec::new() };
    let terms = Terms::new([90; 5], [0; 5], vec![hold]);
    Holds::of(&terms).write(dir.path()).expect("written");
    let before = everything(dir.path());
    let error = erase_now(dir.path(), ANNA, false, &|_| Ok(())).expect_err("held");
    assert!(matches!(&error, SubjectError::Held(days) if days.len() == 1), "{error}");
    assert!(error.to_string().contains("legal hold case 7"), "{error}");
    assert_eq!(everything(dir.path()), before, "neither erased nor hidden");
    assert_eq!(Book::read(dir.path()).expect("a book").tombstones().count(), 0);
    // Somebody of whom nothing is held is not kept.
    erase_now(dir.path(), [9; 16], false, &|_| Ok(())).expect("nothing to keep");
    let how = How { despite_holds: true, ..How::default() };
    let whose = person(dir.path(), ANNA);
    let die = |at: &str| if at == "resolved" { Err(io::Error::other("died")) } else { Ok(()) };
    erase((dir.path(), &keys(dir.path())), (&whose, how), clock::now, &die, &mut |_| ()).expect_err("died");
    // What was ordered is finished: by whoever repeats it, as by the next gateway.
    let erased = erase_now(dir.path(), ANNA, false, &|_| Ok(())).expect("finished");
    assert_eq!(erased.done.days.values().map(|day| day.records).sum::<u64>(), 4);
    assert_eq!(left_of_anna(dir.path()), 0);
}

#[test]
fn after_an_erasure_nothing_is_left_in_any_file_and_others_are_unchanged() {
    for rotate in [false, true] {
        let dir = filled(40);
        compact(dir.path());
        add(dir.path(), 20);
        let before = everything(dir.path());
        let old: Vec<_> = keys(dir.path()).list().expect("keys");
        let segment =
            Manifest::read(&dir.path().join(segments::FOLDER)).expect("a manifest").entries()[0].clone();
        let erased = erase_now(dir.path(), ANNA, rotate, &|_| Ok(())).expect("erased");
        let counts = erased.done.days.values().map(|day| day.records).sum::<u64>();
        assert_eq!((counts, erased.done.segments), (60, 1), "{:?}", erased.done);
        assert!(erased.done.journal_files >= 1);
        assert_eq!(left_of_anna(dir.path()), 0);
        let after = everything(dir.path());
        assert_eq!(differing((&before, &after), "/bolat/"), Vec::<&String>::new());
        assert!(!dir.path().join(segments::FOLDER).join(&segment.file).exists(), "the old file is gone");
        let report = segments::verify(dir.path()).expect("readable");
        assert_eq!((report.findings, report.erased), (vec![], 60));
        let live = keys(dir.path()).list().expect("keys");
        for key in old.iter().filter(|key| key.class.class().is_some()) {
            assert_eq!(live.contains(key), !rotate, "{key}");
        }
        assert_eq!(erased.done.keys.len(), if rotate { 5 } else { 0 });
        // What comes later is recorded anew, and can be erased anew.
        add(dir.path(), 3);
        assert_eq!(of(&everything(dir.path()), "/anna/")["support requests from seq"].len(), 3);
        let again = erase_now(dir.path(), ANNA, false, &|_| Ok(())).expect("erased");
        assert_eq!(again.done.days.values().map(|day| day.records).sum::<u64>(), 3);
        assert_eq!(left_of_anna(dir.path()), 0);
    }
}

#[test]
fn an_erasure_that_dies_at_any_step_is_finished_by_the_next_one_to_work() {
    let steps =
        ["ordered", "seen", "resolved", "rotated", "compacted", "one rewritten", "rewritten", "destroyed"];
    for step in steps {
        let dir = filled(20);
        compact(dir.path());
        add(dir.path(), 10);
        block_now(dir.path(), ANNA);
        let before = everything(dir.path());
        let die = |at: &str| if at == step { Err(io::Error::other("died")) } else { Ok(()) };
        erase_now(dir.path(), ANNA, true, &die).expect_err("died");
        let between = everything(dir.path());
        assert!(of(&between, "/anna/").values().all(Vec::is_empty), "{step}: still blocked");
        assert_eq!(differing((&before, &between), "/bolat/"), Vec::<&String>::new(), "{step}");
        let erased = erase_now(dir.path(), ANNA, true, &|_| Ok(())).expect("finished");
        assert_eq!(erased.done.days.values().map(|day| day.records).sum::<u64>(), 30, "{step}");
        assert_eq!(left_of_anna(dir.path()), 0, "{step}");
        let after = everything(dir.path());
        assert_eq!(differing((&before, &after), "/bolat/"), Vec::<&String>::new(), "{step}");
        let states: Vec<State> =
            Book::read(dir.path()).expect("a book").tombstones().map(|t| t.state).collect();
        assert_eq!(states, [State::Lifted, State::Erased], "{step}: the block ends with it");
        assert_eq!(segments::verify(dir.path()).expect("readable").findings, [], "{step}");
    }
}

#[test]
fn an_erasure_waits_for_the_file_that_is_written_and_leaves_what_comes_later() {
    for rotate in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, handle) = start(dir.path());
        let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let (path, done, written) = (dir.path(), &done, &written);
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                visit(handle, &[ANNA, BOLAT], |n| {
                    written.store(n, SeqCst);
                    std::thread::sleep(Duration::from_micros(500));
                    !done.load(SeqCst)
                });
            });
            let ending = Ending(done);
            while written.load(SeqCst) < 100 {
                assert!(!writing.is_finished(), "the writer ended early");
                std::thread::yield_now();
            }
            let erased = erase_now(path, ANNA, rotate, &|_| Ok(())).expect("erased");
            let records = erased.done.days.values().map(|day| day.records).sum::<u64>();
            assert!(records >= 50 && erased.done.journal_files >= 1, "{:?}", erased.done);
            let grant = granted_in(path, Purpose::Support);
            let scan = Scan::new(path, &grant, keys(path), &Filter::default(), clock::now());
            let old = |row: &Row<'_>| assert!(!is_annas(row) || row.ts > erased.ordered, "{}", text(row));
            scan.from_seq(0, old).expect("readable");
            drop(ending);
        });
        assert!(journal.stop());
        let all = everything(path);
        let bolats = of(&all, "/bolat/")["security requests from seq"].len() as u64;
        assert_eq!(bolats, written.load(SeqCst).div_ceil(2).min(bolats), "none of Bolat's is missing");
        assert!(bolats >= written.load(SeqCst) / 2, "{bolats}");
        assert!(!of(&all, "/anna/")["security requests from seq"].is_empty(), "recorded anew afterwards");
        assert_eq!(segments::verify(path).expect("readable").findings, []);
    }
}

#[test]
fn an_erasure_is_not_certified_while_a_file_cannot_be_searched() {
    let dir = filled(40);
    let journal = dir.path().join("journal");
    let path = files::list(&journal).expect("files").remove(0).path;
    let whole = std::fs::read(&path).expect("a file");
    let middle = whole.len() / 2;
    for (at, len) in [(40, whole.len()), (middle, whole.len()), (middle, whole.len() - 1)] {
        let mut hurt = whole[..len].to_vec();
        hurt[at] ^= 1;
        std::fs::write(&path, hurt).expect("written");
        let named = |error: &SubjectError| error.to_string().contains(&path.display().to_string());
        // Nothing is found of somebody who was never there; only nobody can say so of what is behind the place.
        let refused = erase_now(dir.path(), [9; 16], false, &|_| Ok(())).expect_err("not searched");
        assert!(matches!(&refused, SubjectError::Damaged(files) if files.contains(&path)), "{at}: {refused}");
        assert!(named(&refused), "{refused}");
        assert!(path.exists());
    }
    std::fs::write(&path, whole).expect("put back");
    erase_now(dir.path(), [9; 16], false, &|_| Ok(())).expect("searched");
}
