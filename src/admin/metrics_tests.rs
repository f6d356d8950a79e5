//! The page as a whole: the table, the sums, the limits, and what `promtool` says of it.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::admin::cells::DurationHistogram;
use crate::admin::labels::*;
use crate::admin::process::ProcessSource;
use crate::admin::source::ConfigStatus;
use crate::clock::Timestamp;
use crate::cookies::{Category, Mode};
use crate::error::Reason;

fn space() -> LabelSpace {
    LabelSpace {
        listeners: vec!["0.0.0.0:8080".into(), "0.0.0.0:8443".into()],
        hosts: vec!["kz.example".into(), "www.kz.example".into()],
        upstreams: vec![("kz.example".into(), 2)],
    }
}

fn two_workers() -> (Arc<Metrics>, WorkerMetrics, WorkerMetrics) {
    let (metrics, mut workers) = Metrics::new(&space(), 2).unwrap();
    let second = workers.pop().unwrap();
    let first = workers.pop().unwrap();
    (metrics, first, second)
}

fn page(metrics: &Metrics) -> String {
    String::from_utf8(metrics.text().unwrap()).unwrap()
}

/// The value of one line, given as it stands on the page.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let page = page(metrics);
    let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Counts something in every family, so that each is on the page.
fn everything(metrics: &Metrics, w: &WorkerMetrics) {
    w.request(0, Some(0), MethodLabel::Get, 200, Duration::from_millis(7));
    w.request_rejected(Reason::Malformed);
    w.cookies(CookieAction::Stripped, Category::Advertising, Direction::Request, Mode::Enforce, 3);
    w.risk_signal(RiskSignal::CountryHop, RiskLevel::Low);
    w.upstream_response(0, Duration::from_micros(1_500));
    metrics.add_source(Arc::new(ConfigStatus::new(Timestamp::from_secs(1_795_341_600))));
    metrics.add_source(Arc::new(ProcessSource::new(Timestamp::from_secs(1_795_341_600))));
    metrics.add_source(Arc::new(JournalAndGeo));
    metrics.add_source(crate::consent::receipts::Receipts::none().stats());
}

/// Stands in for the journal and the databases, which have their own sources.
struct JournalAndGeo;

impl Source for JournalAndGeo {
    fn collect(&self, out: &mut Samples) {
        let histogram = DurationHistogram::of(JOURNAL_FSYNC_SECONDS);
        histogram.observe(Duration::from_micros(700));
        out.gauge(GEO_DB_BUILD, ["country"], 1_780_000_000.0);
        out.counter(GEO_DB_RELOADS, ["country", "ok"], 1);
        out.gauge(CERTIFICATE_EXPIRY, ["0.0.0.0:8443"], 1_790_000_000.0);
        out.counter(CERTIFICATE_RELOADS, ["0.0.0.0:8443", "ok"], 1);
        out.counter(ACCESS_LOG_LINES, ["written"], 1);
        out.counter(JOURNAL_RECORDS, ["access"], 12);
        out.counter(JOURNAL_DROPPED, ["access", "ring_full"], 0);
        out.gauge(JOURNAL_RING_FILL, [], 0.25);
        out.counter(JOURNAL_PAUSES, [], 2);
        out.histogram(JOURNAL_WRITE_SECONDS, [], &histogram.snapshot());
        out.histogram(JOURNAL_FSYNC_SECONDS, [], &histogram.snapshot());
        out.gauge(JOURNAL_UNSYNCED, [], 0.1);
        out.counter(JOURNAL_ERRORS, ["fsync"], 0);
        out.gauge(RECORD_KEYS, ["sec", "live"], 30.0);
        out.counter(JOURNAL_AGENTS_SKIPPED, [], 0);
        out.counter(JOURNAL_TAGS, ["visit", "hit"], 7);
        out.counter(AGENT_CACHE, ["hit"], 1);
        out.counter(AGENT_COMPLETED, [], 0);
        out.counter(AGENT_DATA_LOADS, ["bot", "ok"], 1);
        out.gauge(AGENT_DATA_RULES, ["bot", "used"], 1500.0);
        out.gauge(AGENT_DATA_BYTES, ["bot"], 1e6);
        out.counter(JOURNAL_TORN, [], 0);
        out.gauge(JOURNAL_FILES, [], 2.0);
        out.gauge(JOURNAL_SIZE, [], 1e6);
        out.gauge(JOURNAL_LIMIT, [], 1e9);
        out.counter(JOURNAL_REMOVED, ["age"], 0);
        out.gauge(SEGMENTS, [], 3.0);
        out.gauge(SEGMENTS_SIZE, [], 1e6);
        out.counter(SEGMENTS_RECORDS, [], 12);
        out.gauge(SEGMENTS_LAG, [], 0.0);
        out.counter(SEGMENTS_ERRORS, [], 0);
        out.gauge(SEGMENTS_DAMAGED, [], 0.0);
        out.gauge(SEGMENTS_UNLISTED, [], 0.0);
        out.counter(SEGMENTS_REMOVED, ["age"], 0);
        out.counter(SEGMENTS_REWRITTEN, [], 0);
        out.counter(RETENTION_RUNS, ["complete"], 1);
        out.gauge(RETENTION_LAG, [], 30.0);
        out.gauge(RETENTION_HOLDS, [], 0.0);
        out.gauge(RETENTION_HELD, ["sec"], 0.0);
        out.gauge(SUBJECT_TOMBSTONES, ["blocked"], 1.0);
        out.counter(SUBJECT_HIDDEN, [], 4);
        out.counter(SUBJECT_ERRORS, [], 0);
        out.gauge(RISK_CAPACITY, ["subjects"], 100.0);
        out.gauge(RISK_ENTRIES, ["subjects"], 1.0);
        out.counter(RISK_EVICTIONS, ["subjects"], 0);
        out.gauge(RISK_SKETCHES, [], 0.0);
    }
}

#[test]
fn names_types_and_labels_are_a_contract() {
    let rows: Vec<_> = ALL
        .iter()
        .map(|s| format!("{} {} {{{}}}", format!("{:?}", s.kind).to_lowercase(), s.name, s.labels.join(",")))
        .collect();
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
fn every_family_has_a_place_on_the_page() {
    let (metrics, w, _) = two_workers();
    everything(&metrics, &w);
    let page = page(&metrics);
    for spec in ALL {
        assert!(
            page.contains(&format!("# TYPE {} ", spec.name)),
            "{} is in the table but not on the page",
            spec.name
        );
    }
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    for line in samples {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(spec_of_series(name).is_some(), "{name} is on the page but not in the table");
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let (metrics, w, _) = two_workers();
    everything(&metrics, &w);
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        assert!(std::env::var_os("KELISIM_REQUIRE").is_none(), "required, but not installed: promtool");
        eprintln!("skipped: promtool not found");
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page(&metrics).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn threads_are_summed() {
    let (metrics, a, b) = two_workers();
    a.request(1, Some(1), MethodLabel::Post, 503, Duration::from_millis(1));
    b.request(1, Some(1), MethodLabel::Post, 500, Duration::from_millis(3));
    let series = r#"kelisim_http_requests_total{listener="0.0.0.0:8443",host="www.kz.example",method="POST",status_class="5xx"}"#;
    assert_eq!(value(&metrics, series), Some(2.0));
    let seconds = "kelisim_http_request_duration_seconds";
    let listener = r#"listener="0.0.0.0:8443""#;
    assert_eq!(value(&metrics, &format!("{seconds}_bucket{{{listener},le=\"0.001\"}}")), Some(1.0));
    assert_eq!(value(&metrics, &format!("{seconds}_bucket{{{listener},le=\"0.005\"}}")), Some(2.0));
    assert_eq!(value(&metrics, &format!("{seconds}_bucket{{{listener},le=\"+Inf\"}}")), Some(2.0));
    assert_eq!(value(&metrics, &format!("{seconds}_sum{{{listener}}}")), Some(0.004));
    assert_eq!(value(&metrics, &format!("{seconds}_count{{{listener}}}")), Some(2.0));
}

#[test]
fn a_gauge_may_fall_in_another_thread_than_it_rose() {
    let (metrics, a, b) = two_workers();
    a.active(0, 2);
    b.active(0, -1);
    a.connection(ConnectionState::Open, 1);
    assert_eq!(value(&metrics, r#"kelisim_http_active_requests{listener="0.0.0.0:8080"}"#), Some(1.0));
    b.connection(ConnectionState::Open, -3);
    assert_eq!(value(&metrics, r#"kelisim_connections{state="open"}"#), Some(-2.0));
}

#[test]
fn a_guard_counts_until_it_is_dropped() {
    let (metrics, a, _) = two_workers();
    let a = std::rc::Rc::new(a);
    let series = r#"kelisim_upstream_pool_connections{upstream="kz.example",endpoint="1",state="idle"}"#;
    let held = a.hold_pool(0, 1, PoolState::Idle);
    let _active = a.hold_active(1);
    assert_eq!(value(&metrics, series), Some(1.0));
    drop(held);
    assert_eq!(value(&metrics, series), Some(0.0));
    assert_eq!(value(&metrics, r#"kelisim_http_active_requests{listener="0.0.0.0:8443"}"#), Some(1.0));
}

#[test]
fn an_endpoint_is_healthy_only_if_every_thread_thinks_so() {
    let (metrics, a, b) = two_workers();
    let series = r#"kelisim_upstream_healthy{upstream="kz.example",endpoint="1"}"#;
    assert_eq!(value(&metrics, series), Some(1.0));
    b.upstream_healthy(0, 1, false);
    assert_eq!(value(&metrics, series), Some(0.0));
    a.upstream_healthy(0, 1, true);
    assert_eq!(value(&metrics, series), Some(0.0));
    b.upstream_healthy(0, 1, true);
    assert_eq!(value(&metrics, series), Some(1.0));
}

#[test]
fn unknown_hosts_and_upstreams_count_as_other() {
    let (metrics, a, _) = two_workers();
    assert!(!page(&metrics).contains(OTHER), "an unused _other is noise");
    a.request(0, None, MethodLabel::Other, 421, Duration::ZERO);
    a.upstream_request(metrics.other_upstream(), 0, UpstreamResult::Ok);
    a.upstream_request(0, 2, UpstreamResult::Ok);
    let host = r#"kelisim_http_requests_total{listener="0.0.0.0:8080",host="_other",method="_OTHER",status_class="4xx"}"#;
    assert_eq!(value(&metrics, host), Some(1.0));
    let upstream = r#"kelisim_upstream_requests_total{upstream="_other",endpoint="_other",result="ok"}"#;
    assert_eq!(value(&metrics, upstream), Some(2.0));
}

#[test]
fn what_a_reload_adds_takes_a_spare_place_while_there_is_one() {
    let (metrics, a, _) = two_workers();
    let before = page(&metrics);
    let host = metrics.host_index("new.example");
    assert_eq!(metrics.host_index("new.example"), host);
    a.request(0, host, MethodLabel::Get, 200, Duration::ZERO);
    let series = r#"kelisim_http_requests_total{listener="0.0.0.0:8080",host="new.example",method="GET",status_class="2xx"}"#;
    assert_eq!(value(&metrics, series), Some(1.0));
    let upstream = metrics.upstream_index("new.example", 2).unwrap();
    let count = page(&metrics).matches("kelisim_upstream_healthy{upstream=\"new.example\"").count();
    assert_eq!(count, 2, "its endpoints and no spare ones");
    assert!(!before.contains("new.example"));
    a.upstream_request(upstream, 1, UpstreamResult::Ok);
    let series = r#"kelisim_upstream_requests_total{upstream="new.example",endpoint="1",result="ok"}"#;
    assert_eq!(value(&metrics, series), Some(1.0));
    let full = (0..).find(|n| metrics.host_index(&format!("h{n}.example")).is_none());
    assert_eq!(full, Some(super::super::plan::SPARE_HOSTS - 1));
    let full = (0..).find(|n| metrics.upstream_index(&format!("u{n}.example"), 1).is_none());
    assert!(full.is_some());
}

#[test]
fn hosts_above_the_limit_share_other() {
    let hosts = (0..=HOSTS_MAX).map(|i| format!("h{i}.example")).collect();
    let labels = LabelSpace { listeners: vec!["a".into()], hosts, upstreams: Vec::new() };
    let (metrics, workers) = Metrics::new(&labels, 1).unwrap();
    assert_eq!(metrics.host_index("h499.example"), Some(HOSTS_MAX - 1));
    assert_eq!(metrics.host_index("h500.example"), None);
    workers[0].request(0, Some(HOSTS_MAX), MethodLabel::Get, 200, Duration::ZERO);
    let series = r#"kelisim_http_requests_total{listener="a",host="_other",method="GET",status_class="2xx"}"#;
    assert_eq!(value(&metrics, series), Some(1.0));
}

#[test]
fn no_cell_serves_two_series() {
    // Each call once, in a plan with several of everything: every sample that is not zero must be exactly 1.
    let (metrics, w, _) = two_workers();
    w.upstream_connect_error(0, 0, ConnectError::Dns);
    w.upstream_retry(0, 1, RetryReason::Stale);
    w.pool_connections(0, 1, PoolState::Busy, 1);
    w.upstream_queued(0, 0, 1);
    w.connection_rejected(ConnReason::AcceptError);
    w.dropped_header(DropReason::Trailer);
    w.request_rejected(Reason::Internal);
    w.consent(ConsentResult::Denied, ConsentOrigin::None);
    w.consent_choice(ConsentChoice::Withdrawn);
    w.geo_lookup(GeoDatabase::Asn, GeoResult::Error);
    w.risk_assessment(RiskLevel::High);
    w.risk_signal(RiskSignal::NewNetwork, RiskLevel::High);
    w.risk_action(RiskAction::Deny, Applied::Yes);
    w.journal_held();
    w.cookies(CookieAction::Expired, Category::Unknown, Direction::Response, Mode::DryRun, 1);
    let page = page(&metrics);
    let set: Vec<_> = page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("kelisim_upstream_healthy"))
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    assert_eq!(set.len(), 15, "{set:#?}");
    assert!(set.iter().all(|line| line.ends_with(" 1")), "{set:#?}");
}

#[test]
fn a_handle_may_move_to_a_thread() {
    let (metrics, a, b) = two_workers();
    let threads: Vec<_> = [a, b]
        .into_iter()
        .map(|w| std::thread::spawn(move || (0..1_000).for_each(|_| w.request_rejected(Reason::QueueFull))))
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(value(&metrics, r#"kelisim_request_rejected_total{reason="queue_full"}"#), Some(2_000.0));
}
