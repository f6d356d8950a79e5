//! One cookie rule: what it matches and where it stands in the order of precedence.
//!
//! Never reads a file and never decides alone: [`super::catalogue`] finds the winner. Bound: [`MAX_PATTERN`] bytes of
//! pattern.

use std::borrow::Cow;

use super::Category;

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

impl Rule {
    /// The pattern without its sign.
    #[must_use]
    pub fn text(&self) -> &str {
        self.pattern.get(1..).unwrap_or_default()
    }

    /// Whether the rule matches a name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        if self.nocase {
            self.matches_folded(name)
        } else {
            matches(self.shape, self.text().as_bytes(), name)
        }
    }

    /// Its place in the order of precedence: the smallest wins. Who speaks, exact before prefix, longer before shorter.
    pub(super) fn rank(&self) -> u32 {
        let brevity = MAX_PATTERN.saturating_sub(self.text().len());
        ((self.tier as u32) << 24) | ((self.shape as u32) << 16) | u32::try_from(brevity).unwrap_or(0)
    }

    fn matches_folded(&self, name: &[u8]) -> bool {
        matches(self.shape, self.text().to_ascii_lowercase().as_bytes(), &name.to_ascii_lowercase())
    }

    /// Whether every name that it hits is hit by the other, too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let text = self.text().as_bytes();
        match (self.shape, other.shape) {
            (Shape::Exact, _) => other.matches(text),
            (Shape::Prefix, Shape::Prefix) => other.matches(text),
            _ => false,
        }
    }

    /// Whether some name could be hit by both rules, as far as the patterns tell. A prefix may always be continued to
    /// end in some suffix; there only a pattern that itself ends so counts.
    pub(super) fn overlaps(&self, protected: &Self) -> bool {
        let fold = self.nocase || protected.nocase;
        let (ours, theirs) = (folded(self.text(), fold), folded(protected.text(), fold));
        let (ours, theirs) = (&*ours, &*theirs);
        match (self.shape, protected.shape) {
            (Shape::Exact | Shape::Suffix, shape) => matches(shape, theirs.as_bytes(), ours.as_bytes()),
            (Shape::Prefix, Shape::Exact) => theirs.starts_with(ours),
            (Shape::Prefix, Shape::Prefix) => theirs.starts_with(ours) || ours.starts_with(theirs),
            (Shape::Prefix, Shape::Suffix) => ours.ends_with(theirs),
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

    pub(super) fn from_label(label: &str) -> Option<Self> {
        [Self::Ocd, Self::Vendor, Self::Field, Self::Operator].into_iter().find(|s| s.label() == label)
    }
}

fn matches(shape: Shape, text: &[u8], name: &[u8]) -> bool {
    match shape {
        Shape::Exact => name == text,
        Shape::Prefix => name.starts_with(text),
        Shape::Suffix => name.ends_with(text),
    }
}

fn folded(text: &str, fold: bool) -> Cow<'_, str> {
    if fold { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
}
