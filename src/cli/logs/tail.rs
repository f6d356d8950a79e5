//! `tail`: the newest records, then those that come.
//!
//! Looks at the files every [`POLL`] and needs nothing from the running gateway. Says when records were removed before
//! they could be shown, and when there are gaps. A signal ends it as its end is meant: entered in the audit log. Bound:
//! [`LINES`] lines; one number per process that wrote.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::args::TailArgs;
use super::interrupt::{Again, Interrupt};
use super::read::{Failure, Output, Request, ended, fields_of, request};
use super::rows::Lines;
use crate::clock::Timestamp;
use crate::record::Row;
use crate::store::query::{Grant, Resume, Scan, Seen, process_of};
use crate::store::{Came, Follower};

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
    let Request { grant, folder, scan } = request("logs tail", &args.read, &args.filter, columns, now)?;
    let mut order = Order::default();
    let watch = || Interrupt::watch(scan.work().clone(), Again::Ends).map_err(Failure::Read);
    let watched = args.follow.then(watch).transpose();
    let result = watched.and_then(|interrupt| {
        let shown = rows(args, (&grant, &folder, scan), &mut order, out, interrupt.as_deref())?;
        Ok((shown, interrupt.is_some_and(|interrupt| interrupt.came())))
    });
    let interrupted = matches!(result, Ok((_, true)));
    let shown = ended(grant, order.shown, result.map(|(shown, _)| shown))?;
    if interrupted { Err(Failure::Interrupted) } else { Ok(shown) }
}

fn rows(
    args: &TailArgs,
    (grant, folder, scan): (&Grant, &Path, Scan),
    order: &mut Order,
    out: &mut Output<'_>,
    interrupt: Option<&Interrupt>,
) -> Result<u64, Failure> {
    let mut lines = Lines::new(args.read.format, args.fields.as_deref(), grant, out.terminal());
    let scan = scan.showing(&lines.needed());
    out.write(lines.header())?;
    // First, so that nothing falls between what is there and what comes; what is in both is shown once.
    let mut follower = Follower::from_end(folder, scan.keyring().clone()).map_err(Failure::Read)?;
    if let Some(numbers) = &args.since_seq {
        let resume = Resume::at(numbers);
        let mut failed = None;
        let show = |row: &Row<'_>| {
            if failed.is_none() && resume.is_new(row.seq) && order.is_new(row.seq) {
                failed = out.write(lines.row(row)).err();
                order.shown += 1;
            }
        };
        scan.from_seq(resume.first(), show).map_err(Failure::Read)?;
        failed.map_or(Ok(()), Err)?;
    } else if args.limit > 0 {
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        let (newest, _) =
            scan.newest(limit, |row| (row.seq, lines.row(row).to_owned())).map_err(Failure::Read)?;
        for (seq, line) in &newest {
            order.is_new(*seq);
            order.shown += 1;
            out.write(line)?;
        }
    }
    out.flush()?;
    while interrupt.is_some_and(|interrupt| !interrupt.came()) {
        look(&mut follower, &scan, order, &mut lines, out)?;
        std::thread::sleep(POLL);
    }
    Ok(order.shown)
}

/// What has been come across, to show a record once and to notice those that were never seen.
#[derive(Default)]
struct Order {
    /// The greatest number shown of each process that wrote.
    last: BTreeMap<u64, u64>,
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
}

/// Shows what has come since the last look.
fn look(
    follower: &mut Follower,
    scan: &Scan,
    order: &mut Order,
    lines: &mut Lines,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut failed = None;
    let mut seen = Seen::default();
    let mut show = |row: &Row<'_>, order: &mut Order| {
        if failed.is_none() && order.is_new(row.seq) {
            failed = out.write(lines.row(row)).err();
            order.shown += u64::from(failed.is_none());
        }
        if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let mut unread = Ok(());
    let came = |came: Came<'_, '_>| match came {
        Came::Row(row) if scan.select().wants(row, &mut seen) => show(row, order),
        Came::Row(_) => ControlFlow::Continue(()),
        // Compacted while nobody looked: they are in a segment, unless retention was there as well.
        Came::Hole { first, last } => match scan.between(first, last, |row| _ = show(row, order)) {
            Ok(found) => {
                order.missed += (last - first + 1).saturating_sub(found.in_segments);
                (seen.gaps, seen.missing) = (seen.gaps + found.gaps, seen.missing + found.missing);
                ControlFlow::Continue(())
            }
            Err(cause) => {
                unread = Err(Failure::Read(cause));
                ControlFlow::Break(())
            }
        },
    };
    follower.poll_all(came).map_err(Failure::Read)?;
    unread?;
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
    fn a_record_is_shown_once() {
        let mut order = Order::default();
        let other = 1 << 40;
        assert!(process_of(other) != process_of(6));
        assert!(order.is_new(5) && !order.is_new(5) && order.is_new(6));
        assert!(order.is_new(other + 1) && !order.is_new(4));
    }
}
