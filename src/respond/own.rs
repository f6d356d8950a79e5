//! Our own endpoints and the policy gate: requests that the site never sees.
//!
//! Reads at most the few KiB of a choice, and leaves the answer itself to [`crate::consent`]. Never forwards. Bound:
//! [`consent::BODY_BYTES`], read within `timeouts.request_body`.

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::answer::{self, Expire};
use crate::admin::labels::ConsentChoice;
use crate::consent::receipts::{Client, Filing, Receipt};
use crate::consent::{self, Choice, Event, OwnRequest, SiteConsent};
use crate::error::{Reason, Refusal};
use crate::exchange::Exchange;

/// What lies below our prefix, if this path does. The prefix without its last slash leads to the page too.
#[must_use]
pub fn path<'a>(path: &'a str, prefix: &str) -> Option<Own<'a>> {
    if path == GPC {
        return Some(Own::Gpc);
    }
    match path.strip_prefix(prefix) {
        Some(rest) => Some(Own::Below(rest)),
        None => (prefix.strip_suffix('/') == Some(path)).then_some(Own::Prefix),
    }
}

/// One of our own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own<'a> {
    /// `/.well-known/gpc.json`.
    Gpc,
    /// The prefix without its last slash.
    Prefix,
    /// What follows the prefix.
    Below(&'a str),
}

/// The answer to an `OPTIONS` that may not be forwarded (RFC 9110 §7.6.2): about the way here there is nothing to tell.
#[must_use]
pub fn last_hop() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Answers a request to one of our own addresses.
///
/// # Errors
/// The body stops coming or breaks off.
pub async fn endpoint(
    exchange: &mut Exchange,
    parts: &Parts,
    body: &mut Incoming,
    own: Own<'_>,
) -> Result<Response<Bytes>, Refusal> {
    let state = std::rc::Rc::clone(&exchange.state);
    let site = &state.consent[exchange.admitted.served.site];
    let below = match own {
        Own::Gpc => return Ok(whole(consent::well_known_gpc(&parts.method, site)).await),
        Own::Prefix => return Ok(redirect(&site.prefix)),
        Own::Below(below) => below,
    };
    let chooses = below == "consent" && matches!(parts.method, Method::POST | Method::DELETE);
    if chooses {
        exchange.check_choices()?;
    }
    let Some(decision) = &exchange.consent else { return Err(Reason::Internal.into()) };
    let mut request = OwnRequest {
        method: &parts.method,
        path: below,
        query: parts.uri.query(),
        headers: &parts.headers,
        body: &[],
        authority: exchange.admitted.host.to_str().unwrap_or_default(),
        secure: exchange.admitted.secure,
        decision,
    };
    // A body is read, and a client that waits for `100 Continue` is told to send it, only where it can matter.
    let choice;
    if chooses {
        if let Some(response) = consent::refused_unread(&request, site, body.size_hint().exact()) {
            return Ok(whole(response).await);
        }
        choice = read(exchange, body).await?;
        request.body = &choice;
    }
    let answer = consent::handle(&request, site, &exchange.state.consent_keys, exchange.arrived);
    if let Some(id) = answer.receipt
        && let Some(line) = exchange.worker.shared.receipts.find(id).await
    {
        return Ok(whole(consent::receipt(&request, &line)).await);
    }
    let mut response = whole(answer.response).await;
    if let Some(choice) = answer.choice {
        // On the disk before anybody hears of it.
        if exchange.worker.shared.receipts.file(filing(exchange, &choice, site)).await.is_err() {
            return Ok(whole(consent::not_stored(&request, site)).await);
        }
        let label = match choice.event {
            Event::Given | Event::ReConfirmed => ConsentChoice::Granted,
            Event::Refused => ConsentChoice::Refused,
            Event::Withdrawn => ConsentChoice::Withdrawn,
            Event::Policy => ConsentChoice::Policy,
        };
        exchange.worker.metrics.consent_choice(label);
        if choice.expires {
            let which = Expire::NotChosen(choice.record.mask);
            answer::expire_cookies(exchange, response.headers_mut(), which, exchange.arrived);
        }
    }
    Ok(response)
}

/// A choice as it goes into the log.
fn filing(exchange: &Exchange, choice: &Choice, site: &SiteConsent) -> Filing {
    let now = exchange.arrived;
    let request = exchange.admitted.id.to_str().unwrap_or_default();
    let agent = String::from_utf8_lossy(exchange.kept.user_agent().unwrap_or_default());
    let policy = site.rules.policies.get(&choice.record.version).map(|version| version.source().to_owned());
    let ended = choice.before.as_ref().filter(|_| choice.before_ended);
    Filing {
        expired: ended.map(|before| Receipt::expired(before, site, now)),
        receipt: Receipt::of(choice, site, request, now),
        client: Client {
            address: exchange.admitted.client.ip().to_string(),
            user_agent: (!agent.is_empty()).then(|| agent.chars().take(USER_AGENT_CHARS).collect()),
        },
        texts: choice.own_text.iter().cloned().chain(policy).collect(),
    }
}

/// The answer to a request for a gated path without acceptance of the policy in force.
pub fn gate(exchange: &Exchange, parts: &Parts) -> Option<Response<Full<Bytes>>> {
    let site = &exchange.state.consent[exchange.admitted.served.site];
    let decision = exchange.consent.as_ref()?;
    let (path, query) = (parts.uri.path(), parts.uri.query());
    site.gate.check(&parts.method, path, query, &parts.headers, decision, (&site.prefix, site.language))
}

/// The body of a choice: one byte more than the limit is enough to see that it is too long.
async fn read(exchange: &Exchange, body: &mut Incoming) -> Result<Bytes, Refusal> {
    let patience = exchange.state.config.timeouts.request_body;
    let mut read = BytesMut::new();
    while read.len() <= consent::BODY_BYTES {
        match tokio::time::timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    let room = consent::BODY_BYTES + 1 - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Ok(Some(Err(error))) => return Err(Refusal::caused_by(Reason::BodyBroken, error)),
            Ok(None) => break,
            Err(_) => return Err(Reason::BodyTimeout.into()),
        }
    }
    Ok(read.freeze())
}

/// The answer with its body in one piece.
pub async fn whole(response: Response<Full<Bytes>>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    // A body that is in memory neither waits nor fails.
    let bytes = body.collect().await.map_or_else(|never| match never {}, http_body_util::Collected::to_bytes);
    Response::from_parts(head, bytes)
}

fn redirect(prefix: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(prefix) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// How much of a user agent a receipt holds.
const USER_AGENT_CHARS: usize = 512;
const GPC: &str = "/.well-known/gpc.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_the_prefix_is_ours() {
        assert_eq!(path("/.kelisim/", "/.kelisim/"), Some(Own::Below("")));
        assert_eq!(path("/.kelisim/consent", "/.kelisim/"), Some(Own::Below("consent")));
        assert_eq!(path("/.kelisim", "/.kelisim/"), Some(Own::Prefix));
        assert_eq!(path("/.well-known/gpc.json", "/.kelisim/"), Some(Own::Gpc));
        assert_eq!(path("/.kelisimo", "/.kelisim/"), None);
        assert_eq!(path("/a/.kelisim/", "/.kelisim/"), None);
    }
}
