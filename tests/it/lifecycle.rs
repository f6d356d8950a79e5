//! One process in place of another without a lost request; what the service manager hands over and is told.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::process::Signal;

use crate::support::client::Client;
use crate::support::h2::Http2;
use crate::support::server::free_port;
use crate::support::tls::Certificate;
use crate::support::{Gateway, HOST, Origin, PATIENCE, ask, program, wait_for};

/// Asks until told to stop, over whatever way `fetch` goes; returns the paths asked for. Any failure fails the test.
fn load(stop: &AtomicBool, name: &str, mut fetch: impl FnMut(&str, &str)) -> Vec<String> {
    let mut asked = Vec::new();
    while !stop.load(Relaxed) {
        let path = format!("/{name}/{}", asked.len());
        fetch(if asked.len() % 2 == 0 { "GET" } else { "POST" }, &path);
        asked.push(path);
    }
    asked
}

fn over_http1(at: SocketAddr, keep: bool) -> impl FnMut(&str, &str) {
    let mut open: Option<Client> = None;
    move |method, path| {
        let mut client = open.take().unwrap_or_else(|| Client::connect(at));
        let body = if method == "POST" { "body" } else { "" };
        let reply = client.fetch(&ask(method, path).body(body));
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        let closes = reply.headers.all("connection").contains(&"close");
        open = (keep && !closes).then_some(client);
    }
}

fn over_http2(at: SocketAddr) -> impl FnMut(&str, &str) {
    let mut client = Http2::connect(at);
    move |method, path| {
        let body = if method == "POST" { "body" } else { "" };
        let question = ask(method, path).body(body);
        loop {
            match client.try_fetch(&question) {
                Ok(reply) => return assert_eq!(reply.status, 200, "{method} {path}: {reply:?}"),
                // After GOAWAY nothing new is sent: the request has not left, and goes on a connection of its own.
                Err(error) if error.is_closed() || error.is_canceled() => client = Http2::connect(at),
                Err(error) => panic!("{method} {path}: {error:?}"),
            }
        }
    }
}

/// The documented way: start the second, wait until it is ready, end the first. Several times in a row, under load.
#[test]
fn an_upgrade_under_load_fails_no_request_and_records_each_once() {
    let origin = Origin::pages();
    let mut gateway = Gateway::of(&origin);
    let at = gateway.addresses[0];
    let stop = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let stop = &stop;
        let clients = [
            scope.spawn(move || load(stop, "kept-a", over_http1(at, true))),
            scope.spawn(move || load(stop, "kept-b", over_http1(at, true))),
            scope.spawn(move || load(stop, "new-a", over_http1(at, false))),
            scope.spawn(move || load(stop, "new-b", over_http1(at, false))),
            scope.spawn(move || load(stop, "http2", over_http2(at))),
        ];
        for _ in 0..4 {
            let next = gateway.successor();
            wait_for("readiness", || (next.admin("/readyz").status == 200).then_some(()));
            std::mem::replace(&mut gateway, next).finish();
        }
        stop.store(true, Relaxed);
        clients.map(|client| client.join().expect("a client that was served")).concat()
    });
    assert!(asked.len() > 200, "only {} requests: no load", asked.len());
    gateway.finish_and_count(&asked);
}

#[test]
fn a_successor_that_cannot_start_leaves_the_first_as_it_was() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let config = std::fs::read_to_string(gateway.folder().join("kelisim.toml")).unwrap();
    let bad = gateway.folder().join("bad.toml");
    let own = config.replacen("127.0.0.1:0", &gateway.admin_address().to_string(), 1).replacen(
        "address = \"127.0.0.1:0\"",
        &format!("address = \"{}\"", gateway.addresses[0]),
        1,
    );
    // A second listener on an address that is not ours: the start fails after the sockets were handed over.
    let more = own.replacen("[[site]]", "[[listen]]\naddress = \"192.0.2.1:1\"\n[[site]]", 1);
    std::fs::write(&bad, more).unwrap();
    let said = crate::support::cli::kelisim(&["run", "--config", bad.to_str().unwrap()]);
    assert!(said.code != 0 && said.err.contains("192.0.2.1:1"), "{said:?}");
    for _ in 0..10 {
        assert_eq!(gateway.client().get("/").status, 200);
        assert_eq!(gateway.admin("/readyz").status, 200);
    }
    gateway.finish();
}

/// The commands of deploy/README.md word for word: only paths and the port are ours.
fn upgrade_as_documented(gateway: &Gateway, config: &std::path::Path) -> String {
    let text = include_str!("../../deploy/README.md");
    let after = text.split_once("**Side by side.**").expect("the section").1;
    let commands = after.split("```sh\n").nth(1).and_then(|rest| rest.split_once("```")).expect("commands").0;
    let commands = commands
        .replace("kelisim run", &format!("{} run", env!("CARGO_BIN_EXE_kelisim")))
        .replace("/etc/kelisim/kelisim.toml", config.to_str().unwrap())
        .replace("127.0.0.1:9180", &gateway.admin_address().to_string());
    // Its number comes by a file: a pipe would be open for as long as the new process has it.
    let number = gateway.folder().join("new");
    let script = format!(
        "exec >/dev/null 2>&1\nOLD={}\n{commands}\necho \"$NEW\" > {}",
        gateway.id(),
        number.display()
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script]).stdin(std::process::Stdio::null()).status().expect("a shell");
    std::fs::read_to_string(number).expect("its number").trim().to_owned()
}

/// The old process answers `/readyz` at the same address: who only asks whether somebody is ready ends it too early.
#[test]
fn the_commands_of_the_upgrade_are_right_word_for_word() {
    if program("curl", &[]).is_none() {
        return;
    }
    let origin = Origin::pages();
    let mut gateway = Gateway::of(&origin);
    let good = gateway.folder().join("upgrade.toml");
    std::fs::write(&good, gateway.as_a_successor()).unwrap();
    // A successor that cannot start: the old one goes on.
    let bad = gateway.folder().join("bad.toml");
    std::fs::write(&bad, format!("{}\n[limits]\nhead_bytes = 1\n", gateway.as_a_successor())).unwrap();
    upgrade_as_documented(&gateway, &bad);
    for _ in 0..10 {
        assert_eq!(gateway.client().get("/").status, 200);
    }
    assert!(!gateway.log_lines().iter().any(|line| line.contains("draining")), "it was told to end");
    // One that can: it takes over first, then the old one ends, cleanly.
    let new = upgrade_as_documented(&gateway, &good);
    assert_eq!(gateway.wait().code(), Some(0), "{:?}", gateway.log_lines());
    let lines = gateway.log_lines();
    let at =
        |said: &str| lines.iter().position(|line| line.contains(said)).unwrap_or_else(|| panic!("no {said}"));
    assert!(at("another process has taken over") < at("draining"), "{lines:?}");
    assert_eq!(gateway.client().get("/").status, 200);
    let ready: serde_json::Value = serde_json::from_str(&gateway.admin("/readyz").text()).unwrap();
    assert_eq!(ready["pid"].to_string(), new);
    let new = rustix::process::Pid::from_raw(new.parse().unwrap()).unwrap();
    rustix::process::kill_process(new, Signal::TERM).unwrap();
    wait_for("its end", || rustix::process::test_kill_process(new).is_err().then_some(()));
}

#[test]
fn more_or_fewer_workers_than_before_serve_what_was_handed_over() {
    let origin = Origin::pages();
    let mut gateway = Gateway::build(&[&origin]).key("workers", "3").start();
    for workers in [1, 4] {
        let path = gateway.folder().join("kelisim.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = text.lines().map(|line| match line.starts_with("workers = ") {
            true => format!("workers = {workers}"),
            false => line.to_owned(),
        });
        std::fs::write(&path, changed.collect::<Vec<_>>().join("\n")).unwrap();
        let next = gateway.successor();
        std::mem::replace(&mut gateway, next).finish();
        (0..20).for_each(|_| assert_eq!(gateway.client().get("/").status, 200));
    }
    gateway.finish();
}

/// What `sh` does here is what systemd does: descriptor 3 is the socket, and the process is named as its owner.
pub const AS_SYSTEMD: &[&str] =
    &["sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 0</dev/null"];

#[test]
fn a_socket_of_systemd_is_used_and_outlives_the_process() {
    let origin = Origin::pages();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let build = || {
        let given = socket.try_clone().unwrap();
        Gateway::build(&[&origin]).at(address).started_by(AS_SYSTEMD).stdin(given)
    };
    // It waits before the gateway is there.
    let mut early = Client::connect(address);
    let gateway = build().start();
    assert_eq!(gateway.addresses, [address]);
    assert_eq!(early.get("/early").status, 200);
    gateway.finish();
    // Between two processes connections wait in the socket, and none is refused.
    let mut between = Client::connect(address);
    between.send("GET /between HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    let gateway = build().start();
    assert_eq!(between.read().status, 200);
    gateway.finish();
}

#[test]
fn systemds_own_tool_activates_it() {
    let Some(activate) = program("systemd-socket-activate", &[]) else { return };
    let origin = Origin::pages();
    let address = free_port();
    let text = address.to_string();
    let builder = Gateway::build(&[&origin]).at(address);
    std::thread::scope(|scope| {
        // The tool starts the gateway at the first connection.
        let first = scope.spawn(|| {
            let stream = wait_for("the socket", || TcpStream::connect(address).ok());
            drop(stream);
        });
        let gateway = builder.started_by(&[activate.to_str().unwrap(), "-l", &text]).start();
        first.join().unwrap();
        assert_eq!(gateway.client().get("/").status, 200);
        gateway.finish();
    });
}

#[test]
fn the_service_manager_is_told_of_every_step() {
    let origin = Origin::pages();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let gateway = Gateway::build(&[&origin])
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "200000")
        .start();
    let next = |wanted: &str| {
        let mut bytes = [0; 1024];
        loop {
            let n = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            let said = std::str::from_utf8(&bytes[..n]).unwrap().trim_end().to_owned();
            if said.lines().any(|line| line == wanted) {
                return said;
            }
            assert_eq!(said, "WATCHDOG=1", "before {wanted}");
        }
    };
    next("READY=1");
    next("WATCHDOG=1");
    next("WATCHDOG=1");
    gateway.signal(Signal::HUP);
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    gateway.term();
    next("STOPPING=1");
    gateway.finish();
}

#[test]
fn the_log_level_follows_a_reload_and_fixed_keys_are_named() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let debug = |line: &String| line.contains("\"level\":\"DEBUG\"");
    gateway.client().fetch(&ask("TRACE", "/"));
    assert!(!gateway.log_lines().iter().any(debug));
    let before = gateway.log_lines().len();
    gateway.reload(|text| {
        format!("{text}\n[log]\nlevel = \"debug\"\n[records.retention]\ndiagnostics = \"5d\"\n")
    });
    let said =
        gateway.wait_for_log(before, "the fixed keys", |line| line.contains("only with a new process"));
    assert!(said.contains("\"records.retention.diagnostics\"") && !said.contains("log.level"), "{said}");
    gateway.client().fetch(&ask("TRACE", "/debugged"));
    gateway.wait_for_log(before, "an event of level debug", |line| debug(&line.to_owned()));
}

/// What runs is what counts, not what the file said before: the warning stays until the two agree again.
#[test]
fn a_key_that_a_reload_cannot_change_is_named_until_the_file_says_what_runs() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let warned = |change: fn(String) -> String| {
        let before = gateway.log_lines().len();
        gateway.reload(change);
        gateway.log_lines()[before..].iter().any(|line| line.contains("only with a new process"))
    };
    assert!(warned(|text| format!("{text}\n[records.retention]\ndiagnostics = \"5d\"\n")));
    assert!(warned(|text| text), "read again, and not yet in force");
    assert!(!warned(|text| text.replace("diagnostics = \"5d\"", "")), "as at the start");
}

#[test]
fn a_reload_takes_other_certificate_files_if_they_are_good() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("workers", "1");
    let old = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&old.config()).start();
    let folder = gateway.folder().join("new");
    std::fs::create_dir(&folder).unwrap();
    let new = Certificate::write(&folder, &[HOST]);
    let trusts = |certificate: &Certificate| {
        Client::connect_tls(gateway.addresses[1], certificate.client(&["http/1.1"]), HOST).is_ok()
    };
    assert!(trusts(&old) && !trusts(&new));
    // Half written: everything stays as it was, also what else the file says.
    let whole = std::fs::read(&new.certificate).unwrap();
    std::fs::write(&new.certificate, &whole[..whole.len() / 2]).unwrap();
    let (from, to) = (old.config(), new.config());
    let said = gateway.reload(|text| text.replace(&from, &to).replace("www.kz.example", "new.kz.example"));
    assert!(said.contains("stays in force"), "{said}");
    assert!(trusts(&old));
    assert_eq!(gateway.client().fetch(&ask("GET", "/").host("www.kz.example")).status, 200);
    std::fs::write(&new.certificate, whole).unwrap();
    assert!(gateway.reload(|text| text).contains("reloaded"));
    assert!(trusts(&new) && !trusts(&old));
}

#[test]
fn a_reload_switches_location_databases() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let has = || gateway.metrics().contains("kelisim_geo_db_build_timestamp_seconds{database=\"country\"}");
    assert!(has());
    gateway.reload(|text| format!("{text}\n[geoip]\ncountry = \"off\"\n"));
    assert!(!has());
    gateway.reload(|text| text.replace("\"off\"", "\"shipped\""));
    assert!(has());
}

impl Gateway {
    /// Drains the gateway, then finds exactly one record for each of these paths, and no other.
    pub fn finish_and_count(self, asked: &[String]) {
        let folder = self.finish_and_keep();
        let records = crate::support::cli::records(&folder.path().join("records"), &[]);
        let mut count: HashMap<&str, usize> = asked.iter().map(|path| (path.as_str(), 0)).collect();
        for record in &records {
            let path = record["url.path"].as_str().unwrap_or_default();
            *count.get_mut(path).unwrap_or_else(|| panic!("nobody asked for {path}")) += 1;
        }
        let wrong: Vec<_> = count.into_iter().filter(|(_, n)| *n != 1).collect();
        assert!(wrong.is_empty(), "not recorded once: {wrong:?}");
    }
}
