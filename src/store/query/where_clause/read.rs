//! The other way: from a condition to the filter.
//!
//! Descends through the grammar once. Knows what [`super::write`] writes, with any white space and any case of names
//! and keywords; everything else is an error with its place. Never guesses. Bound: the filter's.

use std::fmt;
use std::time::Duration;

use super::super::field::{Quantity, holds_networks, quantity};
use super::super::filter::{FILTER_BYTES, Filter, Literal, Moment, Op, Pattern, TERMS, Term, Test};
use super::super::units::parse_time;
use super::{CAPITALS, SMALL, TERM_BYTES};
use crate::record::Column;

/// A condition that is no filter: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The byte at which it is wrong.
    pub at: usize,
    /// What could stand there.
    pub expected: &'static str,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this condition is no filter: {} expected at character {}", self.expected, self.at + 1)
    }
}

impl std::error::Error for SqlError {}

/// The filter of a condition, as [`Filter::to_sql`] writes it.
///
/// # Errors
/// When it is another condition.
pub fn from_sql(sql: &str) -> Result<Filter, SqlError> {
    let mut reader = Reader { text: sql, at: 0 };
    if sql.len() > FILTER_BYTES * 2 + TERMS * TERM_BYTES {
        return Err(reader.expected("a shorter condition"));
    }
    let mut filter = Filter::default();
    if reader.word("true") {
        reader.end()?;
        return Ok(filter);
    }
    loop {
        filter.terms.push(reader.term()?);
        if filter.terms.len() > TERMS {
            return Err(reader.expected("fewer terms"));
        }
        if !reader.word("AND") {
            reader.end()?;
            return Ok(filter);
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

type Read<T> = Result<T, SqlError>;

impl<'t> Reader<'t> {
    fn term(&mut self) -> Read<Term> {
        if !self.word("NOT") {
            return Ok(Term { negated: false, test: self.test()? });
        }
        self.need_word("coalesce")?;
        self.need("(")?;
        let test = self.test()?;
        self.need(",")?;
        self.need_word("false")?;
        self.need(")")?;
        Ok(Term { negated: true, test })
    }

    fn test(&mut self) -> Read<Test> {
        let start = self.at;
        if self.sign("(") {
            let first = self.one_text()?;
            return self.more_texts(first).and_then(|test| self.need(")").map(|()| test));
        }
        if let Some(test) = self.bound()? {
            return Ok(test);
        }
        for (function, listed) in [("in_networks", true), ("list_contains", false), ("list_has_any", true)] {
            if self.word(function) {
                self.need("(")?;
                let column = self.column()?;
                self.need(",")?;
                let nets = function == "in_networks";
                let values = match (nets, listed) {
                    (true, _) => self.list("[", "]", Self::net)?,
                    (_, true) => self.literals(column, "[", "]")?,
                    _ => vec![self.literal(column)?],
                };
                self.need(")")?;
                if nets && holds_networks(column) {
                    return Ok(Test::Compare(column, Op::Has, values));
                }
                let fits = match quantity(column) {
                    Quantity::Address => nets,
                    Quantity::List => function != "in_networks",
                    _ => false,
                };
                return if fits {
                    Ok(Test::Compare(column, Op::Equal, values))
                } else {
                    Err(self.expected("a list"))
                };
            }
        }
        self.at = start;
        if ["contains", "regexp_matches", "len"].into_iter().any(|name| self.word(name)) {
            self.at = start;
            let (column, op, value) = self.one_text()?;
            return Ok(Test::Compare(column, op, vec![value]));
        }
        self.comparison()
    }

    /// `coalesce(start_ts, ts) >= time`.
    fn bound(&mut self) -> Read<Option<Test>> {
        if !self.word("coalesce") {
            return Ok(None);
        }
        self.need("(")?;
        self.need_word("start_ts")?;
        self.need(",")?;
        self.need_word("ts")?;
        self.need(")")?;
        if self.sign(">=") {
            return self.time().map(|moment| Some(Test::Since(moment)));
        }
        self.need("<")?;
        self.time().map(|moment| Some(Test::Until(moment)))
    }

    /// `column = value`, `column IN (…)`, `column IS NOT NULL`.
    fn comparison(&mut self) -> Read<Test> {
        let column = self.column()?;
        if self.word("IS") {
            self.need_word("NOT")?;
            self.need_word("NULL")?;
            return Ok(Test::Present(column));
        }
        if matches!(quantity(column), Quantity::List | Quantity::Address) {
            return Err(self.expected("IS NOT NULL"));
        }
        if self.word("IN") {
            return Ok(Test::Compare(column, Op::Equal, self.literals(column, "(", ")")?));
        }
        let ops =
            [(">=", Op::AtLeast), ("<=", Op::AtMost), (">", Op::Greater), ("<", Op::Less), ("=", Op::Equal)];
        let Some((_, op)) = ops.into_iter().find(|(sign, _)| self.sign(sign)) else {
            return Err(self.expected("an operator"));
        };
        if op != Op::Equal && matches!(quantity(column), Quantity::Text | Quantity::Flag) {
            return Err(self.expected("="));
        }
        Ok(Test::Compare(column, op, vec![self.literal(column)?]))
    }

    /// `contains(…)` or `regexp_matches(…)`, for a list around its items.
    fn one_text(&mut self) -> Read<(&'static Column, Op, Literal)> {
        let list = self.word("len");
        let mut column = None;
        if list {
            self.need("(")?;
            self.need_word("list_filter")?;
            self.need("(")?;
            column = Some(self.column()?);
            self.need(",")?;
            self.need_word("lambda")?;
            self.need_word("x")?;
            self.need(":")?;
        }
        let has = self.word("contains");
        if !has {
            self.need_word("regexp_matches")?;
        }
        self.need("(")?;
        if has {
            self.need_word("translate")?;
            self.need("(")?;
        }
        if list {
            self.need_word("x")?;
        } else {
            column = Some(self.column()?);
        }
        if has {
            for letters in [CAPITALS, SMALL] {
                self.need(",")?;
                if self.text()? != letters {
                    return Err(self.expected("the letters of ASCII"));
                }
            }
            self.need(")")?;
        }
        self.need(",")?;
        let text = self.text()?;
        self.need(")")?;
        if list {
            self.need(")")?;
            self.need(")")?;
            self.need(">")?;
            self.need("0")?;
        }
        let wanted = if list { Quantity::List } else { Quantity::Text };
        let column =
            column.filter(|c| quantity(c) == wanted).ok_or_else(|| self.expected("a column of text"))?;
        if has && holds_networks(column) {
            return Err(self.expected("in_networks"));
        }
        if has {
            return Ok((column, Op::Has, Literal::Text(text.to_ascii_lowercase())));
        }
        let pattern = Pattern::new(&text).map_err(|_| self.expected("a regular expression"))?;
        Ok((column, Op::Matches, Literal::Pattern(pattern)))
    }

    /// What follows the first of several tests of one column.
    fn more_texts(&mut self, (column, op, first): (&'static Column, Op, Literal)) -> Read<Test> {
        let mut values = vec![first];
        while self.word("OR") {
            let (other, other_op, value) = self.one_text()?;
            if other.id != column.id || other_op != op || values.len() >= TERMS {
                return Err(self.expected("the same test of the same column"));
            }
            values.push(value);
        }
        Ok(Test::Compare(column, op, values))
    }

    fn literals(
        &mut self,
        column: &'static Column,
        open: &'static str,
        close: &'static str,
    ) -> Read<Vec<Literal>> {
        self.list(open, close, |reader| reader.literal(column))
    }

    fn list(
        &mut self,
        open: &'static str,
        close: &'static str,
        one: impl Fn(&mut Self) -> Read<Literal>,
    ) -> Read<Vec<Literal>> {
        self.need(open)?;
        let mut values = vec![one(self)?];
        while self.sign(",") {
            values.push(one(self)?);
            if values.len() > TERMS {
                return Err(self.expected("fewer values"));
            }
        }
        self.need(close)?;
        Ok(values)
    }

    fn literal(&mut self, column: &'static Column) -> Read<Literal> {
        Ok(match quantity(column) {
            Quantity::Count | Quantity::Bytes | Quantity::Duration => Literal::Number(self.number()?),
            Quantity::Text | Quantity::List => Literal::Text(self.text()?),
            Quantity::Flag if self.word("true") => Literal::Flag(true),
            Quantity::Flag => {
                self.need_word("false")?;
                Literal::Flag(false)
            }
            Quantity::Address => self.net()?,
            Quantity::Time => Literal::Time(self.time()?),
        })
    }

    fn net(&mut self) -> Read<Literal> {
        let net = self.text()?.parse::<ipnet::IpNet>();
        Ok(Literal::Net(net.map_err(|_| self.expected("a network"))?.trunc()))
    }

    fn time(&mut self) -> Read<Moment> {
        if self.word("TIMESTAMP") {
            let text = self.text()?;
            return parse_time(&text).map(Moment::At).ok_or_else(|| self.expected("a time"));
        }
        self.need_word("make_timestamp")?;
        self.need("(")?;
        self.need_word("epoch_us")?;
        for sign in ["(", "now", "(", ")", ")", "-"] {
            self.need(sign)?;
        }
        let micros = self.number()?;
        self.need(")")?;
        Ok(Moment::Ago(Duration::from_micros(micros)))
    }

    fn number(&mut self) -> Read<u64> {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..end].parse().map_err(|_| self.expected("a number"))?;
        self.at += end;
        Ok(number)
    }

    fn text(&mut self) -> Read<String> {
        self.need("'")?;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find('\'') else { return Err(self.expected("a closing quote")) };
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.text[self.at..].starts_with('\'') {
                return Ok(text);
            }
            text.push('\'');
            self.at += 1;
        }
    }

    fn column(&mut self) -> Read<&'static Column> {
        let name = self.peek_word().to_ascii_lowercase();
        let column = Column::by_name(&name).filter(|c| c.column == name);
        let column = column.ok_or_else(|| self.expected("a column"))?;
        self.at += name.len();
        Ok(column)
    }

    /// The name or keyword that begins here, perhaps empty.
    fn peek_word(&mut self) -> &'t str {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Takes the word if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word().eq_ignore_ascii_case(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn need_word(&mut self, word: &'static str) -> Read<()> {
        if self.word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    /// Takes the sign if it comes next.
    fn sign(&mut self, sign: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn need(&mut self, sign: &'static str) -> Read<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    fn end(&mut self) -> Read<()> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("AND or the end")) }
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn expected(&self, expected: &'static str) -> SqlError {
        SqlError { at: self.at, expected }
    }
}
