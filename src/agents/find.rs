//! One text, one answer.
//!
//! Crawlers are looked for by all tokens of the table at once; among those that are found the one that stands first in
//! the table counts. Pure. Bound: [`TEXT_BYTES`] of the text are looked at.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::family::{browser, device, system};
use super::table::{CRAWLERS, Category};

/// How much of a text is looked at.
pub(super) const TEXT_BYTES: usize = 1024;

/// What a user agent says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// The browser or program.
    pub family: Option<&'static str>,
    /// Its major version.
    pub major: Option<u64>,
    /// The system it runs on.
    pub os: Option<&'static str>,
    /// Its major version.
    pub os_major: Option<u64>,
    /// `desktop`, `mobile`, `tablet`, `tv`, `console` or `bot`.
    pub device: Option<&'static str>,
    /// The crawler or program, if it is not a person's browser.
    pub bot: Option<Bot>,
}

/// A program that is not a person's browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bot {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub category: Category,
    /// The token by which it was found.
    pub rule: &'static str,
}

/// What the text says.
#[must_use]
pub fn parse(text: &[u8]) -> Agent {
    let text = text[..text.len().min(TEXT_BYTES)].to_ascii_lowercase();
    let (browser, os) = (browser(&text), system(&text));
    let bot = bot(&text).or_else(|| nameless(&text, browser.is_some()));
    let device = if bot.is_some() { Some("bot") } else { device(&text, os) };
    Agent {
        family: browser.map(|b| b.0),
        major: browser.and_then(|b| b.1),
        os: os.map(|o| o.0),
        os_major: os.and_then(|o| o.1),
        device,
        bot,
    }
}

/// Compiles the table now, so that no text pays for it.
pub(super) fn prepare() {
    LazyLock::force(&TOKENS);
}

fn bot(text: &[u8]) -> Option<Bot> {
    let tokens = TOKENS.as_ref()?;
    let mut first = usize::MAX;
    let mut at = 0;
    while let Some(found) = tokens.any.find_at(text, at) {
        if let Some(place) = tokens.places.get(found.as_bytes())
            && CRAWLERS[*place].fits(text, found.range())
        {
            first = first.min(*place);
        }
        // A token may lie within another: `bot/` in `googlebot/`.
        at = found.start() + 1;
    }
    let crawler = CRAWLERS.get(first)?;
    Some(Bot { name: crawler.name, category: crawler.category, rule: crawler.token })
}

/// A program without a known token: it does not write what every browser begins with, or claims compatibility without
/// being one.
fn nameless(text: &[u8], browser: bool) -> Option<Bot> {
    let begins = text.starts_with(b"mozilla/") || text.starts_with(b"opera/");
    let rule = if browser {
        return None;
    } else if !begins {
        "no browser's beginning"
    } else if memchr::memmem::find(text, b"(compatible").is_some() {
        "compatible without a browser"
    } else {
        return None;
    };
    Some(Bot { name: "program", category: Category::Other, rule })
}

struct Tokens {
    any: Regex,
    places: HashMap<&'static [u8], usize>,
}

/// `None` only if the table were no expression, which a test rules out.
static TOKENS: LazyLock<Option<Tokens>> = LazyLock::new(|| {
    // At one place the longest must win, or `bot` would hide `bot.html`.
    let mut tokens: Vec<&'static str> = CRAWLERS.iter().map(|c| c.token).collect();
    tokens.sort_unstable_by_key(|token| std::cmp::Reverse(token.len()));
    let pattern: Vec<String> = tokens.iter().map(|token| regex::escape(token)).collect();
    let any = regex::bytes::RegexBuilder::new(&pattern.join("|")).unicode(false).build().ok()?;
    let places = CRAWLERS.iter().enumerate().map(|(place, c)| (c.token.as_bytes(), place)).collect();
    Some(Tokens { any, places })
});
