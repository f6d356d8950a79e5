//! A filter made ready to be tried on rows.
//!
//! Relative times are fixed once, cheap tests come first. Never reads a column outside the filter. Bound: the filter.

use std::net::IpAddr;

use ipnet::IpNet;

use super::filter::{Filter, Literal, Op, Pattern, Test};
use crate::clock::Timestamp;
use crate::record::{Column, Row, Value};

/// A compiled filter.
#[derive(Debug)]
pub struct Predicate {
    range: (Timestamp, Timestamp),
    checks: Vec<Check>,
}

/// One test and whether its answer is turned round.
#[derive(Debug)]
struct Check {
    column: &'static Column,
    negated: bool,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Present,
    /// One of the numbers.
    Numbers(Vec<u64>),
    /// A number in the range, ends included.
    Between(u64, u64),
    /// A time in the range, ends included.
    During(i64, i64),
    Flags(Vec<bool>),
    Nets(Vec<IpNet>),
    Texts(Vec<String>),
    /// Text that contains one of these, ASCII letters in either case.
    Containing(Vec<String>),
    Patterns(Vec<Pattern>),
}

impl Predicate {
    /// Compiles a filter; `now` fixes its relative times.
    #[must_use]
    pub fn new(filter: &Filter, now: Timestamp) -> Self {
        let mut checks: Vec<Check> = filter
            .terms
            .iter()
            .filter_map(|term| match &term.test {
                Test::Present(column) => Some(Check { column, negated: term.negated, wanted: Wanted::Present }),
                Test::Compare(column, op, values) => {
                    let turned = matches!(op, Op::NotEqual | Op::MatchesNot);
                    Some(Check { column, negated: term.negated != turned, wanted: wanted(*op, values, now) })
                }
                // These became the range.
                Test::Since(_) | Test::Until(_) => None,
            })
            .collect();
        checks.sort_by_key(|check| check.wanted.cost());
        Self { range: filter.range(now), checks }
    }

    /// The times of recording that can match: the first included, the second not.
    #[must_use]
    pub const fn range(&self) -> (Timestamp, Timestamp) {
        self.range
    }

    /// Whether the row matches. The row must have been read with the filter's columns.
    #[must_use]
    pub fn matches(&self, row: &Row<'_>) -> bool {
        (self.range.0..self.range.1).contains(&row.ts) && self.checks.iter().all(|check| check.holds(row))
    }
}

impl Check {
    fn holds(&self, row: &Row<'_>) -> bool {
        row.get(self.column).is_some_and(|value| self.wanted.fits(&value)) != self.negated
    }
}

impl Wanted {
    fn fits(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Present, _) => true,
            (Self::Numbers(numbers), Value::U64(n)) => numbers.contains(n),
            (Self::Between(low, high), Value::U64(n)) => (low..=high).contains(&n),
            (Self::During(low, high), Value::Time(t)) => (*low..=*high).contains(&t.as_micros()),
            (Self::Flags(flags), Value::Bool(flag)) => flags.contains(flag),
            (Self::Nets(nets), Value::Address(ip)) => nets.iter().any(|net| net.contains(&canonical(*ip))),
            (_, Value::Text(text)) => self.fits_text(text),
            (_, Value::List(list)) => list.iter().any(|item| self.fits_text(item)),
            _ => false,
        }
    }

    fn fits_text(&self, text: &[u8]) -> bool {
        match self {
            Self::Texts(texts) => texts.iter().any(|t| t.as_bytes() == text),
            Self::Containing(parts) => parts.iter().any(|part| contains(text, part.as_bytes())),
            Self::Patterns(patterns) => patterns.iter().any(|p| p.is_match(text)),
            _ => false,
        }
    }

    /// Order of trying, cheapest first.
    const fn cost(&self) -> u8 {
        match self {
            Self::Present | Self::Numbers(_) | Self::Between(..) | Self::During(..) | Self::Flags(_) => 0,
            Self::Nets(_) | Self::Texts(_) => 1,
            Self::Containing(_) => 2,
            Self::Patterns(_) => 3,
        }
    }
}

fn wanted(op: Op, values: &[Literal], now: Timestamp) -> Wanted {
    match values.first() {
        None => Wanted::Numbers(Vec::new()),
        Some(Literal::Number(n)) => match op {
            // An empty range where nothing can be greater or less.
            Op::Greater => n.checked_add(1).map_or(Wanted::Between(1, 0), |low| Wanted::Between(low, u64::MAX)),
            Op::AtLeast => Wanted::Between(*n, u64::MAX),
            Op::Less => n.checked_sub(1).map_or(Wanted::Between(1, 0), |high| Wanted::Between(0, high)),
            Op::AtMost => Wanted::Between(0, *n),
            _ => Wanted::Numbers(each(values, |v| if let Literal::Number(n) = v { Some(*n) } else { None })),
        },
        Some(Literal::Time(moment)) => {
            let at = moment.at(now).as_micros();
            match op {
                Op::Greater => Wanted::During(at.saturating_add(1), i64::MAX),
                Op::AtLeast => Wanted::During(at, i64::MAX),
                Op::Less => Wanted::During(i64::MIN, at.saturating_sub(1)),
                Op::AtMost => Wanted::During(i64::MIN, at),
                _ => Wanted::During(at, at),
            }
        }
        Some(Literal::Flag(_)) => {
            Wanted::Flags(each(values, |v| if let Literal::Flag(f) = v { Some(*f) } else { None }))
        }
        Some(Literal::Net(_)) => {
            Wanted::Nets(each(values, |v| if let Literal::Net(n) = v { Some(*n) } else { None }))
        }
        Some(Literal::Pattern(_)) => {
            Wanted::Patterns(each(values, |v| if let Literal::Pattern(p) = v { Some(p.clone()) } else { None }))
        }
        Some(Literal::Text(_)) => {
            let texts = each(values, |v| if let Literal::Text(t) = v { Some(t.clone()) } else { None });
            if op == Op::Has { Wanted::Containing(texts) } else { Wanted::Texts(texts) }
        }
    }
}

fn each<T>(values: &[Literal], pick: impl Fn(&Literal) -> Option<T>) -> Vec<T> {
    values.iter().filter_map(pick).collect()
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
