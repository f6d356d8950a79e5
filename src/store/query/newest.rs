//! The newest matching records by time, whatever process wrote them, and where a reader stands among processes.
//!
//! Numbers follow the order of starts: while two processes write in one folder, as in an upgrade, the greatest number is
//! not the newest record, and no single number says what was read. Files that are older than what was found are not
//! opened. Never writes. Bound: the asked number of records; one number for each process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use super::super::files;
use super::super::lock::RANGE_BITS;
use super::scan::Scan;
use super::seen::Seen;
use super::sources::Source;
use crate::clock::Timestamp;
use crate::record::Row;
use crate::regular_file;

/// Which process wrote the record of that number, counted over all starts.
#[must_use]
pub const fn process_of(seq: u64) -> u64 {
    seq >> RANGE_BITS
}

/// Where a reader goes on: for each process that it knows the first number that it has not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume(BTreeMap<u64, u64>);

impl Resume {
    /// From these numbers; of two of one process the smaller counts. None is the beginning.
    #[must_use]
    pub fn at(numbers: &[u64]) -> Self {
        let mut first = BTreeMap::new();
        for seq in numbers {
            let known = first.entry(process_of(*seq)).or_insert(*seq);
            *known = (*known).min(*seq);
        }
        Self(first)
    }

    /// The number before which everything was read.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.values().next().copied().unwrap_or_default()
    }

    /// Whether a record has not been read: one of a process that is not known if that began after the first of them.
    #[must_use]
    pub fn is_new(&self, seq: u64) -> bool {
        seq >= self.0.get(&process_of(seq)).copied().unwrap_or(self.first())
    }
}

impl Scan {
    /// Hands the newest matching records by the time of recording to `each`, which makes of them what is kept: at most so
    /// many, the oldest first.
    ///
    /// # Errors
    /// When a file cannot be read. A file that retention removes meanwhile is passed over.
    pub fn newest<T>(&self, limit: usize, mut each: impl FnMut(&Row<'_>) -> T) -> io::Result<(Vec<T>, Seen)> {
        let mut seen = Seen::default();
        let mut found: BTreeMap<(Timestamp, u64), T> = BTreeMap::new();
        for source in self.sources()?.into_iter().rev() {
            let oldest = found.first_key_value().map(|(key, _)| key.0).filter(|_| found.len() >= limit);
            if self.work().stopped() {
                break;
            }
            if last_of(&source)?.zip(oldest).is_some_and(|(last, oldest)| last < oldest) {
                continue;
            }
            self.source_backwards(source, &mut seen, &mut |row| {
                let key = (row.ts, row.seq);
                if found.len() >= limit {
                    // Times never rise on the way back.
                    if found.first_key_value().is_none_or(|(oldest, _)| key < *oldest) {
                        return ControlFlow::Break(());
                    }
                    found.pop_first();
                }
                found.insert(key, each(row));
                ControlFlow::Continue(())
            })?;
        }
        Ok((found.into_values().collect(), seen))
    }
}

/// Time of the last record of a source; `None` when it is not known because it is still written.
fn last_of(source: &Source) -> io::Result<Option<Timestamp>> {
    let end = |file: &File| Ok(files::end(file)?.map(|end| end.ts));
    match source {
        Source::Segment(entry) => Ok(Some(Timestamp::from_micros(entry.last_ts))),
        Source::Journal(_, file) => end(file),
        // It may be gone by now: then it is passed over where it is opened.
        Source::Unopened(name) => regular_file::open(&name.path).map_or(Ok(None), |file| end(&file)),
        // Nothing is found in it, and that has to be told.
        Source::Damaged(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_in_each_process_where_it_was() {
        let of = |process: u64, n: u64| (process << RANGE_BITS) + n;
        let one = Resume::at(&[of(5, 7)]);
        assert!(
            one.is_new(of(5, 7)) && !one.is_new(of(5, 6)) && !one.is_new(of(4, 900)) && one.is_new(of(6, 0))
        );
        let both = Resume::at(&[of(5, 7), of(4, 900)]);
        assert_eq!(both.first(), of(4, 900));
        assert!(both.is_new(of(4, 900)) && !both.is_new(of(4, 899)) && !both.is_new(of(5, 6)));
        assert!(both.is_new(of(5, 7)) && both.is_new(of(6, 0)) && !both.is_new(of(3, 1)));
        assert!(Resume::at(&[]).is_new(0));
    }
}
