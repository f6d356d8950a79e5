//! The one door to the records: nothing is read without a [`Grant`], and only [`open_read`] makes one.
//!
//! It is asked before any file is opened. Never looks at a record. Bound: the columns of one command.

use std::fmt;

use super::filter::Filter;
use crate::record::{Class, Column, Purpose};

/// Proof that a read has a purpose, that its columns belong to that purpose, and that a reason was given where one
/// is needed.
#[derive(Debug)]
pub struct Grant {
    purpose: Purpose,
}

impl Grant {
    /// The purpose of the read.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether the column may be read.
    #[must_use]
    pub const fn opens(&self, column: &Column) -> bool {
        self.purpose.opens(column.class)
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

/// Grants a read of these columns under a purpose. Every read of records passes here: the audit entry is written here
/// as well, before the first file is opened.
///
/// # Errors
/// When the filter or a column needs a class that the purpose does not open, or a reason is missing.
pub fn open_read(
    purpose: Purpose,
    reason: Option<&str>,
    filter: &Filter,
    columns: &[&'static Column],
) -> Result<Grant, Refused> {
    for column in filter.columns().chain(columns.iter().copied()) {
        if !purpose.opens(column.class) {
            return Err(Refused::Sealed { column: column.name, class: column.class, purpose });
        }
    }
    if purpose != Purpose::Support && reason.is_none_or(|r| r.trim().is_empty()) {
        return Err(Refused::NoReason(purpose));
    }
    Ok(Grant { purpose })
}

/// The purposes under which records are inspected; `subject-rights` has its own commands.
pub const READERS: [Purpose; 5] =
    [Purpose::Support, Purpose::Security, Purpose::Fraud, Purpose::Diagnostics, Purpose::Advertising];

#[cfg(test)]
mod tests {
    use super::super::field::resolve;
    use super::super::parse::parse;
    use super::*;
    use crate::record::COLUMNS;

    #[test]
    fn a_sealed_filter_is_refused_and_the_key_is_named() {
        let filter = parse("status=200 -ip:10.0.0.0/8").unwrap();
        let refused = open_read(Purpose::Support, None, &filter, &[]).expect_err("sealed");
        assert_eq!(
            refused.to_string(),
            "client.address is sealed (class sec); purpose support does not open it\n  hint: it is opened by --purpose security"
        );
        assert!(open_read(Purpose::Security, Some("ticket 7"), &filter, &[]).is_ok());
    }

    #[test]
    fn shown_columns_are_checked_as_well() {
        let country = resolve("country").unwrap();
        let refused = open_read(Purpose::Security, Some("r"), &Filter::default(), &[country]);
        assert!(matches!(refused, Err(Refused::Sealed { class: Class::Fraud, .. })));
    }

    #[test]
    fn all_but_support_need_a_reason() {
        for purpose in READERS {
            let needs = purpose != Purpose::Support;
            assert_eq!(open_read(purpose, None, &Filter::default(), &[]).is_err(), needs, "{purpose}");
            assert_eq!(open_read(purpose, Some(" "), &Filter::default(), &[]).is_err(), needs, "{purpose}");
        }
    }

    #[test]
    fn every_column_is_opened_by_somebody() {
        for column in COLUMNS {
            assert!(READERS.iter().any(|p| p.opens(column.class)), "{}", column.name);
        }
    }
}
