//! The table: medians, ranges, and ratios of the same run.

use std::fmt::Write as _;

use crate::Args;
use crate::rounds::{Measured, Results, Sample};

/// Peers that ratios are taken to, with the column's title.
const BASES: [(&str, &str); 3] =
    [("nginx-equal", "÷ nginx equal"), ("nginx", "÷ nginx plain"), ("copy", "÷ byte copy")];

/// Everything as Markdown.
pub(crate) fn markdown(args: &Args, all: &[Results]) -> String {
    let mut text = "# What a request costs, beside other proxies\n\n".to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}. {} rounds of {} s, {} keep-alive connections, one core for the peer, another for origin and load \
         generator. {}. Medians, in brackets the range over the rounds; ratios are taken within each round. \
         **Figures of other machines or days do not compare; the ratios do.**",
        today(),
        args.rounds,
        args.seconds,
        args.connections,
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
        let median =
            if figures.len() % 2 == 1 { figures[half] } else { f64::midpoint(figures[half - 1], figures[half]) };
        Some(Self { median, min, max })
    }
}

/// A peer's title in the table and the chart.
pub(crate) fn title(name: &str) -> &str {
    match name {
        "copy" => "raw TCP byte copy",
        "nginx" => "nginx, forwarding only",
        "nginx-equal" => "nginx, equal job",
        "haproxy" => "HAProxy, about the same job",
        "kelisim" => "**Kelisim, whole job**",
        other => other,
    }
}

fn table(text: &mut String, results: &Results) {
    let _ = writeln!(
        text,
        "\n## Body of {} KiB, request of about {:.1} KiB with 12 cookies\n",
        results.body / 1024,
        results.request as f64 / 1024.0
    );
    let bases: Vec<_> = BASES.iter().filter_map(|(name, title)| Some((find(results, name)?, *title))).collect();
    text.push_str("| | CPU µs/request |");
    bases.iter().for_each(|(_, title)| {
        let _ = write!(text, " {title} |");
    });
    text.push_str(" requests/s | core idle | RSS MiB | errors | records lost |\n|---|---|");
    text.push_str(&"---|".repeat(bases.len() + 5));
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
        let _ = writeln!(text, " {rate:.0} | {percent:.0} % | {memory:.0} | {errors} | {} |", peer.lost);
    }
    text.push_str("\nVersions: ");
    text.push_str(&results.peers.iter().map(|p| p.version.as_str()).collect::<Vec<_>>().join(", "));
    text.push_str(".\n");
    let stolen = results.peers.iter().flat_map(|p| &p.samples).map(|s| s.stolen).fold(0.0, f64::max);
    if stolen > 0.02 {
        let _ = writeln!(text, "\nThe machine below took up to {:.0} % of the core away.", stolen * 100.0);
    }
    for (name, why) in &results.absent {
        let _ = writeln!(text, "\nLeft out: {}: {why}.", title(name));
    }
}

/// A peer in a table.
pub(crate) fn find<'a>(results: &'a Results, name: &str) -> Option<&'a Measured> {
    results.peers.iter().find(|peer| peer.name == name)
}

/// CPU of one to that of another, round by round.
fn ratio(peer: &Measured, base: &Measured) -> Option<Spread> {
    Spread::of(peer.samples.iter().zip(&base.samples).map(|(a, b)| a.micros / b.micros.max(f64::MIN_POSITIVE)))
}

fn figures(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    )
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Processor and kernel.
fn machine() -> String {
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
- The byte copy understands nothing: it is the floor that the kernel's sockets set.
- RSS of nginx counts pages that master and worker share twice; HAProxy's holds the country map as a tree.
- A closed loop at saturation: good for CPU per request, silent about latency.

Run it: `cargo bench --bench peers -- --body 1024,65536 --write`.
";
