//! The spine: the life of one request, step by step.
//!
//! One call per step, in the order of [the story](crate), with early returns. Only forwarding waits for the network,
//! and only the end of an answer waits for the journal. Never decides anything itself. Bound: that of the steps.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;

use crate::admin::upstreams;
use crate::clock;
use crate::consent::{self, Decision, decide};
use crate::cookies;
use crate::cookies::parse::RequestCookies;
use crate::cookies::request::Output;
use crate::error::{Reason, Refusal};
use crate::exchange::{Exchange, UpstreamFacts};
use crate::forward::{Answer, RequestBody};
use crate::ingress::{self, Normalised, target};
use crate::listen::connection::{Connection, OpenRequest};
use crate::respond::{self, Body, Owed, own};
use crate::risk::Action;
use crate::worker::{State, Worker};

/// Answers one request.
pub async fn handle(
    worker: &Rc<Worker>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let open = connection.request_started();
    let state = worker.snapshot();
    let last = connection.requests() >= state.config.limits.requests_per_connection || connection.is_last();
    let mut response = answer_to(worker, state, open, request).await;
    if last {
        worker.end_with(connection, &mut response);
    }
    response
}

/// The answer to one request, with its record.
async fn answer_to(
    worker: &Rc<Worker>,
    state: Rc<State>,
    open: OpenRequest,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    if target::is_asterisk(&parts.uri) {
        return respond::to_asterisk(worker, &parts);
    }
    // 2: the site and the client. Before this there is nobody to record anything about.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let admitted = match ingress::admit(&mut parts, open.connection(), &state, &worker.ids, &mut dropped) {
        Ok(admitted) => admitted,
        Err(reason) => return respond::unrecorded(worker, open.connection(), &parts, reason),
    };
    let mut exchange = Exchange::begin(worker, open, state, &parts, admitted);
    match answer(&mut exchange, parts, body).await {
        Ok(Reply::Own(response)) => respond::ours(exchange, response).await,
        Ok(Reply::Site(answer, owed)) => respond::site(exchange, answer, owed).await,
        Ok(Reply::Tunnel(answer, client)) => respond::tunnel(exchange, answer, client).await,
        Err(refusal) => respond::refuse(exchange, &refusal).await,
    }
}

/// What the steps came to.
enum Reply {
    /// An answer of our own, complete.
    Own(Response<Bytes>),
    /// The site's answer, and what is owed to the visitor with it.
    Site(Answer, Owed),
    /// The site switched protocols; the client's half of the tunnel.
    Tunnel(Answer, OnUpgrade),
}

/// Steps 2 to 8.
async fn answer(exchange: &mut Exchange, mut parts: Parts, body: Incoming) -> Result<Reply, Refusal> {
    let judged = judge(exchange, &mut parts, &body.size_hint())?;

    // Our own endpoints and the policy gate: the site does not see these requests.
    let state = Rc::clone(&exchange.state);
    let site = &state.consent[exchange.admitted.served.site];
    if let Some(path) = own::path(parts.uri.path(), &site.prefix) {
        return own::endpoint(exchange, &parts, body, path, &judged.owed).await.map(Reply::Own);
    }
    if let Some(response) = own::gate(exchange, &parts).await {
        return Ok(Reply::Own(response));
    }

    let ready = complete(exchange, &mut parts, judged)?;
    exchange.record_before_forward().await?;

    // 8: forward. The body is read from here on, and not before.
    forward(exchange, parts, body, ready.websocket, ready.owed).await
}

/// What steps 2 to 5 came to.
pub(crate) struct Judged {
    /// What the normalised head leaves to later steps.
    pub(crate) normalised: Normalised,
    /// What the answer owes the visitor.
    pub(crate) owed: Owed,
    /// The `Cookie` field that the site may see.
    pub(crate) cookies: Output,
}

/// A request that may be forwarded; its head is final.
pub(crate) struct Ready {
    /// Whether the client asked for a WebSocket.
    pub(crate) websocket: bool,
    /// What the answer owes the visitor.
    pub(crate) owed: Owed,
}

/// Steps 2 to 5. Nothing here waits, and of the body only its size is known.
///
/// # Errors
/// The reason for which the request must not be forwarded.
pub(crate) fn judge(exchange: &mut Exchange, parts: &mut Parts, body: &SizeHint) -> Result<Judged, Refusal> {
    let worker = Rc::clone(&exchange.worker);
    let state = Rc::clone(&exchange.state);
    let now = exchange.arrived;
    let site = &state.consent[exchange.admitted.served.site];

    // 2: the rest of the head made unambiguous.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let normalised = ingress::normalise(parts, body, &exchange.admitted, &state, &mut dropped)?;

    // 3: the visitor, if the browser returned a genuine cookie.
    let fields = parts.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let carried = RequestCookies::parse(fields, &state.cookies.catalogue);
    exchange.visitor = worker.visitor(&carried, now);

    // 4: consent, decided for this one request.
    let copies = carried.values_of(consent::COOKIE.as_bytes());
    let signals = site.sources.read(copies, &parts.headers, &worker.shared.consent_keys, &site.name);
    let decision = decide(&signals, &site.rules, now);
    worker.count_decision(&decision);

    // 5: the cookies that the site may see, and those that the browser should not hold.
    let filtered = cookies::request::filter(&carried, &state.cookies, &decision.permits);
    exchange.note_cookies(&carried, &filtered);
    let owed = Owed::new(&carried, &filtered, exchange.visitor);
    exchange.consent = Some(decision);
    Ok(Judged { normalised, owed, cookies: filtered.output })
}

/// Steps 6 and 7, and the head as the site gets it: after this nothing of the request changes.
///
/// # Errors
/// The risk policy refuses the request.
pub(crate) fn complete(
    exchange: &mut Exchange,
    parts: &mut Parts,
    judged: Judged,
) -> Result<Ready, Refusal> {
    let Judged { normalised, mut owed, cookies } = judged;
    let (worker, now) = (Rc::clone(&exchange.worker), exchange.arrived);

    // 6, 7: location, for the risk signals alone, and what they lead to.
    let assessed = worker.assess(exchange, parts, now);
    let action = assessed.applied.action;
    exchange.risk = Some(assessed);
    match action {
        Action::Deny => return Err(Reason::Denied.into()),
        Action::Throttle => return Err(Reason::Throttled.into()),
        Action::Observe | Action::Tag => {}
    }

    if exchange.visitor.is_none() {
        owed.visitor = Some(worker.shared.visitor_keys.issue(now, exchange.admitted.secure).1);
    }
    respond::to_site(exchange, &mut parts.headers, cookies, &normalised);
    Ok(Ready { websocket: normalised.websocket, owed })
}

/// Step 8.
async fn forward(
    exchange: &mut Exchange,
    mut parts: Parts,
    body: Incoming,
    websocket: bool,
    owed: Owed,
) -> Result<Reply, Refusal> {
    let state = Rc::clone(&exchange.state);
    let site = exchange.admitted.served.site;
    let (pools, label) = (&state.upstreams[site], state.upstream_labels[site]);
    let client = if websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
    parts.extensions.clear();
    let body: RequestBody = pools.request_body(body);
    exchange.upload = body.upload();
    let sent = pools.send(Request::from_parts(parts, body)).await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            upstreams::failed(&exchange.worker.metrics, label, &error);
            exchange.upstream = Some(UpstreamFacts::failed(&error));
            return Err(error.refusal);
        }
    };
    upstreams::answered(&exchange.worker.metrics, label, &answer);
    exchange.first_byte = Some(clock::monotonic().duration_since(exchange.started));
    exchange.upstream = Some(UpstreamFacts::answered(&answer));
    match (answer.response.status(), client) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => Ok(Reply::Tunnel(answer, client)),
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(Reason::UpstreamProtocol.into()),
        _ => Ok(Reply::Site(answer, owed)),
    }
}

/// What a decision is, for the steps that show it.
pub(crate) fn permits_advertising(decision: Option<&Decision>) -> bool {
    decision.is_some_and(|decision| decision.permits.advertising.is_some())
}
