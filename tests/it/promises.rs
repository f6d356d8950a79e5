//! The promise of the records, sentence by sentence.
//!
//! | sentence | test |
//! |---|---|
//! | the record of a completed request survives `kill -9` | `promise_1_…` |
//! | it survives loss of power once the group-commit interval has passed | `promise_2_…` in `store::tests::power` |
//! | with `durability = "fsync"` the answer waits until the record is on the disk | `promise_3_…`, also in `store::tests::crash` |
//! | on paths of `record_before_forward` it is durable before the site is contacted, else 503 and the site sees nothing | `promise_4_…`, also in `store::tests` |
//! | every record that had to be dropped is counted exactly, and the gap is itself a record | `promise_5_…`, also in `store::tests::full` |

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::gate::Gate;
use crate::support::wire::End;
use crate::support::{Answer, Ask, Gateway, Origin, Reply, Seen, ask, cli, missing, wait_for};

/// Clients at the same time.
const CLIENTS: usize = 4;
/// How often the gateway is killed.
const ROUNDS: u64 = 10;
/// Answers that must have arrived in full before it is killed.
const ANSWERS: u64 = 60;
/// How long an answer is given that should not come.
const MOMENT: Duration = Duration::from_millis(300);

#[test]
fn promise_1_the_record_of_a_completed_request_survives_kill_9() {
    killed_at("group");
}

#[test]
fn promise_1_also_when_each_answer_waits_for_the_disk() {
    killed_at("fsync");
}

fn killed_at(level: &str) {
    // Three shapes of an answer: with a length, in chunks, and one that is large.
    let origin = Origin::start(|seen| match seen.target.len() % 3 {
        0 => Answer::text("short"),
        1 => Answer::new(200).chunked(["in ", "two"]),
        _ => Answer::text(vec![b'x'; 100_000]),
    });
    let mut gateway = Gateway::build(&[&origin]).key("records.durability", &format!("{level:?}")).start();
    let received = Mutex::new(Vec::new());
    let next = AtomicU64::new(0);
    for _ in 0..ROUNDS {
        let (killed, answers) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (gateway, received, next, killed, answers) =
                    (&gateway, &received, &next, &killed, &answers);
                let http2 = client % 2 == 1;
                scope.spawn(move || {
                    let mut one = (!http2).then(|| gateway.client());
                    let mut two = http2.then(|| gateway.http2());
                    while !killed.load(SeqCst) {
                        let path = format!("/n/{}{}", next.fetch_add(1, SeqCst), "x".repeat(client));
                        let question = ask("GET", &path);
                        let reply = match (&mut one, &mut two) {
                            (Some(client), _) => client.try_fetch(&question).ok(),
                            (_, Some(client)) => client.try_fetch(&question).ok(),
                            _ => None,
                        };
                        let Some(reply) = reply else { return };
                        if reply.end == End::Whole && reply.status == 200 {
                            received.lock().unwrap().push(path);
                            answers.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
            // By the number of answers, not by time: however slow the machine is, the kill falls into the load.
            wait_for("some answers", || (answers.load(SeqCst) >= ANSWERS).then_some(()));
            gateway.signal(Signal::KILL);
            killed.store(true, SeqCst);
        });
        gateway = gateway.crash_and_restart();
    }
    assert_eq!(gateway.client().get("/alive").status, 200);
    gateway.record("/alive");
    let mut counts: HashMap<String, u32> = HashMap::new();
    for record in gateway.records() {
        *counts.entry(record["url.path"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let received = received.into_inner().unwrap();
    assert!(received.len() as u64 >= ROUNDS * ANSWERS);
    let lost: Vec<_> = received.iter().filter(|path| !counts.contains_key(*path)).collect();
    assert!(lost.is_empty(), "{} of {} answers have no record: {lost:?}", lost.len(), received.len());
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "recorded more than once: {twice:?}");
    // Numbers are given once: two records never share one, over all ten lives.
    let mut numbers: Vec<u64> = gateway.records().iter().filter_map(|r| r["seq"].as_u64()).collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "a number was given twice");
}

/// Asks on a connection of its own; the answer comes by the channel.
fn asked<T>(gateway: &Gateway, question: Ask, then: impl FnOnce(&dyn Fn() -> Option<Reply>) -> T) -> T {
    let (send, answer) = channel();
    let mut client = gateway.client();
    std::thread::scope(|scope| {
        scope.spawn(move || send.send(client.fetch(&question)));
        // Long enough for an answer that waits for nothing; no test hangs on it.
        then(&|| match answer.recv_timeout(MOMENT) {
            Ok(reply) => Some(reply),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("no answer"),
        })
    })
}

#[test]
fn promise_3_at_level_fsync_the_answer_waits_until_the_record_is_on_the_disk() {
    for (level, waits) in [("fsync", true), ("group", false)] {
        let origin = Origin::pages();
        let builder = Gateway::build(&[&origin]).key("records.durability", &format!("{level:?}"));
        let Some((gate, builder)) = Gate::before(builder) else { return };
        let gateway = builder.start();
        assert_eq!(gateway.client().get("/before").status, 200);
        gate.close();
        asked(&gateway, ask("GET", "/waits"), |answer| {
            gate.wait_until_reached();
            if waits {
                assert!(answer().is_none(), "the answer came before its record was on the disk");
                gate.open();
            }
            let reply = wait_for("the answer", answer);
            assert_eq!((reply.status, reply.end), (200, End::Whole), "{level}");
            gate.open();
        });
        gateway.record("/waits");
        gateway.finish();
    }
}

#[test]
fn promise_4_until_the_record_is_on_the_disk_the_site_sees_nothing() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("records.record_before_forward", "[\"/pay\"]");
    let Some((gate, builder)) = Gate::before(builder) else { return };
    let gateway = builder.start();
    gate.close();
    asked(&gateway, ask("POST", "/pay").body("1"), |answer| {
        gate.wait_until_reached();
        assert!(
            answer().is_none() && origin.count() == 0,
            "the site was asked before the record was durable"
        );
        gate.open();
        assert_eq!(wait_for("the answer", answer).status, 200);
    });
    assert_eq!(origin.count(), 1);
    let kinds = cli::records(&gateway.data(), &["kind=open"]);
    assert_eq!(kinds.iter().filter(|record| record["url.path"] == "/pay").count(), 1, "{kinds:?}");
}

#[test]
fn promise_4_if_it_cannot_be_recorded_the_answer_is_503_and_the_site_sees_nothing() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("records.record_before_forward", "[\"/pay\"]");
    let Some((gate, builder)) = Gate::before(builder) else { return };
    let gateway = builder.start();
    assert_eq!(gateway.client().get("/before").status, 200);
    gate.break_down();
    let refused = gateway.client().fetch(&ask("POST", "/pay").body("1"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(origin.count(), 1, "the site saw a request without a record");
    assert_eq!(gateway.rejected("record_failed"), 1);
    gate.open();
    // As soon as the disk is well again, so are they.
    wait_for("a well disk", || {
        (gateway.client().fetch(&ask("POST", "/pay").body("2")).status == 200).then_some(())
    });
    assert_eq!(origin.count(), 2);
}

#[test]
fn promise_5_what_a_failed_fsync_cost_is_counted_and_told() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("records.durability", "\"fsync\"");
    let Some((gate, builder)) = Gate::before(builder) else { return };
    let gateway = builder.start();
    assert_eq!(gateway.client().get("/before").status, 200);
    gate.break_down();
    let failed = 5_u64;
    for n in 0..failed {
        assert_eq!(gateway.client().get(&format!("/lost/{n}")).status, 200, "an answer is no less for it");
    }
    gate.open();
    wait_for("a record again", || {
        gateway.client().get("/after");
        gateway.records().iter().any(|record| record["url.path"] == "/after").then_some(())
    });
    let counted = gateway.metric("kelisim_journal_dropped_records_total", &["kind=\"access\""]) as u64;
    assert!(counted >= failed, "{counted} were counted");
    let gaps = cli::records(&gateway.data(), &["kind=gap"]);
    let told =
        gaps.iter().filter(|gap| gap["gap.kind"] == "access").filter_map(|gap| gap["gap.count"].as_u64());
    assert_eq!(told.sum::<u64>(), counted, "{gaps:?}");
}

#[test]
fn promise_4_the_site_sees_the_request_only_after_its_record() {
    let (known, knows) = channel::<PathBuf>();
    let knows = Mutex::new(knows);
    let origin = Origin::start(move |seen| {
        let data = knows.lock().unwrap().recv().expect("the folder");
        let open = cli::records(&data, &["kind=open"]);
        let found =
            open.iter().filter(|r| r["url.path"] == "/pay" && r["request.id"] == seen_id(seen)).count();
        Answer::text(found.to_string())
    });
    let gateway = Gateway::build(&[&origin]).key("records.record_before_forward", "[\"/pay\"]").start();
    known.send(gateway.data()).unwrap();
    assert_eq!(gateway.client().fetch(&ask("POST", "/pay").body("1")).text(), "1", "the site saw its record");
    known.send(gateway.data()).unwrap();
    assert_eq!(gateway.client().get("/else").text(), "0");
    let access = gateway.record("/pay");
    assert_eq!(access["record.kind"], "access");
}

fn seen_id(seen: &Seen) -> &str {
    seen.headers.one("x-request-id").unwrap_or_default()
}

/// A file system of its own, gone with the test.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "kelisim-test"])
            .arg(at)
            .output();
        mounted.is_ok_and(|said| said.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the gateway may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn promise_5_every_record_that_had_to_be_dropped_is_counted_and_the_gap_is_a_record() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("records.file_bytes", "\"1MiB\"");
    let Some(small) = Small::mount(&builder.folder().join("records"), "8m") else {
        return missing("a tmpfs that may be mounted");
    };
    let gateway = builder.start();
    let asked = Cell::new(0_u64);
    let get = |path: &str| {
        asked.set(asked.get() + 1);
        assert_eq!(gateway.client().get(path).status, 200, "an answer is no less for a lost record");
    };
    get("/before");
    gateway.record("/before");
    let ballast = small.0.join("ballast");
    let fill = || {
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    };
    let dropped = || gateway.metric("kelisim_journal_dropped_records_total", &["kind=\"access\""]) as u64;
    let long = "x".repeat(4000);
    wait_for("the disk to be full", || {
        fill();
        for n in 0..20 {
            get(&format!("/full/{n}/{long}"));
        }
        (dropped() > 0).then_some(())
    });
    std::fs::remove_file(&ballast).unwrap();
    wait_for("records again", || {
        get("/after");
        gateway.records().iter().any(|record| record["url.path"] == "/after").then_some(())
    });
    // Each answer waited until its record was written or lost.
    let lost = dropped();
    assert_eq!(gateway.records().len() as u64 + lost, asked.get(), "recorded and counted as lost");
    let gaps = cli::records(&gateway.data(), &["kind=gap"]);
    assert!(gaps.iter().any(|gap| gap["gap.reason"] == "disk_full"), "{gaps:?}");
    let told = gaps.iter().filter(|gap| gap["gap.kind"] == "access");
    assert_eq!(told.filter_map(|gap| gap["gap.count"].as_u64()).sum::<u64>(), lost, "{gaps:?}");
    gateway.finish();
}
