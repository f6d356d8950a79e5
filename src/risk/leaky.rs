//! Buckets that leak: how many things there were lately, and how many different ones.
//!
//! [`Distinct`] fills only with what is not in it yet. Never keeps what it is given: one bit of its keyed hash stands for
//! it. Bound: a level and a time, for [`Distinct`] also 256 bits.

use super::memory::Tick;

/// A bucket that leaks one event each so many seconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Leaky {
    level: f32,
    at: Tick,
}

impl Leaky {
    /// The level now.
    pub(super) fn drip(&mut self, now: Tick, seconds_per_event: f32) -> f32 {
        self.level = self.level_at(now, seconds_per_event);
        self.at = self.at.max(now);
        self.level
    }

    /// One event more; the level with it.
    pub(super) fn add(&mut self) -> f32 {
        // The cap lets the bucket empty again in reasonable time after a flood.
        self.level = (self.level + 1.0).min(CAP);
        self.level
    }

    fn level_at(&self, now: Tick, seconds_per_event: f32) -> f32 {
        let passed = now.saturating_sub(self.at) as f32;
        (self.level - passed / seconds_per_event).max(0.0)
    }
}

/// A bucket of different things.
#[derive(Clone, Copy, Default)]
pub(super) struct Distinct {
    bucket: Leaky,
    /// Which of 256 hashes are in the bucket; emptied with it. Two things that share one count once: it errs towards
    /// silence.
    seen: [u64; 4],
}

impl Distinct {
    /// Adds the thing with this hash if it is not there yet; the level with it.
    pub(super) fn add(&mut self, hash: u64, now: Tick, seconds_per_event: f32) -> f32 {
        let level = self.bucket.drip(now, seconds_per_event);
        if level <= 0.0 {
            self.seen = [0; 4];
        }
        let (word, bit) = ((hash >> 6) as usize & 3, 1 << (hash & 63));
        if self.seen[word] & bit != 0 {
            return level;
        }
        self.seen[word] |= bit;
        self.bucket.add()
    }

    /// The level now.
    pub(super) fn drip(&mut self, now: Tick, seconds_per_event: f32) -> f32 {
        self.bucket.drip(now, seconds_per_event)
    }

    /// Whether everything has leaked out, so that nothing is lost with the bucket.
    pub(super) fn is_empty(&self, now: Tick, seconds_per_event: f32) -> bool {
        self.bucket.level_at(now, seconds_per_event) <= 0.0
    }
}

/// The highest level of a bucket.
const CAP: f32 = 60.0;

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tick = 1_000_000;

    #[test]
    fn it_leaks_with_time_and_never_below_nothing() {
        let mut bucket = Leaky::default();
        (0..3).for_each(|_| _ = bucket.add());
        bucket.at = T;
        assert!((bucket.drip(T + 10, 10.0) - 2.0).abs() < 0.01);
        assert!(bucket.drip(T + 1000, 10.0) <= 0.0);
    }

    #[test]
    fn a_flood_does_not_fill_it_for_ever() {
        let mut bucket = Leaky { level: 0.0, at: T };
        (0..100_000).for_each(|_| _ = bucket.add());
        assert!(bucket.drip(T, 10.0) <= CAP);
        assert!(bucket.drip(T + 600, 10.0) <= 0.0);
    }

    #[test]
    fn a_thing_counts_once_until_the_bucket_is_empty() {
        let mut things = Distinct::default();
        assert!(things.is_empty(T, 10.0));
        (0..100).for_each(|_| _ = things.add(5, T, 10.0));
        assert!((things.drip(T, 10.0) - 1.0).abs() < 0.01);
        assert!(!things.is_empty(T + 9, 10.0) && things.is_empty(T + 10, 10.0));
        things.add(5, T + 9, 10.0);
        assert!(things.drip(T + 9, 10.0) < 1.0, "still in it");
        things.add(5, T + 100, 10.0);
        assert!((things.drip(T + 100, 10.0) - 1.0).abs() < 0.01, "the set was emptied with the bucket");
    }

    #[test]
    fn hashes_are_told_apart_by_eight_bits() {
        let mut things = Distinct::default();
        (0..4).for_each(|word| _ = things.add(word << 6, T, 10.0));
        assert!((things.drip(T, 10.0) - 4.0).abs() < 0.01);
        things.add(1 << 8, T, 10.0);
        assert!((things.drip(T, 10.0) - 4.0).abs() < 0.01, "the same bit as the first");
    }
}
