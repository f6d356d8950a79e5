//! User instructions per request, counted by valgrind: they repeat to about one percent where time does not.
//!
//! Starts the gateway under callgrind without counting, warms it up, switches counting on for a fixed number of
//! requests over keep-alive connections, and adds up what each thread used. Callgrind runs threads one at a time, and
//! counts nothing that the kernel does. Bound: [`PATIENCE`].

mod kept;
mod profile;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::check::Way;
use crate::child::{Child, LOAD_CORE, PEER_CORE, Workplace, says};
use crate::client::Client;
use crate::kelisim::{self, Prepared, Shape, prepare};
use crate::mode::Mode;
use crate::peer::Setting;
use crate::workload::{self, Request};
use crate::{Args, Fallible};

use kept::Figures;
use profile::Profile;

/// How long the gateway may take to start under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections; each has one request under way.
const CONNECTIONS: usize = 64;
/// Lines of each list.
const SHOWN: usize = 40;

/// Counts and prints; with `--check` holds the count to the one that is kept, with `--write` keeps it.
pub(crate) fn run(args: &Args, workplace: &Workplace) -> Fallible<()> {
    let Some(version) = says("valgrind", &["--version"]) else {
        if args.check || args.write {
            return Err("valgrind is not installed".into());
        }
        println!("left out: valgrind is not installed");
        return Ok(());
    };
    // Read first: a mistake in it should not cost the whole count.
    let kept = if args.check { Some(Figures::kept()?) } else { None };
    let body = args.body.first().copied().unwrap_or(1024);
    let (_origin, origin) = Child::role(LOAD_CORE, &format!("origin {body}"))?;
    let folder = workplace.folder("callgrind")?;
    let (kelisim, mode) = (args.kelisim.as_path(), Mode::KeepAlive);
    let setting = Setting { kelisim, origin, folder: &folder, mode, certificate: None };
    let Prepared { config, address, .. } = prepare(&setting, &Shape::WHOLE)?;
    let out = folder.join("out");
    let mut arguments: Vec<OsString> = OPTIONS.iter().map(OsString::from).collect();
    arguments.push(format!("--callgrind-out-file={}", out.display()).into());
    arguments.push(args.kelisim.clone().into_os_string());
    arguments.extend(["run".into(), "--config".into(), config.into_os_string()]);
    let mut gateway = Child::start(PEER_CORE, "valgrind", arguments, &folder.join("said"))?;
    gateway.await_listening(address, PATIENCE)?;

    let cookies = if args.first_visits { Vec::new() } else { cookies(address)? };
    let mut clients = (0..CONNECTIONS).map(|_| Client::connect(address)).collect::<Fallible<Vec<_>>>()?;
    send(&mut clients, &cookies, WARM_UP)?;
    control(&gateway, &["-i", "on"])?;
    send(&mut clients, &cookies, args.requests)?;
    // The last group commit belongs to these requests.
    sleep(Duration::from_millis(400));
    control(&gateway, &["-i", "off"])?;
    control(&gateway, &["--dump"])?;
    drop(clients);
    gateway.ask_to_end();
    gateway.await_end(PATIENCE)?;

    let mut profiles = profiles(&folder)?;
    profiles.sort_by_key(|profile| std::cmp::Reverse(profile.total));
    println!("{version}, {} requests over {CONNECTIONS} connections, body of {body} bytes", args.requests);
    let requests = f64::from(args.requests);
    let figures = Figures::of(&profiles, requests);
    if let Some(kept) = kept {
        return figures.held_to(&kept);
    }
    tell(&profiles, requests);
    if args.write { figures.keep() } else { Ok(()) }
}

/// Requests before counting: every visitor comes back a few times, and memory is grown.
const WARM_UP: u32 = 4 * workload::VISITORS;

const OPTIONS: [&str; 4] =
    ["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--fair-sched=try"];

fn cookies(address: SocketAddr) -> Fallible<Vec<String>> {
    let way = Way { mode: Mode::KeepAlive, certificate: None };
    let cookie = |visitor| way.visitor_cookie(address, kelisim::VISITOR_COOKIE, &Request::of(visitor));
    (0..workload::VISITORS).map(cookie).collect()
}

/// Sends so many requests, as many at a time as there are connections.
fn send(clients: &mut [Client], cookies: &[String], requests: u32) -> Fallible<()> {
    let mut sent = 0;
    while sent < requests {
        let batch = clients.len().min((requests - sent) as usize);
        for client in &mut clients[..batch] {
            let visitor = sent % workload::VISITORS;
            let cookie = cookies.get(visitor as usize).map(String::as_str);
            client.send(&Request::of(visitor).with(cookie).text())?;
            sent += 1;
        }
        for client in &mut clients[..batch] {
            let status = client.receive()?.status;
            if status != 200 {
                return Err(format!("status {status}").into());
            }
        }
    }
    Ok(())
}

/// Tells callgrind inside the process what to do.
fn control(gateway: &Child, arguments: &[&str]) -> Fallible<()> {
    let output = Command::new("callgrind_control").args(arguments).arg(gateway.id().to_string()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("callgrind_control: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// One profile per thread, of the dump that was asked for.
fn profiles(folder: &Path) -> Fallible<Vec<Profile>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("out.")));
    files.sort();
    let mut profiles = Vec::new();
    for file in files {
        let profile = Profile::parse(&std::fs::read_to_string(file)?);
        if profile.total != profile.told {
            return Err(format!("callgrind counted {}, its lines say {}", profile.told, profile.total).into());
        }
        profiles.push(profile);
    }
    Ok(profiles)
}

fn tell(profiles: &[Profile], requests: f64) {
    let total: u64 = profiles.iter().map(|profile| profile.total).sum();
    println!("user instructions per request: {:.0} in all threads", total as f64 / requests);
    for profile in profiles.iter().filter(|profile| profile.total > 0) {
        println!("  thread {}: {:.0}", profile.thread, profile.total as f64 / requests);
    }
    // The busiest thread is the worker.
    let Some(worker) = profiles.first() else { return };
    let lists = [
        ("by our file, with the libraries it calls", &worker.parts),
        ("by crate, self", &worker.crates),
        ("by function, self", &worker.own),
        ("by function, inclusive", &worker.inclusive),
    ];
    for (title, costs) in lists {
        let mut costs: Vec<(&String, &u64)> = costs.iter().collect();
        costs.sort_by_key(|(name, cost)| (std::cmp::Reverse(**cost), *name));
        println!("\ninstructions per request of the worker, {title}");
        for (name, cost) in costs.iter().take(SHOWN) {
            println!("{:>9.0}  {name}", **cost as f64 / requests);
        }
    }
}
