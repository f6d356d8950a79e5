//! In front of servers and behind clients that nobody here wrote. What is not installed is skipped, and says so.

use std::process::Command;

use tempfile::TempDir;

use crate::support::server::{Server, free_port, nginx};
use crate::support::{Ask, Gateway, Protocol, Reply, Visitor, ask, digest, missing, program};

/// The same question to the server itself and through the gateway, over either protocol.
fn both(server: &Server, gateway: &Gateway, question: &Ask) -> (Reply, Vec<Reply>) {
    let mut direct = crate::support::Client::connect(server.address);
    let itself = direct.fetch_unsuspecting(question);
    (itself, Protocol::ALL.map(|p| Visitor::new(gateway, p).fetch(question.clone())).into())
}

#[test]
fn nginx_looks_the_same_through_the_gateway() {
    let folder = TempDir::new().unwrap();
    let Some(server) = nginx(folder.path()) else { return };
    let gateway = server.gateway();
    let (page, _) = both(&server, &gateway, &ask("GET", "/"));
    let (etag, modified) = (page.header("etag").to_owned(), page.header("last-modified").to_owned());
    let questions = [
        ask("GET", "/"),
        ask("HEAD", "/"),
        ask("GET", "/").header("accept-encoding", "gzip"),
        ask("GET", "/large.bin"),
        ask("GET", "/large.bin").header("range", "bytes=1000-1999"),
        ask("GET", "/large.bin").header("range", "bytes=0-9,100-109"),
        ask("GET", "/large.bin").header("range", "bytes=99999999-"),
        ask("GET", "/").header("if-none-match", &etag),
        ask("GET", "/").header("if-modified-since", &modified),
        ask("GET", "/missing"),
        ask("POST", "/").body("x"),
    ];
    for question in &questions {
        let (itself, through) = both(&server, &gateway, question);
        for reply in through {
            assert_eq!(reply.status, itself.status, "{question:?}");
            let ranges = itself.header("content-type").starts_with("multipart");
            assert!(ranges || digest(&reply.body) == digest(&itself.body), "{question:?}");
            for name in
                ["etag", "last-modified", "content-encoding", "content-range", "accept-ranges", "server"]
            {
                assert_eq!(reply.header(name), itself.header(name), "{name} for {question:?}");
            }
            if question.method != "HEAD" && itself.headers.has("content-length") {
                assert_eq!(reply.header("content-length"), itself.header("content-length"), "{question:?}");
            }
            assert!(!reply.set_cookies().iter().any(|c| c.starts_with("_fbp=1")), "{question:?}");
        }
    }
}

#[test]
fn nginx_that_closes_after_three_requests_costs_no_request() {
    let folder = TempDir::new().unwrap();
    let Some(server) = nginx(folder.path()) else { return };
    let gateway = server.gateway();
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn pythons_own_server_is_served() {
    let Some(python) = program("python3", &[]) else { return };
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("a.txt"), "plain").unwrap();
    let address = free_port();
    let mut command = Command::new(python);
    command
        .args(["-m", "http.server", "--bind", "127.0.0.1", &address.port().to_string()])
        .current_dir(folder.path());
    let server = Server::start(&mut command, address);
    let gateway = server.gateway();
    // It speaks HTTP/1.0 and closes after every answer.
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        for _ in 0..5 {
            assert_eq!(visitor.fetch(ask("GET", "/a.txt")).text(), "plain");
            assert_eq!(visitor.fetch(ask("GET", "/missing")).status, 404);
        }
    }
}

#[test]
fn curl_is_served_over_both_protocols() {
    let Some(curl) = program("curl", &[]) else { return };
    let origin = crate::support::Origin::start(|seen| crate::support::Answer::text(seen.body.clone()));
    let gateway = Gateway::of(&origin);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let output = Command::new(&curl)
            .args([
                "-sS",
                version,
                "--max-time",
                "30",
                "-H",
                "Host: kz.example",
                "-d",
                "hello",
                "-w",
                " %{http_code}",
            ])
            .arg(format!("http://{}/", gateway.addresses[0]))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if version.contains('2') && String::from_utf8_lossy(&output.stderr).contains("does not support") {
            missing("curl with HTTP/2");
            continue;
        }
        assert_eq!(text, "hello 200", "{version}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
