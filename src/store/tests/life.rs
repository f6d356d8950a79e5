//! Starts and stops, days, several processes, and reading meanwhile.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::kit::*;
use crate::clock::Timestamp;
use crate::record::{Kind, Purpose};
use crate::store::disk::OsDisk;
use crate::store::{Follower, Journal, JournalOptions, LossReason, Outcome, Reader, TimeRange, files};

fn record(handle: crate::store::RecorderHandle, names: &[&str]) {
    work(handle, async |recorder| {
        for name in names {
            assert_eq!(recorder.record_or_hold(&access(name)).await.expect("room").await, Outcome::Durable);
        }
    });
}

#[test]
fn after_a_clean_stop_nothing_is_said_and_a_new_file_begins() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["/1", "/2"] {
        let (journal, handle) = start(Arc::new(OsDisk), options(dir.path()));
        record(handle, &[name]);
        assert!(journal.stop());
    }
    assert_eq!(paths(dir.path()), ["/1", "/2"]);
    assert_eq!(gaps(dir.path()), []);
    let listed = files::list(&dir.path().join("journal")).expect("a folder");
    assert_eq!(listed.iter().map(|f| (f.instance, f.number)).collect::<Vec<_>>(), [(1, 0), (2, 0)]);
    for file in listed {
        let bytes = std::fs::metadata(file.path).expect("a file").len();
        assert!(bytes < 2000, "the reserved room is given back");
    }
}

#[test]
fn two_processes_in_one_folder_do_not_touch_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, old_handle) = start(Arc::new(OsDisk), options(dir.path()));
    let (new, new_handle) = start(Arc::new(OsDisk), options(dir.path()));
    record(new_handle, &["/new"]);
    record(old_handle, &["/old"]);
    assert!(old.stop() && new.stop());
    assert_eq!(gaps(dir.path()), []);
    let rows = read(dir.path());
    assert_eq!(rows.iter().map(|r| &r.path[..]).collect::<Vec<_>>(), ["/old", "/new"]);
    assert_eq!(rows.iter().map(|r| r.seq).collect::<Vec<_>>(), [1 << 40, 2 << 40]);
}

#[test]
fn midnight_begins_a_new_file() {
    static NOW: AtomicI64 = AtomicI64::new(86_400_000_000 * 20_000 - 1);
    let dir = tempfile::tempdir().expect("a folder");
    let now = || Timestamp::from_micros(NOW.load(SeqCst));
    let (journal, mut handles) = Journal::start(options(dir.path()), now).expect("a journal");
    work(handles.remove(0), async |recorder| {
        for (name, step) in [("/1", 2), ("/2", -10), ("/3", 0)] {
            assert_eq!(recorder.record_or_hold(&access(name)).await.expect("room").await, Outcome::Durable);
            NOW.fetch_add(step, SeqCst);
        }
    });
    assert!(journal.stop());
    let rows = read(dir.path());
    let days: Vec<_> = rows.iter().map(|r| r.ts.day()).collect();
    assert_eq!(days, [19_999, 20_000, 20_000], "and the clock never runs back");
    assert_eq!(files::list(&dir.path().join("journal")).expect("a folder").len(), 2);
}

#[test]
fn the_oldest_file_goes_when_the_journal_is_full_and_it_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { file_bytes: 64 << 10, max_bytes: 512 << 10, ..options(dir.path()) };
    let (journal, handle) = start(Arc::new(OsDisk), options);
    let stats = journal.stats();
    let path = "x".repeat(2000);
    work(handle, async |recorder| {
        // Enough that files with gap records go as well.
        for _ in 0..1200 {
            assert_eq!(recorder.record_or_hold(&access(&path)).await.expect("room").await, Outcome::Durable);
        }
    });
    assert!(journal.stop());
    // What went last may be told by the next start.
    let (journal, _) = start(Arc::new(OsDisk), super::kit::options(dir.path()));
    let later = journal.stats();
    assert!(journal.stop());
    let lost = stats.dropped(Kind::Access, LossReason::Quota);
    assert!(lost > 0 && stats.dropped(Kind::Unknown, LossReason::Quota) == 0);
    let left = paths(dir.path()).len() as u64;
    assert_eq!(left + lost, stats.records(Kind::Access));
    let left = gaps(dir.path());
    let told = stats.records(Kind::Gap) + later.records(Kind::Gap);
    assert!((left.len() as u64) < told, "no gap record went");
    assert_eq!(left.iter().filter_map(|(_, count)| *count).sum::<u64>(), lost);
    let (mut begun, mut ended, mut rows) = (0, 0, 0);
    crate::audit::verify(dir.path(), |entry, _| match entry.kind {
        crate::audit::Kind::Destruction => begun += 1,
        _ => (ended, rows) = (ended + 1, rows + entry.rows.expect("rows")),
    })
    .expect("an audit log");
    let removed = stats.files_over_quota.load(SeqCst);
    assert_eq!((begun, ended), (removed, removed));
    assert_eq!(rows, lost + told - left.len() as u64);
}

#[test]
fn a_follower_sees_every_row_once_over_files_and_processes() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = JournalOptions { file_bytes: 8 << 10, ..options(dir.path()) };
    let mut follower = Follower::from_start(dir.path(), keyring(dir.path(), Purpose::Support));
    let seen = shared::<Vec<u64>>();
    let poll = |follower: &mut Follower| {
        let each = |row: &crate::record::Row<'_>| {
            seen.borrow_mut().push(row.seq);
            ControlFlow::Continue(())
        };
        follower.poll(each).expect("readable")
    };
    for _ in 0..2 {
        let (journal, handle) = start(Arc::new(OsDisk), options.clone());
        work(handle, async |recorder| {
            for i in 0..100 {
                let ticket = recorder.record_or_hold(&access("/some/path/of/a/page")).await.expect("room");
                assert_eq!(ticket.await, Outcome::Durable);
                if i % 7 == 0 {
                    poll(&mut follower);
                }
            }
        });
        assert!(journal.stop());
        poll(&mut follower);
    }
    let all: Vec<u64> = read(dir.path()).iter().map(|r| r.seq).collect();
    assert_eq!(all.len(), 200);
    assert_eq!(*seen.borrow(), all);
    let mut late = Follower::from_end(dir.path(), keyring(dir.path(), Purpose::Support)).expect("a folder");
    assert_eq!(poll(&mut late), 0);
}

#[test]
fn a_time_range_skips_files_and_frames() {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000_000);
    let dir = tempfile::tempdir().expect("a folder");
    let now = || Timestamp::from_micros(NOW.load(SeqCst));
    let (journal, mut handles) = Journal::start(options(dir.path()), now).expect("a journal");
    work(handles.remove(0), async |recorder| {
        for _ in 0..5 {
            let at = crate::record::Event { start_ts: Some(now()), ..access("/") };
            assert_eq!(recorder.record_or_hold(&at).await.expect("room").await, Outcome::Durable);
            NOW.fetch_add(1_000_000, SeqCst);
        }
    });
    assert!(journal.stop());
    let count = |range| {
        let mut reader = Reader::open(dir.path()).expect("a folder").newest_first();
        let each = |_: &crate::record::Row<'_>| ControlFlow::Continue(());
        reader.for_each_row(&keyring(dir.path(), Purpose::Support), &range, each).expect("readable").rows
    };
    let at = |secs| Some(Timestamp::from_secs(secs));
    assert_eq!(count(TimeRange { since: at(1002), until: at(1003) }), 2);
    assert_eq!(count(TimeRange { since: at(1003), until: None }), 2);
    assert_eq!(count(TimeRange { since: None, until: at(1001) }), 2);
    assert_eq!(count(TimeRange { since: at(2000), until: None }), 0);
}
