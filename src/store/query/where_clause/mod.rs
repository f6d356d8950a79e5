//! A filter as a condition for `WHERE`, in DuckDB's SQL, over columns as [`Shape::Sql`] has them.
//!
//! ```text
//! condition = "true" | term { "AND" term }
//! term      = test | "NOT coalesce(" test ", false)"      absent is no match, and a match when turned round
//! ```
//!
//! [`Filter::to_sql`] and [`from_sql`] know the same few tests and nothing else of SQL; text is compared byte by byte,
//! `contains` in either case of ASCII, `regexp_matches` is DuckDB's (its `\d`, `\w` and `\b` know ASCII only). Networks
//! need the macros in [`MACROS`]. What has two spellings in the language, such as `!=` and `-…=`, has one here: that of
//! [`Filter::canonical`]. Never runs anything. Bound: that of a filter, [`TERM_BYTES`] more for each value.
//!
//! [`Shape::Sql`]: crate::store::segments::Shape::Sql

mod read;

use std::fmt::{Display, Write as _};

pub use read::{SqlError, from_sql};

use super::field::{Quantity, quantity};
use super::filter::{Filter, Literal, Moment, Op, Term, Test};
use crate::clock::Timestamp;
use crate::record::Column;

/// What a condition needs besides DuckDB: `in_networks(address, ['10.0.0.0/8', …])`.
pub const MACROS: &str = include_str!("macros.sql");

/// Most bytes that a value takes besides its own.
pub const TERM_BYTES: usize = 256;

impl Filter {
    /// The same filter with one spelling for each meaning: no `!=` and `!~`, `:` for text only and in small letters.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let terms = self.terms.iter().map(|term| match &term.test {
            Test::Compare(column, op, values) => {
                let (op, turned) = match op {
                    Op::NotEqual => (Op::Equal, true),
                    Op::MatchesNot => (Op::Matches, true),
                    Op::Has if !is_text(column) => (Op::Equal, false),
                    op => (*op, false),
                };
                let values = values.iter().map(|value| match value {
                    Literal::Text(text) if op == Op::Has => Literal::Text(text.to_ascii_lowercase()),
                    value => value.clone(),
                });
                Term { negated: term.negated != turned, test: Test::Compare(column, op, values.collect()) }
            }
            _ => term.clone(),
        });
        Self { terms: terms.collect() }
    }
}

fn is_text(column: &Column) -> bool {
    matches!(quantity(column), Quantity::Text | Quantity::List)
}

/// The condition of a filter.
pub(super) fn write(filter: &Filter) -> String {
    let mut out = String::new();
    for term in &filter.canonical().terms {
        if !out.is_empty() {
            out.push_str(" AND ");
        }
        let test = test(&term.test);
        if term.negated {
            let _ = write!(out, "NOT coalesce({test}, false)");
        } else {
            out.push_str(&test);
        }
    }
    if out.is_empty() { "true".to_owned() } else { out }
}

fn test(test: &Test) -> String {
    match test {
        Test::Present(column) => format!("{} IS NOT NULL", column.column),
        Test::Since(moment) => format!("{ARRIVED} >= {}", time(*moment)),
        Test::Until(moment) => format!("{ARRIVED} < {}", time(*moment)),
        Test::Compare(column, op, values) => compared(column, *op, values),
    }
}

fn compared(column: &Column, op: Op, values: &[Literal]) -> String {
    let name = column.column;
    let list = quantity(column) == Quantity::List;
    match (op, values) {
        (_, [Literal::Net(_), ..]) => format!("in_networks({name}, [{}])", joined(values)),
        (Op::Matches | Op::Has, _) => {
            let each = values.iter().map(|value| {
                let test = |text: &str| match value {
                    Literal::Pattern(pattern) => {
                        format!("regexp_matches({text}, {})", quoted(pattern.source()))
                    }
                    other => format!("contains({}, {})", lower(text), literal(other)),
                };
                if list {
                    format!("len(list_filter({name}, lambda x: {})) > 0", test("x"))
                } else {
                    test(name)
                }
            });
            any_of(&each.collect::<Vec<_>>())
        }
        (Op::Greater | Op::AtLeast | Op::Less | Op::AtMost, [value, ..]) => {
            format!("{name} {} {}", op.symbol(), literal(value))
        }
        (_, [value]) if list => format!("list_contains({name}, {})", literal(value)),
        _ if list => format!("list_has_any({name}, [{}])", joined(values)),
        (_, [value]) => format!("{name} = {}", literal(value)),
        _ => format!("{name} IN ({})", joined(values)),
    }
}

fn any_of(tests: &[String]) -> String {
    if tests.len() == 1 { tests.concat() } else { format!("({})", tests.join(" OR ")) }
}

fn joined(values: &[Literal]) -> String {
    values.iter().map(literal).collect::<Vec<_>>().join(", ")
}

fn literal(value: &Literal) -> String {
    match value {
        Literal::Number(n) => n.to_string(),
        Literal::Text(text) => quoted(text),
        Literal::Flag(flag) => flag.to_string(),
        Literal::Net(net) => quoted(&net.to_string()),
        Literal::Time(moment) => time(*moment),
        Literal::Pattern(pattern) => quoted(pattern.source()),
    }
}

fn time(moment: Moment) -> String {
    match moment {
        Moment::At(at) => format!("TIMESTAMP {}", quoted(civil(at).trim_end_matches('Z'))),
        Moment::Ago(span) => format!("make_timestamp(epoch_us(now()) - {})", span.as_micros()),
    }
}

fn civil(at: Timestamp) -> String {
    at.to_string()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// ASCII letters as small ones: `lower` would know more.
fn lower(text: impl Display) -> String {
    format!("translate({text}, '{CAPITALS}', '{SMALL}')")
}

/// When a request arrived, or was recorded where that is absent.
const ARRIVED: &str = "coalesce(start_ts, ts)";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SMALL: &str = "abcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::filter::tests::any_filter;
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn conditions_read_as_sql() {
        for (filter, sql) in [
            ("", "true"),
            ("status>=500", "http_response_status_code >= 500"),
            ("status!=404,410", "NOT coalesce(http_response_status_code IN (404, 410), false)"),
            ("path=\"/it's\"", "url_path = '/it''s'"),
            ("path~^/api error:*", "regexp_matches(url_path, '^/api') AND error_type IS NOT NULL"),
            ("stripped=_ga", "list_contains(cookies_stripped, '_ga')"),
            ("duration>200ms", "event_duration > 200000"),
            ("-ip:10.0.0.0/8", "NOT coalesce(in_networks(client_address, ['10.0.0.0/8']), false)"),
            ("since:2026-11-22", "coalesce(start_ts, ts) >= TIMESTAMP '2026-11-22T00:00:00.000000'"),
            ("until:2h", "coalesce(start_ts, ts) < make_timestamp(epoch_us(now()) - 7200000000)"),
            ("net:10.0.0.0/8", "in_networks(client_net, ['10.0.0.0/8'])"),
            ("net=10.1.2.0/24", "client_net = '10.1.2.0/24'"),
            ("gpc=true", "gpc = true"),
        ] {
            assert_eq!(parse(filter).unwrap().to_sql(), sql, "{filter}");
        }
        let has = parse("path:Admin").unwrap().to_sql();
        assert_eq!(has, format!("contains(translate(url_path, '{CAPITALS}', '{SMALL}'), 'admin')"));
    }

    #[test]
    fn what_people_vary_is_read_and_what_is_no_filter_is_not() {
        let read = |sql: &str| from_sql(sql).map(|filter| filter.to_string());
        assert_eq!(
            read("HTTP_RESPONSE_STATUS_CODE>=500\n  and url_path='/a'").unwrap(),
            "http.response.status_code>=500 url.path=/a"
        );
        for wrong in [
            "status = 1",
            "url_path",
            "url_path = 5",
            "url_path = 'a' OR url_path = 'b'",
            "http_response_status_code > 1; DROP TABLE records",
            "url_path = 'a",
            "regexp_matches(url_path, '(')",
            "count(*) > 1",
            "in_networks(client_address, ['x'])",
            "url_path > 'a'",
        ] {
            assert!(from_sql(wrong).is_err(), "{wrong}");
        }
        let error = from_sql("url_path = 'a' OR true").unwrap_err().to_string();
        assert!(error.contains("at character 16"), "{error}");
    }

    proptest! {
        #[test]
        fn every_filter_comes_back(filter in any_filter()) {
            let sql = filter.to_sql();
            prop_assert_eq!(from_sql(&sql).map_err(|e| e.to_string()), Ok(filter.canonical()), "{}", sql);
        }

        #[test]
        fn the_canonical_spelling_is_its_own(filter in any_filter()) {
            let canonical = filter.canonical();
            prop_assert_eq!(canonical.canonical(), canonical.clone());
            prop_assert_eq!(parse(&canonical.to_string()).unwrap(), canonical);
        }

        #[test]
        fn no_text_upsets_the_reader(sql in "(url_path|gpc|NOT|AND|coalesce|\\(|\\)|'|,|=| |5|\\PC){0,14}") {
            let _ = from_sql(&sql);
        }
    }
}
