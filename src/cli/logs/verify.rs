//! `verify`: whether segments, journal, tombstones and audit log are what was written.
//!
//! Checks the manifest's chain, the hash of every segment, the numbers of the records, whether the keys are there and open
//! what they should, every frame of the journal, the book of tombstones and the chain of the audit log. Tells the gaps and
//! what was put aside: a loss that is told is no fault. Reads no record of a request, so it needs no purpose. Bound: one
//! line per finding.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::read::{Failure, Output};
use crate::audit::{self, Verified};
use crate::seal::{self, KeyProvider, LocalKeys};
use crate::store::query::records_folder;
use crate::store::segments::{self, Finding, KeyReport, Report};
use crate::store::subjects::{Book, promise_fault};
use crate::store::verify::{Gaps, JournalReport, gaps, verify_journal, verify_other_keys};

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

/// Everything that was looked at.
struct Checked {
    segments: Report,
    /// `None` when the keys are not here, or nobody knows which are needed.
    keys: Option<KeyReport>,
    /// What the keys do not open besides segments: of what, and why.
    unopened: Vec<(String, String)>,
    journal: JournalReport,
    /// `None` when the manifest cannot be believed.
    gaps: Option<Gaps>,
    /// Why the book of tombstones cannot be read, or not be believed.
    tombstones: Option<String>,
    /// `None` when there is no audit log.
    audit: Option<Verified>,
}

/// `logs verify`; whether everything is as it was written.
pub(super) fn run(args: &VerifyArgs, out: &mut Output<'_>) -> Result<bool, Failure> {
    let Some(folder) = records_folder(&args.data) else {
        return Err(Failure::Usage(format!(
            "there is no journal in {}\n  hint: name the gateway's data folder with --data DIR",
            args.data.display()
        )));
    };
    let keys = args.keys.clone().unwrap_or_else(|| folder.join(seal::local::FOLDER));
    let checked = check(&folder, &keys).map_err(Failure::Read)?;
    let found = checked.found();
    let text = match args.format {
        VerifyFormat::Table => table(&checked, &found),
        VerifyFormat::Json => format!("{}\n", object(&checked, &found)),
    };
    out.write(&text)?;
    out.flush()?;
    Ok(found.is_empty())
}

fn check(folder: &Path, keys: &Path) -> io::Result<Checked> {
    // The journal first: what becomes a segment meanwhile was there.
    let journal = verify_journal(folder)?;
    let segments = segments::verify(folder)?;
    let believed = !segments.findings.iter().any(|f| matches!(f, Finding::Manifest(_)));
    // A copy of the records without keys is no fault.
    let (mut opened, mut unopened) = (None, Vec::new());
    if believed && keys.is_dir() {
        let keys: Arc<dyn KeyProvider> = Arc::new(LocalKeys::at(keys));
        opened = Some(segments::verify_keys(folder, &keys)?);
        unopened = verify_other_keys(folder, &keys)?;
    }
    let tombstones = match Book::read(folder) {
        Ok(book) => promise_fault(folder, &book, segments.erased).map(str::to_owned),
        Err(error) => Some(error.to_string()),
    };
    let audit = match audit::verify(folder, |_, _| {}) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        verified => Some(verified?),
    };
    Ok(Checked {
        keys: opened,
        unopened,
        gaps: if believed { Some(gaps(folder)?) } else { None },
        tombstones,
        audit,
        journal,
        segments,
    })
}

impl Checked {
    /// Every finding in words.
    fn found(&self) -> Vec<(&'static str, String)> {
        let mut found: Vec<_> = self.segments.findings.iter().map(words).collect();
        let missing = self.keys.iter().flat_map(|keys| &keys.missing);
        found.extend(missing.map(|(file, key)| ("key", format!("{file}: key {key} is missing"))));
        let keys = self.keys.as_ref();
        let unfit = keys.into_iter().flat_map(|keys| &keys.unfit).chain(&self.unopened);
        found.extend(unfit.map(|(of, fault)| ("key", format!("{of}: {fault}"))));
        let foreign = keys.into_iter().flat_map(|keys| &keys.foreign);
        found.extend(
            foreign.map(|file| ("index", format!("{file}: its index is not what was written for it"))),
        );
        let journal = self.journal.findings.iter();
        found.extend(journal.map(|(file, fault)| ("journal", format!("{file}: {fault}"))));
        found.extend(self.tombstones.iter().map(|fault| ("tombstones", fault.clone())));
        let audit = self.audit.as_ref();
        found.extend(audit.into_iter().flat_map(|log| &log.problems).map(|problem| match problem.line {
            Some(line) => ("audit", format!("line {line}: {}", problem.what)),
            None => ("audit", problem.what.clone()),
        }));
        let more = audit.map_or(0, |log| log.more);
        found.extend((more > 0).then(|| ("audit", format!("{more} more"))));
        found
    }
}

fn table(checked: &Checked, found: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (what, whose) in found {
        text.push_str(&format!("{what:<12} {whose}\n"));
    }
    let Report { segments, records, erased, bytes, lines, .. } = &checked.segments;
    let outcome = if found.is_empty() { "good".to_owned() } else { format!("{} findings", found.len()) };
    let JournalReport { files, quarantined: (pieces, aside), .. } = &checked.journal;
    let entries = checked.audit.as_ref().map_or(0, |log| log.entries);
    text.push_str(&format!(
        "{segments} segments, {records} records, {bytes} bytes, {lines} lines of the manifest; {files} journal files; {entries} entries of the audit log: {outcome}\n"
    ));
    if *erased > 0 {
        text.push_str(&format!("{erased} records were erased\n"));
    }
    if let Some(Gaps { gaps, missing }) = checked.gaps.filter(|found| found.gaps > 0) {
        text.push_str(&format!(
            "{gaps} gaps with at least {missing} missing records in the segments; `kelisim logs query kind=gap` shows them\n"
        ));
    }
    if *pieces > 0 {
        text.push_str(&format!("{pieces} damaged pieces were put aside, {aside} bytes\n"));
    }
    match &checked.keys {
        None if checked.gaps.is_none() => {}
        None => text.push_str("the keys are not here: they were not looked at\n"),
        Some(keys) if keys.expired > 0 => {
            text.push_str(&format!("{} segments have columns whose keys were destroyed\n", keys.expired));
        }
        Some(_) => {}
    }
    text
}

fn object(checked: &Checked, found: &[(&'static str, String)]) -> serde_json::Value {
    let findings: Vec<_> =
        found.iter().map(|(what, whose)| json!({ "finding": what, "of": whose })).collect();
    let Report { segments, records, erased, bytes, lines, .. } = &checked.segments;
    let (pieces, aside) = checked.journal.quarantined;
    json!({
        "segments": segments,
        "records": records,
        "erased": erased,
        "bytes": bytes,
        "manifest_lines": lines,
        "keys_checked": checked.keys.is_some(),
        "expired": checked.keys.as_ref().map(|keys| keys.expired),
        "journal_files": checked.journal.files,
        "audit_entries": checked.audit.as_ref().map(|log| log.entries),
        "gaps": checked.gaps.map(|found| found.gaps),
        "missing": checked.gaps.map(|found| found.missing),
        "quarantined": { "pieces": pieces, "bytes": aside },
        "good": found.is_empty(),
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

const HELP: &str =
    "Gaps and pieces that were put aside are told, and are no fault: what is missing there is known.
Exit codes: 0 everything is as it was written, 1 it is not, 70 it cannot be read.";
