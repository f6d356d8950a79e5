//! What a gateway is started with: its configuration, its folder, its environment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::gateway::Gateway;

/// The host that tests ask for unless they say otherwise.
pub const HOST: &str = "kz.example";

/// What a gateway is started with.
pub struct Builder {
    folder: Arc<TempDir>,
    keys: BTreeMap<String, String>,
    listeners: Vec<String>,
    site: Vec<String>,
    tables: String,
    first: Option<SocketAddr>,
    start: Start,
}

/// How the process is started, besides its configuration.
#[derive(Default)]
pub(super) struct Start {
    pub(super) environment: Vec<(String, String)>,
    /// Another program, with its arguments, that starts the gateway.
    pub(super) starter: Vec<String>,
    pub(super) stdin: Option<OwnedFd>,
}

impl Builder {
    /// What every gateway before these servers begins with.
    pub(super) fn of(urls: &[String]) -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        let records = folder.path().join("records");
        let keys = [
            ("workers", "2".to_owned()),
            ("admin.address", "\"127.0.0.1:0\"".to_owned()),
            ("records.dir", format!("{records:?}")),
            // The preallocated files of many gateways at once are worth keeping small.
            ("records.file_bytes", "\"1MiB\"".to_owned()),
        ];
        Self {
            folder,
            keys: keys.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            listeners: vec![String::new()],
            site: vec![format!("hosts = [{HOST:?}, \"www.kz.example\"]"), format!("upstream = {urls:?}")],
            tables: String::new(),
            first: None,
            start: Start::default(),
        }
    }

    /// Sets a key by its dotted name; the value is TOML.
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self.keys.insert(name.into(), value.into());
        self
    }

    /// A line of the `[[site]]` table.
    pub fn site(mut self, line: &str) -> Self {
        self.site.push(line.into());
        self
    }

    /// Other hosts than the usual ones.
    pub fn hosts(mut self, hosts: &[&str]) -> Self {
        self.site[0] = format!("hosts = {hosts:?}");
        self
    }

    /// Further tables, at the end of the file.
    pub fn tables(mut self, toml: &str) -> Self {
        self.tables.push_str(toml);
        self
    }

    /// One more listener, on a port of its own; `lines` are added to its table.
    pub fn listener(mut self, lines: &str) -> Self {
        self.listeners.push(lines.into());
        self
    }

    /// Another address for the first listener than a port of the kernel's choice.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.first = Some(address);
        self
    }

    /// A variable of the process's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.start.environment.push((name.into(), value.into()));
        self
    }

    /// Has the gateway started by another program, which gets the gateway's command after its own arguments.
    pub fn started_by(mut self, starter: &[&str]) -> Self {
        self.start.starter = starter.iter().map(ToString::to_string).collect();
        self
    }

    /// What the process gets as standard input.
    pub fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.start.stdin = Some(stdin.into());
        self
    }

    /// Where files that the configuration names can be put.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder; relative paths in the configuration begin there.
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
        self
    }

    /// The configuration as TOML.
    pub fn toml(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.keys {
            writeln!(out, "{name} = {value}").unwrap();
        }
        for lines in &self.listeners {
            writeln!(out, "[[listen]]\naddress = \"127.0.0.1:0\"\n{lines}").unwrap();
        }
        writeln!(out, "[[site]]\n{}\n{}", self.site.join("\n"), self.tables).unwrap();
        match self.first {
            Some(address) => with_address(&out, address),
            None => out,
        }
    }

    /// Starts the gateway and waits until it tells its ports.
    pub fn start(self) -> Gateway {
        let listeners = self.listeners.len();
        std::fs::write(self.folder.path().join("kelisim.toml"), self.toml()).expect("a configuration");
        Gateway::launch(self.folder, listeners, self.start)
    }
}

/// The configuration with this address for the first listener that has none yet.
pub(super) fn with_address(toml: &str, address: SocketAddr) -> String {
    toml.replacen("[[listen]]\naddress = \"127.0.0.1:0\"", &format!("[[listen]]\naddress = \"{address}\""), 1)
}
