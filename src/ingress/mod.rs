//! Makes a request unambiguous, once, before any other code looks at it.
//!
//! Step 2 of a request's life, in two halves: [`admit`] finds the site and the client, so that everything after it has
//! a record; [`normalise`] checks target and framing, removes what only this connection may see, and gives every field
//! that the site may trust its one value. Its output is the only request that later steps see. Never reads a body.
//! Bound: the size of the head.
//!
//! The scan of a head's bytes before hyper parses them has its place in `listen::stream`.

pub mod expect;
pub mod framing;
pub mod headers;
pub mod host;
pub mod outgoing;
pub mod rate;
pub mod request_id;
pub mod size;
pub mod target;

use http::request::Parts;
use http::{HeaderValue, Method, Version, header};
use hyper::body::{Body as _, Incoming};

use crate::admin::labels::DropReason;
use crate::error::Reason;
use crate::identify::ClientAddress;
use crate::identify::forwarded::{self, Chain};
use crate::listen::connection::Connection;
use crate::snapshot::{Served, Snapshot};

/// A request for a configured host: from here on it has a record.
#[derive(Debug)]
pub struct Admitted {
    /// Where the host leads.
    pub served: Served,
    /// `host[:port]` as the browser wrote it.
    pub host: HeaderValue,
    /// Whether the visitor came by https: on our own socket, or as a trusted proxy says.
    pub secure: bool,
    /// Who is asking.
    pub client: ClientAddress,
    /// From the client to the peer, as far as it can be believed.
    pub chain: Chain,
    /// Whether the peer is a proxy that the site trusts.
    pub trusted: bool,
    /// The request id, ours or a trusted proxy's.
    pub id: HeaderValue,
}

impl Admitted {
    /// The configured name that was asked for.
    #[must_use]
    pub fn domain<'a>(&self, snapshot: &'a Snapshot) -> &'a str {
        snapshot.host_name(self.served)
    }
}

/// What the normalised head leaves to later steps.
#[derive(Debug)]
pub struct Normalised {
    /// Whether the client asked for a WebSocket.
    pub websocket: bool,
    /// Fields that go on only with a permit for advertising.
    pub advertising: headers::Names,
}

/// Finds the site and the client. Leaves exactly one `Host` in the head.
///
/// # Errors
/// [`Reason::BadHost`], or [`Reason::UnknownHost`] for a host that is not configured, or not covered by the
/// certificate of this connection. Nothing is recorded about such a request.
pub fn admit(
    parts: &mut Parts,
    connection: &Connection,
    snapshot: &Snapshot,
    ids: &request_id::Ids,
    dropped: &mut impl FnMut(DropReason),
) -> Result<Admitted, Reason> {
    let host = host::take(parts)?;
    let served = snapshot.host(host.name()).ok_or(Reason::UnknownHost)?;
    if connection.tls.as_ref().is_some_and(|tls| !tls.certificate.covered.contains(host.name())) {
        return Err(Reason::UnknownHost);
    }
    let site = &snapshot.config.sites[served.site];
    let headers = &parts.headers;
    let peer = connection.peer.ip().to_canonical();
    let trusted = forwarded::is_trusted(peer, &site.trusted_proxies);
    let fields = headers.get_all(outgoing::X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    // An iterator over one name cannot be walked from the right, so the few values are gathered first.
    let fields: smallvec::SmallVec<[&[u8]; 4]> =
        if trusted { fields.collect() } else { smallvec::SmallVec::new() };
    let resolved = forwarded::resolve(peer, fields, &site.trusted_proxies);
    if resolved.malformed {
        dropped(DropReason::MalformedChain);
    }
    let named_host = if trusted { outgoing::forwarded_host(headers) } else { None };
    let named_scheme = if trusted { outgoing::forwarded_proto(headers) } else { None };
    Ok(Admitted {
        served,
        host: named_host.unwrap_or_else(|| host.value().clone()),
        secure: named_scheme.unwrap_or(connection.tls.is_some()),
        client: resolved.client,
        chain: resolved.chain,
        trusted,
        id: ids.of_request(if trusted { headers.get(request_id::NAME) } else { None }),
    })
}

/// Makes the rest of the head unambiguous.
///
/// On return `parts` has an origin-form target, no hop-by-hop field, and our own fields.
///
/// # Errors
/// The reason for which the request must not be forwarded.
pub fn normalise(
    parts: &mut Parts,
    body: &Incoming,
    admitted: &Admitted,
    snapshot: &Snapshot,
    dropped: &mut impl FnMut(DropReason),
) -> Result<Normalised, Reason> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Reason::MethodNotAllowed);
    }
    size::check(parts, &snapshot.config.limits)?;
    target::check(&parts.uri, snapshot.config.limits.uri_bytes)?;
    target::to_origin_form(&mut parts.uri)?;
    framing::check(&parts.headers, parts.version)?;
    expect::check(&parts.headers)?;
    let site = &snapshot.config.sites[admitted.served.site];
    if body.size_hint().exact().is_some_and(|length| length > site.body_bytes) {
        return Err(Reason::BodyTooLarge);
    }
    let found = headers::scan(&parts.headers, snapshot.config.ingress.underscores)?;
    let websocket = headers::asks_for_websocket(&parts.headers, parts.version, &found);
    headers::remove(&mut parts.headers, &found, dropped);
    if websocket {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    outgoing::set(
        &mut parts.headers,
        &outgoing::Facts {
            host: &admitted.host,
            secure: admitted.secure,
            chain: &admitted.chain,
            id: &admitted.id,
        },
    );
    parts.version = Version::HTTP_11;
    Ok(Normalised { websocket, advertising: found.advertising })
}
