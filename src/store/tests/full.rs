//! Full rings and disks, failing writes and syncs: exact counts, and gap records that agree with them.

use std::sync::Arc;

use super::kit::*;
use crate::record::Kind;
use crate::store::writer::MANY;
use crate::store::{Full, LossReason, Outcome};

#[test]
fn promise_5_a_full_ring_sheds_after_the_hold_and_the_gap_is_exact() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
    let stats = journal.stats();
    disk.stuck(true);
    let (kept, shed) = work(handle, async |recorder| {
        let path = "x".repeat(2000);
        let (mut tickets, mut shed) = (Vec::new(), 0);
        while shed < 3 {
            match recorder.record_or_hold(&access(&path)).await {
                Ok(ticket) => tickets.push(ticket),
                Err(Full) => shed += 1,
            }
        }
        disk.stuck(false);
        let kept = tickets.len();
        for ticket in tickets {
            assert_eq!(ticket.await, Outcome::Durable);
        }
        (kept, shed)
    });
    assert!(journal.stop());
    assert_eq!(stats.dropped(Kind::Access, LossReason::RingFull), shed);
    assert_eq!(stats.records(Kind::Access), kept as u64);
    let told = gaps(dir.path());
    assert!(told.iter().all(|(reason, _)| reason == "ring_full"));
    assert_eq!(told.iter().filter_map(|(_, count)| *count).sum::<u64>(), shed);
    assert_eq!(paths(dir.path()).len(), kept);
}

#[test]
fn the_writer_rests_after_a_batch_of_many_and_never_in_a_trickle() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
    let stats = journal.stats();
    let rests = || stats.pauses.load(std::sync::atomic::Ordering::Relaxed);
    work(handle, async |recorder| {
        let submit = |path| recorder.record(&access(path)).expect("room");
        for _ in 0..2 * MANY {
            assert_eq!(submit("/trickle").await, Outcome::Durable);
        }
        assert_eq!(rests(), 0);
        disk.stuck(true);
        // What comes while the first is being written is the second batch.
        let mut tickets = vec![submit("/first")];
        recorder.flush();
        tickets.extend((0..2 * MANY).map(|_| submit("/many")));
        disk.stuck(false);
        for ticket in tickets {
            assert_eq!(ticket.await, Outcome::Durable);
        }
        // The next is written by a writer that has rested: twice, if the first batch took half of them.
        assert_eq!(submit("/next").await, Outcome::Durable);
        assert!((1..=2).contains(&rests()), "{}", rests());
    });
    assert!(journal.stop());
    assert_eq!(paths(dir.path()).len() as u64, 4 * MANY + 2);
}

#[test]
fn a_record_whose_wait_for_room_is_given_up_is_counted() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let hold = std::time::Duration::from_secs(60);
    let options = crate::store::JournalOptions { hold, ..options(dir.path()) };
    let (journal, handle) = start(Arc::new(disk.clone()), options);
    let stats = journal.stats();
    disk.stuck(true);
    work(handle, async |recorder| {
        let path = "x".repeat(2000);
        while recorder.record(&access(&path)).is_ok() {
            recorder.flush();
        }
        // The client left before the submission was looked at, and while it was waiting.
        drop(recorder.submit(&access(&path)));
        let mut waiting = recorder.submit(&access(&path));
        assert!(polled_once(&mut waiting).await.is_pending());
        drop(waiting);
        disk.stuck(false);
    });
    assert!(journal.stop());
    assert_eq!(stats.dropped(Kind::Access, LossReason::RingFull), 2);
}

async fn polled_once(submission: &mut crate::store::recorder::Submission) -> std::task::Poll<Outcome> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(Future::poll(std::pin::Pin::new(&mut *submission), cx)))
        .await
}

#[test]
fn promise_4_what_cannot_be_synced_is_told_before_the_site_is_asked_at_every_level() {
    for durability in [crate::config::Durability::Memory, crate::config::Durability::Group] {
        let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
        let options = crate::store::JournalOptions { durability, ..options(dir.path()) };
        let (journal, handle) = start(Arc::new(disk.clone()), options);
        disk.sync_fails(true);
        let outcome = work(handle, async |recorder| {
            let open = crate::record::Event { kind: Kind::Open, ..access("/pay") };
            recorder.submit(&open).await
        });
        assert_eq!(outcome, Outcome::Lost, "{durability:?}");
        disk.sync_fails(false);
        journal.stop();
    }
}

#[test]
fn room_that_comes_within_the_hold_loses_nothing() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let hold = std::time::Duration::from_secs(60);
    let options = crate::store::JournalOptions { hold, ..options(dir.path()) };
    let (journal, handle) = start(Arc::new(disk.clone()), options);
    disk.stuck(true);
    let sent = work(handle, async |recorder| {
        let path = "x".repeat(2000);
        let mut sent = 0;
        while recorder.record(&access(&path)).is_ok() {
            sent += 1;
            recorder.flush();
        }
        disk.stuck(false);
        assert_eq!(
            recorder.record_or_hold(&access(&path)).await.expect("room in time").await,
            Outcome::Durable
        );
        sent + 1
    });
    assert!(journal.stop());
    assert_eq!(paths(dir.path()).len(), sent);
    assert_eq!(gaps(dir.path()), []);
}

#[test]
fn promise_5_a_full_disk_loses_records_exactly_and_tells_when_there_is_room_again() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
    let stats = journal.stats();
    work(handle, async |recorder| {
        let record = async |path: &str| recorder.record_or_hold(&access(path)).await.expect("room").await;
        assert_eq!(record("/before").await, Outcome::Durable);
        disk.full(true);
        assert_eq!(record("/lost/1").await, Outcome::Lost);
        assert_eq!(record("/lost/2").await, Outcome::Lost);
        disk.full(false);
        assert_eq!(record("/after").await, Outcome::Durable);
    });
    assert!(journal.stop());
    assert_eq!(stats.dropped(Kind::Access, LossReason::DiskFull), 2);
    assert_eq!(paths(dir.path()), ["/before", "/after"]);
    let told: u64 = gaps(dir.path()).iter().filter(|(r, _)| r == "disk_full").filter_map(|(_, n)| *n).sum();
    assert_eq!(told, 2);
    let seqs: Vec<_> = read(dir.path()).iter().map(|r| r.seq).collect();
    assert!(seqs.windows(2).all(|w| w[1] == w[0] + 1), "a hole in seq");
}

#[test]
fn promise_5_what_a_stop_on_a_full_disk_cannot_tell_the_next_start_tells_exactly() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
    let mark = dir.path().join(format!("journal/{:06}.live", journal.instance()));
    assert_eq!(std::fs::metadata(&mark).expect("a mark").len(), 4096, "its room is reserved");
    work(handle, async |recorder| {
        let record = async |path: &str| recorder.record_or_hold(&access(path)).await.expect("room").await;
        assert_eq!(record("/before").await, Outcome::Durable);
        disk.full(true);
        assert_eq!(record("/lost/1").await, Outcome::Lost);
        assert_eq!(record("/lost/2").await, Outcome::Lost);
    });
    assert!(!journal.stop());
    disk.full(false);
    // Twice: it is told once.
    for path in ["/after", "/later"] {
        let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
        work(handle, async |recorder| {
            assert_eq!(recorder.record_or_hold(&access(path)).await.expect("room").await, Outcome::Durable);
        });
        assert!(journal.stop());
    }
    assert_eq!(gaps(dir.path()), [("disk_full".to_owned(), Some(2))]);
    assert_eq!(paths(dir.path()), ["/before", "/after", "/later"]);
}

#[test]
fn a_short_write_leaves_no_torn_frame() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let (journal, handle) = start(Arc::new(disk.clone()), options(dir.path()));
    work(handle, async |recorder| {
        let record = async |path: &str| recorder.record_or_hold(&access(path)).await.expect("room").await;
        assert_eq!(record("/before").await, Outcome::Durable);
        disk.short(30);
        assert_eq!(record("/lost").await, Outcome::Lost);
        disk.full(false);
        assert_eq!(record("/after").await, Outcome::Durable);
    });
    assert!(journal.stop());
    assert_eq!(paths(dir.path()), ["/before", "/after"]);
}

#[test]
fn promise_5_a_failed_fsync_gives_the_file_up_and_counts_what_it_held() {
    let (dir, disk) = (tempfile::tempdir().expect("a folder"), TestDisk::default());
    let durability = crate::config::Durability::Fsync;
    let options = crate::store::JournalOptions { durability, ..options(dir.path()) };
    let (journal, handle) = start(Arc::new(disk.clone()), options);
    let stats = journal.stats();
    work(handle, async |recorder| {
        let record = async |path: &str| recorder.record_or_hold(&access(path)).await.expect("room").await;
        assert_eq!(record("/before").await, Outcome::Durable);
        disk.sync_fails(true);
        assert_eq!(record("/doubtful").await, Outcome::Lost);
        disk.sync_fails(false);
        assert_eq!(record("/after").await, Outcome::Durable);
    });
    assert!(journal.stop());
    assert_eq!(stats.dropped(Kind::Access, LossReason::FsyncError), 1);
    let told: u64 = gaps(dir.path()).iter().filter(|(r, _)| r == "fsync_error").filter_map(|(_, n)| *n).sum();
    assert_eq!(told, 1 + stats.dropped(Kind::Gap, LossReason::FsyncError));
    assert!(super::super::files::list(&dir.path().join("journal")).expect("a folder").len() >= 2);
}
