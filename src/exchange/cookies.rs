//! What the cookie steps leave for the record and for the answer: names and categories, never a value.
//!
//! All lists of a request lie in one buffer. Decides nothing. Bound: five lists of [`crate::record::wire::TEXT_BYTES`].

use crate::cookies::Category;
use crate::cookies::parse::{Cookie, RequestCookies};
use crate::cookies::request::Outcome;
use crate::record::{List, ListBuf, ListSpan, Lists, Word};

/// What the cookie steps did.
#[derive(Debug, Default)]
pub struct CookieFacts {
    lists: Lists,
    names: ListSpan,
    categories: ListSpan,
    stripped: ListSpan,
    expire: ListSpan,
    passed: ListSpan,
    /// Names that the site was not allowed to set.
    pub blocked: ListBuf,
    /// Bytes of the browser's `Cookie` fields.
    pub bytes: u64,
}

impl CookieFacts {
    /// What is noted of the cookies of a request and of what became of them.
    #[must_use]
    pub fn of(carried: &RequestCookies<'_>, filtered: &Outcome) -> Self {
        let mut lists = Lists::default();
        let names = lists.gather(carried.iter().map(recorded_name));
        let categories = lists.gather_words(carried.iter().map(|cookie| word(cookie.class.category)));
        let hidden = || filtered.stripped().filter_map(|index| carried.get(index));
        let stripped = lists.gather(hidden().map(recorded_name));
        // Where only advertising is stripped, which is usual, the two lists are one.
        let expire =
            if hidden().all(is_advertising) { stripped } else { lists.gather(filtered.to_expire(carried)) };
        let passed = if lists.get(expire).is_empty() {
            lists.gather(carried.iter().filter(|cookie| is_advertising(cookie)).map(Cookie::name))
        } else {
            ListSpan::default()
        };
        let bytes = carried.bytes() as u64;
        Self { lists, names, categories, stripped, expire, passed, blocked: ListBuf::new(), bytes }
    }

    /// Names that the browser sent.
    #[must_use]
    pub fn names(&self) -> List<'_> {
        self.lists.get(self.names)
    }

    /// Their categories.
    #[must_use]
    pub fn categories(&self) -> List<'_> {
        self.lists.get(self.categories)
    }

    /// Names kept from the site.
    #[must_use]
    pub fn stripped(&self) -> List<'_> {
        self.lists.get(self.stripped)
    }

    /// Names of advertising cookies that the request carried and that the browser should not hold.
    #[must_use]
    pub fn expire(&self) -> List<'_> {
        self.lists.get(self.expire)
    }

    /// Names of all advertising cookies that the request carried, if they were allowed to pass.
    #[must_use]
    pub fn passed(&self) -> List<'_> {
        self.lists.get(self.passed)
    }
}

/// The name of a cookie as it may be recorded: a piece without `=` is a value that lacks a name, so nothing of it.
fn recorded_name<'a>(cookie: &Cookie<'a>) -> &'a [u8] {
    if cookie.is_named() { cookie.name() } else { b"" }
}

fn is_advertising(cookie: &Cookie<'_>) -> bool {
    cookie.class.category == Category::Advertising && !cookie.class.protected && cookie.is_named()
}

/// The label of a category as it stands in a list.
fn word(category: Category) -> &'static Word {
    static WORDS: [Word; Category::ALL.len()] = {
        let mut words = [Word::new(""); Category::ALL.len()];
        let mut i = 0;
        while i < words.len() {
            words[i] = Word::new(Category::ALL[i].label());
            i += 1;
        }
        words
    };
    &WORDS[category as usize]
}
