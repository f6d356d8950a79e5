//! The arguments of `kelisim logs`, with their help.
//!
//! Nothing is read here but words: fields, times and purposes are checked as they are parsed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::help::{EXPORT_HELP, FILTER_HELP, HIST_HELP, QUERY_HELP, SQL_HELP, TOP_HELP};
use super::verify::VerifyArgs;
use crate::record::{Column, Purpose};
use crate::store::query::filter::Moment;
use crate::store::query::units::parse_bytes;
use crate::store::query::{By, READERS, field, parse_moment, resolve};

/// Search, follow and count the records of requests.
///
/// Works on the data folder of a running or a stopped gateway. Every read names a purpose; the default, support,
/// sees facts without a person.
#[derive(Debug, Parser)]
pub struct LogsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LogsCommand,
}

/// The verbs of `kelisim logs`.
#[derive(Debug, Subcommand)]
pub enum LogsCommand {
    /// Show the newest records, and with -f go on with those that come
    Tail(TailArgs),
    /// Show the records that match a filter, newest first
    Query(QueryArgs),
    /// Count the values of a field
    Top(TopArgs),
    /// Count records by time or by the size of a number
    Hist(HistArgs),
    /// Ask in SQL, by DuckDB
    Sql(SqlArgs),
    /// List the fields: names, class, and which purpose opens them
    Fields(FieldsArgs),
    /// Check that the segments are what was written
    Verify(VerifyArgs),
    /// Give records to a recipient; entered in the disclosure register
    Export(ExportArgs),
    /// Show who read which records and why, or check that log
    Audit(AuditArgs),
}

/// Where and why records are read.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// Folder of the keys, where it is not `keys` beside the journal (records.keys_dir)
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Why you read: support, security, fraud, diagnostics or advertising. Each but support opens one sealed class
    /// and needs --reason
    #[arg(long, value_name = "P", default_value = "support", value_parser = purpose)]
    pub purpose: Purpose,
    /// The cause of a read under another purpose than support, such as a ticket
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How to write: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub format: Format,
    /// Only records from that time on: 2h (ago), 2026-11-22, 2026-11-22T10:00 (UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only records before that time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Exit with 1 when nothing is found
    #[arg(long)]
    pub fail: bool,
    /// List what the purpose opens and how long it is kept, and read nothing
    #[arg(long)]
    pub explain_access: bool,
}

/// Arguments of `logs query`.
#[derive(Debug, Args)]
#[command(after_help = QUERY_HELP)]
pub struct QueryArgs {
    /// Where and why.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Most records to show
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<u64>,
    /// Fields to show, separated by commas: time,status,path
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = column)]
    pub fields: Option<Vec<&'static Column>>,
    /// Print the filter in that spelling and read nothing
    #[arg(long = "as", value_enum, value_name = "SPELLING")]
    pub spelling: Option<Spelling>,
    /// The filter; see the examples below
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `logs tail`.
#[derive(Debug, Args)]
#[command(after_help = FILTER_HELP)]
pub struct TailArgs {
    /// Where and why.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Go on with the records that come, until interrupted
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// How many of the newest records to begin with, by the time of recording; at most 10000
    #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 10)]
    pub limit: u64,
    /// Begin with the record of that number, to go on where an earlier tail ended; replaces -n. Each start of the
    /// gateway has numbers of its own, and in an upgrade two of them write: name one number for each, separated by commas
    #[arg(long, value_name = "SEQ,SEQ", value_delimiter = ',', conflicts_with = "limit")]
    pub since_seq: Option<Vec<u64>>,
    /// Fields to show, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = column)]
    pub fields: Option<Vec<&'static Column>>,
    /// The filter
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `logs top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub struct TopArgs {
    /// Where and why.
    #[command(flatten)]
    pub read: ReadArgs,
    /// What to order by
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Order::Hits)]
    pub by: Order,
    /// Most values to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Leave out values with fewer hits
    #[arg(long, value_name = "HITS", default_value_t = 0)]
    pub min: u64,
    /// Also count what was left out, and records without the field
    #[arg(long)]
    pub other: bool,
    /// The field whose values are counted; each item of a list counts
    #[arg(value_name = "FIELD", value_parser = column)]
    pub field: &'static Column,
    /// The filter
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `logs hist`.
#[derive(Debug, Args)]
#[command(after_help = HIST_HELP)]
pub struct HistArgs {
    /// Where and why.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Width of a bucket: 1m, 1h (times, durations), 10KiB (sizes), 100 (numbers). Default: 1m for times, 100 for
    /// status codes, the series 1, 2, 5, 10, … for the rest
    #[arg(long, value_name = "WIDTH")]
    pub bucket: Option<String>,
    /// The field: a time or a number
    #[arg(value_name = "FIELD", value_parser = column)]
    pub field: &'static Column,
    /// The filter
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `logs sql`.
#[derive(Debug, Args)]
#[command(after_help = SQL_HELP)]
pub struct SqlArgs {
    /// Where and why.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Open DuckDB's shell instead of asking one question
    #[arg(short = 'i', long)]
    pub interactive: bool,
    /// The columns of the view, separated by commas; default: all that the purpose opens. Fewer are faster
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = column)]
    pub fields: Option<Vec<&'static Column>>,
    /// The duckdb program; default: the one on the PATH
    #[arg(long, value_name = "PATH")]
    pub duckdb: Option<PathBuf>,
    /// Most bytes that the rows may take on the disk, and as many again for what DuckDB puts aside
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = bytes)]
    pub disk: u64,
    /// Most memory for DuckDB
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = bytes)]
    pub memory: u64,
    /// Where the disk is used for them, in a private folder; default: `sql` in the records folder
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// The statement (not with -i), then the filter
    #[arg(value_name = "SQL|FILTER")]
    pub words: Vec<String>,
}

/// Arguments of `logs fields`.
#[derive(Debug, Args)]
pub struct FieldsArgs {
    /// Only the fields that this purpose opens
    #[arg(long, value_name = "P", value_parser = purpose)]
    pub purpose: Option<Purpose>,
    /// Print what another program needs to read the segments without a key instead: a view or a list of the columns
    #[arg(long = "as", value_enum, value_name = "PROGRAM", conflicts_with = "purpose")]
    pub program: Option<Program>,
}

/// A program that reads segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// SQL that makes the view `records`
    Duckdb,
    /// Python that makes the lazy frame `records`
    Polars,
    /// Python that makes the dataset's table `records`
    Pyarrow,
    /// SQL that asks the files
    Clickhouse,
}

/// A spelling of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spelling {
    /// As on this command line, with full names
    Cli,
    /// A condition for WHERE, in DuckDB's SQL
    Sql,
    /// The query of a URL
    Url,
}

/// Arguments of `logs export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub struct ExportArgs {
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// Folder of the keys, where it is not `keys` beside the journal (records.keys_dir)
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// What the recipient needs the records for; it decides which columns are given
    #[arg(long, value_name = "P", value_parser = purpose)]
    pub purpose: Purpose,
    /// The cause, such as a ticket; needed for every purpose but support
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The legal ground; consent gives only records whose request came with granted consent to advertising that was not
    /// withdrawn later according to the receipts; see below
    #[arg(long, value_enum, value_name = "GROUND")]
    pub basis: Ground,
    /// Who gets the records
    #[arg(long, value_name = "NAME")]
    pub recipient: String,
    /// How much of addresses is given; needed with --purpose security, the one that opens them
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub addresses: Option<Level>,
    /// How to write
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
    /// Only records from that time on: 2h (ago), 2026-11-22, 2026-11-22T10:00 (UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only records before that time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Fields to give, separated by commas; default: all that the purpose opens
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = column)]
    pub fields: Option<Vec<&'static Column>>,
    /// A new file to write to, readable for its owner only; default: standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The filter
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Arguments of `logs audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Check the log instead of showing it
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim", global = true)]
    pub data: PathBuf,
    /// Most entries to show, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Print the entries as they lie in the log
    #[arg(long)]
    pub json: bool,
}

/// What is done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no byte of the log was changed: exit code 0 when it is whole, 1 when not
    Verify,
}

/// The legal ground of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ground {
    /// The people agreed; only records with granted consent that was not withdrawn since are given
    Consent,
    /// A contract with the person
    Contract,
    /// A duty by law
    Law,
    /// The transfer of the site to another owner
    Transfer,
}

/// How much of an address a recipient gets: the redaction level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Whole addresses
    Full,
    /// The network only: /24, or /48 for IPv6; no port, no forwarded addresses, no tag of the address
    Network,
    /// No address and no network
    None,
}

/// How exported records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One object per line with dotted names
    Json,
    /// RFC 4180 with a header; text that a spreadsheet would run gets an apostrophe
    Csv,
    /// Combined log format
    Clf,
    /// A Parquet file that needs no key; names with `_`, dotted ones in the fields' metadata
    Parquet,
    /// An Arrow IPC file, with the same columns
    Arrow,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned, with units; for people, may change
    Table,
    /// One object per line with dotted names; stable
    Json,
    /// RFC 4180 with a header; text that a spreadsheet would run gets an apostrophe
    Csv,
    /// Combined log format; tail and query only
    Clf,
}

/// What `top` orders by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Records
    Hits,
    /// Distinct visitors, told apart by `visitor.tag`; needs --purpose security
    Visitors,
    /// Distinct browsers by day and site, told apart by `visit_tag`
    Visits,
    /// Bytes of responses
    Bytes,
    /// 95th percentile of the duration
    P95,
}

impl LogsArgs {
    /// Where and why records are read, for the commands that show them.
    pub(super) fn read(&self) -> Option<&ReadArgs> {
        match &self.command {
            LogsCommand::Tail(args) => Some(&args.read),
            LogsCommand::Query(args) => Some(&args.read),
            LogsCommand::Top(args) => Some(&args.read),
            LogsCommand::Hist(args) => Some(&args.read),
            LogsCommand::Sql(args) => Some(&args.read),
            LogsCommand::Fields(_)
            | LogsCommand::Verify(_)
            | LogsCommand::Export(_)
            | LogsCommand::Audit(_) => None,
        }
    }

    /// Whether finding nothing is a failure.
    pub(super) fn fail(&self) -> bool {
        matches!(self.command, LogsCommand::Verify(_)) || self.read().is_some_and(|read| read.fail)
    }
}

impl Order {
    /// The order, and the column that it measures.
    pub(super) fn measured(self) -> (By, Option<&'static Column>) {
        match self {
            Self::Hits => (By::Hits, None),
            Self::Visitors => (By::Visitors, resolve("visitor.tag")),
            Self::Visits => (By::Visits, resolve("visit_tag")),
            Self::Bytes => (By::Bytes, resolve("http.response.body.size")),
            Self::P95 => (By::P95, resolve("event.duration")),
        }
    }
}

pub(in crate::cli) fn purpose(word: &str) -> Result<Purpose, String> {
    READERS.into_iter().find(|p| p.label() == word).ok_or_else(|| {
        let known: Vec<&str> = READERS.iter().map(|p| p.label()).collect();
        format!("one of {}", known.join(", "))
    })
}

fn bytes(word: &str) -> Result<u64, String> {
    parse_bytes(word)
        .filter(|n| *n >= 1 << 20)
        .ok_or_else(|| "a size of at least 1MiB, as in 8GiB".to_owned())
}

fn moment(word: &str) -> Result<Moment, String> {
    parse_moment(word).ok_or_else(|| "a time as in 2h (ago), 2026-11-22 or 2026-11-22T10:00 (UTC)".to_owned())
}

fn column(word: &str) -> Result<&'static Column, String> {
    resolve(word).ok_or_else(|| match field::suggest(word) {
        Some(near) => format!("there is no such field; did you mean {near}?"),
        None => "there is no such field; `kelisim logs fields` lists them".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        LogsArgs::command().debug_assert();
    }

    #[test]
    fn every_short_name_is_in_the_help() {
        for (alias, name) in field::ALIASES {
            assert!(FILTER_HELP.contains(&format!(" {alias} = {name}")), "{alias}");
        }
    }

    #[test]
    fn words_become_values_or_hints() {
        let parsed =
            LogsArgs::try_parse_from(["logs", "top", "path", "status>=500", "--by", "p95", "--since", "2h"]);
        let LogsCommand::Top(args) = parsed.unwrap().command else { panic!("top") };
        assert_eq!((args.field.name, args.by, args.filter.len()), ("url.path", Order::P95, 1));
        let wrong = LogsArgs::try_parse_from(["logs", "hist", "duraton"]).unwrap_err().to_string();
        assert!(wrong.contains("did you mean duration?"), "{wrong}");
        assert!(LogsArgs::try_parse_from(["logs", "query", "--purpose", "subject-rights"]).is_err());
    }
}
