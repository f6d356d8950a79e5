//! A receipt as `consent show` prints it.
//!
//! Pure. Text that came from a client is escaped. Bound: one receipt.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::show::{ADDRESS, USER_AGENT};
use crate::cli::logs::escape::push_text;
use crate::clock::Timestamp;
use crate::consent::receipts::{Receipt, Seen, Shown};
use crate::ledger::Verified;
use crate::record::{Column, Purpose};
use crate::store::query::READERS;

/// A receipt and what is known about it.
pub(super) struct Found {
    /// The entry, without what is sealed in it.
    pub(super) receipt: Receipt,
    /// Its hash.
    pub(super) hash: String,
    /// When it was seen to have ended by age or by a new policy version.
    pub(super) ended: Option<String>,
    /// The receipt of the choice after it.
    pub(super) replaced_by: Option<String>,
    /// Address and user agent.
    pub(super) client: State,
    /// What the whole log is like.
    pub(super) verified: Verified,
}

/// What became of address and user agent.
pub(super) enum State {
    /// The entry has none.
    None,
    /// The key of the month is there.
    Alive {
        /// The month.
        month: String,
        /// When the key is destroyed.
        until: Option<Timestamp>,
        /// Why somebody looks.
        purpose: Purpose,
        /// What that opens.
        seen: Seen,
    },
    /// The key of the month is not there.
    Destroyed {
        /// The month.
        month: String,
        /// When it was destroyed, as the audit log has it.
        at: Option<String>,
    },
}

/// For people.
pub(super) fn table(found: &Found) -> String {
    let Found { receipt, hash, ended, replaced_by, client, verified } = found;
    let mut out = String::new();
    let mut put = |title: &str, text: &str| {
        let _ = write!(out, "{title:<13}");
        push_text(&mut out, text.as_bytes());
        out.push('\n');
    };
    put("receipt", receipt.receipt.as_deref().unwrap_or_default());
    put("event", receipt.event.label());
    put("time", &receipt.time);
    put("site", receipt.site.as_deref().unwrap_or_default());
    if let Some(details) = &receipt.details {
        if let Some(controller) = &details.controller {
            put("controller", &format!("{}, {}", controller.name, controller.contact));
        }
        put("jurisdiction", details.jurisdiction.as_deref().unwrap_or("not configured"));
        put("policy", &shown(details.policy.as_ref()));
        put("accepted", if details.policy_accepted { "yes" } else { "no" });
        put("text", &shown(details.text.as_ref()));
        put("language", &details.language);
        put("method", &details.method);
        if let Some(variant) = &details.variant {
            put("variant", variant);
        }
        for purpose in &details.purposes {
            let state = serde_json::to_value(purpose.state).unwrap_or_default();
            put("purpose", &format!("{}: {}", purpose.purpose, state.as_str().unwrap_or_default()));
        }
        put("valid until", &details.valid_until);
        put("request", &details.request);
        put("replaces", details.replaces.as_deref().unwrap_or("nothing"));
    }
    put("replaced by", replaced_by.as_deref().unwrap_or("nothing"));
    if let Some(ended) = ended {
        put("ended", ended);
    }
    for (title, text) in client_lines(client) {
        put(title, &text);
    }
    put("place", &format!("entry {} of {}, hash {hash}", receipt.n, verified.entries));
    put("chain", &chain(verified));
    out
}

fn shown(text: Option<&Shown>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| format!("{}, SHA-256 {}", text.id, text.sha256))
}

fn chain(verified: &Verified) -> String {
    match verified.problems.len() as u64 + verified.more {
        0 => format!("whole, head {}", verified.head),
        n => format!("CHANGED: {n} problems, which `kelisim consent verify` tells"),
    }
}

fn client_lines(client: &State) -> Vec<(&'static str, String)> {
    let both = |text: String| vec![("address", text.clone()), ("user agent", text)];
    match client {
        State::None => both("not kept".to_owned()),
        State::Destroyed { month, at: Some(at) } => both(format!("destroyed with the key of {month}, {at}")),
        State::Destroyed { month, at: None } => both(format!(
            "cannot be opened: the key of {month} is not there (it is in another folder, see --keys, or was destroyed)"
        )),
        State::Alive { month, until, purpose, seen } => {
            let field = |value: &Option<String>, column| match (value, Column::by_name(column)) {
                (Some(value), _) => value.clone(),
                (None, Some(column)) if !purpose.opens(column.class) => {
                    format!("sealed; it is opened by --purpose {}", openers(column))
                }
                (None, _) => "none was sent".to_owned(),
            };
            let key = until.map_or_else(
                || format!("of {month}"),
                |at| format!("of {month}, is destroyed on {}", &at.to_string()[..10]),
            );
            vec![
                ("address", field(&seen.address, ADDRESS)),
                ("user agent", field(&seen.user_agent, USER_AGENT)),
                ("their key", key),
            ]
        }
    }
}

/// The purposes that open a column.
fn openers(column: &Column) -> String {
    let labels = READERS.iter().filter(|p| p.opens(column.class)).map(|p| p.label());
    labels.collect::<Vec<_>>().join(" or ")
}

/// For programs.
pub(super) fn object(found: &Found) -> Value {
    let Found { receipt, hash, ended, replaced_by, client, verified } = found;
    let client = match client {
        State::None => json!({ "state": "none" }),
        State::Destroyed { month, at } => {
            let state = if at.is_some() { "destroyed" } else { "no-key" };
            json!({ "state": state, "key": month, "destroyed": at })
        }
        State::Alive { month, until, purpose: _, seen } => json!({
            "state": "alive",
            "key": month,
            "destroyed_on": until.map(|at| at.to_string()),
            "address": seen.address,
            "user_agent": seen.user_agent,
            "opened_by": {
                "address": Column::by_name(ADDRESS).map(openers),
                "user_agent": Column::by_name(USER_AGENT).map(openers),
            },
        }),
    };
    let problems = verified.problems.len() as u64 + verified.more;
    json!({
        "receipt": receipt,
        "ended": ended,
        "replaced_by": replaced_by,
        "client": client,
        "place": { "n": receipt.n, "entries": verified.entries, "hash": hash, "head": verified.head },
        "problems": problems,
        "good": problems == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::receipts::{Controller, Details, Kind, PurposeState, State as Chosen};

    fn found(client: State) -> Found {
        let purpose =
            |purpose: &str, state| PurposeState { purpose: purpose.into(), category: purpose.into(), state };
        let details = Details {
            replaces: None,
            controller: Some(Controller { name: "The Shop".into(), contact: "privacy@kz.example".into() }),
            jurisdiction: Some("kz".into()),
            policy: Some(Shown { id: "v1".into(), sha256: "ab".into() }),
            policy_accepted: true,
            valid_until: "2027-11-22T10:00:00.000000Z".into(),
            method: "banner".into(),
            language: "kk".into(),
            text: None,
            variant: Some("B\u{1b}[31m".into()),
            purposes: vec![purpose("analytics", Chosen::NotAsked), purpose("advertising", Chosen::Given)],
            request: "0190-r".into(),
            client: None,
        };
        let receipt = Receipt {
            n: 2,
            time: "2026-11-22T10:00:00.000000Z".into(),
            event: Kind::Given,
            prev: "00".into(),
            receipt: Some("0190-c".into()),
            site: Some("kz.example".into()),
            details: Some(details),
            found: None,
        };
        let verified = Verified { entries: 3, head: "ff".into(), ..Verified::default() };
        Found {
            receipt,
            hash: "cd".into(),
            ended: None,
            replaced_by: Some("0190-d".into()),
            client,
            verified,
        }
    }

    #[test]
    fn every_fact_is_told_and_what_is_sealed_says_who_opens_it() {
        let until = Some(Timestamp::from_secs(1_795_341_600));
        let month = || "2026-11".to_owned();
        let alive = |purpose, seen| State::Alive { month: month(), until, purpose, seen };
        let address = Seen { address: Some("203.0.113.7".into()), user_agent: None };
        let mut out = table(&found(alive(Purpose::Support, Seen::default())));
        let short = |found: &Found| {
            table(found)
                .lines()
                .filter(|l| l.contains("agent") || l.contains("address"))
                .fold(String::new(), |text, line| text + line + "\n")
        };
        for client in [
            alive(Purpose::Security, address),
            alive(Purpose::Diagnostics, Seen::default()),
            State::Destroyed { month: month(), at: Some("2029-12-01T00:00:00.000000Z".into()) },
            State::Destroyed { month: month(), at: None },
            State::None,
        ] {
            out += "\n";
            out += &short(&found(client));
        }
        insta::assert_snapshot!("shown", out);
    }

    #[test]
    fn a_changed_chain_is_told_in_both_formats() {
        let mut found = found(State::None);
        found.verified.more = 1;
        assert!(table(&found).contains("CHANGED: 1 problems"));
        let object = object(&found);
        assert_eq!((&object["good"], &object["problems"]), (&false.into(), &1.into()));
        assert_eq!(object["receipt"]["purposes"][1]["state"], "given");
    }
}
