//! Processes that a test has started: signals to them, and commands run to their end.

use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// Sends a process what Ctrl-C sends.
pub fn interrupt(process: &Child) {
    send(process, Signal::INT);
}

/// Makes a process stand still.
pub fn stop(process: &Child) {
    send(process, Signal::STOP);
}

/// Lets a process that stands still go on.
pub fn go_on(process: &Child) {
    send(process, Signal::CONT);
}

/// Sends a process a signal.
pub fn send(process: &Child, signal: Signal) {
    // It has not been waited for, so the id is still its own.
    kill_process(id_of(process), signal).expect("a signal sent");
}

fn id_of(process: &Child) -> Pid {
    i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Runs a command to its end, which must come within [`PATIENCE`].
pub fn run(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let id = id_of(&child);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    match end.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("its output"),
        Err(_) => {
            // Nobody has waited for it yet, so the id is still its own.
            let _ = kill_process(id, Signal::KILL);
            panic!("{command:?} did not end: {:?}", end.recv());
        }
    }
}
