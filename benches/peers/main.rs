//! What a request costs: Kelisim beside the peers that are installed, in one run on one machine.
//!
//! `cargo bench --bench peers` starts an origin (core 0, with the load generator) and every peer (core 1), checks that
//! each does its job, and then measures them round by round in shuffled order. `--callgrind` counts instructions
//! instead. Absolute figures do not travel between machines; the ratios inside one run do. Never touches the network
//! but loopback, ends only what it started, and needs `wrk`, `taskset` and `setpriv`. Bound: rounds × peers × (seconds
//! + 15 s).

mod callgrind;
mod chart;
mod check;
mod child;
mod client;
mod copy;
mod cpu;
mod haproxy;
mod kelisim;
mod load;
mod nginx;
mod origin;
mod peer;
mod report;
mod rounds;
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
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) rounds: u32,
    /// Seconds of load on one peer in one round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) connections: u32,
    /// Bytes of the origin's body; several with commas: 1024,65536
    #[arg(long, default_value = "1024", value_delimiter = ',')]
    pub(crate) body: Vec<usize>,
    /// Only these peers: copy, nginx, nginx-equal, haproxy, kelisim
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Every request is a first visit: no visitor cookie is sent
    #[arg(long)]
    pub(crate) first_visits: bool,
    /// One second of each peer; only their work is judged
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Write benches/peers/RESULTS.md and results.svg; with --callgrind, instructions.toml
    #[arg(long)]
    pub(crate) write: bool,
    /// Count the gateway's user instructions under valgrind instead
    #[arg(long)]
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
    let mut all = Vec::new();
    for &body in &args.body {
        all.push(rounds::run(&args, body, &mut workplace)?);
    }
    let text = report::markdown(&args, &all);
    println!("\n{text}");
    if args.write {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        std::fs::write(folder.join("RESULTS.md"), &text)?;
        std::fs::write(folder.join("results.svg"), chart::svg(&all))?;
    }
    Ok(())
}

/// What the bench cannot do without. Peers that are missing are left out instead.
fn needed(args: &Args) -> Fallible<()> {
    if std::thread::available_parallelism()?.get() <= child::PEER_CORE {
        return Err("two cores are needed: one for the peer, one for the load".into());
    }
    for (program, version) in [("taskset", "-V"), ("setpriv", "-V"), ("wrk", "-v")] {
        if child::says(program, &[version]).is_none() && !(args.callgrind && program == "wrk") {
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
