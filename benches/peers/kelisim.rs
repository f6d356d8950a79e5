//! Kelisim itself, with the whole job: consent, cookies, location, risk, durable records, metrics.
//!
//! One worker thread; records at level `group`, the default. Bound: [`Journal`] keeps half a gigabyte.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::child::{Child, PEER_CORE, free_address, says};
use crate::client::Client;
use crate::peer::{Evidence, Job, Peer, Started};
use crate::{Args, Fallible, workload};

/// Records, and how to ask for them.
#[derive(Debug)]
pub(crate) struct Journal {
    program: PathBuf,
    data: PathBuf,
    admin: SocketAddr,
}

/// A configuration that is written, and the addresses in it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The file.
    pub(crate) config: PathBuf,
    /// Where it will listen.
    pub(crate) address: SocketAddr,
    /// Its records.
    pub(crate) journal: Journal,
}

/// Starts it.
pub(crate) fn start(args: &Args, origin: SocketAddr, folder: &Path) -> Fallible<Started> {
    let Prepared { config, address, journal } = prepare(args, origin, folder)?;
    let arguments = ["run".into(), "--config".into(), config.into_os_string()];
    let mut child = Child::start(PEER_CORE, &args.kelisim, arguments, &folder.join("said"))?;
    child.await_listening(address, Duration::from_secs(10))?;
    Ok(Started::Running(Box::new(Peer {
        name: "kelisim",
        version: says(&args.kelisim.to_string_lossy(), &["--version"]).unwrap_or_default(),
        job: Job::Full,
        address,
        visitor_cookie: Some("kelisim_vid"),
        evidence: Evidence::Journal(journal),
        child,
    })))
}

/// Writes its configuration.
pub(crate) fn prepare(args: &Args, origin: SocketAddr, folder: &Path) -> Fallible<Prepared> {
    let (address, admin) = (free_address()?, free_address()?);
    let (config, data) = (folder.join("kelisim.toml"), folder.join("data"));
    std::fs::write(folder.join("policy.md"), "# Policy\n\nWhat is collected, and why.\n")?;
    std::fs::write(&config, configuration(address, admin, origin, &data))?;
    Ok(Prepared { config, address, journal: Journal { program: args.kelisim.clone(), data, admin } })
}

fn configuration(address: SocketAddr, admin: SocketAddr, origin: SocketAddr, data: &Path) -> String {
    format!(
        r#"workers = 1
[[listen]]
address = "{address}"
[[site]]
hosts = ["{host}"]
upstream = ["http://{origin}"]
trusted_proxies = ["127.0.0.1"]
[site.policy]
versions = [{{ id = "1", file = "policy.md", language = "en", effective = 2026-01-01 }}]
gate = ["/register"]
[geoip]
country = "shipped"
[risk]
login_paths = ["/login"]
[records]
dir = '{data}'
durability = "group"
max_bytes = "512MiB"
[limits]
# Peers do not limit it either; the default closes connections within a round.
requests_per_connection = 1000000
[admin]
address = "{admin}"
"#,
        host = workload::HOST,
        data = data.display(),
    )
}

impl Journal {
    /// Whether there is a record of a path.
    pub(crate) fn has(&self, path: &str) -> Fallible<bool> {
        let output = Command::new(&self.program)
            .args(["logs", "query", "--format", "json", "--data"])
            .arg(&self.data)
            .arg(format!("path={path}"))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            return Err(format!("kelisim logs: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.contains(path) && text.contains("_fbp"))
    }

    /// Records that were shed, by its own count.
    pub(crate) fn lost(&self) -> Fallible<u64> {
        let metrics = self.metrics()?;
        let lines = metrics.lines().filter(|line| line.starts_with("kelisim_journal_dropped_records_total"));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum::<f64>() as u64)
    }

    fn metrics(&self) -> Fallible<String> {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin);
        let answer = Client::connect(self.admin)?.exchange(&request)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }
}
