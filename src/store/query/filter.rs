//! The filter language: `status>=500 path~^/api bot=ai-crawler -ip:10.0.0.0/8 since:2h`.
//!
//! ```text
//! filter = { term }                       all terms must hold
//! term   = ["-"] field op value {"," value}   one of the values; "-" turns the term round
//!        | ("since" | "until") ":" time       arrived then or later; before then
//! op     = "=" | "!=" | ">" | ">=" | "<" | "<=" | "~" | "!~" | ":"
//! value  = word | '"' text '"'            in quotes \" and \\ stand for themselves
//! ```
//!
//! `=` is the same value (for an address: in that network), `:` is contains (text, lists), in that network (`net`) or the
//! same value, `~` is a regular expression, `field:*` is present. `!=` is `-…=`: it also holds where the field is absent.
//!
//! [`Filter`]'s `Display` is the language again and parses back to the same filter. Never reads a record. Bounds:
//! [`FILTER_BYTES`], [`TERMS`], [`PATTERN_BYTES`].

use std::fmt::{self, Display as _};
use std::time::Duration;

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::field::{Quantity, quantity};
use super::units::{exact_bytes, exact_duration};
use crate::clock::Timestamp;
use crate::record::{Class, Column};

/// Longest filter, in bytes.
pub const FILTER_BYTES: usize = 8 * 1024;
/// Most terms and values in one filter.
pub const TERMS: usize = 256;
/// Most memory that one compiled regular expression may take, in bytes.
pub const PATTERN_BYTES: usize = 1 << 20;

/// A conjunction of terms; the empty filter matches every record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub(super) terms: Vec<Term>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Whether the condition must not hold.
    pub(super) negated: bool,
    pub(super) test: Test,
}

/// What a term asks.
#[derive(Clone, Debug)]
pub enum Test {
    /// The field compared with any of the values.
    Compare(&'static Column, Op, Vec<Literal>),
    /// The field is there.
    Present(&'static Column),
    /// Arrived at that time or later.
    Since(Moment),
    /// Arrived before that time.
    Until(Moment),
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `:`
    Has,
}

/// A value to compare with; its kind fits the column's.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A number, a number of bytes or a duration in microseconds.
    Number(u64),
    /// Text, an item of a list.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A network; a single address is a /32 or /128.
    Net(IpNet),
    /// A time.
    Time(Moment),
    /// A regular expression.
    Pattern(Pattern),
}

/// A time, given or relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// That time.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

/// A compiled regular expression; equal when the sources are.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Filter {
    /// Every column that the filter looks at.
    pub fn columns(&self) -> impl Iterator<Item = &'static Column> + '_ {
        self.terms.iter().filter_map(|term| term.test.column())
    }

    /// Adds a term that must also hold.
    pub fn and(&mut self, test: Test) {
        self.terms.push(Term { negated: false, test });
    }

    /// The filter as a condition for `WHERE`; see [`super::where_clause`].
    #[must_use]
    pub fn to_sql(&self) -> String {
        super::where_clause::write(self)
    }

    /// The filter as the query of a URL; see [`super::url`].
    #[must_use]
    pub fn to_url(&self) -> String {
        super::url::write(self)
    }

    /// The filter in its language, with `hash` of the column's name and the value in the place of every value of a
    /// sealed column: what may stand in the audit log.
    #[must_use]
    pub fn redacted(&self, hash: &dyn Fn(&str, &str) -> String) -> String {
        let terms: Vec<String> = self.terms.iter().map(|term| term.redacted(hash)).collect();
        terms.join(" ")
    }

    /// The times between which a matching record lies: the first included, the second not.
    #[must_use]
    pub fn range(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let mut range = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
        for term in &self.terms {
            match (&term.test, term.negated) {
                (Test::Since(moment), false) | (Test::Until(moment), true) => {
                    range.0 = range.0.max(moment.at(now));
                }
                (Test::Until(moment), false) | (Test::Since(moment), true) => {
                    range.1 = range.1.min(moment.at(now));
                }
                _ => {}
            }
        }
        range
    }
}

impl Term {
    fn redacted(&self, hash: &dyn Fn(&str, &str) -> String) -> String {
        match &self.test {
            Test::Compare(column, op, values) if column.class != Class::Clear => {
                let values: Vec<String> = values
                    .iter()
                    .map(|value| hash(column.name, &Written(column, value).to_string()))
                    .collect();
                let minus = if self.negated { "-" } else { "" };
                format!("{minus}{}{}{}", column.name, op.symbol(), values.join(","))
            }
            _ => self.to_string(),
        }
    }
}

/// A value as it is written.
struct Written<'a>(&'a Column, &'a Literal);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_literal(f, self.0, self.1)
    }
}

impl Test {
    /// The column that is looked at; `None` for `since` and `until`.
    #[must_use]
    pub fn column(&self) -> Option<&'static Column> {
        match self {
            Self::Compare(column, ..) | Self::Present(column) => Some(column),
            Self::Since(_) | Self::Until(_) => None,
        }
    }
}

impl Op {
    /// The operator as it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Matches => "~",
            Self::MatchesNot => "!~",
            Self::Has => ":",
        }
    }
}

impl Moment {
    /// The time, given what time it is.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.minus(span),
        }
    }
}

impl Pattern {
    /// Compiles an expression over bytes. It takes time linear in the text it is tried on.
    ///
    /// # Errors
    /// When the syntax is wrong or the program exceeds [`PATTERN_BYTES`].
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(source).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build().map(Self)
    }

    /// Whether the expression matches anywhere in the bytes.
    #[must_use]
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// The expression as it was given.
    #[must_use]
    pub fn source(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Compare(a, op, values), Self::Compare(b, op_b, values_b)) => {
                a.id == b.id && op == op_b && values == values_b
            }
            (Self::Present(a), Self::Present(b)) => a.id == b.id,
            (Self::Since(a), Self::Since(b)) | (Self::Until(a), Self::Until(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("-")?;
        }
        match &self.test {
            Test::Present(column) => write!(f, "{}:*", column.name),
            Test::Since(moment) => write!(f, "since:{moment}"),
            Test::Until(moment) => write!(f, "until:{moment}"),
            Test::Compare(column, op, values) => {
                write!(f, "{}{}", column.name, op.symbol())?;
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    write_literal(f, column, value)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => time.fmt(f),
            Self::Ago(span) => f.write_str(&exact_duration(*span)),
        }
    }
}

fn write_literal(f: &mut fmt::Formatter<'_>, column: &Column, value: &Literal) -> fmt::Result {
    match value {
        Literal::Number(n) => match quantity(column) {
            Quantity::Duration => f.write_str(&exact_duration(Duration::from_micros(*n))),
            Quantity::Bytes => f.write_str(&exact_bytes(*n)),
            _ => n.fmt(f),
        },
        Literal::Text(text) => write_word(f, text, needs_quotes(text)),
        Literal::Flag(flag) => flag.fmt(f),
        Literal::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
        Literal::Net(net) => net.fmt(f),
        Literal::Time(moment) => moment.fmt(f),
        Literal::Pattern(pattern) => {
            let source = pattern.0.as_str();
            let quoted = source.is_empty() || source.starts_with('"') || source.contains(char::is_whitespace);
            write_word(f, source, quoted)
        }
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text == "*" || text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | ','))
}

fn write_word(f: &mut fmt::Formatter<'_>, text: &str, quoted: bool) -> fmt::Result {
    if !quoted {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}

#[cfg(test)]
pub(super) mod tests;
