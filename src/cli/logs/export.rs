//! `export`: records for a recipient, entered in the disclosure register before the first one is written.
//!
//! With the ground `consent` only records with granted consent are given, whatever the filter says. A file is made
//! new, for its owner alone. Never gives a column that the purpose does not open. Bound: one line.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

use super::Format;
use super::args::{ExportArgs, ExportFormat, Ground};
use super::read::{Failure, Output, Request, Wish, ended, fields_of, filter_of, tell_gaps};
use super::rows::Lines;
use super::terminal::Terminal;
use crate::audit::{Basis, Disclosure};
use crate::clock::Timestamp;
use crate::record::Row;
use crate::store::query::filter::{Literal, Op, Test};
use crate::store::query::{Grant, Scan, resolve};

/// `logs export`.
pub(super) fn run(args: &ExportArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    if args.recipient.trim().is_empty() {
        return Err(Failure::Usage("--recipient must name who gets the records".to_owned()));
    }
    let format = args.format.as_format();
    let columns = fields_of(args.fields.as_deref(), format)?;
    let mut filter = filter_of(&args.filter, args.since, args.until)?;
    let basis = args.basis.as_basis();
    if basis == Basis::Consent {
        let decision = resolve("consent").ok_or_else(|| Failure::Usage("no consent column".to_owned()))?;
        filter.and(Test::Compare(decision, Op::Equal, vec![Literal::Text(GRANTED.to_owned())]));
    }
    let wish = Wish {
        data: &args.data,
        keys: args.keys.as_deref(),
        purpose: args.purpose,
        reason: args.reason.as_deref(),
        command: "logs export",
        filter,
        columns,
        disclosure: Some(Disclosure { basis, recipient: &args.recipient }),
    };
    let Request { grant, scan, .. } = wish.grant(now)?;
    let mut given = 0;
    let result = match &args.output {
        None => rows(args, (&grant, scan), &mut given, out),
        Some(path) => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Failure::Output)
            .and_then(|mut file| {
                let mut to_file = Output::new(&mut file, Terminal::default());
                rows(args, (&grant, scan), &mut given, &mut to_file)?;
                drop(to_file);
                file.sync_all().map_err(Failure::Output)?;
                Ok(given)
            }),
    };
    ended(grant, given, result)
}

fn rows(
    args: &ExportArgs,
    (grant, scan): (&Grant, Scan),
    given: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    // A recipient's file does not depend on the width of our terminal.
    let mut lines = Lines::new(args.format.as_format(), args.fields.as_deref(), grant, Terminal::default());
    let scan = scan.showing(lines.columns());
    out.write(lines.header())?;
    let mut failed = None;
    let show = |row: &Row<'_>| {
        if failed.is_none() {
            failed = out.write(lines.row(row)).err();
            *given += u64::from(failed.is_none());
        }
    };
    let seen = scan.from_seq(0, show).map_err(Failure::Read)?;
    failed.map_or(Ok(()), Err)?;
    out.flush()?;
    tell_gaps(&seen);
    Ok(*given)
}

impl Ground {
    const fn as_basis(self) -> Basis {
        match self {
            Self::Consent => Basis::Consent,
            Self::Contract => Basis::Contract,
            Self::Law => Basis::Law,
            Self::Transfer => Basis::Transfer,
        }
    }
}

impl ExportFormat {
    const fn as_format(self) -> Format {
        match self {
            Self::Json => Format::Json,
            Self::Csv => Format::Csv,
            Self::Clf => Format::Clf,
        }
    }
}

/// The value of `consent.decision` of those who agreed.
const GRANTED: &str = "granted";
