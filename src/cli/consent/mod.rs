//! `kelisim consent verify|stats|show|rotate-key`: the proofs of consent, and the key of the consent cookie.
//!
//! `verify` reads the whole log and every text that it names; `stats` counts. Neither opens what is sealed, so neither
//! needs a purpose. Never writes, but for the audit log and, in `rotate`, the key. Bounds: that of [`ledger::verify`]; five million receipts are followed.

mod receipt;
mod rotate;
mod show;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

pub use rotate::RotateArgs;
pub use show::ShowArgs;

use super::OWN_FAULT;
use crate::clock::Timestamp;
use crate::consent::receipts::{Kind, Receipt, State, TEXTS, hash_of, ledger};
use crate::ledger::{self, Verified};
use crate::store::query::records_folder;

/// The verbs of `kelisim consent`.
#[derive(Debug, Subcommand)]
pub enum ConsentCommand {
    /// Check that every receipt is as it was written, and that the texts they name are there
    Verify(ConsentArgs),
    /// Count choices by what happened, site, policy version, way and language
    Stats(ConsentArgs),
    /// Show one receipt, its place in the chain, and under a purpose that opens them address and user agent
    Show(ShowArgs),
    /// Make a new key for consent records; older ones verify as long as a choice can count
    RotateKey(RotateArgs),
}

/// Where the receipts are.
#[derive(Debug, Args)]
pub struct ConsentArgs {
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// How to write: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: ConsentFormat,
}

/// How the outcome is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConsentFormat {
    /// For people, may change
    #[default]
    Table,
    /// One object; stable
    Json,
}

/// Runs a command. Exit code 0, 1 when something was changed or is missing, 2 when there is nothing to read, 64 for a bad
/// configuration, 70 for our own fault.
///
/// # Errors
/// The output cannot be written.
pub fn run(command: &ConsentCommand, now: Timestamp) -> io::Result<ExitCode> {
    run_to(command, now, &mut io::stdout().lock()).map(ExitCode::from)
}

fn run_to(command: &ConsentCommand, now: Timestamp, out: &mut impl Write) -> io::Result<u8> {
    let args = match command {
        ConsentCommand::Verify(args) | ConsentCommand::Stats(args) => args,
        ConsentCommand::Show(args) => return show::run(args, now, out),
        ConsentCommand::RotateKey(args) => return rotate::run(args, now, out),
    };
    let Some(folder) = folder_with_receipts(&args.data) else { return Ok(2) };
    let mut seen = Seen::default();
    let verified = match ledger::verify(&ledger(&folder), |entry: &Receipt, _| seen.add(entry)) {
        Ok(verified) => verified,
        Err(cause) => {
            eprintln!("error: the receipts cannot be read: {cause}");
            return Ok(OWN_FAULT);
        }
    };
    let is_verify = matches!(command, ConsentCommand::Verify(_));
    let bad_texts = if is_verify { bad_texts(&folder, &seen.texts) } else { Vec::new() };
    let good = verified.problems.is_empty() && bad_texts.is_empty();
    let text = match (is_verify, args.format) {
        (true, ConsentFormat::Table) => verify_table(&verified, &seen, &bad_texts),
        (true, ConsentFormat::Json) => format!("{}\n", verify_json(&verified, &seen, &bad_texts)),
        (false, ConsentFormat::Table) => seen.table(now),
        (false, ConsentFormat::Json) => format!("{}\n", seen.json(now)),
    };
    out.write_all(text.as_bytes())?;
    Ok(u8::from(!good))
}

/// The records folder if there are receipts in it; says so if not.
fn folder_with_receipts(data: &Path) -> Option<PathBuf> {
    let folder = records_folder(data).filter(|folder| ledger(folder).was_begun());
    if folder.is_none() {
        eprintln!(
            "error: there are no receipts in {}\n  hint: name the gateway's data folder with --data DIR",
            data.display()
        );
    }
    folder
}

/// Texts that receipts name and that are not there or not what they were.
fn bad_texts(folder: &Path, hashes: &BTreeSet<String>) -> Vec<String> {
    let texts = ledger(folder).folder().join(TEXTS);
    let is_good =
        |hash: &&String| std::fs::read_to_string(texts.join(hash)).is_ok_and(|text| hash_of(&text) == **hash);
    hashes.iter().filter(|hash| !is_good(hash)).cloned().collect()
}

/// What the entries say.
#[derive(Debug, Default)]
struct Seen {
    events: BTreeMap<&'static str, u64>,
    sites: BTreeMap<String, u64>,
    policies: BTreeMap<String, u64>,
    methods: BTreeMap<String, u64>,
    languages: BTreeMap<String, u64>,
    /// Hashes of texts of ours and of policies.
    texts: BTreeSet<String>,
    /// Until when each receipt that nothing replaced counts, and for what there is consent.
    standing: HashMap<String, (String, Vec<String>)>,
    /// Receipts beyond [`STANDING`].
    unfollowed: u64,
}

impl Seen {
    fn add(&mut self, entry: &Receipt) {
        *self.events.entry(entry.event.label()).or_default() += 1;
        let Some(id) = &entry.receipt else { return };
        if entry.event == Kind::Expired {
            self.standing.remove(id);
        }
        let Some(details) = &entry.details else { return };
        let count = |map: &mut BTreeMap<String, u64>, key: Option<&str>| {
            *map.entry(key.unwrap_or("none").to_owned()).or_default() += 1;
        };
        count(&mut self.sites, entry.site.as_deref());
        count(&mut self.policies, details.policy.as_ref().map(|policy| policy.id.as_str()));
        count(&mut self.methods, Some(&details.method));
        count(&mut self.languages, Some(&details.language));
        self.texts.extend(details.policy.as_ref().map(|policy| policy.sha256.clone()));
        let own = details.text.as_ref().filter(|text| text.id.starts_with("page-"));
        self.texts.extend(own.map(|text| text.sha256.clone()));
        if let Some(replaced) = &details.replaces {
            self.standing.remove(replaced);
        }
        if self.standing.len() >= STANDING {
            self.unfollowed += 1;
            return;
        }
        let given = details.purposes.iter().filter(|purpose| purpose.state == State::Given);
        let given = given.map(|purpose| purpose.purpose.clone()).collect();
        self.standing.insert(id.clone(), (details.valid_until.clone(), given));
    }

    /// How many receipts count now, and for how many there is consent to each purpose.
    fn standing(&self, now: Timestamp) -> (u64, BTreeMap<&str, u64>) {
        let now = now.to_string();
        let mut consents = BTreeMap::new();
        let mut count = 0;
        for (_, purposes) in self.standing.values().filter(|(until, _)| *until >= now) {
            count += 1;
            for purpose in purposes {
                *consents.entry(purpose.as_str()).or_default() += 1;
            }
        }
        (count, consents)
    }

    fn table(&self, now: Timestamp) -> String {
        let mut out = String::new();
        let mut part = |title: &str, counts: &mut dyn Iterator<Item = (&str, u64)>| {
            for (name, count) in counts {
                let _ = writeln!(out, "{title:<10} {count:>9}  {name}");
            }
        };
        part("event", &mut self.events.iter().map(|(name, n)| (*name, *n)));
        for (title, map) in [
            ("site", &self.sites),
            ("policy", &self.policies),
            ("way", &self.methods),
            ("language", &self.languages),
        ] {
            part(title, &mut map.iter().map(|(name, n)| (name.as_str(), *n)));
        }
        let (count, consents) = self.standing(now);
        part("in force", &mut std::iter::once(("choices", count)));
        part("in force", &mut consents.into_iter());
        if self.unfollowed > 0 {
            let _ = writeln!(out, "{} further choices were counted but not followed", self.unfollowed);
        }
        out
    }

    fn json(&self, now: Timestamp) -> serde_json::Value {
        let (count, consents) = self.standing(now);
        json!({
            "events": self.events,
            "sites": self.sites,
            "policies": self.policies,
            "methods": self.methods,
            "languages": self.languages,
            "in_force": { "choices": count, "consents": consents, "unfollowed": self.unfollowed },
        })
    }
}

fn verify_table(verified: &Verified, seen: &Seen, bad_texts: &[String]) -> String {
    let mut out = String::new();
    for problem in &verified.problems {
        let place = problem.line.map_or_else(|| "log".to_owned(), |line| format!("line {line}"));
        let _ = writeln!(out, "{place}: {}", problem.what);
    }
    if verified.more > 0 {
        let _ = writeln!(out, "and {} further problems", verified.more);
    }
    for hash in bad_texts {
        let _ = writeln!(out, "text {hash}: missing or changed");
    }
    let _ = write!(out, "{} entries, {} texts", verified.entries, seen.texts.len());
    if verified.interrupted > 0 {
        let _ = write!(out, ", {} half-written by a killed process", verified.interrupted);
    }
    let state = if verified.problems.is_empty() && bad_texts.is_empty() { "whole" } else { "CHANGED" };
    let _ = write!(out, "\nhead {}\nthe receipts are {state}\n", verified.head);
    out
}

fn verify_json(verified: &Verified, seen: &Seen, bad_texts: &[String]) -> serde_json::Value {
    let problems: Vec<_> =
        verified.problems.iter().map(|p| json!({ "line": p.line, "what": p.what })).collect();
    json!({
        "entries": verified.entries,
        "interrupted": verified.interrupted,
        "head": verified.head,
        "texts": seen.texts.len(),
        "bad_texts": bad_texts,
        "problems": problems,
        "further_problems": verified.more,
        "good": verified.problems.is_empty() && bad_texts.is_empty(),
    })
}

/// Most receipts whose later fate is followed.
const STANDING: usize = 5_000_000;
