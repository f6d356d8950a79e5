//! What one entry of the audit log says.
//!
//! The order of the fields is the order in the line. Pure. Bound: the texts are cut to [`TEXT_BYTES`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::Who;
use crate::clock::Timestamp;
use crate::ledger::{Chained, Interruption};
use crate::record::Purpose;

/// Longest reason, recipient, filter or statement in an entry, in bytes; longer ones are refused, not cut.
pub(super) const TEXT_BYTES: usize = 8 * 1024;

/// The sort of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Somebody is about to read.
    Read,
    /// Somebody is about to hand records to a recipient: the disclosure register.
    Disclosure,
    /// Records are about to be destroyed because their time is over.
    Destruction,
    /// Records whose time is over are kept.
    Hold,
    /// The keys that sign consent are about to be changed.
    KeyChange,
    /// The read, disclosure, destruction or change `of` has ended.
    End,
    /// The bytes before this entry are what a killed writer left, or entries are missing.
    Interrupted,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything asked for was shown.
    Complete,
    /// It was broken off: the output was closed, or a file could not be read.
    Broken,
}

/// The legal ground of a disclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Those whose records are given have agreed: only records with granted consent are given.
    Consent,
    /// A contract with the person.
    Contract,
    /// A duty by law.
    Law,
    /// The transfer of the site to another owner.
    Transfer,
}

impl Basis {
    /// The name on the command line and in the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::Law => "law",
            Self::Transfer => "transfer",
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// To whom records are given, and on what ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disclosure<'a> {
    /// The legal ground.
    pub basis: Basis,
    /// Who gets them.
    pub recipient: &'a str,
}

/// How records are destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The keys that open them are destroyed; what they sealed is unreadable from then on.
    Keys,
    /// Their files are removed, and the keys that are left of the day are destroyed.
    Files,
}

/// What is destroyed because its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destruction<'a> {
    /// The class of fields; `clear` for whole records, `receipt` for address and user agent in receipts of consent.
    pub class: &'a str,
    /// The day of the records, `2026-11-22`; of receipts the month.
    pub day: &'a str,
    /// How.
    pub method: Method,
    /// Files that hold records of the day.
    pub files: u64,
    /// Records in them that are counted: those of files that are still written are not.
    pub rows: u64,
    /// Keys.
    pub keys: u64,
    /// Why.
    pub reason: &'a str,
}

/// A read that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Why records are read.
    pub purpose: Purpose,
    /// The cause, such as a ticket.
    pub reason: Option<&'a str>,
    /// The command, without its arguments.
    pub command: &'a str,
    /// The filter, without values of sealed columns.
    pub filter: &'a str,
    /// The SQL statement over the records that the filter finds, without literals unless the purpose opens nothing
    /// sealed.
    pub sql: Option<&'a str>,
    /// How much of addresses a recipient gets.
    pub addresses: Option<&'a str>,
    /// The columns that are shown or counted; none for every column that the purpose opens.
    pub columns: &'a [&'a str],
    /// Given for an export to a recipient.
    pub disclosure: Option<Disclosure<'a>>,
}

/// One entry as it is written. Fields that do not belong to its kind are absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1, without holes.
    pub n: u64,
    /// When it was written, RFC 3339 in UTC.
    pub time: String,
    /// Its sort.
    pub kind: Kind,
    /// The hash of the entry before it; zeros for the first.
    pub prev: String,
    /// Who: the user of the operating system.
    #[serde(flatten)]
    pub who: Who,
    /// `end`: the number of the entry that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The purpose of the read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The cause that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The command, without its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The filter; values of sealed columns are keyed hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The SQL statement; its literals are keyed hashes when a sealed column was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// The columns shown or counted; `*` for every column that the purpose opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// `disclosure`: the legal ground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// `disclosure`: who gets the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// `disclosure`: how much of addresses is given: `full`, `network` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<String>,
    /// `end`: records shown, counted or given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// `end`: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// `destruction`, `hold`: the class of fields; `clear` for whole records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `destruction`, `hold`: the day of the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// `destruction`: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// `destruction`: files that hold such records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// `destruction`: keys. `end` of a `key-change`: keys that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// `interrupted`: bytes before this entry that are no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `interrupted`: their SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `interrupted`: entries that the head knew and that are gone; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// `interrupted`: the head was missing or not readable although there were entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

impl Entry {
    /// An entry of that kind, its place in the log still open.
    pub(super) fn new(kind: Kind, who: &Who, now: Timestamp) -> Self {
        Self {
            n: 0,
            time: now.to_string(),
            kind,
            prev: String::new(),
            who: who.clone(),
            of: None,
            purpose: None,
            reason: None,
            command: None,
            filter: None,
            sql: None,
            columns: Vec::new(),
            basis: None,
            recipient: None,
            addresses: None,
            rows: None,
            outcome: None,
            class: None,
            day: None,
            method: None,
            files: None,
            keys: None,
            bytes: None,
            sha256: None,
            lost: None,
            head: None,
        }
    }

    /// The entry of a destruction.
    pub(super) fn destruction(kind: Kind, what: &Destruction<'_>, who: &Who, now: Timestamp) -> Self {
        Self {
            reason: Some(what.reason.to_owned()),
            command: Some(RETENTION.to_owned()),
            class: Some(what.class.to_owned()),
            day: Some(what.day.to_owned()),
            method: Some(what.method),
            files: Some(what.files),
            rows: Some(what.rows),
            keys: Some(what.keys),
            ..Self::new(kind, who, now)
        }
    }

    /// The entry of a hold.
    pub(super) fn hold(class: &str, day: &str, by: &str, who: &Who, now: Timestamp) -> Self {
        Self {
            reason: Some(by.to_owned()),
            command: Some(RETENTION.to_owned()),
            class: Some(class.to_owned()),
            day: Some(day.to_owned()),
            ..Self::new(Kind::Hold, who, now)
        }
    }

    /// The entry of a change of keys.
    pub(super) fn key_change(command: &str, reason: Option<&str>, who: &Who, now: Timestamp) -> Self {
        Self {
            reason: reason.map(|r| r.trim().to_owned()),
            command: Some(command.to_owned()),
            ..Self::new(Kind::KeyChange, who, now)
        }
    }

    /// The entry of a read or a disclosure.
    pub(super) fn reading(reading: &Reading<'_>, who: &Who, now: Timestamp) -> Self {
        let kind = if reading.disclosure.is_some() { Kind::Disclosure } else { Kind::Read };
        let columns = if reading.columns.is_empty() { &["*"] } else { reading.columns };
        Self {
            purpose: Some(reading.purpose.label().to_owned()),
            reason: reading.reason.map(|r| r.trim().to_owned()),
            command: Some(reading.command.to_owned()),
            filter: Some(reading.filter.to_owned()),
            sql: reading.sql.map(str::to_owned),
            addresses: reading.addresses.map(str::to_owned),
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            basis: reading.disclosure.map(|d| d.basis),
            recipient: reading.disclosure.map(|d| d.recipient.trim().to_owned()),
            ..Self::new(kind, who, now)
        }
    }
}

impl Chained for Entry {
    fn link(&self) -> (u64, &str) {
        (self.n, &self.prev)
    }

    fn set_link(&mut self, n: u64, prev: &str) {
        (self.n, self.prev) = (n, prev.to_owned());
    }

    fn interruption(&self) -> Option<Interruption> {
        (self.kind == Kind::Interrupted).then(|| Interruption {
            bytes: self.bytes,
            sha256: self.sha256.clone(),
            lost: self.lost,
            head: self.head.clone(),
        })
    }

    /// It has the time and user of the next one, and nothing else of it.
    fn telling(interruption: Interruption, next: &Self) -> Self {
        let Interruption { bytes, sha256, lost, head } = interruption;
        let bare = Self::new(Kind::Interrupted, &next.who, Timestamp::default());
        Self { time: next.time.clone(), bytes, sha256, lost, head, ..bare }
    }
}
/// What stands for a command where the gateway itself acts.
const RETENTION: &str = "retention";
