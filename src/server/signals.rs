//! What the operator's signals mean.
//!
//! HUP reloads, TERM and QUIT drain, INT and any of the three during a drain end at once, USR1 opens log files again.
//! The service manager is told of each (`sd_notify`). Never touches a request. Bound: one waiting thread.

use std::io;

use sd_notify::NotifyState;
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
    pub fn serve(self, server: Server) -> io::Result<Ended> {
        let watching = self.runtime.spawn(server.watchdog().watch(|| notify(&[NotifyState::Watchdog])));
        let ended = self.follow(server);
        watching.abort();
        ended
    }

    fn follow(mut self, server: Server) -> io::Result<Ended> {
        loop {
            match self.runtime.block_on(self.signals.next()) {
                Wish::Reload => {
                    notify_reloading();
                    server.reload();
                    notify(&[NotifyState::Ready]);
                }
                Wish::Reopen => server.reopen_logs(),
                Wish::Drain => return self.drain(server),
                Wish::End => return Ok(server.stop()),
            }
        }
    }

    fn drain(mut self, server: Server) -> io::Result<Ended> {
        notify(&[NotifyState::Stopping]);
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
    notify(&[NotifyState::Ready]);
}

/// With the time that `Type=notify-reload` asks for.
fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

enum Wish {
    Reload,
    Reopen,
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
        select! {
            _ = self.hup.recv() => Wish::Reload,
            _ = self.term.recv() => Wish::Drain,
            _ = self.quit.recv() => Wish::Drain,
            _ = self.int.recv() => Wish::End,
            _ = self.usr1.recv() => Wish::Reopen,
        }
    }

    async fn impatient(&mut self) {
        select! {
            _ = self.term.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
