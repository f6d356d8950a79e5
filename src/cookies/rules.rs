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

/// Rules in the operator's file.
pub const MAX_RULES: usize = 10_000;

/// Bytes of one pattern.
pub const MAX_PATTERN: usize = 256;

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As written: `=` exact, `^` prefix, `$` suffix, then the text.
    pub pattern: String,
    /// What the first character of the pattern says.
    pub shape: Shape,
    /// What the cookie is for.
    pub category: Category,
    /// Whose cookie it is.
    pub owner: String,
    /// How we know.
    pub source: Source,
    /// Whether upper and lower case are the same.
    pub nocase: bool,
    /// Another purpose than the category's usual one, such as `affiliate-contract`.
    pub purpose: Option<String>,
    /// Where it stands in the order of precedence.
    pub tier: Tier,
    /// Line in the file that it came from, from 1; 0 for the gateway's own names.
    pub line: usize,
    /// Column of the pattern in that line, from 1.
    pub column: usize,
}

/// How a pattern is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// The whole name.
    Exact,
    /// The beginning of the name.
    Prefix,
    /// The end of the name; never-strip list only.
    Suffix,
}

/// Who speaks. The order is the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// The gateway's own names.
    Reserved,
    /// The operator, with `force = true`.
    Forced,
    /// The never-strip list.
    NeverStrip,
    /// The operator.
    Operator,
    /// The built-in catalogue.
    BuiltIn,
}

/// How we know what a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Open Cookie Database says so.
    Ocd,
    /// Its owner documents it.
    Vendor,
    /// Seen in real traffic; the purpose is common knowledge.
    Field,
    /// The operator says so.
    Operator,
    /// It is the gateway's own.
    Own,
}

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

/// The operator's text and the built-in one as checked rules: the visitor cookie first, then any order.
///
/// # Errors
/// Every mistake, in the order of the text.
pub(super) fn read(operator: &str) -> Result<Vec<Rule>, Vec<RuleProblem>> {
    let mut rules = own();
    let mut problems = Vec::new();
    let builtin: BuiltInFile = parse(BUILT_IN, &mut problems);
    collect(BUILT_IN, builtin.never_strip, Tier::NeverStrip, &mut rules, &mut problems);
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

impl Rule {
    /// The pattern without its sign.
    #[must_use]
    pub fn text(&self) -> &str {
        self.pattern.get(1..).unwrap_or_default()
    }

    /// Whether the rule matches a name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        if self.nocase { self.matches_folded(name) } else { matches(self.shape, self.text().as_bytes(), name) }
    }

    /// Its place in the order of precedence: the smallest wins. Who speaks, exact before prefix, longer before shorter.
    pub(super) fn rank(&self) -> u32 {
        let brevity = MAX_PATTERN.saturating_sub(self.text().len());
        ((self.tier as u32) << 24) | ((self.shape as u32) << 16) | u32::try_from(brevity).unwrap_or(0)
    }

    fn matches_folded(&self, name: &[u8]) -> bool {
        matches(self.shape, self.text().to_ascii_lowercase().as_bytes(), &name.to_ascii_lowercase())
    }

    /// Whether some name could be hit by both rules, as far as the patterns tell. A prefix may always be continued to
    /// end in some suffix; there only a pattern that itself ends so counts.
    fn overlaps(&self, protected: &Self) -> bool {
        let fold = self.nocase || protected.nocase;
        let text = |rule: &Self| if fold { rule.text().to_ascii_lowercase() } else { rule.text().to_owned() };
        let (ours, theirs) = (text(self), text(protected));
        match (self.shape, protected.shape) {
            (Shape::Exact | Shape::Suffix, shape) => matches(shape, theirs.as_bytes(), ours.as_bytes()),
            (Shape::Prefix, Shape::Exact) => theirs.starts_with(&ours),
            (Shape::Prefix, Shape::Prefix) => theirs.starts_with(&ours) || ours.starts_with(&theirs),
            (Shape::Prefix, Shape::Suffix) => ours.ends_with(&theirs),
        }
    }
}

impl Tier {
    /// Whether names of this tier pass in every state.
    #[must_use]
    pub const fn protects(self) -> bool {
        matches!(self, Self::Reserved | Self::NeverStrip)
    }

    /// Whether the rule is from the operator's file.
    #[must_use]
    pub const fn is_operator(self) -> bool {
        matches!(self, Self::Forced | Self::Operator)
    }

    /// The name used in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Forced => "operator, forced",
            Self::NeverStrip => "never-strip",
            Self::Operator => "operator",
            Self::BuiltIn => "built-in",
        }
    }
}

impl Source {
    /// The name used in rule files and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ocd => "ocd",
            Self::Vendor => "vendor",
            Self::Field => "field",
            Self::Operator => "operator",
            Self::Own => "own",
        }
    }

    fn from_label(label: &str) -> Option<Self> {
        [Self::Ocd, Self::Vendor, Self::Field, Self::Operator].into_iter().find(|s| s.label() == label)
    }
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

fn parse<T: Default + serde::de::DeserializeOwned>(text: &str, problems: &mut Vec<RuleProblem>) -> T {
    toml::from_str(text).unwrap_or_else(|error: toml::de::Error| {
        problems.push(problem(text, error.span().unwrap_or(0..0), error.message(), RULE_FORMAT));
        T::default()
    })
}

fn collect(text: &str, wires: Vec<Wire>, tier: Tier, rules: &mut Vec<Rule>, problems: &mut Vec<RuleProblem>) {
    for wire in wires {
        match check(text, wire, tier) {
            Ok(rule) => rules.push(rule),
            Err(mut found) => problems.append(&mut found),
        }
    }
}

fn check(text: &str, wire: Wire, tier: Tier) -> Result<Rule, Vec<RuleProblem>> {
    let mut problems = Vec::new();
    let span = wire.pattern.span();
    let (line, column) = position(text, span.start);
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
        _ => return Err(("a pattern begins with = or ^", "=NAME for exactly this name, ^NAME for all that begin so")),
    };
    let text = &pattern[1..];
    if text.is_empty() {
        Err(("the pattern is empty", "it would match no cookie or every cookie"))
    } else if text.len() > MAX_PATTERN {
        Err(("the pattern is longer than 256 bytes", "use a prefix"))
    } else if text.bytes().any(|b| b < b' ' || b == 0x7F || b == b';' || b == b'=') || text.trim() != text {
        Err(("no cookie name can match this pattern", "a name has no ; or = or control character, and no blank at its ends"))
    } else {
        Ok(shape)
    }
}

fn matches(shape: Shape, text: &[u8], name: &[u8]) -> bool {
    match shape {
        Shape::Exact => name == text,
        Shape::Prefix => name.starts_with(text),
        Shape::Suffix => name.ends_with(text),
    }
}

fn check_never_strip(rules: &[Rule], sacred: &[Rule], problems: &mut Vec<RuleProblem>) {
    for rule in rules.iter().filter(|rule| !rule.tier.protects()) {
        let Some(hit) = sacred.iter().find(|protected| rule.overlaps(protected) && !(rule.tier == Tier::Forced && protected.tier == Tier::NeverStrip)) else { continue };
        let (message, hint) = if hit.tier == Tier::Reserved {
            (format!("`{}` hits the gateway's own cookies", rule.pattern), "no rule can: remove it")
        } else {
            (format!("`{}` hits `{}`, which is never stripped ({})", rule.pattern, hit.pattern, hit.owner), FORCE)
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
                    let message = format!("`{}` is {} here and {} on line {}", rule.pattern, rule.category, other.category, other.line);
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
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

const BUILT_IN: &str = include_str!("catalogue.toml");
const CATEGORIES: &str = "one of: necessary, security, functional, analytics, advertising, unknown";
const FORCE: &str = "narrow the pattern; if stripping this cookie is really meant, say force = true";
const RULE_FORMAT: &str = "one rule: { match = \"=NAME\", category = \"advertising\", owner = \"…\", source = \"vendor\" }";
