//! The life of the process: reload, drain, end.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, mpsc};

use rustix::process::Signal;

use crate::support::client::Client;
use crate::support::{Answer, Gateway, Origin, PATIENCE, Protocol, Visitor, ask, cli, wait_for};

/// A site that answers only when the test says so; `arrived` tells of each request.
fn held() -> (Origin, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrival) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let origin = Origin::start(move |_| {
        let _ = arrived.lock().unwrap().send(());
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        Answer::text("at last")
    });
    (origin, arrival, release)
}

#[test]
fn a_reload_swaps_everything_at_once_and_drops_no_connection() {
    let (first, second) = (Origin::pages(), Origin::pages());
    let gateway = Gateway::of(&first);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        assert_eq!(visitor.fetch(ask("GET", "/")).status, 200);
        let before = first.count();
        let (from, to) = (first.url(), second.url());
        let said =
            gateway.reload(|text| text.replace(&from, &to).replace("www.kz.example", "new.kz.example"));
        assert!(said.contains("reloaded"), "{said}");
        assert_eq!(visitor.fetch(ask("GET", "/").host("new.kz.example")).status, 200);
        assert_eq!(visitor.fetch(ask("GET", "/").host("www.kz.example")).status, 421);
        assert_eq!(first.count(), before);
        let (from, to) = (second.url(), first.url());
        gateway.reload(|text| text.replace(&from, &to).replace("new.kz.example", "www.kz.example"));
    }
    assert_eq!(second.count(), 2);
    assert_eq!(gateway.metric("kelisim_config_reloads_total", &["result=\"ok\""]), 4.0);
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for bad in [
        "[limits]\nhead_byte = 1\n",
        "[[site]]\nhosts = [\"kz.example\"]\nupstream = []\n",
        "this is no TOML",
    ] {
        let said = gateway.reload(|text| format!("{text}\n{bad}"));
        assert!(said.contains("stays in force"), "{said}");
        assert_eq!(gateway.client().get("/").status, 200);
        gateway.reload(|text| text.replace(bad, ""));
    }
    assert_eq!(gateway.metric("kelisim_config_reloads_total", &["result=\"error\""]), 3.0);
}

#[test]
fn under_load_a_reload_loses_no_request() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let mut client = gateway.client();
                scope.spawn(move || {
                    (0..100).map(|_| client.get("/")).filter(|reply| reply.status == 200).count()
                })
            })
            .collect();
        for n in 0..5 {
            gateway.reload(|text| format!("{text}\n# {n}\n"));
        }
        clients.into_iter().for_each(|client| assert_eq!(client.join().unwrap(), 100));
    });
}

#[test]
fn a_drain_finishes_what_is_open_and_lets_nothing_in() {
    let (origin, arrival, release) = held();
    let mut gateway = Gateway::of(&origin);
    std::thread::scope(|scope| {
        let (mut client, mut http2) = (gateway.client(), gateway.http2());
        let one = scope.spawn(move || (client.get("/slow"), client.is_closed()));
        let two = scope.spawn(move || http2.fetch(&ask("GET", "/slow")));
        (0..2).for_each(|_| arrival.recv_timeout(PATIENCE).expect("a request at the site"));
        gateway.term();
        wait_for("the port to close", || TcpStream::connect(gateway.addresses[0]).err());
        let ready = gateway.admin("/readyz");
        assert_eq!(ready.status, 503, "{}", ready.text());
        (0..2).for_each(|_| release.send(()).unwrap());
        let (reply, closed) = one.join().unwrap();
        assert_eq!((reply.text().as_str(), closed), ("at last", true));
        assert_eq!(two.join().unwrap().text(), "at last");
    });
    assert_eq!(gateway.wait().code(), Some(0));
    gateway.record_count("/slow", 2);
}

/// In a drain workers end one after the other; one that has ended is not one that stands still.
#[test]
fn a_long_drain_feeds_the_watchdog() {
    let (origin, arrival, release) = held();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut gateway = Gateway::build(&[&origin])
        .key("workers", "3")
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "200000")
        .start();
    std::thread::scope(|scope| {
        // One worker has something to wait for, the others have not.
        let mut client = gateway.client();
        let open = scope.spawn(move || client.get("/slow"));
        arrival.recv_timeout(PATIENCE).expect("a request at the site");
        gateway.term();
        let mut fed = None;
        while fed.is_none_or(|count| count < 30) {
            let mut bytes = [0; 1024];
            let n = socket.recv(&mut bytes).expect("a word to the service manager");
            match fed {
                None if bytes[..n].starts_with(b"STOPPING") => fed = Some(0),
                None => {}
                Some(count) => fed = Some(count + 1),
            }
        }
        release.send(()).unwrap();
        assert_eq!(open.join().unwrap().status, 200);
    });
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(
        !gateway.log_lines().iter().any(|line| line.contains("stands still")),
        "{:?}",
        gateway.log_lines()
    );
}

#[test]
fn an_idle_connection_does_not_hold_up_a_drain() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let (mut used, mut http2, mut silent) = (gateway.client(), gateway.http2(), gateway.client());
    assert_eq!((used.get("/").status, http2.fetch(&ask("GET", "/")).status), (200, 200));
    gateway.finish();
    assert!(used.is_closed() && silent.is_closed());
}

#[test]
fn a_connection_without_a_request_yet_ends_with_its_first_answer_in_a_drain() {
    let (origin, arrival, release) = held();
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    std::thread::scope(|scope| {
        let (mut open, mut late, mut idle) = (gateway.client(), gateway.client(), gateway.client());
        let open = scope.spawn(move || open.get("/open"));
        arrival.recv_timeout(PATIENCE).unwrap();
        assert_eq!(idle.get("/.kelisim/consent").status, 200);
        gateway.term();
        assert!(idle.is_closed());
        let late = scope.spawn(move || late.get("/late"));
        arrival.recv_timeout(PATIENCE).unwrap();
        for _ in 0..2 {
            release.send(()).unwrap();
        }
        assert_eq!(open.join().unwrap().status, 200);
        assert_eq!(late.join().unwrap().headers.one("connection"), Some("close"));
    });
}

#[test]
fn deny_that_comes_with_a_reload_observes_first_and_then_acts() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let since = gateway.data().join("risk-observe-since");
    assert!(!since.exists());
    gateway.reload(|text| format!("{text}\n[risk]\nobserve_days = 7\n[risk.action]\nhigh = \"deny\"\n"));
    assert!(since.exists());
}

#[test]
fn a_drain_ends_at_its_deadline_and_says_what_it_cut() {
    let (origin, arrival, _release) = held();
    let mut gateway = Gateway::build(&[&origin]).key("timeouts.drain", "\"300ms\"").start();
    let mut client = gateway.client();
    client.send("GET /never HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    arrival.recv_timeout(PATIENCE).expect("a request at the site");
    gateway.term();
    assert_eq!(gateway.wait().code(), Some(1));
    assert!(gateway.log_lines().iter().any(|line| line.contains("were cut")));
    assert!(client.is_closed());
    assert_eq!(gateway.record("/never")["error.type"], "client_gone");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (origin, arrival, _release) = held();
    let mut gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET /never HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    arrival.recv_timeout(PATIENCE).expect("a request at the site");
    gateway.term();
    gateway.wait_for_log(0, "the drain", |line| line.contains("draining"));
    gateway.term();
    assert_eq!(gateway.wait().code(), Some(1));
}

#[test]
fn an_interrupt_ends_without_waiting() {
    let origin = Origin::pages();
    let mut gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    gateway.signal(Signal::INT);
    assert!(gateway.wait().code().is_some());
    client.read_to_end();
}

#[test]
fn a_second_process_takes_over_on_the_same_ports_and_records() {
    let origin = Origin::pages();
    let first = Gateway::of(&origin);
    let mut staying = first.client();
    assert_eq!(staying.get("/before").status, 200);
    let second = first.successor();
    // Both accept now; whoever gets it, it is answered.
    (0..20).for_each(|_| assert_eq!(second.client().get("/both").status, 200));
    assert_eq!(staying.get("/still-by-the-first").status, 200);
    first.finish();
    (0..5).for_each(|_| assert_eq!(second.client().get("/after").status, 200));
    for (path, count) in [("/before", 1), ("/both", 20), ("/still-by-the-first", 1), ("/after", 5)] {
        second.record_count(path, count);
    }
}

#[test]
fn a_gateway_without_a_file_serves_loopback_and_the_upstreams_host() {
    use std::io::{BufRead as _, BufReader};
    let origin = Origin::pages();
    let folder = tempfile::tempdir().unwrap();
    let mut process = cli::command()
        .args(["run", "--listen", "127.0.0.1:0", "--upstream", &origin.url(), "--data"])
        .arg(folder.path())
        // The one key that two such gateways on one machine would quarrel about.
        .env("KELISIM_ADMIN__ADDRESS", "off")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = wait_for("an address", || {
        let line = lines.next().expect("a line of log").expect("text");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if event["message"] == "accepting traffic" { event["address"].as_str()?.parse().ok() } else { None }
    });
    for host in ["localhost", "127.0.0.1", &origin.address.to_string()] {
        assert_eq!(Client::connect(address).fetch(&ask("GET", "/").host(host)).status, 200, "{host}");
    }
    assert_eq!(Client::connect(address).fetch(&ask("GET", "/").host("kz.example")).status, 421);
    process.kill().unwrap();
    process.wait().unwrap();
}
