//! After an erasure no file of the data folder holds the person, and nobody else's records change.

use memchr::memmem;

use super::*;

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        // What goes while it is copied is not part of the copy.
        let _ = std::fs::copy(&file, target);
    }
}

/// Whether a record of Anna's pages is in the files of a data folder, tombstones aside: with all its keys.
fn holds_anna(data: &Path) -> bool {
    let copied = tempfile::tempdir().expect("a folder");
    copy(data, copied.path());
    let _ = std::fs::remove_dir_all(copied.path().join("subjects"));
    let _ = std::fs::remove_file(copied.path().join("tombstones.head"));
    let paths = crate::support::cli::records(copied.path(), &["kind:*"]);
    paths.iter().any(|record| record["url.path"].as_str().is_some_and(|path| path.starts_with("/anna/")))
}

/// Files below the folder of segments that the manifest does not name.
fn unknown(data: &Path) -> Vec<String> {
    let folder = data.join("segments");
    // Before the manifest: what is named later is named there.
    let names: Vec<String> = files(&folder)
        .iter()
        .map(|file| file.strip_prefix(&folder).expect("below it").to_str().expect("UTF-8").to_owned())
        .collect();
    let manifest = std::fs::read_to_string(folder.join("MANIFEST")).unwrap_or_default();
    let mut named = vec![Value::from("MANIFEST"), Value::from("compactor.lock")];
    for line in manifest.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match line["op"].as_str() {
            Some("replace") => {
                named.retain(|file| *file != line["old"]);
                named.push(line["new"]["file"].clone());
            }
            Some("remove") => named.retain(|file| *file != line["file"]),
            _ => named.push(line["file"].clone()),
        }
    }
    let segment = |name: &str| Value::from(name.strip_suffix(".tags").unwrap_or(name));
    names.into_iter().filter(|name| !named.contains(&segment(name))).collect()
}

/// No old file is left; one that the compactor is writing just now gets its name.
fn assert_no_old_files(data: &Path) {
    wait_for("the manifest to name every file", || unknown(data).is_empty().then_some(()));
    assert_eq!(files(&data.join("journal/quarantine")), Vec::<PathBuf>::new());
}

/// Whether a file of the folder has Anna's name in its bytes: what is not sealed lies there as it is.
fn shows_anna(data: &Path) -> bool {
    let shows = |bytes: &[u8]| {
        [&b"/anna/"[..], b"AnnasAgent"].iter().any(|trace| memmem::find(bytes, trace).is_some())
    };
    files(data).iter().any(|file| shows(&std::fs::read(file).unwrap_or_default()))
}

fn assert_erased(gateway: &Gateway, before: &BTreeMap<String, String>) {
    let data = gateway.data();
    assert!(!holds_anna(&data));
    assert_no_old_files(&data);
    assert!(!shows_anna(&data));
    assert_eq!(&bolats(&data), before, "others' records are as they were");
    let verified = kelisim(&["logs", "verify", "--data", data.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn an_erasure_takes_the_persons_records_out_of_the_folder_and_nobody_elses() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 6);
    let who = cookie(&anna);
    // Some of them in a segment, some in the journal.
    let gateway = gateway.end_and_restart();
    wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
    let mut anna = Visitor::new(&gateway, Protocol::Http1);
    let mut bolat = Visitor::new(&gateway, Protocol::Http1);
    anna.hold(COOKIE, &who);
    (6..12).for_each(|n| drop(anna.open(&format!("/anna/{n}"))));
    gateway.record("/anna/11");
    let before = bolats(&data);
    assert!(shows_anna(&data), "the path is a fact without a person, readable in a segment");
    let rehearsal = subject(&data, "erase", &["--cookie", &who]);
    assert_eq!((rehearsal.code, holds_anna(&data)), (0, true), "{rehearsal:?}");
    assert!(rehearsal.out.contains("nothing was erased"), "{rehearsal:?}");
    let file = gateway.folder().join("certificate.txt");
    let certificate = under_load(&mut anna, &mut bolat, || {
        let said =
            subject(&data, "erase", &["--cookie", &who, "--yes", "--certificate", file.to_str().unwrap()]);
        assert_eq!(said.code, 0, "{said:?}");
        std::fs::read_to_string(&file).expect("a certificate")
    });
    for part in ["CERTIFICATE OF ERASURE", "request 17", "segments written anew", "not covered"] {
        assert!(certificate.contains(part), "{part} in {certificate}");
    }
    for secret in ["/anna", "127.0.0.1", &who] {
        assert!(!certificate.contains(secret), "{secret} in {certificate}");
    }
    assert_erased(&gateway, &before);
    // What was sent afterwards is recorded anew; once more there is only that to erase.
    anna.open("/anna-later");
    gateway.record("/anna-later");
    // The gateway looks at the book from time to time.
    wait_for("the figure", || {
        (gateway.metric("kelisim_subject_tombstones", &["state=\"erased\""]) == 1.0).then_some(())
    });
    let gateway = gateway.crash_and_restart();
    assert_erased(&gateway, &before);
    gateway.record("/anna-later");
}

#[test]
fn an_erasure_needs_no_running_gateway_and_no_clean_end() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 6);
    let before = bolats(&data);
    let gateway = gateway.crash_and_edit(|| {
        let said = subject(&data, "block", &["--cookie", &cookie(&anna)]);
        assert_eq!(said.code, 0, "{said:?}");
        let said = subject(&data, "erase", &["--cookie", &cookie(&anna), "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("6 records, recorded until"), "{said:?}");
    });
    assert_erased(&gateway, &before);
    // The unclean end is told all the same.
    let gaps = crate::support::cli::records(&data, &["kind=gap"]);
    assert!(gaps.iter().any(|gap| gap["gap.reason"] == "unclean_stop"), "{gaps:?}");
}

#[test]
fn an_erasure_that_is_killed_is_finished_by_the_command_or_by_the_gateway() {
    for (step, by_gateway) in [("erase", true), ("erase", false), ("resolved", true), ("resolved", false)] {
        let origin = site();
        let gateway = Gateway::of(&origin);
        let data = gateway.data();
        let (anna, _) = two_visitors(&gateway, 4);
        let gateway = gateway.end_and_restart();
        wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
        let before = bolats(&data);
        let who = cookie(&anna);
        let mut erasing = command()
            .args(["subject", "erase", "--yes", "--reason", "r", "--cookie", &who, "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("an erasure");
        let book = data.join("subjects/tombstones");
        wait_for("the step", || {
            let text = std::fs::read_to_string(&book).unwrap_or_default();
            (text.contains(&format!("\"op\":{step:?}"))).then_some(())
        });
        erasing.kill().expect("killed");
        erasing.wait().expect("ended");
        let gateway = if by_gateway {
            let gateway = gateway.crash_and_restart();
            wait_for("the end of the erasure", || {
                let text = std::fs::read_to_string(&book).unwrap_or_default();
                text.contains("\"op\":\"erased\"").then_some(())
            });
            gateway
        } else {
            let said = subject(&data, "erase", &["--cookie", &who, "--yes"]);
            assert!([0, 1].contains(&said.code), "{said:?}");
            gateway
        };
        assert_erased(&gateway, &before);
    }
}

#[test]
fn with_new_keys_for_the_day_no_backup_of_the_sealed_columns_opens_any_more() {
    let origin = site();
    let gateway = Gateway::of(&origin);
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 5);
    let gateway = gateway.end_and_restart();
    wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
    let mut bolat = Visitor::new(&gateway, Protocol::Http1).always("user-agent", "BolatsAgent/1.0");
    bolat.open("/bolat/in-the-journal");
    gateway.record("/bolat/in-the-journal");
    let backup = tempfile::tempdir().expect("a folder");
    copy(&data, backup.path());
    std::fs::remove_dir_all(backup.path().join("keys")).expect("removed");
    let before = bolats(&data);
    let said = subject(&data, "erase", &["--cookie", &cookie(&anna), "--yes", "--rotate-day"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("covered: these keys were destroyed") && said.out.contains("sec/"), "{said:?}");
    assert_erased(&gateway, &before);
    // The backup has the files, and the keys that are left open none of their sealed columns.
    let keys = data.join("keys");
    let old = ["--purpose", "diagnostics", "--reason", "r", "--keys", keys.to_str().unwrap()];
    let seen = crate::support::cli::records(backup.path(), &old);
    assert!(
        seen.iter().all(|record| record.get("user_agent.original").is_none_or(Value::is_null)),
        "{seen:?}"
    );
    // The gateway goes on under the new keys, and so does a restart.
    bolat.open("/bolat-later");
    gateway.record("/bolat-later");
    let gateway = gateway.crash_and_restart();
    gateway.record("/bolat-later");
    gateway.record("/bolat/in-the-journal");
    let seen = crate::support::cli::records_for(&data, "diagnostics");
    assert!(seen.iter().all(|record| record["user_agent.original"] == "BolatsAgent/1.0"), "{seen:?}");
}

#[test]
fn records_that_come_back_from_a_backup_stay_hidden_and_are_erased_again() {
    for in_segments in [false, true] {
        let origin = site();
        let mut gateway = Gateway::of(&origin);
        let data = gateway.data();
        let (anna, _) = two_visitors(&gateway, 5);
        let who = cookie(&anna);
        if in_segments {
            gateway = gateway.end_and_restart();
            wait_for("a segment", || (gateway.metric("kelisim_segments", &[]) >= 1.0).then_some(()));
        }
        let folder = gateway.finish_and_keep();
        let backup = tempfile::tempdir().expect("a folder");
        copy(&data, backup.path());
        let said = subject(&data, "erase", &["--cookie", &who, "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!holds_anna(&data));
        // Journal and segments as they were, with the book of today.
        for part in ["journal", "segments"] {
            let _ = std::fs::remove_dir_all(data.join(part));
            copy(&backup.path().join(part), &data.join(part));
        }
        assert!(holds_anna(&data));
        let seen = crate::support::cli::records(&data, &[]);
        let of_anna = |r: &Value| r["url.path"].as_str().unwrap_or_default().starts_with("/anna");
        assert!(!seen.is_empty() && !seen.iter().any(of_anna), "{seen:?}");
        assert_eq!(subject(&data, "find", &["--cookie", &who]).code, 1, "nor are they found");
        let gateway = Gateway::on(folder);
        wait_for("them to be erased again", || (!holds_anna(&data)).then_some(()));
        gateway.finish();
    }
}

#[test]
fn what_a_legal_hold_keeps_is_erased_only_with_a_reason_that_the_certificate_tells() {
    let origin = site();
    let hold = "[{ name = \"case 7\", from = 2020-01-01, until = 2120-01-01 }]";
    let gateway = Gateway::build(&[&origin]).key("records.legal_hold", hold).start();
    let data = gateway.data();
    let (anna, _) = two_visitors(&gateway, 3);
    let who = cookie(&anna);
    let before = bolats(&data);
    let rehearsal = subject(&data, "erase", &["--cookie", &who]);
    assert!(rehearsal.code == 0 && rehearsal.out.contains("kept by legal hold case 7"), "{rehearsal:?}");
    let refused = subject(&data, "erase", &["--cookie", &who, "--yes"]);
    assert_eq!((refused.code, &*refused.out), (1, ""), "{refused:?}");
    assert!(
        refused.err.contains("legal hold case 7") && refused.err.contains("--despite-hold"),
        "{refused:?}"
    );
    assert!(holds_anna(&data));
    gateway.record("/anna/0");
    assert_eq!(subject(&data, "erase", &["--cookie", &who, "--yes", "--despite-hold", " "]).code, 2);
    let done =
        subject(&data, "erase", &["--cookie", &who, "--yes", "--despite-hold", "order 12 of the court"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("set aside: order 12 of the court"), "{done:?}");
    let log = std::fs::read_to_string(data.join("audit/audit.log")).expect("a log");
    assert!(log.contains("despite a hold: order 12 of the court"));
    assert_erased(&gateway, &before);
}
