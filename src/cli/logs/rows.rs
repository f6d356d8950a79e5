//! Rows in each format: aligned for people, NDJSON, CSV, combined log format.
//!
//! A row becomes one line in a buffer that is used again. Columns that the read does not open are never asked for.
//! Bound: one row.

use smallvec::SmallVec;

use super::cell::{SHORT_TIME, push_csv_cell, push_human, push_json_value, push_short_time};
use super::clf::Clf;
use super::terminal::Terminal;
use super::{Format, escape};
use crate::record::{COLUMNS, Column, Kind, Projection, Row, Value};
use crate::store::query::field::aliases;
use crate::store::query::{Grant, Quantity, quantity, resolve};

/// Makes lines out of rows.
pub(super) struct Lines {
    columns: Vec<&'static Column>,
    projection: Projection,
    style: Style,
    line: String,
}

enum Style {
    Table { widths: Vec<usize>, terminal: Terminal, status: Option<usize> },
    Json,
    Csv,
    Clf(Clf),
}

impl Lines {
    /// Lines of a format with the fields asked for, or the format's usual ones.
    pub(super) fn new(
        format: Format,
        fields: Option<&[&'static Column]>,
        grant: &Grant,
        terminal: Terminal,
    ) -> Self {
        let columns = match (fields, format) {
            (Some(fields), _) => fields.to_vec(),
            (None, Format::Table) => USUAL.iter().filter_map(|name| resolve(name)).collect(),
            (None, _) => COLUMNS.iter().filter(|column| grant.opens(column)).collect(),
        };
        let style = match format {
            Format::Table => Style::Table {
                widths: columns.iter().map(|column| width(column)).collect(),
                terminal,
                status: columns.iter().position(|c| c.name == "http.response.status_code"),
            },
            Format::Json => Style::Json,
            Format::Csv => Style::Csv,
            Format::Clf => Style::Clf(Clf::new()),
        };
        Self { projection: Projection::new(&columns), columns, style, line: String::new() }
    }

    /// The columns that a line is made of: those of requests, and in a table those of the sentence about a gap.
    pub(super) fn needed(&self) -> Vec<&'static Column> {
        let of_gaps = match self.style {
            Style::Table { .. } => &OF_A_GAP[..],
            Style::Json | Style::Csv | Style::Clf(_) => &[],
        };
        self.columns.iter().copied().chain(of_gaps.iter().filter_map(|name| Column::by_name(name))).collect()
    }

    /// The line before the rows, with its end; none in the formats without one.
    pub(super) fn header(&mut self) -> &str {
        self.line.clear();
        match &self.style {
            Style::Table { widths, terminal, .. } => {
                for (i, column) in self.columns.iter().enumerate() {
                    let title = title(column);
                    pad(&mut self.line, title, widths[i], right(column), i + 1 == self.columns.len());
                }
                fit(&mut self.line, *terminal);
                self.line.push('\n');
            }
            Style::Csv => {
                let names: Vec<&str> = self.columns.iter().map(|c| c.name).collect();
                self.line.push_str(&names.join(","));
                self.line.push_str("\r\n");
            }
            Style::Json | Style::Clf(_) => {}
        }
        &self.line
    }

    /// The row's line, with its end.
    pub(super) fn row(&mut self, row: &Row<'_>) -> &str {
        self.line.clear();
        if let Style::Clf(clf) = &self.style {
            clf.push_line(&mut self.line, row);
            self.line.push('\n');
            return &self.line;
        }
        let mut values: SmallVec<[Option<Value<'_>>; 16]> = SmallVec::from_elem(None, self.columns.len());
        row.project(&self.projection, &mut values);
        match &self.style {
            Style::Table { terminal, .. } if row.kind == Kind::Gap => {
                push_gap(&mut self.line, row);
                fit(&mut self.line, *terminal);
                self.line.push('\n');
            }
            Style::Table { widths, terminal, status } => {
                push_cells(&mut self.line, &self.columns, &values, widths, *terminal);
                fit(&mut self.line, *terminal);
                if let Some(code) = status.filter(|_| terminal.colour).and_then(|at| values[at]) {
                    colour(&mut self.line, &code);
                }
                self.line.push('\n');
            }
            Style::Json => {
                push_object(&mut self.line, &self.columns, &values);
                self.line.push('\n');
            }
            Style::Csv => {
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        self.line.push(',');
                    }
                    push_csv_cell(&mut self.line, value.as_ref());
                }
                self.line.push_str("\r\n");
            }
            Style::Clf(_) => {}
        }
        &self.line
    }
}

/// The name over a column: its short one if it has one.
pub(super) fn title(column: &'static Column) -> &'static str {
    aliases(column).next().unwrap_or(column.name)
}

/// Appends text in a cell of that width, and a gap after it unless it is the last.
pub(super) fn pad(out: &mut String, text: &str, width: usize, right: bool, last: bool) {
    let spare = width.saturating_sub(text.chars().count());
    if right {
        out.extend(std::iter::repeat_n(' ', spare));
    }
    out.push_str(text);
    if !last {
        out.extend(std::iter::repeat_n(' ', if right { 1 } else { spare + 1 }));
    }
}

/// Cuts a line to the terminal's width; a pipe gets it whole.
pub(super) fn fit(line: &mut String, terminal: Terminal) {
    let Some(width) = terminal.width else { return };
    if let Some((at, _)) = line.char_indices().nth(width.saturating_sub(1))
        && line[at..].chars().nth(1).is_some()
    {
        line.truncate(at);
        line.push('…');
    }
}

/// Whether the column's numbers stand at the right edge.
fn right(column: &Column) -> bool {
    matches!(quantity(column), Quantity::Count | Quantity::Bytes | Quantity::Duration)
}

/// The usual width of a column's values, at least its title's.
fn width(column: &'static Column) -> usize {
    let usual = match (column.name, quantity(column)) {
        ("http.response.status_code", _) => 3,
        ("http.request.method" | "consent.decision", _) => 7,
        ("request.id" | "consent.receipt_id", _) => 36,
        ("url.path", _) => 40,
        (_, Quantity::Time) => SHORT_TIME,
        (_, Quantity::Flag) => 3,
        (_, Quantity::Duration | Quantity::Bytes | Quantity::Count) => 8,
        (_, Quantity::Address | Quantity::Text | Quantity::List) => 16,
    };
    usual.max(title(column).len())
}

fn push_cells(
    out: &mut String,
    columns: &[&'static Column],
    values: &[Option<Value<'_>>],
    widths: &[usize],
    terminal: Terminal,
) {
    let mut cell = String::new();
    for (i, (column, value)) in columns.iter().zip(values).enumerate() {
        cell.clear();
        push_human(&mut cell, column, value.as_ref());
        let last = i + 1 == columns.len();
        if !last && terminal.width.is_some() {
            fit(&mut cell, Terminal { width: Some(widths[i]), colour: false });
        }
        pad(out, &cell, widths[i], right(column), last);
    }
}

fn push_object(out: &mut String, columns: &[&'static Column], values: &[Option<Value<'_>>]) {
    out.push('{');
    let mut first = true;
    for (column, value) in columns.iter().zip(values) {
        let Some(value) = value else { continue };
        if !first {
            out.push(',');
        }
        first = false;
        escape::push_json(out, column.name.as_bytes());
        out.push(':');
        push_json_value(out, value);
    }
    out.push('}');
}

/// A gap is not a request: it is told as a sentence.
fn push_gap(out: &mut String, row: &Row<'_>) {
    push_short_time(out, row.ts);
    out.push_str(" -- ");
    let get = |name| Column::by_name(name).and_then(|column| row.get(column));
    match (get("gap.count"), get("gap.bytes")) {
        (Some(Value::U64(n)), _) => out.push_str(&format!("{n} records missing")),
        (None, Some(Value::U64(n))) => out.push_str(&format!("{n} bytes unreadable")),
        _ => out.push_str("records may be missing"),
    }
    if let Some(Value::Text(reason)) = get("gap.reason") {
        out.push_str(": ");
        escape::push_text(out, reason);
    }
    out.push_str(" --");
}

/// Colours a line by its status: 5xx red, 4xx yellow, 3xx cyan; the rest stays as it is.
fn colour(line: &mut String, status: &Value<'_>) {
    let code = match status {
        Value::U64(500..=599) => "\x1b[31m",
        Value::U64(400..=499) => "\x1b[33m",
        Value::U64(300..=399) => "\x1b[36m",
        _ => return,
    };
    line.insert_str(0, code);
    line.push_str("\x1b[0m");
}

/// What a gap is told with.
const OF_A_GAP: [&str; 3] = ["gap.count", "gap.bytes", "gap.reason"];

/// The fields of a table, when none are asked for.
const USUAL: [&str; 9] =
    ["time", "status", "method", "host", "path", "bytes", "duration", "consent", "error"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::record::{Event, ListBuf, Purpose};
    use crate::store::query::testing::{Stored, event, granted};

    fn lines(format: Format, fields: Option<&str>, terminal: Terminal, event: &Event<'_>) -> String {
        let grant = granted(Purpose::Support);
        let fields: Option<Vec<_>> =
            fields.map(|f| f.split(',').map(|name| resolve(name).unwrap()).collect());
        let mut lines = Lines::new(format, fields.as_deref(), &grant, terminal);
        let mut out = lines.header().to_owned();
        out.push_str(lines.row(&Stored::new(event).row(Purpose::Support, 7, Timestamp::from_secs(999_000))));
        out
    }

    const PIPE: Terminal = Terminal { width: None, colour: false };

    #[test]
    fn json_is_stable() {
        let names: ListBuf = [&b"_ga"[..], b"_fbp"].into_iter().collect();
        let event =
            Event { cookies_stripped: names.as_list(), client_address: "192.0.2.7".parse().ok(), ..event() };
        insta::assert_snapshot!(lines(Format::Json, None, PIPE, &event), @r#"{"ts":"1970-01-12T13:30:00.000000Z","seq":7,"schema.version":1,"record.kind":"access","node.id":"node-1","start_ts":"1970-01-12T13:29:00.000000Z","http.request.method":"GET","url.scheme":"https","url.domain":"kz.example","url.path":"/a/b.html","http.response.status_code":404,"network.protocol.version":"2","http.response.body.size":2048,"event.duration":12000,"request.id":"0190f1","cookies.stripped":["_ga","_fbp"],"gpc":true}"#);
    }

    #[test]
    fn tables_are_aligned_and_whole_in_a_pipe() {
        let fields = Some("time,status,method,path,bytes,duration,error");
        insta::assert_snapshot!(lines(Format::Table, fields, PIPE, &event()), @r"
        time                    status method  path                                        bytes duration error
        1970-01-12 13:29:00.000    404 GET     /a/b.html                                 2.00KiB   12.0ms -
        ");
    }

    #[test]
    fn a_terminal_gets_its_width_and_colours() {
        let out = lines(Format::Table, None, Terminal { width: Some(60), colour: true }, &event());
        let row = out.lines().nth(1).unwrap();
        let bare = row.strip_prefix("\x1b[33m").and_then(|r| r.strip_suffix("\x1b[0m")).unwrap();
        assert_eq!(bare.chars().count(), 60);
        assert!(bare.ends_with('…'));
        assert!(!lines(Format::Table, None, PIPE, &event()).contains('\x1b'));
    }

    #[test]
    fn csv_has_the_fields_in_the_order_asked_for() {
        let event = Event { path: Some(b"/a,b\"c\x1b[2J"), ..event() };
        assert_eq!(
            lines(Format::Csv, Some("status,path,error,time"), PIPE, &event),
            "http.response.status_code,url.path,error.type,start_ts\r\n\
             404,\"/a,b\"\"c\\x1b[2J\",,1970-01-12T13:29:00.000000Z\r\n"
        );
    }

    #[test]
    fn no_format_lets_an_escape_sequence_through() {
        let hostile = b"/\x1b]0;owned\x07\x9b2J\r\n\xe2\x80\xae";
        let event =
            Event { path: Some(hostile), method: Some(hostile), request_id: Some(hostile), ..event() };
        for format in [Format::Table, Format::Json, Format::Csv, Format::Clf] {
            let out = lines(format, None, PIPE, &event);
            assert!(!out.trim_end().contains(['\x1b', '\x07', '\u{9b}', '\u{202e}']), "{out:?}");
            assert!(out.lines().count() <= 2, "{out:?}");
        }
    }

    #[test]
    fn sealed_columns_are_not_in_any_format() {
        let event =
            Event { client_address: "192.0.2.7".parse().ok(), user_agent: Some(b"Mozilla"), ..event() };
        for format in [Format::Table, Format::Json, Format::Csv, Format::Clf] {
            let out = lines(format, None, PIPE, &event);
            assert!(
                !out.contains("192.0.2.7") && !out.contains("Mozilla") && !out.contains("client.address")
            );
        }
    }

    #[test]
    fn a_table_asks_for_what_a_gap_is_told_with() {
        let grant = granted(Purpose::Support);
        let has = |format| {
            let lines = Lines::new(format, Some(&[]), &grant, PIPE);
            OF_A_GAP.map(|name| lines.needed().iter().any(|column| column.name == name))
        };
        assert_eq!((has(Format::Table), has(Format::Csv)), ([true; 3], [false; 3]));
    }

    #[test]
    fn a_gap_is_a_sentence() {
        let gap = Event {
            kind: Kind::Gap,
            gap_count: Some(12),
            gap_reason: Some(b"ring_full"),
            ..Event::default()
        };
        let out = lines(Format::Table, None, PIPE, &gap);
        assert_eq!(out.lines().nth(1), Some("1970-01-12 13:30:00.000 -- 12 records missing: ring_full --"));
    }
}
