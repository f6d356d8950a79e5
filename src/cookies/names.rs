//! What the names that rules name in full mean, found by their first eight bytes.
//!
//! Most cookies that a rule knows have a name of a few bytes (`_ga`, `_fbp`, `_uetsid`). Such a name and its `=` are one
//! number, and a table from numbers to classes spares the walk over the bytes; of a longer name the rest is compared.
//! Answers as the whole catalogue does, or not at all: what it lacks is left to the walk. Bound: a place for each name
//! and three that are free.

use super::catalogue::Class;
use super::find::marks;

/// The finished table.
pub(super) struct Names {
    /// By [`Self::place`]; a name that finds its place taken stands in the next one that is free.
    places: Vec<Place>,
    shift: u32,
    /// What longer names have behind their first eight bytes, with the `=`. The first is empty.
    tails: Vec<Box<[u8]>>,
}

/// A name and what it means.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The first eight bytes of the name and its `=`, with zeros behind it; [`FREE`] if nobody stands here.
    key: u64,
    pub(super) class: Class,
    /// The length of the name.
    pub(super) length: u16,
    /// Which of the tails.
    tail: u16,
}

impl Names {
    /// A table of these names.
    pub(super) fn new<'n>(names: impl Iterator<Item = (&'n [u8], Class)> + Clone) -> Self {
        let size = (names.clone().count() * 4).next_power_of_two().max(2);
        let shift = u64::BITS - size.trailing_zeros();
        let mut table = Self { places: vec![Place::NOBODY; size], shift, tails: vec![Box::default()] };
        for (name, class) in names {
            table.add(name, class);
        }
        table
    }

    fn add(&mut self, name: &[u8], class: Class) {
        let mut text = [name, b"="].concat();
        let tail = text.split_off(text.len().min(8));
        text.resize(8, 0);
        let key = u64::from_le_bytes(text.first_chunk().copied().unwrap_or_default());
        let number = if tail.is_empty() { 0 } else { self.tails.len() };
        // What has no number here is left to the walk.
        let (Ok(length), Ok(number)) = (u16::try_from(name.len()), u16::try_from(number)) else { return };
        if number > 0 {
            self.tails.push(tail.into());
        }
        let mut at = self.place(key);
        while self.places.get(at).is_some_and(|place| place.key != FREE) {
            at += 1;
        }
        if at == self.places.len() {
            self.places.push(Place::NOBODY);
        }
        self.places[at] = Place { key, class, length, tail: number };
    }

    /// The name at the beginning of these bytes, if it is known and a `=` stands behind it.
    #[inline]
    pub(super) fn find(&self, bytes: &[u8]) -> Option<&Place> {
        let word = u64::from_le_bytes(*bytes.first_chunk()?);
        let marks = marks(word, b'=');
        // Up to the first `=`, or all.
        let key = word & (marks ^ marks.wrapping_sub(1));
        let mut at = self.place(key);
        loop {
            let place = self.places.get(at)?;
            if place.key == FREE {
                return None;
            }
            if place.key == key
                && (place.tail == 0 || bytes[8..].starts_with(&self.tails[usize::from(place.tail)]))
            {
                return Some(place);
            }
            at += 1;
        }
    }

    #[inline]
    fn place(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }
}

impl Place {
    const NOBODY: Self = Self { key: FREE, class: Class::UNKNOWN, length: 0, tail: 0 };
}

/// No name's key: its first byte is not zero.
const FREE: u64 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cookies::Category;

    fn table(names: &[&[u8]]) -> Names {
        let class = Class { category: Category::Analytics, ..Class::UNKNOWN };
        Names::new(names.iter().map(|name| (*name, class)))
    }

    #[test]
    fn names_are_found_where_their_equals_sign_stands() {
        let table = table(&[b"_ga", b"_uetsid", b"PHPSESSI", b"PHPSESSID", b"PHPSESSIDs", b"a"]);
        let length = |bytes: &[u8]| table.find(bytes).map(|place| place.length);
        for (bytes, expected) in [
            (&b"_ga=GA1.2"[..], 3),
            (b"_uetsid=", 7),
            (b"PHPSESSI=", 8),
            (b"PHPSESSID=x", 9),
            (b"PHPSESSIDs==", 10),
            (b"a=_ga=_ga", 1),
        ] {
            assert_eq!(length(bytes), Some(expected), "{}", bytes.escape_ascii());
        }
        for bytes in [
            &b"_ga=1"[..],
            b"_ga;a=1234",
            b"_ga\0=1234",
            b"_gat=1234",
            b"PHPSESSI",
            b"PHPSESSID",
            b"PHPSESSID;=",
            b"PHPSESSIDx=",
            b"\0\0\0\0\0\0\0\0",
            b"=_ga=1234",
            b" _ga=1234",
            b"_ga<=>=12",
            b"",
        ] {
            assert_eq!(length(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert!(table(&[]).find(b"\0\0\0\0\0\0\0\0").is_none());
        assert!(table(&[]).find(b"=1234567").is_none());
    }

    proptest! {
        #[test]
        fn finds_what_is_there_and_nothing_else(
            names in proptest::collection::hash_set(proptest::collection::vec(97_u8..=98, 1..14), 0..200),
            asked in proptest::collection::vec(proptest::collection::vec(97_u8..=98, 0..14), 1..50),
        ) {
            let table = table(&names.iter().map(Vec::as_slice).collect::<Vec<_>>());
            for name in names.iter().chain(&asked) {
                let bytes = [name.as_slice(), b"=and a value"].concat();
                let expected = names.contains(name).then_some(name.len());
                prop_assert_eq!(table.find(&bytes).map(|place| usize::from(place.length)), expected);
            }
        }
    }
}
