//! The arguments of `kelisim subject`, with their help.
//!
//! Nothing is read here but words. Values that are a person's are redacted in `Debug`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::store::subjects::Tag;

/// Find, give out, block or erase one person's records.
///
/// Works on the data folder of a running or a stopped gateway, as the user that owns it. Everything is entered in the
/// audit log before it is done.
#[derive(Debug, Parser)]
#[command(after_help = HELP)]
pub struct SubjectArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SubjectCommand,
}

/// The verbs of `kelisim subject`.
#[derive(Debug, Subcommand)]
pub enum SubjectCommand {
    /// Count a person's records by day and class, without showing them
    Find(FindArgs),
    /// Write a person's records, of every class, with an explanation of each column
    Export(ExportArgs),
    /// Hide a person's records from every read, from now on
    Block(ChangeArgs),
    /// Lift a block
    Unblock(ChangeArgs),
    /// Erase a person's records; without --yes only tell what would be erased
    Erase(EraseArgs),
}

/// Who it is about, where, and why.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("who").args(["address", "cookie", "account", "tag"]).required(true).multiple(true)))]
pub struct WhoArgs {
    /// Address of the person; behind one address there may be several people. May be given several times, as all of
    /// these
    #[arg(long, value_name = "IP", value_parser = address)]
    pub address: Vec<Secret<IpAddr>>,
    /// Value of the person's cookie kelisim_vid
    #[arg(long, value_name = "VALUE")]
    pub cookie: Vec<Secret<String>>,
    /// Account of the person, as the site names it (records.account_header)
    #[arg(long, value_name = "NAME")]
    pub account: Vec<Secret<String>>,
    /// Tag of the person, as `find` or a record shows it
    #[arg(long, value_name = "TAG", value_parser = tag)]
    pub tag: Vec<Tag>,
    /// The cause, such as the number of the person's request
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// Folder of the keys, where it is not `keys` beside the journal (records.keys_dir)
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
}

/// Arguments of `subject find`.
#[derive(Debug, Args)]
pub struct FindArgs {
    /// Who, where and why.
    #[command(flatten)]
    pub who: WhoArgs,
    /// How to write: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub format: Format,
}

/// Arguments of `subject export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Who, where and why.
    #[command(flatten)]
    pub who: WhoArgs,
    /// How to write
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
    /// A new file to write to, readable for its owner only; default: standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `subject block` and `subject unblock`.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Who, where and why.
    #[command(flatten)]
    pub who: WhoArgs,
}

/// Arguments of `subject erase`.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// Who, where and why.
    #[command(flatten)]
    pub who: WhoArgs,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Also give the days of these records new keys and destroy the old ones, so that no backup of the sealed columns of
    /// these days can be opened any more
    #[arg(long)]
    pub rotate_day: bool,
    /// Erase also what a legal hold or the minimum term keeps, for this reason: it goes into the audit log and the
    /// certificate
    #[arg(long, value_name = "TEXT")]
    pub despite_hold: Option<String>,
    /// A new file for the certificate, readable for its owner only; default: standard output
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
}

/// How counts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, may change
    Table,
    /// One object; stable
    Json,
}

/// How a person's records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One object: the explanation of the columns, and the records
    Json,
    /// The same to be read by a person
    Text,
}

/// A value that identifies a person.
#[derive(Clone)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn address(word: &str) -> Result<Secret<IpAddr>, String> {
    IpAddr::from_str(word).map(Secret).map_err(|_| "an address such as 203.0.113.7 or 2001:db8::7".to_owned())
}

impl From<&str> for Secret<String> {
    fn from(word: &str) -> Self {
        Self(word.to_owned())
    }
}

fn tag(word: &str) -> Result<Tag, String> {
    word.parse().map_err(|error: crate::store::subjects::tag::NotATag| error.to_string())
}

const HELP: &str = "\
Examples:
  kelisim subject find --cookie AQEBk… --reason 'request 17'
  kelisim subject export --account 4711 --reason 'request 17' -o person.json
  kelisim subject block --cookie AQEBk… --reason 'request 17: under review'
  kelisim subject erase --tag 1-Zm9vYmFyYmF6cXV4 --reason 'request 17' --yes

A record is linked to a person by the address, by the visitor cookie and, where
the site names it, by the account, each as a keyed hash: its tag. Records whose
key of class sec is gone cannot be linked to anybody.

A block counts for every read that begins after it, and for records that are
still on their way. An erasure that is interrupted is finished by the running
gateway or by repeating the command.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        SubjectArgs::command().debug_assert();
    }

    #[test]
    fn somebody_and_a_reason_are_needed_and_nobody_is_shown() {
        let parse = |words: &[&str]| SubjectArgs::try_parse_from([&["subject", "find"], words].concat());
        assert!(parse(&["--reason", "r"]).is_err());
        assert!(parse(&["--address", "203.0.113.7"]).is_err());
        let both = parse(&["--address", "203.0.113.7", "--cookie", "secret", "--reason", "r"]).expect("fine");
        let shown = format!("{both:?}");
        assert!(!shown.contains("203") && !shown.contains("secret"), "{shown}");
        assert!(parse(&["--tag", "nonsense", "--reason", "r"]).is_err());
    }
}
