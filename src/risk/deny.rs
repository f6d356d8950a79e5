//! Who is refused, and for how long.
//!
//! Ten minutes, twice as long each time it happens again, a day at most. Keys are keyed hashes of a subject, or of
//! address and user agent where there is none. Bound: [`MAX_DENIED`] entries, the oldest makes room.

use std::time::Duration;

use super::bounded::BoundedMap;
use super::memory::Tick;

/// The refused.
#[derive(Clone)]
pub(super) struct DenyList(BoundedMap<Denial>);

#[derive(Clone, Copy)]
struct Denial {
    until: Tick,
    /// How often it was doubled.
    doubled: u32,
}

impl DenyList {
    /// Room for [`MAX_DENIED`] entries, or fewer if the bytes end first.
    pub(super) fn with_bytes(bytes: usize) -> Self {
        Self(BoundedMap::with_bounds(bytes, MAX_DENIED))
    }

    /// How much longer a key is refused.
    pub(super) fn remaining(&mut self, key: u64, now: Tick) -> Option<Duration> {
        let left = self.0.get_mut(key)?.until.saturating_sub(now);
        (left > 0).then(|| Duration::from_secs(left.into()))
    }

    /// Refuses a key from now on, longer if it was refused within the last day. Says how long.
    pub(super) fn deny(&mut self, key: u64, now: Tick) -> Duration {
        let denial = self.0.get_or_insert(key, || Denial { until: 0, doubled: 0 });
        if denial.until > 0 {
            let remembered = now < denial.until.saturating_add(LONGEST);
            denial.doubled = if remembered { (denial.doubled + 1).min(DOUBLINGS) } else { 0 };
        }
        let seconds = if denial.doubled < DOUBLINGS { FIRST << denial.doubled } else { LONGEST };
        denial.until = now.saturating_add(seconds);
        Duration::from_secs(seconds.into())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Entries of the list.
pub const MAX_DENIED: usize = 65_536;

/// Ten minutes.
const FIRST: Tick = 600;
/// A day.
const LONGEST: Tick = 86_400;
/// After so many doublings it is a day: 600 s · 2⁸ > 86,400 s.
const DOUBLINGS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_a_day_and_forgets_after_a_quiet_one() {
        let mut list = DenyList::with_bytes(1 << 20);
        let mut now = 100_000;
        let mut minutes = Vec::new();
        for _ in 0..40 {
            let length = list.deny(7, now);
            minutes.push(length.as_secs() / 60);
            assert_eq!(list.remaining(7, now), Some(length));
            now += Tick::try_from(length.as_secs()).unwrap();
            assert_eq!(list.remaining(7, now), None);
        }
        assert_eq!(minutes[..9], [10, 20, 40, 80, 160, 320, 640, 1280, 1440]);
        assert_eq!(minutes[39], 1440);
        assert_eq!(list.deny(7, now + LONGEST), Duration::from_secs(600));
        assert_eq!(list.remaining(8, now), None);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut list = DenyList::with_bytes(usize::MAX);
        for key in 0..200_000 {
            list.deny(key, 100_000);
        }
        assert_eq!(list.len(), MAX_DENIED);
        assert!(list.remaining(0, 100_000).is_none(), "the oldest made room");
        assert!(list.remaining(199_999, 100_000).is_some());
    }
}
