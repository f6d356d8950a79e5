//! The table: medians, ranges, and ratios of the same run.

use std::fmt::Write as _;

use crate::mode::Mode;
use crate::plan::Plan;
use crate::rounds::{Measured, Results, Sample};

/// Peers that ratios are taken to, with the column's title.
const BASES: [(&str, &str); 4] = [
    ("nginx-equal", "÷ nginx equal"),
    ("nginx", "÷ nginx plain"),
    ("copy", "÷ byte copy"),
    ("kelisim-plain", "÷ own plain forwarding"),
];

/// Everything as Markdown.
pub(crate) fn markdown(all: &[Results]) -> String {
    let mut text = "# What a request costs, beside other proxies\n\n".to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}. One core for the peer, another for origin and load generator. {}. Medians, in brackets the range over the \
         rounds; ratios are taken within each round. **Figures of other machines or days do not compare; the ratios \
         do.**",
        today(),
        machine()
    );
    for results in all {
        table(&mut text, results);
    }
    text.push_str(UNEQUAL);
    text
}

/// The middle of some figures, and the range around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Median.
    pub(crate) median: f64,
    /// Smallest.
    pub(crate) min: f64,
    /// Largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of figures, at least one.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let half = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[half]
        } else {
            f64::midpoint(figures[half - 1], figures[half])
        };
        Some(Self { median, min, max })
    }
}

/// A peer's title in the table and the chart.
pub(crate) fn title(name: &str) -> &str {
    match name {
        "copy" => "raw TCP byte copy",
        "nginx" => "nginx, forwarding only",
        "nginx-equal" => "nginx, equal job",
        "haproxy" => "HAProxy, forwarding only",
        "haproxy-equal" => "HAProxy, about the same job",
        "caddy" => "Caddy, part of the same job",
        "kelisim" => "**Kelisim, whole job**",
        "kelisim-memory" => "Kelisim, records not synced, no segments",
        "kelisim-no-consent" => "Kelisim, no consent, all cookies allowed",
        "kelisim-no-country" => "Kelisim, no location",
        "kelisim-no-risk" => "Kelisim, no location, no risk signals",
        "kelisim-lenient" => "Kelisim, ingress not strict",
        "kelisim-plain" => "Kelisim, all of these off",
        other => other,
    }
}

fn table(text: &mut String, results: &Results) {
    let Plan { rounds, seconds, connections, first_visits, mode, .. } = results.plan;
    let _ = writeln!(
        text,
        "\n## {}\n\nRounds: {rounds}, of {seconds} s; {connections} {}, a request of about {:.1} KiB with {} cookies.\n",
        results.plan.title(),
        if mode == Mode::Http2 { "requests at a time" } else { "connections" },
        results.request as f64 / 1024.0,
        if first_visits { 11 } else { 12 },
    );
    if !results.peers.is_empty() {
        rows(text, results);
    }
    for (name, why) in &results.absent {
        let _ = writeln!(text, "\nLeft out: {}: {why}.", title(name).trim_matches('*'));
    }
}

fn rows(text: &mut String, results: &Results) {
    let bases: Vec<_> =
        BASES.iter().filter_map(|(name, title)| Some((find(results, name)?, *title))).collect();
    text.push_str("| | CPU µs/request |");
    bases.iter().for_each(|(_, title)| {
        let _ = write!(text, " {title} |");
    });
    text.push_str(" requests/s | core idle | system calls | RSS MiB | errors | records lost |\n|---|---|");
    text.push_str(&"---|".repeat(bases.len() + 6));
    text.push('\n');
    for peer in &results.peers {
        let column = |of: fn(&Sample) -> f64| Spread::of(peer.samples.iter().map(of));
        let _ = write!(text, "| {} | {} |", title(peer.name), figures(column(|s| s.micros), 1));
        for (base, _) in &bases {
            let _ = write!(text, " {} |", figures(ratio(peer, base), 2));
        }
        let percent = column(|s| s.idle * 100.0).map_or(0.0, |s| s.median);
        let rate = column(|s| s.rate).map_or(0.0, |s| s.median);
        let memory = column(|s| s.resident_kib as f64 / 1024.0).map_or(0.0, |s| s.max);
        let errors: u64 = peer.samples.iter().map(|s| s.errors).sum();
        let calls = peer.calls.map_or_else(|| "–".to_owned(), |calls| format!("{calls:.1}"));
        let _ = writeln!(
            text,
            " {rate:.0} | {percent:.0} % | {calls} | {memory:.0} | {errors} | {} |",
            peer.lost
        );
    }
    let mut versions: Vec<&str> = results.peers.iter().map(|p| p.version.as_str()).collect();
    versions.dedup();
    let _ = writeln!(text, "\nVersions: {}.", versions.join(", "));
    let stolen = results.peers.iter().flat_map(|p| &p.samples).map(|s| s.stolen).fold(0.0, f64::max);
    if stolen > 0.02 {
        let _ = writeln!(text, "\nThe machine below took up to {:.0} % of the core away.", stolen * 100.0);
    }
}

/// A peer in a table.
pub(crate) fn find<'a>(results: &'a Results, name: &str) -> Option<&'a Measured> {
    results.peers.iter().find(|peer| peer.name == name)
}

/// CPU of one to that of another, round by round.
pub(crate) fn ratio(peer: &Measured, base: &Measured) -> Option<Spread> {
    Spread::of(
        peer.samples.iter().zip(&base.samples).map(|(a, b)| a.micros / b.micros.max(f64::MIN_POSITIVE)),
    )
}

/// A median with its range.
pub(crate) fn figures(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    )
}

/// The date.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Processor and kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1));
    let cores = info.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{cores} cores of {}, Linux {kernel}", model.unwrap_or("an unknown processor"))
}

const UNEQUAL: &str = "
## What is unequal

- Kelisim decides consent, judges `Set-Cookie`, computes risk signals, counts some fifty metrics, knows every cookie
  of its catalogue, and syncs its records to the disk (every 200 ms, durability `group`).
- nginx's and HAProxy's *equal job*: the country from the same database, ten advertising cookies stripped, a visitor
  cookie, a request id, forwarded fields, a JSON line per request. Their logs are not synced; they do not look at
  `Set-Cookie`, know no consent, compute no risk and count no metrics. nginx buffers its log, HAProxy's standard output
  is a file.
- Caddy does the same without the country, which its Debian package cannot look up; its log has more fields of the
  request and of the answer than the others', and is not synced.
- *Forwarding only* is what the program does with the least configuration that keeps connections to the site: nginx and
  HAProxy write no log then. Kelisim with everything off that has a switch still gives ids, writes records (not synced)
  and counts.
- The byte copy understands nothing: it is the floor that the kernel's sockets set. It has a connection to the site for
  each of the client's, so with new connections it opens two for each request, where the others keep theirs to the site;
  with TLS it ends that (rustls) and copies what is inside.
- TLS: one self-made certificate (P-256) for all; nginx, HAProxy and the load generators use OpenSSL, Kelisim and the
  byte copy rustls, Caddy Go's own. With new TLS connections a session may be resumed, as client and server agree.
- HTTP/2: eight requests at a time on each connection, all of them of one visitor, from one address. The site's server
  gets HTTP/1.1. Kelisim lets one client have at most half of the connections to a site; that limit is raised here.
- New connections: part of what they cost the kernel is done for whoever is running, on either core.
- System calls are counted once, by strace, apart from the rounds: a traced peer is slower, and finds more to do each
  time it wakes up.
- RSS of nginx counts pages that master and worker share twice; HAProxy's holds the country map as a tree.
- Where the peer's core was idle for more than a few percent, the load generator was the limit.
- A closed loop at saturation: good for CPU per request, silent about latency.

Run it: `cargo bench --bench peers -- --write`.
";
