//! `query`, `top`, `hist` and `fields`: from arguments to printed results.
//!
//! Every path through this module asks [`open_read`] before it names a file, and ends its entry in the audit log. Never
//! holds more than one line or one result. Bound: see [`crate::store::query`].

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{FieldsArgs, Format, HistArgs, QueryArgs, ReadArgs, Spelling, TopArgs};
use super::progress::{Line, Progress};
use super::rows::{Lines, fit, pad, title};
use super::terminal::Terminal;
use super::{charts, escape, views};
use crate::audit::{AuditError, AuditLog, Disclosure, Outcome};
use crate::clock::{self, Timestamp};
use crate::record::{COLUMNS, Column, Purpose};
use crate::seal::{self, LocalKeys};
use crate::store::lent;
use crate::store::query::field::aliases;
use crate::store::query::filter::{Moment, Test};
use crate::store::query::units::{parse_bytes, parse_duration};
use crate::store::query::{
    Ask, By, Filter, Grant, Histogram, HistogramOf, Limits, Quantity, READERS, Scale, Scan, Seen, Top, TopOf,
    open_read, parse, quantity, records_folder,
};

/// Why a command ended without its answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments make no sense, or are not permitted.
    Usage(String),
    /// Standard output failed.
    Output(io::Error),
    /// The records cannot be read.
    Read(io::Error),
    /// The audit log cannot be written, so nothing is read.
    Audit(AuditError),
    /// The audit log is not as it was written; that has been said.
    Changed,
    /// Somebody interrupted the command.
    Interrupted,
}

/// A read that was granted, and what it looks for.
pub(super) struct Request {
    pub(super) grant: Grant,
    /// The folder above `journal`.
    pub(super) folder: PathBuf,
    pub(super) scan: Scan,
}

/// What a command asks for, before anything is checked.
pub(super) struct Wish<'a> {
    pub(super) data: &'a Path,
    /// Where the keys lie, if not with the records.
    pub(super) keys: Option<&'a Path>,
    pub(super) purpose: Purpose,
    pub(super) reason: Option<&'a str>,
    pub(super) command: &'static str,
    pub(super) filter: Filter,
    pub(super) columns: &'a [&'static Column],
    pub(super) disclosure: Option<Disclosure<'a>>,
}

/// What the audit log also tells of some reads.
#[derive(Clone, Copy, Default)]
pub(super) struct More<'a> {
    /// The SQL statement.
    pub(super) sql: Option<&'a str>,
    /// How much of addresses is given.
    pub(super) addresses: Option<&'a str>,
}

/// Checks the purpose, finds the journal, writes the audit entry: in that order.
pub(super) fn request(
    command: &'static str,
    args: &ReadArgs,
    words: &[String],
    columns: &[&'static Column],
    now: Timestamp,
) -> Result<Request, Failure> {
    let filter = filter_of(words, args.since, args.until)?;
    let (purpose, reason) = (args.purpose, args.reason.as_deref());
    Wish {
        data: &args.data,
        keys: args.keys.as_deref(),
        purpose,
        reason,
        command,
        filter,
        columns,
        disclosure: None,
    }
    .grant(now)
}

impl Wish<'_> {
    /// See [`request`].
    pub(super) fn grant(self, now: Timestamp) -> Result<Request, Failure> {
        self.grant_more(More::default(), now)
    }

    /// The same, with more for the audit log.
    pub(super) fn grant_more(self, more: More<'_>, now: Timestamp) -> Result<Request, Failure> {
        let Self { data, keys, purpose, reason, command, filter, columns, disclosure } = self;
        let ask = Ask { purpose, reason, command, filter: &filter, columns, disclosure };
        let mut allowed = ask.allow().map_err(|refused| Failure::Usage(refused.to_string()))?;
        if let Some(sql) = more.sql {
            allowed = allowed.with_statement(sql);
        }
        if let Some(level) = more.addresses {
            allowed = allowed.with_addresses(level);
        }
        let folder = folder_of(data)?;
        // What a killed `sql` left; no reason not to read.
        if let Err(cause) = lent::sweep(&folder.join(lent::FOLDER)) {
            eprintln!("note: what an earlier `logs sql` left could not be removed: {cause}");
        }
        let log = AuditLog::open(&folder).map_err(Failure::Audit)?;
        let grant = open_read(allowed, log, now).map_err(Failure::Audit)?;
        let keys = keys.map_or_else(|| folder.join(seal::local::FOLDER), Path::to_path_buf);
        let scan = Scan::new(&folder, &grant, Arc::new(LocalKeys::at(&keys)), &filter, now);
        Ok(Request { grant, folder, scan })
    }
}

/// Ends the audit entry of a read that showed so many records, however it went.
pub(super) fn ended(grant: Grant, rows: u64, result: Result<u64, Failure>) -> Result<u64, Failure> {
    let outcome = if result.is_ok() { Outcome::Complete } else { Outcome::Broken };
    let written = grant.end(rows, outcome, clock::now()).map_err(Failure::Audit);
    result.and_then(|found| written.map(|()| found))
}

/// The filter of words and bounds in time.
pub(super) fn filter_of(
    words: &[String],
    since: Option<Moment>,
    until: Option<Moment>,
) -> Result<Filter, Failure> {
    let mut filter = parse(&words.join(" ")).map_err(|mistake| Failure::Usage(mistake.to_string()))?;
    since.map(Test::Since).into_iter().chain(until.map(Test::Until)).for_each(|test| filter.and(test));
    Ok(filter)
}

/// The folder above `journal`.
pub(super) fn folder_of(data: &Path) -> Result<PathBuf, Failure> {
    records_folder(data).ok_or_else(|| {
        Failure::Usage(format!(
            "there is no journal in {}\n  hint: name the gateway's data folder with --data DIR",
            data.display()
        ))
    })
}

/// `logs query`.
pub(super) fn query(args: &QueryArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    let columns = fields_of(args.fields.as_deref(), args.read.format)?;
    if let Some(spelling) = args.spelling {
        return spell(args, spelling, out);
    }
    let Request { grant, scan, .. } = request("logs query", &args.read, &args.filter, columns, now)?;
    let mut shown = 0;
    let result = query_rows(args, (&grant, scan), &mut shown, out);
    ended(grant, shown, result)
}

/// `query --as`: the filter in another spelling.
fn spell(args: &QueryArgs, spelling: Spelling, out: &mut Output<'_>) -> Result<u64, Failure> {
    let filter = filter_of(&args.filter, args.read.since, args.read.until)?;
    let text = match spelling {
        Spelling::Cli => filter.to_string(),
        Spelling::Sql => filter.to_sql(),
        Spelling::Url => filter.to_url(),
    };
    out.write(&format!("{text}\n"))?;
    out.flush()?;
    Ok(1)
}

fn query_rows(
    args: &QueryArgs,
    (grant, scan): (&Grant, Scan),
    shown: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    let mut lines = Lines::new(args.read.format, args.fields.as_deref(), grant, out.terminal());
    out.write(lines.header())?;
    let scan = scan.showing(&lines.needed());
    let _progress = out.progress(&scan);
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut failed = None;
    let seen = scan
        .newest_first(|row| {
            if *shown == limit {
                return ControlFlow::Break(());
            }
            *shown += 1;
            match out.write(lines.row(row)) {
                Ok(()) if *shown < limit => ControlFlow::Continue(()),
                Ok(()) => ControlFlow::Break(()),
                Err(cause) => {
                    failed = Some(cause);
                    ControlFlow::Break(())
                }
            }
        })
        .map_err(Failure::Read)?;
    failed.map_or(Ok(()), Err)?;
    out.flush()?;
    tell_gaps(&seen);
    Ok(*shown)
}

/// `logs top`.
pub(super) fn top(args: &TopArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    no_clf(args.read.format)?;
    if quantity(args.field) == Quantity::Time {
        return Err(Failure::Usage(format!("times are counted by `logs hist {}`", args.field.name)));
    }
    let (_, measured) = args.by.measured();
    let mut columns = vec![args.field];
    columns.extend(measured);
    let mut words = args.filter.clone();
    if args.field.name == KIND {
        // Otherwise only finished requests would be counted.
        words.push(format!("{KIND}:*"));
    }
    let Request { grant, scan, .. } = request("logs top", &args.read, &words, &columns, now)?;
    let mut counted = 0;
    let result = top_rows(args, &columns, scan, &mut counted, out);
    ended(grant, counted, result)
}

fn top_rows(
    args: &TopArgs,
    columns: &[&'static Column],
    scan: Scan,
    counted: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    let (by, measured) = args.by.measured();
    let scan = scan.showing(columns);
    let progress = out.progress(&scan);
    let mut total = Top::new(args.field.ty, by, Limits::default());
    let (parts, seen) =
        scan.gather(|| TopOf::new(total.sibling(), args.field, measured)).map_err(Failure::Read)?;
    drop(progress);
    parts.into_iter().for_each(|part| total.merge(part.into_top()));
    let result = total.finish(args.limit, args.min);
    *counted = result.records;
    out.write(&charts::top(&result, args.field, args.read.format, args.other, out.terminal()))?;
    out.flush()?;
    tell_gaps(&seen);
    match by {
        By::Visitors => eprintln!(
            "note: a visitor is a distinct visitor.tag; visits without the visitor cookie are not counted"
        ),
        By::Visits => eprintln!(
            "note: a visit is a distinct visit_tag: one browser at one address, on one site and day"
        ),
        By::Hits | By::Bytes | By::P95 => {}
    }
    if result.unmeasured > 0 {
        eprintln!("note: {} hits were not measured: too many distinct values", result.unmeasured);
    }
    Ok(result.records)
}

/// `logs hist`.
pub(super) fn hist(args: &HistArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    no_clf(args.read.format)?;
    let scale = scale(args.field, args.bucket.as_deref())?;
    let Request { grant, scan, .. } = request("logs hist", &args.read, &args.filter, &[args.field], now)?;
    let mut counted = 0;
    let result = hist_rows(args, scale, scan, &mut counted, out);
    ended(grant, counted, result)
}

fn hist_rows(
    args: &HistArgs,
    scale: Scale,
    scan: Scan,
    counted: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    let scan = scan.showing(&[args.field]);
    let progress = out.progress(&scan);
    let (parts, seen) =
        scan.gather(|| HistogramOf::new(Histogram::new(scale), args.field)).map_err(Failure::Read)?;
    drop(progress);
    let mut total = Histogram::new(scale);
    parts.into_iter().for_each(|part| total.merge(part.into_histogram()));
    let result = total.finish();
    *counted = seen.matched;
    out.write(&charts::histogram(&result, args.field, args.read.format, out.terminal()))?;
    out.flush()?;
    tell_gaps(&seen);
    if result.absent > 0 {
        eprintln!("note: {} records without {}", result.absent, title(args.field));
    }
    if result.over > 0 {
        eprintln!("note: {} records in further buckets; choose a wider --bucket", result.over);
    }
    Ok(seen.matched)
}

/// `logs fields`.
pub(super) fn fields(args: &FieldsArgs, out: &mut Output<'_>) -> Result<u64, Failure> {
    if let Some(program) = args.program {
        out.write(&views::view(program))?;
        out.flush()?;
        return Ok(1);
    }
    let mut shown = 0;
    for column in COLUMNS.iter().filter(|c| args.purpose.is_none_or(|p| p.opens(c.class))) {
        let mut line = String::new();
        pad(&mut line, column.name, 30, false, false);
        pad(&mut line, &aliases(column).collect::<Vec<_>>().join(","), 10, false, false);
        let opened = READERS.into_iter().find(|p| p.opens(column.class)).unwrap_or_default();
        pad(&mut line, opened.label(), 12, false, false);
        escape::push_text(&mut line, column.doc.trim().as_bytes());
        fit(&mut line, out.terminal());
        line.push('\n');
        out.write(&line)?;
        shown += 1;
    }
    out.flush()?;
    Ok(shown)
}

/// Where results go: line by line to a terminal, in blocks otherwise.
pub(super) struct Output<'o> {
    out: BufWriter<&'o mut dyn Write>,
    terminal: Terminal,
    /// What may stand on the same terminal.
    line: Arc<Line>,
}

impl<'o> Output<'o> {
    pub(super) fn new(out: &'o mut dyn Write, terminal: Terminal) -> Self {
        Self { out: BufWriter::with_capacity(OUTPUT_BYTES, out), terminal, line: Arc::default() }
    }

    /// Shows how far the scan has come until the result is dropped, if standard error is a terminal.
    pub(super) fn progress(&self, scan: &Scan) -> Progress {
        Progress::of(Arc::clone(scan.work()), Arc::clone(&self.line))
    }

    pub(super) const fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// Writes whole lines; a terminal sees them at once.
    pub(super) fn write(&mut self, lines: &str) -> Result<(), Failure> {
        self.write_bytes(lines.as_bytes())
    }

    /// Writes bytes that are no text.
    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.terminal.width.is_some() {
            self.line.clear();
        }
        self.out.write_all(bytes).map_err(Failure::Output)?;
        if self.terminal.width.is_some() { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }
}

/// Says on standard error what is missing from the records that were read.
pub(super) fn tell_gaps(seen: &Seen) {
    if seen.gaps > 0 {
        let (gaps, missing) = (seen.gaps, seen.missing);
        eprintln!(
            "note: {gaps} gaps with at least {missing} missing records in what was read; kind=gap shows them"
        );
    }
    tell_damage(&seen.damaged);
    if seen.locked > 0 {
        eprintln!(
            "note: fields are absent from {} files because their key is missing\n  hint: name the keys folder with --keys DIR",
            seen.locked
        );
    }
}

/// What could not be shown because files were damaged or changed.
pub(in crate::cli) fn tell_damage(files: &BTreeSet<PathBuf>) {
    if files.is_empty() {
        return;
    }
    eprintln!(
        "note: {} files are damaged, were changed or are missing; what is behind such a place is not shown",
        files.len()
    );
    for file in files.iter().take(NAMED_FILES) {
        eprintln!("  {}", file.display());
    }
    if files.len() > NAMED_FILES {
        eprintln!("  and {} more", files.len() - NAMED_FILES);
    }
}

/// The fields asked for, which must not be there in a format without a choice.
pub(super) fn fields_of<'f>(
    fields: Option<&'f [&'static Column]>,
    format: Format,
) -> Result<&'f [&'static Column], Failure> {
    if format == Format::Clf && fields.is_some() {
        return Err(Failure::Usage(
            "the combined log format has its own fields: leave out --fields".to_owned(),
        ));
    }
    Ok(fields.unwrap_or_default())
}

fn no_clf(format: Format) -> Result<(), Failure> {
    if format == Format::Clf {
        return Err(Failure::Usage("counts have no combined log format; use table, json or csv".to_owned()));
    }
    Ok(())
}

/// The buckets for a field: as asked for, or what is usual for its values.
fn scale(column: &Column, width: Option<&str>) -> Result<Scale, Failure> {
    let kind = quantity(column);
    let parsed = match (width, kind) {
        (_, Quantity::Text | Quantity::Flag | Quantity::Address | Quantity::List) => {
            return Err(Failure::Usage(format!("{0} is counted by `logs top {0}`", title_of(column))));
        }
        (None, Quantity::Time) => return Ok(Scale::Linear(MINUTE_MICROS)),
        (None, _) if column.name.ends_with("status_code") => return Ok(Scale::Linear(100)),
        (None, _) => return Ok(Scale::Decades),
        (Some(width), Quantity::Time | Quantity::Duration) => {
            parse_duration(width).and_then(|d| u64::try_from(d.as_micros()).ok())
        }
        (Some(width), Quantity::Bytes) => parse_bytes(width),
        (Some(width), Quantity::Count) => width.parse().ok(),
    };
    match parsed {
        Some(width) if width > 0 => Ok(Scale::Linear(width)),
        _ => {
            Err(Failure::Usage(format!("--bucket must be a width that fits {}: 1m, 10KiB, 100", column.name)))
        }
    }
}

fn title_of(column: &Column) -> &'static str {
    Column::by_id(column.id).map_or("it", title)
}

/// Bytes gathered before they are written to a pipe.
const OUTPUT_BYTES: usize = 64 << 10;
/// Damaged files that are named.
const NAMED_FILES: usize = 20;
/// The column of the sort of record.
const KIND: &str = "record.kind";
const MINUTE_MICROS: u64 = 60_000_000;
