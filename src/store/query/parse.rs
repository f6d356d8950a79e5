//! From text to [`Filter`], with mistakes pointed at.
//!
//! One pass over the text, no backtracking. Never guesses: an unknown field, a value that does not fit its field and
//! an operator that makes no sense are errors with a position and, where one is known, a way out. Bounds:
//! [`FILTER_BYTES`] and [`TERMS`].

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::field::{self, Quantity, quantity};
use super::filter::{FILTER_BYTES, Filter, Literal, Moment, Op, Pattern, TERMS, Term, Test};
use super::units::{parse_bytes, parse_duration, parse_time};
use crate::record::Column;

/// A mistake in a filter: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The text that was parsed.
    pub source: String,
    /// The bytes of it that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What could be written instead.
    pub hint: Option<String>,
}

/// The message, the text with carets under the mistake, and the hint.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let before = self.source.get(..self.span.start).map_or(0, |s| s.chars().count());
        let marked = self.source.get(self.span.clone()).map_or(1, |s| s.chars().count().max(1));
        writeln!(f, "{}", self.message)?;
        writeln!(f, "  {shown}")?;
        write!(f, "  {:before$}{}", "", "^".repeat(marked))?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

/// Parses a filter.
///
/// # Errors
/// The first mistake.
pub fn parse(text: &str) -> Result<Filter, ParseError> {
    let mut parser = Parser { text, at: 0 };
    parser.filter().map_err(|m| ParseError {
        source: text.to_owned(),
        span: m.span,
        message: m.message,
        hint: m.hint,
    })
}

/// A moment as `since:` takes it: a duration before now, or a time.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Moment> {
    parse_duration(text).map(Moment::Ago).or_else(|| parse_time(text).map(Moment::At))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

struct Mistake {
    span: Range<usize>,
    message: String,
    hint: Option<String>,
}

/// A value as written: its text without quotes, where it is, and whether it was quoted.
struct Word {
    text: String,
    span: Range<usize>,
    quoted: bool,
}

impl Parser<'_> {
    fn filter(&mut self) -> Result<Filter, Mistake> {
        if self.text.len() > FILTER_BYTES {
            return Err(mistake(0..0, format!("the filter is longer than {FILTER_BYTES} bytes"), None));
        }
        let mut filter = Filter::default();
        let mut parts = 0;
        loop {
            let spaces = self.rest().len() - self.rest().trim_start().len();
            self.at += spaces;
            if self.rest().is_empty() {
                return Ok(filter);
            }
            let start = self.at;
            let term = self.term()?;
            parts += if let Test::Compare(_, _, values) = &term.test { values.len() } else { 1 };
            if parts > TERMS {
                return Err(mistake(start..self.at, format!("more than {TERMS} values"), None));
            }
            filter.terms.push(term);
        }
    }

    fn term(&mut self) -> Result<Term, Mistake> {
        let negated = self.rest().starts_with('-');
        self.at += usize::from(negated);
        let name = self.name()?;
        let op = self.operator(&name)?;
        let written = &self.text[name.clone()];
        if written == "since" || written == "until" {
            return self.bound(negated, name, op);
        }
        let column = field::resolve(written).ok_or_else(|| unknown_field(written, name.clone()))?;
        let words = self.words(op)?;
        let test = match &words[..] {
            [only] if op == Op::Has && !only.quoted && only.text == "*" => Test::Present(column),
            [_, extra, ..] if matches!(op, Op::Greater | Op::AtLeast | Op::Less | Op::AtMost) => {
                let message = format!("`{}` compares with one value", op.symbol());
                return Err(mistake(extra.span.clone(), message, None));
            }
            _ => {
                let values: Result<Vec<_>, _> = words.iter().map(|word| literal(column, op, word)).collect();
                Test::Compare(column, op, values?)
            }
        };
        Ok(Term { negated, test })
    }

    /// `since:` and `until:`.
    fn bound(&mut self, negated: bool, name: Range<usize>, op: Op) -> Result<Term, Mistake> {
        let since = &self.text[name.clone()] == "since";
        if !matches!(op, Op::Has | Op::Equal) {
            let hint = Some(format!("write {}:2h or {0}:2026-11-22T10:00", &self.text[name.clone()]));
            return Err(mistake(name.start..self.at, "a bound in time takes `:`".to_owned(), hint));
        }
        let word = self.word(op)?;
        let moment = parse_moment(&word.text).ok_or_else(|| not_a(&word, "time", TIME_HINT))?;
        Ok(Term { negated, test: if since { Test::Since(moment) } else { Test::Until(moment) } })
    }

    fn name(&mut self) -> Result<Range<usize>, Mistake> {
        let start = self.at;
        let len = self
            .rest()
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
            .unwrap_or(self.rest().len());
        if len == 0 {
            let end = start + self.rest().chars().next().map_or(0, char::len_utf8);
            let hint = Some("a term is a field, an operator and a value, as in status>=500".to_owned());
            return Err(mistake(start..end, "a field name is missing here".to_owned(), hint));
        }
        self.at += len;
        Ok(start..self.at)
    }

    fn operator(&mut self, name: &Range<usize>) -> Result<Op, Mistake> {
        let Some((symbol, op)) = OPERATORS.iter().find(|(symbol, _)| self.rest().starts_with(symbol)) else {
            let message = format!("`{}` is not followed by an operator", &self.text[name.clone()]);
            let hint = "write field=value; put the filter between single quotes when it has > or < or spaces";
            return Err(mistake(name.clone(), message, Some(hint.to_owned())));
        };
        self.at += symbol.len();
        Ok(*op)
    }

    fn words(&mut self, op: Op) -> Result<Vec<Word>, Mistake> {
        let mut words = vec![self.word(op)?];
        // A comma belongs to the expression, as in a{1,2}.
        while !matches!(op, Op::Matches | Op::MatchesNot) && self.rest().starts_with(',') {
            self.at += 1;
            words.push(self.word(op)?);
        }
        Ok(words)
    }

    fn word(&mut self, op: Op) -> Result<Word, Mistake> {
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let start = self.at;
        let pattern = matches!(op, Op::Matches | Op::MatchesNot);
        let ends = |c: char| c.is_whitespace() || (!pattern && matches!(c, ',' | '"'));
        self.at += self.rest().find(ends).unwrap_or(self.rest().len());
        if self.rest().starts_with('"') {
            let hint = Some("put the whole value between double quotes".to_owned());
            return Err(mistake(self.at..self.at + 1, "a quote inside a word".to_owned(), hint));
        }
        if self.at == start {
            let hint = Some("write \"\" for the empty text".to_owned());
            return Err(mistake(start..start, "a value is missing here".to_owned(), hint));
        }
        Ok(Word { text: self.text[start..self.at].to_owned(), span: start..self.at, quoted: false })
    }

    fn quoted(&mut self) -> Result<Word, Mistake> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        let mut end = None;
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(start + i + 1);
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    // So that `\d` in a quoted expression needs no doubling.
                    Some((_, other)) => text.extend(['\\', other]),
                    None => {}
                },
                c => text.push(c),
            }
        }
        let Some(end) = end else {
            return Err(mistake(start..start + 1, "this quote is not closed".to_owned(), None));
        };
        self.at = end;
        if !self.rest().is_empty() && !self.rest().starts_with(|c: char| c.is_whitespace() || c == ',') {
            return Err(mistake(end..end, "a space is missing after the quote".to_owned(), None));
        }
        Ok(Word { text, span: start..end, quoted: true })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }
}

/// The value in the column's own terms.
fn literal(column: &'static Column, op: Op, word: &Word) -> Result<Literal, Mistake> {
    let kind = quantity(column);
    if matches!(op, Op::Matches | Op::MatchesNot) {
        if !matches!(kind, Quantity::Text | Quantity::List) {
            return Err(unfit(column, op, word));
        }
        return Pattern::new(&word.text).map(Literal::Pattern).map_err(|error| {
            let hint = error.to_string().lines().last().map(|l| l.trim_start_matches("error: ").to_owned());
            mistake(word.span.clone(), "this regular expression cannot be used".to_owned(), hint)
        });
    }
    let ordered = matches!(op, Op::Greater | Op::AtLeast | Op::Less | Op::AtMost);
    if ordered && !matches!(kind, Quantity::Count | Quantity::Bytes | Quantity::Duration | Quantity::Time) {
        return Err(unfit(column, op, word));
    }
    let text = &word.text;
    match kind {
        Quantity::Text if op == Op::Has && field::holds_networks(column) => {
            coarse(text).map(Literal::Net).ok_or_else(|| {
                not_a(word, "address or network", "as in 10.0.0.0/8; for a part of the text use ~")
            })
        }
        Quantity::Text | Quantity::List => Ok(Literal::Text(text.clone())),
        Quantity::Count => {
            text.parse().map(Literal::Number).map_err(|_| not_a(word, "number", "digits only, as in 404"))
        }
        Quantity::Bytes => {
            parse_bytes(text).map(Literal::Number).ok_or_else(|| not_a(word, "number of bytes", BYTES_HINT))
        }
        Quantity::Duration => parse_duration(text)
            .map(|d| Literal::Number(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
            .ok_or_else(|| not_a(word, "duration", "a number with us, ms, s, m, h or d, as in 200ms")),
        Quantity::Time => parse_moment(text).map(Literal::Time).ok_or_else(|| not_a(word, "time", TIME_HINT)),
        Quantity::Flag => match text.as_str() {
            "true" | "yes" | "1" => Ok(Literal::Flag(true)),
            "false" | "no" | "0" => Ok(Literal::Flag(false)),
            _ => Err(not_a(word, "yes or no", "write true or false")),
        },
        Quantity::Address => network(text)
            .map(Literal::Net)
            .ok_or_else(|| not_a(word, "address or network", "as in 10.0.0.0/8")),
    }
}

/// A network or a single address, with the host bits cleared and mapped IPv4 as IPv4.
fn network(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    let mapped = net.addr().to_canonical();
    let bits = net.prefix_len().checked_sub(MAPPED_BITS).filter(|_| mapped != net.addr());
    bits.map_or(Some(net), |bits| IpNet::new(mapped, bits).ok()).map(|net| net.trunc())
}

/// The same as columns of networks hold it: nothing finer than a /24 or /48.
fn coarse(text: &str) -> Option<IpNet> {
    let net = network(text)?;
    let finest = if net.addr().is_ipv4() { 24 } else { 48 };
    IpNet::new(net.addr(), net.prefix_len().min(finest)).ok().map(|net| net.trunc())
}

fn mistake(span: Range<usize>, message: String, hint: Option<String>) -> Mistake {
    Mistake { span, message, hint }
}

fn not_a(word: &Word, what: &str, hint: &str) -> Mistake {
    mistake(word.span.clone(), format!("this is no {what}"), Some(hint.to_owned()))
}

fn unfit(column: &Column, op: Op, word: &Word) -> Mistake {
    let allowed = match quantity(column) {
        Quantity::Text | Quantity::List => "= != ~ !~ :",
        Quantity::Flag | Quantity::Address => "= != :",
        _ => "= != > >= < <=",
    };
    let message = format!("`{}` does not go with {}", op.symbol(), column.name);
    mistake(word.span.clone(), message, Some(format!("{} takes {allowed}", column.name)))
}

fn unknown_field(name: &str, span: Range<usize>) -> Mistake {
    let hint = match field::suggest(name) {
        Some(near) => format!("did you mean {near}?"),
        None => "`kelisim logs fields` lists the fields".to_owned(),
    };
    mistake(span, format!("there is no field `{name}`"), Some(hint))
}

/// Longer symbols before their prefixes.
const OPERATORS: [(&str, Op); 9] = [
    ("!=", Op::NotEqual),
    ("!~", Op::MatchesNot),
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    ("=", Op::Equal),
    (">", Op::Greater),
    ("<", Op::Less),
    ("~", Op::Matches),
    (":", Op::Has),
];

/// Bits before an IPv4 address in its mapped form.
const MAPPED_BITS: u8 = 96;

const TIME_HINT: &str =
    "a duration before now as in 2h, or a time as in 2026-11-22 or 2026-11-22T10:00 (UTC)";
const BYTES_HINT: &str = "a number, or one with kB, KiB, MB, MiB as in 1.5MiB";

#[cfg(test)]
mod tests;
