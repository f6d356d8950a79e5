//! The one table of figures, and the page that shows them.
//!
//! Each row of the table is a typed constant; nothing else can put a name on the page. [`Metrics::new`] lays the
//! threads' counters out and hands each thread its own [`WorkerMetrics`]; they are summed when the page is asked for.
//! Never takes a lock or writes a shared cache line on a request's way; no label comes from the wire. Bound: the table
//! times the configured names, of which [`HOSTS_MAX`] hosts have a label of their own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};

use super::cells::Cells;
use super::family::{Counter, Family, Gauge, Histogram, Kind, Spec, families};
use super::plan::Plan;
use super::source::{Samples, Source};
use super::worker::WorkerMetrics;

families! {
    // Traffic.
    HTTP_REQUESTS: Counter "kelisim_http_requests_total" ["listener", "host", "method", "status_class"]
        = "Requests answered, by us or by the site.";
    HTTP_REQUEST_SECONDS: Histogram "kelisim_http_request_duration_seconds" ["listener"] in REQUEST_BUCKETS
        = "Time from the first byte of a request to the end of its answer.";
    HTTP_ACTIVE: Gauge "kelisim_http_active_requests" ["listener"]
        = "Requests whose answer is not complete.";
    CONNECTIONS: Gauge "kelisim_connections" ["state"]
        = "Connections of clients.";
    CONNECTIONS_REJECTED: Counter "kelisim_connections_rejected_total" ["reason"]
        = "Connections of clients that were closed by a limit, a timeout or an error.";
    REQUEST_REJECTED: Counter "kelisim_request_rejected_total" ["reason"]
        = "Requests that the site did not answer, by the reason.";
    RATE_ESTIMATED: Counter "kelisim_rate_limit_estimated_total" []
        = "Requests judged by the shared estimate because the memory of the rate limit was full.";
    DROPPED_HEADERS: Counter "kelisim_ingress_dropped_headers_total" ["reason"]
        = "Fields of requests that were not passed on.";
    TOLERATED: Counter "kelisim_ingress_tolerated_total" ["reason"]
        = "Request heads let through that ingress.strict would refuse, by what was wrong with them.";

    CERTIFICATE_EXPIRY: Gauge "kelisim_certificate_expiry_timestamp_seconds" ["listener"]
        = "When the certificate that a listener serves expires.";
    CERTIFICATE_RELOADS: Counter "kelisim_certificate_reloads_total" ["listener", "result"]
        = "Changed certificate files that were taken, and tries with such that could not be used.";

    // Upstream. An endpoint is its place in the configuration, from 0.
    UPSTREAM_REQUESTS: Counter "kelisim_upstream_requests_total" ["upstream", "endpoint", "result"]
        = "Exchanges with an endpoint, retries included.";
    UPSTREAM_SECONDS: Histogram "kelisim_upstream_response_seconds" ["upstream"] in REQUEST_BUCKETS
        = "Time from the request written to the head of the site's answer.";
    UPSTREAM_CONNECT_ERRORS: Counter "kelisim_upstream_connect_errors_total" ["upstream", "endpoint", "reason"]
        = "Connections to an endpoint that could not be made.";
    UPSTREAM_RETRIES: Counter "kelisim_upstream_retries_total" ["upstream", "endpoint", "reason"]
        = "Requests sent a second time; the endpoint is the one that failed.";
    UPSTREAM_NOT_REPEATED: Counter "kelisim_upstream_not_repeated_total" ["upstream", "endpoint"]
        = "Requests that an HTTP/2 server had not acted on and that were not sent again: more of the body had been sent than is kept.";
    UPSTREAM_POOL: Gauge "kelisim_upstream_pool_connections" ["upstream", "endpoint", "state"]
        = "Connections to an endpoint.";
    UPSTREAM_QUEUED: Gauge "kelisim_upstream_queued_requests" ["upstream", "endpoint"]
        = "Requests waiting for a connection to an endpoint.";
    UPSTREAM_HEALTHY: Gauge "kelisim_upstream_healthy" ["upstream", "endpoint"]
        = "1 while every thread sends requests to the endpoint, 0 while any holds it for down.";
    UPSTREAM_CLOSED: Counter "kelisim_upstream_pool_closed_total" ["upstream", "endpoint", "reason"]
        = "Pooled connections that were closed although nothing went wrong on them.";
    UPSTREAM_FAIL_OPEN: Counter "kelisim_upstream_fail_open_total" ["upstream"]
        = "Requests sent to an endpoint that is held for down because all of them are.";
    UPSTREAM_PROBES: Counter "kelisim_upstream_health_checks_total" ["upstream", "endpoint", "result"]
        = "Active health checks.";

    // Cookies and consent.
    COOKIES: Counter "kelisim_cookies_total" ["action", "category", "direction", "mode"]
        = "Cookies seen, by what was done with them; in mode dry-run, by what would have been done.";
    CONSENT_DECISIONS: Counter "kelisim_consent_decisions_total" ["result", "source"]
        = "Decisions about advertising, one per request.";
    COOKIES_OVERSIZE: Counter "kelisim_cookie_fields_oversize_total" []
        = "Requests forwarded with a Cookie field above 8 KiB, which many sites refuse.";
    CONSENT_CHOICES: Counter "kelisim_consent_choices_total" ["choice"]
        = "Choices that visitors made on the consent page or through its endpoint.";
    CONSENT_RECEIPTS: Counter "kelisim_consent_receipts_total" ["result"]
        = "Receipts of choices; whatever is not stored was refused to the visitor.";

    // Geo and risk.
    GEO_LOOKUPS: Counter "kelisim_geo_lookups_total" ["database", "purpose", "result"]
        = "Look-ups of an address in a location database.";
    GEO_DB_BUILD: Gauge "kelisim_geo_db_build_timestamp_seconds" ["database"]
        = "When the location database in use was built.";
    GEO_DB_RELOADS: Counter "kelisim_geo_db_reloads_total" ["database", "result"]
        = "Changed location databases that were opened; after an error the old one stays.";
    RISK_ASSESSMENTS: Counter "kelisim_risk_assessments_total" ["level"]
        = "Requests by their level of risk.";
    RISK_SIGNALS: Counter "kelisim_risk_signals_total" ["signal", "level"]
        = "Signals of fraud that fired.";
    RISK_ACTIONS: Counter "kelisim_risk_actions_total" ["action", "applied"]
        = "What the risk policy asked for, and whether it was done or only counted.";
    RISK_CAPACITY: Gauge "kelisim_risk_memory_capacity_entries" ["part"]
        = "Entries that the risk memory has room for.";
    RISK_ENTRIES: Gauge "kelisim_risk_memory_entries" ["part"]
        = "Entries in the risk memory.";
    RISK_EVICTIONS: Counter "kelisim_risk_evictions_total" ["part"]
        = "Entries that left the risk memory because its budget was used up.";
    RISK_SKETCHES: Gauge "kelisim_risk_sketches" []
        = "Parts of the risk memory whose exact counters are full and that estimate instead.";

    // Records.
    JOURNAL_RECORDS: Counter "kelisim_journal_records_total" ["kind"]
        = "Records written to the journal.";
    JOURNAL_DROPPED: Counter "kelisim_journal_dropped_records_total" ["kind", "reason"]
        = "Records that were lost; each loss is also a gap record.";
    JOURNAL_RING_FILL: Gauge "kelisim_journal_ring_fill_ratio" []
        = "How full the fullest thread's ring is, 0 to 1.";
    JOURNAL_HELD: Counter "kelisim_journal_held_responses_total" []
        = "Answers that waited because a ring was full.";
    JOURNAL_PAUSES: Counter "kelisim_journal_pauses_total" []
        = "Times that the writer rested after a batch of many, so that the next could grow.";
    JOURNAL_WRITE_SECONDS: Histogram "kelisim_journal_write_seconds" [] in JOURNAL_BUCKETS
        = "Time of one write of a batch.";
    JOURNAL_FSYNC_SECONDS: Histogram "kelisim_journal_fsync_seconds" [] in JOURNAL_BUCKETS
        = "Time of one fsync.";
    JOURNAL_UNSYNCED: Gauge "kelisim_journal_oldest_unsynced_seconds" []
        = "Age of the oldest record that would not survive a loss of power; 0 when there is none.";
    JOURNAL_ERRORS: Counter "kelisim_journal_errors_total" ["operation"]
        = "Failed operations on journal files.";
    RECORD_KEYS: Gauge "kelisim_record_keys" ["class", "state"]
        = "Keys that seal records: those that live, and those that were destroyed; versions of the subject key that are lost.";
    JOURNAL_AGENTS_SKIPPED: Counter "kelisim_journal_agents_skipped_total" []
        = "Records whose user agent was not parsed because the batch's time for it was used up.";
    JOURNAL_TAGS: Counter "kelisim_journal_tags_total" ["tag", "result"]
        = "Tags of visits and of persons that a record needed: hit (known), miss (made), evicted (made in the place of another).";
    AGENT_CACHE: Counter "kelisim_agent_cache_total" ["result"]
        = "User agents looked up in the caches of what they say: hit, miss, evicted, given_up (took too long), learned (parsed beside the writer).";
    AGENT_COMPLETED: Counter "kelisim_agent_completed_records_total" []
        = "Records whose user agent was parsed only on their way into a segment.";
    AGENT_DATA_LOADS: Counter "kelisim_agent_data_loads_total" ["file", "result"]
        = "Rule files for user agents that were read; after an error what was in force stays.";
    AGENT_DATA_RULES: Gauge "kelisim_agent_data_rules" ["file", "state"]
        = "Rules of such files that are in force, and those that cannot be used.";
    AGENT_DATA_BYTES: Gauge "kelisim_agent_data_size_bytes" ["file"]
        = "Memory of the compiled rules.";
    JOURNAL_TORN: Counter "kelisim_journal_torn_bytes_total" []
        = "Bytes cut from the ends of journal files at recovery.";
    JOURNAL_FILES: Gauge "kelisim_journal_files" []
        = "Journal files on the disk.";
    JOURNAL_SIZE: Gauge "kelisim_journal_size_bytes" []
        = "Bytes of all journal files.";
    JOURNAL_LIMIT: Gauge "kelisim_journal_limit_bytes" []
        = "Bytes that journal and segments may have together (records.max_bytes).";
    JOURNAL_REMOVED: Counter "kelisim_journal_removed_files_total" ["reason"]
        = "Journal files removed, because of their age or of the limit.";

    SEGMENTS: Gauge "kelisim_segments" []
        = "Segments on the disk.";
    SEGMENTS_SIZE: Gauge "kelisim_segments_size_bytes" []
        = "Bytes of all segments.";
    SEGMENTS_RECORDS: Counter "kelisim_segments_records_total" []
        = "Records that were moved from the journal into segments.";
    SEGMENTS_LAG: Gauge "kelisim_segments_lag_seconds" []
        = "How long the oldest closed journal file has waited for its segment; 0 when none waits.";
    SEGMENTS_ERRORS: Counter "kelisim_segments_errors_total" []
        = "Failed attempts to make or remove segments; each is repeated.";
    SEGMENTS_DAMAGED: Gauge "kelisim_segments_damaged_journal_files" []
        = "Closed journal files that cannot become segments because they are damaged or their keys are missing.";
    SEGMENTS_UNLISTED: Gauge "kelisim_segments_unlisted" []
        = "Segments that are in no line of the manifest and whose records are nowhere else; while there are any, none is made.";
    SEGMENTS_REMOVED: Counter "kelisim_segments_removed_total" ["reason"]
        = "Segments removed, because of their age or of the limit.";

    SEGMENTS_REWRITTEN: Counter "kelisim_segments_rewritten_total" []
        = "Segments written anew without columns whose keys were destroyed.";
    RETENTION_RUNS: Counter "kelisim_retention_runs_total" ["result"]
        = "Times that records whose time is over were looked for: complete, or failed and tried again.";
    RETENTION_LAG: Gauge "kelisim_retention_lag_seconds" []
        = "Time since everything whose time was over had been destroyed.";
    RETENTION_HOLDS: Gauge "kelisim_retention_holds" []
        = "Legal holds in force.";
    RETENTION_HELD: Gauge "kelisim_retention_held" ["class"]
        = "Days whose records only a legal hold or a minimum term keeps.";

    // Subjects.
    SUBJECT_TOMBSTONES: Gauge "kelisim_subject_tombstones" ["state"]
        = "People who are blocked, whose records are being erased, and whose records were erased and do not come back.";
    SUBJECT_HIDDEN: Counter "kelisim_subject_hidden_records_total" []
        = "Records of blocked people that were hidden as they were written.";
    SUBJECT_ERRORS: Counter "kelisim_subject_errors_total" []
        = "Failed attempts to read the book of tombstones; until one succeeds no new block is taken up.";

    // The access log.
    ACCESS_LOG_LINES: Counter "kelisim_access_log_lines_total" ["result"]
        = "Lines of the access log: written, dropped because the queue was full, or lost to a failed write.";

    // The gateway itself.
    CONFIG_RELOADS: Counter "kelisim_config_reloads_total" ["result"]
        = "Attempts to read the configuration anew; after an error the old one stays.";
    CONFIG_LAST_SUCCESS: Gauge "kelisim_config_last_success_timestamp_seconds" []
        = "When the configuration in use was read.";
    BUILD_INFO: Gauge "kelisim_build_info" ["version"]
        = "Always 1; the version is the label.";

    // The process, with the names that all Prometheus clients use.
    PROCESS_CPU: Counter "process_cpu_seconds_total" []
        = "User and system CPU time spent in seconds.";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" []
        = "Resident memory size in bytes.";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" []
        = "Virtual memory size in bytes.";
    PROCESS_OPEN_FDS: Gauge "process_open_fds" []
        = "Number of open file descriptors.";
    PROCESS_MAX_FDS: Gauge "process_max_fds" []
        = "Maximum number of open file descriptors.";
    PROCESS_THREADS: Gauge "process_threads" []
        = "Number of threads.";
    PROCESS_START: Gauge "process_start_time_seconds" []
        = "Start time of the process since the epoch in seconds.";
}

/// The names from the configuration that may be labels.
#[derive(Clone, Debug, Default)]
pub struct LabelSpace {
    /// Addresses of the listeners, in the configuration's order.
    pub listeners: Vec<String>,
    /// Host names of all sites. Those above [`HOSTS_MAX`] share `_other`.
    pub hosts: Vec<String>,
    /// Upstreams by name, with their number of endpoints.
    pub upstreams: Vec<(String, usize)>,
}

/// Every figure of the process.
pub struct Metrics {
    registry: Registry,
    page: Arc<Page>,
}

impl Metrics {
    /// Lays out the counters and makes `workers` handles, one for each thread that counts (give background threads that
    /// count one too). A label value stays for the life of the process; a reload may add some hosts and upstreams, and
    /// what is beyond counts as `_other`.
    ///
    /// # Errors
    /// If the table contradicts itself, which its test excludes.
    pub fn new(
        labels: &LabelSpace,
        workers: usize,
    ) -> Result<(Arc<Self>, Vec<WorkerMetrics>), prometheus::Error> {
        let plan = Arc::new(Plan::new(labels));
        let cells: Vec<_> = (0..workers).map(|_| Arc::new(Cells::new(plan.len()))).collect();
        let handles = cells.iter().map(|c| WorkerMetrics::new(Arc::clone(&plan), Arc::clone(c))).collect();
        let descs = ALL.iter().map(|spec| describe(spec)).collect::<Result<_, _>>()?;
        let page = Arc::new(Page { descs, plan, cells, sources: Mutex::new(Vec::new()) });
        let registry = Registry::new();
        registry.register(Box::new(SharedPage(Arc::clone(&page))))?;
        Ok((Arc::new(Self { registry, page }), handles))
    }

    /// Adds figures that are kept elsewhere and asked for with the page.
    pub fn add_source(&self, source: Arc<dyn Source>) {
        self.page.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// The index of a configured host, to be found once per configuration and kept with it. One that is new takes a
    /// spare place.
    #[must_use]
    pub fn host_index(&self, host: &str) -> Option<usize> {
        self.page.plan.host_index(host)
    }

    /// The index of an upstream with so many endpoints, likewise. `None` if there is no place left: count it under
    /// [`Metrics::other_upstream`].
    #[must_use]
    pub fn upstream_index(&self, upstream: &str, endpoints: usize) -> Option<usize> {
        self.page.plan.upstream_index(upstream, endpoints)
    }

    /// The index of the upstream `_other`.
    #[must_use]
    pub fn other_upstream(&self) -> usize {
        self.page.plan.other_upstream()
    }

    /// The page in the text exposition format 0.0.4 ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// If the encoder refuses a family.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("workers", &self.page.cells.len()).finish_non_exhaustive()
    }
}

/// What the registry asks.
struct Page {
    descs: Vec<Desc>,
    plan: Arc<Plan>,
    cells: Vec<Arc<Cells>>,
    sources: Mutex<Vec<Arc<dyn Source>>>,
}

/// The registry wants to own its collectors.
struct SharedPage(Arc<Page>);

impl Collector for SharedPage {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut samples = Samples::default();
        self.0.plan.collect(&self.0.cells, &mut samples);
        for source in self.0.sources.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            source.collect(&mut samples);
        }
        samples.into_families()
    }
}

/// The row that a series on the page belongs to: its name, or that of a histogram with one of the three suffixes.
#[must_use]
pub fn spec_of_series(series: &str) -> Option<&'static Spec> {
    let find = |name: &str| ALL.iter().copied().find(|spec| spec.name == name);
    find(series).or_else(|| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix))?;
        find(base).filter(|spec| spec.kind == MetricType::HISTOGRAM)
    })
}

fn describe(spec: &Spec) -> Result<Desc, prometheus::Error> {
    let labels = spec.labels.iter().map(|l| (*l).to_owned()).collect();
    Desc::new(spec.name.to_owned(), spec.help.to_owned(), labels, HashMap::new())
}

/// Hosts with a label of their own.
pub const HOSTS_MAX: usize = 500;

/// The label value for every host or upstream without one of its own.
pub const OTHER: &str = "_other";

/// The content type of the page.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// 5 ms to 10 s, and two finer ones: a local site answers within 1 ms. In microseconds.
const REQUEST_BUCKETS: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// 50 µs, a write into the page cache, to 5 s, a disk in trouble. In microseconds.
const JOURNAL_BUCKETS: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
