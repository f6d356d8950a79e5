//! What `logs verify` says and with which exit code.

use std::path::Path;

use super::journal_tests::{filled, logs, start};

fn stopped() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    assert!(start(dir.path()).0.stop());
    // An entry of the audit log.
    assert_eq!(logs(dir.path(), "query").1, 0);
    dir
}

fn verify(dir: &Path) -> (serde_json::Value, u8) {
    let (out, code) = logs(dir, "verify --format json");
    (serde_json::from_str(&out).unwrap_or_default(), code)
}

#[test]
fn what_is_whole_is_good_and_each_part_that_is_not_is_a_finding() {
    let dir = stopped();
    let (good, code) = verify(dir.path());
    assert_eq!((code, &good["good"], &good["audit_entries"]), (0, &true.into(), &2.into()), "{good}");
    std::fs::create_dir_all(dir.path().join("segments")).unwrap();
    std::fs::create_dir_all(dir.path().join("subjects")).unwrap();
    let audit = std::fs::read_to_string(dir.path().join("audit/audit.log")).unwrap();
    for (file, bytes, finding) in [
        ("segments/MANIFEST", b"nonsense\n".to_vec(), "manifest"),
        ("subjects/tombstones", b"nonsense\n".to_vec(), "tombstones"),
        ("audit/audit.log", audit.replacen("logs query", "logs quary", 1).into_bytes(), "audit"),
        ("journal/000009-000000.kjl", b"nonsense".to_vec(), "journal"),
    ] {
        let path = dir.path().join(file);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, bytes).unwrap();
        let (bad, code) = verify(dir.path());
        assert_eq!((code, &bad["findings"][0]["finding"]), (1, &finding.into()), "{file}: {bad}");
        match before {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
    assert_eq!(verify(dir.path()).1, 0);
}

#[test]
fn what_was_put_aside_is_told_and_is_no_fault() {
    let dir = stopped();
    let aside = dir.path().join("journal/quarantine");
    std::fs::create_dir(&aside).unwrap();
    std::fs::write(aside.join("000001-000000-9.torn"), "piece").unwrap();
    let (found, code) = verify(dir.path());
    assert_eq!(
        (code, &found["quarantined"]["pieces"], &found["quarantined"]["bytes"]),
        (0, &1.into(), &5.into())
    );
    assert!(logs(dir.path(), "verify").0.contains("1 damaged pieces were put aside, 5 bytes"));
}

#[test]
fn a_removed_audit_log_is_a_finding_of_both_commands() {
    let dir = stopped();
    std::fs::remove_dir_all(dir.path().join("audit")).unwrap();
    let (bad, code) = verify(dir.path());
    assert_eq!((code, &bad["findings"][0]["finding"]), (1, &"audit".into()), "{bad}");
    let (out, code) = logs(dir.path(), "audit verify");
    assert!(code == 1 && out.contains("the log is CHANGED"), "{code} {out}");
}

#[test]
fn verify_says_whether_it_looked_at_the_keys() {
    let dir = filled(30);
    assert_eq!(verify(dir.path()).0["keys_checked"], true);
    // The key of the journal's clear columns, and the one of tags.
    for key in ["clear", "lasting"] {
        let (folder, away) = (dir.path().join("keys").join(key), dir.path().join("away"));
        std::fs::rename(&folder, &away).unwrap();
        let (bad, code) = verify(dir.path());
        let of_keys = bad["findings"].as_array().unwrap().iter().any(|found| found["finding"] == "key");
        assert!(code == 1 && of_keys, "{key}: {bad}");
        std::fs::rename(&away, &folder).unwrap();
    }
    std::fs::rename(dir.path().join("keys"), dir.path().join("away")).unwrap();
    let (found, code) = verify(dir.path());
    assert_eq!((code, &found["keys_checked"]), (0, &false.into()), "{found}");
}
