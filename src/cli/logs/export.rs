//! `export`: records for a recipient, entered in the disclosure register before the first one is written.
//!
//! With the ground `consent` only records with granted consent are given, whatever the filter says, and none of those whose
//! consent was withdrawn since. A file is made new, for its owner alone. Never gives a column that the purpose does not
//! open, nor more of an address than the redaction level says. Bound: one line, or one row group.

use super::Format;
use super::args::{ExportArgs, ExportFormat, Ground, Level};
use super::read::{Failure, More, Output, Request, Wish, ended, fields_of, filter_of, tell_gaps};
use super::rows::Lines;
use super::terminal::Terminal;
use super::withdrawn::Withdrawn;
use crate::audit::{Basis, Disclosure};
use crate::cli::new_file::new_file;
use crate::clock::Timestamp;
use crate::record::event::Type;
use crate::record::{COLUMNS, Class, Column, Precision, Row};
use crate::store::query::filter::{Literal, Op, Test};
use crate::store::query::{Grant, Scan, resolve};
use crate::store::segments::Shape;
use crate::store::table::Table;

/// `logs export`.
pub(super) fn run(args: &ExportArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    if args.recipient.trim().is_empty() {
        return Err(Failure::Usage("--recipient must name who gets the records".to_owned()));
    }
    if let Some(format) = args.format.as_lines() {
        fields_of(args.fields.as_deref(), format)?;
    }
    let level = level(args)?;
    let columns = columns(args, level)?;
    let whole = level.is_none_or(|level| level == Level::Full);
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
        columns: if args.fields.is_none() && whole { &[] } else { &columns },
        disclosure: Some(Disclosure { basis, recipient: &args.recipient }),
    };
    if args.output.is_none() && args.format.as_lines().is_none() && out.terminal().width.is_some() {
        return Err(Failure::Usage(
            "a terminal cannot show this format\n  hint: name a file with -o FILE".to_owned(),
        ));
    }
    // Before the entry: what stands in its way is no disclosure.
    let file = args.output.as_deref().map(new_file).transpose().map_err(Failure::Usage)?;
    let more = More { addresses: level.map(Level::label), ..More::default() };
    let granted = wish.grant_more(more, now);
    if let (Err(_), Some(path)) = (&granted, &args.output) {
        // Nothing was read: the name is free for the next try.
        std::fs::remove_file(path).map_err(Failure::Output)?;
    }
    let Request { grant, folder, scan } = granted?;
    let withdrawn = if basis == Basis::Consent { Some(Withdrawn::read(&folder)) } else { None }.transpose();
    let read: Vec<&'static Column> = columns.iter().copied().chain(Withdrawn::columns()).collect();
    let scan = scan.with_addresses(level.map_or(Precision::Full, Level::precision)).showing(&read);
    let _progress = out.progress(&scan);
    let mut given = 0;
    let result = withdrawn.and_then(|withdrawn| {
        let mut write = |out: &mut Output<'_>| {
            let source = (&scan, withdrawn.as_ref());
            match args.format.as_lines() {
                Some(format) => lines((format, &columns), &grant, source, &mut given, out),
                None => table((args.format, &columns), source, &mut given, out),
            }
        };
        let Some(mut file) = file else { return write(out) };
        let mut to_file = Output::new(&mut file, Terminal::default());
        let given = write(&mut to_file)?;
        drop(to_file);
        file.sync_all().map_err(Failure::Output)?;
        Ok(given)
    });
    ended(grant, given, result)
}

/// The redaction level: must be said when the purpose opens addresses, means nothing otherwise.
fn level(args: &ExportArgs) -> Result<Option<Level>, Failure> {
    match (args.addresses, args.purpose.opens(Class::Sec)) {
        (None, true) => Err(Failure::Usage(format!(
            "purpose {} opens addresses: say how much of them is given\n  hint: add --addresses full, network or none",
            args.purpose
        ))),
        (level, true) => Ok(level),
        (_, false) => Ok(None),
    }
}

/// The columns that are given.
fn columns(args: &ExportArgs, level: Option<Level>) -> Result<Vec<&'static Column>, Failure> {
    let hidden = |column: &Column| level.is_some_and(|level| level.hides(column));
    match &args.fields {
        Some(fields) => match fields.iter().find(|column| hidden(column)) {
            Some(column) => {
                Err(Failure::Usage(format!("{} is not given at this level of --addresses", column.name)))
            }
            None => Ok(fields.clone()),
        },
        None => Ok(COLUMNS.iter().filter(|c| args.purpose.opens(c.class) && !hidden(c)).collect()),
    }
}

/// The records that may be given: a scan, and whose consent was withdrawn.
type Given<'a> = (&'a Scan, Option<&'a Withdrawn>);

/// Records as lines of text.
fn lines(
    (format, columns): (Format, &[&'static Column]),
    grant: &Grant,
    (scan, withdrawn): Given<'_>,
    given: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    // A recipient's file does not depend on the width of our terminal.
    let mut lines = Lines::new(format, Some(columns), grant, Terminal::default());
    out.write(lines.header())?;
    let mut failed = None;
    let show = |row: &Row<'_>| {
        if failed.is_none() && !withdrawn.is_some_and(|withdrawn| withdrawn.covers(row)) {
            failed = out.write(lines.row(row)).err();
            *given += u64::from(failed.is_none());
        }
        if failed.is_some() {
            scan.work().stop();
        }
    };
    let seen = scan.from_seq(0, show).map_err(Failure::Read)?;
    failed.map_or(Ok(()), Err)?;
    out.flush()?;
    tell_gaps(&seen);
    Ok(*given)
}

/// Records as a table.
fn table(
    (format, columns): (ExportFormat, &[&'static Column]),
    (scan, withdrawn): Given<'_>,
    given: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    let table = match format {
        ExportFormat::Arrow => Table::ipc(columns, Shape::Plain),
        _ => Table::parquet(columns, Shape::Plain),
    };
    let mut table = table.map_err(Failure::Read)?;
    let mut failed = None;
    let add = |row: &Row<'_>| {
        if failed.is_some() || withdrawn.is_some_and(|withdrawn| withdrawn.covers(row)) {
            return;
        }
        failed = match table.push(row) {
            Ok(true) => out.write_bytes(&table.take()).err(),
            Ok(false) => None,
            Err(cause) => Some(Failure::Read(cause)),
        };
        if failed.is_some() {
            scan.work().stop();
        }
    };
    let seen = scan.from_seq(0, add).map_err(Failure::Read)?;
    failed.map_or(Ok(()), Err)?;
    *given = table.rows();
    out.write_bytes(&table.finish().map_err(Failure::Read)?)?;
    out.flush()?;
    tell_gaps(&seen);
    Ok(*given)
}

impl Level {
    const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Network => "network",
            Self::None => "none",
        }
    }

    const fn precision(self) -> Precision {
        match self {
            Self::Full => Precision::Full,
            Self::Network => Precision::Network,
            Self::None => Precision::Hidden,
        }
    }

    fn hides(self, column: &Column) -> bool {
        match self {
            Self::Full => false,
            Self::Network => ONE_PERSON.contains(&column.name),
            Self::None => {
                ONE_PERSON.contains(&column.name) || column.ty == Type::Address || column.name == "client.net"
            }
        }
    }
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
    /// The format of lines; `None` for a table.
    const fn as_lines(self) -> Option<Format> {
        match self {
            Self::Json => Some(Format::Json),
            Self::Csv => Some(Format::Csv),
            Self::Clf => Some(Format::Clf),
            Self::Parquet | Self::Arrow => None,
        }
    }
}

/// Columns besides the addresses that tell more of one than its network.
const ONE_PERSON: [&str; 3] = ["client.port", "client.forwarded_chain", "subject_tag"];
/// The value of `consent.decision` of those who agreed.
const GRANTED: &str = "granted";
