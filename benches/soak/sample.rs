//! One look at the process and at its figures.
//!
//! Bound: one page of metrics.

use std::fmt::Write as _;
use std::time::Instant;

use crate::gateway::Gateway;
use crate::traffic::Tally;
use crate::{Fallible, client};

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Seconds since the begin.
    pub(crate) second: u64,
    /// `start`, `load`, `rest`.
    pub(crate) phase: &'static str,
    /// Resident memory in KiB.
    pub(crate) rss: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Threads.
    pub(crate) threads: u64,
    /// Clients' connections.
    pub(crate) connections: f64,
    /// Connections to the site.
    pub(crate) pool: f64,
    /// Whole answers at the clients.
    pub(crate) answers: u64,
    /// Answers from 500 on at the clients, and as the gateway counts them.
    pub(crate) server_errors: (u64, f64),
    /// Faults of the gateway itself, as it counts them.
    pub(crate) internal: f64,
    /// Records lost.
    pub(crate) lost: f64,
    /// Exchanges that failed at clients that did nothing wrong.
    pub(crate) failures: u64,
    /// The last of them.
    pub(crate) last_failure: String,
    /// Reloads.
    pub(crate) reloads: f64,
}

impl Sample {
    /// Looks.
    pub(crate) async fn take(
        gateway: &Gateway,
        tally: &Tally,
        began: Instant,
        phase: &'static str,
    ) -> Fallible<Self> {
        let page = client::get(gateway.admin, "/metrics").await?;
        let proc = format!("/proc/{}", gateway.id());
        let status = std::fs::read_to_string(format!("{proc}/status"))?;
        let sum = |name: &str, labels: &[&str]| sum(&page, name, labels);
        Ok(Self {
            second: began.elapsed().as_secs(),
            phase,
            rss: of_status(&status, "VmRSS:")?,
            descriptors: std::fs::read_dir(format!("{proc}/fd"))?.count(),
            threads: of_status(&status, "Threads:")?,
            connections: sum("kelisim_connections", &[]),
            pool: sum("kelisim_upstream_pool_connections", &[]),
            answers: tally.answers.get(),
            server_errors: (
                tally.server_errors.get(),
                sum("kelisim_http_requests_total", &["status_class=\"5xx\""]),
            ),
            internal: sum("kelisim_request_rejected_total", &["reason=\"internal\""]),
            lost: sum("kelisim_journal_dropped_records_total", &[]),
            failures: tally.failures.get(),
            last_failure: tally.last_failure.borrow().clone(),
            reloads: sum("kelisim_config_reloads_total", &["result=\"ok\""]),
        })
    }
}

/// All samples, one a line; of many, only some.
pub(crate) fn table(samples: &[Sample]) -> String {
    let mut out = String::from(
        "  time phase  rss MiB  fds threads conns  pool   answers 5xx failed internal lost reloads\n",
    );
    let step = samples.len().div_ceil(LINES);
    for (index, s) in samples.iter().enumerate() {
        if index % step != 0 && s.phase == "load" {
            continue;
        }
        // A String takes everything.
        let _ = writeln!(
            out,
            "{:>5}s {:<5} {:>8.1} {:>4} {:>7} {:>5} {:>5} {:>9} {:>3} {:>6} {:>8} {:>4} {:>7}",
            s.second,
            s.phase,
            s.rss as f64 / 1024.0,
            s.descriptors,
            s.threads,
            s.connections,
            s.pool,
            s.answers,
            s.server_errors.0,
            s.failures,
            s.internal,
            s.lost,
            s.reloads
        );
    }
    out
}

/// The sum of all samples of a metric with these labels; 0 if there is none.
fn sum(page: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
            && labels.iter().all(|label| line.contains(label))
    });
    // Folded from 0, since the sum of nothing would be printed as -0.
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, |sum, n| sum + n)
}

fn of_status(status: &str, name: &str) -> Fallible<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Lines of the table, about.
const LINES: usize = 30;
