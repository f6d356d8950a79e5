//! What the operator's signals mean.
//!
//! HUP reloads, TERM and QUIT drain, INT and a second TERM end at once, USR1 changes nothing. Never touches a
//! request. Bound: one waiting thread.

use std::io;

use tokio::runtime::Runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Ended, Server};

/// Listens for signals. To be made before the gateway is started: a signal that came earlier would end the process
/// without a drain.
pub struct Listener {
    runtime: Runtime,
    signals: Signals,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { Signals::listen() })?;
        Ok(Self { runtime, signals })
    }

    /// Follows the signals until one ends the gateway. Blocks.
    ///
    /// # Errors
    /// The thread that drains cannot be waited for.
    pub fn serve(mut self, server: Server) -> io::Result<Ended> {
        loop {
            match self.runtime.block_on(self.signals.next()) {
                Wish::Reload => {
                    notify(&[sd_notify::NotifyState::Reloading]);
                    server.reload();
                    notify(&[sd_notify::NotifyState::Ready]);
                }
                Wish::Drain => return self.drain(server),
                Wish::End => return Ok(server.stop()),
            }
        }
    }

    fn drain(mut self, server: Server) -> io::Result<Ended> {
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("draining");
        self.runtime.block_on(async {
            let cut = server.cutter();
            let mut drained = tokio::task::spawn_blocking(move || server.drain());
            select! {
                ended = &mut drained => ended.map_err(io::Error::other),
                () = self.signals.impatient() => {
                    tracing::warn!("told twice to end: open requests are cut");
                    cut();
                    drained.await.map_err(io::Error::other)
                }
            }
        })
    }
}

/// Tells systemd that the gateway is ready; without systemd it does nothing.
pub fn notify_ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

enum Wish {
    Reload,
    Drain,
    End,
}

struct Signals {
    hup: Signal,
    term: Signal,
    quit: Signal,
    int: Signal,
    usr1: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            int: signal(SignalKind::interrupt())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Wish {
        loop {
            select! {
                _ = self.hup.recv() => return Wish::Reload,
                _ = self.term.recv() => return Wish::Drain,
                _ = self.quit.recv() => return Wish::Drain,
                _ = self.int.recv() => return Wish::End,
                // Logs go to standard error, which the service manager owns: there is no file to open again.
                _ = self.usr1.recv() => {}
            }
        }
    }

    async fn impatient(&mut self) {
        select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
