//! The columns of a segment file, made from the one column table.
//!
//! `seq` and `ts` first, then what is clear, the sealed classes last. Each field carries its dotted name, class, clause
//! and purpose. Never adds a column of its own. Bound: the table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::schema::types::ColumnPath;

use crate::record::event::Type;
use crate::record::{COLUMNS, Class, Column};

/// Name of the items of a list column; Parquet tools agree on it.
pub(super) const ITEM: &str = "item";

/// How the values of a table lie in its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As in a segment file: addresses are 16 bytes.
    Segment,
    /// For a recipient: addresses are text.
    Plain,
    /// For an SQL engine: addresses are text, numbers are signed and times are UTC without saying so, so that
    /// differences and comparisons need neither casts nor a time zone.
    Sql,
    /// The same for a program that shows values on a terminal as they are: what would act on it becomes U+FFFD.
    Shell,
}

impl Shape {
    pub(super) const fn for_sql(self) -> bool {
        matches!(self, Self::Sql | Self::Shell)
    }
}

/// The Arrow schema of a table with these columns.
pub(in crate::store) fn table(columns: &[&'static Column], shape: Shape) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| field(column, shape)).collect::<Vec<_>>()))
}

/// Every column, in the order of a segment file.
pub(super) fn columns() -> Vec<&'static Column> {
    let mut columns: Vec<&'static Column> = COLUMNS.iter().collect();
    // Stable: within a class the order is that of the reference.
    columns.sort_by_key(|c| (c.class, !matches!(c.name, "seq" | "ts")));
    columns
}

/// The Arrow type of a column.
fn data_type(ty: Type, shape: Shape) -> DataType {
    match (ty, shape) {
        (Type::U64, _) if shape.for_sql() => DataType::Int64,
        (Type::U64, _) => DataType::UInt64,
        (Type::Time, _) if shape.for_sql() => DataType::Timestamp(TimeUnit::Microsecond, None),
        (Type::Time, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        (Type::Address, Shape::Segment) => DataType::FixedSizeBinary(16),
        (Type::Text | Type::Address, _) => DataType::Utf8,
        (Type::Bool, _) => DataType::Boolean,
        (Type::List, _) => DataType::List(item()),
    }
}

/// The field of a list's items.
pub(super) fn item() -> Arc<Field> {
    Arc::new(Field::new(ITEM, DataType::Utf8, false))
}

/// The path of the column that holds the values in the file.
pub(super) fn leaf(column: &Column) -> String {
    match column.ty {
        Type::List => format!("{}.list.{ITEM}", column.column),
        _ => column.column.to_owned(),
    }
}

/// The same as a path; a column name has no dots of its own.
pub(super) fn path(column: &Column) -> ColumnPath {
    ColumnPath::new(leaf(column).split('.').map(ToOwned::to_owned).collect())
}

/// Whether the values lie in the file encrypted.
pub(super) const fn sealed(column: &Column) -> bool {
    !matches!(column.class, Class::Clear)
}

fn field(column: &Column, shape: Shape) -> Field {
    let required = matches!(column.name, "seq" | "ts");
    let about = [
        ("kelisim.name", column.name),
        ("kelisim.class", column.class.label()),
        ("kelisim.clause", column.clause),
        ("kelisim.purpose", column.purpose),
    ];
    let about: HashMap<_, _> = about.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Field::new(column.column, data_type(column.ty, shape), !required).with_metadata(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_columns_are_last_and_every_column_is_there_once() {
        let columns = columns();
        assert_eq!((columns[0].name, columns[1].name), ("ts", "seq"));
        assert!(columns.is_sorted_by_key(|c| c.class));
        let mut ids: Vec<_> = columns.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), COLUMNS.len());
    }

    #[test]
    fn a_field_tells_its_policy() {
        let schema = table(&columns(), Shape::Segment);
        let field = schema.field_with_name("client_address").expect("a field");
        let about = |key: &str| field.metadata().get(key).map(String::as_str);
        assert_eq!(about("kelisim.name"), Some("client.address"));
        assert_eq!(about("kelisim.class"), Some("sec"));
        assert!(about("kelisim.clause").is_some_and(|c| c.contains("1.1.2")));
        assert_eq!(field.data_type(), &DataType::FixedSizeBinary(16));
    }
}
