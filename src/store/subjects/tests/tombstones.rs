//! The book of tombstones: torn, damaged, tidied, full, changed by two at once.

use super::*;

#[test]
fn a_torn_line_of_the_book_is_cut_off_and_a_damaged_one_hides_everything() {
    let dir = filled(10);
    block_now(dir.path(), ANNA);
    let path = book::path(dir.path());
    let whole = std::fs::read(&path).expect("a book");
    let lines = Book::read(dir.path()).expect("a book").version();
    for cut in 1..20 {
        std::fs::write(&path, &whole[..whole.len() - cut]).expect("written");
        // A line is promised only when it is whole.
        promise::write(dir.path(), lines - 1).expect("written");
        assert_eq!(block_now(dir.path(), ANNA), 10, "cut by {cut}");
        assert!(of(&everything(dir.path()), "/anna/").values().all(Vec::is_empty));
    }
    let whole = std::fs::read(&path).expect("a book");
    for at in 0..whole.len() - 1 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        // Its last line may look like one that is not whole.
        if bytes[at] == b'\n' || whole[at] == b'\n' {
            continue;
        }
        std::fs::write(&path, bytes).expect("written");
        let grant = granted_in(dir.path(), Purpose::Support);
        let scan = Scan::new(dir.path(), &grant, keys(dir.path()), &Filter::default(), clock::now());
        let shown = scan.from_seq(0, |row| panic!("shown: {}", text(row)));
        assert!(shown.is_err_and(|error| error.to_string().contains("damaged")), "byte {at}");
    }
}

/// Why nothing is shown.
fn refused(dir: &Path) -> String {
    let grant = granted_in(dir, Purpose::Support);
    let scan = Scan::new(dir, &grant, keys(dir), &Filter::default(), clock::now());
    scan.from_seq(0, |row| panic!("shown: {}", text(row))).expect_err("it is read").to_string()
}

#[test]
fn a_book_that_is_gone_empty_or_older_than_was_promised_shows_nothing_until_it_is_back() {
    let dir = filled(10);
    block_now(dir.path(), BOLAT);
    let path = book::path(dir.path());
    let older = std::fs::read(&path).expect("a book");
    block_now(dir.path(), ANNA);
    let before = everything(dir.path());
    let whole = std::fs::read(&path).expect("a book");
    let last = whole.iter().rposition(|byte| *byte == b'{').expect("a line") - 9;
    for left in
        [None, Some(&b""[..]), Some(&older[..]), Some(&whole[..last]), Some(&whole[..whole.len() - 1])]
    {
        match left {
            Some(bytes) => std::fs::write(&path, bytes).expect("written"),
            None => std::fs::remove_dir_all(dir.path().join(book::FOLDER)).expect("removed"),
        }
        assert!(refused(dir.path()).contains("changes of 6: nothing is shown"), "{left:?}");
        assert!(matches!(Editor::open(dir.path()), Err(BookError::Short { .. })), "{left:?}");
        std::fs::create_dir_all(dir.path().join(book::FOLDER)).expect("a folder");
        std::fs::write(&path, &whole).expect("written");
        assert!(everything(dir.path()) == before, "{left:?}");
    }
    let promised = std::fs::read(promise::path(dir.path())).expect("a promise");
    for at in 0..promised.len() {
        let mut bytes = promised.clone();
        bytes[at] ^= 1;
        std::fs::write(promise::path(dir.path()), bytes).expect("written");
        assert!(refused(dir.path()).contains("the head of the book of tombstones is damaged"), "byte {at}");
    }
}

#[test]
fn a_book_of_an_earlier_build_gets_its_promise_with_the_next_look_of_an_editor() {
    let dir = filled(2);
    block_now(dir.path(), ANNA);
    std::fs::remove_file(promise::path(dir.path())).expect("removed");
    assert!(of(&everything(dir.path()), "/anna/").values().all(Vec::is_empty));
    drop(Editor::open(dir.path()).expect("a book"));
    std::fs::remove_file(book::path(dir.path())).expect("removed");
    assert!(refused(dir.path()).contains("0 changes of 3"));
}

#[test]
fn a_book_that_is_tidied_keeps_what_is_needed() {
    let dir = filled(10);
    block_now(dir.path(), ANNA);
    unblock_now(dir.path(), ANNA);
    block_now(dir.path(), BOLAT);
    let before = everything(dir.path());
    let version = Book::read(dir.path()).expect("a book").version();
    let mut editor = Editor::open(dir.path()).expect("a book");
    assert_eq!(editor.tidy(Timestamp::default(), clock::now()).expect("tidied"), 1);
    assert_eq!(editor.tidy(Timestamp::default(), clock::now()).expect("tidied"), 0);
    drop(editor);
    let book = Book::read(dir.path()).expect("a book");
    assert!(book.version() > version, "who waits for a version still gets it");
    assert_eq!(
        book.tombstones().map(|t| (t.state, t.rows.numbers())).collect::<Vec<_>>(),
        [(State::Blocked, 10)]
    );
    assert!(everything(dir.path()) == before, "something changed");
    assert_eq!(promise::read(dir.path()).expect("a promise"), book.version());
    let newest = book.tombstones().map(|t| t.id).max();
    assert_eq!(block_now(dir.path(), ANNA), 10);
    let ids: Vec<u32> = Book::read(dir.path()).expect("a book").tombstones().map(|t| t.id).collect();
    assert!(ids.iter().max() > newest.as_ref(), "a number was given again");
}

#[test]
fn two_who_block_at_once_make_one_book() {
    let dir = filled(20);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let dir = dir.path();
            scope.spawn(move || block_now(dir, if n % 2 == 0 { ANNA } else { BOLAT }));
        }
    });
    let all = everything(dir.path());
    assert!(all.values().all(Vec::is_empty), "{all:?}");
    assert_eq!(Book::read(dir.path()).expect("a book").tombstones().count(), 2);
}

#[test]
fn a_book_that_is_full_says_so_and_stays_as_it_is() {
    let dir = filled(2);
    let seal = TagSeal::new(&*keys(dir.path())).expect("a key");
    let tags = person(dir.path(), ANNA).tags().to_vec();
    let mut editor = Editor::open(dir.path()).expect("a book");
    let id = editor.block(&tags, &seal, clock::now()).expect("room");
    let most: Ranges = (0..ranges::MOST_RANGES as u64 + 1).map(|n| 2 * n).collect();
    let full = editor.hide(id, &most, None, clock::now());
    assert!(matches!(full, Err(BookError::TooManyRows)), "{full:?}");
    for _ in 1..book::MOST_TOMBSTONES {
        editor.block(&tags, &seal, clock::now()).expect("room");
    }
    assert!(matches!(editor.block(&tags, &seal, clock::now()), Err(BookError::Full)));
    drop(editor);
    let book = Book::read(dir.path()).expect("a book");
    assert_eq!(book.tombstones().count(), book::MOST_TOMBSTONES);
    assert!(book.get(id).expect("the first").rows.is_empty());
}

#[test]
fn a_gateway_that_does_not_answer_is_named() {
    let dir = filled(2);
    // A mark that is held by somebody who never says what it has seen.
    let mark = std::fs::File::create(dir.path().join("journal/000077.live")).expect("a mark");
    mark.lock().expect("locked");
    let waited = wait_until_seen(dir.path(), 1, Duration::from_millis(30)).expect_err("silent");
    assert!(waited.to_string().contains("number 77"), "{waited}");
    drop(mark);
    assert_eq!(wait_until_seen(dir.path(), 1, Duration::from_millis(30)).expect("gone"), []);
}

#[test]
fn what_killed_gateways_said_goes_when_the_next_one_starts() {
    let dir = filled(1);
    block_now(dir.path(), ANNA);
    let said = |name: &str| dir.path().join(book::FOLDER).join(name);
    for name in ["seen-000007", "seen-000008.new"] {
        std::fs::write(said(name), "1 0\n").expect("written");
    }
    let (journal, _handle) = start(dir.path());
    let deadline = clock::monotonic() + Duration::from_secs(30);
    let there = |name: &str| said(name).exists();
    while there("seen-000007") || there("seen-000008.new") || !there("seen-000002") {
        assert!(clock::monotonic() < deadline, "they are still there, or the living one says nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(journal.stop());
}

#[test]
fn a_book_without_its_head_and_a_head_without_anything_are_told() {
    let dir = filled(10);
    let book = || Book::read(dir.path()).expect("a book");
    assert_eq!(promise_fault(dir.path(), &book(), 0), None);
    assert!(!were_changed(dir.path()));
    block_now(dir.path(), ANNA);
    assert_eq!(promise_fault(dir.path(), &book(), 0), None);
    std::fs::remove_file(promise::path(dir.path())).expect("removed");
    assert!(promise_fault(dir.path(), &book(), 0).is_some_and(|fault| fault.contains("its head is gone")));
    assert!(were_changed(dir.path()));
    std::fs::remove_file(book::path(dir.path())).expect("removed");
    // Nothing tells any more, unless the segments do.
    assert_eq!(promise_fault(dir.path(), &book(), 0), None);
    assert!(promise_fault(dir.path(), &book(), 3).is_some_and(|fault| fault.contains("the book is gone")));
}
