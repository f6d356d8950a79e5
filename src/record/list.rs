//! Lists of short texts, kept as one run of bytes.
//!
//! [`ListBuf`] gathers items without an allocation per item; [`List`] is the borrowed view that an event holds and a
//! row returns. Never holds more than [`TEXT_BYTES`]: further items are left out and the list says so.

use std::fmt;

use super::wire::{TEXT_BYTES, take_varint};

/// Room for the first items of a list in bytes; enough for nearly all.
const USUAL_BYTES: usize = 224;

/// Gathers the items of a list; reuse it with [`ListBuf::clear`].
#[derive(Clone, Default)]
pub struct ListBuf {
    bytes: Vec<u8>,
    cut: bool,
}

impl ListBuf {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an item, whole or not at all: the list never exceeds [`TEXT_BYTES`].
    #[inline]
    pub fn push(&mut self, item: &[u8]) {
        if !self.has_room(item.len()) {
            return;
        }
        let low = (item.len() & 0x7f) as u8;
        if item.len() < 0x80 {
            self.bytes.push(low);
        } else {
            self.bytes.extend_from_slice(&[low | 0x80, (item.len() >> 7) as u8]);
        }
        self.bytes.extend_from_slice(item);
    }

    /// The same for a word whose encoding is known.
    #[inline]
    pub fn push_word(&mut self, word: &Word) {
        if self.has_room(WORD_BYTES) {
            // A copy of known length, and then the end: cheaper than one of any length.
            let end = self.bytes.len() + 1 + usize::from(word.0[0]);
            self.bytes.extend_from_slice(&word.0);
            self.bytes.truncate(end);
        }
    }

    #[inline]
    fn has_room(&mut self, length: usize) -> bool {
        // Two bytes are enough for the length of anything that fits.
        if self.cut || self.bytes.len() + length + 2 > TEXT_BYTES {
            self.cut = true;
            return false;
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(USUAL_BYTES);
        }
        true
    }

    /// Forgets every item and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cut = false;
    }

    /// The list as an event holds it.
    #[must_use]
    pub fn as_list(&self) -> List<'_> {
        List { bytes: &self.bytes, cut: self.cut }
    }
}

/// An item that is known when the program is built: at most 15 bytes, as they stand in a list.
#[derive(Clone, Copy)]
pub struct Word([u8; WORD_BYTES]);

impl Word {
    /// A word of these bytes. One that is too long does not compile.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        let text = text.as_bytes();
        let mut bytes = [0; WORD_BYTES];
        assert!(text.len() < WORD_BYTES, "a word has at most 15 bytes");
        bytes[0] = text.len() as u8;
        let mut i = 0;
        while i < text.len() {
            bytes[i + 1] = text[i];
            i += 1;
        }
        Self(bytes)
    }
}

/// Length and bytes of a word.
const WORD_BYTES: usize = 16;

impl<'a> FromIterator<&'a [u8]> for ListBuf {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(items: T) -> Self {
        let mut list = Self::new();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

/// Redacted: items may come from the wire.
impl fmt::Debug for ListBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_list().fmt(f)
    }
}

/// A borrowed list; iterate it for its items.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct List<'a> {
    bytes: &'a [u8],
    cut: bool,
}

impl<'a> List<'a> {
    /// The list whose encoded bytes these are.
    pub(super) const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self { bytes, cut: false }
    }

    /// The encoded bytes: each item is a varint length and its bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is no item.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether items were left out while gathering.
    pub(super) const fn cut(self) -> bool {
        self.cut
    }

    /// The items.
    #[must_use]
    pub const fn iter(self) -> Items<'a> {
        Items(self.bytes)
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = &'a [u8];
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}

/// Redacted: items may come from the wire.
impl fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({} bytes)", self.bytes.len())
    }
}

/// Iterator over the items of a [`List`].
#[derive(Clone)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = take_varint(self.0)?;
        let (item, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_in_order() {
        let long = vec![b'x'; 300];
        let items: [&[u8]; 4] = [b"a", b"", &long, b"z"];
        let list: ListBuf = items.into_iter().collect();
        assert_eq!(list.as_list().iter().collect::<Vec<_>>(), items);
        assert!(!list.as_list().cut());
    }

    #[test]
    fn a_word_is_an_item_like_any_other() {
        const WORDS: [Word; 3] = [Word::new("necessary"), Word::new(""), Word::new("fifteen letters")];
        let mut list = ListBuf::new();
        WORDS.iter().for_each(|word| list.push_word(word));
        let items: Vec<&[u8]> = list.as_list().iter().collect();
        assert_eq!(items, [&b"necessary"[..], b"", b"fifteen letters"]);
        for _ in 0..TEXT_BYTES {
            list.push_word(&WORDS[1]);
        }
        assert!(list.as_list().cut() && list.as_list().as_bytes().len() <= TEXT_BYTES);
    }

    #[test]
    fn a_full_list_leaves_items_out_and_says_so() {
        let item = [b'x'; 100];
        let mut list = ListBuf::new();
        for _ in 0..100 {
            list.push(&item);
        }
        assert!(list.as_list().as_bytes().len() <= TEXT_BYTES);
        assert_eq!(list.as_list().iter().count(), TEXT_BYTES / 101);
        assert!(list.as_list().cut());
        list.clear();
        assert!(list.as_list().is_empty() && !list.as_list().cut());
    }
}
