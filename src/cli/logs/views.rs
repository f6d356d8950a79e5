//! `fields --as`: what another program needs to read the segments without a key.
//!
//! Names the columns that are not sealed, because those programs fail on any other. Run it in the folder of the
//! records. Reads no record. Bound: the column table.

use super::args::Program;
use crate::record::{COLUMNS, Class, Column};

/// Text that makes or asks `records`.
pub(super) fn view(program: Program) -> String {
    let clear: Vec<&Column> = COLUMNS.iter().filter(|column| column.class == Class::Clear).collect();
    let names = |open: &str, between: &str, close: &str| {
        let names: Vec<String> =
            clear.iter().map(|column| format!("{open}{}{close}", column.column)).collect();
        names.join(between)
    };
    match program {
        Program::Duckdb => format!(
            "-- In the folder of the records. Times are UTC. Finished requests only.\n\
             SET TimeZone = 'UTC';\n\
             CREATE OR REPLACE VIEW records AS\nSELECT\n  {}\n\
             FROM read_parquet('{FILES}', union_by_name = true, hive_partitioning = false)\n\
             WHERE record_kind = 'access';\n",
            names("", ",\n  ", "")
        ),
        Program::Clickhouse => format!(
            "-- In the folder of the records, by clickhouse-local. Finished requests only.\n\
             SELECT\n  {}\nFROM file('{FILES}', Parquet)\nWHERE record_kind = 'access'\n",
            names("", ",\n  ", "")
        ),
        Program::Polars => format!(
            "# In the folder of the records. Finished requests only.\n\
             import polars\n\n\
             COLUMNS = [\n    {},\n]\n\
             records = (\n    polars.scan_parquet(\"{FILES}\", hive_partitioning=False)\n    \
             .select(COLUMNS)\n    .filter(polars.col(\"record_kind\") == \"access\")\n)\n",
            names("\"", ",\n    ", "\"")
        ),
        Program::Pyarrow => format!(
            "# In the folder of the records. Finished requests only.\n\
             import glob\n\nimport pyarrow\nimport pyarrow.compute\nimport pyarrow.parquet\n\n\
             COLUMNS = [\n    {},\n]\n\
             records = pyarrow.concat_tables(\n    pyarrow.parquet.ParquetFile(path).read(columns=COLUMNS)\n    \
             for path in sorted(glob.glob(\"{FILES}\"))\n)\n\
             records = records.filter(pyarrow.compute.field(\"record_kind\") == \"access\")\n",
            names("\"", ",\n    ", "\"")
        ),
    }
}

/// The segments, from the folder of the records.
const FILES: &str = "segments/dt=*/*.parquet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_names_every_clear_column_and_no_sealed_one() {
        for program in [Program::Duckdb, Program::Polars, Program::Pyarrow, Program::Clickhouse] {
            let text = view(program);
            for column in COLUMNS {
                let named = text
                    .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .any(|w| w == column.column);
                assert_eq!(named, column.class == Class::Clear, "{program:?} {}", column.column);
            }
        }
    }
}
