//! Without the key of tags nobody is told that nothing is left.

use super::*;

#[test]
fn after_a_lost_key_of_tags_no_command_says_that_everything_was_found() {
    let origin = site();
    let gateway = Gateway::build(&[&origin]).key("records.account_header", "\"X-Account\"").start();
    let (anna, _) = two_visitors(&gateway, 4);
    let who = cookie(&anna);
    let data = gateway.data();
    let folder = gateway.finish_and_keep();
    let lasting = data.join("keys/lasting");
    let away = folder.path().join("away");
    std::fs::rename(&lasting, &away).expect("moved");
    let gateway = Gateway::on(std::sync::Arc::clone(&folder));
    assert_eq!(gateway.metric("kelisim_record_keys", &["state=\"lost\""]), 1.0);
    // Every start says so, not only the one that made the new key.
    let gateway = gateway.end_and_restart();
    gateway.wait_for_log(0, "the lost key", |line| line.contains("versions of the subject key are missing"));
    let found = found(&data, &["--cookie", &who]);
    let unlinked = found["unlinked"].as_u64().expect("a number");
    assert!(unlinked >= 8 && found["all"]["records"] == 0, "{found}");
    let note = format!("{unlinked} records could not be searched");
    let certificate = folder.path().join("certificate.txt");
    let path = certificate.to_str().expect("a path");
    for (verb, more) in [
        ("find", &[][..]),
        ("export", &["--format", "json"]),
        ("block", &[]),
        ("erase", &[]),
        ("erase", &["--yes", "--certificate", path]),
    ] {
        let said = subject(&data, verb, &[&["--cookie", &who], more].concat());
        assert!(said.code == 1 && said.err.contains(&note), "{verb}: {said:?}");
    }
    let text = std::fs::read_to_string(&certificate).expect("a certificate");
    assert!(text.contains("NOT OF ALL RECORDS") && text.contains(&note), "{text}");
    assert!(!text.contains(": none is left"), "{text}");
    let verified = kelisim(&["logs", "verify", "--data", data.to_str().expect("a path")]);
    assert!(verified.code == 1 && verified.out.contains("of the subject key is missing"), "{verified:?}");
    // With the key back, they are found.
    std::fs::rename(away.join("subject-1.key"), lasting.join("subject-1.key")).expect("moved");
    let found = super::found(&data, &["--cookie", &who]);
    assert!(found["unlinked"] == 0 && found["all"]["records"].as_u64() >= Some(3), "{found}");
    gateway.finish();
}
