//! The processes that the bench starts, and the folder they work in.
//!
//! Each runs on its own core and ends with the bench: by a signal when dropped, by the kernel if the bench itself is
//! killed. Never ends a process that it did not start. Bound: [`PATIENCE`] to end, then it is killed.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Fallible, copy, cpu, origin};

/// The core of the origin and of the load generator.
pub(crate) const LOAD_CORE: usize = 0;
/// The core of the peer that is measured.
pub(crate) const PEER_CORE: usize = 1;
/// Names what this binary is when it starts itself: `origin BYTES` or `copy ADDRESS [PEM]`.
pub(crate) const ROLE: &str = "KELISIM_PEERS_ROLE";

/// How long a process may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder for configurations, logs and records; removed at the end unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Workplace(tempfile::TempDir);

impl Workplace {
    /// Makes one on the disk where the build lies: records are synced, and a folder in memory would flatter them.
    pub(crate) fn new(keep: bool) -> Fallible<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("peers-").disable_cleanup(keep);
        std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR"))?;
        let folder = builder.tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        if keep {
            println!("kept: {}", folder.path().display());
        }
        Ok(Self(folder))
    }

    /// An empty folder below it.
    pub(crate) fn folder(&self, name: &str) -> Fallible<PathBuf> {
        let path = self.0.path().join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir(&path)?;
        Ok(path)
    }
}

/// A process of ours.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    said: Option<PathBuf>,
}

impl Child {
    /// Starts a program on a core, or on several such as `0,1`. What it says on standard output and error goes to `said`.
    pub(crate) fn start(
        core: impl Display,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = OsString>,
        said: &Path,
    ) -> Fallible<Self> {
        // Appending, so that a log can be cut while it is written.
        File::create(said)?;
        let out = File::options().append(true).open(said)?;
        let mut command = on_core(core, program.as_ref());
        command.args(args).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Self { process: command.spawn()?, said: Some(said.to_owned()) })
    }

    /// Starts this very binary in a role; it tells its address on standard output, and ends when standard input does.
    pub(crate) fn role(core: usize, role: &str) -> Fallible<(Self, SocketAddr)> {
        let mut command = on_core(core, std::env::current_exe()?.as_os_str());
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out.take(100)).read_line(&mut line)?;
        }
        let child = Self { process, said: None };
        Ok((child, line.trim().parse()?))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until an address accepts connections.
    pub(crate) fn await_listening(&mut self, address: SocketAddr, patience: Duration) -> Fallible<()> {
        let begun = Instant::now();
        loop {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("ended at start ({status}): {}", self.last_words()).into());
            }
            if begun.elapsed() > patience {
                return Err(format!("does not listen after {patience:?}: {}", self.last_words()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end, and kills it if that does not come.
    pub(crate) fn await_end(&mut self, patience: Duration) -> Fallible<process::ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                self.process.kill()?;
                self.process.wait()?;
                return Err(format!("did not end within {patience:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // Already gone is as good.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// The end of what it said, for a message.
    pub(crate) fn last_words(&self) -> String {
        let text = self.said.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            // Its number may be somebody else's by now.
            return;
        }
        let tree = cpu::tree(self.process.id());
        drop(self.process.stdin.take());
        self.ask_to_end();
        if self.await_end(PATIENCE).is_err() {
            // A master that had to be killed leaves workers behind; they are ours.
            for pid in tree.into_iter().skip(1).filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// What this binary does when it was started by [`Child::role`].
pub(crate) fn play(role: &OsStr) -> Fallible<()> {
    std::thread::spawn(|| {
        // Ends with the bench, however the bench ends.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        process::exit(0);
    });
    let role = role.to_str().unwrap_or_default();
    match role.split_once(' ') {
        Some(("origin", body)) => origin::run(body.parse()?),
        Some(("copy", rest)) => match rest.split_once(' ') {
            Some((upstream, both)) => copy::run(upstream.parse()?, Some(Path::new(both))),
            None => copy::run(rest.parse()?, None),
        },
        _ => Err("unknown role".into()),
    }
}

/// A command that runs on one core, or on those of a list, and is ended by the kernel when the bench is gone.
pub(crate) fn on_core(core: impl Display, program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "taskset", "-c", &core.to_string()]).arg(program);
    command
}

/// A program's first line about itself, such as its version; `None` if it is not installed.
pub(crate) fn says(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}

/// An address on loopback that nobody uses now.
pub(crate) fn free_address() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
