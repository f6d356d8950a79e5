//! What the operator's signals mean.
//!
//! HUP reloads, TERM and QUIT drain, INT and any of the three during a drain end at once, USR1 opens log files again.
//! The service manager is told of each (`sd_notify`). Never touches a request. Bound: one waiting thread.

use std::io;

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

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
                    if let Some(leave) = self.runtime.block_on(self.signals.leave_before(server.reload())) {
                        return self.leave(leave, server);
                    }
                    notify(&[NotifyState::Ready]);
                }
                Wish::Reopen => server.reopen_logs(),
                Wish::Leave(leave) => return self.leave(leave, server),
            }
        }
    }

    fn leave(self, leave: Leave, server: Server) -> io::Result<Ended> {
        match leave {
            Leave::Drain => self.drain(server),
            Leave::Now => Ok(server.stop()),
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
                _ = self.signals.leaving.next() => {
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
    Leave(Leave),
}

/// How the gateway is to end.
#[derive(Clone, Copy)]
enum Leave {
    /// What is open is answered first.
    Drain,
    /// What is open is cut.
    Now,
}

struct Signals {
    hup: Signal,
    usr1: Signal,
    leaving: Leaving,
}

/// Those that end the gateway.
struct Leaving {
    term: Signal,
    quit: Signal,
    int: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            leaving: Leaving {
                term: signal(SignalKind::terminate())?,
                quit: signal(SignalKind::quit())?,
                int: signal(SignalKind::interrupt())?,
            },
        })
    }

    async fn next(&mut self) -> Wish {
        select! {
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr1.recv() => Wish::Reopen,
            leave = self.leaving.next() => Wish::Leave(leave),
        }
    }

    /// Waits until a reload is done; `Some` if the gateway is told to end before, which then need not wait.
    async fn leave_before(&mut self, reloaded: oneshot::Receiver<()>) -> Option<Leave> {
        select! {
            _ = reloaded => None,
            leave = self.leaving.next() => Some(leave),
        }
    }
}

impl Leaving {
    async fn next(&mut self) -> Leave {
        select! {
            _ = self.term.recv() => Leave::Drain,
            _ = self.quit.recv() => Leave::Drain,
            _ = self.int.recv() => Leave::Now,
        }
    }
}
