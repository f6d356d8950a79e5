//! In front of servers and behind clients that nobody here wrote. What is not installed is skipped, and says so.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{Ask, Gateway, Protocol, Reply, Visitor, ask, digest, noise, program, wait_for};

/// A server in a process of its own; killed when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command, address: SocketAddr) -> Self {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a server");
        wait_for("the server's port", || TcpStream::connect(address).ok());
        Self { process, address }
    }

    fn gateway(&self) -> Gateway {
        Gateway::build_for(&[format!("http://{}", self.address)]).start()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago: these servers cannot be asked to choose one and tell.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn nginx(folder: &Path) -> Option<Server> {
    let binary = program("nginx", &["/usr/sbin/nginx"])?;
    let address = free_port();
    let root = folder.join("site");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("index.html"), format!("<!doctype html>{}", "some text ".repeat(500))).unwrap();
    std::fs::write(root.join("large.bin"), noise(3 << 20)).unwrap();
    let folder = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
         events {{ worker_connections 256; }}
         http {{
           access_log off; types {{ text/html html; application/octet-stream bin; }}
           client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
           uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
           gzip on; gzip_min_length 100; keepalive_requests 3;
           server {{ listen {address}; root {folder}/site; add_header Set-Cookie \"_fbp=1; Path=/\"; }}
         }}"
    );
    let path = std::path::PathBuf::from(format!("{folder}/nginx.conf"));
    std::fs::write(&path, config).unwrap();
    Some(Server::start(Command::new(binary).arg("-c").arg(&path).arg("-p").arg(folder.to_string()), address))
}

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
            for name in ["etag", "last-modified", "content-encoding", "content-range", "accept-ranges", "server"] {
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
    command.args(["-m", "http.server", "--bind", "127.0.0.1", &address.port().to_string()]).current_dir(folder.path());
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
            .args(["-sS", version, "--max-time", "30", "-H", "Host: kz.example", "-d", "hello", "-w", " %{http_code}"])
            .arg(format!("http://{}/", gateway.addresses[0]))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if version.contains('2') && String::from_utf8_lossy(&output.stderr).contains("does not support") {
            eprintln!("skipped: this curl has no HTTP/2");
            continue;
        }
        assert_eq!(text, "hello 200", "{version}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

// Place of the applications with a login of their own, installed from PyPI: each starts as a `Server`, is logged into
// through the gateway over both protocols, and must keep its session while its advertising cookies go.
