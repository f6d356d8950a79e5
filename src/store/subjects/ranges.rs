//! A set of record numbers, kept as ranges: a person's rows often come together.
//!
//! Pure. Bound: [`MOST_RANGES`], kept by whoever adds.

use std::collections::BTreeMap;

/// Most ranges of one tombstone: 64 MiB of memory. Fewer where tests reach it.
pub(super) const MOST_RANGES: usize = if cfg!(test) { 20_000 } else { 4 << 20 };

/// Numbers of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds every number from `first` to `last`.
    pub fn add(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        if last < first {
            return;
        }
        // Those that touch it become one with it.
        while let Some((&start, &end)) = self.0.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// Whether the number is in it.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.0.range(..=seq).next_back().is_some_and(|(_, last)| seq <= *last)
    }

    /// Whether a number from `first` to `last` is in it.
    #[must_use]
    pub fn touches(&self, first: u64, last: u64) -> bool {
        self.0.range(..=last).next_back().is_some_and(|(_, end)| *end >= first)
    }

    /// First and last number of each range, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no number is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    #[must_use]
    pub fn numbers(&self) -> u64 {
        self.iter().map(|(first, last)| last - first + 1).sum()
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        let mut ranges = Self::default();
        numbers.into_iter().for_each(|seq| ranges.add(seq, seq));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set(spans in prop::collection::vec((0u64..60, 0u64..6), 0..30)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, len) in spans {
                ranges.add(first, first + len);
                set.extend(first..=first + len);
            }
            prop_assert_eq!(ranges.numbers(), set.len() as u64);
            for seq in 0..70 {
                prop_assert_eq!(ranges.contains(seq), set.contains(&seq));
                prop_assert_eq!(ranges.touches(seq, seq + 3), set.range(seq..=seq + 3).next().is_some());
            }
            let apart = ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.1 + 1 < b.0);
            prop_assert!(apart);
        }
    }
}
