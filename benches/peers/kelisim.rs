//! Kelisim itself: with the whole job, which is consent, cookies, location, risk, durable records and metrics, and in
//! other shapes, with parts of the job switched off or more of something.
//!
//! Records at level `group`, the default, unless that is switched off. Only keys of the configuration are used: what
//! has no switch (the record itself, the visitor cookie, metrics) stays. Bound: a journal of one gigabyte.

mod shape;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Fallible;
use crate::child::{Child, PEER_CORE, free_address, says};
use crate::client::Client;
use crate::peer::{Evidence, Job, Peer, Setting, Started};

pub(crate) use shape::{PARTS, Part, Shape};

/// The cookie that it gives to visitors.
pub(crate) const VISITOR_COOKIE: &str = "kelisim_vid";

/// Records, and how to ask for them.
#[derive(Debug)]
pub(crate) struct Journal {
    program: PathBuf,
    data: PathBuf,
    admin: SocketAddr,
    stripped: bool,
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
pub(crate) fn start(name: &'static str, setting: &Setting<'_>, shape: &Shape) -> Fallible<Started> {
    let Prepared { config, address, journal } = prepare(setting, shape)?;
    let arguments = ["run".into(), "--config".into(), config.into_os_string()];
    let mut child =
        Child::start(cores(shape.workers)?, setting.kelisim, arguments, &setting.folder.join("said"))?;
    child.await_listening(address, Duration::from_secs(10))?;
    Ok(Started::Running(Box::new(Peer {
        name,
        version: says(&setting.kelisim.to_string_lossy(), &["--version"]).unwrap_or_default(),
        job: shape.job(),
        address,
        visitor_cookie: Some(VISITOR_COOKIE),
        sites: shape.sites,
        connections: shape.connections,
        evidence: Evidence::Journal(journal),
        child,
    })))
}

/// Writes its configuration.
pub(crate) fn prepare(setting: &Setting<'_>, shape: &Shape) -> Fallible<Prepared> {
    let (address, admin) = (free_address()?, free_address()?);
    let (config, data) = (setting.folder.join("kelisim.toml"), setting.folder.join("data"));
    std::fs::write(setting.folder.join("policy.md"), "# Policy\n\nWhat is collected, and why.\n")?;
    std::fs::write(setting.folder.join("cookies.toml"), shape.rules_file())?;
    std::fs::write(&config, shape.configuration(setting, address, admin, &data))?;
    let stripped = shape.job() == Job::Full;
    let journal = Journal { program: setting.kelisim.to_owned(), data, admin, stripped };
    Ok(Prepared { config, address, journal })
}

/// As many cores as workers: the peers' first, then the others, and with two cores that of the load as well.
fn cores(workers: u32) -> Fallible<String> {
    let all = std::thread::available_parallelism()?.get();
    let cores = (0..workers as usize).map(|i| ((PEER_CORE + i) % all).to_string());
    Ok(cores.collect::<Vec<_>>().join(","))
}

impl Journal {
    /// Whether there is a record of a path, with the cookie that was stripped.
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
        Ok(text.contains(path) && (text.contains("_fbp") || !self.stripped))
    }

    /// Records that were shed or could not be written, by its own count. Old files that made room are not lost.
    pub(crate) fn lost(&self) -> Fallible<u64> {
        let metrics = self.metrics()?;
        let lines = metrics.lines().filter(|line| line.starts_with("kelisim_journal_dropped_records_total{"));
        let lines = lines.filter(|line| !line.contains("reason=\"quota\""));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum::<f64>() as u64)
    }

    fn metrics(&self) -> Fallible<String> {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin);
        let answer = Client::connect(self.admin)?.exchange(&request)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }
}
