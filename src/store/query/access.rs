//! The one door to the records: nothing is read without a [`Grant`], and only [`open_read`] makes one.
//!
//! [`Ask::allow`] looks at the purpose before any file is opened; [`open_read`] needs what it returns and the audit
//! log, and a grant holds the proof that the entry is on the disk. Never looks at a record. Bound: the columns of one
//! command.

use std::fmt;
use std::path::Path;

use super::filter::Filter;
use super::statement;
use crate::audit::{AuditError, AuditLog, Audited, Disclosure, Outcome, Reading};
use crate::clock::Timestamp;
use crate::record::purpose::Opened;
use crate::record::{Class, Column, Purpose};

/// What somebody wants to read, and why.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Why.
    pub purpose: Purpose,
    /// The cause; needed for every purpose but `support`.
    pub reason: Option<&'a str>,
    /// The command, without its arguments.
    pub command: &'a str,
    /// What is looked for.
    pub filter: &'a Filter,
    /// The columns that are shown or counted; none for every column that the purpose opens.
    pub columns: &'a [&'static Column],
    /// Given when the records go to a recipient.
    pub disclosure: Option<Disclosure<'a>>,
}

/// Something that may be read as soon as it is in the audit log. Only [`Ask::allow`] makes one.
#[derive(Debug)]
pub struct Allowed<'a> {
    ask: Ask<'a>,
    sql: Option<&'a str>,
    addresses: Option<&'a str>,
}

/// Proof that a read has a purpose, that its columns belong to that purpose, that a reason was given where one is
/// needed, and that all of it is in the audit log.
#[derive(Debug)]
#[must_use = "a read is ended with Grant::end"]
pub struct Grant {
    purpose: Purpose,
    audited: Audited,
}

impl<'a> Ask<'a> {
    /// Checks the purpose; opens no file.
    ///
    /// # Errors
    /// When the filter or a column needs a class that the purpose does not open, or a reason is missing.
    pub fn allow(self) -> Result<Allowed<'a>, Refused> {
        let purpose = self.purpose;
        for column in self.filter.columns().chain(self.columns.iter().copied()) {
            if !purpose.opens(column.class) {
                return Err(Refused::Sealed { column: column.name, class: column.class, purpose });
            }
        }
        if purpose != Purpose::Support && self.reason.is_none_or(|r| r.trim().is_empty()) {
            return Err(Refused::NoReason(purpose));
        }
        Ok(Allowed { ask: self, sql: None, addresses: None })
    }
}

impl<'a> Allowed<'a> {
    /// The same with an SQL statement over the records that the filter finds, for the audit log.
    #[must_use]
    pub const fn with_statement(mut self, sql: &'a str) -> Self {
        self.sql = Some(sql);
        self
    }

    /// The same with how much of addresses a recipient gets, for the disclosure register.
    #[must_use]
    pub const fn with_addresses(mut self, level: &'a str) -> Self {
        self.addresses = Some(level);
        self
    }
}

/// Grants a read: its entry is on the disk when this returns. Every read of records passes here.
///
/// # Errors
/// When the entry cannot be written: then nothing may be read.
#[expect(clippy::needless_pass_by_value, reason = "one permission is good for one entry")]
pub fn open_read(allowed: Allowed<'_>, log: AuditLog, now: Timestamp) -> Result<Grant, AuditError> {
    let Allowed { ask: Ask { purpose, reason, command, filter, columns, disclosure }, sql, addresses } =
        allowed;
    let sealed = Class::ALL.into_iter().any(|class| class != Class::Clear && purpose.opens(class));
    let sql = sql.map(|sql| match sealed {
        true => statement::redacted(sql, &|column, literal| log.hash(column, literal)),
        false => sql.trim().to_owned(),
    });
    let filter = filter.redacted(&|column, literal| log.hash(column, literal));
    let columns: Vec<&str> = columns.iter().map(|c| c.name).collect();
    let (filter, sql, columns) = (&filter[..], sql.as_deref(), &columns[..]);
    let reading = Reading { purpose, reason, command, filter, sql, addresses, columns, disclosure };
    Ok(Grant { purpose, audited: log.begin(&reading, now)? })
}

/// Grants the search for one person's records, to answer that person: under the purpose `subject-rights`, with the tags
/// as the filter.
///
/// # Errors
/// When the entry cannot be written: then nothing may be done.
pub fn open_subject(
    command: &str,
    reason: &str,
    tags: &str,
    log: AuditLog,
    now: Timestamp,
) -> Result<Grant, AuditError> {
    let purpose = Purpose::SubjectRights;
    let filter = format!("subject={tags}");
    let reading = Reading {
        purpose,
        reason: Some(reason),
        command,
        filter: &filter,
        sql: None,
        columns: &[],
        addresses: None,
        disclosure: None,
    };
    Ok(Grant { purpose, audited: log.begin(&reading, now)? })
}

impl Grant {
    /// Number of its entry in the audit log.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.audited.number()
    }

    /// The purpose of the read.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The records folder whose audit log has the read.
    #[must_use]
    pub fn records(&self) -> &Path {
        self.audited.records()
    }

    /// Whether the column may be read.
    #[must_use]
    pub const fn opens(&self, column: &Column) -> bool {
        self.purpose.opens(column.class)
    }

    /// The classes that may be read.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.purpose.opened()
    }

    /// Ends the read: how many records were shown, counted or given.
    ///
    /// # Errors
    /// When the audit log cannot be written; its entry of the beginning is there.
    pub fn end(self, rows: u64, outcome: Outcome, now: Timestamp) -> Result<(), AuditError> {
        self.audited.end(rows, outcome, now)
    }
}

/// Why a read was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A column belongs to a class that the purpose does not open.
    Sealed {
        /// The dotted name.
        column: &'static str,
        /// Its class.
        class: Class,
        /// The purpose of the read.
        purpose: Purpose,
    },
    /// A purpose other than `support` needs a reason.
    NoReason(Purpose),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed { column, class, purpose } => {
                write!(
                    f,
                    "{column} is sealed (class {}); purpose {purpose} does not open it",
                    class.label()
                )?;
                let mut word = "\n  hint: it is opened by --purpose ";
                for other in READERS.into_iter().filter(|p| p.opens(*class)) {
                    write!(f, "{word}{other}")?;
                    word = " or ";
                }
                Ok(())
            }
            Self::NoReason(purpose) => {
                write!(f, "purpose {purpose} needs a reason\n  hint: add --reason \"ticket or cause\"")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// The purposes under which records are inspected; `subject-rights` has its own commands.
pub const READERS: [Purpose; 5] =
    [Purpose::Support, Purpose::Security, Purpose::Fraud, Purpose::Diagnostics, Purpose::Advertising];

#[cfg(test)]
mod tests {
    use super::super::field::resolve;
    use super::super::parse::parse;
    use super::*;
    use crate::record::COLUMNS;

    fn ask<'a>(
        purpose: Purpose,
        reason: Option<&'a str>,
        filter: &'a Filter,
        columns: &'a [&'static Column],
    ) -> Result<(), Refused> {
        let ask = Ask { purpose, reason, command: "logs query", filter, columns, disclosure: None };
        ask.allow().map(drop)
    }

    #[test]
    fn a_sealed_filter_is_refused_and_the_key_is_named() {
        let filter = parse("status=200 -ip:10.0.0.0/8").unwrap();
        let refused = ask(Purpose::Support, None, &filter, &[]).expect_err("sealed");
        assert_eq!(
            refused.to_string(),
            "client.address is sealed (class sec); purpose support does not open it\n  hint: it is opened by --purpose security"
        );
        assert!(ask(Purpose::Security, Some("ticket 7"), &filter, &[]).is_ok());
    }

    #[test]
    fn shown_columns_are_checked_as_well() {
        let country = resolve("country").unwrap();
        let refused = ask(Purpose::Security, Some("r"), &Filter::default(), &[country]);
        assert!(matches!(refused, Err(Refused::Sealed { class: Class::Fraud, .. })));
    }

    #[test]
    fn all_but_support_need_a_reason() {
        for purpose in READERS {
            let needs = purpose != Purpose::Support;
            assert_eq!(ask(purpose, None, &Filter::default(), &[]).is_err(), needs, "{purpose}");
            assert_eq!(ask(purpose, Some(" "), &Filter::default(), &[]).is_err(), needs, "{purpose}");
        }
    }

    #[test]
    fn every_column_is_opened_by_somebody() {
        for column in COLUMNS {
            assert!(READERS.iter().any(|p| p.opens(column.class)), "{}", column.name);
        }
    }

    #[test]
    fn values_of_sealed_columns_do_not_reach_the_log() {
        let filter = parse("path=/clear -ip=192.0.2.7,192.0.2.8 visitor~^abc ua:* since:2h").unwrap();
        let shown = filter.redacted(&|column, literal| format!("<{}{}>", &column[..2], literal.len()));
        assert_eq!(
            shown,
            "url.path=/clear -client.address=<cl9>,<cl9> visitor.tag~<vi4> user_agent.original:* since:2h"
        );
    }
}
