//! What connections cost: memory of idle ones, and what a flood of garbage does to a client that keeps the rules.
//!
//! `cargo bench --bench connections [idle|garbage]`. Starts the real binary with the harness of the tests; origin and
//! clients run in this process. Never part of the tests: its figures depend on the machine. Bound: 2 000 connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub, unused_imports)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::frames::{self, Frames, HEADERS};
use support::tls::Certificate;
use support::{Client, Gateway, HOST, Origin, ask};

const IDLE: usize = 2000;
const GARBAGE_PER_SECOND: u64 = 20_000;

fn main() {
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

/// The median of a client that keeps the rules, alone and beside garbage.
fn garbage() {
    println!("one request after the other on one connection, workers = 1");
    let origin = Origin::pages();
    let gateway = start(&origin, "1").start();
    let alone = median(&gateway, Duration::from_secs(3));
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (beside, rate) = std::thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| flood(gateway.addresses[0], &stop, &sent))));
        std::thread::sleep(Duration::from_secs(1));
        let (from, began) = (sent.load(Relaxed), Instant::now());
        let beside = median(&gateway, Duration::from_secs(5));
        let rate = (sent.load(Relaxed) - from) as f64 / began.elapsed().as_secs_f64();
        stop.store(true, Relaxed);
        (beside, rate)
    });
    println!("  p50 alone            {:8.0} µs", alone.as_secs_f64() * 1e6);
    println!("  p50 beside garbage   {:8.0} µs", beside.as_secs_f64() * 1e6);
    println!("  garbage reached      {rate:8.0} heads/s, each on a connection of its own");
    println!("  ratio                {:8.2}", beside.as_secs_f64() / alone.as_secs_f64());
}

fn median(gateway: &Gateway, time: Duration) -> Duration {
    let mut client = gateway.client();
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        assert_eq!(client.get("/").status, 200);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
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
