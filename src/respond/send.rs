//! The ends of a request: each way in which an answer leaves, with its record.
//!
//! An answer that is whole leaves when its record is durable; one that streams has its end held back by [`super::body`].
//! Never decides what is answered. Bound: one answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame};
use hyper::upgrade::OnUpgrade;

use super::answer;
use super::body::Body;
use super::error_page::{self, Taste};
use super::trailers::Reach;
use crate::admin::labels::{ConnReason, ConnectionState, MethodLabel};
use crate::clock;
use crate::error::{Reason, Refusal};
use crate::exchange::Exchange;
use crate::forward::tunnel::{self as tunnels, TunnelReason};
use crate::forward::{Answer, AnswerBody};
use crate::ingress::request_id;
use crate::listen::connection::Connection;
use crate::pages::language::Language;
use crate::record::emit;
use crate::worker::Worker;

/// `OPTIONS *` asks the server, not a site; other methods have no business with `*`.
pub fn to_asterisk(worker: &Worker, parts: &Parts) -> Response<Body> {
    if parts.method != Method::OPTIONS {
        return page(worker, parts, Reason::BadTarget);
    }
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(request_id::NAME, worker.ids.of_request(None));
    response
}

/// Refuses a request that belongs to no site: counted, and nothing is recorded about a visit.
pub fn unrecorded(worker: &Worker, connection: &Connection, parts: &Parts, reason: Reason) -> Response<Body> {
    count(worker, connection.listener, MethodLabel::of(&parts.method), reason);
    let mut response = page(worker, parts, reason);
    // Not waited for: what follows cannot be the next request.
    if connection.in_body() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The same for the bytes of an HTTP/1 head that never became a request: the answer as bytes, after which the connection
/// must be closed. `head` is what came of it; only its method and what it accepts are looked at.
pub fn unparsed(worker: &Worker, listener: usize, head: &[u8], reason: Reason) -> Vec<u8> {
    let method = head.split(|&b| b == b' ').next().unwrap_or_default();
    let method = Method::from_bytes(method).map_or(MethodLabel::Other, |method| MethodLabel::of(&method));
    count(worker, listener, method, reason);
    let id = worker.ids.of_request(None);
    tracing::debug!(reason = reason.label(), request.id = id.to_str().unwrap_or_default(), "refused unread");
    error_page::answer_bytes(reason, head, &id, clock::now())
}

fn count(worker: &Worker, listener: usize, method: MethodLabel, reason: Reason) {
    worker.metrics.request_rejected(reason);
    let status = super::status::status(reason).as_u16();
    worker.metrics.request(listener, None, method, status, std::time::Duration::ZERO);
}

/// An error page for nobody's visit.
fn page(worker: &Worker, parts: &Parts, reason: Reason) -> Response<Body> {
    let id = worker.ids.of_request(None);
    let (mut head, body) = error_page::answer(reason, Taste::of(&parts.headers), &id).into_parts();
    head.headers.insert(request_id::NAME, id);
    if parts.version == Version::HTTP_2 {
        head.headers.remove(header::CONNECTION);
    }
    let body = unless_head(parts.method == Method::HEAD, &mut head.headers, body);
    Response::from_parts(head, Body::whole(body))
}

/// The body; for `HEAD` none, with the length that it would have had.
fn unless_head(to_head: bool, fields: &mut HeaderMap, body: Bytes) -> Bytes {
    if !to_head || body.is_empty() {
        return body;
    }
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Bytes::new()
}

/// Refuses a request of a site.
pub async fn refuse(mut exchange: Box<Exchange>, refusal: &Refusal) -> Response<Body> {
    let reason = refusal.reason();
    exchange.error = Some(reason);
    log(&exchange, refusal);
    let site = exchange.state.config.sites.get(exchange.admitted.served.site);
    let language = site.and_then(|site| Language::from_tag(&site.policy.as_ref()?.default_language));
    let taste = Taste::of_values(exchange.kept.accept(), exchange.kept.accept_language(), language);
    let mut response = error_page::answer(reason, taste, &exchange.admitted.id);
    // How long a throttled or denied client has to wait is for the risk policy to say.
    if matches!(reason, Reason::Throttled | Reason::Denied)
        && let Some(wait) = exchange.risk.as_ref().and_then(|risk| risk.applied.retry_after)
    {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    if let Some(wait) = exchange.rate_wait {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    ours(exchange, response).await
}

/// Sends an answer of our own.
pub async fn ours(mut exchange: Box<Exchange>, response: Response<Bytes>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    exchange.status = head.status.as_u16();
    let body = unless_head(exchange.method == MethodLabel::Head, &mut head.headers, body);
    exchange.sent.set(body.len() as u64);
    head.headers.insert(request_id::NAME, exchange.admitted.id.clone());
    if exchange.is_multiplexed() {
        head.headers.remove(header::CONNECTION);
    } else if exchange.open.connection().in_body() {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    emit::finish(&mut exchange).await;
    Response::from_parts(head, Body::whole(body))
}

/// Sends the site's answer.
pub async fn site(mut exchange: Box<Exchange>, answer: Response<AnswerBody>) -> Response<Body> {
    let (mut head, mut body) = answer.into_parts();
    exchange.status = head.status.as_u16();
    exchange.observe_answer(head.status);
    body.list(answer::complete(&mut exchange, head.status, &mut head.headers));
    if exchange.method == MethodLabel::Head || body.is_end_stream() {
        drop(body);
        emit::finish(&mut exchange).await;
        let body = unsent(&exchange, head.status, &head.headers);
        return Response::from_parts(head, body);
    }
    let reach = Reach::of(&exchange, &head.headers, body.size_hint().exact().is_none());
    let first = match arrived(&mut body).await {
        Some(Some(Ok(frame))) => Some(frame),
        Some(Some(Err(refusal))) => return Box::pin(refuse(exchange, &refusal)).await,
        Some(None) => {
            emit::finish(&mut exchange).await;
            return Response::from_parts(head, Body::whole(Bytes::new()));
        }
        None => None,
    };
    // A body that came whole with its head leaves with it, in one write.
    match first.map(Frame::into_data) {
        Some(Ok(data)) if body.is_end_stream() => {
            exchange.sent.set(data.len() as u64);
            emit::finish(&mut exchange).await;
            Response::from_parts(head, Body::whole(data))
        }
        Some(Ok(data)) => {
            Response::from_parts(head, Body::streaming((body, Some(Frame::data(data))), exchange, reach))
        }
        Some(Err(frame)) => Response::from_parts(head, Body::streaming((body, Some(frame)), exchange, reach)),
        None => Response::from_parts(head, Body::streaming((body, None), exchange, reach)),
    }
}

/// No body, but the length that the head of a 304 tells.
fn unsent(exchange: &Exchange, status: StatusCode, fields: &HeaderMap) -> Body {
    let length =
        fields.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    match length {
        Some(length) if status == StatusCode::NOT_MODIFIED && !exchange.is_multiplexed() => {
            Body::Unsent(length)
        }
        _ => Body::whole(Bytes::new()),
    }
}

/// Answers 101 and carries bytes both ways from then on. The record is written first: it is about the request.
pub async fn tunnel(mut exchange: Box<Exchange>, answer: Answer, client: OnUpgrade) -> Response<Body> {
    let (mut head, _) = answer.response.into_parts();
    let Some(upstream) = answer.upgrade else {
        return refuse(exchange, &Reason::UpstreamProtocol.into()).await;
    };
    exchange.status = head.status.as_u16();
    let protocol = head.headers.get(header::UPGRADE).cloned();
    answer::complete(&mut exchange, head.status, &mut head.headers);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, protocol.unwrap_or(HeaderValue::from_static("websocket")));
    exchange.open.connection().becomes_tunnel();
    emit::finish(&mut exchange).await;
    let worker = Rc::clone(&exchange.worker);
    let registered = worker.register(exchange.open.connection());
    let idle = exchange.state.config.timeouts.upgrade_idle;
    tokio::task::spawn_local(async move {
        let _open = worker.metrics.hold_connection(ConnectionState::Tunnel);
        let _registered = registered;
        if tunnels::tunnel(client, upstream, idle).await.reason == TunnelReason::Idle {
            worker.metrics.connection_rejected(ConnReason::TunnelIdle);
        }
    });
    Response::from_parts(head, Body::whole(Bytes::new()))
}

/// The first frame, if it has come already: nothing is waited for.
async fn arrived(body: &mut AnswerBody) -> Option<Option<Result<Frame<Bytes>, Refusal>>> {
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => None,
        })
    })
    .await
}

/// Tells the operator about failures that are not the client's: with the request id and the names that the configuration
/// has, without an address of the client.
fn log(exchange: &Exchange, refusal: &Refusal) {
    use crate::error::Fault;
    let id = exchange.admitted.id.to_str().unwrap_or_default();
    let reason = refusal.reason();
    let cause = std::error::Error::source(refusal).map(tracing::field::display);
    match reason.fault() {
        Fault::Client => tracing::debug!(reason = reason.label(), request.id = id, "refused"),
        Fault::Site => {
            let site = &exchange.state.config.sites[exchange.admitted.served.site];
            let endpoint = exchange.upstream.as_ref().and_then(|facts| facts.endpoint);
            let server = endpoint.and_then(|index| site.upstream.get(index)).map(tracing::field::display);
            let (site, reason) = (site.hosts.first(), reason.label());
            tracing::warn!(site, server, reason, request.id = id, cause, "the site did not answer");
        }
        Fault::Us => {
            tracing::error!(reason = reason.label(), request.id = id, cause, "a fault of the gateway");
        }
    }
}
