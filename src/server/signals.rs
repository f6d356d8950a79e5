//! What the operator's signals mean.
//!
//! HUP reloads, TERM and QUIT drain, INT and a second TERM end at once, USR1 reopens log files. Never touches a
//! request. Bound: one waiting thread.

use std::io;

use tokio::runtime::Runtime;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Ended, Server};

/// Signals that are heard from now on: a reload or an end that is asked for while the gateway starts is not lost, and
/// does not kill it.
pub struct Heard {
    runtime: Runtime,
    signals: Signals,
}

/// Begins to listen to signals.
///
/// # Errors
/// Signals cannot be listened to.
pub fn listen() -> io::Result<Heard> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::listen() })?;
    Ok(Heard { runtime, signals })
}

/// Waits for signals until one ends the gateway. Blocks.
///
/// # Errors
/// The drain cannot be waited for.
pub fn serve_until_signalled(server: Server, heard: Heard) -> io::Result<Ended> {
    let Heard { runtime, mut signals } = heard;
    loop {
        match runtime.block_on(signals.next()) {
            Wish::Reload => {
                notify(&[sd_notify::NotifyState::Reloading]);
                server.reload();
                notify(&[sd_notify::NotifyState::Ready]);
            }
            Wish::Drain => {
                notify(&[sd_notify::NotifyState::Stopping]);
                tracing::info!("draining");
                return runtime.block_on(async {
                    let drained = tokio::task::spawn_blocking(move || server.drain());
                    select! {
                        ended = drained => ended.map_err(io::Error::other),
                        () = signals.impatient() => {
                            tracing::warn!("told twice to end: open requests are cut");
                            std::process::exit(1)
                        }
                    }
                });
            }
            Wish::End => return Ok(server.stop()),
        }
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
