//! The measurement: every peer once per round, in shuffled order, after checks and a warm-up.
//!
//! CPU is what the peer's process tree used from the first request until its logs were flushed, divided by the answers
//! that the load generator counted. Bound: see the crate.

use std::hash::{BuildHasher, RandomState};
use std::thread::sleep;
use std::time::Duration;

use crate::child::{Child, LOAD_CORE, PEER_CORE, Workplace};
use crate::cpu::{self, Core};
use crate::peer::{Field, Peer};
use crate::{Args, Fallible, check, load, workload};

/// One peer in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU per request in microseconds.
    pub(crate) micros: f64,
    /// Answers per second.
    pub(crate) rate: f64,
    /// Share of the time that the peer's core was idle.
    pub(crate) idle: f64,
    /// Share of the time that the machine below took from it.
    pub(crate) stolen: f64,
    /// Failed requests.
    pub(crate) errors: u64,
    /// Resident memory in KiB at the end of the round.
    pub(crate) resident_kib: u64,
}

/// One peer in all rounds.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: String,
    /// One per round, in the order of the rounds.
    pub(crate) samples: Vec<Sample>,
    /// Records that it shed, all rounds together.
    pub(crate) lost: u64,
}

/// All peers with one size of body.
#[derive(Debug)]
pub(crate) struct Results {
    /// Bytes of the origin's page.
    pub(crate) body: usize,
    /// Bytes of a request.
    pub(crate) request: usize,
    /// Those that ran.
    pub(crate) peers: Vec<Measured>,
    /// Those that did not: name and reason.
    pub(crate) absent: Vec<(&'static str, String)>,
}

/// Starts everything, checks, warms up, measures, ends everything.
pub(crate) fn run(args: &Args, body: usize, workplace: &mut Workplace) -> Fallible<Results> {
    let (_origin, origin) = Child::role(LOAD_CORE, &format!("origin {body}"))?;
    let field = Field::start(args, origin, workplace)?;
    let mut scripts = Vec::new();
    for peer in &field.peers {
        check::job(peer, body)?;
        println!("checked: {} ({})", peer.name, peer.version);
        let cookies = visitor_cookies(args, peer)?;
        scripts.push(load::script(&workplace.folder(&format!("load-{}", peer.name))?, &cookies)?);
    }
    for (peer, script) in field.peers.iter().zip(&scripts) {
        let warm = load::run(peer.address, script, args.connections, 1)?;
        if warm.requests == 0 || warm.errors > 0 {
            return Err(format!("{}: {} errors while warming up", peer.name, warm.errors).into());
        }
    }
    let mut samples: Vec<Vec<Sample>> = field.peers.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for index in shuffled(field.peers.len()) {
            let peer = &field.peers[index];
            let sample = measure(args, peer, &scripts[index])?;
            println!("round {round}: {:<12} {:6.1} µs {:7.0}/s", peer.name, sample.micros, sample.rate);
            samples[index].push(sample);
        }
    }
    let mut peers = Vec::new();
    for (peer, samples) in field.peers.iter().zip(samples) {
        let lost = peer.lost_records()?;
        peers.push(Measured { name: peer.name, version: peer.version.clone(), samples, lost });
    }
    Ok(Results { body, request: workload::request("/", 0, None).len(), peers, absent: field.absent })
}

fn measure(args: &Args, peer: &Peer, script: &std::path::Path) -> Fallible<Sample> {
    peer.trim()?;
    let (id, core) = (peer.child.id(), Core::now(PEER_CORE));
    let before = cpu::used(id);
    let counted = load::run(peer.address, script, args.connections, args.seconds)?;
    let (idle, stolen) = Core::since(core, PEER_CORE);
    // The last group commit belongs to these requests.
    sleep(SETTLE);
    let used = cpu::used(id).saturating_sub(before);
    let requests = counted.requests.max(1) as f64;
    Ok(Sample {
        micros: used.as_secs_f64() * 1e6 / requests,
        rate: requests / counted.time.as_secs_f64().max(0.001),
        idle,
        stolen,
        errors: counted.errors,
        resident_kib: cpu::resident_kib(id),
    })
}

fn visitor_cookies(args: &Args, peer: &Peer) -> Fallible<Vec<String>> {
    if args.first_visits {
        return Ok(Vec::new());
    }
    let cookie = |visitor| match peer.visitor_cookie {
        Some(name) => check::visitor_cookie(peer.address, name, visitor),
        // Who gives none forwards another's: requests are the same size for all.
        None => Ok(format!("visitor={visitor:048x}")),
    };
    (0..workload::VISITORS).map(cookie).collect()
}

/// Indices in random order: no peer always runs after the same other one.
fn shuffled(n: usize) -> Vec<usize> {
    let random = RandomState::new();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|index| random.hash_one(index));
    order
}

/// Longer than Kelisim's group commit.
const SETTLE: Duration = Duration::from_millis(300);
