//! From rows to Arrow columns.
//!
//! [`Batch`] gathers rows and gives a record batch when it is full. Text that is not UTF-8 gets U+FFFD for what is not,
//! because Parquet's text is UTF-8. Bound: [`BATCH_ROWS`] rows and about [`BATCH_BYTES`] bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder as _, BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};

use super::schema::{self, Shape};
use crate::record::event::Type;
use crate::record::wire::octets;
use crate::record::{Column, Projection, Row, Value};

/// Rows handed to the Parquet writer at once.
pub(super) const BATCH_ROWS: usize = 8192;
/// Bytes of values after which a batch is handed on although it has fewer rows.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// Bytes that every value takes, present or absent, about.
const VALUE_BYTES: usize = 8;

/// Rows on their way into a segment or a table.
pub(in crate::store) struct Batch {
    schema: SchemaRef,
    projection: Projection,
    builders: Vec<Builder>,
    /// What a terminal would act on is replaced.
    harmless: bool,
    rows: usize,
    bytes: usize,
}

impl Batch {
    /// For a table with these columns.
    pub(in crate::store) fn of(columns: &[&'static Column], shape: Shape) -> Self {
        Self {
            schema: schema::table(columns, shape),
            projection: Projection::new(columns),
            builders: columns.iter().map(|column| Builder::new(column, shape)).collect(),
            harmless: shape == Shape::Shell,
            rows: 0,
            bytes: 0,
        }
    }

    pub(in crate::store) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds a row. Absent values are made up for with the next that is there, or at the end: most are absent.
    pub(in crate::store) fn push(&mut self, row: &Row<'_>) -> Result<(), ArrowError> {
        let Self { projection, builders, harmless, rows, bytes, .. } = self;
        let mut outcome = Ok(());
        row.each(projection, |slot, value| {
            // A damaged row may have a value twice: the first counts.
            if let Some(builder) = builders.get_mut(slot).filter(|builder| builder.len() <= *rows) {
                builder.fill_up(*rows);
                match builder.push(value, *harmless) {
                    Ok(more) => *bytes += more,
                    Err(error) => outcome = Err(error),
                }
            }
        });
        *bytes += VALUE_BYTES * builders.len();
        *rows += 1;
        outcome
    }

    /// Whether it should be taken before another row is added.
    pub(in crate::store) const fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The rows gathered so far, which are forgotten; `None` when there are none.
    pub(in crate::store) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.builders.iter_mut().for_each(|builder| builder.fill_up(self.rows));
        (self.rows, self.bytes) = (0, 0);
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.schema(), arrays).map(Some)
    }
}

/// One column that grows.
enum Builder {
    U64(UInt64Builder),
    I64(Int64Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Address(FixedSizeBinaryBuilder),
    /// An address as text, and where it is written first.
    Shown(StringBuilder, String),
    List(ListBuilder<StringBuilder>),
}

impl Builder {
    fn new(column: &Column, shape: Shape) -> Self {
        match (column.ty, shape) {
            (Type::U64, _) if shape.for_sql() => Self::I64(Int64Builder::new()),
            (Type::U64, _) => Self::U64(UInt64Builder::new()),
            (Type::Time, _) if shape.for_sql() => Self::Time(TimestampMicrosecondBuilder::new()),
            (Type::Time, _) => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            (Type::Text, _) => Self::Text(StringBuilder::new()),
            (Type::Bool, _) => Self::Bool(BooleanBuilder::new()),
            (Type::Address, Shape::Segment) => Self::Address(FixedSizeBinaryBuilder::new(16)),
            (Type::Address, _) => Self::Shown(StringBuilder::new(), String::new()),
            (Type::List, _) => Self::List(ListBuilder::new(StringBuilder::new()).with_field(schema::item())),
        }
    }

    /// How many values it has, present or absent.
    fn len(&self) -> usize {
        match self {
            Self::U64(b) => b.len(),
            Self::I64(b) => b.len(),
            Self::Time(b) => b.len(),
            Self::Text(b) | Self::Shown(b, _) => b.len(),
            Self::Bool(b) => b.len(),
            Self::Address(b) => b.len(),
            Self::List(b) => b.len(),
        }
    }

    /// Adds absent values until there are `rows`.
    fn fill_up(&mut self, rows: usize) {
        let n = rows.saturating_sub(self.len());
        if n == 0 {
            return;
        }
        match self {
            Self::U64(b) => b.append_nulls(n),
            Self::I64(b) => b.append_nulls(n),
            Self::Time(b) => b.append_nulls(n),
            Self::Text(b) | Self::Shown(b, _) => b.append_nulls(n),
            Self::Bool(b) => b.append_nulls(n),
            Self::Address(b) => b.append_nulls(n),
            Self::List(b) => b.append_nulls(n),
        }
    }

    /// Adds a value; how many bytes it takes beyond [`VALUE_BYTES`]. One of another type is absent.
    fn push(&mut self, value: Value<'_>, harmless: bool) -> Result<usize, ArrowError> {
        match (self, value) {
            (Self::U64(b), Value::U64(n)) => b.append_value(n),
            // Sizes, durations and numbers of records are far below.
            (Self::I64(b), Value::U64(n)) => b.append_value(i64::try_from(n).unwrap_or(i64::MAX)),
            (Self::Time(b), Value::Time(t)) => b.append_value(t.as_micros()),
            (Self::Text(b), Value::Text(t)) => {
                return Ok(as_text(t, harmless, |text| b.append_value(text)));
            }
            (Self::Bool(b), Value::Bool(on)) => b.append_value(on),
            (Self::Address(b), Value::Address(ip)) => b.append_value(octets(ip))?,
            (Self::Shown(b, text), Value::Address(ip)) => {
                text.clear();
                let _ = write!(text, "{ip}");
                b.append_value(&text);
                return Ok(text.len());
            }
            (Self::List(b), Value::List(list)) => {
                for item in list {
                    as_text(item, harmless, |text| b.values().append_value(text));
                }
                b.append(true);
                return Ok(list.as_bytes().len());
            }
            _ => {}
        }
        Ok(0)
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::U64(b) => Arc::new(b.finish()),
            Self::I64(b) => Arc::new(b.finish()),
            Self::Shown(b, _) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Address(b) => Arc::new(b.finish()),
            Self::List(b) => Arc::new(b.finish()),
        }
    }
}

/// Shows these bytes as text; how many bytes that has.
fn as_text(bytes: &[u8], harmless: bool, then: impl FnOnce(&str)) -> usize {
    // Nearly every text is UTF-8 and stays as it is: borrowed, it is handed on without a copy.
    match std::str::from_utf8(bytes) {
        Ok(text) if !harmless || !text.contains(acts) => {
            then(text);
            text.len()
        }
        _ => {
            let text = repaired(bytes, harmless);
            then(&text);
            text.len()
        }
    }
}

/// The same with U+FFFD for what is not UTF-8, and for what a terminal would act on.
#[cold]
fn repaired(bytes: &[u8], harmless: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    if harmless { text.replace(acts, "\u{fffd}") } else { text.into_owned() }
}

/// Whether a terminal acts on the character: controls, and those that turn the direction of text.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
