//! `sql`: the permitted rows of the asked time, questioned in SQL by the duckdb program.
//!
//! ```text
//! audit entry ──► scan ──► Parquet files without a name ──► duckdb, which can reach nothing else ──► output
//! ```
//!
//! The files go with the processes that hold them, also after a kill; the folder for what DuckDB puts aside is removed,
//! by the next command if need be. Never hands over a column that the purpose does not open. Bounds: `--disk`,
//! `--memory`, one line or row of the answer.

mod answer;
mod duckdb;

use std::path::Path;

use super::Format;
use super::args::SqlArgs;
use super::interrupt::{Again, Interrupt};
use super::read::{Failure, More, Output, Request, Wish, ended, filter_of, tell_gaps};
use crate::clock::Timestamp;
use crate::record::{COLUMNS, Column};
use crate::store::lent::{self, LendError, PrivateFolder, lend};
use crate::store::query::Scan;
use crate::store::segments::Shape;
use duckdb::{Program, Session};

/// `logs sql`.
pub(super) fn run(args: &SqlArgs, now: Timestamp, out: &mut Output<'_>) -> Result<u64, Failure> {
    let (statement, words) = statement(args)?;
    let program = Program::find(args.duckdb.as_deref())?;
    let given = args.fields.as_deref();
    let wish = Wish {
        data: &args.read.data,
        keys: args.read.keys.as_deref(),
        purpose: args.read.purpose,
        reason: args.read.reason.as_deref(),
        command: if args.interactive { "logs sql -i" } else { "logs sql" },
        filter: filter_of(words, args.read.since, args.read.until)?,
        columns: given.unwrap_or_default(),
        disclosure: None,
    };
    let Request { grant, folder, scan } = wish.grant_more(More { sql: statement, ..More::default() }, now)?;
    let columns: Vec<&'static Column> = match given {
        Some(fields) => fields.to_vec(),
        None => COLUMNS.iter().filter(|column| grant.opens(column)).collect(),
    };
    let mut rows = 0;
    let result = ask(args, statement, (&program, &folder), &scan.showing(&columns), &columns, &mut rows, out);
    ended(grant, rows, result)
}

/// The statement, unless there is a shell, and the words of the filter.
fn statement(args: &SqlArgs) -> Result<(Option<&str>, &[String]), Failure> {
    if args.read.format == Format::Clf {
        return Err(Failure::Usage("answers have no combined log format; use table, json or csv".to_owned()));
    }
    match &args.words[..] {
        words if args.interactive => Ok((None, words)),
        [sql, words @ ..] if !sql.trim().is_empty() => Ok((Some(sql), words)),
        _ => Err(Failure::Usage(
            "a statement is missing\n  hint: kelisim logs sql 'SELECT count(*) FROM records', or -i for a shell"
                .to_owned(),
        )),
    }
}

fn ask(
    args: &SqlArgs,
    statement: Option<&str>,
    (program, records): (&Program, &Path),
    scan: &Scan,
    columns: &[&'static Column],
    rows: &mut u64,
    out: &mut Output<'_>,
) -> Result<u64, Failure> {
    let interrupt = Interrupt::watch(scan.work().clone(), Again::Ignored).map_err(Failure::Read)?;
    let parent = args.work_dir.clone().unwrap_or_else(|| records.join(lent::FOLDER));
    if args.work_dir.is_some() {
        lent::sweep(&parent).map_err(Failure::Read)?;
    }
    let folder = PrivateFolder::make(&parent).map_err(Failure::Read)?;
    let shape = if args.interactive { Shape::Shell } else { Shape::Sql };
    let progress = out.progress(scan);
    let handed = lend(scan, columns, shape, &folder, args.disk);
    drop(progress);
    let handed = handed.map_err(|error| failure(error, args.disk))?;
    *rows = handed.rows;
    let session = Session {
        folder: folder.path(),
        files: &handed.paths(),
        disk: args.disk,
        memory: args.memory,
        interrupt: &interrupt,
    };
    let answered = match statement {
        Some(sql) => session.answer(program, sql, args.read.format, out)?,
        None => session.shell(program).map(|()| handed.rows)?,
    };
    tell_gaps(&handed.seen);
    Ok(answered)
}

fn failure(error: LendError, disk: u64) -> Failure {
    match error {
        LendError::File(cause) => Failure::Read(cause),
        LendError::Stopped => Failure::Interrupted,
        LendError::TooLarge(_) => Failure::Usage(format!(
            "the rows need more than {} on the disk\n  hint: ask for less with --since, --fields or a filter, or allow more with --disk",
            crate::store::query::units::exact_bytes(disk)
        )),
    }
}
