//! The measurement: every peer once per round, in shuffled order, after checks and a warm-up.
//!
//! CPU is what the peer's process tree used from the first request until its logs were flushed, divided by the answers
//! that the load generator counted. Bound: see the crate.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::check::{self, Way};
use crate::child::{Child, LOAD_CORE, PEER_CORE, Workplace, says};
use crate::cpu::{self, Core};
use crate::load::Load;
use crate::mode::Mode;
use crate::peer::{Field, Peer, Setting, Starter};
use crate::plan::Plan;
use crate::tls::Certificate;
use crate::workload::{self, Request};
use crate::{Fallible, syscalls};

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
    /// System calls per request, if they were counted.
    pub(crate) calls: Option<f64>,
}

/// All peers of one plan.
#[derive(Debug)]
pub(crate) struct Results {
    /// What was planned.
    pub(crate) plan: Plan,
    /// Bytes of a request.
    pub(crate) request: usize,
    /// Those that ran.
    pub(crate) peers: Vec<Measured>,
    /// Those that did not: name and reason.
    pub(crate) absent: Vec<(&'static str, String)>,
}

/// Starts everything, checks, warms up, measures, ends everything.
pub(crate) fn run(plan: Plan, kelisim: &Path, workplace: &mut Workplace) -> Fallible<Results> {
    println!("\n{}", plan.title());
    if plan.mode == Mode::Http2 && says("h2load", &["--version"]).is_none() {
        return Ok(Results::none(plan, "h2load is not installed (nghttp2-client)"));
    }
    let certificate = match plan.mode.tls() {
        true => Some(Certificate::write(&workplace.folder("certificate")?)?),
        false => None,
    };
    let way = Way { mode: plan.mode, certificate: certificate.as_ref() };
    let (_origin, origin) = Child::role(LOAD_CORE, &format!("origin {}", plan.body))?;
    let folder = workplace.folder("start")?;
    let setting =
        Setting { kelisim, origin, folder: &folder, mode: plan.mode, certificate: certificate.as_ref() };
    let field = Field::start(&plan.starters, &setting, workplace)?;
    let mut loads = Vec::new();
    for peer in &field.peers {
        check::job(peer, way, plan.body)?;
        println!("checked: {} ({})", peer.name, peer.version);
        loads.push(prepare(&plan, peer, way, &workplace.folder(&format!("load-{}", peer.name))?)?);
    }
    for (peer, load) in field.peers.iter().zip(&loads) {
        let warm = load.run(1)?;
        if warm.requests == 0 || warm.errors > 0 {
            return Err(format!("{}: {} errors while warming up", peer.name, warm.errors).into());
        }
    }
    let mut samples: Vec<Vec<Sample>> = field.peers.iter().map(|_| Vec::new()).collect();
    for round in 1..=plan.rounds {
        for index in shuffled(field.peers.len()) {
            let peer = &field.peers[index];
            let sample = measure(peer, &loads[index], plan.seconds)?;
            println!("round {round}: {:<18} {:6.1} µs {:7.0}/s", peer.name, sample.micros, sample.rate);
            samples[index].push(sample);
        }
    }
    let mut peers = Vec::new();
    for ((peer, load), samples) in field.peers.iter().zip(&loads).zip(samples) {
        let lost = peer.lost_records()?;
        let counts = plan.calls && syscalls::countable();
        let calls = if counts { syscalls::per_request(peer.child.id(), load, &folder)? } else { None };
        peers.push(Measured { name: peer.name, version: peer.version.clone(), samples, lost, calls });
    }
    Ok(Results { peers, absent: field.absent, ..Results::empty(plan) })
}

impl Results {
    fn empty(plan: Plan) -> Self {
        Self { plan, request: Request::of(0).text().len(), peers: Vec::new(), absent: Vec::new() }
    }

    /// Without anybody, for one reason.
    fn none(plan: Plan, why: &str) -> Self {
        eprintln!("left out: {why}");
        let absent = plan.starters.iter().map(|Starter(name, _)| (*name, why.to_owned())).collect();
        Self { absent, ..Self::empty(plan) }
    }
}

/// The load for a peer, with the visitor cookies that it gave.
fn prepare(plan: &Plan, peer: &Peer, way: Way<'_>, folder: &Path) -> Fallible<Load> {
    let visitors = if plan.mode == Mode::Http2 { 1 } else { workload::visitors(peer.sites) };
    let hosts: Vec<String> = (0..peer.sites).map(workload::host).collect();
    let mut requests: Vec<Request<'_>> = (0..visitors).map(Request::of).collect();
    for (request, host) in requests.iter_mut().zip(hosts.iter().cycle()) {
        request.host = host;
    }
    let cookie = |request: &Request<'_>| match peer.visitor_cookie {
        Some(name) => way.visitor_cookie(peer.address, name, request),
        // Who gives none forwards another's: requests are the same size for all.
        None => Ok(format!("visitor={:048x}", request.visitor)),
    };
    let cookies: Vec<String> = match plan.first_visits {
        true => Vec::new(),
        false => requests.iter().map(cookie).collect::<Fallible<_>>()?,
    };
    for (i, request) in requests.iter_mut().enumerate() {
        request.cookie = cookies.get(i).map(String::as_str);
        request.closes = plan.mode.closes();
    }
    Load::prepare(plan.mode, peer.address, &requests, peer.connections.unwrap_or(plan.connections), folder)
}

fn measure(peer: &Peer, load: &Load, seconds: u32) -> Fallible<Sample> {
    peer.trim()?;
    let (id, core) = (peer.child.id(), Core::now(PEER_CORE));
    let before = cpu::used(id);
    let counted = load.run(seconds)?;
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

/// Indices in random order: no peer always runs after the same other one.
fn shuffled(n: usize) -> Vec<usize> {
    let random = RandomState::new();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|index| random.hash_one(index));
    order
}

/// Longer than Kelisim's group commit.
const SETTLE: Duration = Duration::from_millis(300);
