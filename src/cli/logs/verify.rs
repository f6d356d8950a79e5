//! `verify`: whether the segments are what was written.
//!
//! Checks the manifest's chain, the hash of every file, the numbers of the records and which keys are there. Reads no
//! record, so it needs no purpose. Bound: one line per finding.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::read::{Failure, Output};
use crate::seal::{self, LocalKeys};
use crate::store::query::records_folder;
use crate::store::segments::{self, Finding, KeyReport, Report};

/// Arguments of `logs verify`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct VerifyArgs {
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// Folder of the keys, where it is not `keys` beside the journal (records.keys_dir)
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// How to write: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = VerifyFormat::Table)]
    pub format: VerifyFormat,
}

/// How the outcome is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    /// For people, may change
    Table,
    /// One object; stable
    Json,
}

/// `logs verify`; whether everything is as it was written.
pub(super) fn run(args: &VerifyArgs, out: &mut Output<'_>) -> Result<bool, Failure> {
    let Some(folder) = records_folder(&args.data) else {
        return Err(Failure::Usage(format!(
            "there is no journal in {}\n  hint: name the gateway's data folder with --data DIR",
            args.data.display()
        )));
    };
    let report = segments::verify(&folder).map_err(Failure::Read)?;
    let keys = args.keys.clone().unwrap_or_else(|| folder.join(seal::local::FOLDER));
    // A copy of the records without keys is no fault.
    let keys = match keys.is_dir() {
        true => Some(segments::verify_keys(&folder, &LocalKeys::at(&keys)).map_err(Failure::Read)?),
        false => None,
    };
    let text = match args.format {
        VerifyFormat::Table => table(&report, keys.as_ref()),
        VerifyFormat::Json => format!("{}\n", object(&report, keys.as_ref())),
    };
    out.write(&text)?;
    out.flush()?;
    Ok(report.findings.is_empty() && keys.is_none_or(|keys| keys.missing.is_empty()))
}

/// Every finding in words.
fn found(report: &Report, keys: Option<&KeyReport>) -> Vec<(&'static str, String)> {
    let missing = keys.into_iter().flat_map(|keys| &keys.missing);
    let keys = missing.map(|(file, key)| ("key", format!("{file}: key {key} is missing")));
    report.findings.iter().map(words).chain(keys).collect()
}

fn table(report: &Report, keys: Option<&KeyReport>) -> String {
    let mut text = String::new();
    let found = found(report, keys);
    for (what, whose) in &found {
        text.push_str(&format!("{what:<12} {whose}\n"));
    }
    let Report { segments, records, erased, bytes, lines, .. } = report;
    let outcome = if found.is_empty() { "good".to_owned() } else { format!("{} findings", found.len()) };
    text.push_str(&format!(
        "{segments} segments, {records} records, {bytes} bytes, {lines} lines of the manifest: {outcome}\n"
    ));
    if *erased > 0 {
        text.push_str(&format!("{erased} records were erased\n"));
    }
    match keys {
        None => text.push_str("the keys are not here: they were not looked at\n"),
        Some(keys) if keys.expired > 0 => {
            text.push_str(&format!("{} segments have columns whose keys were destroyed\n", keys.expired));
        }
        Some(_) => {}
    }
    text
}

fn object(report: &Report, keys: Option<&KeyReport>) -> serde_json::Value {
    let findings = found(report, keys);
    let findings: Vec<_> =
        findings.iter().map(|(what, whose)| json!({ "finding": what, "of": whose })).collect();
    json!({
        "segments": report.segments,
        "records": report.records,
        "erased": report.erased,
        "bytes": report.bytes,
        "manifest_lines": report.lines,
        "expired": keys.map(|keys| keys.expired),
        "good": findings.is_empty(),
        "findings": findings,
    })
}

fn words(finding: &Finding) -> (&'static str, String) {
    match finding {
        Finding::Manifest(fault) => ("manifest", fault.clone()),
        Finding::Missing(file) => ("missing", file.clone()),
        Finding::Unreadable(file) => ("unreadable", file.clone()),
        Finding::Unlisted(file) => ("unlisted", file.clone()),
        Finding::Changed(file) => ("changed", file.clone()),
        Finding::Count(file) => ("count", file.clone()),
        Finding::Hole { instance, first_seq, last_seq } => {
            ("hole", format!("process {instance}: records {first_seq} to {last_seq}"))
        }
    }
}

const HELP: &str = "Exit codes: 0 everything is as it was written, 1 it is not, 70 it cannot be read.";
