//! The receipts of consent of one person.
//!
//! A receipt is the person's when its address has one of their tags, as long as the key of its month lives, when one of
//! their records names it or is of the request that made it, or when it replaces or is replaced by such a receipt: that is
//! one browser. Receipts are proof and are never erased: [`Theirs::kept`] says what stays and until when it can be linked.
//! Bound: the ids of the person's records; one line of the log.

use std::collections::HashSet;
use std::net::IpAddr;

use uuid::Uuid;

use super::Failure;
use super::who::Subject;
use crate::clock::Timestamp;
use crate::consent::receipts::{ClientKeys, ClientReader, Receipt, Seen, ledger, line_of};
use crate::ledger;
use crate::record::{Column, Row, Value};
use crate::store::query::Grant;
use crate::store::subjects::Identifier;

/// What of a person's records leads to receipts.
#[derive(Debug)]
pub(super) struct Traces {
    columns: [Option<&'static Column>; 2],
    receipts: HashSet<Uuid>,
    requests: HashSet<Uuid>,
}

impl Default for Traces {
    fn default() -> Self {
        let columns = ["consent.receipt_id", "request.id"].map(Column::by_name);
        Self { columns, receipts: HashSet::new(), requests: HashSet::new() }
    }
}

/// A receipt of the person.
#[derive(Debug)]
pub(super) struct Theirs {
    /// The entry, without what is sealed in it.
    pub(super) receipt: Receipt,
    /// Address and user agent; `None` when their key is gone.
    pub(super) seen: Option<Seen>,
    /// When the key is destroyed.
    pub(super) until: Option<Timestamp>,
}

impl Traces {
    /// Notes a record of the person.
    pub(super) fn note(&mut self, row: &Row<'_>) {
        let [receipt, request] = self.columns.map(|column| match row.get(column?)? {
            Value::Text(text) => Uuid::try_parse_ascii(text).ok(),
            _ => None,
        });
        self.receipts.extend(receipt);
        self.requests.extend(request);
    }

    /// The person's receipts, the oldest first. Tells on standard error when the log was changed.
    pub(super) fn receipts(self, subject: &Subject, grant: &Grant) -> Result<Vec<Theirs>, Failure> {
        let log = ledger(&subject.folder);
        if !log.was_begun() {
            return Ok(Vec::new());
        }
        let keys = ClientKeys::at(&subject.keys_folder);
        let mut search =
            Search { traces: self, subject, reader: ClientReader::new(&keys, grant), keys: &keys };
        let (mut found, mut failed) = (Vec::new(), None);
        let verified = ledger::verify(&log, |entry: &Receipt, _| {
            match search.try_one(entry) {
                Ok(theirs) => found.extend(theirs),
                Err(cause) => failed = Some(cause),
            };
        });
        let verified = verified.map_err(Failure::Receipts)?;
        if let Some(cause) = failed {
            return Err(Failure::Receipts(cause));
        }
        if !verified.problems.is_empty() {
            eprintln!("note: the log of receipts is not as it was written: kelisim consent verify");
        }
        // Those before the oldest that was found: each names the one that it replaced.
        let mut at = 0;
        while let Some(theirs) = found.get(at) {
            let before = theirs.receipt.details.as_ref().and_then(|details| details.replaces.as_deref());
            let before = before.and_then(|id| Uuid::try_parse(id).ok());
            if let Some(id) = before.filter(|id| search.traces.receipts.insert(*id))
                && let Some(line) = line_of(&log, id).map_err(Failure::Receipts)?
                && let Ok(entry) = serde_json::from_str::<Receipt>(&line)
            {
                found.extend(search.try_one(&entry).map_err(Failure::Receipts)?);
            }
            at += 1;
        }
        found.sort_by_key(|theirs| theirs.receipt.n);
        Ok(found)
    }
}

struct Search<'a> {
    traces: Traces,
    subject: &'a Subject,
    reader: ClientReader<'a>,
    keys: &'a ClientKeys,
}

impl Search<'_> {
    /// The receipt if it is the person's.
    fn try_one(&mut self, entry: &Receipt) -> std::io::Result<Option<Theirs>> {
        let (Some(name), Some(details)) = (&entry.receipt, &entry.details) else { return Ok(None) };
        let seen = match &details.client {
            Some(sealed) => self.reader.open(sealed, name)?,
            None => None,
        };
        let uuid = |text: &str| Uuid::try_parse(text).ok();
        let known = |text: &str| uuid(text).is_some_and(|id| self.traces.receipts.contains(&id));
        let theirs = known(name)
            || details.replaces.as_deref().is_some_and(known)
            || uuid(&details.request).is_some_and(|id| self.traces.requests.contains(&id))
            || seen.as_ref().and_then(|seen| seen.address.as_deref()).is_some_and(|ip| self.is_theirs(ip));
        if !theirs {
            return Ok(None);
        }
        self.traces.receipts.extend(uuid(name));
        let month = details.client.as_ref().map(|sealed| sealed.key.as_str());
        let until = month.and_then(|month| self.keys.destroyed_at(month));
        let mut receipt = entry.clone();
        if let Some(details) = &mut receipt.details {
            details.client = None;
        }
        Ok(Some(Theirs { receipt, seen, until }))
    }

    fn is_theirs(&self, address: &str) -> bool {
        let Ok(ip) = address.parse::<IpAddr>() else { return false };
        let tags = self.subject.tagger.every(&Identifier::Address(ip));
        tags.iter().any(|tag| self.subject.person.tags().contains(tag))
    }
}

/// What stays of receipts when the person's records are erased, in lines; none without receipts.
pub(super) fn kept(receipts: &[Theirs]) -> Vec<String> {
    if receipts.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{} receipts of consent: the proof of what was chosen", receipts.len())];
    lines.extend(receipts.iter().map(|theirs| theirs.receipt.receipt.clone().unwrap_or_default()));
    let alive: Vec<&Theirs> = receipts.iter().filter(|theirs| theirs.seen.is_some()).collect();
    let last = alive.iter().map(|theirs| theirs.until).max().flatten();
    lines.push(match (alive.len(), last) {
        (0, _) => "address and user agent in them: their key is destroyed".to_owned(),
        (n, Some(at)) => format!(
            "address and user agent in {n} of them: sealed, until the last of their keys is destroyed on {}",
            &at.to_string()[..10]
        ),
        (n, None) => {
            format!("address and user agent in {n} of them: sealed, until consent.proof_term is over")
        }
    });
    lines.push("what is left after that names no person: numbers, times, texts and choices".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::receipts::Kind;

    fn theirs(id: &str, alive: bool, until: Option<Timestamp>) -> Theirs {
        let receipt = Receipt {
            n: 1,
            time: String::new(),
            event: Kind::Given,
            prev: String::new(),
            receipt: Some(id.to_owned()),
            site: None,
            details: None,
            found: None,
        };
        let seen = alive.then(|| Seen { address: Some("203.0.113.7".into()), user_agent: None });
        Theirs { receipt, seen, until }
    }

    #[test]
    fn what_is_kept_is_told_with_its_end_and_without_an_identifier() {
        let at = |days: i64| Some(Timestamp::from_secs(1_795_341_600 + days * 86_400));
        assert!(kept(&[]).is_empty());
        let text = |receipts: &[Theirs]| kept(receipts).join("\n");
        let both =
            text(&[theirs("r1", true, at(0)), theirs("r2", true, at(30)), theirs("r3", false, at(90))]);
        assert!(
            both.contains("in 2 of them: sealed, until the last of their keys is destroyed on 2026-12-22")
        );
        assert!(
            both.starts_with("3 receipts") && both.contains("\nr3\n") && !both.contains("203."),
            "{both}"
        );
        assert!(text(&[theirs("r1", false, at(0))]).contains("their key is destroyed"));
        assert!(text(&[theirs("r1", true, None)]).contains("until consent.proof_term is over"));
    }
}
