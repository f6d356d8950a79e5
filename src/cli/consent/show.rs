//! `kelisim consent show`: one receipt, its place in the chain, and what became of it.
//!
//! The address and the user agent of the client are shown under a purpose that opens them, as long as their key lives.
//! The read is in the audit log before the receipts are opened. Never shows what else is in the log. Bound: that of
//! [`ledger::verify`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use uuid::Uuid;

use super::receipt::{Found, State, object, table};
use super::{ConsentFormat, folder_with_receipts};
use crate::audit::{self, AuditLog, Kind as AuditKind, Outcome};
use crate::cli::OWN_FAULT;
use crate::cli::logs::args::purpose;
use crate::clock::{self, Timestamp};
use crate::consent::receipts::{CLASS, ClientKeys, ClientReader, Kind, Receipt, Sealed, ledger};
use crate::ledger;
use crate::record::{Column, Purpose};
use crate::seal;
use crate::store::query::{Ask, Grant, open_read, parse};

/// Arguments of `consent show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Number of the receipt
    #[arg(value_name = "RECEIPT-ID")]
    pub id: Uuid,
    /// Data folder: that of the gateway or its `records` folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kelisim")]
    pub data: PathBuf,
    /// Folder of the keys, where it is not `keys` beside the journal (records.keys_dir)
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Why you read: security opens the address, diagnostics the user agent; each but support needs --reason
    #[arg(long, value_name = "P", default_value = "support", value_parser = purpose)]
    pub purpose: Purpose,
    /// The cause of a read under another purpose than support, such as a ticket
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How to write: for people, or for programs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: ConsentFormat,
}

/// Runs the command; exit code 0, 1 when there is no such receipt or the receipts were changed, 2 wrong usage.
pub(super) fn run(args: &ShowArgs, now: Timestamp, out: &mut impl Write) -> io::Result<u8> {
    let Some(folder) = folder_with_receipts(&args.data) else { return Ok(2) };
    let grant = match granted(args, &folder, now) {
        Ok(grant) => grant,
        Err(refused) => return Ok(refused),
    };
    let keys = args.keys.clone().unwrap_or_else(|| folder.join(seal::local::FOLDER));
    let found = find(args.id, &folder, &ClientKeys::at(&keys), &grant);
    let (rows, outcome) = match &found {
        Ok(found) => (u64::from(found.is_some()), Outcome::Complete),
        Err(_) => (0, Outcome::Broken),
    };
    if let Err(cause) = grant.end(rows, outcome, clock::now()) {
        eprintln!("error: {cause}");
        return Ok(OWN_FAULT);
    }
    match found {
        Err(cause) => {
            eprintln!("error: the receipt cannot be read: {cause}");
            Ok(OWN_FAULT)
        }
        Ok(None) => {
            eprintln!("there is no receipt {} in {}", args.id, folder.display());
            Ok(1)
        }
        Ok(Some(found)) => {
            let text = match args.format {
                ConsentFormat::Table => table(&found),
                ConsentFormat::Json => format!("{}\n", object(&found)),
            };
            out.write_all(text.as_bytes())?;
            Ok(u8::from(!found.verified.problems.is_empty()))
        }
    }
}

/// The read in the audit log, or the exit code.
fn granted(args: &ShowArgs, folder: &Path, now: Timestamp) -> Result<Grant, u8> {
    let refused = |why: &dyn std::fmt::Display, code| {
        eprintln!("error: {why}");
        code
    };
    // The id of a receipt is a column, so this is how one would look for its records.
    let filter = parse(&format!("consent.receipt_id={}", args.id)).map_err(|e| refused(&e, OWN_FAULT))?;
    let shown = ["consent.receipt_id", ADDRESS, USER_AGENT].into_iter().filter_map(Column::by_name);
    let columns: Vec<&'static Column> = shown.filter(|c| args.purpose.opens(c.class)).collect();
    let ask = Ask {
        purpose: args.purpose,
        reason: args.reason.as_deref(),
        command: "consent show",
        filter: &filter,
        columns: &columns,
        disclosure: None,
    };
    let allowed = ask.allow().map_err(|e| refused(&e, 2))?;
    let log = AuditLog::open(folder).map_err(|e| refused(&e, OWN_FAULT))?;
    open_read(allowed, log, now).map_err(|e| refused(&e, OWN_FAULT))
}

/// Reads the whole log, so that its place is proved.
fn find(id: Uuid, folder: &Path, keys: &ClientKeys, grant: &Grant) -> io::Result<Option<Found>> {
    let id = id.to_string();
    let (mut receipt, mut ended, mut replaced_by) = (None, None, None);
    let verified = ledger::verify(&ledger(folder), |entry: &Receipt, line| {
        let is_it = entry.receipt.as_deref() == Some(&id);
        match entry.event {
            Kind::Expired if is_it => ended = Some(entry.time.clone()),
            _ if is_it && receipt.is_none() => receipt = Some((entry.clone(), hash_in(line))),
            _ if entry.details.as_ref().is_some_and(|d| d.replaces.as_deref() == Some(&id)) => {
                replaced_by.clone_from(&entry.receipt);
            }
            _ => {}
        }
    })?;
    let Some((mut receipt, hash)) = receipt else { return Ok(None) };
    let sealed = receipt.details.as_mut().and_then(|details| details.client.take());
    let client = match &sealed {
        None => State::None,
        Some(sealed) => state(sealed, &id, folder, keys, grant)?,
    };
    Ok(Some(Found { receipt, hash, ended, replaced_by, client, verified }))
}

/// The hash at the end of a line.
fn hash_in(line: &str) -> String {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    entry["hash"].as_str().unwrap_or_default().to_owned()
}

fn state(sealed: &Sealed, id: &str, folder: &Path, keys: &ClientKeys, grant: &Grant) -> io::Result<State> {
    let month = sealed.key.clone();
    Ok(match ClientReader::new(keys, grant).open(sealed, id)? {
        Some(seen) => {
            State::Alive { until: keys.destroyed_at(&month), month, purpose: grant.purpose(), seen }
        }
        None => State::Destroyed { at: destroyed_at(folder, &month)?, month },
    })
}

/// When the key of a month was destroyed, as the audit log has it.
fn destroyed_at(folder: &Path, month: &str) -> io::Result<Option<String>> {
    let mut at = None;
    audit::verify(folder, |entry, _| {
        let is_it = entry.kind == AuditKind::Destruction
            && entry.class.as_deref() == Some(CLASS)
            && entry.day.as_deref() == Some(month);
        if is_it {
            at = Some(entry.time.clone());
        }
    })?;
    Ok(at)
}

/// The columns whose classes the two sealed fields have.
pub(super) const ADDRESS: &str = "client.address";
pub(super) const USER_AGENT: &str = "user_agent.original";
