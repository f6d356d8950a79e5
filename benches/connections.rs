//! What connections cost: memory of idle ones, and what a flood of garbage does to a client that keeps the rules.
//!
//! `cargo bench --bench connections [idle|garbage]`. Starts the real binary with the harness of the tests; origin and
//! clients run in this process. Never part of the tests: its figures depend on the machine. Bound: 2 000 connections.
//!
//! The flood is measured on two cores: the gateway alone on one; site, well-behaved client and the senders of garbage on
//! the other (`taskset`). The senders slow the client down by themselves, wherever the garbage goes. So the same flood
//! is sent to a bare refuser as well, which does nothing but accept, read, answer 400 and close, on the gateway's core
//! while the gateway serves: what is above that is the gateway's own doing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub, unused_imports)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::frames::{self, Frames, HEADERS};
use support::tls::Certificate;
use support::{Client, Gateway, HOST, Origin, ask};

const IDLE: usize = 2000;
const GARBAGE_PER_SECOND: u64 = 20_000;

fn main() {
    if std::env::args().nth(1).as_deref() == Some(REFUSER) {
        return refuse();
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|arg| arg == name);
    if runs("idle") {
        idle();
    }
    if runs("garbage") {
        garbage();
    }
}

/// Resident memory of the gateway per connection that has had one request and waits.
fn idle() {
    println!("memory of {IDLE} idle connections");
    measure("HTTP/1.1", |gateway, _| {
        let mut client = gateway.client();
        assert_eq!(client.get("/").status, 200);
        client
    });
    measure("HTTP/1.1 before the first byte", |gateway, _| gateway.client());
    measure("HTTP/2", |gateway, _| {
        let mut frames = Frames::connect(gateway.addresses[0], &[]);
        frames.send(&frames::get(1, "/"));
        frames.until(HEADERS).expect("an answer");
        frames
    });
    measure("HTTP/1.1 over TLS", |gateway, certificate| {
        let config = certificate.client(&["http/1.1"]);
        let mut client = Client::connect_tls(gateway.addresses[1], config, HOST).expect("TLS");
        assert_eq!(client.get("/").status, 200);
        client
    });
    measure("HTTP/2 over TLS", |gateway, certificate| {
        let mut http2 =
            support::h2::Http2::connect_tls(gateway.addresses[1], certificate.client(&["h2"]), HOST);
        assert_eq!(http2.fetch(&ask("GET", "/")).status, 200);
        http2
    });
}

fn measure<C>(what: &str, connect: impl Fn(&Gateway, &Certificate) -> C) {
    let origin = Origin::pages();
    let builder = start(&origin, "2");
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&certificate.config()).start();
    // What is made once is made before.
    let mut open: Vec<C> = (0..100).map(|_| connect(&gateway, &certificate)).collect();
    let before = gateway.memory();
    open.extend((0..IDLE).map(|_| connect(&gateway, &certificate)));
    std::thread::sleep(Duration::from_millis(500));
    let each = gateway.memory().saturating_sub(before) as f64 / IDLE as f64 / 1024.0;
    println!("  {what:32} {each:6.1} KiB each");
}

/// The median of a client that keeps the rules: alone, beside garbage for somebody else, and beside garbage.
fn garbage() {
    println!("one request after the other on one connection, workers = 1");
    let own = std::process::id().to_string();
    if !run("taskset", &["-a", "-c", "-p", "0", &own]) {
        println!("  left out: taskset is not installed, or there are no two cores");
        return;
    }
    let origin = Origin::pages();
    let gateway = start(&origin, "1").started_by(&["taskset", "-c", "1"]).start();
    let refuser = Refuser::start();
    // The first second warms up.
    served(&gateway, Duration::from_secs(1));
    let before = gateway_cpu(&gateway);
    let alone = served(&gateway, Duration::from_secs(3));
    let each = (gateway_cpu(&gateway) - before) / alone.requests as f64;
    let before = refuser.cpu();
    let (elsewhere, sent) = beside(&gateway, refuser.address);
    let bare = (refuser.cpu() - before) / sent.heads as f64;
    println!("  p50 alone                    {:7.0} µs", micros(alone.median));
    println!(
        "  p50 beside a bare refuser    {:7.0} µs at {:.0} heads/s",
        micros(elsewhere.median),
        sent.rate
    );
    let before = gateway_cpu(&gateway);
    let (here, sent) = beside(&gateway, gateway.addresses[0]);
    let refused = (gateway_cpu(&gateway) - before - each * here.requests as f64) / sent.heads as f64;
    println!("  p50 beside garbage           {:7.0} µs at {:.0} heads/s", micros(here.median), sent.rate);
    println!("  ratio to alone               {:7.2}", micros(here.median) / micros(alone.median));
    println!("  ratio to the bare refuser    {:7.2}", micros(here.median) / micros(elsewhere.median));
    println!("  CPU for a refused head       {:7.1} µs; bare refuser {:.1} µs", refused * 1e6, bare * 1e6);
}

/// Requests answered one after the other.
struct Served {
    median: Duration,
    requests: usize,
}

/// Garbage sent, over all of the time that it was.
struct Sent {
    heads: u64,
    rate: f64,
}

/// Seconds of CPU that the gateway has used.
fn gateway_cpu(gateway: &Gateway) -> f64 {
    gateway.metric("process_cpu_seconds_total", &[])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What is served while garbage goes to `target`, and how much of it went: each head on a connection of its own.
fn beside(gateway: &Gateway, target: SocketAddr) -> (Served, Sent) {
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let began = Instant::now();
        (0..2).for_each(|_| drop(scope.spawn(|| flood(target, &stop, &sent))));
        let served = served(gateway, Duration::from_secs(6));
        stop.store(true, Relaxed);
        let heads = sent.load(Relaxed);
        (served, Sent { heads, rate: heads as f64 / began.elapsed().as_secs_f64() })
    })
}

fn run(program: &str, args: &[&str]) -> bool {
    let ran =
        std::process::Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

/// A process of this program on the gateway's core that refuses everything.
struct Refuser {
    address: SocketAddr,
    process: Child,
}

impl Refuser {
    fn start() -> Self {
        let mut process = std::process::Command::new("taskset")
            .args(["-c", "1"])
            .arg(std::env::current_exe().expect("this program"))
            .arg(REFUSER)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its address");
        Self { address: line.trim().parse().expect("an address"), process }
    }

    /// Seconds of CPU that it has used.
    fn cpu(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/schedstat", self.process.id())).expect("its figures");
        let nanoseconds: f64 = stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        nanoseconds / 1e9
    }
}

impl Drop for Refuser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process itself; it is killed at the end.
fn refuse() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let mut head = [0; 4096];
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        // Whatever goes wrong with one connection, the next is refused, too.
        if stream.read(&mut head).is_ok() {
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

const REFUSER: &str = "refuser";

fn served(gateway: &Gateway, time: Duration) -> Served {
    let mut client = gateway.client();
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        assert_eq!(client.get("/").status, 200);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Served { median: took[took.len() / 2], requests: took.len() }
}

/// Garbage on one connection after another, at half of the rate: there are two of these.
fn flood(address: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) {
    let (began, mut own) = (Instant::now(), 0u64);
    let mut answer = [0; 4096];
    while !stop.load(Relaxed) {
        let due = began + Duration::from_secs_f64(own as f64 / (GARBAGE_PER_SECOND / 2) as f64);
        if let Some(early) =
            due.checked_duration_since(Instant::now()).filter(|t| *t > Duration::from_millis(1))
        {
            std::thread::sleep(early);
        }
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        // No port waits for its end in this process.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
        if stream.write_all(b"G@RBAGE / HTTP/1.1\r\nHo st: x\r\n\r\n").is_ok() {
            // The answer or the end; a reset is as good.
            let _ = stream.read(&mut answer);
            own += 1;
            sent.fetch_add(1, Relaxed);
        }
    }
}

fn start(origin: &Origin, workers: &str) -> support::gateway::Builder {
    Gateway::build(&[origin])
        .key("workers", workers)
        .key("timeouts.keep_alive", "\"10m\"")
        .key("timeouts.request_head", "\"10m\"")
        .key("limits.requests_per_connection", "4000000000")
        .key("limits.connections_per_client", "20000")
}
