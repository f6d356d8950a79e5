//! `subject find`: how many records of a person there are, by day and class, and which receipts; none is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::Failure;
use super::args::{FindArgs, Format};
use super::receipts::{Theirs, Traces};
use super::who::{Subject, ended, tell_unlinked};
use crate::cli::logs::tell_damage;
use crate::record::Class;
use crate::seal::Day;
use crate::store::query::Grant;
use crate::store::subjects::{Book, Counts, TagSeal};

/// Records by day.
pub(super) type Days = BTreeMap<String, Counts>;

/// What there is of a person.
pub(super) struct Found {
    pub(super) days: Days,
    pub(super) receipts: Vec<Theirs>,
    /// Files that could not be searched to their end.
    pub(super) damaged: BTreeSet<PathBuf>,
    /// Records of which nobody can say whose they are.
    pub(super) unlinked: u64,
}

/// `subject find`; whether there are any, and all files could be searched.
pub(super) fn run(args: &FindArgs, out: &mut dyn Write) -> Result<bool, Failure> {
    let subject = Subject::of(&args.who)?;
    let grant = subject.grant("subject find", &args.who.reason)?;
    let found = counted(&subject, &grant).and_then(|found| Ok((blocks(&subject)?, found)));
    let records = found.as_ref().map_or(0, |(_, found)| total(&found.days).records);
    let (blocks, found) = ended(grant, records, found)?;
    let text = match args.format {
        Format::Table => table(&subject.tags, &found.days, &blocks) + &receipts_table(&found.receipts),
        Format::Json => format!("{}\n", object(&subject.tags, &found, &blocks)),
    };
    out.write_all(text.as_bytes()).map_err(Failure::Output)?;
    tell_damage(&found.damaged);
    tell_unlinked(found.unlinked);
    Ok((records > 0 || !found.receipts.is_empty()) && found.damaged.is_empty() && found.unlinked == 0)
}

/// The person's records by day and class, and their receipts.
pub(super) fn counted(subject: &Subject, grant: &Grant) -> Result<Found, Failure> {
    let (mut days, mut traces) = (Days::new(), Traces::default());
    let damaged = subject.person.records(&subject.folder, grant, Arc::clone(&subject.keys), |row| {
        days.entry(Day::of(row.ts).to_string()).or_default().add(row);
        traces.note(row);
    })?;
    let unlinked = subject.unlinked()?;
    Ok(Found { days, receipts: traces.receipts(subject, grant)?, damaged, unlinked })
}

/// How many receipts there are, and which.
fn receipts_table(receipts: &[Theirs]) -> String {
    let mut text = format!("receipts of consent: {}\n", receipts.len());
    for receipt in receipts.iter().map(|theirs| &theirs.receipt) {
        let (id, event) = (receipt.receipt.as_deref().unwrap_or_default(), receipt.event.label());
        let _ = writeln!(text, "{:<10} {id}  {event}", receipt.time.get(..10).unwrap_or_default());
    }
    text
}

/// Since when the person is blocked, and how many records that hides.
fn blocks(subject: &Subject) -> Result<Vec<(String, u64)>, Failure> {
    let book = Book::read(&subject.folder).map_err(crate::store::subjects::SubjectError::from)?;
    let mut found = Vec::new();
    let mut blocks = book.tombstones().filter(|t| t.blocks()).peekable();
    if blocks.peek().is_none() {
        return Ok(found);
    }
    let seal = TagSeal::new(&*subject.keys).map_err(Failure::Keys)?;
    for tombstone in blocks {
        let tags = seal.open(tombstone).map_err(Failure::Keys)?;
        if tags.iter().any(|tag| subject.person.tags().contains(tag)) {
            found.push((tombstone.at.to_string(), tombstone.rows.numbers()));
        }
    }
    Ok(found)
}

/// The sum of all days.
pub(super) fn total(days: &Days) -> Counts {
    days.values().fold(Counts::default(), |mut sum, day| {
        sum.records += day.records;
        sum.classes.iter_mut().zip(day.classes).for_each(|(sum, n)| *sum += n);
        sum
    })
}

fn table(tags: &str, days: &Days, blocks: &[(String, u64)]) -> String {
    let mut text = format!("{tags}\n");
    text.push_str(&counts_table(days));
    for (since, records) in blocks {
        let _ =
            writeln!(text, "blocked since {since}; {records} records are hidden, and those that came since");
    }
    text
}

/// One line per day, and their sum.
pub(super) fn counts_table(days: &Days) -> String {
    let mut text = format!("{:<10}{:>9}", "day", "records");
    for class in Class::ALL {
        let _ = write!(text, "{:>9}", class.label());
    }
    text.push('\n');
    let all = total(days);
    let lines = days.iter().map(|(day, counts)| (day.as_str(), counts)).chain([("all", &all)]);
    for (day, counts) in lines {
        let _ = write!(text, "{day:<10}{:>9}", counts.records);
        for class in Class::ALL {
            let _ = write!(text, "{:>9}", counts.classes[class as usize]);
        }
        text.push('\n');
    }
    text
}

fn object(tags: &str, found: &Found, blocks: &[(String, u64)]) -> serde_json::Value {
    let counts = |counts: &Counts| {
        let classes: serde_json::Map<String, serde_json::Value> = Class::ALL
            .into_iter()
            .map(|class| (class.label().to_owned(), counts.classes[class as usize].into()))
            .collect();
        json!({ "records": counts.records, "classes": classes })
    };
    let by_day: serde_json::Map<String, serde_json::Value> =
        found.days.iter().map(|(day, of_day)| (day.clone(), counts(of_day))).collect();
    let blocked: Vec<_> =
        blocks.iter().map(|(since, records)| json!({ "since": since, "hidden": records })).collect();
    json!({
        "tags": tags.split(',').collect::<Vec<_>>(),
        "all": counts(&total(&found.days)),
        "days": by_day,
        "blocked": blocked,
        "receipts": found.receipts.iter().map(|theirs| &theirs.receipt.receipt).collect::<Vec<_>>(),
        "damaged_files": found.damaged.len(),
        "unlinked": found.unlinked,
    })
}
