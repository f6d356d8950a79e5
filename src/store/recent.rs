//! Tags that were made a moment ago: a visitor's next record costs no HMAC.
//!
//! A tag is found by a name of the identifier, so no identifier is held. The name is the hash NH of UMAC (Black et al.,
//! 1999; RFC 4418), twice, with keys one block apart: whatever two texts are, their names are the same for at most one in
//! 2¹²⁶ of all keys. The keys are random for each process and no name leaves this file, so nobody can choose two
//! identifiers that meet. Never decides what a tag is. Bound: [`SLOTS`] tags; a newer one takes the place of an older, one
//! of the [`WAYS`] where it may be, and is counted.

use std::hash::{BuildHasher as _, RandomState};

/// The tags made last.
pub(super) struct Recent<T> {
    names: Names,
    slots: Vec<Option<(Name, T)>>,
    found: Found,
}

/// How often a tag was known, made, and made in the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evicted: u64,
}

impl<T> Recent<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        let slots = std::iter::repeat_with(|| None).take(SLOTS).collect();
        Self { names: Names::new(), slots, found: Found::default() }
    }

    /// The tag for the text of an identifier; made if it is not known.
    pub(super) fn tag(&mut self, text: &[u8], make: impl FnOnce() -> T) -> &T {
        let name = self.names.of(text);
        let set = set_of(&name) * WAYS;
        let set = &mut self.slots[set..set + WAYS];
        let known = set.iter().position(|slot| slot.as_ref().is_some_and(|(known, _)| *known == name));
        self.found.hits += u64::from(known.is_some());
        self.found.misses += u64::from(known.is_none());
        let free = || set.iter().position(Option::is_none);
        let at = known.or_else(free).unwrap_or((name[1] >> 64) as usize % WAYS);
        if set[at].take_if(|(known, _)| *known != name).is_some() {
            self.found.evicted += 1;
        }
        &set[at].get_or_insert_with(|| (name, make())).1
    }

    /// What was counted since this was asked before.
    pub(super) fn take_found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// Forgets all: the key of the tags is another one.
    pub(super) fn clear(&mut self) {
        self.slots.fill_with(|| None);
    }
}

/// Stands for a text.
type Name = [u128; 2];

/// Where a name may be. Names are different, not spread: those of texts that differ in a few bits, such as neighbouring
/// addresses, may differ by multiples of one number. So all of it is mixed.
const fn set_of(name: &Name) -> usize {
    let folded = name[0] as u64 ^ (name[0] >> 64) as u64;
    let spread = (folded ^ folded >> 32).wrapping_mul(GOLDEN_RATIO);
    (spread >> 32) as usize % (SLOTS / WAYS)
}

/// 2⁶⁴ divided by the golden ratio: the upper half of a product with it depends on every bit of the other factor.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes names.
struct Names {
    random: RandomState,
    /// One for each block of a text, and one more; as many as the longest text needed so far.
    keys: Vec<[u64; 2]>,
}

impl Names {
    fn new() -> Self {
        Self { random: RandomState::new(), keys: Vec::new() }
    }

    fn of(&mut self, text: &[u8]) -> Name {
        let (blocks, rest) = text.as_chunks::<BLOCK_BYTES>();
        let mut last = [0; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        while self.keys.len() < blocks.len() + 2 {
            let at = self.keys.len();
            self.keys.push([self.random.hash_one((at, 0)), self.random.hash_one((at, 1))]);
        }
        // Texts that differ in nothing but zeros at the end differ in this.
        let mut name = [text.len() as u128; 2];
        let mut key = self.keys[0];
        for (block, next) in blocks.iter().zip(&self.keys[1..]) {
            add(&mut name, block, [key, *next]);
            key = *next;
        }
        add(&mut name, &last, [key, self.keys[blocks.len() + 1]]);
        name
    }
}

/// Inline always: it is the body of the loop over an identifier.
#[inline(always)]
fn add(name: &mut Name, block: &[u8; BLOCK_BYTES], keys: [[u64; 2]; 2]) {
    let words = u128::from_le_bytes(*block);
    let words = [words as u64, (words >> 64) as u64];
    for (sum, key) in name.iter_mut().zip(keys) {
        let product = u128::from(words[0].wrapping_add(key[0])) * u128::from(words[1].wrapping_add(key[1]));
        *sum = sum.wrapping_add(product);
    }
}

const BLOCK_BYTES: usize = 16;
/// Most tags that are remembered.
const SLOTS: usize = 4096;
/// Places of a tag. With one, of a thousand visitors in turn two in ten would push each other out for ever.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_is_made_once_for_each_identifier_until_it_is_forgotten() {
        let mut recent = Recent::new();
        assert_eq!(*recent.tag(b"a", || 1), 1);
        assert_eq!(*recent.tag(b"a", || 2), 1);
        assert_eq!(*recent.tag(b"a\0", || 3), 3);
        recent.clear();
        assert_eq!(*recent.tag(b"a", || 4), 4);
        assert_eq!(recent.take_found(), Found { hits: 1, misses: 3, evicted: 0 });
        assert_eq!(recent.take_found(), Found::default(), "told once");
    }

    #[test]
    fn no_more_is_held_than_the_bound_and_every_answer_is_right() {
        let mut recent = Recent::new();
        for round in 0..2 {
            for n in 0..4 * SLOTS {
                assert_eq!(*recent.tag(&n.to_le_bytes(), || n), n, "round {round}");
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

    #[test]
    fn the_identifiers_of_many_visitors_in_turn_stay() {
        // A counter at the end of a text, at its beginning, and alone in either order of bytes: as addresses are.
        let shapes: [fn(u32) -> Vec<u8>; 4] = [
            |n| [b"visitor number", &n.to_be_bytes()[..]].concat(),
            |n| [&n.to_le_bytes()[..], b" is a visitor whose name is longer than a block"].concat(),
            |n| n.to_be_bytes().to_vec(),
            |n| n.to_le_bytes().to_vec(),
        ];
        for (shape, text) in shapes.into_iter().enumerate() {
            let (mut recent, mut made) = (Recent::new(), 0);
            for _ in 0..10 {
                for n in 0..SLOTS as u32 / 4 {
                    recent.tag(&text(n), || made += 1);
                }
            }
            // In a set where too many meet they push each other out for ever: with names spread evenly, four sets of a
            // thousand.
            assert!(made < 2 * SLOTS / 4, "shape {shape}: {made}");
        }
    }

    proptest! {
        #[test]
        fn every_byte_and_the_length_are_in_the_name(text: Vec<u8>, at: usize, bit in 0u32..8) {
            let mut names = Names::new();
            let name = names.of(&text);
            prop_assert_ne!(names.of(&[&text[..], &[0]].concat()), name);
            prop_assert_ne!(names.of(&[&text[..], &[0; 40]].concat()), name);
            if !text.is_empty() {
                let mut other = text.clone();
                other[at % text.len()] ^= 1 << bit;
                let different = names.of(&other);
                prop_assert!(different[0] != name[0] && different[1] != name[1]);
            }
            prop_assert_eq!(names.of(&text), name, "more keys do not change it");
            prop_assert_ne!(Names::new().of(&text), name);
        }
    }
}
