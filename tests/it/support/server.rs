//! Servers that nobody here wrote, each in a process of its own.
//!
//! Where a server can choose its port and tell it, it is asked to ([`Server::telling`]). What it says on standard
//! error is shown if the test fails.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use rustix::process::{Pid, Signal, kill_process_group};

use super::gateway::Builder;
use super::{Gateway, PATIENCE, missing, noise, program, wait_for};

/// A server in a process of its own; killed when dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server that was told its port, and waits until it listens.
    pub fn start(command: &mut Command, address: SocketAddr) -> Self {
        let mut server = Self::spawn(command.stdout(Stdio::null()), address);
        wait_for("the server's port", || {
            let ended = server.process.try_wait().expect("its status");
            assert!(ended.is_none(), "the server ended at start: {ended:?}");
            TcpStream::connect(address).ok()
        });
        server
    }

    /// Starts a server that chooses its port and prints a line with `http://127.0.0.1:PORT/`.
    pub fn telling(command: &mut Command) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self::spawn(command.stdout(Stdio::piped()), nowhere);
        let stdout = server.process.stdout.take().expect("its output");
        let (tell, told) = mpsc::channel();
        // Its further lines are read and forgotten, so that it never waits for a reader.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let rest = line.split_once("http://127.0.0.1:").and_then(|(_, rest)| rest.split('/').next());
                if let Some(port) = rest.and_then(|port| port.parse().ok()) {
                    let _ = tell.send(port);
                }
            }
        });
        server.address.set_port(told.recv_timeout(PATIENCE).expect("the server tells its port"));
        server
    }

    /// A gateway before it, yet to be told more.
    pub fn build_gateway(&self) -> Builder {
        Gateway::build_for(&[format!("http://{}", self.address)])
    }

    /// A gateway before it.
    pub fn gateway(&self) -> Gateway {
        self.build_gateway().start()
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> Self {
        let command = command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut process = command.spawn().expect("a server");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stderr, kept) = (process.stderr.take().expect("its messages"), Arc::clone(&said));
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| {
                let mut lines: std::sync::MutexGuard<'_, Vec<String>> = kept.lock().unwrap();
                if lines.len() == LINES {
                    lines.remove(0);
                }
                lines.push(line);
            });
        });
        Self { address, process, said }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With what it started: Apache's workers outlive a master that is killed alone.
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.said.lock().unwrap().join("\n"));
        }
    }
}

/// A port that was free a moment ago, for servers that cannot be asked to choose one and tell.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An interpreter that can import a module, or `None` with a line that says what is skipped.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("python3")).find(|python| {
        let import = Command::new(python).args(["-c", &format!("import {module}")]).output();
        import.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        missing(&format!("{module} for python3"));
    }
    found
}

/// nginx with a page, a file of 3 MiB, and whatever else the folder `site` holds.
pub fn nginx(folder: &Path) -> Option<Server> {
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
    let path = PathBuf::from(format!("{folder}/nginx.conf"));
    std::fs::write(&path, config).unwrap();
    Some(Server::start(Command::new(binary).arg("-c").arg(&path).arg("-p").arg(folder.to_string()), address))
}

/// How many of a server's last messages are kept.
const LINES: usize = 40;
