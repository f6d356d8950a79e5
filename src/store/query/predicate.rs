//! A filter made ready to be tried on rows.
//!
//! Relative times are fixed once, cheap tests come first. Never reads a column outside the filter. Bound: the filter.

use arrow_array::Array as _;
use ipnet::IpNet;
use smallvec::SmallVec;

use super::filter::{Filter, Literal, Op, Pattern, Test};
use crate::clock::Timestamp;
use crate::record::{Column, Projection, Row, Value};
use crate::store::segments::{Cells, Values};

/// A compiled filter.
pub struct Predicate {
    range: (Timestamp, Timestamp),
    /// The time of access; absent when every time will do.
    arrived: Option<&'static Column>,
    projection: Projection,
    /// The columns of the projection.
    columns: Vec<&'static Column>,
    checks: Vec<Check>,
}

/// One test and whether its answer is turned round.
struct Check {
    /// Place of the column in the projection.
    slot: usize,
    negated: bool,
    wanted: Wanted,
}

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
        let mut columns: Vec<&'static Column> = Vec::new();
        let mut checks = Vec::new();
        for term in &filter.terms {
            let (column, wanted, turned) = match &term.test {
                Test::Present(column) => (*column, Wanted::Present, false),
                Test::Compare(column, op, values) => {
                    (*column, wanted(*op, values, now), matches!(op, Op::NotEqual | Op::MatchesNot))
                }
                // These became the range.
                Test::Since(_) | Test::Until(_) => continue,
            };
            let slot = columns.iter().position(|c| c.id == column.id).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            });
            checks.push(Check { slot, negated: term.negated != turned, wanted });
        }
        checks.sort_by_key(|check| check.wanted.cost());
        let range = filter.range(now);
        let bounded = range != Filter::default().range(now);
        let arrived = Column::by_name("start_ts").filter(|_| bounded);
        Self { range, arrived, projection: Projection::new(&columns), columns, checks }
    }

    /// The times of access that can match: the first included, the second not.
    #[must_use]
    pub const fn range(&self) -> (Timestamp, Timestamp) {
        self.range
    }

    /// Whether the row matches.
    #[must_use]
    pub fn matches(&self, row: &Row<'_>) -> bool {
        if !self.in_time(row) {
            return false;
        }
        if self.checks.is_empty() {
            return true;
        }
        let mut values: SmallVec<[Option<Value<'_>>; 8]> = SmallVec::from_elem(None, self.projection.len());
        row.project(&self.projection, &mut values);
        self.checks.iter().all(|check| check.holds(values[check.slot].as_ref()))
    }

    /// Takes out of `wanted` the rows of these columns that do not match; whether that could be told from columns, and
    /// nothing was taken out otherwise. Each text of a dictionary is tried once.
    #[must_use]
    pub(in crate::store) fn keep(&self, cells: &Cells, wanted: &mut [bool]) -> bool {
        let columns: Option<Vec<_>> = self.checks.iter().map(|check| self.values(cells, check)).collect();
        let Some(columns) = columns else { return false };
        if let Some(arrived) = self.arrived {
            let start = cells.values(arrived);
            for (row, wanted) in wanted.iter_mut().enumerate() {
                let time = match start.and_then(|values| values.value(row)) {
                    Some(Value::Time(start)) => start,
                    _ => Timestamp::from_micros(cells.ts(row)),
                };
                *wanted &= self.range.0 <= time && time < self.range.1;
            }
        }
        for (check, values) in self.checks.iter().zip(columns) {
            check.keep(values, wanted);
        }
        true
    }

    /// The values that a check looks at, `Some(None)` when they are all absent; `None` for lists.
    fn values<'c>(&self, cells: &'c Cells, check: &Check) -> Option<Option<&'c Values>> {
        match cells.values(self.columns[check.slot]) {
            Some(Values::List(..)) => None,
            values => Some(values),
        }
    }

    /// Whether the time of access, or of recording where there is none, is in the range.
    #[must_use]
    pub fn in_time(&self, row: &Row<'_>) -> bool {
        let Some(arrived) = self.arrived else { return true };
        let time = if let Some(Value::Time(start)) = row.get(arrived) { start } else { row.ts };
        self.range.0 <= time && time < self.range.1
    }
}

impl Check {
    fn keep(&self, values: Option<&Values>, wanted: &mut [bool]) {
        let absent = self.holds(None);
        match values {
            None if absent => {}
            None => wanted.fill(false),
            Some(Values::Coded(codes, texts)) => {
                let known: Vec<bool> = (0..texts.len())
                    .map(|at| self.holds(Some(&Value::Text(texts.value(at).as_bytes()))))
                    .collect();
                for (code, wanted) in codes.iter().zip(wanted) {
                    let place = code.and_then(|code| usize::try_from(code).ok());
                    *wanted &= place.map_or(absent, |place| known.get(place).copied().unwrap_or(absent));
                }
            }
            Some(values) => {
                for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
                    *wanted = self.holds(values.value(row).as_ref());
                }
            }
        }
    }

    fn holds(&self, value: Option<&Value<'_>>) -> bool {
        value.is_some_and(|value| self.wanted.fits(value)) != self.negated
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
            (Self::Nets(nets), Value::Address(ip)) => nets.iter().any(|net| net.contains(ip)),
            (Self::Nets(nets), Value::Text(text)) => {
                let held = std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpNet>().ok());
                held.is_some_and(|held| nets.iter().any(|net| net.contains(&held)))
            }
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
            Op::Greater => {
                n.checked_add(1).map_or(Wanted::Between(1, 0), |low| Wanted::Between(low, u64::MAX))
            }
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
            Wanted::Patterns(each(
                values,
                |v| if let Literal::Pattern(p) = v { Some(p.clone()) } else { None },
            ))
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

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::super::testing::{Stored, event};
    use super::*;
    use crate::record::{Event, ListBuf, Purpose};

    fn matches(event: &Event<'_>, filter: &str) -> bool {
        let stored = Stored::new(event);
        let predicate = Predicate::new(&parse(filter).unwrap(), Timestamp::from_secs(1_000_000));
        predicate.matches(&stored.row(Purpose::Security, 1, Timestamp::from_secs(999_000)))
    }

    #[test]
    fn each_operator_on_each_sort_of_value() {
        let names: ListBuf = [&b"_ga"[..], b"_fbp"].into_iter().collect();
        let address = "10.1.2.3".parse().ok();
        let event = Event {
            cookies_stripped: names.as_list(),
            client_address: address,
            client_net: Some(b"10.1.2.0/24"),
            ..event()
        };
        for yes in [
            "",
            "status=404",
            "status=200,404",
            "status!=200",
            "status>403",
            "status>=404",
            "status<405",
            "status<=404",
            "-status=200",
            "path=/a/b.html",
            "path:A/B",
            "path~^/a",
            "path~\\.html$",
            "path!~^/b",
            "path:*",
            "-error:*",
            "error!=dns",
            "duration>11ms duration<12.5ms",
            "bytes=2KiB",
            "gpc=true",
            "stripped=_fbp",
            "stripped:fb",
            "stripped~^_g",
            "-stripped=_gid",
            "ip:10.0.0.0/8",
            "ip=10.1.2.3",
            "ip=::ffff:10.1.2.3",
            "-ip:192.168.0.0/16",
            "ip:::ffff:10.0.0.0/104",
            "ip=::/0,10.1.2.3",
            "net:10.0.0.0/8",
            "net:10.1.2.0/24",
            "net:10.1.2.200",
            "net:10.1.2.64/26",
            "net:::ffff:10.1.0.0/112",
            "net:192.168.0.0/16,10.0.0.0/8",
            "-net:10.2.0.0/16",
            "net=10.1.2.0/24",
            "net~^10\\.1",
            "start_ts=1970-01-12T13:29",
            "start_ts<1970-01-13",
            "since:18m",
            "since:1060s",
            "until:1059s",
            "-since:1059s",
            "since:1970-01-01 until:1970-02-01",
            "kind=access",
            "seq=1",
        ] {
            assert!(matches(&event, yes), "{yes}");
        }
        for no in [
            "status=200",
            "status>404",
            "status<404",
            "-status=404",
            "path=/a",
            "path~^/b",
            "-path:*",
            "error:*",
            "error=dns",
            "error~.",
            "error:d",
            "duration>1s",
            "gpc=false",
            "stripped=_g",
            "ip:10.0.0.0/16",
            "ip:2001:db8::/32",
            "net:10.2.0.0/16",
            "net:2001:db8::/32",
            "net=10.0.0.0/8",
            "since:1059s",
            "until:1060s",
            "start_ts>1970-01-12T13:29",
            "status>18446744073709551615",
            "status<0",
            "kind=gap",
            "status=404 path=/a",
        ] {
            assert!(!matches(&event, no), "{no}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_can_be_matched() {
        let event = Event { path: Some(b"/\xff/admin"), ..event() };
        assert!(matches(&event, "path~admin$"));
        assert!(matches(&event, "path~(?-u:\\xff)"));
        assert!(matches(&event, "path:ADMIN"));
    }
}
