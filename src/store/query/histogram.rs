//! Counts by bucket: what `hist` shows.
//!
//! Times and linear numbers have buckets of one width, durations and sizes by default the series 1, 2, 5, 10, …
//! Exact until [`BUCKETS`] is reached; what is beyond it is counted apart. Never reads a record.

use std::collections::BTreeMap;

use crate::record::Value;

/// Most distinct buckets that are counted, for each scanning thread.
pub const BUCKETS: usize = 100_000;
/// Most empty buckets that are shown between two others.
pub const EMPTY: usize = 1_000;

/// How values fall into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Buckets of one width: microseconds, bytes or plain numbers. Never 0.
    Linear(u64),
    /// The series 0, 1, 2, 5, 10, 20, 50, …
    Decades,
}

/// Counts by bucket, being gathered.
#[derive(Clone, Debug)]
pub struct Histogram {
    scale: Scale,
    counts: BTreeMap<i64, u64>,
    absent: u64,
    over: u64,
}

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its least value: a number, or microseconds since 1970.
    pub start: i64,
    /// The least value of the next bucket.
    pub end: i64,
    /// Records in it.
    pub count: u64,
}

/// Counts by bucket, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramResult {
    /// From the first bucket that has records to the last; empty ones in between unless there are more than [`EMPTY`].
    pub buckets: Vec<Bucket>,
    /// Records without the field.
    pub absent: u64,
    /// Records beyond [`BUCKETS`].
    pub over: u64,
}

impl Histogram {
    /// Nothing counted yet.
    #[must_use]
    pub const fn new(scale: Scale) -> Self {
        Self { scale, counts: BTreeMap::new(), absent: 0, over: 0 }
    }

    /// Counts one record. Numbers beyond `i64` fall into the last bucket.
    pub fn add(&mut self, value: Option<&Value<'_>>) {
        let number = match value {
            Some(Value::U64(n)) => i64::try_from(*n).unwrap_or(i64::MAX),
            Some(Value::Time(t)) => t.as_micros(),
            _ => {
                self.absent += 1;
                return;
            }
        };
        self.count(self.scale.start_of(number), 1);
    }

    /// Adds what another has counted on the same scale.
    pub fn merge(&mut self, other: Self) {
        self.absent += other.absent;
        self.over += other.over;
        for (start, count) in other.counts {
            self.count(start, count);
        }
    }

    /// The buckets in order.
    #[must_use]
    pub fn finish(self) -> HistogramResult {
        let mut buckets: Vec<Bucket> = Vec::with_capacity(self.counts.len());
        for (start, count) in self.counts {
            if let Some(last) = buckets.last().copied() {
                let mut at = last.end;
                let mut empty = Vec::new();
                while at < start && empty.len() <= EMPTY {
                    let end = self.scale.next_after(at);
                    empty.push(Bucket { start: at, end, count: 0 });
                    at = end;
                }
                if empty.len() <= EMPTY {
                    buckets.append(&mut empty);
                }
            }
            buckets.push(Bucket { start, end: self.scale.next_after(start), count });
        }
        HistogramResult { buckets, absent: self.absent, over: self.over }
    }

    fn count(&mut self, start: i64, count: u64) {
        if let Some(known) = self.counts.get_mut(&start) {
            *known += count;
        } else if self.counts.len() < BUCKETS {
            self.counts.insert(start, count);
        } else {
            self.over += count;
        }
    }
}

impl Scale {
    /// The start of the bucket that holds a number.
    fn start_of(self, number: i64) -> i64 {
        match self {
            Self::Linear(width) => {
                let width = i64::try_from(width.max(1)).unwrap_or(i64::MAX);
                number.div_euclid(width).saturating_mul(width)
            }
            Self::Decades => {
                let Some(digits) = number.checked_ilog10() else { return 0 };
                let decade = 10_i64.pow(digits);
                match number / decade {
                    5.. => 5 * decade,
                    2.. => 2 * decade,
                    _ => decade,
                }
            }
        }
    }

    /// The start of the bucket after the one that starts there.
    fn next_after(self, start: i64) -> i64 {
        match self {
            Self::Linear(width) => start.saturating_add(i64::try_from(width.max(1)).unwrap_or(i64::MAX)),
            Self::Decades if start <= 0 => 1,
            Self::Decades => {
                let decade = 10_i64.pow(start.ilog10());
                match start / decade {
                    5.. => decade.saturating_mul(10),
                    2.. => 5 * decade,
                    _ => 2 * decade,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(scale: Scale, numbers: &[u64]) -> Vec<(i64, i64, u64)> {
        let mut histogram = Histogram::new(scale);
        numbers.iter().for_each(|n| histogram.add(Some(&Value::U64(*n))));
        histogram.finish().buckets.iter().map(|b| (b.start, b.end, b.count)).collect()
    }

    #[test]
    fn decades() {
        assert_eq!(
            of(Scale::Decades, &[0, 1, 4, 19]),
            [(0, 1, 1), (1, 2, 1), (2, 5, 1), (5, 10, 0), (10, 20, 1)]
        );
    }

    #[test]
    fn a_long_silence_is_not_drawn() {
        assert_eq!(of(Scale::Linear(1), &[0, 3]).len(), 4);
        assert_eq!(of(Scale::Linear(1), &[0, 1_000_000]).len(), 2);
    }

    #[test]
    fn beyond_the_limit_is_counted_apart() {
        let mut histogram = Histogram::new(Scale::Linear(1));
        (0..BUCKETS as u64 + 5).for_each(|n| histogram.add(Some(&Value::U64(n))));
        histogram.add(None);
        let result = histogram.finish();
        assert_eq!((result.buckets.len(), result.over, result.absent), (BUCKETS, 5, 1));
    }

    proptest! {
        #[test]
        fn every_number_is_in_its_bucket(n in 0..u64::MAX / 4, width in 1..u64::MAX / 4) {
            for scale in [Scale::Linear(width), Scale::Decades] {
                let [(start, end, 1)] = of(scale, &[n])[..] else { panic!("one bucket") };
                prop_assert!(start as u64 <= n && n < end as u64, "{start} {n} {end}");
            }
        }

        #[test]
        fn merging_is_counting_together(a in proptest::collection::vec(0..500_u64, 0..50), b in proptest::collection::vec(0..500_u64, 0..50)) {
            let mut one = Histogram::new(Scale::Linear(7));
            let mut two = one.clone();
            let mut both = one.clone();
            a.iter().for_each(|n| one.add(Some(&Value::U64(*n))));
            b.iter().for_each(|n| two.add(Some(&Value::U64(*n))));
            a.iter().chain(&b).for_each(|n| both.add(Some(&Value::U64(*n))));
            one.merge(two);
            prop_assert_eq!(one.finish(), both.finish());
        }
    }
}
