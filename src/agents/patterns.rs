//! Many patterns, compiled under limits, and which of them a text matches.
//!
//! A pattern is run only when a text holds what each of its matches holds, which one look for all texts tells. The
//! engine's running time is linear in the text, and its working memory is that of one pattern at a time: so a file or a
//! text made to cost much costs at most the limits. Never backtracks. Bounds: [`PROGRAM_BYTES`] and
//! [`CACHE_BYTES`] for each pattern, [`ALL_BYTES`] for all of them, [`MOST_PATTERNS`], [`PATTERN_BYTES`].

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use regex_automata::Input;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::captures::Captures;
use regex_syntax::hir::Hir;

use super::literals::required;

/// Most patterns of one set.
pub(super) const MOST_PATTERNS: usize = 10_000;
/// Longest pattern in bytes.
pub(super) const PATTERN_BYTES: usize = 2048;
/// Compiled size of one pattern in bytes.
pub(super) const PROGRAM_BYTES: usize = 256 << 10;
/// Working memory of one pattern in bytes.
pub(super) const CACHE_BYTES: usize = 512 << 10;
/// Compiled size of a set in bytes.
pub(super) const ALL_BYTES: usize = 64 << 20;

/// Why a pattern is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It says what this engine does not do (look-around, back-references), or nothing.
    Syntax,
    /// It is longer or larger than one pattern may be.
    Large,
}

/// The set is larger than a set may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Patterns being gathered.
pub(super) struct Builder {
    patterns: Vec<Regex>,
    /// Which patterns wait for a text.
    waiting: HashMap<Vec<u8>, Vec<u32>>,
    always: Vec<u32>,
    bytes: usize,
}

/// A set of patterns.
pub(super) struct Patterns {
    patterns: Vec<Regex>,
    texts: AhoCorasick,
    /// Which patterns wait for each text.
    waiting: Vec<Vec<u32>>,
    always: Vec<u32>,
    bytes: usize,
}

/// Lists of a search, used again for the next. One for each thread.
#[derive(Default)]
pub(super) struct Scratch {
    candidates: Vec<u32>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { patterns: Vec::new(), waiting: HashMap::new(), always: Vec::new(), bytes: 0 }
    }

    /// Parses a pattern. ASCII classes, as those who write such files mean them; Unicode only where it must be.
    pub(super) fn parse(pattern: &str, any_case: bool) -> Result<Hir, Unusable> {
        if pattern.len() > PATTERN_BYTES {
            return Err(Unusable::Large);
        }
        let parse = |unicode| {
            let mut builder = regex_syntax::ParserBuilder::new();
            builder.unicode(unicode).utf8(false).case_insensitive(any_case).nest_limit(NESTING);
            builder.build().parse(pattern).ok()
        };
        parse(false).or_else(|| parse(true)).ok_or(Unusable::Syntax)
    }

    /// Adds a pattern; its number. One that cannot be used takes no number.
    pub(super) fn push(&mut self, hir: &Hir) -> Result<Result<usize, Unusable>, Full> {
        let compiled = match Regex::builder().configure(config()).build_from_hir(hir) {
            Ok(compiled) => compiled,
            Err(error) => return Ok(Err(unusable(&error))),
        };
        self.bytes += compiled.memory_usage();
        let number = self.patterns.len();
        let Ok(short) = u32::try_from(number) else { return Err(Full) };
        if self.bytes > ALL_BYTES || number >= MOST_PATTERNS {
            return Err(Full);
        }
        self.patterns.push(compiled);
        match required(hir) {
            Some(texts) => {
                texts.into_iter().for_each(|text| self.waiting.entry(text).or_default().push(short));
            }
            None => self.always.push(short),
        }
        Ok(Ok(number))
    }

    /// The set.
    pub(super) fn build(self) -> Result<Patterns, Full> {
        let (texts, waiting): (Vec<Vec<u8>>, Vec<Vec<u32>>) = self.waiting.into_iter().unzip();
        let texts = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(texts)
            .map_err(|_| Full)?;
        let bytes = self.bytes + texts.memory_usage();
        Ok(Patterns { patterns: self.patterns, texts, waiting, always: self.always, bytes })
    }
}

impl Patterns {
    /// What they take in memory.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first pattern that matches, in their order. `go_on` is asked before each one that is run.
    ///
    /// # Errors
    /// [`GivenUp`] when `go_on` says no before one has matched.
    pub(super) fn first(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<usize>, GivenUp> {
        let Scratch { candidates } = scratch;
        candidates.clear();
        candidates.extend(&self.always);
        for found in self.texts.find_overlapping_iter(text) {
            candidates.extend(&self.waiting[found.pattern().as_usize()]);
            if candidates.len() > 2 * self.patterns.len() {
                candidates.sort_unstable();
                candidates.dedup();
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        for &number in &*candidates {
            if !go_on() {
                return Err(GivenUp);
            }
            let Some(pattern) = self.patterns.get(number as usize) else { continue };
            // Made anew and given back: what a pattern needs while it runs is not kept for each of thousands.
            if pattern.is_match_with(&mut pattern.create_cache(), &Input::new(text)) {
                return Ok(Some(number as usize));
            }
        }
        Ok(None)
    }

    /// What the groups of a pattern match.
    pub(super) fn groups(&self, number: usize, text: &[u8]) -> Option<Captures> {
        let pattern = self.patterns.get(number)?;
        let mut captures = pattern.create_captures();
        pattern.search_captures_with(&mut pattern.create_cache(), &Input::new(text), &mut captures);
        captures.is_match().then_some(captures)
    }
}

/// A search took longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp;

fn config() -> Config {
    Regex::config()
        .utf8_empty(false)
        .nfa_size_limit(Some(PROGRAM_BYTES))
        .onepass_size_limit(Some(PROGRAM_BYTES))
        .hybrid_cache_capacity(CACHE_BYTES)
}

fn unusable(error: &BuildError) -> Unusable {
    if error.size_limit().is_some() { Unusable::Large } else { Unusable::Syntax }
}

/// Depth to which a pattern may be nested.
const NESTING: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(patterns: &[&str]) -> Patterns {
        let mut builder = Builder::new();
        for pattern in patterns {
            builder.push(&Builder::parse(pattern, false).unwrap()).unwrap().unwrap();
        }
        builder.build().unwrap()
    }

    fn first(set: &Patterns, text: &[u8]) -> Option<usize> {
        set.first(text, &mut Scratch::default(), &mut || true).unwrap()
    }

    #[test]
    fn a_pattern_that_is_too_large_or_not_understood_is_told_from_the_others() {
        let large = "(a{1000}){1000}";
        let mut builder = Builder::new();
        assert_eq!(builder.push(&Builder::parse(large, false).unwrap()), Ok(Err(Unusable::Large)));
        assert_eq!(Builder::parse("(?<!x)y", false), Err(Unusable::Syntax));
        assert_eq!(Builder::parse(r"(a)\1", false), Err(Unusable::Syntax));
        assert_eq!(Builder::parse(&"(".repeat(500), false), Err(Unusable::Syntax));
        assert_eq!(Builder::parse(&"a".repeat(PATTERN_BYTES + 1), false), Err(Unusable::Large));
        assert_eq!(builder.push(&Builder::parse("fine", false).unwrap()), Ok(Ok(0)));
    }

    #[test]
    fn a_set_takes_no_more_than_it_may() {
        // Each about as large as a pattern may be.
        let each = |n: usize| format!("{n}[ab]{{1,900}}c");
        let mut builder = Builder::new();
        let filled = (0..MOST_PATTERNS).find_map(|n| {
            let hir = Builder::parse(&each(n), false).unwrap();
            builder.push(&hir).err().map(|Full| n)
        });
        assert!(filled.is_some_and(|n| n > 10), "{filled:?}");
        let mut builder = Builder::new();
        let hir = Builder::parse("x", false).unwrap();
        assert_eq!((0..=MOST_PATTERNS).find(|_| builder.push(&hir).is_err()), Some(MOST_PATTERNS));
    }

    #[test]
    fn a_search_ends_when_it_is_told_to() {
        let set = set(&["abc.1", "abc.2", "abc.3"]);
        let mut asked = 0;
        let mut go_on = || {
            asked += 1;
            asked <= 2
        };
        assert_eq!(set.first(b"abc abc9", &mut Scratch::default(), &mut go_on), Err(GivenUp));
    }

    #[test]
    fn the_working_memory_of_a_pattern_stays_small() {
        let pattern = "x[ab]{1,200}[^c]*abc(a|b)*7";
        let set = set(&[pattern]);
        let mut cache = set.patterns[0].create_cache();
        let mut state = 1_u64;
        for _ in 0..500 {
            let text: Vec<u8> = (0..1024)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"xabc7 "[(state >> 33) as usize % 6]
                })
                .collect();
            set.patterns[0].is_match_with(&mut cache, &Input::new(&text));
            // Two lazy automata, one for each direction, and what the search without one needs.
            assert!(cache.memory_usage() <= 4 * CACHE_BYTES, "{}", cache.memory_usage());
        }
    }

    proptest! {
        #[test]
        fn the_look_for_texts_passes_over_no_match(
            patterns in prop::collection::vec("(abc|ABC|b|c|\\.|\\.\\*|\\(ab\\|abcd\\)|\\(\\?i\\)ab|\\[aA\\]|x\\{0,2\\}|\\(bca\\)\\+|\\?:)?([a-c]{1,4}|\\.\\*abc|\\[bB\\]ca\\|abc)", 1..8),
            text in "[abcABCx.]{0,24}",
        ) {
            let mut builder = Builder::new();
            for pattern in &patterns {
                if let Ok(hir) = Builder::parse(pattern, false) {
                    let _ = builder.push(&hir);
                }
            }
            let set = builder.build().unwrap();
            let plain = set.patterns.iter().position(|pattern| pattern.is_match(text.as_bytes()));
            prop_assert_eq!(first(&set, text.as_bytes()), plain, "{:?} {:?}", patterns, text);
        }

        #[test]
        fn no_pattern_and_no_text_panics(pattern in "\\PC{0,40}", text: Vec<u8>) {
            let mut builder = Builder::new();
            if let Ok(hir) = Builder::parse(&pattern, true) {
                let _ = builder.push(&hir);
            }
            let set = builder.build().unwrap();
            if let Some(number) = first(&set, &text) {
                prop_assert!(set.groups(number, &text).is_some());
            }
        }
    }
}
