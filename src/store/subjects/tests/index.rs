//! An index that is not its segment's, and a key of tags that is not there any more.

use super::*;
use crate::store::segments::{Entry, KeyReport, verify_keys};
use crate::store::verify::verify_other_keys;

/// A folder with two segments, and what the manifest says of them.
fn two_segments() -> (tempfile::TempDir, Vec<Entry>) {
    let dir = filled(40);
    compact(dir.path());
    add(dir.path(), 25);
    compact(dir.path());
    let manifest = Manifest::read(&dir.path().join(segments::FOLDER)).expect("a manifest");
    assert_eq!(manifest.entries().len(), 2);
    (dir, manifest.entries().to_vec())
}

fn checked(dir: &Path) -> KeyReport {
    verify_keys(dir, &keys(dir)).expect("readable")
}

#[test]
fn the_index_of_another_segment_is_not_believed() {
    let (dir, entries) = two_segments();
    let indexes: Vec<_> =
        entries.iter().map(|e| index_of(&dir.path().join(segments::FOLDER).join(&e.file))).collect();
    let anna = person(dir.path(), ANNA);
    let numbers = || anna.numbers(dir.path(), &keys(dir.path()), None).expect("readable").rows.numbers();
    assert_eq!((numbers(), checked(dir.path())), (65, KeyReport::default()));
    let [first, second] = [0, 1].map(|at: usize| std::fs::read(&indexes[at]).expect("an index"));
    // Of a day whose key was destroyed: of these records it says nothing.
    let gone = KeyClass::Sec.label().to_owned() + "/2020-01-01#0";
    std::fs::write(dir.path().join(format!("keys/{gone}.gone")), "").expect("written");
    let id = entries[0].keys.iter().find(|key| key.starts_with("sec/")).expect("a key");
    let mut of_another_day = first.clone();
    let at = first.windows(id.len()).position(|window| window == id.as_bytes()).expect("its name");
    of_another_day[at..at + id.len()].copy_from_slice(gone.as_bytes());
    for (swapped, foreign) in
        [([&second, &second], 1), ([&second, &first], 2), ([&of_another_day, &second], 1)]
    {
        indexes.iter().zip(swapped).for_each(|(index, bytes)| std::fs::write(index, bytes).expect("written"));
        assert_eq!((numbers(), checked(dir.path()).foreign.len()), (65, foreign));
    }
    // What an earlier build wrote is no fault, and not believed either.
    let mut unbound = second.clone();
    unbound[7] = 1;
    std::fs::write(&indexes[0], &unbound).expect("written");
    assert_eq!((numbers(), checked(dir.path()).foreign), (65, Vec::new()));
    // The block hides and the erasure takes everything, as if the indexes were right.
    std::fs::write(&indexes[0], &second).expect("written");
    assert_eq!(block_now(dir.path(), ANNA), 65);
    assert!(of(&everything(dir.path()), "/anna/").values().all(Vec::is_empty));
}

#[test]
fn what_an_erasure_left_is_looked_for_in_the_columns() {
    let (dir, _) = two_segments();
    let anna = person(dir.path(), ANNA);
    let left = anna.left(dir.path(), &keys(dir.path()), clock::now()).expect("readable");
    assert_eq!((left.rows.numbers(), left.damaged.len()), (65, 0));
}

#[test]
fn records_whose_tags_were_made_with_a_lost_key_are_counted_and_found() {
    let (dir, _) = two_segments();
    let lost = |dir: &Path| Tagger::new(&*keys(dir)).expect("a key").lost();
    let unlinked = |versions: &[u32]| unlinked(dir.path(), &keys(dir.path()), versions).expect("readable");
    assert_eq!((lost(dir.path()), unlinked(&[])), (Vec::new(), 0));
    assert_eq!(verify_other_keys(dir.path(), &keys(dir.path())).expect("readable"), []);
    let lasting = dir.path().join("keys/lasting");
    let away = dir.path().join("away");
    std::fs::rename(&lasting, &away).expect("moved");
    let reads: Arc<dyn KeyProvider> = Arc::new(LocalKeys::at(&dir.path().join("keys")));
    let [(_, what)] = &verify_other_keys(dir.path(), &reads).expect("readable")[..] else { panic!("one") };
    assert!(what.contains("version 1 of the subject key is missing"), "{what}");
    // The next start makes another, under another number.
    add(dir.path(), 5);
    assert_eq!((lost(dir.path()), unlinked(&[1])), (vec![1], 130));
    let found = verify_other_keys(dir.path(), &keys(dir.path())).expect("readable");
    assert_eq!((found.len(), &found[0].0[..]), (1, "130 records"), "{found:?}");
    // When the key is back, nothing is lost any more.
    std::fs::rename(away.join("subject-1.key"), lasting.join("subject-1.key")).expect("moved");
    assert_eq!(lost(dir.path()), Vec::<u32>::new());
    let anna = person(dir.path(), ANNA);
    let numbers = anna.numbers(dir.path(), &keys(dir.path()), None).expect("readable").rows.numbers();
    assert_eq!(numbers, 70);
}
