//! The request's `Cookie` fields as pairs, each with its class, in one pass.
//!
//! A field is split at every `;`, never at `,`, and quotes mean nothing: a name can only stand where some reader looks
//! for one. Pairs borrow from the fields; nothing is decoded and no byte changes. Never decides what passes. Bound: the
//! size of the head, which the caller limits; a pair needs two bytes of it, and sixteen pairs need no allocation.
//!
//! # Which name is looked up
//!
//! Sites read cookies in many ways, so the look-up is wider than RFC 6265: blanks of every kind around the name (control
//! bytes, no-break space) and `=` before it are passed over, as some readers do; a piece without `=` is looked up
//! whole. What stands *inside* a piece, after a comma, a blank or a closing quote, belongs to the value: a reader that
//! finds a name there reads bytes of another cookie, which the browser stored under a name that may pass.

use std::fmt;

use memchr::memchr;
use smallvec::SmallVec;

use super::Category;
use super::catalogue::{Catalogue, Class, Named};
use super::find::semicolon;

/// The cookies of one request, in order, over all `Cookie` fields.
pub struct RequestCookies<'a> {
    cookies: SmallVec<[Cookie<'a>; INLINE]>,
    fields: usize,
    bytes: usize,
}

/// One piece between two `;`, without blanks at its ends.
#[derive(Clone, Copy)]
pub struct Cookie<'a> {
    /// The field from this piece on: a run of cookies is one slice of it.
    rest: &'a [u8],
    length: usize,
    name_length: usize,
    /// What the name means.
    pub class: Class,
}

impl<'a> RequestCookies<'a> {
    /// Splits the values of all `Cookie` fields, in arrival order, and classifies every pair.
    pub fn parse(fields: impl Iterator<Item = &'a [u8]>, catalogue: &Catalogue) -> Self {
        let mut parsed = Self { cookies: SmallVec::new(), fields: 0, bytes: 0 };
        for field in fields {
            parsed.fields += 1;
            parsed.bytes += field.len();
            parsed.split(field, catalogue);
        }
        parsed
    }

    fn split(&mut self, mut rest: &'a [u8], catalogue: &Catalogue) {
        loop {
            rest = trim_start(rest);
            let Reading { name_length, length, end, class, .. } = read(rest, catalogue);
            if length > 0 {
                self.cookies.push(Cookie { rest, length, name_length, class });
            }
            rest = match rest.get(end + 1..) {
                Some(rest) => rest,
                None => break,
            };
        }
    }

    /// The cookies in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Cookie<'a>> {
        self.cookies.iter()
    }

    /// The cookie at a position.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Cookie<'a>> {
        self.cookies.get(index)
    }

    /// The values of every copy of a name (bytes equal), in order.
    pub fn values_of<'s>(&'s self, name: &'s [u8]) -> impl Iterator<Item = &'a [u8]> + 's {
        self.cookies.iter().filter(move |cookie| cookie.name() == name).map(Cookie::value)
    }

    /// How many cookies there are; empty pieces do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cookies.len()
    }

    /// Whether there is no cookie.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// How many `Cookie` fields came.
    #[must_use]
    pub const fn field_count(&self) -> usize {
        self.fields
    }

    /// Bytes of all fields' values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<'s, 'a> IntoIterator for &'s RequestCookies<'a> {
    type Item = &'s Cookie<'a>;
    type IntoIter = std::slice::Iter<'s, Cookie<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> Cookie<'a> {
    /// The piece without blanks at the ends: what is forwarded.
    #[must_use]
    #[inline]
    pub fn raw(&self) -> &'a [u8] {
        &self.rest[..self.length]
    }

    /// Up to the first `=`, without blanks at the ends; the whole piece if there is no `=`. May be empty.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        &self.rest[..self.name_length]
    }

    /// After the first `=`, without blanks at the ends; empty if there is no `=`. Quotes are part of it.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        // Between the name and the `=` are blanks only.
        let behind = self.raw()[self.name_length..].splitn(2, |&byte| byte == b'=').nth(1);
        trim_start(behind.unwrap_or_default())
    }

    /// Whether the piece has a `=` with something before it: only then can the browser be told to forget it by name.
    #[must_use]
    #[inline]
    pub fn is_named(&self) -> bool {
        is_named(self.name_length, self.length)
    }

    /// The field from this cookie on.
    #[inline]
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The first bytes of `begun` up to this cookie's end, if it stands there right behind so many bytes and one
    /// [`SEPARATOR`].
    #[inline]
    pub(super) fn behind(&self, begun: &'a [u8], length: usize) -> Option<&'a [u8]> {
        let there = begun.get(length..)?.strip_prefix(SEPARATOR)?;
        // The same place, not equal bytes in another one.
        std::ptr::eq(there, self.rest).then(|| &begun[..length + SEPARATOR.len() + self.length])
    }
}

/// Counts only: names and values are the visitor's.
impl fmt::Debug for RequestCookies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestCookies({} in {} fields, {} bytes)", self.len(), self.fields, self.bytes)
    }
}

/// The class only: the name and value are the visitor's.
impl fmt::Debug for Cookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookie").field("class", &self.class).finish_non_exhaustive()
    }
}

/// What a piece says.
pub(super) struct Reading<'a> {
    /// The length of the name, without blanks at its end.
    pub(super) name_length: usize,
    /// The length of the piece, without blanks at its end.
    pub(super) length: usize,
    /// Where the `;` stands that ends it, or the length of the field.
    pub(super) end: usize,
    /// The name that was looked up: see the module's documentation.
    pub(super) key: &'a [u8],
    pub(super) class: Class,
}

impl Reading<'_> {
    /// As [`Cookie::is_named`].
    pub(super) const fn is_named(&self) -> bool {
        is_named(self.name_length, self.length)
    }
}

/// The name ends before the piece does where a `=` follows it.
#[inline]
const fn is_named(name_length: usize, length: usize) -> bool {
    name_length > 0 && length > name_length
}

/// Reads the piece at the beginning of `rest`, before which blanks are trimmed. Inline always: it is the body of the loop
/// over the cookies.
#[inline(always)]
pub(super) fn read<'a>(rest: &'a [u8], catalogue: &Catalogue) -> Reading<'a> {
    let Named { length: name_end, class, is_plain } = catalogue.read_name(rest);
    let (name, behind) = rest.split_at(name_end);
    let end = name_end + semicolon(behind);
    let raw = trim_end(&rest[..end]);
    if is_plain {
        Reading { name_length: name_end, length: raw.len(), end, key: name, class }
    } else {
        let (key, class) = look_up_odd(raw, catalogue);
        Reading { name_length: trim_end(name).len(), length: raw.len(), end, key, class }
    }
}

/// The name by which the filters know a cookie of this name: see the module's documentation. Not for the request path.
#[must_use]
pub fn known_as<'a>(name: &'a [u8], catalogue: &Catalogue) -> &'a [u8] {
    let rest = trim_start(name);
    let Reading { key, class, length, .. } = read(rest, catalogue);
    if catalogue.classify(key) == class { key } else { odd_names(&rest[..length]).1 }
}

/// Without SP and HTAB at both ends.
#[inline]
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// The key and class of a piece that readers take differently. A reader that trims less may see another name than one
/// that trims more (`_gcl_x_optout` and a no-break space): the graver class counts.
#[cold]
fn look_up_odd<'a>(raw: &'a [u8], catalogue: &Catalogue) -> (&'a [u8], Class) {
    let (key, untrimmed) = odd_names(raw);
    let (class, other) = (catalogue.classify(key), catalogue.classify(untrimmed));
    (key, if gravity(other) > gravity(class) { other } else { class })
}

/// The name of a piece to a reader that trims much at its end, and to one that trims little.
fn odd_names(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = raw;
    loop {
        rest = match rest {
            [0..=0x20 | 0x7F | b'=' | 0x85 | 0xA0, tail @ ..] | [0xC2, 0x85 | 0xA0, tail @ ..] => tail,
            _ => break,
        };
    }
    // SP and HTAB are trimmed by every reader.
    let untrimmed = trim_end(memchr(b'=', rest).map_or(rest, |at| &rest[..at]));
    (trim_wide_end(untrimmed), untrimmed)
}

/// How likely a class is to be stripped.
const fn gravity(class: Class) -> u8 {
    match class.category {
        Category::Unknown => 0,
        _ if class.protected => 1,
        Category::Necessary | Category::Security => 2,
        Category::Functional => 3,
        Category::Analytics => 4,
        Category::Advertising => 5,
    }
}

/// Without whatever some language calls blank, at the end.
fn trim_wide_end(mut key: &[u8]) -> &[u8] {
    loop {
        key = match key {
            [head @ .., 0..=0x20 | 0x7F] | [head @ .., 0xC2, 0x85 | 0xA0] => head,
            _ => {
                let run = key.iter().rev().take_while(|&&byte| matches!(byte, 0x85 | 0xA0)).count();
                let head = &key[..key.len() - run];
                // After a byte that is not ASCII they end a letter, as in a name of Cyrillic ones.
                if run == 0 || head.last().is_some_and(|byte| !byte.is_ascii()) {
                    return key;
                }
                head
            }
        };
    }
}

/// Without SP and HTAB at the beginning.
#[inline]
pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    bytes
}

#[inline]
fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// SP or HTAB; one comparison for the bytes that are not.
#[inline]
const fn is_blank(byte: u8) -> bool {
    byte <= b' ' && (byte == b' ' || byte == b'\t')
}

/// What stands between two cookies that a browser sends.
pub(super) const SEPARATOR: &[u8] = b"; ";

/// Cookies of one request that need no allocation.
const INLINE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(fields: &[&'a [u8]], catalogue: &Catalogue) -> RequestCookies<'a> {
        RequestCookies::parse(fields.iter().copied(), catalogue)
    }

    #[test]
    fn splits_at_semicolons_only_and_trims_blanks() {
        let catalogue = Catalogue::builtin();
        let cookies = parse(&[b" a = 1 ;b=\"x,y=z\";;\t; c;=d", b"e=\xFF; a=2"], &catalogue);
        let pairs: Vec<(&[u8], &[u8])> = cookies.iter().map(|c| (c.name(), c.value())).collect();
        let expected: [(&[u8], &[u8]); 6] =
            [(b"a", b"1"), (b"b", b"\"x,y=z\""), (b"c", b""), (b"", b"d"), (b"e", b"\xFF"), (b"a", b"2")];
        assert_eq!(pairs, expected);
        assert_eq!((cookies.len(), cookies.field_count(), cookies.bytes()), (6, 2, 34));
        assert_eq!(cookies.values_of(b"a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(cookies.iter().next().map(Cookie::raw), Some(b"a = 1".as_slice()));
    }

    #[test]
    fn looks_a_name_up_as_the_most_tolerant_reader_would() {
        let catalogue = Catalogue::builtin();
        let odd: [&[u8]; 13] = [
            b"_fbp=1",
            b"\t_fbp =1",
            b"\x0b_fbp=1",
            b"_fbp\x0c=1",
            b"\xA0_fbp=1",
            b"_fbp\xA0=1",
            b"_fbp\xC2\xA0=1",
            b"=_fbp=1",
            b"= =_fbp",
            b"_fbp",
            b"\xC2\x85_fbp\x7F= 1",
            b"==_fbp=",
            b"\0_fbp=",
        ];
        for piece in odd {
            let cookies = parse(&[piece], &catalogue);
            let classes: Vec<Category> = cookies.iter().map(|c| c.class.category).collect();
            assert_eq!(classes, [Category::Advertising], "{}", piece.escape_ascii());
        }
    }

    #[test]
    fn other_names_stay_other_names() {
        let catalogue = Catalogue::builtin();
        for piece in [
            b"_FBP=1".as_slice(),
            b"x_fbp=1",
            b"_fbp_=1",
            b"a=_fbp=1",
            b"\"_fbp\"=1",
            b"%5ffbp=1",
            b"\xC3\xA0_fbp=1",
        ] {
            let cookies = parse(&[piece], &catalogue);
            let classes: Vec<Category> = cookies.iter().map(|c| c.class.category).collect();
            assert_eq!(classes, [Category::Unknown], "{}", piece.escape_ascii());
        }
    }

    #[test]
    fn a_letter_that_ends_like_a_blank_is_a_letter() {
        let rules = "rules = [{ match = \"=успех\", category = \"advertising\" }, { match = \"=СССР\", category = \"advertising\" }]";
        let catalogue = Catalogue::with_operator(rules).expect("valid");
        let cookies = parse(&["успех=1; СССР=2; СССР\u{a0}=3".as_bytes()], &catalogue);
        assert!(cookies.iter().all(|c| c.class.category == Category::Advertising));
    }

    #[test]
    fn where_readers_see_two_names_the_graver_class_counts() {
        let catalogue = Catalogue::builtin();
        let cookies = parse(&[b"_gcl_x_optout\t =1; _gcl_x_optout\xA0=2; PHPSESSID\xA0=3"], &catalogue);
        let protected: Vec<bool> = cookies.iter().map(|c| c.class.protected).collect();
        assert_eq!(protected, [true, false, true]);
    }

    #[test]
    fn a_name_is_known_as_the_one_that_gave_its_class() {
        let catalogue = Catalogue::builtin();
        let names: [(&[u8], &[u8]); 7] = [
            (b"_fbp", b"_fbp"),
            (b"=_fbp", b"_fbp"),
            (b"_fbp ", b"_fbp"),
            (b"\xA0_fbp\xA0", b"_fbp"),
            (b"_gcl_x_optout\xA0", b"_gcl_x_optout\xA0"),
            (b"PHPSESSID\xA0", b"PHPSESSID"),
            (b"", b""),
        ];
        for (name, known) in names {
            assert_eq!(known_as(name, &catalogue), known, "{}", name.escape_ascii());
            let piece = [name, b"=1"].concat();
            let class = parse(&[&piece], &catalogue).iter().next().map(|cookie| cookie.class);
            assert_eq!(class, Some(catalogue.classify(known)), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn debug_shows_no_name_and_no_value() {
        let catalogue = Catalogue::builtin();
        let cookies = parse(&[b"secretname=secretvalue"], &catalogue);
        let shown = format!("{cookies:?} {:?}", cookies.iter().collect::<Vec<_>>());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn sixteen_cookies_need_no_allocation_and_more_still_work() {
        let catalogue = Catalogue::builtin();
        let field = b"a=b;".repeat(INLINE);
        assert!(!parse(&[&field], &catalogue).cookies.spilled());
        let field = b"a;".repeat(32 * 1024);
        assert_eq!(parse(&[&field], &catalogue).len(), 32 * 1024);
    }
}
