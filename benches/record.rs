//! What a record costs: encoding, the way through the journal and back, and reading.
//!
//! `encode` must stay below 1.5 µs; the run fails otherwise. `round_trip` is one worker with so many requests waiting
//! at once at level `group`, all costs of worker, writer and disk cache included. `agent` is what a user agent says, for
//! one that is new and for one that is known.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kelisim::agents::{Agents, parse};
use kelisim::audit::AuditLog;
use kelisim::clock::{self, Timestamp};
use kelisim::config::Durability;
use kelisim::record::{Column, Event, ListBuf, Projection, Purpose};
use kelisim::seal::{Keyring, LocalKeys};
use kelisim::store::query::{Ask, Filter, open_read};
use kelisim::store::{Enrich as _, Facts, Journal, JournalOptions, Outcome, Reader, Recorder, TimeRange};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

fn event(cookies: &ListBuf) -> Event<'_> {
    Event {
        start_ts: Some(Timestamp::from_secs(1_795_341_600)),
        method: Some(b"GET"),
        scheme: Some(b"https"),
        domain: Some(b"www.example.org"),
        path: Some(b"/catalogue/books/2026/the-name-of-a-book"),
        status: Some(200),
        referer_origin: Some(b"https://www.example.org"),
        http_version: Some(b"2"),
        tls_version: Some(b"1.3"),
        ua_brands: Some(b"\"Chromium\";v=\"148\", \"Not A Brand\";v=\"24\""),
        ua_platform: Some(b"\"Linux\""),
        ua_mobile: Some(false),
        language: Some(b"kk"),
        request_bytes: Some(0),
        response_bytes: Some(15_360),
        duration: Some(2400),
        first_byte: Some(2300),
        upstream: Some(b"127.0.0.1:8000"),
        upstream_status: Some(200),
        upstream_time: Some(2100),
        request_id: Some(b"019aab5e-7a3c-7cc0-98c5-0a57c1a2f1f0"),
        traceparent: Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        fetch_site: Some(b"same-origin"),
        fetch_mode: Some(b"navigate"),
        fetch_dest: Some(b"document"),
        risk_action: Some(b"observe"),
        cookie_names: cookies.as_list(),
        cookie_categories: cookies.as_list(),
        cookie_bytes: Some(180),
        cookies_stripped: cookies.as_list(),
        consent: Some(b"denied"),
        consent_source: Some(b"own"),
        consent_reason: Some(b"no_choice"),
        client_address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
        client_port: Some(51_000),
        peer_address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
        user_agent: Some(
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0",
        ),
        ..Event::default()
    }
}

fn cookies() -> ListBuf {
    [&b"session"[..], b"_ga", b"_fbp", b"theme"].into_iter().collect()
}

fn encode(c: &mut Criterion) {
    let (cookies, mut out) = (cookies(), Vec::with_capacity(4096));
    let event = event(&cookies);
    c.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            black_box(&event).encode(&mut out);
        });
    });
    let begun = Instant::now();
    for _ in 0..100_000 {
        out.clear();
        black_box(&event).encode(&mut out);
    }
    let each = begun.elapsed() / 100_000;
    println!("encode: {} bytes, {each:?}", out.len());
    assert!(each < BUDGET, "encoding takes {each:?}, the budget is {BUDGET:?}");
}

fn options(dir: &Path, durability: Durability) -> JournalOptions {
    JournalOptions {
        dir: dir.to_owned(),
        keys_dir: dir.join("keys"),
        durability,
        group_commit: Duration::from_millis(200),
        file_bytes: 64 << 20,
        ring_bytes: 1 << 20,
        max_bytes: 1 << 30,
        terms: kelisim::store::Terms::days(90),
        rotate_after: Duration::from_secs(900),
        hold: Duration::from_millis(50),
        node: "bench".into(),
        workers: 1,
    }
}

/// Records `count` events, so many at once.
fn round(runtime: &Runtime, local: &LocalSet, recorder: &Recorder, at_once: u64, count: u64) -> Duration {
    let begun = Instant::now();
    local.block_on(runtime, async {
        let task = |share: u64| {
            let recorder = recorder.clone();
            tokio::task::spawn_local(async move {
                let cookies = cookies();
                for _ in 0..share {
                    let Ok(ticket) = recorder.record_or_hold(&event(&cookies)).await else { return false };
                    if ticket.await != Outcome::Durable {
                        return false;
                    }
                }
                true
            })
        };
        let tasks: Vec<_> =
            (0..at_once).map(|i| task(count / at_once + u64::from(i < count % at_once))).collect();
        for task in tasks {
            assert!(matches!(task.await, Ok(true)), "a record was lost");
        }
    });
    begun.elapsed()
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round_trip");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for (name, durability, at_once) in [
        ("group/1", Durability::Group, 1),
        ("group/64", Durability::Group, 64),
        ("group/512", Durability::Group, 512),
    ] {
        let Ok(dir) = tempfile::tempdir() else { return };
        let Ok((journal, mut handles)) = Journal::start(options(dir.path(), durability), clock::now) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        let (local, recorder) = (LocalSet::new(), handles.remove(0).attach());
        local.spawn_local(recorder.run());
        let stats = journal.stats();
        group.bench_function(name, |b| b.iter_custom(|n| round(&runtime, &local, &recorder, at_once, n)));
        let records = stats.records(kelisim::record::Kind::Access);
        let batches = stats.batches.load(std::sync::atomic::Ordering::Relaxed);
        let cpu = writer_cpu().as_nanos() as f64 / records.max(1) as f64;
        println!(
            "{name}: {:.1} records per write, {cpu:.0} ns of the writer thread per record",
            records as f64 / batches.max(1) as f64
        );
        assert!(journal.stop());
    }
    group.finish();
}

fn agent(c: &mut Criterion) {
    let text = |n: u32| {
        format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36"
        )
    };
    let mut group = c.benchmark_group("agent");
    let mut n = 0;
    group.bench_function("new", |b| {
        b.iter_batched_ref(
            || {
                n += 1;
                text(n)
            },
            |text| black_box(parse(text.as_bytes())),
            BatchSize::SmallInput,
        );
    });
    let (mut agents, known, mut fields) = (Agents::built_in(), text(142), Vec::new());
    let facts = Facts { agent: Some(known.as_bytes()), ..Facts::default() };
    agents.fields(&facts, &mut fields);
    assert!(!fields.is_empty());
    group.bench_function("known", |b| {
        b.iter(|| {
            fields.clear();
            agents.fields(&facts, &mut fields);
            black_box(fields.len())
        });
    });
    group.finish();
}

/// Processor time of the writer thread so far; zero where the system does not tell.
fn writer_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        (name.trim() == "journal-write").then(|| times.split(' ').next()?.parse::<u64>().ok())?
    });
    Duration::from_nanos(nanos.sum())
}

fn scan(c: &mut Criterion) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let Ok((journal, mut handles)) = Journal::start(options(dir.path(), Durability::Group), clock::now)
    else {
        return;
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    let (local, recorder) = (LocalSet::new(), handles.remove(0).attach());
    local.spawn_local(recorder.run());
    round(&runtime, &local, &recorder, 512, ROWS);
    assert!(journal.stop());
    let columns = ["http.response.status_code", "url.path"].map(Column::by_name);
    let columns: Vec<&Column> = columns.into_iter().flatten().collect();
    let projection = Projection::new(&columns);
    let filter = Filter::default();
    let (command, columns) = ("bench", &columns[..]);
    let ask =
        Ask { purpose: Purpose::Support, reason: None, command, filter: &filter, columns, disclosure: None };
    let (Ok(allowed), Ok(log)) = (ask.allow(), AuditLog::open(dir.path())) else { return };
    let Ok(grant) = open_read(allowed, log, Timestamp::default()) else { return };
    let keyring = Keyring::new(&grant, Arc::new(LocalKeys::at(&dir.path().join("keys"))));
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    group.bench_function("two columns", |b| {
        b.iter_batched(
            || Reader::open(dir.path()),
            |reader| {
                let Ok(mut reader) = reader else { return };
                let scanned = reader.for_each_row(&keyring, &TimeRange::default(), |row| {
                    let mut out = [None; 2];
                    row.project(&projection, &mut out);
                    black_box(&out);
                    ControlFlow::Continue(())
                });
                assert!(scanned.is_ok_and(|s| s.rows == ROWS));
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

const BUDGET: Duration = Duration::from_nanos(1500);
const ROWS: u64 = 200_000;

criterion_group!(benches, encode, round_trip, agent, scan);
criterion_main!(benches);
