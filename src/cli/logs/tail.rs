//! `tail`: the newest records, then those that come.
//!
//! Looks at the files every [`POLL`] and needs nothing from the running gateway. Says when records were removed before
//! they could be shown, and when there are gaps. Bound: [`LINES`] lines; one number per process that wrote.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use super::args::TailArgs;
use super::read::{Failure, Output, Request, fields_of, request};
use super::rows::Lines;
use crate::clock::Timestamp;
use crate::record::Row;
use crate::store::Follower;
use crate::store::query::{Seen, Select, process_of};

/// Time between two looks at the files.
const POLL: Duration = Duration::from_millis(200);
/// Most records to begin with.
const LINES: u64 = 10_000;

/// `logs tail`.
pub(super) fn run(args: &TailArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    let columns = fields_of(args.fields.as_deref(), args.read.format)?;
    if args.limit > LINES {
        return Err(Failure::Usage(format!("tail begins with at most {LINES} records; use `logs query`")));
    }
    let Request { grant, folder, scan } = request(&args.read, &args.filter, columns, now)?;
    let mut lines = Lines::new(args.read.format, args.fields.as_deref(), &grant, out.terminal());
    out.write(lines.header())?;
    // First, so that nothing falls between what is there and what comes; what is in both is shown once.
    let mut follower = Follower::from_end(&folder, scan.keyring().clone()).map_err(Failure::Read)?;
    let mut newest = VecDeque::new();
    let mut order = Order::default();
    if let Some(seq) = args.since_seq {
        let mut failed = None;
        let show = |row: &Row<'_>| {
            if failed.is_none() && order.is_new(row.seq) {
                failed = out.write(lines.row(row)).err();
                order.shown += 1;
            }
        };
        scan.from_seq(seq, show).map_err(Failure::Read)?;
        failed.map_or(Ok(()), Err)?;
    } else if args.limit > 0 {
        let collect = |row: &Row<'_>| {
            newest.push_front((row.seq, lines.row(row).to_owned()));
            if newest.len() as u64 == args.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        scan.newest_first(collect).map_err(Failure::Read)?;
    }
    for (seq, line) in &newest {
        order.is_new(*seq);
        order.shown += 1;
        out.write(line)?;
    }
    out.flush()?;
    if !args.follow {
        return Ok(order.shown);
    }
    loop {
        look(&mut follower, scan.select(), &mut order, &mut lines, out)?;
        std::thread::sleep(POLL);
    }
}

/// What has been come across, to show a record once and to notice those that were never seen.
#[derive(Default)]
struct Order {
    /// The greatest number shown of each process that wrote.
    last: BTreeMap<u64, u64>,
    /// The greatest number seen of each process while following.
    followed: BTreeMap<u64, u64>,
    missed: u64,
    shown: u64,
}

impl Order {
    /// Whether the record has not been shown; it will be.
    fn is_new(&mut self, seq: u64) -> bool {
        let last = self.last.entry(process_of(seq)).or_insert(0);
        let new = seq > *last || *last == 0;
        *last = (*last).max(seq);
        new
    }

    /// Notes a record that came, whether it matches or not: numbers have no holes, so a hole was removed unseen.
    fn came(&mut self, seq: u64) {
        if let Some(before) = self.followed.insert(process_of(seq), seq) {
            self.missed += seq.saturating_sub(before + 1);
        }
    }
}

/// Shows what has come since the last look.
fn look(
    follower: &mut Follower,
    select: &Select,
    order: &mut Order,
    lines: &mut Lines,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut failed = None;
    let mut seen = Seen::default();
    let show = |row: &Row<'_>| {
        order.came(row.seq);
        if select.wants(row, &mut seen) && order.is_new(row.seq) {
            if let Err(cause) = out.write(lines.row(row)) {
                failed = Some(cause);
                return ControlFlow::Break(());
            }
            order.shown += 1;
        }
        ControlFlow::Continue(())
    };
    follower.poll(show).map_err(Failure::Read)?;
    failed.map_or(Ok(()), Err)?;
    out.flush()?;
    let missed = std::mem::take(&mut order.missed);
    if missed > 0 {
        eprintln!("note: {missed} records were removed before they could be shown");
    }
    if seen.gaps > 0 {
        eprintln!("note: gaps in the records: {}, records missing: at least {}", seen.gaps, seen.missing);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_once_and_a_hole_is_counted() {
        let mut order = Order::default();
        let other = 1 << 40;
        assert!(process_of(other) != process_of(6));
        assert!(order.is_new(5) && !order.is_new(5) && order.is_new(6));
        assert!(order.is_new(other + 1) && !order.is_new(4));
        [10, 11, other, 15, other + 1].into_iter().for_each(|seq| order.came(seq));
        assert_eq!(order.missed, 3);
    }
}
