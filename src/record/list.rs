//! Lists of short texts, kept as one run of bytes.
//!
//! [`ListBuf`] gathers items without an allocation per item, [`Lists`] several lists with one; [`List`] is the borrowed
//! view that an event holds and a row returns. A list never holds more than [`TEXT_BYTES`]: further items are left out
//! and the list says so.

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
    pub fn push(&mut self, item: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(USUAL_BYTES);
        }
        self.cut = self.cut || !append(&mut self.bytes, 0, item);
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

/// Several lists in one run of bytes: the lists of a request cost one allocation.
#[derive(Default)]
pub struct Lists(Vec<u8>);

/// Where a list lies in its [`Lists`]; in others it is empty or nonsense.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListSpan {
    start: u32,
    end: u32,
    cut: bool,
}

impl Lists {
    /// Gathers the items of one list; those that exceed [`TEXT_BYTES`] are left out.
    #[inline]
    pub fn gather<'i>(&mut self, items: impl IntoIterator<Item = &'i [u8]>) -> ListSpan {
        let start = self.begin();
        let whole = items.into_iter().all(|item| append(&mut self.0, start, item));
        self.end(start, whole)
    }

    /// The same for words.
    #[inline]
    pub fn gather_words<'i>(&mut self, words: impl IntoIterator<Item = &'i Word>) -> ListSpan {
        let start = self.begin();
        let whole = words.into_iter().all(|word| append_word(&mut self.0, start, word));
        self.end(start, whole)
    }

    /// A list as an event holds it.
    #[must_use]
    pub fn get(&self, span: ListSpan) -> List<'_> {
        let bytes = self.0.get(span.start as usize..span.end as usize).unwrap_or_default();
        List { bytes, cut: span.cut }
    }

    /// Forgets every list and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn begin(&mut self) -> usize {
        if self.0.capacity() == 0 {
            self.0.reserve(USUAL_BYTES_OF_ALL);
        }
        self.0.len()
    }

    fn end(&self, start: usize, whole: bool) -> ListSpan {
        // A list has at most TEXT_BYTES, and nobody gathers two millions of them.
        match (u32::try_from(start), u32::try_from(self.0.len())) {
            (Ok(start), Ok(end)) => ListSpan { start, end, cut: !whole },
            _ => ListSpan { cut: true, ..ListSpan::default() },
        }
    }
}

/// Redacted: items may come from the wire.
impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lists({} bytes)", self.0.len())
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

/// Appends an item to the list that begins at `start`; `false` if that has no room for it. Inline always: it is the
/// body of a loop over every cookie.
#[inline(always)]
fn append(out: &mut Vec<u8>, start: usize, item: &[u8]) -> bool {
    // Two bytes are enough for the length of anything that fits.
    if out.len() - start + item.len() + 2 > TEXT_BYTES {
        return false;
    }
    if item.len() < 0x80 {
        out.push(item.len() as u8);
    } else {
        out.extend_from_slice(&[item.len() as u8 | 0x80, (item.len() >> 7) as u8]);
    }
    out.extend_from_slice(item);
    true
}

/// The same for a word. A copy of known length, cut to the word, is cheaper than one of any length.
#[inline]
fn append_word(out: &mut Vec<u8>, start: usize, word: &Word) -> bool {
    let end = out.len() + 1 + usize::from(word.0[0]);
    if end - start > TEXT_BYTES {
        return false;
    }
    out.extend_from_slice(&word.0);
    out.truncate(end);
    true
}

/// Length and bytes of a word.
const WORD_BYTES: usize = 16;
/// Room for the lists of one request in bytes; enough for nearly all.
const USUAL_BYTES_OF_ALL: usize = 512;

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
    fn several_lists_lie_in_one_run() {
        const WORDS: [Word; 3] = [Word::new("necessary"), Word::new(""), Word::new("fifteen letters")];
        let mut lists = Lists::default();
        let (names, words) = (lists.gather([&b"a"[..], b"", b"b"]), lists.gather_words(&WORDS));
        let none = lists.gather([]);
        assert_eq!(lists.get(names).iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(lists.get(words).iter().collect::<Vec<_>>(), [&b"necessary"[..], b"", b"fifteen letters"]);
        assert!(lists.get(none).is_empty() && lists.get(ListSpan::default()).is_empty());
        assert!(!lists.get(names).cut() && !lists.get(words).cut());
    }

    #[test]
    fn each_of_several_lists_has_its_own_bound() {
        const WORD: Word = Word::new("fifteen letters");
        let mut lists = Lists::default();
        let words = lists.gather_words(std::iter::repeat_n(&WORD, TEXT_BYTES));
        let item = [b'x'; 100];
        let items = lists.gather(std::iter::repeat_n(&item[..], 100));
        assert!(lists.get(words).cut() && lists.get(items).cut());
        assert_eq!(lists.get(words).iter().count(), TEXT_BYTES / 16);
        assert_eq!(lists.get(items).iter().count(), TEXT_BYTES / 101);
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
