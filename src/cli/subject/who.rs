//! From arguments to a person, and the entry in the audit log without which nothing is done.
//!
//! Refuses to work as root on somebody else's folder: what it makes there the gateway could not read. Never prints an
//! identifier. Bound: the arguments.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use super::args::WhoArgs;
use crate::audit::{AuditLog, Outcome};
use crate::clock;
use crate::identify::visitor::{NAME, VisitorKeys};
use crate::seal::{self, KeyProvider, LocalKeys};
use crate::store::query::{Grant, open_subject, records_folder};
use crate::store::subjects::{Identifier, Person, Tagger, unlinked};

/// A person, and the folder with their records.
pub(super) struct Subject {
    /// The folder above `journal`.
    pub(super) folder: PathBuf,
    pub(super) keys: Arc<dyn KeyProvider>,
    /// Where they lie.
    pub(super) keys_folder: PathBuf,
    /// Makes tags.
    pub(super) tagger: Tagger,
    /// Versions of the key of tags that are missing, where the person was named by an identifier: by it nobody finds what
    /// was recorded with them.
    lost: Vec<u32>,
    pub(super) person: Person,
    /// The tags as the audit log and certificates have them.
    pub(super) tags: String,
}

impl Subject {
    /// Finds out who is meant, for a command that changes nothing. Opens no record and makes no key.
    pub(super) fn of(args: &WhoArgs) -> Result<Self, Failure> {
        Self::with(args, |keys, _| LocalKeys::at(keys))
    }

    /// The same, for a command that changes records: it makes the keys that this needs.
    pub(super) fn to_change(args: &WhoArgs) -> Result<Self, Failure> {
        Self::with(args, LocalKeys::for_changes)
    }

    fn with(args: &WhoArgs, keys: impl FnOnce(&Path, &Path) -> LocalKeys) -> Result<Self, Failure> {
        if args.reason.trim().is_empty() {
            return Err(Failure::Usage("--reason must say why".to_owned()));
        }
        let folder = records_folder(&args.data).ok_or_else(|| {
            Failure::Usage(format!(
                "there is no journal in {}\n  hint: name the gateway's data folder with --data DIR",
                args.data.display()
            ))
        })?;
        let owner = folder.metadata().map_err(Failure::Output)?.uid();
        let me = rustix::process::geteuid().as_raw();
        if me != owner {
            return Err(Failure::Usage(format!(
                "the records belong to user {owner}, who must be able to use what is made here\n  hint: sudo -u '#{owner}' kelisim subject …"
            )));
        }
        let keys_folder = args.keys.clone().unwrap_or_else(|| folder.join(seal::local::FOLDER));
        // A new one would find nobody, and say so as if nobody were there.
        let tagger = Tagger::new(&LocalKeys::at(&keys_folder)).map_err(Failure::Keys)?;
        let keys: Arc<dyn KeyProvider> = Arc::new(keys(&keys_folder, &folder));
        let mut identifiers: Vec<Identifier<'_>> =
            args.address.iter().map(|ip| Identifier::Address(ip.0)).collect();
        for cookie in &args.cookie {
            identifiers.push(Identifier::Visitor(visitor(&folder, &cookie.0)?));
        }
        identifiers.extend(args.account.iter().map(|account| Identifier::Account(account.0.as_bytes())));
        let lost = if identifiers.is_empty() { Vec::new() } else { tagger.lost() };
        let person = Person::of(&tagger, &identifiers, &args.tag)
            .ok_or_else(|| Failure::Usage("an account is 1 to 256 bytes long".to_owned()))?;
        let tags: Vec<String> = person.tags().iter().map(ToString::to_string).collect();
        Ok(Self { folder, keys, keys_folder, tagger, lost, person, tags: tags.join(",") })
    }

    /// How many records may be the person's or anybody's, because the key of their tags was lost.
    pub(super) fn unlinked(&self) -> Result<u64, Failure> {
        Ok(unlinked(&self.folder, &self.keys, &self.lost)?)
    }

    /// Enters in the audit log what is going to be done.
    pub(super) fn grant(&self, command: &'static str, reason: &str) -> Result<Grant, Failure> {
        let log = AuditLog::open(&self.folder).map_err(Failure::Audit)?;
        open_subject(command, reason, &self.tags, log, clock::now()).map_err(Failure::Audit)
    }
}

/// The id in a cookie's value.
fn visitor(folder: &Path, value: &str) -> Result<[u8; 16], Failure> {
    let keys = VisitorKeys::load(folder)
        .map_err(|error| Failure::Usage(format!("the key of the visitor cookie cannot be used: {error}")))?;
    let value = value.trim();
    let value = value.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('=')).unwrap_or(value);
    keys.genuine(value.as_bytes()).map(|id| id.uuid().into_bytes()).ok_or_else(|| {
        Failure::Usage(
            "the value of --cookie is not one that this gateway gave, or its key was replaced twice since"
                .to_owned(),
        )
    })
}

/// Tells on standard error that records were left out because nobody can say whose they are.
pub(super) fn tell_unlinked(records: u64) {
    if records > 0 {
        eprintln!(
            "note: {}\n  hint: put keys/lasting back from a backup of the keys; {AS_LONG}",
            unlinked_words(records)
        );
    }
}

/// Why the answer is not everything.
pub(super) fn unlinked_words(records: u64) -> String {
    format!(
        "{records} records could not be searched: the key of their tags was lost, so nobody can say whose they are"
    )
}

const AS_LONG: &str = "without it they stay as long as the records are kept";

/// Ends the audit entry of a command that found or changed so many records, however it went.
pub(super) fn ended<T>(grant: Grant, records: u64, result: Result<T, Failure>) -> Result<T, Failure> {
    let outcome = if result.is_ok() { Outcome::Complete } else { Outcome::Broken };
    let written = grant.end(records, outcome, clock::now()).map_err(Failure::Audit);
    result.and_then(|found| written.map(|()| found))
}
