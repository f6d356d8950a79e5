//! Cleans and completes the site's answer before it goes to the visitor.
//!
//! Removes what belongs to the connection to the site, judges every `Set-Cookie`, tells the browser to forget
//! advertising cookies that it should not have, adds the request id. Never makes an answer more cacheable than the site
//! did. Bound: the head of the answer.

use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::admin::labels::{CookieAction, Direction};
use crate::clock::Timestamp;
use crate::cookies::response::{self, Verdict};
use crate::cookies::{Category, Mode, expire};
use crate::exchange::Exchange;
use crate::ingress::{headers, host, request_id};

/// What the request left for its answer.
#[derive(Debug, Default)]
pub struct Owed {
    /// The visitor cookie to be given, if the visitor has none.
    pub visitor: Option<HeaderValue>,
    /// Advertising cookies that the request carried and that were kept from the site.
    pub expire: Vec<Vec<u8>>,
    /// Key of the visitor for remembering what was expired.
    pub visitor_key: u64,
}

/// Makes the site's head fit for the visitor.
pub fn complete(exchange: &mut Exchange, status: StatusCode, fields: &mut HeaderMap, owed: Owed, now: Timestamp) {
    headers::remove_hop_by_hop_of_answer(fields);
    let removed = filter_set_cookies(exchange, fields, now);
    if !has_permit(exchange) && exchange.state.cookies.mode == Mode::Enforce {
        remove_advertising(fields);
    }
    let mut private = removed;
    if is_navigation(exchange, status, fields) {
        private |= expire_advertising(exchange, fields, &owed, now);
        if let Some(cookie) = owed.visitor {
            fields.append(header::SET_COOKIE, cookie);
            private = true;
        }
    }
    if private {
        expire::make_private(fields);
    }
    fields.insert(request_id::NAME, exchange.admitted.id.clone());
}

fn has_permit(exchange: &Exchange) -> bool {
    exchange.consent.as_ref().is_some_and(|decision| decision.permits.advertising.is_some())
}

/// Judges each `Set-Cookie`. Returns whether one was removed.
fn filter_set_cookies(exchange: &mut Exchange, fields: &mut HeaderMap, now: Timestamp) -> bool {
    let Entry::Occupied(mut entry) = fields.entry(header::SET_COOKIE) else { return false };
    let Some(decision) = &exchange.consent else { return false };
    let policy = &exchange.state.cookies;
    let mut kept: Vec<HeaderValue> = Vec::new();
    let mut removed = false;
    for field in entry.iter() {
        let judgement = response::judge(field.as_bytes(), policy, &decision.permits, now);
        let strip = matches!(judgement.verdict, Verdict::Strip);
        let action = if strip { CookieAction::Stripped } else { CookieAction::Kept };
        exchange.worker.metrics.cookies(action, judgement.class.category, Direction::Response, policy.mode, 1);
        if strip {
            exchange.cookies.blocked.push(judgement.name);
        }
        if judgement.removes {
            removed = true;
        } else {
            kept.push(field.clone());
        }
    }
    if removed {
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

/// Fields that start advertising interfaces of the browser, and requests for high-entropy client hints.
fn remove_advertising(fields: &mut HeaderMap) {
    for name in ADVERTISING {
        fields.remove(name);
    }
}

/// Whether the visitor sees this answer as a page: only there cookies are given or expired.
fn is_navigation(exchange: &Exchange, status: StatusCode, fields: &HeaderMap) -> bool {
    if matches!(status, StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS | StatusCode::PARTIAL_CONTENT) {
        return false;
    }
    match exchange.kept.fetch_dest() {
        Some(destination) => destination == b"document",
        None => fields
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().get(..9).is_some_and(|k| k.eq_ignore_ascii_case(b"text/html"))),
    }
}

/// Tells the browser to forget what it should not hold. Returns whether a field was added.
pub fn expire_advertising(exchange: &Exchange, fields: &mut HeaderMap, owed: &Owed, now: Timestamp) -> bool {
    if owed.expire.is_empty() || exchange.state.cookies.mode == Mode::DryRun {
        return false;
    }
    let host = exchange.admitted.host.to_str().unwrap_or_default();
    let host = host::parse(host.as_bytes()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let names = owed.expire.iter().map(Vec::as_slice);
    let mut expirer = exchange.worker.expirer.borrow_mut();
    let expired = expirer.expire(owed.visitor_key, names, host, exchange.admitted.secure, now);
    let n = expired.len();
    for value in expired {
        fields.append(header::SET_COOKIE, value);
    }
    let mode = exchange.state.cookies.mode;
    exchange.worker.metrics.cookies(
        CookieAction::Expired,
        Category::Advertising,
        Direction::Response,
        mode,
        n as u64,
    );
    n > 0
}

static ADVERTISING: [HeaderName; 8] = [
    HeaderName::from_static("observe-browsing-topics"),
    HeaderName::from_static("attribution-reporting-register-source"),
    HeaderName::from_static("attribution-reporting-register-trigger"),
    HeaderName::from_static("attribution-reporting-register-os-source"),
    HeaderName::from_static("attribution-reporting-register-os-trigger"),
    HeaderName::from_static("ad-auction-signals"),
    HeaderName::from_static("shared-storage-write"),
    HeaderName::from_static("accept-ch"),
];
