//! The life of the process: start, reload, drain.
//!
//! [`start()`] opens everything that can fail before the first connection is accepted, then runs one thread per worker
//! ([`worker`]), one for the background ([`background`]), one that looks at [`files`], two for the journal, one that makes
//! segments of it and one for the access log if there is one. [`handover`] passes the listening sockets on to the next
//! process; [`rehearsal`] is a worker without the rest, [`trial`] only opens files, [`certificates`] tells what is
//! doubtful about some, and [`surroundings`] only looks at the machine. Never handles a request. Bound: a fixed number of
//! threads.

pub mod background;
pub mod certificates;
pub mod files;
pub mod handover;
pub mod rehearsal;
mod reload;
pub mod signals;
mod sockets;
pub mod start;
pub mod surroundings;
pub mod trial;
pub mod watchdog;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use start::{Source, StartError, start};

use self::watchdog::Watchdog;
use crate::admin::health::{NotReady, Readiness};
use crate::agents::Loader;
use crate::config::ListenAddress;
use crate::listen::unix::SocketFile;
use crate::record::access_log;
use crate::snapshot::Shared;
use crate::store::Journal;
use crate::store::segments::Compactor;

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepting and answering.
    Running,
    /// Nothing new is accepted; what is open is finished.
    Draining,
    /// Whatever is open is cut.
    Stopping,
}

/// A running gateway.
pub struct Server {
    /// What its threads share.
    pub shared: Arc<Shared>,
    /// Addresses of the listeners, in the order of the configuration, with real ports.
    pub addresses: Vec<ListenAddress>,
    /// Address of the admin listener.
    pub admin: Option<SocketAddr>,
    source: Source,
    readiness: Arc<Readiness>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<usize>>,
    background: Option<JoinHandle<()>>,
    _files: files::Watch,
    journal: Option<Journal>,
    compactor: Option<Compactor>,
    agents: Option<Loader>,
    access_log: Option<access_log::Writer>,
    watchdog: Watchdog,
    /// The files of its Unix sockets.
    socket_files: Vec<SocketFile>,
    /// Set when another process has taken the sockets over: then the files are its own.
    succeeded: Arc<AtomicBool>,
}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every open request was answered.
    Clean,
    /// This many connections were cut at the deadline.
    Cut(usize),
    /// Every open request was answered, and not every record is on the disk.
    Unrecorded,
}

impl Server {
    /// Reads the configuration again and swaps it in if it is good; keeps the old one otherwise.
    ///
    /// The keys of [`crate::config::fixed`] stay as they were at start: a change there needs a new process, and is told
    /// in the log. This happens on a thread of its own, since files on a disk that hangs are read for ever; what is given
    /// back resolves when it is done.
    pub fn reload(&self) -> oneshot::Receiver<()> {
        let (done, finished) = oneshot::channel();
        let (source, shared) = (self.source.clone(), Arc::clone(&self.shared));
        let spawned = std::thread::Builder::new().name("reload".into()).spawn(move || {
            reload::reload(&source, &shared);
            // Whoever waited may have been told to end.
            let _ = done.send(());
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "the configuration is not read again: there is no thread to do it");
            self.shared.status.refused();
        }
        finished
    }

    /// Opens log files again, after they were renamed.
    pub fn reopen_logs(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
    }

    /// Tells the service manager that the workers turn, as often as it wants.
    fn watchdog(&self) -> Watchdog {
        self.watchdog.clone()
    }

    /// Ends a drain before its deadline: what is open is cut, and its records are written.
    pub fn cutter(&self) -> impl Fn() + use<> {
        let phase = self.phase.clone();
        move || {
            phase.send_replace(Phase::Stopping);
        }
    }

    /// Stops accepting, waits for what is open until `timeouts.drain`, then ends. Blocks.
    #[must_use]
    pub fn drain(mut self) -> Ended {
        self.readiness.set(NotReady::Draining);
        // Whoever balances over several gateways needs a moment to see that this one is leaving.
        std::thread::sleep(READINESS_PAUSE);
        self.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Draining;
            }
            running
        });
        let deadline = crate::clock::monotonic() + self.shared.snapshot.load().config.timeouts.drain;
        while crate::clock::monotonic() < deadline && !self.workers.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(POLL);
        }
        self.end()
    }

    /// Ends now; open requests are cut, and their records say so. Blocks until the journal is closed.
    #[must_use]
    pub fn stop(mut self) -> Ended {
        self.end()
    }

    fn end(&mut self) -> Ended {
        self.phase.send_replace(Phase::Stopping);
        let mut cut = 0;
        for worker in self.workers.drain(..) {
            cut += worker.join().unwrap_or_else(|_| {
                tracing::error!("a worker thread panicked");
                0
            });
        }
        if let Some(background) = self.background.take()
            && background.join().is_err()
        {
            tracing::error!("the background thread panicked");
        }
        let recorded = self.journal.take().is_none_or(Journal::stop);
        if !recorded {
            tracing::error!("the journal did not stop cleanly; the next start will say so");
        }
        if let Some(compactor) = self.compactor.take() {
            compactor.stop();
        }
        if let Some(agents) = self.agents.take() {
            agents.stop();
        }
        if let Some(log) = self.access_log.take() {
            log.stop();
        }
        if !self.succeeded.load(Ordering::Acquire) {
            self.socket_files.iter().for_each(SocketFile::remove);
        }
        match cut {
            0 if recorded => Ended::Clean,
            0 => Ended::Unrecorded,
            cut => Ended::Cut(cut),
        }
    }
}

/// Between `/readyz` turning false and the end of accepting.
const READINESS_PAUSE: Duration = Duration::from_millis(100);
/// How often a drain looks whether the workers are done.
const POLL: Duration = Duration::from_millis(10);
