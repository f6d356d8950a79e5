//! System calls per request, counted by `strace`.
//!
//! A peer that is traced is slower and finds more to do each time it wakes up, so that the figure is a little too low
//! for those that read and write many connections at once; it is measured apart from time. Never part of the CPU
//! figures. Bound: [`SECONDS`] of load and [`PATIENCE`].

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::child::{Child, LOAD_CORE, says};
use crate::load::Load;
use crate::{Fallible, cpu};

/// How long the peer is traced.
const SECONDS: u32 = 1;
/// How long `strace` may take to come and to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether they can be counted.
pub(crate) fn countable() -> bool {
    says("strace", &["-V"]).is_some()
}

/// Puts load on a process tree and counts; nothing if the system does not let it be traced.
pub(crate) fn per_request(root: u32, load: &Load, folder: &Path) -> Fallible<Option<f64>> {
    let (said, out) = (folder.join("strace-said"), folder.join("strace"));
    let tree = cpu::tree(root);
    let mut arguments = vec!["-f".into(), "-c".into(), "-U".into(), "calls,name".into()];
    arguments.extend(["-o".into(), out.as_os_str().to_owned()]);
    for pid in &tree {
        arguments.extend(["-p".into(), pid.to_string().into()]);
    }
    let mut strace = Child::start(LOAD_CORE, "strace", arguments, &said)?;
    if !attached(&said, tree.len())? {
        return Ok(None);
    }
    let counted = load.run(SECONDS)?;
    strace.ask_to_end();
    strace.await_end(PATIENCE)?;
    let text = std::fs::read_to_string(&out)?;
    let total = text.lines().find_map(|line| line.trim().strip_suffix(" total")?.trim().parse::<f64>().ok());
    Ok(total.filter(|_| counted.requests > 0).map(|total| total / counted.requests as f64))
}

/// Waits until so many processes are traced.
fn attached(said: &Path, processes: usize) -> Fallible<bool> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let text = std::fs::read_to_string(said)?;
        if text.contains("Operation not permitted") {
            return Ok(false);
        }
        if text.lines().filter(|line| line.contains(" attached")).count() >= processes {
            return Ok(true);
        }
        sleep(Duration::from_millis(20));
    }
    Ok(false)
}
