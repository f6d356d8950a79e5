//! What DuckDB prints, made harmless on its way to the output.
//!
//! A table's lines and JSON's lines are passed on with what would act on a terminal escaped; CSV is taken apart and
//! written as every other command writes it. Bound: [`CELL_BYTES`] of one line or field.

use std::io::{BufRead, BufReader, Read};

use crate::cli::logs::Format;
use crate::cli::logs::escape::{push_csv, push_json_line, push_line};
use crate::cli::logs::read::{Failure, Output};
use crate::cli::logs::rows::fit;

/// Turns DuckDB's output into ours.
pub(super) struct Answer {
    format: Format,
}

impl Answer {
    pub(super) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints everything that comes; how many rows the answer has.
    pub(super) fn print(self, from: impl Read, out: &mut Output<'_>) -> Result<u64, Failure> {
        let mut from = BufReader::with_capacity(64 << 10, from);
        let rows =
            if self.format == Format::Csv { csv(&mut from, out)? } else { self.lines(&mut from, out)? };
        out.flush()?;
        Ok(rows)
    }

    fn lines(&self, from: &mut impl BufRead, out: &mut Output<'_>) -> Result<u64, Failure> {
        let (mut bytes, mut line) = (Vec::new(), String::new());
        let (mut rows, mut heads) = (0_u64, 0);
        loop {
            bytes.clear();
            let mut limited = from.by_ref().take(CELL_BYTES as u64);
            let len = limited.read_until(b'\n', &mut bytes).map_err(Failure::Read)?;
            if len == 0 {
                return Ok(rows.saturating_sub(heads));
            }
            let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            if text.len() == bytes.len() && len == CELL_BYTES {
                return Err(too_long());
            }
            // A table's head stands in a line of its own, above a rule; nothing is an empty line of JSON.
            let json = self.format == Format::Json;
            rows += u64::from(if json { !text.is_empty() } else { text.starts_with("│".as_bytes()) });
            heads += u64::from(!json && text.starts_with("├".as_bytes()));
            line.clear();
            if json {
                push_json_line(&mut line, text);
            } else {
                push_line(&mut line, text);
                fit(&mut line, out.terminal());
            }
            line.push('\n');
            out.write(&line)?;
        }
    }
}

/// Fields of CSV, one after the other (RFC 4180, as DuckDB writes it).
fn csv(from: &mut impl BufRead, out: &mut Output<'_>) -> Result<u64, Failure> {
    let (mut row, mut rows) = (Row::default(), 0_u64);
    loop {
        let block = from.fill_buf().map_err(Failure::Read)?;
        if block.is_empty() {
            break;
        }
        for byte in block {
            row.take(*byte);
            if row.line.len() + row.field.len() > CELL_BYTES {
                return Err(too_long());
            }
            if row.whole {
                out.write(&row.line)?;
                rows += 1;
                row = Row::default();
            }
        }
        let len = block.len();
        from.consume(len);
    }
    // The first are the names.
    Ok(rows.saturating_sub(1))
}

/// A row that is being read.
#[derive(Default)]
struct Row {
    line: String,
    field: Vec<u8>,
    quoted: bool,
    /// The byte before was a quote inside a quoted field: its end, or the first half of a quote.
    closing: bool,
    whole: bool,
}

impl Row {
    fn take(&mut self, byte: u8) {
        if self.quoted && !self.closing {
            match byte {
                b'"' => self.closing = true,
                byte => self.field.push(byte),
            }
            return;
        }
        match byte {
            b'"' if self.closing => {
                self.closing = false;
                self.field.push(b'"');
            }
            b'"' if self.field.is_empty() => self.quoted = true,
            b',' => {
                self.end_field();
                self.line.push(',');
            }
            b'\n' => {
                self.end_field();
                self.line.push_str("\r\n");
                self.whole = true;
            }
            b'\r' => {}
            byte => self.field.push(byte),
        }
    }

    fn end_field(&mut self) {
        push_csv(&mut self.line, &self.field);
        self.field.clear();
        (self.quoted, self.closing) = (false, false);
    }
}

fn too_long() -> Failure {
    Failure::Usage(format!("a value of the answer is longer than {} MiB", CELL_BYTES >> 20))
}

/// Most bytes of a line of a table or of JSON, or of a field of CSV.
const CELL_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::logs::terminal::Terminal;

    fn printed(format: Format, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        let mut output = Output::new(&mut out, Terminal::default());
        Answer::new(format).print(bytes, &mut output).unwrap();
        drop(output);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_is_written_as_everywhere() {
        assert_eq!(
            printed(Format::Csv, b"a,b\n1,\"x \"\"y\"\"\n,z\"\n,=1+1\n"),
            "a,b\r\n1,\"x \"\"y\"\"\\x0a,z\"\r\n,'=1+1\r\n"
        );
    }

    #[test]
    fn rows_of_the_answer_are_counted_and_nothing_else() {
        let rows = |format, bytes: &str| {
            let mut out = Vec::new();
            let mut output = Output::new(&mut out, Terminal::default());
            Answer::new(format).print(bytes.as_bytes(), &mut output).unwrap()
        };
        for (format, none, two) in [
            (Format::Csv, "a\n", "a\n\"x\ny\"\n2\n"),
            (Format::Json, "\n", "{\"a\":1}\n{\"a\":2}\n"),
            (Format::Table, "┌───┐\n│ a │\n├───┤\n└───┘\n", "┌───┐\n│ a │\n├───┤\n│ 1 │\n│ 2 │\n└───┘\n"),
        ] {
            assert_eq!((rows(format, ""), rows(format, none), rows(format, two)), (0, 0, 2), "{format:?}");
        }
    }

    #[test]
    fn nothing_acts_on_the_terminal() {
        let hostile = b"\xe2\x94\x82 a\x1b[2J\xc2\x9b\xe2\x80\xae\n";
        assert_eq!(printed(Format::Table, hostile), "\u{2502} a\\x1b[2J\\u{9b}\\u{202e}\n");
        assert_eq!(
            printed(Format::Json, b"{\"a\":\"\xc2\x9b\xe2\x80\xae\\u001b\"}\n"),
            "{\"a\":\"\\u009b\\u202e\\u001b\"}\n"
        );
    }
}
