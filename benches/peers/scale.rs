//! How the gateway's costs grow: with connections, threads, sites, cookie rules and the country database.
//!
//! One table for each of these; within a table all gateways run at the same time and are measured in turn, so that its
//! rows compare with one another. Everything that a table is not about is as in the first table of the other report.
//! Bound: five tables.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ::kelisim::cookies::catalogue::Catalogue;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::child::Workplace;
use crate::kelisim::{Part, Shape};
use crate::mode::Mode;
use crate::peer::{Start, Starter};
use crate::plan::Plan;
use crate::report::{Spread, figures, machine, ratio, today};
use crate::rounds::{Measured, Results, Sample};
use crate::{Args, Fallible, rounds};

/// Descriptors that so many connections need in the gateway and in the load generator, with some to spare.
const DESCRIPTORS: u64 = 12_000;

/// Measures and writes it down.
pub(crate) fn run(args: &Args, workplace: &mut Workplace) -> Fallible<String> {
    let enough = raise_descriptors() >= DESCRIPTORS;
    let mut text = head();
    for (about, rows) in TABLES {
        let mut starters: Vec<Starter> =
            rows.iter().filter(|Starter(name, _)| enough || *name != MOST).copied().collect();
        if about == LOCATION {
            starters.extend(databases(args)?);
        }
        let plan = Plan {
            mode: Mode::KeepAlive,
            body: 1024,
            rounds: args.rounds.div_ceil(2),
            seconds: args.seconds,
            connections: args.connections,
            first_visits: args.first_visits,
            calls: false,
            starters,
            about: Some(about),
        };
        table(&mut text, &rounds::run(plan, &args.kelisim, workplace)?);
    }
    if !enough {
        let _ = writeln!(text, "\nLeft out: {MOST}, which need {DESCRIPTORS} open files.");
    }
    let _ = write!(text, "{NOTES}\nBuilt-in rules: {}.\n", Catalogue::builtin().all().count());
    Ok(text + HOW)
}

/// A row for each database that was named, as long as the process lives.
fn databases(args: &Args) -> Fallible<Vec<Starter>> {
    let row = |file: &PathBuf| {
        let file: &Path = Box::leak(file.canonicalize()?.into_boxed_path());
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}, {:.1} MB", file.metadata()?.len() as f64 / 1e6);
        Ok(Starter(name.leak(), Start::Kelisim(Shape { database: Some(file), ..Shape::WHOLE })))
    };
    args.databases.iter().map(row).collect()
}

/// Takes as many descriptors as are allowed, for what is started as well.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    allowed.unwrap_or(u64::MAX)
}

fn head() -> String {
    format!(
        "# What a request costs, by size\n\n{}. Kelisim alone with the whole job, one core, HTTP/1.1 over kept \
         connections, a body of 1 KiB, 64 connections unless said otherwise. {}. Medians, in brackets the range over \
         the rounds; ratios are to the first row, within each round. **Figures of other machines or days do not \
         compare; the ratios do.**\n",
        today(),
        machine()
    )
}

fn table(text: &mut String, results: &Results) {
    // Writing to a string cannot fail.
    let Plan { about, rounds, seconds, .. } = &results.plan;
    let _ = writeln!(
        text,
        "\n## {}\n\nRounds: {rounds}, of {seconds} s.\n\n\
         | | CPU µs/request | ÷ first row | requests/s | core idle | RSS MiB | errors | records lost |\n\
         |---|---|---|---|---|---|---|---|",
        about.unwrap_or_default()
    );
    let Some(first) = results.peers.first() else { return };
    for peer in &results.peers {
        row(text, peer, first);
    }
    let _ = writeln!(text, "\nVersion: {}.", first.version);
}

fn row(text: &mut String, peer: &Measured, first: &Measured) {
    let column = |of: fn(&Sample) -> f64| Spread::of(peer.samples.iter().map(of));
    let errors: u64 = peer.samples.iter().map(|s| s.errors).sum();
    let _ = writeln!(
        text,
        "| {} | {} | {} | {:.0} | {:.0} % | {:.1} | {errors} | {} |",
        peer.name,
        figures(column(|s| s.micros), 1),
        figures(ratio(peer, first), 2),
        column(|s| s.rate).map_or(0.0, |s| s.median),
        column(|s| s.idle * 100.0).map_or(0.0, |s| s.median),
        column(|s| s.resident_kib as f64 / 1024.0).map_or(0.0, |s| s.max),
        peer.lost
    );
}

const fn connections(name: &'static str, connections: u32) -> Starter {
    Starter(name, Start::Kelisim(Shape { connections: Some(connections), ..Shape::WHOLE }))
}

const fn workers(name: &'static str, workers: u32) -> Starter {
    Starter(name, Start::Kelisim(Shape { workers, ..Shape::WHOLE }))
}

const fn sites(name: &'static str, sites: u32) -> Starter {
    Starter(name, Start::Kelisim(Shape { sites, ..Shape::WHOLE }))
}

const fn rules(name: &'static str, rules: u32) -> Starter {
    Starter(name, Start::Kelisim(Shape { rules, ..Shape::WHOLE }))
}

const LOCATION: &str = "Location";
const MOST: &str = "10,000 connections";

const TABLES: [(&str, &[Starter]); 5] = [
    (
        "Connections",
        &[
            connections("100 connections", 100),
            connections("1 connection", 1),
            connections("10 connections", 10),
            connections("1,000 connections", 1000),
            connections(MOST, 10_000),
        ],
    ),
    ("Threads", &[workers("1 worker on a core", 1), workers("2 workers on two cores", 2)]),
    (
        "Sites",
        &[sites("1 site", 1), sites("10 sites", 10), sites("100 sites", 100), sites("1,000 sites", 1000)],
    ),
    (
        "Cookie rules",
        &[
            rules("the built-in rules", 0),
            rules("300 more", 300),
            rules("1,000 more", 1000),
            rules("3,000 more", 3000),
            rules("10,000 more", 10_000),
        ],
    ),
    (
        LOCATION,
        &[
            workers("the shipped country database", 1),
            Starter("no database", Start::Kelisim(Shape { off: &[Part::Country], ..Shape::WHOLE })),
        ],
    ),
];

const NOTES: &str = "
## What to know

- Closed loop: each connection sends its next request when the answer is there. With few connections the core is idle in
  between, and much of what a request costs is waking up; with many the gateway is always busy.
- All connections but 64 wait for one to the site, so 1,000 and 10,000 connections are as many requests waiting; the
  limits are raised for it (`limits.connections_per_client`, `limits.upstream_queue`). The connections are opened anew
  in each round, and that is counted: with 10,000 it is a good part of the cost.
- Two workers share the second core with the load generator and the site's server when the machine has two cores only:
  CPU per request is right, requests per second are not what two cores give. *Core idle* is of the first worker's core.
- Of several sites each gets requests. The rules are `analytics` cookies that nobody sends; all of one file.
- Databases beside the shipped one (5.2 MB) are the user's, given with `--databases`.
- RSS is at the end of the last round, with the memory of risk signals, buffers and the country database.
";

const HOW: &str = "
Run it: `cargo bench --bench peers -- --scale --write`.
";
