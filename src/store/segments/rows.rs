//! From rows to Arrow columns.
//!
//! [`Batch`] gathers rows and gives a record batch when it is full. Text that is not UTF-8 gets U+FFFD for what is not,
//! because Parquet's text is UTF-8. Bound: [`BATCH_ROWS`] rows and about [`BATCH_BYTES`] bytes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, StringBuilder,
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

    /// Adds a row.
    pub(in crate::store) fn push(&mut self, row: &Row<'_>) -> Result<(), ArrowError> {
        let mut values = [None; MOST_COLUMNS];
        row.project(&self.projection, &mut values);
        for (builder, value) in self.builders.iter_mut().zip(values) {
            self.bytes += builder.push(value, self.harmless)?;
        }
        self.rows += 1;
        Ok(())
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

    /// Adds a value, or its absence; how many bytes it takes.
    fn push(&mut self, value: Option<Value<'_>>, harmless: bool) -> Result<usize, ArrowError> {
        match (self, value) {
            (Self::U64(b), Some(Value::U64(n))) => b.append_value(n),
            (Self::U64(b), _) => b.append_null(),
            // Sizes, durations and numbers of records are far below.
            (Self::I64(b), Some(Value::U64(n))) => b.append_value(i64::try_from(n).unwrap_or(i64::MAX)),
            (Self::I64(b), _) => b.append_null(),
            (Self::Time(b), Some(Value::Time(t))) => b.append_value(t.as_micros()),
            (Self::Time(b), _) => b.append_null(),
            (Self::Text(b), Some(Value::Text(t))) => {
                let text = text(t, harmless);
                b.append_value(&text);
                return Ok(8 + text.len());
            }
            (Self::Text(b), _) => b.append_null(),
            (Self::Bool(b), Some(Value::Bool(on))) => b.append_value(on),
            (Self::Bool(b), _) => b.append_null(),
            (Self::Address(b), Some(Value::Address(ip))) => b.append_value(octets(ip))?,
            (Self::Address(b), _) => b.append_null(),
            (Self::Shown(b, text), Some(Value::Address(ip))) => {
                text.clear();
                let _ = write!(text, "{ip}");
                b.append_value(&text);
                return Ok(8 + text.len());
            }
            (Self::Shown(b, _), _) => b.append_null(),
            (Self::List(b), Some(Value::List(list))) => {
                list.iter().for_each(|item| b.values().append_value(text(item, harmless)));
                b.append(true);
                return Ok(8 + list.as_bytes().len());
            }
            (Self::List(b), _) => b.append_null(),
        }
        Ok(8)
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

fn text(bytes: &[u8], harmless: bool) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if harmless && text.contains(acts) {
        return Cow::Owned(text.replace(acts, "\u{fffd}"));
    }
    text
}

/// Whether a terminal acts on the character: controls, and those that turn the direction of text.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Room for the values of one row.
const MOST_COLUMNS: usize = 128;
const _: () = assert!(crate::record::event::COLUMN_COUNT <= MOST_COLUMNS);
