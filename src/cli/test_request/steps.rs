//! The way of a request as [`crate::gateway`] goes it, up to the site's door.
//!
//! Calls the same steps in the same order, and turns what they noted into a [`Report`]. Never forwards, never waits for
//! anything but memory. Bound: that of the steps.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::door::Unread;
use super::facts;
use super::head::Came;
use super::mask::{Mask, text};
use super::report::{Answer, Report, SetCookie, Verdict};
use super::why;
use crate::admin::labels::DropReason;
use crate::clock::Timestamp;
use crate::config::Protocol;
use crate::error::{Reason, Refusal};
use crate::exchange::Exchange;
use crate::forward;
use crate::gateway::{self, Step, ToSite};
use crate::identify::visitor;
use crate::ingress::headers::{Found, Rules};
use crate::ingress::{self, target};
use crate::listen::connection::Connection;
use crate::record::emit;
use crate::respond::{self, Body, answer, own, status};
use crate::worker::Worker;

/// What a request meets.
#[derive(Clone)]
pub(super) struct Stage {
    /// A worker without a past.
    pub(super) worker: Rc<Worker>,
    /// The connection that it would come on.
    pub(super) connection: Arc<Connection>,
    /// When.
    pub(super) now: Timestamp,
    /// What is shown of values.
    pub(super) mask: Mask,
    /// Files of the data folder that could not be read.
    pub(super) missing: Vec<&'static str>,
}

/// A request that could be read.
pub(super) async fn walk(stage: &Stage, request: Request<Incoming>) -> Report {
    let worker = &stage.worker;
    let open = stage.connection.request_started();
    let state = worker.snapshot();
    let (mut parts, body) = request.into_parts();
    let came = Came::of(&parts);
    let mut malformed = false;
    let mut dropped = |reason| malformed |= reason == DropReason::MalformedChain;
    let (admitted, look) =
        match ingress::admit(&mut parts, &stage.connection, &state, &worker.ids, &mut dropped) {
            Ok(admitted) => admitted,
            Err(reason) => return unknown(stage, &came, &parts, reason),
        };
    let mut exchange = Exchange::begin(worker, open, state, &parts, (admitted, look.kept));
    exchange.arrived = stage.now;
    let client = facts::client(&exchange, malformed, stage.mask);
    let mut report = on_site(stage, exchange, &mut parts, (body, look.found), &came).await;
    report.request = Some(came.line());
    report.client = Some(client);
    report
}

/// A head that no step saw.
pub(super) fn unread(stage: &Stage, unread: &Unread) -> Report {
    let mut report = refused(stage, "read", unread.reason, None);
    report.answer = head_of_bytes(&unread.answer, stage.mask);
    report.closes = true;
    if !unread.said.is_empty() {
        report.notes.push(unread.said.clone());
    }
    if report.answer.is_none() {
        report.notes.push("The connection is closed without an answer.".to_owned());
    }
    report.notes.push("No record is written about what is no request.".to_owned());
    report
}

/// From the site being known to the end.
async fn on_site(
    stage: &Stage,
    mut exchange: Box<Exchange>,
    parts: &mut Parts,
    (mut body, found): (Incoming, Result<Found, Reason>),
    came: &Came,
) -> Report {
    let state = Rc::clone(&exchange.state);
    let prefix = &state.consent[exchange.admitted.served.site].prefix;
    let is_own = own::path(parts.uri.path(), prefix).is_some();
    let is_asterisk = target::is_asterisk(&parts.uri);
    match gateway::steps(&mut exchange, parts, found, &mut body).await {
        Ok(Step::Forward(to_site)) => forwarded(stage, exchange, parts, (body, to_site), came).await,
        Ok(Step::LastHop) if is_asterisk => {
            answered(stage, exchange, "admit", "* asks the server, not a site", own::last_hop(), came).await
        }
        Ok(Step::LastHop) => {
            let why = "it may not be forwarded once more (Max-Forwards)";
            answered(stage, exchange, "forward", why, own::last_hop(), came).await
        }
        Ok(Step::Own(response)) if is_own => answered(stage, exchange, "own", OWN, *response, came).await,
        Ok(Step::Own(response)) => {
            let why = "the path needs acceptance of the policy in force, and the visitor has not accepted it";
            answered(stage, exchange, "gate", why, *response, came).await
        }
        Err(refusal) if is_own && refusal.reason() == Reason::BodyTimeout => {
            exchange.recorded = true;
            let mut report = Report::new(Verdict::Answered, "own", OWN.to_owned());
            fill(&mut report, stage, &exchange, came, false);
            report.notes.push("The answer depends on the body, which is not there.".to_owned());
            report
        }
        Err(refusal) => {
            let step = match (&exchange.consent, &exchange.risk) {
                (None, _) => "normalise",
                (Some(_), None) => "own",
                (Some(_), Some(_)) => "risk",
            };
            refuse(stage, exchange, step, &refusal, came).await
        }
    }
}

/// The site would get it.
async fn forwarded(
    stage: &Stage,
    mut exchange: Box<Exchange>,
    parts: &mut Parts,
    (body, to_site): (Incoming, ToSite),
    came: &Came,
) -> Report {
    let state = Rc::clone(&exchange.state);
    let given = exchange.visitor_cookie.is_some();
    // The record of the request: the answer of a page that stands in for the site's is not part of it.
    let record = emit::encoded(&exchange);
    let mut fields = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    answer::complete(&mut exchange, StatusCode::OK, &mut fields);
    let pools = &state.upstreams[exchange.admitted.served.site];
    let body = pools.request_body(body, to_site.own, to_site.listed);
    let sent = forward::head(gateway::to_be_sent(parts, body)).await;
    exchange.recorded = true;

    let why = "it is unambiguous, its host is a site's, and no policy stands against it".to_owned();
    let mut report = Report::new(Verdict::Forwarded, "forward", why);
    match sent {
        Ok(sent) => {
            report.head = came.lines(&sent, stage.mask);
            let underscores = state.config.ingress.underscores;
            let rules = Rules { underscores, trusted: exchange.admitted.trusted };
            report.removed = came.removed(&sent, rules, stage.mask);
        }
        Err(error) => report.notes.push(format!("The head cannot be written: {error}.")),
    }
    report.set_cookies = set_cookies(&fields, stage.mask);
    fill(&mut report, stage, &exchange, came, given);
    report.record = columns(stage, &exchange, &record);
    if exchange.is_recorded_first() {
        report.notes.push("It is recorded durably before the site sees it.".to_owned());
    }
    if state.config.sites[exchange.admitted.served.site].protocol == Protocol::Http2 {
        report.notes.push("The site gets it by HTTP/2: the same fields, the host as :authority.".to_owned());
    }
    if let Some(told) = &state.disclosure {
        let purpose = text(told.purpose().as_bytes());
        report.notes.push(format!("The site is told where the visitor is ({told}), for: {purpose}."));
    }
    report
        .notes
        .push("Status, sizes, times and endpoint are recorded when the site has answered.".to_owned());
    report
}

async fn answered(
    stage: &Stage,
    mut exchange: Box<Exchange>,
    step: &'static str,
    why: &str,
    response: Response<Bytes>,
    came: &Came,
) -> Report {
    exchange.status = response.status().as_u16();
    let mut report = Report::new(Verdict::Answered, step, why.to_owned());
    fill(&mut report, stage, &exchange, came, false);
    report.record = columns(stage, &exchange, &emit::encoded(&exchange));
    let response = respond::ours(exchange, response).await;
    report.set_cookies = set_cookies(response.headers(), stage.mask);
    report.answer = Some(head_of(&response, stage.mask));
    report
}

/// A request of a site is refused.
async fn refuse(
    stage: &Stage,
    mut exchange: Box<Exchange>,
    step: &'static str,
    refusal: &Refusal,
    came: &Came,
) -> Report {
    let reason = refusal.reason();
    exchange.error = Some(reason);
    exchange.status = status::status(reason).as_u16();
    let mut report = refused(stage, step, reason, None);
    fill(&mut report, stage, &exchange, came, false);
    report.record = columns(stage, &exchange, &emit::encoded(&exchange));
    let response = respond::refuse(exchange, refusal).await;
    report.answer = Some(head_of(&response, stage.mask));
    report
}

/// It belongs to no site.
fn unknown(stage: &Stage, came: &Came, parts: &Parts, reason: Reason) -> Report {
    let response = respond::unrecorded(&stage.worker, &stage.connection, parts, reason);
    let mut report = refused(stage, "admit", reason, Some(&response));
    report.request = Some(came.line());
    report.notes.push("No record is written about a request that belongs to no site.".to_owned());
    report
}

fn refused(stage: &Stage, step: &'static str, reason: Reason, response: Option<&Response<Body>>) -> Report {
    let mut report = Report::new(Verdict::Refused, step, why::refused(reason).to_owned());
    report.reason = Some(reason.label());
    report.closes = status::closes(reason);
    report.answer = response.map(|response| head_of(response, stage.mask));
    report
}

/// What the steps noted before the end, whatever it was.
fn fill(report: &mut Report, stage: &Stage, exchange: &Exchange, came: &Came, given: bool) {
    let policy = &exchange.state.cookies;
    report.site = Some(facts::site(exchange));
    if let Some(decision) = &exchange.consent {
        report.visitor = Some(facts::visitor(exchange, &came.fields, given));
        report.consent = Some(facts::consent(decision));
        report.cookie_mode = Some(policy.mode.label());
        report.cookies = facts::cookies(&came.fields, policy, decision, stage.mask);
    }
    if let Some(assessed) = &exchange.risk {
        report.risk = Some(facts::risk(assessed, &exchange.state.config.risk));
    }
    let signed = report.cookies.iter().any(|cookie| cookie.name.starts_with("kelisim_"));
    let denies = exchange.state.config.risk.actions.denies();
    for name in &stage.missing {
        let (matters, what) = match name.strip_prefix("keys/") {
            Some(_) => (signed, "cookies that the gateway signed are not recognised here"),
            None => (denies, "the days of observation begin now"),
        };
        if matters {
            report.notes.push(format!("{name} is not readable in the data folder: {what}."));
        }
    }
}

fn columns(stage: &Stage, exchange: &Exchange, record: &[u8]) -> Vec<super::report::RecordClass> {
    let records = &exchange.state.config.records;
    facts::record(record, &records.node, &records.retention, stage.now, stage.mask)
}

fn head_of<B>(response: &Response<B>, mask: Mask) -> Answer {
    let fields = response.headers();
    let proxy_status = fields.get("proxy-status").map(|value| {
        let value = text(value.as_bytes());
        value.split_once("error=").map_or(value.clone(), |(_, error)| error.to_owned())
    });
    let field = |(name, value): (&http::HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), mask.field(name.as_str(), value.as_bytes()))
    };
    Answer { status: response.status().as_u16(), proxy_status, fields: fields.iter().map(field).collect() }
}

/// The same for an answer in bytes; `None` where there is none.
fn head_of_bytes(bytes: &[u8], mask: Mask) -> Option<Answer> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let status = std::str::from_utf8(lines.next()?.get(9..12)?).ok()?.parse().ok()?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_at(memchr::memchr(b':', line)?);
        let name = http::HeaderName::from_bytes(name).ok()?;
        response.headers_mut().append(name, HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?);
    }
    Some(head_of(&response, mask))
}

fn set_cookies(fields: &HeaderMap, mask: Mask) -> Vec<SetCookie> {
    let all = fields.get_all(header::SET_COOKIE).iter().map(HeaderValue::as_bytes);
    let visitor = format!("{}=", visitor::NAME);
    all.map(|field| SetCookie {
        purpose: match field {
            _ if field.starts_with(visitor.as_bytes()) => "visitor",
            _ if memchr::memmem::find(field, b"Max-Age=0").is_some() => "expiry",
            _ => "consent",
        },
        field: mask.set_cookie(field),
    })
    .collect()
}

/// Why we answer by ourselves.
const OWN: &str = "the path is the gateway's own: the site does not see it";
