//! The promise of the records, sentence by sentence, against `kill -9`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use rustix::process::Signal;

use crate::support::wire::End;
use crate::support::{Answer, Gateway, Origin, ask};

/// Clients at the same time.
const CLIENTS: usize = 4;
/// How often the gateway is killed.
const ROUNDS: u64 = 10;
/// Answers that must have arrived in full before it is killed.
const ANSWERS: u64 = 60;

#[test]
fn whoever_received_an_answer_in_full_has_its_record_exactly_once() {
    killed_at("group");
}

#[test]
fn so_it_is_when_each_answer_waits_for_the_disk() {
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
                let (gateway, received, next, killed, answers) = (&gateway, &received, &next, &killed, &answers);
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
            crate::support::wait_for("some answers", || (answers.load(SeqCst) >= ANSWERS).then_some(()));
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
        // Bytes of a write that did not come to its end: behind the last frame of the newest file.
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
            file.seek(SeekFrom::Start(end as u64 + 1)).unwrap();
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
