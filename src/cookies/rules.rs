//! Cookie rules as they are written: TOML text becomes checked [`Rule`]s, or all mistakes at once.
//!
//! The built-in file and the operator's have one format. Never compiles and never looks anything up. Bounds:
//! [`MAX_RULES`] rules of the operator, [`MAX_PATTERN`] bytes each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::Category;
use super::catalogue::{RESERVED_PREFIX, VISITOR_COOKIE};
use super::rule::{MAX_PATTERN, Rule, Shape, Source, Tier};

/// Rules in the operator's file.
pub const MAX_RULES: usize = 10_000;

/// A mistake in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// The operator's text and the built-in one as checked rules: the visitor cookie first, then any order. `consent` are
/// patterns of further never-strip names.
///
/// # Errors
/// Every mistake, in the order of the text.
pub(super) fn read(operator: &str, consent: &[String]) -> Result<Vec<Rule>, Vec<RuleProblem>> {
    let mut rules = own();
    let mut problems = Vec::new();
    let builtin: BuiltInFile = parse(BUILT_IN, &mut problems);
    collect(BUILT_IN, builtin.never_strip, Tier::NeverStrip, &mut rules, &mut problems);
    let configured: Vec<Rule> = consent.iter().map(|pattern| consent_cookie(pattern)).collect();
    // What the list has already keeps its own words.
    rules.extend(
        configured
            .into_iter()
            .filter(|rule| !rules.iter().any(|known| rule.is_within(known)))
            .collect::<Vec<_>>(),
    );
    let sacred = rules.clone();
    collect(BUILT_IN, builtin.rules, Tier::BuiltIn, &mut rules, &mut problems);
    let file: OperatorFile = parse(operator, &mut problems);
    if file.rules.len() > MAX_RULES {
        let message = format!("{} rules; at most {MAX_RULES} are possible", file.rules.len());
        return Err(vec![RuleProblem { line: 1, column: 1, message, hint: "use prefixes".to_owned() }]);
    }
    collect(operator, file.rules, Tier::Operator, &mut rules, &mut problems);
    check_never_strip(&rules, &sacred, &mut problems);
    check_conflicts(&rules, &mut problems);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BuiltInFile {
    never_strip: Vec<Wire>,
    rules: Vec<Wire>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct OperatorFile {
    #[serde(default)]
    rules: Vec<Wire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    category: Spanned<String>,
    #[serde(default)]
    owner: String,
    source: Option<Spanned<String>>,
    #[serde(default)]
    nocase: bool,
    #[serde(default)]
    force: bool,
    purpose: Option<String>,
}

fn own() -> Vec<Rule> {
    let rule = |sign: char, shape, text: &[u8], category| Rule {
        pattern: format!("{sign}{}", String::from_utf8_lossy(text)),
        shape,
        category,
        owner: "Kelisim".to_owned(),
        source: Source::Own,
        nocase: false,
        purpose: None,
        tier: Tier::Reserved,
        line: 0,
        column: 0,
    };
    vec![
        rule('=', Shape::Exact, VISITOR_COOKIE, Category::Security),
        rule('^', Shape::Prefix, RESERVED_PREFIX, Category::Necessary),
    ]
}

/// The never-strip rule of a consent cookie that the configuration names.
fn consent_cookie(pattern: &str) -> Rule {
    Rule {
        pattern: pattern.to_owned(),
        shape: if pattern.starts_with('^') { Shape::Prefix } else { Shape::Exact },
        category: Category::Necessary,
        owner: "a consent cookie of the configuration".to_owned(),
        source: Source::Operator,
        nocase: false,
        purpose: None,
        tier: Tier::NeverStrip,
        line: 0,
        column: 0,
    }
}

fn parse<T: Default + serde::de::DeserializeOwned>(text: &str, problems: &mut Vec<RuleProblem>) -> T {
    toml::from_str(text).unwrap_or_else(|error: toml::de::Error| {
        problems.push(problem(text, error.span().unwrap_or(0..0), error.message(), RULE_FORMAT));
        T::default()
    })
}

fn collect(text: &str, wires: Vec<Wire>, tier: Tier, rules: &mut Vec<Rule>, problems: &mut Vec<RuleProblem>) {
    let mut lines = Lines { text, at: 0, line: 1 };
    for wire in wires {
        match check(&mut lines, wire, tier) {
            Ok(rule) => rules.push(rule),
            Err(mut found) => problems.append(&mut found),
        }
    }
}

fn check(lines: &mut Lines<'_>, wire: Wire, tier: Tier) -> Result<Rule, Vec<RuleProblem>> {
    let text = lines.text;
    let mut problems = Vec::new();
    let span = wire.pattern.span();
    let (line, column) = lines.position(span.start);
    let pattern = wire.pattern.into_inner();
    let shape = shape_of(&pattern, tier).unwrap_or_else(|(message, hint)| {
        problems.push(problem(text, span, message, hint));
        Shape::Exact
    });
    let category = Category::from_label(wire.category.get_ref()).unwrap_or_else(|| {
        let message = "there is no such category";
        problems.push(problem(text, wire.category.span(), message, CATEGORIES));
        Category::Unknown
    });
    let source = match &wire.source {
        None => Source::Operator,
        Some(written) => Source::from_label(written.get_ref()).unwrap_or_else(|| {
            let message = "there is no such source";
            problems.push(problem(text, written.span(), message, "one of: ocd, vendor, field, operator"));
            Source::Operator
        }),
    };
    let tier = if wire.force && tier == Tier::Operator { Tier::Forced } else { tier };
    let (owner, purpose, nocase) = (wire.owner, wire.purpose, wire.nocase);
    let rule = Rule { pattern, shape, category, owner, source, nocase, purpose, tier, line, column };
    if problems.is_empty() { Ok(rule) } else { Err(problems) }
}

/// What the pattern's first character says, if the rest can match a name at all.
fn shape_of(pattern: &str, tier: Tier) -> Result<Shape, (&'static str, &'static str)> {
    let shape = match pattern.as_bytes().first() {
        Some(b'=') => Shape::Exact,
        Some(b'^') => Shape::Prefix,
        Some(b'$') if tier == Tier::NeverStrip => Shape::Suffix,
        _ => {
            return Err((
                "a pattern begins with = or ^",
                "=NAME for exactly this name, ^NAME for all that begin so",
            ));
        }
    };
    let text = &pattern[1..];
    if text.is_empty() {
        Err(("the pattern is empty", "it would match no cookie or every cookie"))
    } else if text.len() > MAX_PATTERN {
        Err(("the pattern is longer than 256 bytes", "use a prefix"))
    } else if text.bytes().any(|b| b < b' ' || b == 0x7F || b == b';' || b == b'=') || text.trim() != text {
        Err((
            "no cookie name can match this pattern",
            "a name has no ; or = or control character, and no blank at its ends",
        ))
    } else {
        Ok(shape)
    }
}

fn check_never_strip(rules: &[Rule], sacred: &[Rule], problems: &mut Vec<RuleProblem>) {
    for rule in rules.iter().filter(|rule| !rule.tier.protects()) {
        let Some(hit) = sacred.iter().find(|protected| {
            rule.overlaps(protected) && !(rule.tier == Tier::Forced && protected.tier == Tier::NeverStrip)
        }) else {
            continue;
        };
        let (message, hint) = if hit.tier == Tier::Reserved {
            (format!("`{}` hits the gateway's own cookies", rule.pattern), "no rule can: remove it")
        } else {
            (
                format!("`{}` hits `{}`, which is never stripped ({})", rule.pattern, hit.pattern, hit.owner),
                FORCE,
            )
        };
        problems.push(RuleProblem { line: rule.line, column: rule.column, message, hint: hint.to_owned() });
    }
}

/// Two rules that would be equal in rank for some name must say the same.
fn check_conflicts(rules: &[Rule], problems: &mut Vec<RuleProblem>) {
    let mut seen: HashMap<(Tier, Shape, String), Vec<&Rule>> = HashMap::new();
    for rule in rules {
        match seen.entry((rule.tier, rule.shape, rule.text().to_ascii_lowercase())) {
            Entry::Vacant(entry) => {
                entry.insert(vec![rule]);
            }
            Entry::Occupied(mut entry) => {
                let both = |other: &&&Rule| rule.nocase || other.nocase || other.pattern == rule.pattern;
                if let Some(other) = entry.get().iter().filter(both).find(|o| o.category != rule.category) {
                    let message = format!(
                        "`{}` is {} here and {} on line {}",
                        rule.pattern, rule.category, other.category, other.line
                    );
                    let hint = "keep one of the two".to_owned();
                    problems.push(RuleProblem { line: rule.line, column: rule.column, message, hint });
                }
                entry.get_mut().push(rule);
            }
        }
    }
}

fn problem(text: &str, span: Range<usize>, message: &str, hint: &str) -> RuleProblem {
    let (line, column) = position(text, span.start);
    RuleProblem { line, column, message: message.to_owned(), hint: hint.to_owned() }
}

/// Line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    Lines { text, at: 0, line: 1 }.position(offset)
}

/// A place in a text. Rules come in its order, so that the way from one to the next is short: ten thousand of them would
/// have the text read ten thousand times from its beginning.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn position(&mut self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        if offset < self.at {
            (self.at, self.line) = (0, 1);
        }
        let between = &self.text.as_bytes()[self.at..offset];
        self.line += memchr::memchr_iter(b'\n', between).count();
        self.at = offset;
        let before = &self.text.as_bytes()[..offset];
        let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        (self.line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }
}

const BUILT_IN: &str = include_str!("catalogue.toml");
const CATEGORIES: &str = "one of: necessary, security, functional, analytics, advertising, unknown";
const FORCE: &str = "narrow the pattern; if stripping this cookie is really meant, say force = true";
const RULE_FORMAT: &str =
    "one rule: { match = \"=NAME\", category = \"advertising\", owner = \"…\", source = \"vendor\" }";
