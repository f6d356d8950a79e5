//! What a process tree used: CPU from the scheduler, memory from the kernel's books.
//!
//! CPU is field 1 of `/proc/PID/task/*/schedstat`, nanoseconds on a core. A thread that ends takes its figure along;
//! the peers keep theirs. Bound: the process table.

use std::fs;
use std::time::Duration;

/// A process and everything below it, itself first.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // The name in brackets may hold anything; the state and the parent follow the last bracket.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        pairs.extend(parent.map(|parent| (pid, parent)));
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(pairs.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// Time on a core of a whole tree until now.
pub(crate) fn used(root: u32) -> Duration {
    Duration::from_nanos(tree(root).into_iter().flat_map(threads).sum())
}

/// Resident memory of a whole tree in KiB; pages that processes share count more than once.
pub(crate) fn resident_kib(root: u32) -> u64 {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    tree(root).into_iter().map(of).sum()
}

/// What a core did since the machine started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Core {
    idle: u64,
    stolen: u64,
    all: u64,
}

impl Core {
    /// Now.
    pub(crate) fn now(core: usize) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let name = format!("cpu{core} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guest time is inside user.
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(|n| n.parse().unwrap_or(0)).collect();
        let at = |i: usize| ticks.get(i).copied().unwrap_or(0);
        Self { idle: at(3) + at(4), stolen: at(7), all: ticks.iter().sum() }
    }

    /// Shares of the time since then: idle, and taken by the machine below ours.
    pub(crate) fn since(then: Self, core: usize) -> (f64, f64) {
        let now = Self::now(core);
        let all = now.all.saturating_sub(then.all).max(1) as f64;
        (now.idle.saturating_sub(then.idle) as f64 / all, now.stolen.saturating_sub(then.stolen) as f64 / all)
    }
}

fn threads(pid: u32) -> Vec<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter_map(of).collect()
}
