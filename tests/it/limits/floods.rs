//! A thousand connections at once that want nothing, or nothing good, while somebody is served.

use super::still_serves;
use crate::support::frames::{self, Frames};
use crate::support::{Client, Gateway, HOST, Origin, wait_for};

const MANY: usize = 1100;

fn roomy(origin: &Origin) -> Gateway {
    // On a busy machine a thousand connections take their time.
    let builder = Gateway::build(&[origin]).key("timeouts.request_head", "\"5m\"");
    builder.key("limits.connections_per_client", "10000").start()
}

/// Asks while the others are there.
fn served_meanwhile(gateway: &Gateway) {
    let mut good = gateway.client();
    (0..20).for_each(|_| assert_eq!(good.get("/good").status, 200));
    still_serves(gateway);
}

fn wait_until_open(gateway: &Gateway, count: usize) {
    wait_for("all connections accepted", || {
        (gateway.metric("kelisim_connections", &[]) >= count as f64).then_some(())
    });
}

#[test]
fn silent_clients_and_idle_ones_cost_little_memory() {
    let origin = Origin::pages();
    let gateway = roomy(&origin);
    still_serves(&gateway);
    let before = gateway.memory();
    let mut idle: Vec<Client> = (0..MANY).map(|_| gateway.client()).collect();
    wait_until_open(&gateway, MANY);
    served_meanwhile(&gateway);
    idle.iter_mut().for_each(|client| assert_eq!(client.get("/once").status, 200));
    let each = gateway.memory().saturating_sub(before) / MANY as u64;
    println!("{each} bytes for each idle connection");
    assert!(each < 64 << 10, "{each} bytes for each idle connection");
    served_meanwhile(&gateway);
    drop(idle);
    wait_for("all connections closed", || (gateway.metric("kelisim_connections", &[]) < 100.0).then_some(()));
}

#[test]
fn heads_that_never_end_hold_nobody_up() {
    let origin = Origin::pages();
    let gateway = roomy(&origin);
    still_serves(&gateway);
    let (before, seen) = (gateway.memory(), origin.count());
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx-test: {}", "v".repeat(20_000));
    let mut h1: Vec<Client> = (0..MANY / 2).map(|_| gateway.client()).collect();
    h1.iter_mut().for_each(|client| client.send(&head));
    let block = frames::request("GET", "/", &[("x-test", &"v".repeat(10_000))]);
    let bytes = frames::frame(frames::HEADERS, frames::END_STREAM, 1, &block);
    let mut h2: Vec<Frames> = (0..MANY / 2).map(|_| Frames::connect(gateway.addresses[0], &[])).collect();
    h2.iter_mut().for_each(|frames| assert!(frames.send(&bytes)));
    wait_until_open(&gateway, MANY);
    served_meanwhile(&gateway);
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 160 << 20, "{grown} bytes for {MANY} heads");
    assert!(origin.seen().iter().skip(seen).all(|seen| seen.target != "/"));
}

#[test]
fn garbage_by_the_thousand_is_refused_and_the_good_are_served() {
    let origin = Origin::pages();
    let gateway = roomy(&origin);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            for n in 0..3000 {
                let mut client = gateway.client();
                let line =
                    if n % 2 == 0 { "G@RBAGE\0\r\n\r\n" } else { "GET / HTTP/1.1\r\nno colon\r\n\r\n" };
                client.try_send(line);
                client.read_to_end();
            }
        });
        while !flood.is_finished() {
            served_meanwhile(&gateway);
        }
    });
    assert!(origin.seen().iter().all(|seen| seen.target != "/"));
    let refused = gateway.cut("malformed") + gateway.rejected("malformed");
    assert_eq!(refused, 3000);
}
