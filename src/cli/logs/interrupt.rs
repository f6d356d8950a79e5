//! Ctrl-C and its like while a command has something to clean up.
//!
//! The first signal ends the scan, or the program that answers, and the command then ends by itself. Only where that is
//! asked for ([`Again`]) a second one ends the process: nobody may read what it writes. Bound: one thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::INTERRUPTED;
use crate::store::query::Work;

/// What a signal has to end.
#[derive(Default)]
pub(super) struct Interrupt {
    came: AtomicBool,
    child: Mutex<Option<Child>>,
}

/// What a further signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Nothing new: the command is ending.
    Ignored,
    /// It ends the process.
    Ends,
}

struct Child {
    pid: Pid,
    /// It has the terminal and takes Ctrl-C for itself.
    shell: bool,
}

impl Interrupt {
    /// Watches from now on, until the process ends.
    ///
    /// # Errors
    /// When signals or a thread cannot be had.
    pub(super) fn watch(work: Arc<Work>, again: Again) -> io::Result<Arc<Self>> {
        let interrupt = Arc::<Self>::default();
        let watching = Arc::clone(&interrupt);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut int, mut term, mut hup) = {
            let _guard = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            )
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let by_key = tokio::select! {
                        _ = int.recv() => true,
                        _ = term.recv() => false,
                        _ = hup.recv() => false,
                    };
                    if again == Again::Ends && watching.came() {
                        std::process::exit(INTERRUPTED.into());
                    }
                    work.stop();
                    watching.end(by_key);
                }
            });
        })?;
        Ok(interrupt)
    }

    /// Names the program that a signal ends from now on; `None` when there is none any more.
    pub(super) fn child(&self, child: Option<(u32, bool)>) {
        let child = child
            .and_then(|(pid, shell)| Some(Child { pid: Pid::from_raw(i32::try_from(pid).ok()?)?, shell }));
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
        if self.came() {
            self.end(false);
        }
    }

    /// Whether a signal came that was for this command.
    pub(super) fn came(&self) -> bool {
        self.came.load(Relaxed)
    }

    fn end(&self, by_key: bool) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match &*child {
            Some(Child { shell: true, .. }) if by_key => {}
            Some(Child { pid, .. }) => {
                self.came.store(true, Relaxed);
                // It may be gone already.
                let _ = kill_process(*pid, Signal::TERM);
            }
            None => self.came.store(true, Relaxed),
        }
    }
}
