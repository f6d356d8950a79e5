//! One value as each format writes it.
//!
//! Text always goes through [`super::escape`]. Bound: the value.

use std::fmt::Write as _;

use super::escape::{push_csv, push_json, push_text};
use crate::clock::Timestamp;
use crate::record::{Column, Value};
use crate::store::query::units::{short_bytes, short_duration};
use crate::store::query::{Quantity, quantity};

/// For people: short times, units, lists with commas. `-` when absent.
pub(in crate::cli) fn push_human(out: &mut String, column: &Column, value: Option<&Value<'_>>) {
    match value {
        None => out.push('-'),
        Some(Value::U64(n)) => match quantity(column) {
            Quantity::Duration => out.push_str(&short_duration(*n)),
            Quantity::Bytes => out.push_str(&short_bytes(*n)),
            _ => push_number(out, *n),
        },
        Some(Value::Time(time)) => push_short_time(out, *time),
        Some(Value::Bool(flag)) => out.push_str(if *flag { "yes" } else { "no" }),
        Some(value) => push_plain(out, value, b','),
    }
}

/// For CSV: exact numbers, RFC 3339 times, lists with spaces; nothing when absent.
pub(super) fn push_csv_cell(out: &mut String, value: Option<&Value<'_>>) {
    match value {
        None => {}
        Some(Value::Text(text)) => push_csv(out, text),
        Some(Value::List(list)) => {
            let items: Vec<&[u8]> = list.iter().collect();
            push_csv(out, &items.join(&b' '));
        }
        Some(value) => push_plain(out, value, b' '),
    }
}

/// For JSON: numbers, `true` and `false`, strings, lists of strings.
pub(in crate::cli) fn push_json_value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::U64(_) | Value::Bool(_) => push_plain(out, value, b' '),
        Value::Text(text) => push_json(out, text),
        Value::Time(_) | Value::Address(_) => {
            out.push('"');
            push_plain(out, value, b' ');
            out.push('"');
        }
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_json(out, item);
            }
            out.push(']');
        }
    }
}

/// `2026-11-22 10:00:00.123`, in UTC.
pub(super) fn push_short_time(out: &mut String, time: Timestamp) {
    let start = out.len();
    let _ = write!(out, "{time}");
    // From 2026-11-22T10:00:00.123456Z: the microseconds and the zone are left out.
    if out.len() == start + RFC3339_MICROS && out.is_char_boundary(start + SHORT_TIME) {
        out.truncate(start + SHORT_TIME);
        out.replace_range(start + 10..start + 11, " ");
    }
}

pub(super) fn push_number(out: &mut String, n: u64) {
    out.push_str(itoa::Buffer::new().format(n));
}

/// The value without units or quotes, its text escaped.
fn push_plain(out: &mut String, value: &Value<'_>, between: u8) {
    match value {
        Value::U64(n) => push_number(out, *n),
        Value::Time(time) => {
            let _ = write!(out, "{time}");
        }
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Address(ip) => {
            let _ = write!(out, "{ip}");
        }
        Value::Text(text) => push_text(out, text),
        Value::List(list) => {
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(char::from(between));
                }
                push_text(out, item);
            }
        }
    }
}

/// Characters of a time as [`push_short_time`] writes it.
pub(super) const SHORT_TIME: usize = 23;
const RFC3339_MICROS: usize = 27;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ListBuf;
    use crate::store::query::resolve;

    #[test]
    fn people_read_units_and_machines_read_numbers() {
        let duration = resolve("duration").unwrap();
        let (mut human, mut json, mut csv) = (String::new(), String::new(), String::new());
        let value = Value::U64(12_345);
        push_human(&mut human, duration, Some(&value));
        push_json_value(&mut json, &value);
        push_csv_cell(&mut csv, Some(&value));
        assert_eq!((&*human, &*json, &*csv), ("12.3ms", "12345", "12345"));
    }

    #[test]
    fn times_are_utc() {
        let mut out = String::new();
        push_short_time(&mut out, Timestamp::from_micros(1_795_341_600_123_456));
        assert_eq!(out, "2026-11-22 10:00:00.123");
        assert_eq!(out.len(), SHORT_TIME);
    }

    #[test]
    fn items_of_a_list_are_escaped_one_by_one() {
        let names: ListBuf = [&b"a\x1b"[..], b"b\"c"].into_iter().collect();
        let value = Value::List(names.as_list());
        let (mut json, mut csv) = (String::new(), String::new());
        push_json_value(&mut json, &value);
        push_csv_cell(&mut csv, Some(&value));
        assert_eq!(json, r#"["a\u001b","b\"c"]"#);
        assert_eq!(csv, r#""a\x1b b""c""#);
    }
}
