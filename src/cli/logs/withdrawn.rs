//! Who has taken the consent to advertising back: for an export on the ground of consent.
//!
//! A record is left out when its receipt, or one that replaced it, was followed by a choice without that consent, and
//! when its request made such a choice; what is given again later does not bring the older records back. Consent that
//! left no receipt can only be judged by the record itself. Never shows a receipt. Bound: two ids for each receipt.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::read::Failure;
use crate::consent::receipts::{Kind, Receipt, State, ledger};
use crate::ledger;
use crate::record::{Column, Row, Value};

/// What was taken back.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    receipts: HashSet<Uuid>,
    requests: HashSet<Uuid>,
    /// The receipt before each: needed while the log is read.
    before: HashMap<Uuid, Uuid>,
}

impl Withdrawn {
    /// What the log of a records folder says; one that is not there says nothing.
    pub(super) fn read(records: &Path) -> Result<Self, Failure> {
        let mut withdrawn = Self::default();
        let read = ledger::verify(&ledger(records), |entry: &Receipt, _| withdrawn.take(entry));
        match read {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(withdrawn),
            Err(cause) => Err(Failure::Read(cause)),
            Ok(verified) if verified.problems.is_empty() => Ok(withdrawn),
            Ok(_) => Err(Failure::Read(io::Error::other(
                "the log of receipts is not as it was written, so nobody knows who has withdrawn: kelisim consent verify",
            ))),
        }
    }

    /// Takes the next entry of the log.
    fn take(&mut self, entry: &Receipt) {
        let uuid = |text: &String| Uuid::try_parse(text).ok();
        let (Some(id), Some(details)) = (entry.receipt.as_ref().and_then(uuid), &entry.details) else {
            return;
        };
        // The end of a choice by its age is not a choice.
        if entry.event == Kind::Expired {
            return;
        }
        let before = details.replaces.as_ref().and_then(uuid);
        if let Some(before) = before {
            self.before.insert(id, before);
        }
        let advertising = details.purposes.iter().find(|purpose| purpose.purpose == ADVERTISING);
        if !advertising.is_some_and(|p| matches!(p.state, State::Refused | State::Withdrawn)) {
            return;
        }
        self.requests.extend(uuid(&details.request));
        self.receipts.insert(id);
        let mut next = before;
        while let Some(id) = next.filter(|id| self.receipts.insert(*id)) {
            next = self.before.get(&id).copied();
        }
    }

    /// Whether a record must not be given.
    pub(super) fn covers(&self, row: &Row<'_>) -> bool {
        let id = |name: &str| match row.get(Column::by_name(name)?)? {
            Value::Text(text) => Uuid::try_parse_ascii(text).ok(),
            _ => None,
        };
        id(RECEIPT).is_some_and(|id| self.receipts.contains(&id))
            || id(REQUEST).is_some_and(|id| self.requests.contains(&id))
    }

    /// The columns by which that is told.
    pub(super) fn columns() -> impl Iterator<Item = &'static Column> {
        [RECEIPT, REQUEST].into_iter().filter_map(Column::by_name)
    }
}

const RECEIPT: &str = "consent.receipt_id";
const REQUEST: &str = "request.id";
/// The purpose whose consent `consent.decision` tells.
const ADVERTISING: &str = "advertising";
