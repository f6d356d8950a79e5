//! The state of a visitor's choice as JSON, for scripts of the site.
//!
//! Never tells more than the page shows. Bound: one small document.

use http::StatusCode;
use serde::Serialize;

use super::notice::Shown;
use super::precedence::Decision;
use super::reply::{self, Reply};

/// The state as JSON. The keys are a contract.
#[derive(Serialize)]
struct State<'a> {
    decision: &'static str,
    reason: &'static str,
    source: &'static str,
    policy_version: &'a str,
    policy_accepted: bool,
    receipt: Option<String>,
    purposes: StatePurposes,
    notices: Vec<StateNotice<'a>>,
}

#[derive(Serialize)]
struct StateNotice<'a> {
    id: &'a str,
    language: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct StatePurposes {
    advertising: bool,
    analytics: bool,
    functional: bool,
}

/// The state as an answer.
pub(super) fn state<'a>(
    status: StatusCode,
    decision: &Decision,
    notices: impl Iterator<Item = Shown<'a>>,
) -> Reply {
    let state = State {
        decision: decision.result.label(),
        reason: decision.reason.label(),
        source: decision.source.label(),
        policy_version: decision.policy_version.as_str(),
        policy_accepted: decision.policy_accepted,
        receipt: decision.receipt.map(|receipt| receipt.to_string()),
        purposes: StatePurposes {
            advertising: decision.permits.advertising.is_some(),
            analytics: decision.permits.analytics.is_some(),
            functional: decision.permits.functional.is_some(),
        },
        notices: notices.map(|Shown { id, language, text }| StateNotice { id, language, text }).collect(),
    };
    reply::json(status, &state)
}
