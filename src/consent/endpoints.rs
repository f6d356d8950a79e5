//! The visitor's own endpoints: the page, the choice, the policy.
//!
//! [`handle`] is a pure function of a request, the site and the time, but for the receipt's random bits. It never talks
//! to the site, and never appends the expiry of cookies: [`Answer::choice`] tells the gateway when to. Bound: a body of
//! [`BODY_BYTES`].
//!
//! | below the prefix | methods |
//! |---|---|
//! | (nothing) | `GET`, `HEAD`: the page |
//! | `consent` | `GET`, `HEAD`: the state; `POST`: choose; `DELETE`: withdraw |
//! | `banner.js` | `GET`, `HEAD`: the script that carries a banner's choice to us |
//! | `receipt` | `GET`, `HEAD`: the person's own receipt, as the log has it |
//! | `policy`, `policy/ID` | `GET`, `HEAD`: the version in force, that version |

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::Full;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use uuid::Uuid;

use super::choice::{self, Action, BodyError, Format, Submitted};
use super::form;
use super::keys::ConsentKeys;
use super::origin::{self, Origin};
use super::policy::VersionId;
use super::precedence::{Decision, decide};
use super::problem::{self, Problem};
use super::receipts::{PURPOSES, Shown, hash_of};
use super::record::{COOKIE, ConsentRecord, Mask};
use super::reply::{self, Reply};
use super::return_path;
use super::site::SiteConsent;
use super::state::state;
use super::{script, strays};
use crate::clock::Timestamp;
use crate::cookies::Action as CookieAction;
use crate::cookies::expire::Limits;
use crate::pages::consent::{ConsentPage, statement};
use crate::pages::language::Language;
use crate::pages::policy::PolicyPage;

/// A request to one of our own endpoints.
#[derive(Clone, Copy)]
pub struct OwnRequest<'a> {
    /// Method.
    pub method: &'a http::Method,
    /// Raw path below the prefix: empty, `consent`, `policy/2026-11`.
    pub path: &'a str,
    /// Raw query without `?`.
    pub query: Option<&'a str>,
    /// Fields as the browser sent them.
    pub headers: &'a HeaderMap,
    /// Whole body; hand in one byte more than [`BODY_BYTES`] if there is more.
    pub body: &'a [u8],
    /// Host and port as the browser names them.
    pub authority: &'a str,
    /// Whether the browser speaks https, to us or to a trusted proxy.
    pub secure: bool,
    /// The decision for this request, before what it asks for.
    pub decision: &'a Decision,
}

/// What the gateway sends, and what it notes.
#[derive(Debug)]
pub struct Answer {
    /// The response, complete but for `x-request-id`.
    pub response: Response<Full<Bytes>>,
    /// What was chosen, if a choice is to be stored: the response must not leave before it is.
    pub choice: Option<Choice>,
    /// The receipt that is asked for; the response is for the case that there is none.
    pub receipt: Option<Uuid>,
}

/// A choice: what a receipt needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The record that the browser was given.
    pub record: ConsentRecord,
    /// What happened.
    pub event: Event,
    /// How it came.
    pub method: Method,
    /// Language of the page that was shown, for a script that of the request.
    pub language: Language,
    /// Whether cookies that this request carried must be expired in this response: those of a purpose that is not in the
    /// record.
    pub expires: bool,
    /// The genuine record that the browser held before.
    pub before: Option<ConsentRecord>,
    /// Whether that record had ended, by its age or by a new policy version.
    pub before_ended: bool,
    /// The text that was shown, as far as it is known.
    pub text: Option<Shown>,
    /// The text itself if it is ours.
    pub own_text: Option<String>,
    /// Variant of the site's own banner.
    pub variant: Option<String>,
}

/// What a choice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Consent to at least one purpose was given.
    Given,
    /// Every purpose was refused.
    Refused,
    /// Consent was taken back.
    Withdrawn,
    /// The same consents as before were given again.
    ReConfirmed,
    /// The policy was accepted or declined, and nothing was chosen about any purpose.
    Policy,
}

impl Event {
    /// The stable name used in metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::ReConfirmed => "re-confirmed",
            Self::Policy => "policy",
        }
    }
}

/// How a choice came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By the form of our page.
    Page,
    /// By a script.
    Api,
    /// By our script, for the site's own banner.
    Banner,
}

impl Method {
    /// The stable name used in metrics and records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Api => "api",
            Self::Banner => "banner",
        }
    }
}

/// Answers a request to one of our own endpoints.
#[must_use]
pub fn handle(request: &OwnRequest<'_>, site: &SiteConsent, keys: &ConsentKeys, now: Timestamp) -> Answer {
    let Some(endpoint) = Endpoint::of(request.path) else {
        return refused(request, site, Problem::NotFound);
    };
    let reading = matches!(*request.method, http::Method::GET | http::Method::HEAD);
    let response = match endpoint {
        Endpoint::Page if reading => consent_page(request, site, keys, now),
        Endpoint::State if reading => reply::vary(show_state(request, request.decision, site, now), VARY),
        Endpoint::Receipt if reading => {
            let response = cut_for_head(request.method, problem::reply(request, site, Problem::NoReceipt));
            return Answer { response, choice: None, receipt: request.decision.receipt };
        }
        Endpoint::State if matches!(*request.method, http::Method::POST | http::Method::DELETE) => {
            return change(request, site, keys, now);
        }
        Endpoint::Script if reading => script::reply(request.headers),
        Endpoint::Policy(id) if reading => policy_page(request, site, id, now),
        _ => reply::allow(problem::reply(request, site, Problem::Method), endpoint.methods()),
    };
    Answer { response: cut_for_head(request.method, response), choice: None, receipt: None }
}

/// The answer to a choice whose receipt could not be written: nothing was changed.
#[must_use]
pub fn not_stored(request: &OwnRequest<'_>, site: &SiteConsent) -> Response<Full<Bytes>> {
    let mut response = problem::reply(request, site, Problem::NotStored);
    response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("30"));
    response
}

/// A receipt, as a file to keep: the entry of the log as it stands there.
#[must_use]
pub fn receipt(request: &OwnRequest<'_>, line: &str) -> Response<Full<Bytes>> {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let mut response = reply::json(StatusCode::OK, &entry);
    let disposition = http::HeaderValue::from_static("attachment; filename=\"consent-receipt.json\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    cut_for_head(request.method, response)
}

fn show_state(request: &OwnRequest<'_>, decision: &Decision, site: &SiteConsent, now: Timestamp) -> Reply {
    let notices = site.notices.shown(language(request, site).tag(), site.language.tag(), now);
    state(StatusCode::OK, decision, notices)
}

/// Answers `/.well-known/gpc.json`: whether this site honours Global Privacy Control.
#[must_use]
pub fn well_known_gpc(method: &http::Method, site: &SiteConsent) -> Response<Full<Bytes>> {
    let support = Gpc { gpc: site.sources.gpc(), last_update: GPC_LAST_UPDATE };
    match method.as_str() {
        "GET" | "HEAD" => cut_for_head(method, reply::json(StatusCode::OK, &support)),
        _ => reply::allow(problem::for_program(Problem::Method), "GET, HEAD"),
    }
}

/// What lies below the prefix.
#[derive(Clone, Copy)]
enum Endpoint<'a> {
    Page,
    State,
    Script,
    Receipt,
    /// With the id that was asked for; `None`: the version in force.
    Policy(Option<&'a str>),
}

impl<'a> Endpoint<'a> {
    fn of(path: &'a str) -> Option<Self> {
        match path {
            "" => Some(Self::Page),
            "consent" => Some(Self::State),
            "banner.js" => Some(Self::Script),
            "receipt" => Some(Self::Receipt),
            "policy" => Some(Self::Policy(None)),
            _ => path.strip_prefix("policy/").map(|id| Self::Policy(Some(id))),
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Page | Self::Receipt | Self::Script | Self::Policy(_) => "GET, HEAD",
            Self::State => "GET, HEAD, POST, DELETE",
        }
    }
}

fn consent_page(request: &OwnRequest<'_>, site: &SiteConsent, keys: &ConsentKeys, now: Timestamp) -> Reply {
    let back = form::first(request.query, "return").and_then(|address| return_path::sanitise(&address));
    let decision = request.decision;
    let gated = back.as_deref().is_some_and(|address| {
        let path = address.split(['?', '#']).next().unwrap_or_default();
        site.gate.requires(path)
    });
    let has_policy = decision.policy_version != VersionId::NONE;
    let page = ConsentPage {
        language: language(request, site),
        prefix: &site.prefix,
        decision,
        actions: site.actions,
        mode: site.mode,
        location: site.location,
        token: keys.form_token(&site.name, hour(now)),
        notices: site.notices.shown(language(request, site).tag(), site.language.tag(), now).collect(),
        back: back.as_deref(),
        gated: gated && has_policy && !decision.policy_accepted,
        saved: form::first(request.query, "saved").is_some(),
        objection: site.sources.objection(request.headers),
        objection_wins: site.rules.gpc_over_own_grant,
    };
    reply::vary(reply::page(StatusCode::OK, page.language, page.render()), VARY)
}

fn policy_page(request: &OwnRequest<'_>, site: &SiteConsent, id: Option<&str>, now: Timestamp) -> Reply {
    let policies = &site.rules.policies;
    let language = language(request, site);
    let version = match id {
        None => policies.in_force(now),
        Some(id) => VersionId::parse(id.as_bytes()).and_then(|id| policies.get(&id)),
    };
    let Some((version, document)) =
        version.and_then(|version| Some((version, policies.document(version, language.tag())?)))
    else {
        return problem::reply(request, site, Problem::NotFound);
    };
    let page = PolicyPage {
        language,
        prefix: &site.prefix,
        version,
        document,
        policies,
        in_force: policies.version_in_force(now),
        now,
    };
    reply::vary(reply::page(StatusCode::OK, language, page.render()), "Accept-Language")
}

/// `POST` and `DELETE` on `consent`.
fn change(request: &OwnRequest<'_>, site: &SiteConsent, keys: &ConsentKeys, now: Timestamp) -> Answer {
    let withdraws = request.method == http::Method::DELETE;
    let format = choice::format(request.headers);
    let submitted = if withdraws && request.body.is_empty() {
        Ok(Submitted::default())
    } else {
        choice::read(format, request.body)
    };
    let submitted = match submitted {
        Ok(submitted) if withdraws => Submitted { action: Action::Withdraw, ..submitted },
        Ok(submitted) if !submitted.says_something() => {
            return refused(request, site, Problem::Body(BodyError::Malformed("nothing is chosen")));
        }
        Ok(submitted) => submitted,
        Err(error) => return refused(request, site, Problem::Body(error)),
    };
    let trusted = match origin::of(request.headers, request.authority, request.secure) {
        Origin::Same => true,
        Origin::Other => false,
        Origin::Unstated => submitted
            .token
            .as_deref()
            .is_some_and(|token| keys.verify_form_token(&site.name, hour(now), token)),
    };
    if !trusted {
        return refused(request, site, Problem::CrossSite);
    }
    let own_text = submitted.shown.as_deref().map(|shown| own_text(shown, request, site));
    let mask = mask(&submitted, request.decision, site);
    if mask.consents() != Mask::EMPTY && is_stale(&submitted, request.decision) {
        return refused(request, site, Problem::Stale);
    }
    // What somebody agrees to must be what they were shown; a refusal needs no text.
    let agrees = mask.consents() != Mask::EMPTY || submitted.policy == Some(true);
    if own_text == Some(None) && agrees && submitted.action != Action::Withdraw {
        return refused(request, site, Problem::Outdated);
    }
    let Some(receipt) = new_receipt(now) else { return refused(request, site, Problem::Internal) };
    let before = record_before(request, site, keys);
    // A consent that is kept is not given again: it ends when it would have ended.
    let keeps = submitted.chosen(site).consents() != mask.consents();
    let at = before.as_ref().filter(|_| keeps).map_or(now, |before| before.at);
    let record = ConsentRecord {
        version: request.decision.policy_version,
        at: Timestamp::from_secs(at.as_secs()),
        mask,
        receipt,
    };
    store(request, site, keys, (&submitted, own_text.flatten()), format, (record, before), now)
}

/// Whether the form was built on another choice than the one in force: what was refused or withdrawn elsewhere since the
/// page was opened does not come back by a switch that was left on.
fn is_stale(submitted: &Submitted, decision: &Decision) -> bool {
    let current = decision.receipt.map_or_else(|| NO_RECEIPT.to_owned(), |id| id.to_string());
    submitted.action == Action::Save && submitted.held.as_ref().is_some_and(|held| *held != current)
}

/// The text of our page that the form carried the hash of, if it is one that holds now.
fn own_text(shown: &str, request: &OwnRequest<'_>, site: &SiteConsent) -> Option<(Language, String)> {
    Language::ALL.into_iter().find_map(|language| {
        let text = statement(language, (site.actions, site.mode), request.decision.policy_version);
        (hash_of(&text) == shown).then_some((language, text))
    })
}

/// The answer to a choice that counts.
fn store(
    request: &OwnRequest<'_>,
    site: &SiteConsent,
    keys: &ConsentKeys,
    (submitted, own_text): (&Submitted, Option<(Language, String)>),
    format: Option<Format>,
    (record, before): (ConsentRecord, Option<ConsentRecord>),
    now: Timestamp,
) -> Answer {
    let Ok(cookies) = record.set_cookies(keys, &site.name, request.secure, site.rules.max_age) else {
        return refused(request, site, Problem::Internal);
    };
    // What was shown tells the language; what a form says of it may be untrue.
    let language = own_text
        .as_ref()
        .map(|(language, _)| *language)
        .or_else(|| Language::from_tag(submitted.language.as_deref()?))
        .unwrap_or_else(|| language(request, site));
    let by_form = format == Some(Format::Form);
    let mut response = if by_form {
        let back = submitted.back.as_deref().and_then(return_path::sanitise);
        let saved = || format!("{}?saved=1&lang={}", site.prefix, language.tag());
        reply::see_other(&back.unwrap_or_else(saved))
    } else {
        // What the next request will be told: the new record together with what else this browser sends.
        let mut signals = site.sources.read_headers(request.headers);
        signals.push_own(Some(record));
        site.banners.read_again(request.headers, &mut signals);
        let decision = decide(&signals, &site.rules, now);
        reply::vary(show_state(request, &decision, site, now), VARY)
    };
    let expires = PURPOSES.into_iter().any(|(category, purpose)| {
        site.actions.get(category) != CookieAction::Allow && !record.mask.contains(purpose)
    });
    // These cookies need room in the same response.
    let limits = if expires { Limits::default().half() } else { Limits::default() };
    let strays = strays::expired(request, &site.prefix, submitted.back.as_deref(), limits);
    // Before ours: a browser that does not tell the scopes apart ends with the new choice.
    for cookie in strays.into_iter().chain(cookies) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    let banner = &submitted.banner;
    let text = match &own_text {
        Some((language, text)) => {
            Some(Shown { id: format!("page-{}", language.tag()), sha256: hash_of(text) })
        }
        // Marked, so that no script can name a text of ours.
        None => banner.text_sha256.clone().map(|sha256| Shown {
            id: format!("banner-{}", banner.text_id.as_deref().unwrap_or("unnamed")),
            sha256,
        }),
    };
    let choice = Choice {
        event: event(submitted, record.mask, before.as_ref()),
        before_ended: !request.decision.chosen
            && before.is_some_and(|before| !before.mask.contains(Mask::UNDECIDED)),
        before,
        text,
        own_text: own_text.map(|(_, text)| text),
        variant: banner.variant.clone(),
        record,
        method: match (by_form, submitted.by_banner) {
            (true, _) => Method::Page,
            (false, false) => Method::Api,
            (false, true) => Method::Banner,
        },
        language,
        expires,
    };
    Answer { response, choice: Some(choice), receipt: None }
}

/// What a choice means beside the one before it.
fn event(submitted: &Submitted, mask: Mask, before: Option<&ConsentRecord>) -> Event {
    let had = before.map_or(Mask::EMPTY, |before| before.mask.consents());
    match mask.consents() {
        _ if submitted.is_of_policy_alone() => Event::Policy,
        Mask::EMPTY if submitted.action == Action::Withdraw || had != Mask::EMPTY => Event::Withdrawn,
        Mask::EMPTY => Event::Refused,
        consents if consents == had => Event::ReConfirmed,
        _ => Event::Given,
    }
}

/// The newest genuine record that the browser holds, current or not.
fn record_before(request: &OwnRequest<'_>, site: &SiteConsent, keys: &ConsentKeys) -> Option<ConsentRecord> {
    let fields = request.headers.get_all(header::COOKIE).iter();
    let pieces = fields.flat_map(|field| field.as_bytes().split(|&b| b == b';'));
    pieces
        .filter_map(|piece| piece.trim_ascii().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))
        .filter_map(|value| ConsentRecord::verify(keys, &site.name, value))
        .max_by_key(|record| record.at)
}

/// The bits to store. What nothing is said of stays as it is.
fn mask(submitted: &Submitted, decision: &Decision, site: &SiteConsent) -> Mask {
    let said = submitted.chosen(site);
    let purposes = PURPOSES.into_iter().fold(Mask::EMPTY, |all, (_, purpose)| {
        let from = if said.is_open(purpose) { decision.own } else { said };
        all.or(from.and(purpose.or(Mask::open(purpose))))
    });
    // The acceptance of the policy is no consent to cookies: taking back the one leaves the other.
    let accepted = submitted.policy.unwrap_or(decision.policy_accepted);
    purposes.with_if(Mask::POLICY, accepted && decision.policy_version != VersionId::NONE)
}

fn new_receipt(now: Timestamp) -> Option<Uuid> {
    let mut random = [0; 10];
    SystemRandom::new().fill(&mut random).ok()?;
    let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
    Some(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

fn hour(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(3600)
}

/// The language of the answer: `?lang=`, else `Accept-Language`, else that of the site.
pub(super) fn language(request: &OwnRequest<'_>, site: &SiteConsent) -> Language {
    request
        .query
        .and_then(Language::from_query)
        .or_else(|| Language::from_accept_language(request.headers.get(header::ACCEPT_LANGUAGE)?.as_bytes()))
        .unwrap_or(site.language)
}

#[derive(Serialize)]
struct Gpc {
    gpc: bool,
    #[serde(rename = "lastUpdate")]
    last_update: &'static str,
}

fn refused(request: &OwnRequest<'_>, site: &SiteConsent, why: Problem) -> Answer {
    Answer { response: problem::reply(request, site, why), choice: None, receipt: None }
}

fn cut_for_head(method: &http::Method, reply: Reply) -> Reply {
    match reply.body().size_hint().exact() {
        Some(length) if method == http::Method::HEAD => reply::without_body(reply, length),
        _ => reply,
    }
}

/// What an answer depends on that tells the decision, in a language.
const VARY: &str = "Sec-GPC, DNT, Accept-Language";
/// What the page's form says in the place of a receipt where there is none.
pub(crate) const NO_RECEIPT: &str = "none";
/// Longest body of a choice.
pub const BODY_BYTES: usize = 4096;
/// The day since which the signal is treated as it is now.
const GPC_LAST_UPDATE: &str = "2026-11-22";

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
