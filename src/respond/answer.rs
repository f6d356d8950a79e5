//! Cleans and completes the site's answer before it goes to the visitor.
//!
//! Removes what belongs to the connection to the site, judges every `Set-Cookie`, tells the browser to forget
//! cookies that it should not have, adds the request id. Never makes an answer more cacheable than the site
//! did. Bound: the head of the answer.

use http::header::{self, Entry};
use http::{HeaderMap, HeaderValue, StatusCode};
use uuid::Uuid;

use super::{permissions, proxy_status};
use crate::admin::labels::{CookieAction, Direction};
use crate::clock::Timestamp;
use crate::consent::Mask;
use crate::cookies::response::{self, Verdict};
use crate::cookies::{Mode, expire};
use crate::exchange::Exchange;
use crate::gateway::permits_advertising;
use crate::ingress::{headers, host, request_id};
use crate::record::List;
use crate::record::decisions::Note;

/// Which of the cookies that the request carried the browser is told to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// Those that were not permitted; a visitor who was told today is not told again.
    NotPermitted,
    /// Those of purposes that are not in this choice: the answer to it. Who just refused is told again.
    NotChosen(Mask),
}

/// Makes the site's head fit for the visitor. Returns names that may not come as a trailer either.
pub fn complete(exchange: &mut Exchange, status: StatusCode, fields: &mut HeaderMap) -> headers::Listed {
    let now = exchange.arrived;
    let permitted = permits_advertising(exchange.consent.as_ref());
    let enforced = exchange.state.cookies.mode == Mode::Enforce;
    let passes = headers::Passes { advertising: permitted || !enforced, hints: !enforced };
    let cleaned = headers::clean_answer(fields, passes);
    if cleaned.permissions && enforced {
        exchange.done.note_if(permissions::without_hints(fields), Note::AnswerHints);
    }
    exchange.done.note_if(cleaned.advertising, Note::AnswerAdvertising);
    exchange.done.note_if(cleaned.hints, Note::AnswerHints);
    proxy_status::remove_ours(fields);
    let removed = filter_set_cookies(exchange, fields, now);
    let mut private = removed;
    forget_told(exchange);
    let document = document(exchange, status, fields);
    if document.is_some() && !permitted && enforced {
        permissions::deny_advertising(fields, cleaned.permissions);
    }
    if document == Some(Document::Page) {
        let expired = expire_cookies(exchange, fields, Expire::NotPermitted, now);
        exchange.done.note_if(expired, Note::Expired);
        private |= expired;
        if let Some(cookie) = exchange.visitor_cookie.take() {
            fields.append(header::SET_COOKIE, cookie);
            private = true;
        }
    }
    if private {
        expire::make_private(fields);
    }
    fields.insert(request_id::NAME, exchange.admitted.id.clone());
    cleaned.listed
}

/// Judges each `Set-Cookie`. Returns whether one was removed.
fn filter_set_cookies(exchange: &mut Exchange, fields: &mut HeaderMap, now: Timestamp) -> bool {
    // Asked first: an entry makes room for a field that most answers never get.
    if !fields.contains_key(header::SET_COOKIE) {
        return false;
    }
    let Some(decision) = &exchange.consent else { return false };
    let policy = &exchange.state.cookies;
    let mut kept: Vec<HeaderValue> = Vec::new();
    let mut removed = false;
    for field in fields.get_all(header::SET_COOKIE) {
        let judgement = response::judge(field.as_bytes(), policy, &decision.permits, fields, now);
        let strip = matches!(judgement.verdict, Verdict::Strip | Verdict::Reserved);
        let action = if strip { CookieAction::Stripped } else { CookieAction::Kept };
        exchange.worker.metrics.cookies(
            action,
            judgement.class.category,
            Direction::Response,
            policy.mode,
            1,
        );
        if strip {
            exchange.cookies.blocked.push(judgement.name);
        }
        exchange.done.note_if(strip && !judgement.removes, Note::DryRun);
        if judgement.removes {
            removed = true;
        } else {
            kept.push(field.clone());
        }
    }
    if removed && let Entry::Occupied(mut entry) = fields.entry(header::SET_COOKIE) {
        let mut kept = kept.into_iter();
        match kept.next() {
            Some(first) => {
                entry.insert(first);
                kept.for_each(|value| entry.append(value));
            }
            None => {
                entry.remove_entry_mult();
            }
        }
    }
    removed
}

/// A document that the browser makes of an answer: one that may ask for its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Document {
    /// What the visitor went to: only there cookies are given or expired.
    Page,
    /// In a frame of a page, or fetched by its scripts.
    Inner,
}

/// What document this answer is, if it is one.
fn document(exchange: &Exchange, status: StatusCode, fields: &HeaderMap) -> Option<Document> {
    if matches!(
        status,
        StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS | StatusCode::PARTIAL_CONTENT
    ) {
        return None;
    }
    let is_html = || {
        fields.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().get(..9).is_some_and(|k| k.eq_ignore_ascii_case(b"text/html"))
        })
    };
    match exchange.kept.fetch_dest() {
        Some(b"document") => Some(Document::Page),
        Some(b"iframe" | b"frame" | b"embed" | b"object" | b"fencedframe") => Some(Document::Inner),
        Some(_) => is_html().then_some(Document::Inner),
        None => is_html().then_some(Document::Page),
    }
}

/// What stands for the visitor in the memory of who was told what. Who chose anew is told anew.
fn told_as(exchange: &Exchange) -> Option<u64> {
    let low = |id: Uuid| id.as_u64_pair().1;
    let chosen = exchange.consent.as_ref().and_then(|decision| decision.receipt).map_or(0, low);
    exchange.visitor.map(|visitor| low(visitor.id.uuid()) ^ chosen)
}

/// Forgets that the visitor was told of cookies which a banner's consent lets pass now: without it they are told again. A
/// consent given here has a receipt of its own, so that nothing need be forgotten.
fn forget_told(exchange: &Exchange) {
    if exchange.cookies.passed().is_empty() {
        return;
    }
    let by_receipt = exchange.consent.as_ref().is_some_and(|decision| decision.receipt.is_some());
    if let Some(visitor) = told_as(exchange).filter(|_| !by_receipt) {
        exchange.worker.expirer.borrow_mut().forget(visitor, exchange.cookies.passed().into_iter());
    }
}

/// Tells the browser to forget what it should not hold. Returns whether a field was added.
pub fn expire_cookies(exchange: &Exchange, fields: &mut HeaderMap, which: Expire, now: Timestamp) -> bool {
    let cookies = &exchange.cookies;
    let limits = expire::Limits::default();
    let (chosen, visitor, limits) = match which {
        // Who is not known is told every time.
        Expire::NotPermitted => (None, told_as(exchange), limits),
        // An answer of ours expires other things besides.
        Expire::NotChosen(chosen) => {
            (Some(chosen), None, limits.beside(fields.get_all(header::SET_COOKIE).iter()))
        }
    };
    let category = |name: &[u8]| exchange.state.cookies.catalogue.classify(name).category;
    let purpose = |name: &[u8]| Mask::of(category(name)).unwrap_or_default();
    let stays = |name: &&[u8]| chosen.is_none_or(|chosen| !chosen.contains(purpose(name)));
    let passed = if chosen.is_some() { cookies.passed() } else { List::default() };
    let refused =
        passed.into_iter().filter(|name| chosen.is_some_and(|chosen| chosen.refuses(purpose(name))));
    let names = cookies.expire().into_iter().filter(stays).chain(refused);
    if names.clone().next().is_none() || exchange.state.cookies.mode == Mode::DryRun {
        return false;
    }
    let mut expirer = exchange.worker.expirer.borrow_mut();
    // Most visitors have been told today: nothing else is then looked at.
    if visitor.is_some_and(|visitor| names.clone().all(|name| expirer.was_told(visitor, name, now))) {
        return false;
    }
    let host = exchange.admitted.host.to_str().unwrap_or_default();
    let host =
        host::parse(host.as_bytes()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let secure = exchange.admitted.secure;
    let expired = match visitor {
        Some(visitor) => expirer.expire(visitor, names, host, secure, now),
        None => expire::plan(names, host, secure, limits).fields,
    };
    let any = !expired.is_empty();
    let mode = exchange.state.cookies.mode;
    for value in expired {
        let name = value.as_bytes().split(|&byte| byte == b'=').next().unwrap_or_default();
        exchange.worker.metrics.cookies(CookieAction::Expired, category(name), Direction::Response, mode, 1);
        fields.append(header::SET_COOKIE, value);
    }
    any
}
