//! One process of the real binary, with a folder, a configuration and ports of its own.
//!
//! The ports are those that the process tells in its log. When it ends the log must hold no panic, however it ended.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

pub use super::builder::{Builder, HOST};
use super::builder::{Start, with_address};
use super::client::{Client, Reply};
use super::h2::Http2;
use super::origin::Origin;
use super::process::send;
pub use super::process::{go_on, interrupt, run, stop};
use super::{PATIENCE, cli, wait_for};

/// A running gateway. Dropping it kills it and looks for panics.
pub struct Gateway {
    /// Its listeners, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    admin: SocketAddr,
    process: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
    folder: Arc<TempDir>,
    ended: bool,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Gateway {
    /// A gateway before one site.
    pub fn of(origin: &Origin) -> Self {
        Self::build(&[origin]).start()
    }

    /// A gateway before a site with these servers, yet to be told more.
    pub fn build(origins: &[&Origin]) -> Builder {
        let urls: Vec<String> = origins.iter().map(|origin| origin.url()).collect();
        Self::build_for(&urls)
    }

    /// The same, for servers that are no [`Origin`].
    pub fn build_for(urls: &[String]) -> Builder {
        Builder::of(urls)
    }

    /// A gateway with one listener on a folder that has a configuration.
    pub fn on(folder: Arc<TempDir>) -> Self {
        Self::launch(folder, 1, Start::default())
    }

    pub(super) fn launch(folder: Arc<TempDir>, listeners: usize, start: Start) -> Self {
        let mut process = cli::command_through(&start.starter)
            .args(["run", "--config"])
            .arg(folder.path().join("kelisim.toml"))
            .envs(start.environment)
            .stdin(start.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(process.stderr.take().expect("its log"));
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                kept.lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                kept.more.notify_all();
            }
            kept.more.notify_all();
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Self {
            addresses: Vec::new(),
            admin: nowhere,
            process,
            log,
            reader: Some(reader),
            folder,
            ended: false,
        };
        gateway.admin = gateway.address_after("admin listener", 1)[0];
        gateway.addresses = gateway.address_after("accepting traffic", listeners);
        gateway
    }

    /// A connection to the first listener.
    pub fn client(&self) -> Client {
        Client::connect(self.addresses[0])
    }

    /// An HTTP/2 connection to the first listener, in cleartext.
    pub fn http2(&self) -> Http2 {
        Http2::connect(self.addresses[0])
    }

    /// A page of the admin listener.
    pub fn admin(&self, path: &str) -> Reply {
        let mut client = Client::connect(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        client.read()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Whether the admin listener still takes connections.
    pub fn admin_port(&self) -> SocketAddr {
        self.admin
    }

    /// The page of metrics.
    pub fn metrics(&self) -> String {
        let reply = self.admin("/metrics");
        assert_eq!(reply.status, 200);
        reply.text()
    }

    /// The sum of all samples of a metric whose labels contain every given `name="value"`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics();
        let mut lines = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
                && labels.iter().all(|label| line.contains(label))
        });
        let first = lines.next().unwrap_or_else(|| panic!("no sample of {name} with {labels:?}"));
        std::iter::once(first)
            .chain(lines)
            .map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).expect("a number"))
            .sum()
    }

    /// How many requests were rejected for a reason.
    pub fn rejected(&self, reason: &str) -> u64 {
        self.count_of("kelisim_request_rejected_total", reason)
    }

    /// How many connections were closed for a reason.
    pub fn cut(&self, reason: &str) -> u64 {
        self.count_of("kelisim_connections_rejected_total", reason)
    }

    /// Waits until so many connections were closed for a reason: exactly so many.
    pub fn wait_for_cut(&self, reason: &str, count: u64) {
        wait_for("connections cut", || (self.cut(reason) >= count).then_some(()));
        assert_eq!(self.cut(reason), count, "connections cut for {reason}");
    }

    fn count_of(&self, name: &str, reason: &str) -> u64 {
        self.metric(name, &[&format!("reason=\"{reason}\"")]) as u64
    }

    /// Bytes of memory that the process has, from the kernel.
    pub fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
        kib << 10
    }

    /// How many files and sockets the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("its descriptors").count()
    }

    /// The folder with the configuration and everything else.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("records")
    }

    /// All records of finished requests as the purpose support sees them, oldest first.
    pub fn records(&self) -> Vec<Value> {
        cli::records(&self.data(), &[])
    }

    /// Waits for the record of a path; there must be one.
    pub fn record(&self, path: &str) -> Value {
        let all = wait_for("a record", || {
            let all: Vec<Value> = self.records().into_iter().filter(|r| r["url.path"] == path).collect();
            (!all.is_empty()).then_some(all)
        });
        assert_eq!(all.len(), 1, "records of {path}: {all:?}");
        all[0].clone()
    }

    /// Waits until a path has so many records.
    pub fn record_count(&self, path: &str, count: usize) {
        wait_for("the records", || {
            let found = self.records().iter().filter(|record| record["url.path"] == path).count();
            assert!(found <= count, "{found} records of {path}");
            (found == count).then_some(())
        });
    }

    /// Changes the configuration and tells the gateway; waits until it says what it made of it.
    pub fn reload(&self, change: impl FnOnce(String) -> String) -> String {
        let path = self.folder.path().join("kelisim.toml");
        let before = self.log_lines().len();
        let text = std::fs::read_to_string(&path).expect("the configuration");
        let new = self.folder.path().join("kelisim.new");
        std::fs::write(&new, change(text)).and_then(|()| std::fs::rename(&new, &path)).expect("written");
        self.signal(Signal::HUP);
        self.wait_for_log(before, "what became of the configuration", |line| {
            ["configuration reloaded", "stays in force"].iter().any(|said| line.contains(said))
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.process, signal);
    }

    /// Asks the gateway to drain.
    pub fn term(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let process = &mut self.process;
        let status = wait_for("the end of the gateway", || process.try_wait().expect("its status"));
        self.ended = true;
        // Its last words are in the pipe.
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its log");
        }
        status
    }

    /// Drains the gateway; it must end cleanly.
    pub fn finish(mut self) {
        self.term();
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "exit code\n{}", self.tail());
    }

    /// Drains the gateway, which must end cleanly, and gives back its folder.
    pub fn finish_and_keep(self) -> Arc<TempDir> {
        let folder = Arc::clone(&self.folder);
        self.finish();
        folder
    }

    /// Drains the gateway and starts another on the same folder.
    pub fn end_and_restart(self) -> Self {
        let listeners = self.addresses.len();
        Self::launch(self.finish_and_keep(), listeners, Start::default())
    }

    /// Kills the process with no chance to do anything, and starts another on the same folder.
    pub fn crash_and_restart(self) -> Self {
        self.crash_and_edit(|| ())
    }

    /// The same, with something done to the folder in between.
    pub fn crash_and_edit(mut self, edit: impl FnOnce()) -> Self {
        let (listeners, folder) = (self.addresses.len(), Arc::clone(&self.folder));
        self.signal(Signal::KILL);
        self.wait();
        drop(self);
        edit();
        Self::launch(folder, listeners, Start::default())
    }

    /// A second process on the same folder and the same ports, as during an upgrade.
    pub fn successor(&self) -> Self {
        let path = self.folder.path().join("kelisim.toml");
        std::fs::write(&path, self.as_a_successor()).expect("written");
        let next = Self::launch(Arc::clone(&self.folder), self.addresses.len(), Start::default());
        assert_eq!(next.addresses, self.addresses);
        next
    }

    /// The configuration with the ports that the kernel chose, for a process that takes this one's place.
    pub fn as_a_successor(&self) -> String {
        let text =
            std::fs::read_to_string(self.folder.path().join("kelisim.toml")).expect("the configuration");
        let text = self.addresses.iter().fold(text, |text, address| with_address(&text, *address));
        let admin = format!("admin.address = \"{}\"", self.admin);
        text.replacen("admin.address = \"127.0.0.1:0\"", &admin, 1)
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    /// Waits for a line after the first `skip` ones.
    pub fn wait_for_log(&self, skip: usize, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(what, || {
            // Looked at first: what was written before the end has been read by then.
            let ended = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            let found = self.log_lines().into_iter().skip(skip).find(|line| wanted(line));
            assert!(found.is_some() || !ended, "the gateway ended without a word about {what}");
            found
        })
    }

    fn address_after(&mut self, message: &str, count: usize) -> Vec<SocketAddr> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: Vec<SocketAddr> = self
                .log_lines()
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|event| event["message"] == message)
                .filter_map(|event| event["address"].as_str()?.parse().ok())
                .collect();
            if found.len() >= count {
                return found;
            }
            if let Some(status) = self.process.try_wait().expect("its status") {
                panic!("the gateway ended at start: {status}\n{}", self.tail());
            }
            assert!(Instant::now() < deadline, "the gateway did not say {message:?}\n{}", self.tail());
            let lines = self.log.lines.lock().unwrap();
            drop(self.log.more.wait_timeout(lines, std::time::Duration::from_millis(50)));
        }
    }

    fn tail(&self) -> String {
        let lines = self.log_lines();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended by itself: what it said then is what matters.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.tail());
        } else {
            let panics: Vec<String> =
                self.log_lines().into_iter().filter(|l| l.contains("panicked")).collect();
            assert!(panics.is_empty(), "the gateway panicked:\n{}", panics.join("\n"));
        }
    }
}
