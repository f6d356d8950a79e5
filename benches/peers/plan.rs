//! What is measured in one run: one table after another.
//!
//! By itself the run is one table, as its arguments say. The full set has seven: bodies of two sizes, the job by its
//! parts, and the other ways that requests travel. The smoke run has five, with one round of one second, and
//! the gateway alone in the other ways. Bound: seven tables.

use crate::kelisim::PARTS;
use crate::mode::Mode;
use crate::peer::{PEERS, Starter};
use crate::{Args, Fallible};

/// One table.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How requests travel.
    pub(crate) mode: Mode,
    /// Bytes of the origin's page.
    pub(crate) body: usize,
    /// Rounds.
    pub(crate) rounds: u32,
    /// Seconds of load on one peer in one round.
    pub(crate) seconds: u32,
    /// Connections of the load.
    pub(crate) connections: u32,
    /// Whether no visitor cookie is sent.
    pub(crate) first_visits: bool,
    /// Whether system calls are counted.
    pub(crate) calls: bool,
    /// Who runs.
    pub(crate) starters: Vec<Starter>,
    /// What the table is about, if not other proxies.
    pub(crate) about: Option<&'static str>,
}

impl Plan {
    /// The title of the table.
    pub(crate) fn title(&self) -> String {
        let about = self.about.map(|about| format!("{about}: ")).unwrap_or_default();
        format!("{about}{}, body of {} KiB", self.mode.title(), self.body / 1024)
    }
}

/// What the arguments ask for.
pub(crate) fn plans(args: &Args) -> Fallible<Vec<Plan>> {
    if args.smoke {
        return smoke(args);
    }
    if args.full || args.write {
        return Ok(full(args));
    }
    let (starters, about) = if args.parts { (parts(), Some(BY_PARTS)) } else { (PEERS.into(), None) };
    let starters = if args.only.is_empty() { starters } else { only(&args.only)? };
    let one = |&body: &usize| Plan { body, starters: starters.clone(), about, ..of(args, mode(args)) };
    Ok(args.body.iter().map(one).collect())
}

fn full(args: &Args) -> Vec<Plan> {
    // The first two tables are those that are quoted; all together take a quarter of an hour.
    let (rounds, seconds) = (args.rounds.div_ceil(3), args.seconds.min(2));
    let whole = || of(args, Mode::KeepAlive);
    let mut plans = vec![
        whole(),
        Plan { body: 64 * 1024, ..whole() },
        Plan { starters: parts(), about: Some(BY_PARTS), rounds, seconds, ..whole() },
    ];
    let others = [Mode::NewConnections, Mode::Tls, Mode::NewTls, Mode::Http2];
    plans.extend(others.map(|mode| Plan { rounds, seconds, ..of(args, mode) }));
    plans
}

fn smoke(args: &Args) -> Fallible<Vec<Plan>> {
    if !args.only.is_empty() {
        return Ok(vec![Plan { starters: only(&args.only)?, calls: false, ..of(args, mode(args)) }]);
    }
    let others = [Mode::NewConnections, Mode::Tls, Mode::Http2];
    let gateway = only(&["kelisim".to_owned()])?;
    let mut plans = vec![
        of(args, Mode::KeepAlive),
        Plan { starters: PARTS.into(), about: Some(BY_PARTS), ..of(args, Mode::KeepAlive) },
    ];
    plans.extend(others.map(|mode| Plan { starters: gateway.clone(), ..of(args, mode) }));
    plans.iter_mut().for_each(|plan| plan.calls = false);
    Ok(plans)
}

fn of(args: &Args, mode: Mode) -> Plan {
    Plan {
        mode,
        body: 1024,
        rounds: args.rounds,
        seconds: args.seconds,
        connections: args.connections,
        first_visits: args.first_visits,
        calls: true,
        starters: PEERS.into(),
        about: None,
    }
}

fn mode(args: &Args) -> Mode {
    match (args.h2, args.tls, args.new_connections) {
        (true, ..) => Mode::Http2,
        (_, true, false) => Mode::Tls,
        (_, true, true) => Mode::NewTls,
        (_, false, true) => Mode::NewConnections,
        (_, false, false) => Mode::KeepAlive,
    }
}

/// The gateway with and without parts of the job, beside a proxy that has none of it.
fn parts() -> Vec<Starter> {
    let beside = PEERS.into_iter().filter(|Starter(name, _)| ["nginx", "kelisim"].contains(name));
    beside.chain(PARTS).collect()
}

fn only(names: &[String]) -> Fallible<Vec<Starter>> {
    let all = || PEERS.into_iter().chain(PARTS);
    if let Some(name) = names.iter().find(|name| all().all(|Starter(n, _)| n != name.as_str())) {
        let known: Vec<&str> = all().map(|Starter(name, _)| name).collect();
        return Err(format!("there is no peer {name}, but {}", known.join(", ")).into());
    }
    Ok(all().filter(|Starter(name, _)| names.iter().any(|n| n == name)).collect())
}

const BY_PARTS: &str = "Parts of the job switched off";
