//! Counting without an entry per key: the count-min sketch that takes over when the exact table is full.
//!
//! It can only count too much, by more than e/w·N with probability e⁻⁴. That bound is subtracted, so a verdict from it
//! errs towards silence. Keys are hashes made with a secret. Bound: [`Sketch::BYTES`], whatever is counted.

use super::memory::Tick;

/// Two generations of counters: the current window and the one before.
#[derive(Clone)]
pub(super) struct Sketch {
    generations: [Generation; 2],
    /// Which window `generations[0]` counts.
    window: Tick,
}

#[derive(Clone)]
struct Generation {
    counters: Box<[u32]>,
    total: u64,
}

impl Sketch {
    /// Memory of both generations.
    pub(super) const BYTES: usize = 2 * ROWS * WIDTH * size_of::<u32>();

    pub(super) fn new() -> Self {
        let empty = Generation { counters: vec![0; ROWS * WIDTH].into_boxed_slice(), total: 0 };
        Self { generations: [empty.clone(), empty], window: 0 }
    }

    /// Counts one event of a key.
    pub(super) fn add(&mut self, key: u64, now: Tick, length: Tick) {
        self.roll(now / length);
        let generation = &mut self.generations[0];
        generation.total += 1;
        for row in 0..ROWS {
            let counter = &mut generation.counters[cell(key, row)];
            *counter = counter.saturating_add(1);
        }
    }

    /// The rate of a key in events per window, with the error bound taken off.
    pub(super) fn rate(&mut self, key: u64, now: Tick, length: Tick) -> f32 {
        self.roll(now / length);
        let elapsed = (now % length) as f32 / length as f32;
        self.generations[1].least(key) * (1.0 - elapsed) + self.generations[0].least(key)
    }

    fn roll(&mut self, window: Tick) {
        let passed = window.saturating_sub(self.window);
        if passed == 0 {
            return;
        }
        self.generations.swap(0, 1);
        self.generations[0].clear();
        if passed > 1 {
            self.generations[1].clear();
        }
        self.window = window;
    }
}

impl Generation {
    fn least(&self, key: u64) -> f32 {
        let least = (0..ROWS).map(|row| self.counters[cell(key, row)]).min().unwrap_or(0);
        let bound = std::f64::consts::E / WIDTH as f64 * self.total as f64;
        (f64::from(least) - bound).max(0.0) as f32
    }

    fn clear(&mut self) {
        if self.total > 0 {
            self.counters.fill(0);
            self.total = 0;
        }
    }
}

/// Each row takes its own 13 bits of the key.
const fn cell(key: u64, row: usize) -> usize {
    row * WIDTH + ((key >> (row as u32 * WIDTH.trailing_zeros())) as usize & (WIDTH - 1))
}

const ROWS: usize = 4;
const WIDTH: usize = 8192;

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    const LENGTH: Tick = 600;

    #[test]
    fn it_forgets_by_windows() {
        let mut sketch = Sketch::new();
        for _ in 0..10 {
            sketch.add(42, 600, LENGTH);
        }
        assert!((sketch.rate(42, 601, LENGTH) - 10.0).abs() < 0.1);
        assert!((sketch.rate(42, 1500, LENGTH) - 5.0).abs() < 0.1, "half of the window before");
        assert!(sketch.rate(42, 1800, LENGTH) < 0.1);
        sketch.add(42, 1800, LENGTH);
        assert!(sketch.rate(42, 6000, LENGTH) < 0.1, "two windows and more");
    }

    #[test]
    fn a_flood_does_not_make_the_quiet_look_loud() {
        let mut sketch = Sketch::new();
        let keys = RandomState::new();
        for n in 0..100_000u64 {
            sketch.add(keys.hash_one(n), 600, LENGTH);
        }
        let quiet = 1_000_000..1_001_000u64;
        let loud = quiet.filter(|n| sketch.rate(keys.hash_one(*n), 600, LENGTH) > 10.0).count();
        assert!(loud < 20, "{loud} of 1000");
        for _ in 0..100 {
            sketch.add(keys.hash_one(7u64), 600, LENGTH);
        }
        assert!(sketch.rate(keys.hash_one(7u64), 600, LENGTH) > 20.0, "the loud one is still heard");
    }
}
