//! What `top` and `hist` print: a table with bars, NDJSON or CSV.
//!
//! What a limit kept from being counted exactly is always said. Bound: the result.

use std::fmt::Write as _;

use super::Format;
use super::cell::{push_csv_cell, push_human, push_json_value, push_number, push_short_time};
use super::escape::push_json;
use super::rows::{fit, pad, title};
use super::terminal::Terminal;
use crate::clock::Timestamp;
use crate::record::{Column, Value};
use crate::store::query::aggregate::Rest;
use crate::store::query::units::{short_bytes, short_duration};
use crate::store::query::{Bucket, By, HistogramResult, Quantity, TopResult, quantity};

/// The keys of a result; `others` adds what was left out.
pub(super) fn top(
    result: &TopResult,
    column: &'static Column,
    format: Format,
    others: bool,
    terminal: Terminal,
) -> String {
    let mut out = String::new();
    match format {
        Format::Json => top_json(&mut out, result, column, others),
        Format::Csv => top_csv(&mut out, result, column, others),
        Format::Table | Format::Clf => top_table(&mut out, result, column, others, terminal),
    }
    out
}

/// The buckets of a result.
pub(super) fn histogram(
    result: &HistogramResult,
    column: &'static Column,
    format: Format,
    terminal: Terminal,
) -> String {
    let mut out = String::new();
    if format == Format::Csv {
        out.push_str("start,end,hits\r\n");
    }
    let longest = result.buckets.iter().map(|b| b.count).max().unwrap_or(0);
    let widest = result.buckets.iter().map(|b| edge(column, b.start).len()).max().unwrap_or(0);
    for bucket in &result.buckets {
        match format {
            Format::Json => bucket_json(&mut out, column, bucket),
            Format::Csv => {
                push_csv_cell(&mut out, Some(&edge_value(column, bucket.start)));
                out.push(',');
                push_csv_cell(&mut out, Some(&edge_value(column, bucket.end)));
                let _ = write!(out, ",{}\r\n", bucket.count);
            }
            Format::Table | Format::Clf => {
                let mut line = String::new();
                pad(
                    &mut line,
                    &edge(column, bucket.start),
                    widest,
                    quantity(column) != Quantity::Time,
                    false,
                );
                let _ = write!(line, "{:>9} ", bucket.count);
                let room = terminal.width.unwrap_or(PIPE_WIDTH).saturating_sub(widest + 12).clamp(10, BAR);
                push_bar(&mut line, bucket.count, longest, room);
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
    }
    out
}

fn top_table(
    out: &mut String,
    result: &TopResult,
    column: &'static Column,
    others: bool,
    terminal: Terminal,
) {
    let mut head = String::new();
    pad(&mut head, "hits", 9, true, false);
    pad(&mut head, "%", 6, true, false);
    if result.by != By::Hits {
        pad(&mut head, measure_name(result.by), 9, true, false);
    }
    head.push_str(title(column));
    fit(&mut head, terminal);
    out.push_str(&head);
    out.push('\n');
    for row in &result.rows {
        let mut line = start_of_line(row.hits, Some(row.measure), result);
        push_human(&mut line, column, Some(&row.key.as_value()));
        fit(&mut line, terminal);
        out.push_str(&line);
        out.push('\n');
    }
    for (after, rest) in rests(result, others) {
        let sum = (result.by == By::Bytes).then_some(rest.sum);
        let mut line = start_of_line(rest.hits, sum, result);
        line.push_str(&after.title(rest));
        fit(&mut line, terminal);
        out.push_str(&line);
        out.push('\n');
    }
}

/// Hits, their share of all records, and what the order is by.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn start_of_line(hits: u64, measure: Option<u64>, result: &TopResult) -> String {
    let mut line = String::new();
    pad(&mut line, &hits.to_string(), 9, true, false);
    let share = hits as f64 * 100.0 / (result.records.max(1) as f64);
    pad(&mut line, &format!("{share:.1}"), 6, true, false);
    let measure = measure.map_or_else(
        || "-".to_owned(),
        |n| match result.by {
            By::Bytes => short_bytes(n),
            By::P95 => short_duration(n),
            By::Hits | By::Visitors | By::Visits => n.to_string(),
        },
    );
    if result.by != By::Hits {
        pad(&mut line, &measure, 9, true, false);
    }
    line
}

fn top_json(out: &mut String, result: &TopResult, column: &Column, others: bool) {
    for row in &result.rows {
        out.push_str("{\"field\":");
        push_json(out, column.name.as_bytes());
        out.push_str(",\"value\":");
        push_json_value(out, &row.key.as_value());
        let _ = write!(out, ",\"hits\":{}", row.hits);
        if result.by != By::Hits {
            let _ = write!(out, ",\"{}\":{}", measure_name(result.by), row.measure);
        }
        out.push_str("}\n");
    }
    for (after, rest) in rests(result, others) {
        out.push_str("{\"field\":");
        push_json(out, column.name.as_bytes());
        let _ = write!(out, ",\"rest\":\"{}\"", after.label());
        if matches!(after, After::Others) {
            let _ = write!(out, ",\"keys\":{}", rest.keys);
        }
        let _ = write!(out, ",\"hits\":{}", rest.hits);
        if result.by == By::Bytes && !matches!(after, After::Absent) {
            let _ = write!(out, ",\"bytes\":{}", rest.sum);
        }
        out.push_str("}\n");
    }
}

fn top_csv(out: &mut String, result: &TopResult, column: &Column, others: bool) {
    out.push_str(column.name);
    out.push_str(",hits");
    if result.by != By::Hits {
        let _ = write!(out, ",{}", measure_name(result.by));
    }
    out.push_str("\r\n");
    for row in &result.rows {
        push_csv_cell(out, Some(&row.key.as_value()));
        let _ = write!(out, ",{}", row.hits);
        if result.by != By::Hits {
            let _ = write!(out, ",{}", row.measure);
        }
        out.push_str("\r\n");
    }
    for (after, rest) in rests(result, others) {
        let _ = write!(out, "{},{}", after.title(rest), rest.hits);
        if result.by == By::Bytes {
            let _ = write!(out, ",{}", rest.sum);
        } else if result.by != By::Hits {
            out.push(',');
        }
        out.push_str("\r\n");
    }
}

/// What comes after the keys.
#[derive(Clone, Copy)]
enum After {
    Others,
    Absent,
    OverLimit,
}

impl After {
    /// The name in JSON.
    const fn label(self) -> &'static str {
        match self {
            Self::Others => "others",
            Self::Absent => "absent",
            Self::OverLimit => "over the limit",
        }
    }

    fn title(self, rest: Rest) -> String {
        match self {
            Self::Others => format!("({} others)", rest.keys),
            Self::Absent => "(absent)".to_owned(),
            Self::OverLimit => "(other: over the limit)".to_owned(),
        }
    }
}

/// The lines after the keys. What came after a limit is always there, the others when asked for.
fn rests(result: &TopResult, others: bool) -> Vec<(After, Rest)> {
    let absent = Rest { keys: 0, hits: result.absent, sum: 0 };
    let all = [(After::Others, result.other), (After::Absent, absent), (After::OverLimit, result.over)];
    all.into_iter()
        .filter(|(after, rest)| rest.hits > 0 && (others || matches!(after, After::OverLimit)))
        .collect()
}

/// The name of what the order is by; in JSON a percentile is in microseconds.
const fn measure_name(by: By) -> &'static str {
    match by {
        By::Hits => "hits",
        By::Visitors => "visitors",
        By::Visits => "visits",
        By::Bytes => "bytes",
        By::P95 => "p95",
    }
}

fn bucket_json(out: &mut String, column: &Column, bucket: &Bucket) {
    out.push_str("{\"field\":");
    push_json(out, column.name.as_bytes());
    out.push_str(",\"start\":");
    push_json_value(out, &edge_value(column, bucket.start));
    out.push_str(",\"end\":");
    push_json_value(out, &edge_value(column, bucket.end));
    out.push_str(",\"hits\":");
    push_number(out, bucket.count);
    out.push_str("}\n");
}

/// The edge of a bucket as a value of its column.
fn edge_value(column: &Column, edge: i64) -> Value<'static> {
    match quantity(column) {
        Quantity::Time => Value::Time(Timestamp::from_micros(edge)),
        _ => Value::U64(u64::try_from(edge).unwrap_or(0)),
    }
}

fn edge(column: &Column, edge: i64) -> String {
    let mut out = String::new();
    match edge_value(column, edge) {
        Value::Time(time) => {
            push_short_time(&mut out, time);
            // Whole seconds are enough for almost every bucket.
            if let Some(short) = out.strip_suffix(".000") {
                out.truncate(short.len());
            }
        }
        value => push_human(&mut out, column, Some(&value)),
    }
    out
}

/// A bar of eighths of a character; something is always seen of a count above zero.
fn push_bar(out: &mut String, count: u64, longest: u64, room: usize) {
    const PARTS: [char; 8] = ['▏', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if count == 0 || longest == 0 {
        return;
    }
    let eighths = u128::from(count) * (room as u128 * 8) / u128::from(longest);
    let eighths = usize::try_from(eighths.max(1)).unwrap_or(room * 8);
    out.extend(std::iter::repeat_n('█', eighths / 8));
    if eighths % 8 > 0 {
        out.push(PARTS[eighths % 8]);
    }
}

/// Longest bar, in characters.
const BAR: usize = 60;
/// The width of a line that goes to a pipe.
const PIPE_WIDTH: usize = 100;

#[cfg(test)]
mod tests;
