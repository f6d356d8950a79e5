//! Keys are made once, wrap what only they unwrap, and stay destroyed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::Timestamp;
use crate::record::Purpose;
use crate::store::query::testing::granted;
use crate::store::query::{Grant, READERS};

fn day() -> Day {
    Day::of(Timestamp::from_secs(1_795_341_600))
}

fn grant(purpose: Purpose) -> Grant {
    granted(purpose)
}

fn keyring(keys: &LocalKeys, purpose: Purpose) -> Keyring {
    Keyring::new(&grant(purpose), Arc::new(keys.clone()))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn a_data_key_comes_back_under_the_right_purpose_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = LocalKeys::prepare(&dir.path().join("keys")).expect("keys");
    let id = keys.current(KeyClass::Sec, day()).expect("a key");
    let dek = Dek::random().expect("a key");
    let wrapped = keys.wrap(&id, &dek).expect("wrapped");
    assert_eq!(wrapped.len(), 12 + 32 + 16);
    for purpose in READERS {
        let found = keyring(&keys, purpose).unwrap(&id, &wrapped).expect("no error");
        assert_eq!(found.is_some(), purpose == Purpose::Security, "{purpose}");
        assert!(found.is_none_or(|found| found.bytes() == dek.bytes()));
    }
    let found = Keyring::of_the_store(Arc::new(keys)).unwrap(&id, &wrapped).expect("no error");
    assert!(found.is_some());
    assert_eq!(format!("{dek:?}"), "Dek(…)");
}

#[test]
fn a_key_unwraps_only_what_was_wrapped_under_its_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = LocalKeys::prepare(dir.path()).expect("keys");
    let id = keys.current(KeyClass::Clear, day()).expect("a key");
    let next = keys.rotate(KeyClass::Clear, day()).expect("a key");
    assert_eq!((id.generation, next.generation), (0, 1));
    assert_eq!(keys.current(KeyClass::Clear, day()).expect("a key"), next);
    let mut wrapped = keys.wrap(&id, &Dek::random().expect("a key")).expect("wrapped");
    let ring = keyring(&keys, Purpose::Support);
    assert!(matches!(ring.unwrap(&next, &wrapped), Err(KeyError::Unwrap(k)) if k == next));
    // The same bytes under another name: the name is part of what was wrapped.
    std::fs::copy(keys_path(dir.path(), &id), keys_path(dir.path(), &next)).expect("copied");
    assert!(matches!(ring.unwrap(&next, &wrapped), Err(KeyError::Unwrap(_))));
    assert!(matches!(ring.unwrap(&id, &wrapped[..20]), Err(KeyError::Unwrap(_))));
    assert!(matches!(ring.unwrap(&id, &[]), Err(KeyError::Unwrap(_))));
    assert!(ring.unwrap(&id, &wrapped).expect("unwrapped").is_some());
    wrapped[30] ^= 1;
    assert!(matches!(ring.unwrap(&id, &wrapped), Err(KeyError::Unwrap(_))));
}

fn keys_path(folder: &Path, id: &KeyId) -> std::path::PathBuf {
    folder.join(format!("{id}.key"))
}

#[test]
fn a_destroyed_key_is_gone_and_its_name_with_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = LocalKeys::prepare(dir.path()).expect("keys");
    let id = keys.current(KeyClass::Diag, day()).expect("a key");
    let wrapped = keys.wrap(&id, &Dek::random().expect("a key")).expect("wrapped");
    let ring = keyring(&keys, Purpose::Diagnostics);
    assert!(ring.unwrap(&id, &wrapped).expect("unwrapped").is_some());
    assert!(keys.destroy(&id).expect("destroyed"));
    assert!(!keys.destroy(&id).expect("nothing left"));
    assert!(ring.unwrap(&id, &wrapped).expect("no error").is_none());
    assert!(matches!(keys.wrap(&id, &Dek::random().expect("a key")), Err(KeyError::Destroyed(_))));
    assert_eq!((keys.list().expect("a list"), keys.destroyed().expect("a list")), (vec![], vec![id]));
    let next = keys.current(KeyClass::Diag, day()).expect("a key");
    assert_eq!(next.generation, 1, "the destroyed key's name was given again");
    assert!(ring.unwrap(&id, &wrapped).expect("no error").is_none());
    assert!(keys.forget(&id).expect("forgotten") && !keys.forget(&id).expect("nothing there"));
    assert!(!keys.forget(&next).expect("it lives"));
    assert_eq!((keys.list().expect("a list"), keys.destroyed().expect("a list")), (vec![next], vec![]));
    let never = KeyId { generation: 7, ..id };
    assert!(!keys.destroy(&never).expect("nothing there"));
    assert!(matches!(ring.unwrap(&never, &wrapped), Err(KeyError::Missing(k)) if k == never));
}

#[test]
fn a_provider_for_reading_makes_no_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let reads = LocalKeys::at(&dir.path().join("keys"));
    assert!(matches!(reads.current(KeyClass::Sec, day()), Err(KeyError::Missing(_))));
    assert!(matches!(reads.lasting(Lasting::Subject), Err(KeyError::NoVersion("subject", 1))));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
}

#[test]
fn what_a_crash_interrupted_is_finished_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = LocalKeys::prepare(dir.path()).expect("keys");
    let id = keys.current(KeyClass::Ads, day()).expect("a key");
    let (live, gone) = (keys_path(dir.path(), &id), dir.path().join(format!("{id}.gone")));
    // Renamed, but not wiped; and a key that never got its name.
    std::fs::rename(&live, &gone).expect("renamed");
    std::fs::write(dir.path().join("ads/2026-11-23#0.new"), [7; 32]).expect("written");
    let keys = LocalKeys::prepare(dir.path()).expect("keys");
    assert_eq!(std::fs::read(&gone).expect("the mark"), b"");
    assert_eq!(keys.list().expect("a list"), []);
    assert_eq!(std::fs::read_dir(dir.path().join("ads")).expect("a folder").count(), 1);
}

#[test]
fn only_the_owner_can_look_at_keys() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("keys");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("widened");
    let keys = LocalKeys::prepare(&folder).expect("keys");
    let id = keys.current(KeyClass::Sec, day()).expect("a key");
    assert_eq!(mode(&folder), 0o700, "a wider folder is narrowed");
    assert_eq!((mode(&folder.join("sec")), mode(&keys_path(&folder, &id))), (0o700, 0o600));
    assert_eq!(std::fs::read(keys_path(&folder, &id)).expect("a key").len(), 32);
}

#[test]
fn many_that_ask_at_once_agree_on_one_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let barrier = std::sync::Barrier::new(8);
    let found: Vec<KeyId> = std::thread::scope(|scope| {
        // Each with its own provider, as processes have.
        let ask = || {
            let keys = LocalKeys::prepare(dir.path()).expect("keys");
            barrier.wait();
            keys.current(KeyClass::Fraud, day()).expect("a key")
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(found.iter().all(|id| id.generation == 0), "{found:?}");
    assert_eq!(LocalKeys::at(dir.path()).list().expect("a list").len(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("file");
    std::fs::write(&path, "").expect("written");
    let error = LocalKeys::prepare(&path.join("keys")).expect_err("not a folder");
    assert!(error.to_string().contains("file/keys"), "{error}");
}

#[test]
fn a_cipher_is_bound_to_number_and_place() {
    let cipher = Cipher::new(&Dek::random().expect("a key")).expect("a cipher");
    let mut sealed = b"head text".to_vec();
    cipher.seal(7, b"place", &mut sealed, 5).expect("sealed");
    assert_eq!((&sealed[..5], sealed.len()), (&b"head "[..], 9 + TAG_BYTES));
    assert!(cipher.open(8, b"place", &mut sealed.clone()[5..]).is_none());
    assert!(cipher.open(7, b"other", &mut sealed.clone()[5..]).is_none());
    assert_eq!(cipher.open(7, b"place", &mut sealed[5..]).as_deref(), Some(&b"text"[..]));
}
