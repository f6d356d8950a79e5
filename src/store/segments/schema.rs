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

/// Every column, in the order of a segment file.
pub(super) fn columns() -> Vec<&'static Column> {
    let mut columns: Vec<&'static Column> = COLUMNS.iter().collect();
    // Stable: within a class the order is that of the reference.
    columns.sort_by_key(|c| (c.class, !matches!(c.name, "seq" | "ts")));
    columns
}

/// The Arrow schema of a segment file with these columns.
pub(super) fn schema(columns: &[&'static Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().copied().map(field).collect::<Vec<_>>()))
}

/// The Arrow type of a column.
pub(super) fn data_type(ty: Type) -> DataType {
    match ty {
        Type::U64 => DataType::UInt64,
        Type::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Text => DataType::Utf8,
        Type::Bool => DataType::Boolean,
        Type::Address => DataType::FixedSizeBinary(16),
        Type::List => DataType::List(item()),
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

fn field(column: &'static Column) -> Field {
    let required = matches!(column.name, "seq" | "ts");
    let about = [
        ("kelisim.name", column.name),
        ("kelisim.class", column.class.label()),
        ("kelisim.clause", column.clause),
        ("kelisim.purpose", column.purpose),
    ];
    let about: HashMap<_, _> = about.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Field::new(column.column, data_type(column.ty), !required).with_metadata(about)
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
        let schema = schema(&columns());
        let field = schema.field_with_name("client_address").expect("a field");
        let about = |key: &str| field.metadata().get(key).map(String::as_str);
        assert_eq!(about("kelisim.name"), Some("client.address"));
        assert_eq!(about("kelisim.class"), Some("sec"));
        assert!(about("kelisim.clause").is_some_and(|c| c.contains("1.1.2")));
        assert_eq!(field.data_type(), &DataType::FixedSizeBinary(16));
    }
}
