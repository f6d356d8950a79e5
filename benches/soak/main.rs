//! Does the gateway stay as it is under hours of mixed traffic?
//!
//! `cargo bench --bench soak -- --minutes 30` starts an origin and the gateway, sends everything that clients do
//! (keep-alive, new connections, HTTP/2, uploads, downloads given up, slow readers and writers, tunnels, choices of
//! consent, reloads by HUP), and looks at the process every few seconds. At the end it judges: memory reached a plateau,
//! descriptors came back to where they began, no error was ours, no record was lost. Never touches the network but
//! loopback, and ends only what it started. Bound: `--minutes` and a minute more.

mod client;
mod gateway;
mod origin;
mod sample;
mod traffic;
mod verdict;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;

use gateway::Gateway;
use sample::{Sample, table};
use traffic::Tally;

/// What can go wrong ends the run; nobody has to tell the causes apart.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

/// Mixed traffic for a long time, and what becomes of memory, descriptors and errors.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Args {
    /// Minutes of load
    #[arg(long, default_value_t = 30.0)]
    pub(crate) minutes: f64,
    /// Twenty seconds of load; memory is told, but not judged
    #[arg(long)]
    pub(crate) smoke: bool,
    /// How much load: a factor on the number of clients
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) clients: u32,
    /// Another gateway binary than the one just built
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_kelisim"))]
    pub(crate) kelisim: PathBuf,
    /// Keep the folder with logs and records
    #[arg(long)]
    pub(crate) keep: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Fallible<bool> {
    let load = if args.smoke { SMOKE } else { Duration::from_secs_f64(args.minutes * 60.0) };
    let origin = origin::start()?;
    let gateway = Rc::new(Gateway::start(args, origin)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let samples: Vec<Sample> = tokio::task::LocalSet::new().block_on(&runtime, soak(args, &gateway, load))?;
    println!("{}", table(&samples));
    let passed = verdict::judge(&samples, args.smoke, &gateway.log()?);
    gateway.end()?;
    Ok(passed)
}

/// Load for that long, then rest until the gateway has; a sample every now and then.
async fn soak(args: &Args, gateway: &Rc<Gateway>, load: Duration) -> Fallible<Vec<Sample>> {
    let tally = Rc::new(Tally::default());
    // One exchange before the first look: threads and files that open with the first request belong to the start.
    client::get(gateway.address, "/small").await?;
    tokio::time::sleep(IDLE).await;
    let began = Instant::now();
    let mut samples = vec![Sample::take(gateway, &tally, began, "start").await?];
    let every = (load / SAMPLES).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let clients = traffic::start(args, gateway, &tally);
    while began.elapsed() < load {
        tokio::time::sleep(every).await;
        samples.push(Sample::take(gateway, &tally, began, "load").await?);
    }
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    let rested = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sample = Sample::take(gateway, &tally, began, "rest").await?;
        let quiet = sample.descriptors <= samples[0].descriptors && sample.connections <= 1.0;
        if quiet || rested.elapsed() > REST {
            samples.push(sample);
            return Ok(samples);
        }
    }
}

/// The load of a smoke run.
const SMOKE: Duration = Duration::from_secs(20);
/// How long the gateway may take to let go of everything.
const REST: Duration = Duration::from_secs(60);
/// Longer than any idle connection lives here.
const IDLE: Duration = Duration::from_secs(7);
/// About so many samples are taken under load.
const SAMPLES: u32 = 120;
