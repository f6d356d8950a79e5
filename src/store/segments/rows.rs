//! From rows to Arrow columns.
//!
//! [`Batch`] gathers rows and gives a record batch when it is full. Text that is not UTF-8 gets U+FFFD for what is not,
//! because Parquet's text is UTF-8. Bound: [`BATCH_ROWS`] rows and about [`BATCH_BYTES`] bytes.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder,
    UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};

use super::schema;
use crate::record::event::Type;
use crate::record::wire::octets;
use crate::record::{Column, Projection, Row, Value};

/// Rows handed to the Parquet writer at once.
pub(super) const BATCH_ROWS: usize = 8192;
/// Bytes of values after which a batch is handed on although it has fewer rows.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// Rows on their way into a segment.
pub(super) struct Batch {
    schema: SchemaRef,
    projection: Projection,
    builders: Vec<Builder>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    /// An empty batch of these columns.
    pub(super) fn new(columns: &[&'static Column]) -> Self {
        Self {
            schema: schema::schema(columns),
            projection: Projection::new(columns),
            builders: columns.iter().copied().map(Builder::new).collect(),
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<(), ArrowError> {
        let mut values = [None; MOST_COLUMNS];
        row.project(&self.projection, &mut values);
        for (builder, value) in self.builders.iter_mut().zip(values) {
            self.bytes += builder.push(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Whether it should be taken before another row is added.
    pub(super) const fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The rows gathered so far, which are forgotten; `None` when there are none.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
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
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Bool(BooleanBuilder),
    Address(FixedSizeBinaryBuilder),
    List(ListBuilder<StringBuilder>),
}

impl Builder {
    fn new(column: &Column) -> Self {
        match column.ty {
            Type::U64 => Self::U64(UInt64Builder::new()),
            Type::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Type::Text => Self::Text(StringBuilder::new()),
            Type::Bool => Self::Bool(BooleanBuilder::new()),
            Type::Address => Self::Address(FixedSizeBinaryBuilder::new(16)),
            Type::List => Self::List(ListBuilder::new(StringBuilder::new()).with_field(schema::item())),
        }
    }

    /// Adds a value, or its absence; how many bytes it takes.
    fn push(&mut self, value: Option<Value<'_>>) -> Result<usize, ArrowError> {
        match (self, value) {
            (Self::U64(b), Some(Value::U64(n))) => b.append_value(n),
            (Self::U64(b), _) => b.append_null(),
            (Self::Time(b), Some(Value::Time(t))) => b.append_value(t.as_micros()),
            (Self::Time(b), _) => b.append_null(),
            (Self::Text(b), Some(Value::Text(t))) => {
                let text = text(t);
                b.append_value(&text);
                return Ok(8 + text.len());
            }
            (Self::Text(b), _) => b.append_null(),
            (Self::Bool(b), Some(Value::Bool(on))) => b.append_value(on),
            (Self::Bool(b), _) => b.append_null(),
            (Self::Address(b), Some(Value::Address(ip))) => b.append_value(octets(ip))?,
            (Self::Address(b), _) => b.append_null(),
            (Self::List(b), Some(Value::List(list))) => {
                list.iter().for_each(|item| b.values().append_value(text(item)));
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
            Self::Time(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Address(b) => Arc::new(b.finish()),
            Self::List(b) => Arc::new(b.finish()),
        }
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Room for the values of one row.
const MOST_COLUMNS: usize = 128;
const _: () = assert!(crate::record::event::COLUMN_COUNT <= MOST_COLUMNS);
