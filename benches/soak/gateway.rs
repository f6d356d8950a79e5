//! The gateway's process.
//!
//! Timeouts are short, so that what is idle goes while the run lasts. Bound: a journal of 256 MiB.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Args, Fallible};

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    /// Where it takes traffic.
    pub(crate) address: SocketAddr,
    /// Where it tells its figures.
    pub(crate) admin: SocketAddr,
    process: RefCell<Child>,
    folder: TempDir,
}

impl Gateway {
    /// Starts it and waits until it listens.
    pub(crate) fn start(args: &Args, origin: SocketAddr) -> Fallible<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("soak-").disable_cleanup(args.keep);
        std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR"))?;
        let folder = builder.tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        if args.keep {
            println!("kept: {}", folder.path().display());
        }
        let (address, admin) = (free()?, free()?);
        let config = folder.path().join("kelisim.toml");
        std::fs::write(&config, configuration(address, admin, origin, folder.path()))?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let process = Command::new(&args.kelisim)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let gateway = Self { address, admin, process: RefCell::new(process), folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(admin).is_err() || TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || gateway.process.borrow_mut().try_wait()?.is_some() {
                return Err(format!("the gateway does not listen: {}", gateway.log()?).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.borrow().id()
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) -> Fallible<()> {
        self.signal(Signal::HUP)
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> Fallible<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// Drains it; it must end cleanly.
    pub(crate) fn end(&self) -> Fallible<()> {
        self.signal(Signal::TERM)?;
        let status = self.process.borrow_mut().wait()?;
        if status.success() { Ok(()) } else { Err(format!("the gateway ended with {status}").into()) }
    }

    fn signal(&self, signal: Signal) -> Fallible<()> {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        // It may have ended already, which is what is wanted.
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn configuration(address: SocketAddr, admin: SocketAddr, origin: SocketAddr, folder: &Path) -> String {
    format!(
        "workers = 2
         [[listen]]
         address = \"{address}\"
         [[site]]
         hosts = [\"kz.example\"]
         upstream = [\"http://{origin}\"]
         [admin]
         address = \"{admin}\"
         hosts = [\"kz.example\"]
         [records]
         dir = {:?}
         file_bytes = \"16MiB\"
         max_bytes = \"4GiB\"
         [limits]
         connections_per_client = 4000
         [timeouts]
         keep_alive = \"5s\"
         request_head = \"5s\"
         request_body = \"5s\"
         upstream_idle = \"3s\"
         upstream_max_age = \"30s\"
         upgrade_idle = \"10s\"
         ",
        folder.join("data")
    )
}

/// A port that was free a moment ago.
fn free() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
