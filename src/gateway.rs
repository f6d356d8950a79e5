//! The spine: the life of one request, step by step.
//!
//! One call per step, in the order of [the story](crate), with early returns. Only forwarding waits for the network,
//! and only the end of an answer waits for the journal. Never decides anything itself. Bound: that of the steps.

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::consent::{self, decide};
use crate::cookies::parse::RequestCookies;
use crate::cookies::{self};
use crate::error::{Reason, Refusal};
use crate::exchange::{Exchange, UpstreamFacts};
use crate::forward::{Answer, RequestBody};
use crate::identify;
use crate::ingress::{self, target};
use crate::listen::connection::Connection;
use crate::respond::{self, Body, Owed};
use crate::risk;
use crate::worker::Worker;

/// Answers one request.
pub async fn handle(worker: &Rc<Worker>, connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let open = connection.request_started();
    let state = worker.snapshot();
    if connection.requests() >= state.config.limits.requests_per_connection {
        connection.ask_to_close();
    }
    let (mut parts, body) = request.into_parts();
    if target::is_asterisk(&parts.uri) {
        return respond::to_asterisk(&parts, &worker.ids);
    }
    // 2: the site and the client. Before this there is nobody to record anything about.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let admitted = match ingress::admit(&mut parts, connection, &state, &worker.ids, &mut dropped) {
        Ok(admitted) => admitted,
        Err(reason) => return respond::unrecorded(worker, connection, &parts, reason),
    };
    let mut exchange = Exchange::begin(worker, open, state, &parts, admitted);
    match answer(&mut exchange, parts, body).await {
        Ok(Reply::Own(response)) => respond::own(exchange, response).await,
        Ok(Reply::Site(answer, owed)) => respond::site(exchange, answer, owed).await,
        Ok(Reply::Tunnel(answer, client)) => respond::tunnel(exchange, answer, client).await,
        Err(refusal) => respond::refuse(exchange, &refusal).await,
    }
}

/// What the steps came to.
enum Reply {
    /// An answer of our own, complete.
    Own(Response<bytes::Bytes>),
    /// The site's answer, and what is added to it.
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

    // 2: the rest of the head made unambiguous.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let normalised = ingress::normalise(&mut parts, &body, &exchange.admitted, &state, &mut dropped)?;

    // 3: the visitor.
    let fields = parts.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let carried = RequestCookies::parse(fields, &state.cookies.catalogue);
    let visitor = identify::visitor::of_request(&worker, &carried, now);

    // 4: consent, decided for this one request.
    let signals = site.sources.read(
        carried.values_of(consent::COOKIE.as_bytes()),
        &parts.headers,
        &worker.shared.consent_keys,
        &site.name,
    );
    let decision = decide(&signals, &site.rules, now);
    worker.metrics.consent_decision(&decision);

    // 5: the cookies that the site may see.
    let filtered = cookies::request::filter(&carried, &state.cookies, &decision.permits);
    exchange.note_cookies(&carried, &filtered);
    let mut owed = Owed::new(&carried, &filtered, visitor.as_ref());

    // Our own endpoints and the policy gate: the site does not see these requests.
    if let Some(path) = respond::own_path(parts.uri.path(), &site.prefix) {
        return respond::own_endpoint(exchange, &parts, body, path, decision, &owed).await.map(Reply::Own);
    }
    if let Some(response) =
        site.gate.check(&parts.method, parts.uri.path(), parts.uri.query(), &parts.headers, &decision, &site.prefix)
    {
        exchange.consent = Some(decision);
        return Ok(Reply::Own(respond::full(response).await));
    }

    // 6, 7: location for the risk signals, and what they lead to.
    let assessed = risk::step(exchange, &parts, visitor.as_ref());
    if let Some(reason) = assessed.refusal() {
        exchange.consent = Some(decision);
        exchange.risk = Some(assessed);
        return Err(reason.into());
    }

    // The head as the site gets it.
    if visitor.is_none() {
        owed.visitor = Some(worker.shared.visitor_keys.issue(now, exchange.admitted.secure).1);
    }
    let output = filtered.output;
    respond::outgoing(&mut parts.headers, output, &normalised, &decision, &assessed, state.cookies.mode);
    exchange.consent = Some(decision);
    exchange.risk = Some(assessed);

    // 8: forward. The body is read from here on, and not before.
    forward(exchange, parts, body, normalised.websocket, owed).await
}
