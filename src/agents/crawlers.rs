//! Rules for crawlers from a `crawler-user-agents.json`.
//!
//! The first pattern that matches counts; its first tag is the category. Nothing of the text itself is taken: name and
//! rule are the pattern's. Never reads the examples, addresses and descriptions of the file. Bound: that of
//! [`super::patterns`].

use std::borrow::Cow;

use serde::Deserialize;

use super::data::{Counts, DataError};
use super::patterns::{Builder, Full, GivenUp, Patterns, Scratch};

/// Rules for crawlers.
pub(super) struct Crawlers {
    patterns: Patterns,
    says: Vec<Crawler>,
}

/// What one pattern says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crawler {
    /// A readable form of the pattern.
    pub(super) name: String,
    /// What it is for; `None` when the file does not say.
    pub(super) category: Option<String>,
    /// The pattern.
    pub(super) rule: String,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    pattern: Cow<'a, str>,
    #[serde(borrow, default)]
    tags: Vec<Cow<'a, str>>,
}

impl Crawlers {
    /// Reads and compiles a file.
    ///
    /// # Errors
    /// When it is no such file, or larger than the limits. Single rules that cannot be used are left out and counted.
    pub(super) fn read(text: &str) -> Result<(Self, Counts), DataError> {
        let list: Vec<Entry<'_>> =
            serde_json::from_str(text).map_err(|error| DataError::Form(error.to_string()))?;
        let (mut builder, mut says, mut counts) = (Builder::new(), Vec::new(), Counts::default());
        for entry in &list {
            let Ok(hir) = Builder::parse(&entry.pattern, false) else {
                counts.unusable += 1;
                continue;
            };
            match builder.push(&hir).map_err(|Full| DataError::Large)? {
                Ok(_) => says.push(Crawler::of(entry)),
                Err(_) => counts.unusable += 1,
            }
        }
        if says.is_empty() {
            return Err(DataError::Form("no pattern can be used".to_owned()));
        }
        let patterns = builder.build().map_err(|Full| DataError::Large)?;
        counts.rules = says.len();
        counts.bytes = patterns.bytes();
        Ok((Self { patterns, says }, counts))
    }

    /// The crawler of a text.
    pub(super) fn find(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<&Crawler>, GivenUp> {
        Ok(self.patterns.first(text, scratch, go_on)?.and_then(|number| self.says.get(number)))
    }
}

impl Crawler {
    fn of(entry: &Entry<'_>) -> Self {
        let is_word = |tag: &&Cow<'_, str>| {
            (1..=LONGEST_TAG).contains(&tag.len())
                && tag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let cut = |text: &str, most| text.chars().take(most).collect::<String>();
        Self {
            name: cut(&readable(&entry.pattern), LONGEST_NAME),
            category: entry.tags.iter().find(is_word).map(ToString::to_string),
            rule: cut(&entry.pattern, LONGEST_RULE),
        }
    }
}

/// A pattern as a person would say it: without anchors and escapes, of a choice of letters the first in upper case.
fn readable(pattern: &str) -> String {
    let mut name = String::new();
    let mut left = pattern.chars();
    while let Some(c) = left.next() {
        match c {
            '\\' => name.extend(left.next().filter(|c| !c.is_ascii_alphanumeric())),
            '[' => {
                let letters: Vec<char> = left.by_ref().take_while(|c| *c != ']').collect();
                let upper = letters.iter().find(|c| c.is_ascii_uppercase());
                name.extend(upper.or(letters.first()));
            }
            '^' | '$' | '(' | ')' | '?' | '*' | '+' => {}
            c => name.push(c),
        }
    }
    name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

/// Longest tag, name and rule in characters.
const LONGEST_TAG: usize = 32;
const LONGEST_NAME: usize = 48;
const LONGEST_RULE: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"[
        {"pattern": "(?<!x)y", "instances": []},
        {"pattern": "Googlebot\\/", "tags": ["search-engine", "x"], "url": "http://x", "instances": ["a"]},
        {"pattern": "[wW]get", "tags": ["Not A Word", "http-library"]},
        {"pattern": "^some bot$"}
    ]"#;

    fn found(text: &str) -> Option<(String, Option<String>, String)> {
        let (crawlers, counts) = Crawlers::read(FILE).unwrap();
        assert_eq!((counts.rules, counts.unusable), (3, 1));
        let mut scratch = Scratch::default();
        let found = crawlers.find(text.as_bytes(), &mut scratch, &mut || true).unwrap()?;
        Some((found.name.clone(), found.category.clone(), found.rule.clone()))
    }

    #[test]
    fn the_first_pattern_that_matches_names_the_crawler() {
        let of = |name: &str, category: Option<&str>, rule: &str| {
            Some((name.to_owned(), category.map(str::to_owned), rule.to_owned()))
        };
        assert_eq!(
            found("Mozilla/5.0 (compatible; Googlebot/2.1) wget"),
            of("Googlebot", Some("search-engine"), r"Googlebot\/")
        );
        assert_eq!(found("Wget/1.21"), of("Wget", Some("http-library"), "[wW]get"));
        assert_eq!(found("some bot"), of("some bot", None, "^some bot$"));
        assert_eq!(found("Firefox"), None);
    }

    #[test]
    fn a_file_of_another_sort_is_refused() {
        for bad in ["", "{}", "[]", "[{}]", r#"[{"pattern": 1}]"#, r#"[{"pattern": "(?<!x)y"}]"#] {
            assert!(matches!(Crawlers::read(bad), Err(DataError::Form(_))), "{bad}");
        }
    }
}
