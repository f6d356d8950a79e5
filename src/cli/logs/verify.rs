//! `verify`: whether the segments are what was written.
//!
//! Checks the manifest's chain, the hash of every file and the numbers of the records. Reads no record, so it needs
//! neither purpose nor key. Bound: one line per finding.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::read::{Failure, Output};
use crate::store::query::records_folder;
use crate::store::segments::{self, Finding, Report};

/// Arguments of `logs verify`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct VerifyArgs {
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
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
    let text = match args.format {
        VerifyFormat::Table => table(&report),
        VerifyFormat::Json => format!("{}\n", object(&report)),
    };
    out.write(&text)?;
    out.flush()?;
    Ok(report.findings.is_empty())
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (what, whose) = words(finding);
        text.push_str(&format!("{what:<12} {whose}\n"));
    }
    let Report { segments, records, erased, bytes, lines, findings } = report;
    let outcome =
        if findings.is_empty() { "good".to_owned() } else { format!("{} findings", findings.len()) };
    text.push_str(&format!(
        "{segments} segments, {records} records, {bytes} bytes, {lines} lines of the manifest: {outcome}\n"
    ));
    if *erased > 0 {
        text.push_str(&format!("{erased} records were erased\n"));
    }
    text
}

fn object(report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report.findings.iter().map(words).collect();
    let findings: Vec<_> =
        findings.iter().map(|(what, whose)| json!({ "finding": what, "of": whose })).collect();
    json!({
        "segments": report.segments,
        "records": report.records,
        "erased": report.erased,
        "bytes": report.bytes,
        "manifest_lines": report.lines,
        "good": report.findings.is_empty(),
        "findings": findings,
    })
}

fn words(finding: &Finding) -> (&'static str, String) {
    match finding {
        Finding::Manifest(fault) => ("manifest", fault.clone()),
        Finding::Missing(file) => ("missing", file.clone()),
        Finding::Unreadable(file) => ("unreadable", file.clone()),
        Finding::Changed(file) => ("changed", file.clone()),
        Finding::Count(file) => ("count", file.clone()),
        Finding::Hole { instance, first_seq, last_seq } => {
            ("hole", format!("process {instance}: records {first_seq} to {last_seq}"))
        }
    }
}

const HELP: &str = "Exit codes: 0 everything is as it was written, 1 it is not, 70 it cannot be read.";
