//! Origins that nobody here wrote, each telling every request that it saw: nginx, Apache, node, Python.
//!
//! Each keeps connections open, takes any method and target, and writes one line `METHOD TARGET` per request into a
//! file, also for what it could not read as a request. What is not installed is skipped, and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::program;
use super::server::{Server, free_port};

/// A server that tells what it saw.
pub struct RealOrigin {
    /// Its name in messages.
    pub name: &'static str,
    /// The server.
    pub server: Server,
    log: PathBuf,
    _folder: TempDir,
}

impl RealOrigin {
    /// Every origin that is installed.
    pub fn all() -> Vec<Self> {
        [Self::nginx(), Self::apache(), Self::node(), Self::python()].into_iter().flatten().collect()
    }

    /// nginx, answering by itself.
    pub fn nginx() -> Option<Self> {
        let binary = program("nginx", &["/usr/sbin/nginx"])?;
        Self::start("nginx", |folder, log, address| {
            let path = folder.display();
            let config = format!(
                "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;
                 events {{ worker_connections 256; }}
                 http {{
                   log_format seen escape=none '$request';
                   access_log {log} seen; client_max_body_size 0; merge_slashes off;
                   client_body_temp_path {path}/b; proxy_temp_path {path}/p; fastcgi_temp_path {path}/f;
                   uwsgi_temp_path {path}/u; scgi_temp_path {path}/s; keepalive_requests 100000;
                   underscores_in_headers on;
                   server {{ listen {address}; location / {{ return 200 'seen'; }} }}
                 }}",
                log = log.display()
            );
            let file = folder.join("nginx.conf");
            std::fs::write(&file, config).unwrap();
            let mut command = Command::new(binary);
            command.arg("-c").arg(file).arg("-p").arg(folder);
            command
        })
    }

    /// Apache with its event module.
    pub fn apache() -> Option<Self> {
        let binary = program("apache2", &["/usr/sbin/apache2", "/usr/sbin/httpd"])?;
        Self::start("Apache", |folder, log, address| {
            let path = folder.display();
            let modules = "/usr/lib/apache2/modules";
            let config = format!(
                "ServerName kz.example\nListen {address}\nServerRoot {path}\nPidFile {path}/pid\n\
                 DefaultRuntimeDir {path}\nMutex pthread\nErrorLog {path}/error.log\nDocumentRoot {path}\n\
                 LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
                 LoadModule authz_core_module {modules}/mod_authz_core.so\n\
                 User www-data\nGroup www-data\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
                 AllowEncodedSlashes NoDecode\nMergeSlashes Off\n\
                 LogFormat \"%r\" seen\nCustomLog {log} seen\n",
                log = log.display()
            );
            let file = folder.join("apache.conf");
            std::fs::write(&file, config).unwrap();
            let mut command = Command::new(binary);
            command.arg("-f").arg(file).args(["-D", "FOREGROUND"]);
            command
        })
    }

    /// node's own HTTP server.
    pub fn node() -> Option<Self> {
        let binary = program("node", &[])?;
        Self::start("node", |folder, log, address| {
            let file = folder.join("origin.js");
            std::fs::write(&file, NODE).unwrap();
            let mut command = Command::new(binary);
            command.arg(file).arg(address.port().to_string()).arg(log);
            command
        })
    }

    /// The HTTP server of Python's standard library, told to keep connections open.
    pub fn python() -> Option<Self> {
        let binary = program("python3", &[])?;
        Self::start("Python", |folder, log, address| {
            let file = folder.join("origin.py");
            std::fs::write(&file, PYTHON).unwrap();
            let mut command = Command::new(binary);
            command.arg(file).arg(address.port().to_string()).arg(log);
            command
        })
    }

    fn start(
        name: &'static str,
        command: impl FnOnce(&Path, &Path, std::net::SocketAddr) -> Command,
    ) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new().unwrap();
        // Servers that give up root must still reach it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (log, address) = (folder.path().join("seen.log"), free_port());
        std::fs::write(&log, "").unwrap();
        let mut command = command(folder.path(), &log, address);
        let server = Server::start(&mut command, address);
        Some(Self { name, server, log, _folder: folder })
    }

    /// What it saw so far: one line per request.
    pub fn seen(&self) -> Vec<String> {
        let bytes = std::fs::read(&self.log).unwrap();
        let lines = bytes.split(|b| *b == b'\n').map(|line| String::from_utf8_lossy(line).trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

/// A line when the head is there; whatever cannot be read is a line, too.
const NODE: &str = r"
const fs = require('fs'), http = require('http');
const [port, log] = process.argv.slice(2);
const seen = (line) => fs.appendFileSync(log, line + '\n');
const server = http.createServer((request, response) => {
  seen(`${request.method} ${request.url}`);
  request.on('data', () => {});
  request.on('end', () => response.end('seen'));
  request.on('error', () => {});
});
server.on('clientError', (error, socket) => {
  // A method or target that node does not like is a request all the same: its first line tells.
  const raw = error.rawPacket === undefined ? '' : error.rawPacket.toString('latin1').split('\r\n')[0];
  const disliked = !http.METHODS.includes(raw.split(' ')[0]) || error.code === 'HPE_INVALID_URL';
  if (disliked && / \/\S* HTTP\/1\.1$/.test(raw)) seen(raw);
  else if (error.code !== 'ECONNRESET' && error.code !== 'HPE_INVALID_EOF_STATE') seen(`ERROR ${error.code} ${raw}`);
  socket.destroy();
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), '127.0.0.1');
";

const PYTHON: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if size == 0:
                    while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                        pass
                    return
                self.rfile.read(size)
                self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        # Not self.path, where two slashes at the begin have become one.
        seen(self.requestline)
        try:
            self.body()
        except ValueError:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"seen")

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def send_error(self, code, *rest):
        seen(f"ERROR {code} {self.raw_requestline!r}")
        super().send_error(code, *rest)

    def log_message(self, *args):
        pass

log = open(sys.argv[2], "a", buffering=1)

def seen(line):
    log.write(line + "\n")

ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;
