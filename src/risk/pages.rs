//! How many different pages one address asks for.
//!
//! Who copies a site asks for page after page, faster than people read. Only `GET` and `HEAD` count, and only what people
//! open: files that a page pulls in by itself are known by their extension. Never looks at a header, which the client
//! could write as it likes; keeps no path. Lives in a map of its own, so that ordinary visitors, all of whom open pages,
//! push nobody's login counters out. Bound: the bytes given to [`Pages::with_bytes`]; while it is full of addresses that
//! are busy, newcomers are not judged.

use http::Method;

use super::bounded::BoundedMap;
use super::leaky::Distinct;
use super::memory::Tick;
use super::signal::Level;

/// The pages of all addresses. Keys are keyed hashes.
#[derive(Clone)]
pub(super) struct Pages(BoundedMap<Distinct>);

impl Pages {
    pub(super) fn with_bytes(bytes: usize) -> Self {
        Self(BoundedMap::with_bytes(bytes))
    }

    /// Counts a page, if the request asks for one (its keyed hash), and judges the address.
    pub(super) fn observe(&mut self, key: u64, page: Option<u64>, now: Tick) -> Level {
        let level = match page {
            Some(page) => {
                // An empty bucket knows nothing any more, so its place can be taken.
                let empty = |pages: &Distinct| pages.is_empty(now, LEAK);
                let pages = self.0.get_or_replace(key, empty, Distinct::default);
                pages.map(|pages| pages.add(page, now, LEAK))
            }
            None => self.0.get_mut(key).map(|pages| pages.drip(now, LEAK)),
        };
        if level.is_some_and(|level| level > PAGES) { Level::Medium } else { Level::None }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// Whether a request asks for a page. `path` is raw and without its query.
pub(super) fn is_page(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && !is_static(path)
}

/// One look at the last segment, from its end: nearly every request comes here.
fn is_static(path: &str) -> bool {
    let path = path.as_bytes();
    let (mut end, mut dot) = (path.len(), None);
    for (at, byte) in path.iter().enumerate().rev() {
        match byte {
            b'/' => break,
            // A session id behind a semicolon is no part of the name.
            b';' => (end, dot) = (at, None),
            b'.' if dot.is_none() => dot = Some(at),
            _ => {}
        }
    }
    dot.is_some_and(|dot| {
        STATIC.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(&path[dot + 1..end]))
    })
}

/// Extensions of files that one page asks for by the dozen without anybody's doing. Whoever hides pages behind these names
/// is not counted; documents (pdf, json, xml, txt) are what is copied, so they count.
#[rustfmt::skip] // one kind per line reads as the table it is
const STATIC: &[&str] = &[
    "css", "js", "mjs", "map", "wasm", "webmanifest",
    "png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "ico", "bmp",
    "woff", "woff2", "ttf", "otf", "eot",
    "mp4", "m4s", "webm", "mp3", "m4a", "ogg",
];
/// Different pages in the bucket of an address (CrowdSec).
const PAGES: f32 = 40.0;
/// Seconds until one leaks out (CrowdSec).
const LEAK: f32 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tick = 1_000_000;

    /// Each page has a hash of its own among 256.
    fn open(pages: &mut Pages, key: u64, from: u64, to: u64, now: Tick) -> Level {
        (from..to).map(|page| pages.observe(key, Some(page), now)).last().unwrap_or_default()
    }

    #[test]
    fn more_than_forty_pages_at_once_are_medium() {
        let mut pages = Pages::with_bytes(1 << 16);
        assert_eq!(open(&mut pages, 1, 0, 40, T), Level::None);
        assert_eq!(pages.observe(1, Some(7), T), Level::None, "one of them again");
        assert_eq!(pages.observe(1, Some(40), T), Level::Medium);
        assert_eq!(pages.observe(1, None, T), Level::Medium, "whatever is asked for then");
        assert_eq!(pages.observe(2, Some(0), T), Level::None, "another address");
        assert_eq!(pages.observe(1, None, T + 1), Level::None, "two have leaked out");
    }

    #[test]
    fn a_page_a_second_is_never_too_fast() {
        let mut pages = Pages::with_bytes(1 << 16);
        for second in 0..1000 {
            assert_eq!(pages.observe(1, Some(u64::from(second) % 256), T + second), Level::None);
        }
    }

    #[test]
    fn who_opens_no_page_takes_no_room() {
        let mut pages = Pages::with_bytes(1 << 16);
        (0..100).for_each(|key| _ = pages.observe(key, None, T));
        assert_eq!(pages.len(), 0);
    }

    #[test]
    fn a_full_map_judges_no_newcomer_until_a_bucket_is_empty() {
        let mut pages = Pages::with_bytes(1500);
        let capacity = pages.capacity() as u64;
        assert!(capacity > 8);
        (0..capacity).for_each(|key| _ = pages.observe(key, Some(1), T));
        assert_eq!(open(&mut pages, 999, 0, 200, T), Level::None, "there is no room");
        assert_eq!(pages.len() as u64, capacity);
        assert_eq!(open(&mut pages, 999, 0, 41, T + 1), Level::Medium, "in an empty one's place");
        assert_eq!(pages.len() as u64, capacity);
    }

    #[test]
    fn the_entry_of_an_address_is_small() {
        assert_eq!(size_of::<Distinct>(), 40);
    }

    #[test]
    fn only_what_people_open_is_a_page() {
        for page in
            ["/", "/a", "/a.html", "/price.list", "/report.pdf", "/a.css/", "/a.", "/.css/x", "/page;x.css"]
        {
            assert!(is_page(&Method::GET, page) && is_page(&Method::HEAD, page), "{page}");
            assert!(!is_page(&Method::POST, page), "{page}");
        }
        for file in
            ["/a.css", "/A.PNG", "/d/x.min.js", "/f.woff2", "/.css", "/s.css;jsessionid=1.html", "a.ico"]
        {
            assert!(!is_page(&Method::GET, file), "{file}");
        }
    }

    #[test]
    fn the_table_is_in_lower_case_and_names_each_once() {
        let distinct: std::collections::HashSet<_> = STATIC.iter().collect();
        assert_eq!(distinct.len(), STATIC.len());
        assert!(STATIC.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())));
    }
}
