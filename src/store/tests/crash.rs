//! Killed processes, lost power, torn and changed bytes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::kit::*;
use crate::clock::monotonic;
use crate::config::Durability;
use crate::record::{Event, Kind};
use crate::store::disk::OsDisk;
use crate::store::{Outcome, files};

/// The child: records for ever and prints a path when its ticket has resolved.
#[test]
fn child_that_records_until_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let (_journal, handle) = start(Arc::new(OsDisk), options(dir.as_ref()));
    work(handle, async |recorder| {
        for i in 0.. {
            let path = format!("/{i}");
            let outcome = recorder.record_or_hold(&access(&path)).await.expect("room").await;
            assert_eq!(outcome, Outcome::Durable);
            let mut out = std::io::stdout().lock();
            writeln!(out, "acked {path}").and_then(|()| out.flush()).expect("a parent");
        }
    });
}

#[test]
fn promise_1_a_record_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "store::tests::crash::child_that_records_until_killed", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let acked = |line: String| line.split_once("acked ").map(|(_, path)| path.to_owned());
    let acked: Vec<_> = lines.map_while(Result::ok).filter_map(acked).take(300).collect();
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    assert_eq!(acked.len(), 300, "the child ended by itself");

    let (journal, _handle) = start(Arc::new(OsDisk), options(dir.path()));
    assert!(journal.stop());
    let found = paths(dir.path());
    assert_eq!(acked, found[..300]);
    assert_eq!(gaps(dir.path()), [("unclean_stop".to_owned(), None)]);
}

#[test]
fn promise_2_a_record_survives_loss_of_power_once_the_group_commit_interval_has_passed() {
    // What a loss of power leaves of a record that was written, `within` so long after it.
    let left = |group_commit: Duration, within: Duration| {
        let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
        disk.volatile();
        let options = crate::store::JournalOptions { group_commit, ..options(dir.path()) };
        let (journal, handle) = start(Arc::new(disk), options);
        let found = work(handle, async |recorder| {
            assert_eq!(recorder.record_or_hold(&access("/1")).await.expect("room").await, Outcome::Durable);
            let deadline = monotonic() + within;
            loop {
                let found = paths(snapshot(dir.path()).path());
                if !found.is_empty() || monotonic() >= deadline {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        journal.stop();
        found
    };
    // Nobody writes again: it is the interval that brings it to the disk. The rest of the time is for a busy machine.
    let interval = Duration::from_millis(50);
    assert_eq!(left(interval, interval + Duration::from_secs(20)), ["/1"]);
    assert_eq!(
        left(Duration::from_secs(3600), interval),
        [""; 0],
        "the disk of this test loses what is not synced"
    );
}

#[test]
fn promise_3_at_level_fsync_the_ticket_waits_for_the_disk() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    disk.volatile();
    let options = crate::store::JournalOptions { durability: Durability::Fsync, ..options(dir.path()) };
    let (journal, handle) = start(Arc::new(disk), options);
    work(handle, async |recorder| {
        for i in 0..3 {
            let path = format!("/{i}");
            assert_eq!(recorder.record_or_hold(&access(&path)).await.expect("room").await, Outcome::Durable);
            assert_eq!(paths(snapshot(dir.path()).path()).len(), i + 1);
        }
    });
    journal.stop();
}

#[test]
fn promise_4_a_record_before_forward_is_on_the_disk_whatever_the_level() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    disk.volatile();
    let options = crate::store::JournalOptions {
        durability: Durability::Memory,
        group_commit: Duration::from_secs(3600),
        ..options(dir.path())
    };
    let (journal, handle) = start(Arc::new(disk), options);
    work(handle, async |recorder| {
        let open = Event { kind: Kind::Open, ..access("/pay") };
        assert_eq!(recorder.record_durably(&open).await, Outcome::Durable);
        let found = read(snapshot(dir.path()).path());
        assert_eq!((found.len(), found[0].kind), (1, Kind::Open));
    });
    journal.stop();
}

#[test]
fn recovery_puts_a_torn_tail_aside_and_tells() {
    let (dir, end) = died_after(&["/1", "/2", "/3"]);
    let path = files::path(&dir.path().join("journal"), 1, 0);
    let torn = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
    std::os::unix::fs::FileExt::write_all_at(&torn, b"no frame", end).expect("written");
    let (journal, _handle) = start(Arc::new(OsDisk), options(dir.path()));
    assert_eq!(journal.stats().torn_bytes.load(std::sync::atomic::Ordering::Relaxed), 8);
    journal.stop();
    assert_eq!(paths(dir.path()), ["/1", "/2", "/3"]);
    let told: Vec<_> = gaps(dir.path()).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(told, ["torn_tail", "unclean_stop"]);
    let kept = dir.path().join("journal/quarantine").join(format!("000001-000000-{end}.torn"));
    assert_eq!(std::fs::read(kept).expect("kept"), b"no frame");
}

/// A folder whose process died after these records, one frame each, and where the last frame ends.
fn died_after(names: &[&str]) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(Arc::new(OsDisk), options(dir.path()));
    work(handle, async |recorder| {
        for name in names {
            assert_eq!(recorder.record_or_hold(&access(name)).await.expect("room").await, Outcome::Durable);
        }
    });
    let crashed = snapshot(dir.path());
    journal.stop();
    let bytes = std::fs::read(files::path(&crashed.path().join("journal"), 1, 0)).expect("the file");
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at as u64 + 1);
    (crashed, end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_or_cut_byte_leaves_a_prefix_of_intact_records(
        at: prop::sample::Index, change in 0u8.., cut: Option<prop::sample::Index>,
    ) {
        let written = ["/0", "/1", "/2", "/3", "/4", "/5"];
        let (dir, end) = died_after(&written);
        let path = files::path(&dir.path().join("journal"), 1, 0);
        let mut bytes = std::fs::read(&path).expect("the file");
        let at = at.index(end as usize);
        bytes[at] ^= change;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(end as usize));
        }
        std::fs::write(&path, &bytes).expect("written");
        let (journal, _handle) = start(Arc::new(OsDisk), options(dir.path()));
        prop_assert!(journal.stop());
        let found = paths(dir.path());
        prop_assert!(found.len() <= written.len());
        prop_assert_eq!(&found[..], &written[..found.len()]);
        if change == 0 && cut.is_none() {
            prop_assert_eq!(found.len(), written.len());
        }
    }
}

const CHILD_DIR: &str = "KELISIM_TEST_CHILD_DIR";
