//! How long the commands take over many records, in the journal and in segments.
//!
//! Writes `KELISIM_BENCH_RECORDS` records (default 100,000) with the gateway's own writer into a temporary folder,
//! then measures whole commands, printing included; then makes segments of the journal and measures again.
//!
//! `KELISIM_BENCH_BESIDE=1` measures instead, over segments only, whole commands beside others at the same question:
//! DuckDB on the segments' clear columns, and with `KELISIM_BENCH_TEXT=1` jq and goaccess on the same requests as text.
//! What is not installed is left out with a line that says so. `KELISIM_BENCH_FOLDER` names a folder that keeps the
//! records, and where they are found the next time.

#![allow(clippy::expect_used, reason = "a bench that cannot begin has nothing to measure")]

mod beside;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Parser as _;
use criterion::{Criterion, criterion_group, criterion_main};
use kelisim::cli::logs::{LogsArgs, run_to};
use kelisim::clock;
use kelisim::config::Durability;
use kelisim::record::{Event, ListBuf};
use kelisim::seal::LocalKeys;
use kelisim::store::segments::{Compactor, CompactorOptions};
use kelisim::store::{Journal, JournalOptions, Recorder, Terms};

fn commands(c: &mut Criterion) {
    let count = std::env::var("KELISIM_BENCH_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().expect("a folder");
    if std::env::var_os("KELISIM_BENCH_BESIDE").is_some() {
        let kept = std::env::var_os("KELISIM_BENCH_FOLDER").map(PathBuf::from);
        return beside::run(kept.as_deref().unwrap_or(dir.path()), count);
    }
    fill(dir.path(), count);
    assert_eq!(held(dir.path()), count, "every record is there");
    measure(c, &format!("logs/{count}"), dir.path());
    let begun = clock::monotonic();
    let bytes = compact(dir.path());
    println!("segments: {:.2?} for {count} records, {bytes} bytes", begun.elapsed());
    assert_eq!(held(dir.path()), count, "every record is there");
    measure(c, &format!("logs/{count}/segments"), dir.path());
}

fn measure(c: &mut Criterion, name: &str, dir: &Path) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (name, words) in COMMANDS {
        let all = ["logs"].into_iter().chain(words.iter().copied());
        let mut args: Vec<_> = all.map(Into::into).collect();
        args.extend(["--data".into(), dir.as_os_str().to_owned()]);
        let args = LogsArgs::try_parse_from(args).expect("valid arguments");
        group.bench_function(*name, |b| b.iter(|| run_to(&args, clock::now(), &mut io::sink())));
    }
    group.finish();
}

/// Makes segments of everything; how many bytes they have.
fn compact(dir: &Path) -> u64 {
    let keys = LocalKeys::prepare(&dir.join("keys")).expect("keys");
    let options =
        CompactorOptions { dir: dir.to_owned(), terms: Terms::days(90), max_bytes: u64::MAX, segments: true };
    // Ahead, so that no file is too young.
    let now = || clock::now().plus(Duration::from_secs(60));
    let compactor = Compactor::start(options, Arc::new(keys), Arc::default(), now, None).expect("a thread");
    let stats = compactor.stats();
    while std::fs::read_dir(dir.join("journal")).expect("a folder").flatten().any(|e| is_journal(&e.path())) {
        std::thread::sleep(Duration::from_millis(1));
    }
    compactor.stop();
    stats.bytes.load(Relaxed)
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "kjl")
}

/// Name and words of each command.
const COMMANDS: &[(&str, &[&str])] = &[
    ("query status>=500 since:1h", &["query", "status>=500", "since:1h"]),
    ("query id=…", &["query", "id=01936f2e-7c1b-7d3a-9f3e-000000000000"]),
    ("query path~…", &["query", "path~/item/[0-9]*77$", "-n", "100000"]),
    ("query json", &["query", "status>=500", "--format", "json"]),
    ("top url.path", &["top", "url.path"]),
    ("top url.path by p95", &["top", "url.path", "--by", "p95"]),
    ("hist ts --bucket 1m", &["hist", "ts", "--bucket", "1m"]),
];

/// How many requests the journal holds.
fn held(dir: &Path) -> u64 {
    let words = ["logs", "top", "kind", "--format", "csv", "--data"];
    let args = words.into_iter().map(Into::into).chain([dir.as_os_str().to_owned()]);
    let mut out = Vec::new();
    assert_eq!(run_to(&LogsArgs::try_parse_from(args).expect("valid arguments"), clock::now(), &mut out), 0);
    let out = String::from_utf8(out).expect("UTF-8");
    out.lines().find_map(|line| line.strip_prefix("access,")?.parse().ok()).unwrap_or(0)
}

/// A stopped journal of `count` requests with the fields that a usual page view has.
fn fill(dir: &Path, count: u64) {
    let options = JournalOptions {
        dir: dir.to_owned(),
        keys_dir: dir.join("keys"),
        durability: Durability::Group,
        group_commit: Duration::from_millis(200),
        file_bytes: 64 << 20,
        ring_bytes: 8 << 20,
        max_bytes: 1 << 40,
        terms: Terms::days(90),
        rotate_after: Duration::from_secs(900),
        hold: Duration::from_secs(10),
        node: "bench".into(),
        workers: 1,
    };
    let (journal, mut handles) = Journal::start(options, clock::now).expect("a journal");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let recorder = handles.remove(0).attach();
        tokio::task::spawn_local(recorder.run());
        for n in 0..count {
            let ticket = record(&recorder, n).await;
            // One write per batch of this size, as under load.
            if n % 500 == 499 || n + 1 == count {
                ticket.expect("room in the ring").await;
            }
        }
    });
    assert!(journal.stop(), "everything is written");
}

async fn record(recorder: &Recorder, n: u64) -> Result<kelisim::store::Ticket, kelisim::store::Full> {
    // A fixed scramble, so that paths and durations are neither constant nor in order.
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let path = format!("/catalogue/item/{}", mixed % 20_000 * (mixed % 7) / 6);
    let id = format!("01936f2e-7c1b-7d3a-9f3e-{n:012x}");
    let names: ListBuf = [&b"sid"[..], b"_ga", b"_fbp", b"lang"].into_iter().collect();
    let categories: ListBuf =
        [&b"necessary"[..], b"analytics", b"advertising", b"functional"].into_iter().collect();
    let stripped: ListBuf = [&b"_fbp"[..]].into_iter().collect();
    let event = Event {
        start_ts: Some(clock::now()),
        method: Some(b"GET"),
        scheme: Some(b"https"),
        domain: Some(b"kz.example"),
        path: Some(path.as_bytes()),
        status: Some(if mixed.is_multiple_of(40) { 502 } else { 200 }),
        http_version: Some(b"2"),
        tls_version: Some(b"1.3"),
        response_bytes: Some(mixed % 60_000),
        duration: Some(800 + mixed % 90_000),
        first_byte: Some(700 + mixed % 80_000),
        request_id: Some(id.as_bytes()),
        cookie_names: names.as_list(),
        cookie_categories: categories.as_list(),
        cookies_stripped: stripped.as_list(),
        consent: Some(b"denied"),
        consent_source: Some(b"own"),
        client_address: Some(std::net::Ipv4Addr::from(mixed as u32).into()),
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"),
        ..Event::default()
    };
    recorder.record_or_hold(&event).await
}

criterion_group!(benches, commands);
criterion_main!(benches);
