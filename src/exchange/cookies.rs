//! What the cookie steps leave for the record and for the answer: names and categories, and values of listed cookies only.
//!
//! All lists of a request lie in one buffer. Decides nothing. Bound: six lists of [`crate::record::wire::TEXT_BYTES`].

use crate::cookies::parse::{Cookie, RequestCookies};
use crate::cookies::request::Outcome;
use crate::cookies::{Action, Category, CookiePolicy};
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
    values: ListSpan,
    /// Names that the site was not allowed to set.
    pub blocked: ListBuf,
    /// Bytes of the browser's `Cookie` fields.
    pub bytes: u64,
}

impl CookieFacts {
    /// What is noted of the cookies of a request and of what became of them. `listed` are the names whose values are.
    #[must_use]
    pub fn of(
        carried: &RequestCookies<'_>,
        filtered: &Outcome,
        policy: &CookiePolicy,
        listed: &[String],
    ) -> Self {
        let mut lists = Lists::default();
        let names = lists.gather(carried.iter().map(recorded_name));
        let categories = lists.gather_words(carried.iter().map(|cookie| word(cookie.class.category)));
        let hidden = || filtered.stripped().filter_map(|index| carried.get(index));
        let stripped = lists.gather(hidden().map(recorded_name));
        // Where only what can be chosen is stripped, which is usual, the two lists are one.
        let expire =
            if hidden().all(is_expirable) { stripped } else { lists.gather(filtered.to_expire(carried)) };
        // A category passes as a whole or not at all.
        let passes = |category: Category| {
            policy.actions.get(category) == Action::Consent
                && filtered.counts.kept(category) > 0
                && filtered.counts.stripped(category) == 0
        };
        let passed = if Category::ALL.into_iter().any(|category| category.is_chosen() && passes(category)) {
            let of_consent =
                carried.iter().filter(|cookie| is_expirable(cookie) && passes(cookie.class.category));
            lists.gather(of_consent.map(Cookie::name))
        } else {
            ListSpan::default()
        };
        let values = if listed.is_empty() {
            ListSpan::default()
        } else {
            let went = |index| !filtered.stripped().any(|stripped| stripped == index);
            let kept = carried
                .iter()
                .enumerate()
                .filter(|(index, cookie)| is_listed(cookie, listed) && went(*index));
            lists.gather(kept.map(|(_, cookie)| cookie.raw()))
        };
        let bytes = carried.bytes() as u64;
        Self { lists, names, categories, stripped, expire, passed, values, blocked: ListBuf::new(), bytes }
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

    /// Listed cookies that went to the site, with their values.
    #[must_use]
    pub fn values(&self) -> List<'_> {
        self.lists.get(self.values)
    }

    /// Names of cookies that the request carried and that the browser should not hold.
    #[must_use]
    pub fn expire(&self) -> List<'_> {
        self.lists.get(self.expire)
    }

    /// Names of cookies that the request carried and that passed by consent.
    #[must_use]
    pub fn passed(&self) -> List<'_> {
        self.lists.get(self.passed)
    }
}

/// The name of a cookie as it may be recorded: a piece without `=` is a value that lacks a name, so nothing of it.
fn recorded_name<'a>(cookie: &Cookie<'a>) -> &'a [u8] {
    if cookie.is_named() { cookie.name() } else { b"" }
}

/// Whether the value of a cookie may be recorded. The configuration's check has refused bad names; the operator's rules
/// may say more than the built-in ones did.
fn is_listed(cookie: &Cookie<'_>, listed: &[String]) -> bool {
    let bad = cookie.class.protected || cookie.class.category == Category::Advertising;
    !bad && cookie.is_named() && listed.iter().any(|name| name.as_bytes() == cookie.name())
}

/// Whether the browser can be told to forget it once it may not pass.
fn is_expirable(cookie: &Cookie<'_>) -> bool {
    cookie.class.category.is_chosen() && !cookie.class.protected && cookie.is_named()
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
