use super::*;

#[test]
fn are_made_once_and_private() {
    let data = tempfile::tempdir().unwrap();
    let first = ConsentKeys::load_or_create(data.path()).unwrap();
    let again = ConsentKeys::load_or_create(data.path()).unwrap();
    assert_eq!(first.sign_record("s", b"x"), again.sign_record("s", b"x"));
    let path = data.path().join("keys/consent.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(data.path().join("keys")).unwrap().count(), 1, "no temporary file is left");
}

const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[test]
fn an_older_key_verifies_as_long_as_its_records_can_count_and_no_longer() {
    let data = tempfile::tempdir().unwrap();
    let first = ConsentKeys::load_or_create(data.path()).unwrap();
    let signed = first.sign_record("s", b"x");
    let verifies = |keys: &ConsentKeys| keys.verify_record(first.current_id().as_bytes(), "s", b"x", &signed);
    let rotate = |days: u64| {
        let now = NOW.plus(Duration::from_secs(days * 86_400));
        ConsentKeys::rotate(data.path(), Older::For(YEAR), now).unwrap()
    };
    let second = rotate(0);
    assert_ne!(second.keys.current_id(), first.current_id());
    assert_eq!(second.keys.older().collect::<Vec<_>>(), [(first.current_id(), Some(NOW))]);
    for days in [30, 200, 365, 372] {
        let rotated = rotate(days);
        assert!(verifies(&rotated.keys) && rotated.dropped.is_empty(), "after {days} days");
    }
    let last = rotate(373);
    assert_eq!(last.dropped, [first.current_id()]);
    assert!(!verifies(&last.keys));
    let loaded = ConsentKeys::load(data.path()).unwrap();
    let signed = second.keys.sign_record("s", b"y");
    assert!(loaded.verify_record(second.keys.current_id().as_bytes(), "s", b"y", &signed));
    assert_eq!(loaded.older().collect::<Vec<_>>(), last.keys.older().collect::<Vec<_>>());
}

#[test]
fn revoked_keys_are_gone_at_once_and_too_many_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let first = ConsentKeys::load_or_create(data.path()).unwrap();
    let rotate = |older| ConsentKeys::rotate(data.path(), older, NOW);
    let revoked = rotate(Older::Revoked).unwrap();
    assert_eq!((revoked.dropped, revoked.keys.all().count()), (vec![first.current_id().to_owned()], 1));
    for _ in 1..MAX_KEYS {
        rotate(Older::For(YEAR)).unwrap();
    }
    let text = fs::read_to_string(data.path().join("keys/consent.key")).unwrap();
    assert!(text.len() as u64 <= FILE_BYTES);
    assert!(matches!(rotate(Older::For(YEAR)), Err(KeyError::Full { .. })));
    assert_eq!(fs::read_to_string(data.path().join("keys/consent.key")).unwrap(), text);
    assert_eq!(rotate(Older::Revoked).unwrap().dropped.len(), MAX_KEYS);
}

#[test]
fn a_file_of_an_earlier_build_is_read_and_its_previous_key_counts_as_replaced_now() {
    let data = tempfile::tempdir().unwrap();
    let newest = ConsentKeys::load_or_create(data.path()).unwrap();
    let path = data.path().join("keys/consent.key");
    let secret = URL_SAFE_NO_PAD.encode([7; SECRET_BYTES]);
    let text = fs::read_to_string(&path).unwrap() + &format!("old1 {secret}\n");
    fs::write(&path, text).unwrap();
    assert_eq!(ConsentKeys::load(data.path()).unwrap().older().collect::<Vec<_>>(), [("old1", None)]);
    let rotated = ConsentKeys::rotate(data.path(), Older::For(YEAR), NOW).unwrap();
    let older: Vec<_> = rotated.keys.older().collect();
    assert_eq!(older, [(newest.current_id(), Some(NOW)), ("old1", Some(NOW))]);
}

#[test]
fn a_file_open_to_others_is_refused() {
    let data = tempfile::tempdir().unwrap();
    ConsentKeys::load_or_create(data.path()).unwrap();
    let path = data.path().join("keys/consent.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(ConsentKeys::load_or_create(data.path()), Err(KeyError::OpenToOthers { .. })));
}

#[test]
fn a_broken_file_is_never_replaced() {
    let data = tempfile::tempdir().unwrap();
    ConsentKeys::load_or_create(data.path()).unwrap();
    let path = data.path().join("keys/consent.key");
    let good = fs::read_to_string(&path).unwrap();
    let key = good.lines().last().unwrap();
    let many = format!("{key}\n").repeat(MAX_KEYS + 1);
    let replaced = format!("{key} 17\n");
    let odd = format!("{key}\n{key} soon\n");
    let huge = "#".repeat(usize::try_from(FILE_BYTES).unwrap() + 1);
    for (text, line) in [
        ("", 0),
        ("a b\n", 1),
        ("# x\nUPPER AAAA\n", 2),
        (replaced.as_str(), 0),
        (odd.as_str(), 2),
        (many.as_str(), MAX_KEYS + 1),
        (huge.as_str(), 0),
    ] {
        fs::write(&path, text).unwrap();
        match ConsentKeys::load_or_create(data.path()) {
            Err(KeyError::Malformed { line: found, .. }) => assert_eq!(found, line),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn debug_has_no_secret() {
    let data = tempfile::tempdir().unwrap();
    let keys = ConsentKeys::load_or_create(data.path()).unwrap();
    let text = fs::read_to_string(data.path().join("keys/consent.key")).unwrap();
    let secret = text.lines().last().unwrap().split(' ').nth(1).unwrap();
    assert!(!format!("{keys:?}").contains(secret));
    assert!(format!("{keys:?}").contains(keys.current_id()));
}

#[test]
fn form_tokens_last_this_hour_and_the_next() {
    let keys = ConsentKeys::for_test(1);
    let token = keys.form_token("s", 100);
    assert!(keys.verify_form_token("s", 100, &token));
    assert!(keys.verify_form_token("s", 101, &token));
    assert!(!keys.verify_form_token("s", 102, &token));
    assert!(!keys.verify_form_token("s", 99, &token));
    assert!(!keys.verify_form_token("other", 100, &token));
    assert!(!ConsentKeys::for_test(2).verify_form_token("s", 100, &token));
    for junk in ["", "x", &token[..21], &format!("{token}A"), "!!!!!!!!!!!!!!!!!!!!!!"] {
        assert!(!keys.verify_form_token("s", 100, junk), "{junk}");
    }
}
