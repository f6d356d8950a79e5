//! The spine: the life of one request, step by step.
//!
//! One call per step, in the order of [the story](crate), with early returns. Only forwarding waits for the network,
//! and only the end of an answer waits for the journal. Never decides anything itself. Bound: that of the steps.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::admin::labels::ConnReason;
use crate::admin::upstreams;
use crate::consent::{self, Decision, decide};
use crate::cookies;
use crate::cookies::parse::RequestCookies;
use crate::cookies::request::Output;
use crate::error::{Reason, Refusal};
use crate::exchange::{Exchange, UpstreamFacts};
use crate::forward::RequestBody;
use crate::ingress::{self, Normalised, headers, max_forwards, outgoing, target};
use crate::listen::connection::{Connection, OpenRequest};
use crate::listen::patience;
use crate::record::decisions::Note;
use crate::respond::{self, Body, own};
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
    let worn_out = connection.requests() >= state.config.limits.requests_per_connection;
    let (mut parts, body) = request.into_parts();
    let mut response = answer_to(worker, state, open, &mut parts, body).await;
    if worn_out || connection.is_last() {
        let first = worker.end_with(connection, &mut response);
        if worn_out && first {
            worker.metrics.connection_rejected(ConnReason::RequestLimit);
        }
    }
    response
}

/// The answer to one request, with its record.
async fn answer_to(
    worker: &Rc<Worker>,
    state: Rc<State>,
    open: OpenRequest,
    parts: &mut Parts,
    mut body: Incoming,
) -> Response<Body> {
    // 2: the site and the client. Before this there is nobody to record anything about.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let (admitted, look) = match ingress::admit(parts, open.connection(), &state, &worker.ids, &mut dropped) {
        Ok(admitted) => admitted,
        Err(reason) => {
            let response = respond::unrecorded(worker, open.connection(), parts, reason);
            patience::leave_unread(body);
            return response;
        }
    };
    let mut exchange = Exchange::begin(worker, open, state, parts, (admitted, look.kept));
    // Here and below, what is rare and waits is boxed: every request under way has room for all that is not.
    let response = match steps(&mut exchange, parts, look.found, &mut body).await {
        Ok(Step::Own(response)) => Box::pin(respond::ours(exchange, *response)).await,
        Ok(Step::LastHop) => Box::pin(respond::ours(exchange, own::last_hop())).await,
        Ok(Step::Forward(to_site)) => return forward(exchange, parts, body, to_site).await,
        Err(refusal) => Box::pin(respond::refuse(exchange, &refusal)).await,
    };
    patience::leave_unread(body);
    response
}

/// What the steps before the site came to.
pub(crate) enum Step {
    /// An answer of our own, complete. Rare, so that what is not shall be small.
    Own(Box<Response<Bytes>>),
    /// An `OPTIONS` that ends here: it has no hop left, or asks the server.
    LastHop,
    /// The site is asked.
    Forward(ToSite),
}

/// What goes to the site beside head and body.
pub(crate) struct ToSite {
    /// A WebSocket is asked for.
    pub(crate) websocket: bool,
    /// Fields of ours at the end of the head.
    pub(crate) own: outgoing::Fields,
    /// Names that may not come as a trailer.
    pub(crate) listed: headers::Listed,
}

/// Steps 2 to 7: everything before the network.
///
/// # Errors
/// The reason for which the site does not get the request.
pub(crate) async fn steps(
    exchange: &mut Exchange,
    parts: &mut Parts,
    found: Result<headers::Found, Reason>,
    body: &mut Incoming,
) -> Result<Step, Refusal> {
    // It asks the server, not a resource of the site; other methods have no business with `*`.
    if target::is_asterisk(&parts.uri) {
        exchange.check_rate()?;
        let asks = found.map(|_| parts.method == Method::OPTIONS)?;
        return if asks { Ok(Step::LastHop) } else { Err(Reason::BadTarget.into()) };
    }
    let (mut normalised, cookie_field) = judge(exchange, parts, found, body)?;
    let worker = Rc::clone(&exchange.worker);
    let state = Rc::clone(&exchange.state);
    let now = exchange.arrived;
    let site = &state.consent[exchange.admitted.served.site];

    // Our own endpoints and the policy gate: the site does not see these requests.
    if let Some(path) = own::path(parts.uri.path(), &site.prefix) {
        let response = Box::pin(own::endpoint(exchange, parts, body, path)).await?;
        return Ok(Step::Own(Box::new(response)));
    }
    if let Some(response) = own::gate(exchange, parts) {
        exchange.done.note(Note::Gate);
        return Ok(Step::Own(Box::new(Box::pin(own::whole(response)).await)));
    }

    // 6, 7: location, for the risk signals alone, and what they lead to.
    let assessed = worker.assess(exchange, parts, now);
    let action = assessed.applied.action;
    exchange.risk = Some(assessed);
    match action {
        Action::Deny => return Err(Reason::Denied.into()),
        Action::Throttle => return Err(Reason::Throttled.into()),
        Action::Observe | Action::Tag => {}
    }

    if parts.method == Method::OPTIONS && !max_forwards::spend(&mut parts.headers) {
        return Ok(Step::LastHop);
    }

    // The head as the site gets it; after this nothing of the request changes.
    if exchange.visitor.is_none() && gives_visitor_cookie(exchange) {
        let (visitor, cookie) = worker.shared.visitor_keys.issue(now, exchange.admitted.secure);
        (exchange.visitor_given, exchange.visitor_cookie) = (Some(visitor.id), Some(cookie));
    }
    respond::to_site(exchange, parts, cookie_field, &mut normalised);
    if exchange.is_recorded_first() {
        exchange.done.note(Note::RecordedFirst);
        exchange.record_before_forward().await?;
    }
    let Normalised { websocket, own, listed, .. } = normalised;
    Ok(Step::Forward(ToSite { websocket, own, listed }))
}

/// Whether a browser that came without a visitor cookie is given one: while nothing is enforced, nothing is changed.
fn gives_visitor_cookie(exchange: &Exchange) -> bool {
    exchange.state.config.risk.visitor_cookie && exchange.state.cookies.mode == cookies::Mode::Enforce
}

/// Steps 2 to 5, which wait for nothing: the head made unambiguous, the visitor, consent, and the cookies that the site
/// may see.
fn judge(
    exchange: &mut Exchange,
    parts: &mut Parts,
    found: Result<headers::Found, Reason>,
    body: &Incoming,
) -> Result<(Normalised, Output), Refusal> {
    let worker = Rc::clone(&exchange.worker);
    let state = Rc::clone(&exchange.state);
    let now = exchange.arrived;
    let site = &state.consent[exchange.admitted.served.site];

    // 2: whoever asks too often costs no more than this.
    exchange.check_rate()?;

    // 2: the rest of the head made unambiguous.
    let mut dropped = |reason| worker.metrics.dropped_header(reason);
    let connection = exchange.open.connection();
    let normalised =
        ingress::normalise(parts, body, (&exchange.admitted, found), connection, &state, &mut dropped)?;

    exchange.kept.keep_hints(&parts.headers, &normalised.advertising);
    exchange.takes_trailers = normalised.trailers;

    // 3: the visitor, if the browser returned a genuine cookie.
    let fields = parts.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let carried = RequestCookies::parse(fields, &state.cookies.catalogue);
    exchange.visitor = worker.visitor(&carried, now);

    // 4: consent, decided for this one request.
    let copies = carried.values_of(consent::COOKIE.as_bytes());
    let fields = exchange.kept.has_consent_signal().then_some(&parts.headers);
    let mut signals = site.sources.read(copies, fields, &state.consent_keys, &site.name);
    site.banners.read(&carried, parts.uri.query(), &mut signals);
    let decision = decide(&signals, &site.rules, now);
    worker.count_decision(&decision);

    // 5: the cookies that the site may see, and those that the browser should not hold.
    let filtered = cookies::request::filter(&carried, &state.cookies, &decision.permits);
    exchange.note_cookies(&carried, &filtered);
    let cookie_field = filtered.output;
    exchange.consent = Some(decision);
    Ok((normalised, cookie_field))
}

/// Step 8: forward, and 9: answer. The body is read from here on, and not before.
async fn forward(
    mut exchange: Box<Exchange>,
    parts: &mut Parts,
    body: Incoming,
    to_site: ToSite,
) -> Response<Body> {
    let ToSite { websocket, own, listed } = to_site;
    let site = exchange.admitted.served.site;
    let pools = Rc::clone(&exchange.state.upstreams[site]);
    let label = exchange.state.upstream_labels[site];
    let client = if websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
    let share = exchange.share();
    let body = pools.request_body(body, own, listed);
    exchange.upload = body.upload();
    // Whoever came in the same turn of the loop is judged first; then all are written to the site together. A server on
    // the same machine is so woken once for many requests, not once for each.
    tokio::task::yield_now().await;
    let sent = {
        let mut request = to_be_sent(parts, body);
        pools.send(&mut request, share).await
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            upstreams::failed(&exchange.worker.metrics, label, &error);
            exchange.upstream = Some(UpstreamFacts::failed(&error));
            return Box::pin(respond::refuse(exchange, &error.refusal)).await;
        }
    };
    upstreams::answered(&exchange.worker.metrics, label, &answer);
    exchange.first_byte = Some(answer.came.saturating_duration_since(exchange.started));
    exchange.upstream = Some(UpstreamFacts::answered(&answer));
    exchange.note_account(answer.response.headers());
    match (answer.response.status(), client) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => {
            Box::pin(respond::tunnel(exchange, answer, client)).await
        }
        (StatusCode::SWITCHING_PROTOCOLS, None) => {
            Box::pin(respond::refuse(exchange, &Reason::UpstreamProtocol.into())).await
        }
        _ => respond::site(exchange, answer.response).await,
    }
}

/// The request with this head, which is taken; without extensions, which are about the client's connection.
pub(crate) fn to_be_sent(parts: &mut Parts, body: RequestBody) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = std::mem::take(&mut parts.method);
    *request.uri_mut() = std::mem::take(&mut parts.uri);
    *request.version_mut() = parts.version;
    *request.headers_mut() = std::mem::take(&mut parts.headers);
    request
}

/// What a decision is, for the steps that show it.
pub(crate) fn permits_advertising(decision: Option<&Decision>) -> bool {
    decision.is_some_and(|decision| decision.permits.advertising.is_some())
}
