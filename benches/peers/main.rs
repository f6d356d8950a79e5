//! What a request costs: Kelisim beside the peers that are installed, in one run on one machine.
//!
//! `cargo bench --bench peers` starts an origin (core 0, with the load generator) and every peer (core 1), checks that
//! each does its job, and then measures them round by round in shuffled order. `--write` measures the full set and keeps it;
//! `--scale` measures Kelisim alone by size; `--callgrind` counts instructions instead. Absolute figures do not travel
//! between machines; the ratios inside one run do. Never touches the network but loopback, ends only what it started, and
//! needs `wrk`, `taskset` and `setpriv`. Bound: rounds × peers × (seconds + 15 s).

mod caddy;
mod callgrind;
mod chart;
mod check;
mod child;
mod client;
mod copy;
mod cpu;
mod haproxy;
mod http2;
mod kelisim;
mod load;
mod mode;
mod nginx;
mod origin;
mod peer;
mod plan;
mod report;
mod rounds;
mod scale;
mod syscalls;
mod tls;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use child::Workplace;

/// What can go wrong ends the bench; nobody has to tell the causes apart.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

/// What a request costs, beside other proxies.
#[derive(Debug, Parser)]
#[command(name = "peers")]
pub(crate) struct Args {
    /// Rounds; in each, every peer is measured once, in shuffled order
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) rounds: u32,
    /// Seconds of load on one peer in one round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
    /// Connections; with --h2, requests at a time, eight on each connection
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) connections: u32,
    /// Bytes of the origin's body; several with commas: 1024,65536
    #[arg(long, default_value = "1024", value_delimiter = ',')]
    pub(crate) body: Vec<usize>,
    /// Only these peers: copy, nginx, nginx-equal, haproxy, haproxy-equal, caddy, kelisim and its parts
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Kelisim with parts of the job switched off, instead of other proxies
    #[arg(long, conflicts_with = "only")]
    pub(crate) parts: bool,
    /// Each request on a connection of its own
    #[arg(long)]
    pub(crate) new_connections: bool,
    /// HTTP/1.1 over TLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// HTTP/2 over TLS
    #[arg(long, conflicts_with_all = ["tls", "new_connections"])]
    pub(crate) h2: bool,
    /// The full set of tables: two sizes of body, parts of the job, and with a third of the rounds the other ways
    #[arg(long, conflicts_with_all = ["body", "only", "parts", "new_connections", "tls", "h2"])]
    pub(crate) full: bool,
    /// Kelisim alone, by connections, threads, sites, cookie rules, and with and without location
    #[arg(long, conflicts_with_all = ["full", "body", "only", "parts", "new_connections", "tls", "h2", "smoke"])]
    pub(crate) scale: bool,
    /// Further country databases for the table about location (MMDB), with commas
    #[arg(long, value_name = "FILE", value_delimiter = ',', requires = "scale")]
    pub(crate) databases: Vec<PathBuf>,
    /// Every request is a first visit: no visitor cookie is sent
    #[arg(long)]
    pub(crate) first_visits: bool,
    /// One second of each peer; only their work is judged
    #[arg(long)]
    pub(crate) smoke: bool,
    /// The full set, written to benches/peers/RESULTS.md and results.svg; with --scale, SCALING.md; with --callgrind,
    /// instructions.toml
    #[arg(long, conflicts_with_all = ["body", "only", "parts", "new_connections", "tls", "h2", "smoke"])]
    pub(crate) write: bool,
    /// Count the gateway's user instructions under valgrind instead
    #[arg(long, conflicts_with_all = ["full", "scale", "parts", "new_connections", "tls", "h2"])]
    pub(crate) callgrind: bool,
    /// Fail if a request costs more instructions than instructions.toml allows
    #[arg(long, requires = "callgrind", conflicts_with_all = ["write", "body", "first_visits"])]
    pub(crate) check: bool,
    /// Requests counted with --callgrind
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub(crate) requests: u32,
    /// Another gateway binary than the one just built
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_kelisim"))]
    pub(crate) kelisim: PathBuf,
    /// Keep the folder with logs, records and profiles
    #[arg(long)]
    pub(crate) keep: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

fn main() -> ExitCode {
    if let Some(role) = std::env::var_os(child::ROLE) {
        return told(child::play(&role));
    }
    if std::env::args_os().len() == 1 {
        // `cargo test --all-targets` runs benches without any argument.
        eprintln!("skipped: run with `cargo bench --bench peers`");
        return ExitCode::SUCCESS;
    }
    told(run(Args::parse()))
}

fn run(mut args: Args) -> Fallible<()> {
    if args.smoke {
        (args.rounds, args.seconds) = (1, 1);
    }
    needed(&args)?;
    let mut workplace = Workplace::new(args.keep)?;
    if args.callgrind {
        return callgrind::run(&args, &workplace);
    }
    if args.scale {
        let text = scale::run(&args, &mut workplace)?;
        return told_and_kept(&args, &[("SCALING.md", text)]);
    }
    let mut all = Vec::new();
    for plan in plan::plans(&args)? {
        all.push(rounds::run(plan, &args.kelisim, &mut workplace)?);
    }
    let files = [("RESULTS.md", report::markdown(&all)), ("results.svg", chart::svg(&all))];
    told_and_kept(&args, &files)
}

/// Prints the first, and keeps all if asked to.
fn told_and_kept(args: &Args, files: &[(&str, String)]) -> Fallible<()> {
    if let Some((_, text)) = files.first() {
        println!("\n{text}");
    }
    for (name, text) in files.iter().filter(|_| args.write) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// What the bench cannot do without. Peers that are missing are left out instead.
fn needed(args: &Args) -> Fallible<()> {
    if std::thread::available_parallelism()?.get() <= child::PEER_CORE {
        return Err("two cores are needed: one for the peer, one for the load".into());
    }
    for (program, version) in [("taskset", "-V"), ("setpriv", "-V"), ("wrk", "-v"), ("h2load", "--version")] {
        let unused = match program {
            "wrk" => args.callgrind || args.h2,
            "h2load" => !args.h2,
            _ => false,
        };
        if !unused && child::says(program, &[version]).is_none() {
            return Err(format!("{program} is not installed").into());
        }
    }
    Ok(())
}

fn told(result: Fallible<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
