//! Cleans and completes the site's answer before it goes to the visitor.
//!
//! Removes what belongs to the connection to the site, judges every `Set-Cookie`, tells the browser to forget
//! advertising cookies that it should not have, adds the request id. Never makes an answer more cacheable than the site
//! did. Bound: the head of the answer.

use http::header::{self, Entry};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::proxy_status;
use crate::admin::labels::{CookieAction, Direction};
use crate::clock::Timestamp;
use crate::cookies::parse::RequestCookies;
use crate::cookies::request::Outcome;
use crate::cookies::response::{self, Verdict};
use crate::cookies::{Category, Mode, expire};
use crate::exchange::Exchange;
use crate::gateway::permits_advertising;
use crate::identify::Visitor;
use crate::ingress::{headers, host, request_id};
use crate::record::ListBuf;

/// What the request left for its answer.
#[derive(Debug, Default)]
pub struct Owed {
    /// The visitor cookie to be given, if the visitor has none.
    pub visitor: Option<HeaderValue>,
    /// Names of advertising cookies that the request carried and that the browser should not hold.
    expire: ListBuf,
    /// Names of all advertising cookies that the request carried, if they were allowed to pass.
    passed: ListBuf,
    /// Stands for the visitor in the memory of what was expired; who is not known is told every time.
    visitor_key: Option<u64>,
}

impl Owed {
    /// What the cookies of a request lead to.
    #[must_use]
    pub fn new(carried: &RequestCookies<'_>, filtered: &Outcome, visitor: Option<Visitor>) -> Self {
        let expire: ListBuf = filtered.to_expire(carried).collect();
        let mut passed = ListBuf::new();
        if expire.as_list().is_empty() {
            for cookie in carried {
                if cookie.class.category == Category::Advertising
                    && !cookie.class.protected
                    && cookie.is_named()
                {
                    passed.push(cookie.name);
                }
            }
        }
        let visitor_key = visitor.map(|v| v.id.uuid().as_u64_pair().1);
        Self { visitor: None, expire, passed, visitor_key }
    }

    /// The same for the answer to a refusal: what passed until now is expired as well.
    #[must_use]
    pub fn every_advertising(&self) -> Self {
        let mut expire = self.expire.clone();
        self.passed.as_list().into_iter().for_each(|name| expire.push(name));
        // No key: who just refused is told again, even if they were told today.
        Self { visitor: None, expire, passed: ListBuf::new(), visitor_key: None }
    }
}

/// Makes the site's head fit for the visitor.
pub fn complete(exchange: &mut Exchange, status: StatusCode, fields: &mut HeaderMap, owed: Owed) {
    let now = exchange.arrived;
    let permitted = permits_advertising(exchange.consent.as_ref());
    headers::clean_answer(fields, permitted || exchange.state.cookies.mode == Mode::DryRun);
    proxy_status::remove_ours(fields);
    let removed = filter_set_cookies(exchange, fields, now);
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

/// Whether the visitor sees this answer as a page: only there cookies are given or expired.
fn is_navigation(exchange: &Exchange, status: StatusCode, fields: &HeaderMap) -> bool {
    if matches!(
        status,
        StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS | StatusCode::PARTIAL_CONTENT
    ) {
        return false;
    }
    match exchange.kept.fetch_dest() {
        Some(destination) => destination == b"document",
        None => fields.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().get(..9).is_some_and(|k| k.eq_ignore_ascii_case(b"text/html"))
        }),
    }
}

/// Tells the browser to forget what it should not hold. Returns whether a field was added.
pub fn expire_advertising(exchange: &Exchange, fields: &mut HeaderMap, owed: &Owed, now: Timestamp) -> bool {
    if owed.expire.as_list().is_empty() || exchange.state.cookies.mode == Mode::DryRun {
        return false;
    }
    let host = exchange.admitted.host.to_str().unwrap_or_default();
    let host =
        host::parse(host.as_bytes()).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let names = owed.expire.as_list().into_iter();
    let secure = exchange.admitted.secure;
    let expired = match owed.visitor_key {
        Some(visitor) => exchange.worker.expirer.borrow_mut().expire(visitor, names, host, secure, now),
        None => expire::plan(names, host, secure, expire::Limits::default()).fields,
    };
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
