//! The spine: the life of one request, step by step.
//!
//! One call per step, in the order of [the story](crate), with early returns. Only forwarding waits for the network,
//! and only the end of an answer waits for the journal. Never decides anything itself. Bound: that of the steps.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::admin::labels::ConnReason;
use crate::admin::upstreams;
use crate::clock;
use crate::consent::{self, Decision, decide};
use crate::cookies;
use crate::cookies::parse::RequestCookies;
use crate::error::{Reason, Refusal};
use crate::exchange::{Exchange, UpstreamFacts};
use crate::forward::{Answer, RequestBody};
use crate::ingress::{self, target};
use crate::listen::connection::Connection;
use crate::respond::{self, Body, Owed, own};
use crate::risk::Action;
use crate::worker::Worker;

/// Answers one request.
pub async fn handle(
    worker: &Rc<Worker>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let open = connection.request_started();
    let state = worker.snapshot();
    if connection.requests() >= state.config.limits.requests_per_connection && connection.ask_to_close() {
        worker.metrics.connection_rejected(ConnReason::RequestLimit);
    }
    let (mut parts, body) = request.into_parts();
    if target::is_asterisk(&parts.uri) {
        return respond::to_asterisk(worker, &parts);
    }
    // 2: the site and the client. Before this there is nobody to record anything about.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let admitted = match ingress::admit(&mut parts, connection, &state, &worker.ids, &mut dropped) {
        Ok(admitted) => admitted,
        Err(reason) => return respond::unrecorded(worker, connection, &parts, reason),
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
    let worker = Rc::clone(&exchange.worker);
    let state = Rc::clone(&exchange.state);
    let now = exchange.arrived;
    let site = &state.consent[exchange.admitted.served.site];

    // 2: whoever asks too often costs no more than this.
    exchange.check_rate()?;

    // 2: the rest of the head made unambiguous.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let normalised = ingress::normalise(&mut parts, &body, &exchange.admitted, &state, &mut dropped)?;

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
    let mut owed = Owed::new(&carried, &filtered, exchange.visitor);
    let cookie_field = filtered.output;
    exchange.consent = Some(decision);
    drop(carried);

    // Our own endpoints and the policy gate: the site does not see these requests.
    if let Some(path) = own::path(parts.uri.path(), &site.prefix) {
        return own::endpoint(exchange, &parts, body, path, &owed).await.map(Reply::Own);
    }
    if let Some(response) = own::gate(exchange, &parts).await {
        return Ok(Reply::Own(response));
    }

    // 6, 7: location, for the risk signals alone, and what they lead to.
    let assessed = worker.assess(exchange, &parts, now);
    let action = assessed.applied.action;
    exchange.risk = Some(assessed);
    match action {
        Action::Deny => return Err(Reason::Denied.into()),
        Action::Throttle => return Err(Reason::Throttled.into()),
        Action::Observe | Action::Tag => {}
    }

    // The head as the site gets it; after this nothing of the request changes.
    if exchange.visitor.is_none() {
        owed.visitor = Some(worker.shared.visitor_keys.issue(now, exchange.admitted.secure).1);
    }
    respond::to_site(exchange, &mut parts.headers, cookie_field, &normalised);
    exchange.record_before_forward().await?;

    // 8: forward. The body is read from here on, and not before.
    forward(exchange, parts, body, normalised.websocket, owed).await
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
