//! `kelisim consent rotate-key`: a new key for consent records.
//!
//! Entered in the audit log before and after. A running gateway takes it at its next reload. Never prints a key, and
//! refuses to work as root on somebody else's folder: what it makes there the gateway could not read. Bound: one small
//! file.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::audit::{AuditLog, Outcome};
use crate::cli::check::is_coloured;
use crate::cli::{BAD_CONFIGURATION, OWN_FAULT};
use crate::clock::Timestamp;
use crate::config;
use crate::consent::{ConsentKeys, Older, Rotated};
use crate::error::chain;
use crate::store::query::records_folder;

/// Arguments of `consent rotate-key`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// Take consent.max_age from this configuration; without it an older key stays for 407 days, a week longer than any
    /// browser keeps a choice
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Drop all older keys at once, because one became known: every visitor has to choose again
    #[arg(long)]
    pub revoke: bool,
    /// The cause, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Runs the command; exit code 0, 2 wrong usage, 64 bad configuration, 70 our own fault.
pub(super) fn run(args: &RotateArgs, now: Timestamp, out: &mut impl Write) -> io::Result<u8> {
    let Some(folder) = records_folder(&args.data) else {
        eprintln!(
            "error: there is no journal in {}\n  hint: name the gateway's data folder with --data DIR",
            args.data.display()
        );
        return Ok(2);
    };
    let owner = folder.metadata()?.uid();
    if rustix::process::geteuid().as_raw() != owner {
        eprintln!(
            "error: the data belong to user {owner}, who must be able to read the key\n  hint: sudo -u '#{owner}' kelisim consent rotate-key …"
        );
        return Ok(2);
    }
    let max_age = match args.config.as_deref().map(max_age_of).transpose() {
        Ok(max_age) => max_age.unwrap_or(LONGEST),
        Err(problems) => {
            eprint!("{problems}");
            return Ok(BAD_CONFIGURATION);
        }
    };
    let older = if args.revoke { Older::Revoked } else { Older::For(max_age) };
    match rotate(&folder, older, args.reason.as_deref(), now) {
        Ok(rotated) => {
            out.write_all(told(&rotated, older).as_bytes())?;
            Ok(0)
        }
        Err(why) => {
            eprintln!("error: {why}");
            Ok(OWN_FAULT)
        }
    }
}

/// What a configuration says about how long a choice counts.
fn max_age_of(file: &Path) -> Result<Duration, String> {
    let config = config::read(file, config::environment());
    config
        .map(|config| config.consent.max_age)
        .map_err(|problems| problems.render(is_coloured(io::stderr().is_terminal())))
}

/// The change with both its entries in the audit log.
fn rotate(folder: &Path, older: Older, reason: Option<&str>, now: Timestamp) -> Result<Rotated, String> {
    let log = AuditLog::open(folder).map_err(|e| chain(&e).to_string())?;
    let command = match older {
        Older::For(_) => "consent rotate-key",
        Older::Revoked => "consent rotate-key --revoke",
    };
    let number = log.change_keys(command, reason, now).map_err(|e| chain(&e).to_string())?;
    let done = ConsentKeys::rotate(folder, older, now);
    let (gone, outcome) = match &done {
        Ok(rotated) => (rotated.dropped.len() as u64, Outcome::Complete),
        Err(_) => (0, Outcome::Broken),
    };
    let ended = log.keys_changed(number, gone, outcome, now);
    let rotated = done.map_err(|e| chain(&e).to_string())?;
    ended.map_err(|e| chain(&e).to_string())?;
    Ok(rotated)
}

fn told(rotated: &Rotated, older: Older) -> String {
    let mut text =
        format!("key {} signs from the gateway's next reload (HUP) or start on\n", rotated.keys.current_id());
    for (id, at) in rotated.keys.older() {
        let since = at.map_or_else(|| "unknown".to_owned(), |at| at.to_string()[..10].to_owned());
        let _ = writeln!(text, "key {id} verifies on: replaced {since}");
    }
    for id in &rotated.dropped {
        let why = match older {
            Older::For(_) => "no choice that it signed can count any more",
            Older::Revoked => "who chose under it chooses again",
        };
        let _ = writeln!(text, "key {id} is gone: {why}");
    }
    text
}

/// No browser keeps a cookie longer.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);
