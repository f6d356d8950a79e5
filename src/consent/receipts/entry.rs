//! What one entry of the receipts says.
//!
//! The order of the fields is the order in the line. Pure. Bound: ids and hashes; what a client sends is cut where it is
//! read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::endpoints::{Choice, Event};
use super::super::record::{ConsentRecord, Mask};
use super::super::site::SiteConsent;
use crate::clock::Timestamp;
use crate::cookies::{Action, Category};
use crate::ledger::{Chained, Interruption};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Consent to at least one purpose was given.
    Given,
    /// Every purpose was refused.
    Refused,
    /// Every consent was taken back.
    Withdrawn,
    /// The same consents as before were given again.
    ReConfirmed,
    /// The policy was accepted or declined, and nothing was chosen about any purpose.
    Policy,
    /// An earlier choice had ended by its age or by a new policy version, as was seen when the person chose again.
    Expired,
    /// The bytes before this entry are what a killed writer left, or entries are missing.
    Interrupted,
}

impl Kind {
    /// The name in the log and in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::ReConfirmed => "re-confirmed",
            Self::Policy => "policy",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Event> for Kind {
    fn from(event: Event) -> Self {
        match event {
            Event::Given => Self::Given,
            Event::Refused => Self::Refused,
            Event::Withdrawn => Self::Withdrawn,
            Event::ReConfirmed => Self::ReConfirmed,
            Event::Policy => Self::Policy,
        }
    }
}

/// One entry as it is written. Fields that do not belong to its kind are absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Its number, from 1, without holes.
    pub n: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// What happened.
    pub event: Kind,
    /// The hash of the entry before it; zeros for the first.
    pub prev: String,
    /// Number of the receipt, which the person's cookie holds as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// The site, by its first host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// A choice: everything else about it.
    #[serde(flatten)]
    pub details: Option<Details>,
    /// `interrupted`: what was found.
    #[serde(flatten)]
    pub found: Option<Found>,
}

/// A choice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Details {
    /// The receipt of the choice before it, if the browser still held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Who is responsible for the site, as configured.
    pub controller: Option<Controller>,
    /// Law under which the site works, as configured.
    pub jurisdiction: Option<String>,
    /// The policy version in force; absent if the site publishes none.
    pub policy: Option<Shown>,
    /// Whether that version is accepted.
    pub policy_accepted: bool,
    /// Until when the choice counts, RFC 3339 in UTC.
    pub valid_until: String,
    /// `page`, `api` or another way in which the choice came.
    pub method: String,
    /// Language of the page that was shown; for a script that of the request.
    pub language: String,
    /// The exact text that was shown, as far as it is known.
    pub text: Option<Shown>,
    /// Variant of the site's own banner, as the script told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Every purpose with its state.
    pub purposes: Vec<PurposeState>,
    /// Id of the request.
    pub request: String,
    /// Address and user agent, sealed.
    pub client: Option<Sealed>,
}

/// Who is responsible for a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Name.
    pub name: String,
    /// Where to write to.
    pub contact: String,
}

/// A text by its id and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
}

/// A purpose in a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurposeState {
    /// The purpose.
    pub purpose: String,
    /// The category of cookies that it stands for.
    pub category: String,
    /// What was chosen.
    pub state: State,
}

/// What was chosen for a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Consent is given.
    Given,
    /// Consent is not given.
    Refused,
    /// Consent was given before and no more.
    Withdrawn,
    /// Nothing was said of it, and no earlier choice of it counts.
    Open,
    /// Nothing waits for a choice: such cookies pass.
    NotAsked,
    /// Nothing waits for a choice: such cookies never pass.
    Never,
}

/// Address and user agent under the key of a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which key: the month.
    pub key: String,
    /// Nonce, text and tag of AES-256-GCM, base64; the receipt's number is bound into it.
    pub sealed: String,
}

/// What an interruption found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Bytes before this entry that are no entry.
    pub bytes: Option<u64>,
    /// Their SHA-256.
    pub sha256: Option<String>,
    /// Entries that the head knew and that are gone.
    pub lost: Option<u64>,
    /// The head was missing, or not readable, or knew another entry.
    pub head: Option<String>,
}

impl Receipt {
    /// The entry of a choice, without its client and its place.
    #[must_use]
    pub fn of(choice: &Choice, site: &SiteConsent, request: &str, now: Timestamp) -> Self {
        let record = &choice.record;
        let policy = site.rules.policies.get(&record.version);
        let details = Details {
            replaces: choice.before.map(|before| before.receipt.to_string()),
            controller: site.controller.clone(),
            jurisdiction: site.jurisdiction.clone(),
            policy: policy.map(|version| Shown { id: version.id.to_string(), sha256: version.hash.clone() }),
            policy_accepted: record.mask.contains(Mask::POLICY),
            valid_until: record.at.plus(site.rules.max_age).to_string(),
            method: choice.method.label().to_owned(),
            language: choice.language.tag().to_owned(),
            text: choice.text.clone(),
            variant: choice.variant.clone(),
            purposes: purposes(record, choice.before.as_ref(), site),
            request: request.to_owned(),
            client: None,
        };
        let event = choice.event.into();
        Self { details: Some(details), ..Self::bare(event, Some(record.receipt), Some(&site.name), now) }
    }

    /// The entry that an earlier choice had ended.
    #[must_use]
    pub fn expired(before: &ConsentRecord, site: &SiteConsent, now: Timestamp) -> Self {
        Self::bare(Kind::Expired, Some(before.receipt), Some(&site.name), now)
    }

    fn bare(event: Kind, receipt: Option<Uuid>, site: Option<&str>, now: Timestamp) -> Self {
        Self {
            n: 0,
            time: now.to_string(),
            event,
            prev: String::new(),
            receipt: receipt.map(|id| id.to_string()),
            site: site.map(str::to_owned),
            details: None,
            found: None,
        }
    }
}

fn purposes(record: &ConsentRecord, before: Option<&ConsentRecord>, site: &SiteConsent) -> Vec<PurposeState> {
    let state = |category, bit| match site.actions.get(category) {
        Action::Allow => State::NotAsked,
        Action::Strip => State::Never,
        Action::Consent if record.mask.contains(bit) => State::Given,
        Action::Consent if record.mask.is_open(bit) => State::Open,
        Action::Consent if before.is_some_and(|before| before.mask.contains(bit)) => State::Withdrawn,
        Action::Consent => State::Refused,
    };
    PURPOSES
        .into_iter()
        .map(|(category, bit)| PurposeState {
            purpose: category.label().to_owned(),
            category: category.label().to_owned(),
            state: state(category, bit),
        })
        .collect()
}

/// The purposes that a visitor can be asked for, with their bits.
pub(in crate::consent) const PURPOSES: [(Category, Mask); 3] = [
    (Category::Functional, Mask::FUNCTIONAL),
    (Category::Analytics, Mask::ANALYTICS),
    (Category::Advertising, Mask::ADVERTISING),
];

impl Chained for Receipt {
    fn link(&self) -> (u64, &str) {
        (self.n, &self.prev)
    }

    fn set_link(&mut self, n: u64, prev: &str) {
        (self.n, self.prev) = (n, prev.to_owned());
    }

    fn interruption(&self) -> Option<Interruption> {
        let found = self.found.as_ref().filter(|_| self.event == Kind::Interrupted)?;
        let Found { bytes, sha256, lost, head } = found.clone();
        Some(Interruption { bytes, sha256, lost, head })
    }

    fn telling(interruption: Interruption, next: &Self) -> Self {
        let Interruption { bytes, sha256, lost, head } = interruption;
        let found = Some(Found { bytes, sha256, lost, head });
        let bare = Self::bare(Kind::Interrupted, None, None, Timestamp::default());
        Self { time: next.time.clone(), found, ..bare }
    }
}
