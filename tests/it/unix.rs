//! Unix sockets as listeners: the file and its permissions, who the client is, reload, end, and the next process.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::process::Signal;

use crate::support::client::Client;
use crate::support::gateway::Builder;
use crate::support::tls::Certificate;
use crate::support::{Gateway, HOST, Origin, PATIENCE, ask, wait_for};

/// A gateway that listens at `gateway.sock` in its folder, besides a port.
fn build(origin: &Origin, lines: &str) -> (Builder, PathBuf) {
    let builder = Gateway::build(&[origin]);
    let path = builder.folder().join("gateway.sock");
    let listener = format!("[[listen]]\naddress = \"unix:{}\"\n{lines}\n", path.display());
    (builder.tables(&listener), path)
}

fn dial(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

fn connect(path: &Path) -> Client {
    Client::over(Box::new(dial(path)))
}

#[test]
fn a_unix_socket_serves_both_protocols_with_its_permissions() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "mode = \"0600\"");
    let gateway = builder.start();
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = connect(&path);
    assert_eq!(client.get("/first").status, 200);
    assert_eq!(client.fetch(&ask("POST", "/second").body("text")).status, 200);
    assert_eq!(gateway.record("/second")["http.response.status_code"], 200);
    let label = format!("listener=\"unix:{}\"", path.display());
    assert_eq!(gateway.metric("kelisim_http_requests_total", &[&label]), 2.0);
    // HTTP/2 with prior knowledge.
    let mut client = connect(&path);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut wire = client.into_wire();
    let mut head = [0; 9];
    wire.read_exact(&mut head).expect("a frame");
    assert_eq!(head[3], 4, "SETTINGS");
}

#[test]
fn the_default_lets_owner_and_group_connect() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "");
    let _gateway = builder.start();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
}

/// Whoever may write to the socket is not believed for that: what it says of the client counts if 127.0.0.1 is trusted.
#[test]
fn the_peer_of_a_unix_socket_is_believed_only_if_configured() {
    for (site, client) in [("", "127.0.0.1"), ("trusted_proxies = [\"127.0.0.1\"]", "203.0.113.7")] {
        let origin = Origin::pages();
        let (builder, path) = build(&origin, "");
        let gateway = builder.site(site).start();
        let asked = ask("GET", "/who")
            .header("X-Forwarded-For", "203.0.113.7")
            .header("X-Forwarded-Proto", "https")
            .header("X-Request-Id", "told-by-the-peer");
        let reply = connect(&path).fetch(&asked);
        let seen = origin.last();
        let chain = seen.headers.one("x-forwarded-for").unwrap().to_owned();
        let trusted = !site.is_empty();
        assert_eq!(chain, if trusted { format!("{client}, 127.0.0.1") } else { client.to_owned() });
        let scheme = if trusted { "https" } else { "http" };
        assert_eq!(seen.headers.one("x-forwarded-proto"), Some(scheme));
        assert_eq!(reply.id() == "told-by-the-peer", trusted);
        drop(gateway);
    }
}

#[test]
fn a_proxy_header_and_tls_work_through_a_unix_socket() {
    let origin = Origin::pages();
    let certificate_folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::write(certificate_folder.path(), &[HOST]);
    let (builder, path) = build(&origin, &format!("proxy_protocol = true\n{}", certificate.config()));
    let gateway = builder.start();
    let mut stream = dial(&path);
    stream.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n").unwrap();
    let mut client = Client::over_unix_tls(stream, certificate.client(&["http/1.1"]), HOST).expect("TLS");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(origin.last().headers.one("x-forwarded-for"), Some("203.0.113.7"));
    // Without the header nobody is served.
    let mut client = connect(&path);
    client.send("GET / HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    assert!(client.is_closed());
    gateway.wait_for_cut("proxy_protocol", 1);
}

#[test]
fn the_limit_for_one_client_counts_peers_of_a_unix_socket_together() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "");
    let gateway = builder.key("limits.connections_per_client", "2").start();
    let mut open: Vec<Client> = (0..2).map(|_| connect(&path)).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert!(connect(&path).is_closed());
    gateway.wait_for_cut("client_limit", 1);
}

#[test]
fn the_file_goes_with_the_process_and_one_left_behind_is_replaced() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "");
    // As after `kill -9`.
    drop(UnixListener::bind(&path).unwrap());
    let gateway = builder.start();
    let mut idle = connect(&path);
    assert_eq!(idle.get("/").status, 200);
    let said = gateway.reload(|text| format!("limits.h2_streams = 50\n{text}"));
    assert!(said.contains("configuration reloaded"), "{said}");
    assert_eq!(idle.get("/after").status, 200, "a reload closes nothing");
    assert_eq!(connect(&path).get("/new").status, 200);
    gateway.finish();
    assert!(!path.exists());
}

#[test]
fn a_drain_finishes_what_came_through_a_unix_socket() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "");
    let mut gateway = builder.start();
    let mut client = connect(&path);
    client.send("POST /half HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 4\r\n\r\nha");
    wait_for("the request", || (gateway.metric("kelisim_http_active_requests", &[]) == 1.0).then_some(()));
    gateway.term();
    wait_for("the end of accepting", || UnixStream::connect(&path).is_err().then_some(()));
    client.send("lf");
    let reply = client.read();
    assert_eq!((reply.status, reply.header("connection")), (200, "close"));
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn what_somebody_else_listens_on_is_left_alone() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "");
    let _other = UnixListener::bind(&path).unwrap();
    let file = builder.folder().join("kelisim.toml");
    std::fs::write(&file, builder.toml()).unwrap();
    let said = crate::support::cli::kelisim(&["run", "--config", file.to_str().unwrap()]);
    assert!(
        said.code != 0 && said.err.contains(&format!("cannot listen on unix:{}", path.display())),
        "{said:?}"
    );
    assert!(path.metadata().unwrap().file_type().is_socket());
}

#[test]
fn an_upgrade_under_load_keeps_the_file_and_fails_no_request() {
    let origin = Origin::pages();
    let (builder, path) = build(&origin, "");
    let mut gateway = builder.start();
    let stop = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let load = |name: &'static str| {
            let (stop, path) = (&stop, &path);
            scope.spawn(move || {
                let mut asked = Vec::new();
                while !stop.load(Relaxed) {
                    let target = format!("/{name}/{}", asked.len());
                    assert_eq!(connect(path).get(&target).status, 200);
                    asked.push(target);
                }
                asked
            })
        };
        let clients = [load("a"), load("b")];
        for _ in 0..3 {
            let next = gateway.successor();
            wait_for("readiness", || (next.admin("/readyz").status == 200).then_some(()));
            std::mem::replace(&mut gateway, next).finish();
            assert!(path.exists(), "the file is the successor's");
        }
        stop.store(true, Relaxed);
        clients.map(|client| client.join().expect("a client that was served")).concat()
    });
    assert!(asked.len() > 50, "only {} requests: no load", asked.len());
    gateway.finish_and_count(&asked);
    assert!(!path.exists(), "the last one takes it away");
}

#[test]
fn a_unix_socket_of_systemd_is_used_and_its_file_left_alone() {
    let origin = Origin::pages();
    // Not in the gateway's folder, which goes with it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let listener = format!("[[listen]]\naddress = \"unix:{}\"\n", path.display());
    let builder = Gateway::build(&[&origin]).tables(&listener);
    let socket = UnixListener::bind(&path).unwrap();
    let given = std::os::fd::OwnedFd::from(socket.try_clone().unwrap());
    let mut early = connect(&path);
    early.send(format!("GET /early HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let gateway = builder.started_by(crate::lifecycle::AS_SYSTEMD).stdin(given).start();
    assert_eq!(early.read().status, 200);
    assert_eq!(connect(&path).get("/").status, 200);
    drop(early);
    gateway.signal(Signal::INT);
    drop(gateway);
    assert!(path.exists());
    assert!(UnixStream::connect(&path).is_ok(), "the socket outlives the process");
}
