//! What a killed gateway leaves behind: told, cut, and in nobody's way. What survives is asked by [`super::promises`].

use crate::support::{Gateway, Origin};

#[test]
fn an_unclean_end_is_told_and_a_clean_one_is_not() {
    use crate::support::cli;
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    gateway.client().get("/one");
    gateway.record("/one");
    let gateway = gateway.crash_and_restart();
    let unclean = |gateway: &Gateway| {
        let gaps = cli::records(&gateway.data(), &["kind=gap"]);
        gaps.iter().filter(|gap| gap["gap.reason"] == "unclean_stop").count()
    };
    gateway.client().get("/two");
    gateway.record("/two");
    assert_eq!(unclean(&gateway), 1);
    let gateway = gateway.end_and_restart();
    gateway.client().get("/three");
    gateway.record("/three");
    assert_eq!(unclean(&gateway), 1, "the second end was clean");
    assert_eq!(gateway.records().iter().filter(|r| r["record.kind"] == "access").count(), 3);
}

#[test]
fn a_torn_tail_is_cut_and_told_and_stops_nobody() {
    use crate::support::cli;
    use std::io::{Seek as _, SeekFrom, Write as _};
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for n in 0..5 {
        gateway.client().get(&format!("/kept/{n}"));
        gateway.record(&format!("/kept/{n}"));
    }
    let journal = gateway.data().join("journal");
    let gateway = gateway.crash_and_edit(|| {
        // Bytes of a write that did not come to its end, behind the last frame (which may itself end with zeros).
        let mut files: Vec<_> = std::fs::read_dir(&journal)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "kjl"))
            .collect();
        files.sort();
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            let Some(end) = bytes.iter().rposition(|&byte| byte != 0) else { continue };
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(end as u64 + 100)).unwrap();
            file.write_all(b"torn by a crash in the middle of a write").unwrap();
        }
    });
    gateway.client().get("/after");
    gateway.record("/after");
    for n in 0..5 {
        gateway.record(&format!("/kept/{n}"));
    }
    let gaps = cli::records(&gateway.data(), &["kind=gap"]);
    assert!(gaps.iter().any(|gap| gap["gap.reason"] == "torn_tail"), "{gaps:?}");
    assert!(gateway.metric("kelisim_journal_torn_bytes_total", &[]) > 0.0);
}

#[test]
fn records_in_a_folder_that_was_removed_are_counted_told_and_no_clean_end() {
    let origin = Origin::pages();
    let mut gateway = Gateway::of(&origin);
    gateway.client().get("/before");
    gateway.record("/before");
    std::fs::remove_dir_all(gateway.data().join("journal")).expect("removed");
    gateway.client().get("/after");
    let lost = ["reason=\"fsync_error\""];
    crate::support::wait_for("the loss to be counted", || {
        (gateway.metric("kelisim_journal_dropped_records_total", &lost) >= 1.0).then_some(())
    });
    gateway.wait_for_log(0, "the loss", |line| line.contains("the file was removed while it was written"));
    // The file after it is the spare, which is gone as well; then there is none.
    gateway.client().get("/later");
    crate::support::wait_for("the next loss", || {
        gateway.client().get("/and-later");
        (gateway.metric("kelisim_journal_dropped_records_total", &[]) >= 3.0).then_some(())
    });
    gateway.term();
    assert_eq!(gateway.wait().code(), Some(1), "not every record is on the disk");
}
