//! Arrow columns on their way back into rows.
//!
//! Each column's type is looked at once per batch. Never copies a value before a row asks for it. Bound: the batch.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{TimestampMicrosecondType, UInt64Type};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};

use crate::record::Column;
use crate::record::rebuilt::RowBuilder;

/// The columns of a batch.
pub(super) struct Cells {
    rows: usize,
    seq: Option<UInt64Array>,
    ts: Option<TimestampMicrosecondArray>,
    kind: Option<StringArray>,
    columns: Vec<(&'static Column, Values)>,
}

enum Values {
    U64(UInt64Array),
    Time(TimestampMicrosecondArray),
    Text(StringArray),
    Bool(BooleanArray),
    Address(FixedSizeBinaryArray),
    List(ListArray, StringArray),
}

impl Cells {
    /// The columns that the batch has of these. One with values of another type is left out.
    pub(super) fn of(batch: &RecordBatch, columns: &[&'static Column]) -> Self {
        let mut cells = Self { rows: batch.num_rows(), seq: None, ts: None, kind: None, columns: Vec::new() };
        for column in columns.iter().copied() {
            let Some(array) = batch.column_by_name(column.column) else { continue };
            match (column.name, Values::of(array)) {
                ("seq", Some(Values::U64(array))) => cells.seq = Some(array),
                ("ts", Some(Values::Time(array))) => cells.ts = Some(array),
                ("record.kind", Some(Values::Text(array))) => cells.kind = Some(array),
                (_, Some(values)) if !column.of_row() => cells.columns.push((column, values)),
                _ => {}
            }
        }
        cells
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn seq(&self, row: usize) -> u64 {
        self.seq.as_ref().map_or(0, |array| array.value(row))
    }

    pub(super) fn ts(&self, row: usize) -> i64 {
        self.ts.as_ref().map_or(0, |array| array.value(row))
    }

    pub(super) fn kind(&self, row: usize) -> Option<&[u8]> {
        self.kind.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row).as_bytes())
    }

    /// Adds the values of a row.
    pub(super) fn put(&self, row: usize, builder: &mut RowBuilder) {
        for (column, values) in &self.columns {
            match values {
                Values::U64(a) if a.is_valid(row) => builder.number(column, a.value(row)),
                Values::Time(a) if a.is_valid(row) => builder.number(column, a.value(row).cast_unsigned()),
                Values::Bool(a) if a.is_valid(row) => builder.number(column, u64::from(a.value(row))),
                Values::Text(a) if a.is_valid(row) => builder.bytes(column, a.value(row).as_bytes()),
                Values::Address(a) if a.is_valid(row) => builder.bytes(column, a.value(row)),
                Values::List(a, items) if a.is_valid(row) => {
                    let offsets = a.value_offsets();
                    let span = offsets[row] as usize..offsets[row + 1] as usize;
                    builder.list(column, span.map(|i| items.value(i).as_bytes()));
                }
                _ => {}
            }
        }
    }
}

impl Values {
    fn of(array: &ArrayRef) -> Option<Self> {
        if let Some(a) = array.as_primitive_opt::<UInt64Type>() {
            return Some(Self::U64(a.clone()));
        }
        if let Some(a) = array.as_primitive_opt::<TimestampMicrosecondType>() {
            return Some(Self::Time(a.clone()));
        }
        if let Some(a) = array.as_string_opt::<i32>() {
            return Some(Self::Text(a.clone()));
        }
        if let Some(a) = array.as_boolean_opt() {
            return Some(Self::Bool(a.clone()));
        }
        if let Some(a) = array.as_fixed_size_binary_opt() {
            return Some(Self::Address(a.clone()));
        }
        let list = array.as_list_opt::<i32>()?;
        Some(Self::List(list.clone(), list.values().as_string_opt::<i32>()?.clone()))
    }
}
