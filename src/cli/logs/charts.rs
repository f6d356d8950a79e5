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
                pad(&mut line, &edge(column, bucket.start), widest, quantity(column) != Quantity::Time, false);
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
            By::Hits | By::Visitors => n.to_string(),
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
mod tests {
    use super::*;
    use crate::record::event::Type;
    use crate::store::query::{Histogram, Limits, Scale, Top, resolve};

    const PIPE: Terminal = Terminal { width: None, colour: false };

    fn result(by: By, limits: Limits) -> TopResult {
        let mut top = Top::new(Type::Text, by, limits);
        for (path, n) in [("/a", 2000), ("/a", 3000), ("/b\x1b[2J", 10), ("/c,", 5), ("/c,", 1)] {
            top.add(Some(&Value::Text(path.as_bytes())), Some(&Value::U64(n)));
        }
        top.add(None, None);
        top.finish(2, 0)
    }

    #[test]
    fn each_format_of_top() {
        let path = resolve("path").unwrap();
        let all = |by, format| top(&result(by, Limits::default()), path, format, true, PIPE);
        assert_eq!(
            all(By::Hits, Format::Table),
            "     hits      % path\n        2   33.3 /a\n        2   33.3 /c,\n        1   16.7 (1 others)\n        1   16.7 (absent)\n"
        );
        assert_eq!(
            all(By::Bytes, Format::Table),
            "     hits      %     bytes path\n        2   33.3   4.88KiB /a\n        1   16.7       10B /b\\x1b[2J\n        2   33.3        6B (1 others)\n        1   16.7        0B (absent)\n"
        );
        assert_eq!(
            all(By::Bytes, Format::Json),
            "{\"field\":\"url.path\",\"value\":\"/a\",\"hits\":2,\"bytes\":5000}\n\
             {\"field\":\"url.path\",\"value\":\"/b\\u001b[2J\",\"hits\":1,\"bytes\":10}\n\
             {\"field\":\"url.path\",\"rest\":\"others\",\"keys\":1,\"hits\":2,\"bytes\":6}\n\
             {\"field\":\"url.path\",\"rest\":\"absent\",\"hits\":1}\n"
        );
        assert_eq!(
            all(By::P95, Format::Csv),
            "url.path,hits,p95\r\n/a,2,3007\r\n/b\\x1b[2J,1,10\r\n(1 others),2,\r\n(absent),1,\r\n"
        );
    }

    #[test]
    fn a_limit_that_was_reached_is_shown_unasked() {
        let limits = Limits { keys: 1, ..Limits::default() };
        for format in [Format::Table, Format::Json, Format::Csv] {
            let out = top(&result(By::Hits, limits), resolve("path").unwrap(), format, false, PIPE);
            assert!(out.contains("over the limit"), "{out}");
        }
    }

    #[test]
    fn each_format_of_hist() {
        let mut counts = Histogram::new(Scale::Decades);
        [900, 1500, 1600, 9000].iter().for_each(|n| counts.add(Some(&Value::U64(*n))));
        let duration = resolve("duration").unwrap();
        let result = counts.finish();
        let (half, whole) = ("█".repeat(30), "█".repeat(60));
        assert_eq!(
            histogram(&result, duration, Format::Table, PIPE),
            format!(" 500us         1 {half}\n1.00ms         2 {whole}\n2.00ms         0\n5.00ms         1 {half}\n")
        );
        let json = histogram(&result, duration, Format::Json, PIPE);
        assert_eq!(
            json.lines().next(),
            Some("{\"field\":\"event.duration\",\"start\":500,\"end\":1000,\"hits\":1}")
        );
        let csv = histogram(&result, duration, Format::Csv, PIPE);
        assert_eq!(csv, "start,end,hits\r\n500,1000,1\r\n1000,2000,2\r\n2000,5000,0\r\n5000,10000,1\r\n");
    }

    #[test]
    fn times_are_edges_too() {
        let mut counts = Histogram::new(Scale::Linear(60_000_000));
        counts.add(Some(&Value::Time(Timestamp::from_secs(1_795_341_630))));
        let out = histogram(&counts.finish(), resolve("ts").unwrap(), Format::Table, PIPE);
        assert!(out.starts_with("2026-11-22 10:00:00         1 █"), "{out}");
    }

    #[test]
    fn bars_are_in_proportion() {
        let bar = |count| {
            let mut out = String::new();
            push_bar(&mut out, count, 100, 10);
            out
        };
        assert_eq!(bar(100), "██████████");
        assert_eq!(bar(50), "█████");
        assert_eq!(bar(1), "▏");
        assert_eq!(bar(0), "");
    }
}
