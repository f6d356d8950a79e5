//! Arrow columns on their way back into rows, or counted as they are.
//!
//! Each column's type is looked at once per batch; texts stay in their dictionary. Never copies a value before a row
//! asks for it. Bound: the batch.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, FixedSizeBinaryArray, Int32Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};

use crate::clock::Timestamp;
use crate::record::rebuilt::RowBuilder;
use crate::record::wire;
use crate::record::{Column, Value};

/// The columns of a batch.
pub(in crate::store) struct Cells {
    rows: usize,
    seq: Option<UInt64Array>,
    ts: Option<TimestampMicrosecondArray>,
    columns: Vec<(&'static Column, Values)>,
    /// What a row has of its own.
    of_row: Vec<(&'static Column, Values)>,
}

/// The values of one column.
pub(in crate::store) enum Values {
    U64(UInt64Array),
    Time(TimestampMicrosecondArray),
    Text(StringArray),
    /// Texts by their place in a dictionary, which is the same for many batches.
    Coded(Int32Array, StringArray),
    Bool(BooleanArray),
    Address(FixedSizeBinaryArray),
    List(ListArray, StringArray),
}

impl Cells {
    /// The columns that the batch has of these. One with values of another type is left out.
    pub(super) fn of(batch: &RecordBatch, columns: &[&'static Column]) -> Self {
        let rows = batch.num_rows();
        let mut cells = Self { rows, seq: None, ts: None, columns: Vec::new(), of_row: Vec::new() };
        for column in columns.iter().copied() {
            let Some(array) = batch.column_by_name(column.column) else { continue };
            let Some(values) = Values::of(array) else { continue };
            match (column.name, &values) {
                ("seq", Values::U64(array)) => cells.seq = Some(array.clone()),
                ("ts", Values::Time(array)) => cells.ts = Some(array.clone()),
                _ => {}
            }
            let columns = if column.of_row() { &mut cells.of_row } else { &mut cells.columns };
            columns.push((column, values));
        }
        cells
    }

    /// The values of a column; `None` when the batch has none.
    pub(in crate::store) fn values(&self, column: &Column) -> Option<&Values> {
        let all = self.columns.iter().chain(&self.of_row);
        all.filter(|(known, _)| known.id == column.id).map(|(_, values)| values).next()
    }

    pub(in crate::store) const fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn seq(&self, row: usize) -> u64 {
        self.seq.as_ref().map_or(0, |array| array.value(row))
    }

    pub(in crate::store) fn ts(&self, row: usize) -> i64 {
        self.ts.as_ref().map_or(0, |array| array.value(row))
    }

    /// What the columns of the batch say of a row's kind.
    pub(super) fn kind(&self, row: usize) -> Option<&[u8]> {
        let (_, values) = self.of_row.iter().find(|(column, _)| column.name == "record.kind")?;
        match values.value(row) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Adds the values of a row.
    pub(super) fn put(&self, row: usize, builder: &mut RowBuilder) {
        for (column, values) in &self.columns {
            match values {
                Values::U64(a) if a.is_valid(row) => builder.number(column, a.value(row)),
                Values::Time(a) if a.is_valid(row) => builder.number(column, a.value(row).cast_unsigned()),
                Values::Bool(a) if a.is_valid(row) => builder.number(column, u64::from(a.value(row))),
                Values::Text(a) if a.is_valid(row) => builder.bytes(column, a.value(row).as_bytes()),
                Values::Coded(..) => {
                    if let Some(Value::Text(text)) = values.value(row) {
                        builder.bytes(column, text);
                    }
                }
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
    /// The value of a row; `None` for an absent one, and for a list, which has several.
    pub(in crate::store) fn value(&self, row: usize) -> Option<Value<'_>> {
        match self {
            Self::U64(a) if a.is_valid(row) => Some(Value::U64(a.value(row))),
            Self::Time(a) if a.is_valid(row) => Some(Value::Time(Timestamp::from_micros(a.value(row)))),
            Self::Bool(a) if a.is_valid(row) => Some(Value::Bool(a.value(row))),
            Self::Text(a) if a.is_valid(row) => Some(Value::Text(a.value(row).as_bytes())),
            Self::Coded(codes, texts) if codes.is_valid(row) => {
                let code = usize::try_from(codes.value(row)).ok().filter(|code| *code < texts.len())?;
                Some(Value::Text(texts.value(code).as_bytes()))
            }
            Self::Address(a) if a.is_valid(row) => wire::address(a.value(row)).map(Value::Address),
            _ => None,
        }
    }

    /// The items of a row's list; `None` for an absent one and for other values.
    pub(in crate::store) fn items(&self, row: usize) -> Option<impl Iterator<Item = &[u8]>> {
        let Self::List(list, items) = self else { return None };
        let offsets = list.value_offsets();
        let span = offsets[row] as usize..offsets[row + 1] as usize;
        list.is_valid(row).then(|| span.map(|at| items.value(at).as_bytes()))
    }

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
        if let Some(a) = array.as_dictionary_opt::<Int32Type>() {
            return Some(Self::Coded(a.keys().clone(), a.values().as_string_opt::<i32>()?.clone()));
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
