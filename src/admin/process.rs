//! What the system says of this process: CPU, memory, descriptors, threads.
//!
//! Read from `/proc/self` when the page is asked for; works with a hidden `/proc` (`ProcSubset=pid`), and leaves out what
//! it cannot read. Never on a request's way. Bound: a few system calls and one directory listing.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::metrics::{
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use super::source::{Samples, Source};
use crate::clock::Timestamp;

/// The figures `process_*`.
#[derive(Debug)]
pub struct ProcessSource {
    started: Timestamp,
}

impl ProcessSource {
    /// `started` is when `main` began: the kernel's own figure needs files that a hardened unit hides.
    #[must_use]
    pub const fn new(started: Timestamp) -> Self {
        Self { started }
    }
}

impl Source for ProcessSource {
    fn collect(&self, out: &mut Samples) {
        out.gauge(PROCESS_START, [], self.started.as_micros() as f64 / 1e6);
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
            out.counter_seconds(PROCESS_CPU, [], stat.cpu_ticks as f64 / clock_ticks_per_second() as f64);
            out.gauge(PROCESS_RESIDENT, [], stat.resident_pages as f64 * page_size() as f64);
            out.gauge(PROCESS_VIRTUAL, [], stat.virtual_bytes as f64);
            out.gauge(PROCESS_THREADS, [], stat.threads as f64);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // The listing holds a descriptor of its own.
            out.gauge(PROCESS_OPEN_FDS, [], open.count().saturating_sub(1) as f64);
        }
        out.gauge(
            PROCESS_MAX_FDS,
            [],
            getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |n| n as f64),
        );
    }
}

/// What we read of `/proc/self/stat`; proc_pid_stat(5) numbers the fields from 1.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Fields 14 and 15, user and system.
    cpu_ticks: u64,
    /// Field 20.
    threads: u64,
    /// Field 23.
    virtual_bytes: u64,
    /// Field 24.
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name, field 2, may hold blanks and parentheses: count from the last one, after which field 3 is.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_moves_no_field() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 9000 5242880 640 18446744073709551615";
        let expected = Stat { cpu_ticks: 300, threads: 4, virtual_bytes: 5_242_880, resident_pages: 640 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        if !std::path::Path::new("/proc/self/stat").exists() {
            eprintln!("skipped: no /proc");
            return;
        }
        let mut samples = Samples::default();
        ProcessSource::new(Timestamp::from_secs(5)).collect(&mut samples);
        let families = samples.into_families();
        let gauge = |name: &str| {
            let family = families.iter().find(|f| f.name() == name).unwrap();
            family.get_metric()[0].get_gauge().get_value()
        };
        assert!(gauge("process_resident_memory_bytes") > 1e6);
        assert!(gauge("process_open_fds") >= 3.0);
        assert!(gauge("process_threads") >= 1.0);
        assert_eq!(gauge("process_start_time_seconds"), 5.0);
    }
}
