//! `subject export`: a person's records, of every class, with what each column means, and their receipts of consent.
//!
//! Records of nobody else are in it. A file is made new, for its owner alone. Bound: one record.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::Failure;
use super::args::{ExportArgs, ExportFormat};
use super::receipts::{Theirs, Traces};
use super::who::{Subject, ended, tell_unlinked, unlinked_words};
use crate::cli::logs::cell::{push_human, push_json_value};
use crate::cli::logs::escape::{push_json, push_text};
use crate::cli::logs::tell_damage;
use crate::cli::new_file::new_file;
use crate::clock;
use crate::record::{COLUMNS, Class, Column, Row};
use crate::store::query::Grant;

/// `subject export`; whether there are records, and all files could be searched.
pub(super) fn run(args: &ExportArgs, out: &mut dyn Write) -> Result<bool, Failure> {
    let subject = Subject::of(&args.who)?;
    // Before the entry: what stands in its way is no access.
    let file = args.output.as_deref().map(new_file).transpose().map_err(Failure::Usage)?;
    let granted = subject.grant("subject export", &args.who.reason);
    if let (Err(_), Some(path)) = (&granted, &args.output) {
        // Nothing was read: the name is free for the next try.
        std::fs::remove_file(path).map_err(Failure::Output)?;
    }
    let grant = granted?;
    let mut given = Given::default();
    let result = match file {
        None => write(args.format, &subject, &grant, &mut given, out),
        Some(mut file) => write(args.format, &subject, &grant, &mut given, &mut file)
            .and_then(|()| file.sync_all().map_err(Failure::Output)),
    };
    ended(grant, given.records, result)?;
    tell_damage(&given.damaged);
    tell_unlinked(given.unlinked);
    Ok((given.records > 0 || given.receipts > 0) && given.damaged.is_empty() && given.unlinked == 0)
}

/// What was given out.
#[derive(Default)]
struct Given {
    records: u64,
    receipts: usize,
    /// Files that could not be searched to their end.
    damaged: BTreeSet<PathBuf>,
    /// Records of which nobody can say whose they are.
    unlinked: u64,
}

fn write(
    format: ExportFormat,
    subject: &Subject,
    grant: &Grant,
    given: &mut Given,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(out);
    out.write_all(head(format, &subject.tags).as_bytes()).map_err(Failure::Output)?;
    let mut failed = None;
    let mut line = String::new();
    let mut traces = Traces::default();
    given.damaged = subject.person.records(&subject.folder, grant, Arc::clone(&subject.keys), |row| {
        if failed.is_some() {
            return;
        }
        traces.note(row);
        line.clear();
        match format {
            ExportFormat::Json => push_record(&mut line, row, given.records > 0),
            ExportFormat::Text => push_plain(&mut line, row, given.records + 1),
        }
        failed = out.write_all(line.as_bytes()).err();
        given.records += u64::from(failed.is_none());
    })?;
    if let Some(cause) = failed {
        return Err(Failure::Output(cause));
    }
    let theirs = traces.receipts(subject, grant)?;
    given.receipts = theirs.len();
    out.write_all(receipts_of(format, &theirs).as_bytes()).map_err(Failure::Output)?;
    given.unlinked = subject.unlinked()?;
    out.write_all(end(format, given.damaged.len(), given.unlinked).as_bytes()).map_err(Failure::Output)?;
    out.flush().map_err(Failure::Output)
}

/// What stands behind the records.
fn receipts_of(format: ExportFormat, receipts: &[Theirs]) -> String {
    let mut text = match format {
        ExportFormat::Json => "\n],\"receipts\":[".to_owned(),
        ExportFormat::Text => String::new(),
    };
    for (i, theirs) in receipts.iter().enumerate() {
        let mut entry = serde_json::to_value(&theirs.receipt).unwrap_or_default();
        let seen = theirs.seen.as_ref();
        entry["client"] = serde_json::json!({
            "address": seen.and_then(|seen| seen.address.as_deref()),
            "user_agent": seen.and_then(|seen| seen.user_agent.as_deref()),
            "kept_until": theirs.until.map(|at| at.to_string()),
        });
        match format {
            ExportFormat::Json => {
                text.push_str(if i > 0 { ",\n" } else { "\n" });
                text.push_str(&entry.to_string());
            }
            ExportFormat::Text => {
                text.push_str(&format!("\nReceipt of consent {}\n", i + 1));
                for (name, value) in entry.as_object().into_iter().flatten() {
                    text.push_str(&format!("  {name}: "));
                    push_text(
                        &mut text,
                        value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_bytes(),
                    );
                    text.push('\n');
                }
            }
        }
    }
    text
}

/// What stands at the end: whoever reads it must know whether it is everything.
fn end(format: ExportFormat, damaged: usize, unlinked: u64) -> String {
    if format == ExportFormat::Json {
        return format!("\n],\"damaged_files\":{damaged},\"unlinked\":{unlinked}}}\n");
    }
    let mut text = String::new();
    if damaged > 0 {
        text.push_str(&format!(
            "\nNot everything: {damaged} files are damaged, and what is behind such a place is not here.\n"
        ));
    }
    if unlinked > 0 {
        text.push_str(&format!("\nNot everything: {}.\n", unlinked_words(unlinked)));
    }
    text
}

/// What stands before the records.
fn head(format: ExportFormat, tags: &str) -> String {
    let mut text = String::new();
    match format {
        ExportFormat::Json => {
            text.push_str("{\"made\":");
            push_json(&mut text, clock::now().to_string().as_bytes());
            text.push_str(",\"subject\":");
            push_json(&mut text, tags.as_bytes());
            text.push_str(",\"columns\":{");
            for (i, column) in COLUMNS.iter().enumerate() {
                text.push_str(if i > 0 { ",\n" } else { "\n" });
                push_json(&mut text, column.name.as_bytes());
                for (key, value) in [
                    (":{\"meaning\":", column.doc.trim()),
                    (",\"kept_for\":", column.purpose),
                    (",\"policy\":", column.clause),
                    (",\"class\":", class_in_words(column.class)),
                ] {
                    text.push_str(key);
                    push_json(&mut text, value.as_bytes());
                }
                text.push('}');
            }
            text.push_str("\n},\"records\":[");
        }
        ExportFormat::Text => {
            text.push_str(&format!("Records of {tags}, {}\n\nWhat the columns mean:\n", clock::now()));
            for column in COLUMNS {
                let (name, doc, class) = (column.name, column.doc.trim(), class_in_words(column.class));
                let (purpose, clause) = (column.purpose, column.clause);
                text.push_str(&format!(
                    "  {name}\n      {doc} ({class}; kept for: {purpose}; policy {clause})\n"
                ));
            }
        }
    }
    text
}

fn push_record(line: &mut String, row: &Row<'_>, comma: bool) {
    line.push_str(if comma { ",\n{" } else { "\n{" });
    for (i, (column, value)) in values(row).enumerate() {
        if i > 0 {
            line.push(',');
        }
        push_json(line, column.name.as_bytes());
        line.push(':');
        push_json_value(line, &value);
    }
    line.push('}');
}

fn push_plain(line: &mut String, row: &Row<'_>, number: u64) {
    line.push_str(&format!("\nRecord {number}\n"));
    for (column, value) in values(row) {
        let mut text = String::new();
        push_human(&mut text, column, Some(&value));
        line.push_str("  ");
        push_text(line, column.name.as_bytes());
        line.push_str(": ");
        line.push_str(&text);
        line.push('\n');
    }
}

fn values<'a>(row: &Row<'a>) -> impl Iterator<Item = (&'static Column, crate::record::Value<'a>)> {
    COLUMNS.iter().filter_map(|column| Some((column, row.get(column)?)))
}

const fn class_in_words(class: Class) -> &'static str {
    match class {
        Class::Clear => "facts without a person",
        Class::Sec => "addresses and identifiers",
        Class::Fraud => "location and risk",
        Class::Diag => "technical detail",
        Class::Ads => "campaign data",
    }
}
