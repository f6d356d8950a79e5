//! Every way to read records: each command in each format, as one table, and what it gives as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use arrow_array::{Array as _, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::sql::duckdb;
use crate::support::cli::kelisim;

/// How what a command gives becomes text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// It is text.
    Text,
    /// The text has a line of names first, also without any record.
    Named,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
    /// Text for people, which is never empty.
    People,
}

/// The words of each command, and the form of what it gives.
const WAYS: &[(&[&str], Form)] = &[
    (&["query", "--format", "json"], Form::Text),
    (&["query", "--format", "table"], Form::People),
    (&["query", "--format", "csv"], Form::Named),
    (&["query", "--format", "clf"], Form::Text),
    (&["tail", "-n", "10000", "--format", "json"], Form::Text),
    (&["tail", "-n", "10000", "--format", "table"], Form::People),
    (&["tail", "-n", "10000", "--format", "csv"], Form::Named),
    (&["tail", "-n", "10000", "--format", "clf"], Form::Text),
    (&["top", "path", "-n", "10000", "--format", "json"], Form::Text),
    (&["top", "path", "-n", "10000", "--format", "table"], Form::People),
    (&["top", "path", "-n", "10000", "--format", "csv"], Form::Named),
    (&["hist", "status", "--bucket", "1", "--format", "json"], Form::Text),
    (&["hist", "status", "--bucket", "1", "--format", "table"], Form::People),
    (&["hist", "status", "--bucket", "1", "--format", "csv"], Form::Named),
    (&["sql", "--format", "csv", SQL], Form::Named),
    (&["sql", "--format", "json", SQL], Form::People),
    (&["export", "--basis", "law", "--recipient", "court", "--format", "json"], Form::Text),
    (&["export", "--basis", "law", "--recipient", "court", "--format", "csv"], Form::Named),
    (&["export", "--basis", "law", "--recipient", "court", "--format", "clf"], Form::Text),
    (&["export", "--basis", "law", "--recipient", "court", "--format", "parquet"], Form::Parquet),
    (&["export", "--basis", "law", "--recipient", "court", "--format", "arrow"], Form::Arrow),
];

const SQL: &str = "SELECT * FROM records ORDER BY seq";

/// What every command gives in every format, under every purpose, by its words; `filter` narrows it.
pub(super) fn everything(data: &Path, filter: &[&str]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (words, form) in WAYS {
        all.extend(read(data, "support", words, *form, filter));
    }
    // The rest makes no difference between purposes: rows are hidden before they are shown in any form.
    for purpose in ["security", "fraud", "diagnostics", "advertising"] {
        all.extend(read(data, purpose, WAYS[0].0, WAYS[0].1, filter));
    }
    all
}

/// What must not be seen of Anna anywhere, in whatever way one looks.
pub(super) fn assert_nothing_of_anna(data: &Path) {
    for (words, out) in everything(data, &[]) {
        for trace in ["/anna", "AnnasAgent", "anna-4711"] {
            assert!(!out.contains(trace), "{trace} in {words}: {out}");
        }
        assert!(words.contains("hist") || out.contains("/bolat/"), "{words}: {out}");
    }
    for (words, form) in WAYS {
        let Some((words, out)) = read(data, "support", words, *form, &["path~^/anna"]) else { continue };
        let lines = out.lines().count();
        match form {
            Form::Named => assert!(lines <= 1, "{words}: {out}"),
            Form::People => {}
            Form::Text | Form::Parquet | Form::Arrow => assert_eq!(lines, 0, "{words}: {out}"),
        }
    }
}

/// `None` where the program that answers is not installed.
fn read(data: &Path, purpose: &str, words: &[&str], form: Form, filter: &[&str]) -> Option<(String, String)> {
    let data = data.to_str().expect("a path");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table").display().to_string();
    let duckdb = if words[0] == "sql" { duckdb()?.display().to_string() } else { String::new() };
    let more: &[&str] = match form {
        Form::Parquet | Form::Arrow => &["--output", &file],
        _ if words[0] == "sql" => &["--duckdb", &duckdb],
        _ => &[],
    };
    let read = ["--data", data, "--purpose", purpose, "--reason", "r"];
    let said = kelisim(&[&["logs"], words, &read[..], more, filter].concat());
    assert_eq!(said.code, 0, "{words:?}: {said:?}");
    let out = match form {
        Form::Text | Form::Named | Form::People => said.out,
        Form::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).expect("a table"));
            text(reader.expect("Parquet").build().expect("Parquet"))
        }
        Form::Arrow => {
            let reader = arrow_ipc::reader::FileReader::try_new(File::open(&file).expect("a table"), None);
            text(reader.expect("an Arrow file"))
        }
    };
    Some((format!("{purpose} {}", words.join(" ")), out))
}

/// A table as text: a line for each row, every value of it.
fn text<E: std::fmt::Debug>(batches: impl Iterator<Item = Result<RecordBatch, E>>) -> String {
    let mut text = String::new();
    for batch in batches {
        let batch = batch.expect("a batch");
        for row in 0..batch.num_rows() {
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                let value = format!("{:?}", column.slice(row, 1)).replace('\n', " ");
                let _ = write!(text, "{}={value} ", field.name());
            }
            text.push('\n');
        }
    }
    text
}
