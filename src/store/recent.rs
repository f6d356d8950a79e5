//! Tags that were made a moment ago: a visitor's next record costs no HMAC.
//!
//! A tag is found by 128 bits of two hashes whose keys are random for each process. So no identifier is held, and nobody can
//! choose two that meet. Never decides what a tag is. Bound: [`SLOTS`] tags; a newer one takes the place of an older,
//! and is counted.

use std::hash::{BuildHasher as _, RandomState};

/// The tags made last.
pub(super) struct Recent<T> {
    hashers: [RandomState; 2],
    slots: Vec<Option<([u64; 2], T)>>,
    found: Found,
}

/// How often a tag was known, made, and made in the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evicted: u64,
}

impl<T: Copy> Recent<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { hashers: Default::default(), slots: vec![None; SLOTS], found: Found::default() }
    }

    /// The tag for these parts of an identifier; made if it is not known.
    pub(super) fn tag(&mut self, parts: &[&[u8]], make: impl FnOnce() -> T) -> T {
        let name = self.hashers.each_ref().map(|hasher| hasher.hash_one(parts));
        let slot = &mut self.slots[name[0] as usize % SLOTS];
        match slot {
            Some((known, tag)) if *known == name => {
                self.found.hits += 1;
                *tag
            }
            slot => {
                self.found.misses += 1;
                self.found.evicted += u64::from(slot.is_some());
                slot.insert((name, make())).1
            }
        }
    }

    /// What was counted since this was asked before.
    pub(super) fn take_found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// Forgets all: the key of the tags is another one.
    pub(super) fn clear(&mut self) {
        self.slots.fill(None);
    }
}

/// Most tags that are remembered.
const SLOTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_made_once_for_each_identifier_until_it_is_forgotten() {
        let mut recent = Recent::new();
        assert_eq!(recent.tag(&[b"a", b"bc"], || 1), 1);
        assert_eq!(recent.tag(&[b"a", b"bc"], || 2), 1);
        assert_eq!(recent.tag(&[b"ab", b"c"], || 3), 3, "the same bytes in other parts");
        recent.clear();
        assert_eq!(recent.tag(&[b"a", b"bc"], || 4), 4);
        assert_eq!(recent.take_found(), Found { hits: 1, misses: 3, evicted: 0 });
        assert_eq!(recent.take_found(), Found::default(), "told once");
    }

    #[test]
    fn no_more_is_held_than_the_bound_and_every_answer_is_right() {
        let mut recent = Recent::new();
        for round in 0..2 {
            for n in 0..4 * SLOTS {
                assert_eq!(recent.tag(&[&n.to_le_bytes()], || n), n, "round {round}");
            }
        }
        assert_eq!(recent.slots.len(), SLOTS);
        let held = recent.slots.iter().flatten().count() as u64;
        let found = recent.take_found();
        assert_eq!(found.hits + found.misses, 8 * SLOTS as u64);
        assert_eq!(
            found.misses - found.evicted,
            held,
            "every tag that was made is held or gave its place up"
        );
        assert!(found.evicted >= 3 * SLOTS as u64, "{found:?}");
    }
}
