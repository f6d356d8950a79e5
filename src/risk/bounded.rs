//! A map that never has more entries than its bytes allow; the oldest entry makes room.
//!
//! Oldest means inserted first: under a flood, least recently used would throw out the quiet and keep the flood. Keys
//! are hashes made with a secret, so they are used as they are. Bound: the bytes given to [`BoundedMap::with_bytes`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Slots in insertion order, reused in a circle, with an index.
#[derive(Clone)]
pub(super) struct BoundedMap<V> {
    index: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    slots: Vec<(u64, V)>,
    capacity: usize,
    /// The oldest slot once all are used.
    oldest: usize,
    evictions: u64,
}

impl<V> BoundedMap<V> {
    /// Room for as many entries as fit; at least one.
    pub(super) fn with_bytes(bytes: usize) -> Self {
        Self::with_bounds(bytes, u32::MAX as usize)
    }

    /// The same, and never more than `entries` (at least one, at most 2³² − 1).
    pub(super) fn with_bounds(bytes: usize, entries: usize) -> Self {
        let entries = entries.clamp(1, u32::MAX as usize);
        let capacity = (bytes / (size_of::<(u64, V)>() + INDEX_BYTES)).clamp(1, entries);
        Self {
            // Reserved at once so that no request waits for a rehash; the system gives the pages when they are used.
            index: HashMap::with_capacity_and_hasher(capacity, BuildHasherDefault::default()),
            slots: Vec::with_capacity(capacity),
            capacity,
            oldest: 0,
            evictions: 0,
        }
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let slot = *self.index.get(&key)?;
        self.slots.get_mut(slot as usize).map(|(_, value)| value)
    }

    /// The entry of a key, made new if need be; the oldest entry is evicted when there is no room.
    pub(super) fn get_or_insert(&mut self, key: u64, fresh: impl FnOnce() -> V) -> &mut V {
        let slot = match self.index.get(&key) {
            Some(&slot) => slot as usize,
            None => self.insert(key, fresh()),
        };
        &mut self.slots[slot].1
    }

    /// The same, but an entry is evicted only if it is `idle`, and only the next few are asked. `None`: no room.
    pub(super) fn get_or_replace(
        &mut self,
        key: u64,
        idle: impl Fn(&V) -> bool,
        fresh: impl FnOnce() -> V,
    ) -> Option<&mut V> {
        let slot = match self.index.get(&key) {
            Some(&slot) => slot as usize,
            None => {
                self.skip_busy(idle)?;
                self.insert(key, fresh())
            }
        };
        Some(&mut self.slots[slot].1)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) const fn evictions(&self) -> u64 {
        self.evictions
    }

    fn insert(&mut self, key: u64, value: V) -> usize {
        let slot = if self.slots.len() < self.capacity {
            self.slots.push((key, value));
            self.slots.len() - 1
        } else {
            let slot = self.oldest;
            self.oldest = (slot + 1) % self.capacity;
            let (evicted, _) = std::mem::replace(&mut self.slots[slot], (key, value));
            self.index.remove(&evicted);
            self.evictions += 1;
            slot
        };
        // `capacity` fits in 32 bits.
        self.index.insert(key, slot as u32);
        slot
    }

    /// Moves on to an idle slot if all are used; `None` if the next [`LOOKED_AT`] are busy.
    fn skip_busy(&mut self, idle: impl Fn(&V) -> bool) -> Option<()> {
        if self.slots.len() < self.capacity {
            return Some(());
        }
        for _ in 0..LOOKED_AT {
            if idle(&self.slots[self.oldest].1) {
                return Some(());
            }
            self.oldest = (self.oldest + 1) % self.capacity;
        }
        None
    }
}

/// Takes a key for its own hash.
#[derive(Clone, Copy, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Bytes of the index per entry, at worst: 17 per bucket, and 16 buckets for each 7 entries.
const INDEX_BYTES: usize = 39;
/// Slots that are asked whether they are idle.
const LOOKED_AT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: usize = size_of::<(u64, u64)>() + INDEX_BYTES;

    #[test]
    fn the_first_inserted_goes_first_however_often_it_is_used() {
        let mut map = BoundedMap::with_bytes(3 * ENTRY);
        for key in 0..3 {
            map.get_or_insert(key, || key);
        }
        assert_eq!(map.get_mut(0), Some(&mut 0));
        map.get_or_insert(3, || 3);
        assert_eq!(map.get_mut(0), None);
        assert_eq!(map.get_mut(1), Some(&mut 1));
        assert_eq!(map.get_mut(3), Some(&mut 3));
        assert_eq!((map.len(), map.capacity(), map.evictions()), (3, 3, 1));
        for key in 4..100 {
            map.get_or_insert(key, || key);
            assert_eq!(map.index.len(), 3);
        }
    }

    #[test]
    fn busy_entries_are_kept_and_the_newcomer_is_refused() {
        let mut map = BoundedMap::with_bytes(20 * ENTRY);
        for key in 0..20 {
            map.get_or_replace(key, |_| false, || key).unwrap();
        }
        assert!(map.get_or_replace(20, |_| false, || 20).is_none());
        assert!(map.get_or_replace(19, |_| false, || 0).is_some(), "one that is there needs no room");
        assert_eq!(map.get_or_replace(21, |&value| value == 12, || 21), Some(&mut 21));
        assert_eq!(map.get_mut(12), None);
        assert_eq!(map.evictions(), 1);
    }

    #[test]
    fn there_is_always_room_for_one() {
        let mut map = BoundedMap::with_bytes(0);
        map.get_or_insert(1, || 1u64);
        assert_eq!(map.get_mut(1), Some(&mut 1));
    }
}
