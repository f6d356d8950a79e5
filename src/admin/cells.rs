//! Counters that one thread writes and any thread reads.
//!
//! One worker's cells are one allocation that begins and ends on cache lines of its own, so that two workers never
//! write the same line; an increment is a load and a store, no locked instruction. Never blocks, never panics: an index
//! outside is ignored. Bound: fixed when made.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::family::{Family, Histogram};

/// All counters of one worker, zero at first.
#[derive(Debug)]
pub struct Cells(Box<[Line]>);

impl Cells {
    /// Room for `len` counters.
    pub(super) fn new(len: usize) -> Self {
        Self((0..len.div_ceil(LINE_CELLS)).map(|_| Line::default()).collect())
    }

    /// The value now; zero outside.
    pub(super) fn get(&self, index: usize) -> u64 {
        self.cell(index).map_or(0, |c| c.load(Relaxed))
    }

    /// Adds. Only the owning thread may call this: two writers would lose counts (never memory safety).
    pub(super) fn add(&self, index: usize, n: u64) {
        if let Some(cell) = self.cell(index) {
            cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    /// Replaces. Only the owning thread may call this.
    pub(super) fn set(&self, index: usize, value: u64) {
        if let Some(cell) = self.cell(index) {
            cell.store(value, Relaxed);
        }
    }

    fn cell(&self, index: usize) -> Option<&AtomicU64> {
        self.0.get(index / LINE_CELLS).map(|line| &line.0[index % LINE_CELLS])
    }
}

/// Where the cells of one family lie, for `A` indices. The last index moves fastest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<const A: usize> {
    offset: usize,
    sizes: [usize; A],
    width: usize,
}

impl<const A: usize> Block<A> {
    /// Cells from `offset` on, `width` of them for each combination of indices.
    pub(super) const fn new(offset: usize, sizes: [usize; A], width: usize) -> Self {
        Self { offset, sizes, width }
    }

    /// The first cell of a combination. An index too large means the last value of its axis, so that a mistake can
    /// miscount within a family and nothing else.
    pub(super) fn cell(&self, indices: [usize; A]) -> usize {
        let mut at = 0;
        for (index, size) in indices.into_iter().zip(self.sizes) {
            at = at * size + index.min(size - 1);
        }
        self.offset + at * self.width
    }
}

/// Number of cells of a histogram: one per bucket, one for +Inf, one for the sum in microseconds.
pub(super) const fn histogram_width(bounds: &[u64]) -> usize {
    bounds.len() + 2
}

/// Counts a duration in the cells from `first` on. Only the owning thread may call this.
pub(super) fn observe(cells: &Cells, first: usize, bounds: &[u64], duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    cells.add(first + bucket(bounds, micros), 1);
    cells.add(first + bounds.len() + 1, micros);
}

/// A histogram of durations that stands by itself, for a thread that is not a worker. Any thread may write.
#[derive(Debug)]
pub struct DurationHistogram {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl DurationHistogram {
    /// With the buckets of a family of the table.
    #[must_use]
    pub fn of<const L: usize>(family: Family<Histogram, L>) -> Self {
        let bounds = family.spec().buckets;
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(self.bounds, micros)].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
    }

    /// The figures now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: self.counts.iter().map(|c| c.load(Relaxed)).collect(),
            sum_micros: self.sum.load(Relaxed),
        }
    }
}

/// A histogram's figures at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Count per bucket, not cumulative; the last is +Inf.
    pub counts: Vec<u64>,
    /// Sum of all durations in microseconds.
    pub sum_micros: u64,
}

impl Snapshot {
    /// The sum of the histograms from cell `first` on, over all workers.
    pub(super) fn sum<'a>(workers: impl Iterator<Item = &'a Cells>, first: usize, bounds: &[u64]) -> Self {
        let mut total = Self { counts: vec![0; bounds.len() + 1], sum_micros: 0 };
        for cells in workers {
            for (i, count) in total.counts.iter_mut().enumerate() {
                *count = count.wrapping_add(cells.get(first + i));
            }
            total.sum_micros = total.sum_micros.wrapping_add(cells.get(first + bounds.len() + 1));
        }
        total
    }
}

/// The bucket of a duration; `bounds.len()` is +Inf. Upper bounds are inclusive, as the exposition format says.
fn bucket(bounds: &[u64], micros: u64) -> usize {
    bounds.iter().position(|bound| micros <= *bound).unwrap_or(bounds.len())
}

/// Two cache lines: the prefetcher of common processors fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; LINE_CELLS]);

const LINE_CELLS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_worker_begins_and_ends_on_its_own_lines() {
        let cells = Cells::new(17);
        let first: *const AtomicU64 = cells.cell(0).unwrap();
        assert_eq!(first as usize % 128, 0);
        assert_eq!(cells.0.len() * size_of::<Line>() % 128, 0);
        assert_eq!(size_of::<Line>(), 128);
    }

    #[test]
    fn outside_is_ignored() {
        let cells = Cells::new(16);
        cells.add(16, 1);
        cells.set(usize::MAX, 1);
        assert_eq!(cells.get(16), 0);
    }

    #[test]
    fn bounds_are_inclusive() {
        let bounds = [1_000, 5_000];
        for (micros, place) in [(0, 0), (1_000, 0), (1_001, 1), (5_000, 1), (5_001, 2), (u64::MAX, 2)] {
            assert_eq!(bucket(&bounds, micros), place, "{micros}");
        }
    }

    proptest! {
        #[test]
        fn no_index_leaves_its_block(a in 0usize..9, b in 0usize..9, c in any::<usize>()) {
            let block = Block::new(40, [3, 4, 5], 2);
            let at = block.cell([a, b, c]);
            prop_assert!((40..40 + 3 * 4 * 5 * 2).contains(&at) && at % 2 == 0);
        }

        #[test]
        fn different_indices_have_different_cells(x in (0usize..3, 0usize..4), y in (0usize..3, 0usize..4)) {
            let block = Block::new(0, [3, 4], 1);
            prop_assert_eq!(x == y, block.cell([x.0, x.1]) == block.cell([y.0, y.1]));
        }
    }
}
