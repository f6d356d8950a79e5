//! Tags that were made a moment ago: a visitor's next record costs no HMAC.
//!
//! A tag is found by 128 bits of two hashes whose keys are random for each process. So no identifier is held, and nobody can
//! choose two that meet. Never decides what a tag is. Bound: [`SLOTS`] tags; a newer one takes the place of an older.

use std::hash::{BuildHasher as _, RandomState};

/// The tags made last.
pub(super) struct Recent<T> {
    hashers: [RandomState; 2],
    slots: Vec<Option<([u64; 2], T)>>,
}

impl<T: Copy> Recent<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { hashers: Default::default(), slots: vec![None; SLOTS] }
    }

    /// The tag for these parts of an identifier; made if it is not known.
    pub(super) fn tag(&mut self, parts: &[&[u8]], make: impl FnOnce() -> T) -> T {
        let name = self.hashers.each_ref().map(|hasher| hasher.hash_one(parts));
        let slot = &mut self.slots[name[0] as usize % SLOTS];
        match slot {
            Some((known, tag)) if *known == name => *tag,
            slot => slot.insert((name, make())).1,
        }
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
    }
}
