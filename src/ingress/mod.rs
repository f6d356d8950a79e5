//! Makes a request unambiguous, once, before any other code looks at it.
//!
//! Step 2 of a request's life, in two halves: [`admit`] finds the site and the client in one look at the head, so that
//! everything after it has a record; [`normalise`] checks target and framing, removes what only this connection may
//! see, and gives every field that the site may trust its one value. Its output is the only request that later steps
//! see. Never reads a body. Bound: the size of the head.
//!
//! The scan of a head's bytes before hyper parses them has its place in `listen::stream`.

pub mod click_ids;
pub mod client;
pub mod expect;
pub mod framing;
pub mod headers;
pub mod host;
pub mod max_forwards;
pub mod names;
pub mod outgoing;
pub mod rate;
pub mod request_id;
pub mod size;
pub mod target;

use http::request::Parts;
use http::{HeaderValue, Method, Version, header};
use http_body::Body;

use crate::admin::labels::DropReason;
use crate::error::Reason;
use crate::identify::ClientAddress;
use crate::identify::forwarded::{self, Chain, Resolved};
use crate::listen::connection::Connection;
use crate::record::kept::Kept;
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
    /// Our own fields, which go on behind the client's.
    pub own: outgoing::Fields,
    /// Names that may not come as a trailer, since `Connection` lists them.
    pub listed: headers::Listed,
    /// Whether the client takes trailers.
    pub trailers: bool,
}

/// What the one look at the head found.
#[derive(Debug)]
pub struct Look {
    /// The texts that the record needs: whatever becomes of the request, it has one.
    pub kept: Kept,
    /// What may not go on, or why the request may not; judged by [`normalise`].
    pub found: Result<headers::Found, Reason>,
}

/// Finds the site and the client, and looks at every field. Leaves exactly one `Host` in the head.
///
/// # Errors
/// [`Reason::BadHost`], [`Reason::UnknownHost`] for a host that is not configured, or [`Reason::NotInCertificate`] for
/// one that the certificate of this connection does not cover. Nothing is recorded about such a request.
pub fn admit(
    parts: &mut Parts,
    connection: &Connection,
    snapshot: &Snapshot,
    ids: &request_id::Ids,
    dropped: &mut impl FnMut(DropReason),
) -> Result<(Admitted, Look), Reason> {
    let (host, served) = find(parts, connection, snapshot)?;
    let site = &snapshot.config.sites[served.site];
    let headers = &parts.headers;
    let peer = connection.peer.ip().to_canonical();
    let trusted = forwarded::is_trusted(peer, &site.trusted_proxies);
    let rules = headers::Rules { underscores: snapshot.config.ingress.underscores, trusted };
    let mut kept = Kept::of(parts);
    let found = headers::scan(headers, rules, &mut kept, dropped);
    // A look that was broken off may not have come to these.
    let (chain, ours) = found.as_ref().map_or((true, true), |found| (found.chain, found.ours));
    let told = if trusted {
        let from = client::Source { field: &site.client_address_from, chain, ours };
        client::told(headers, from, peer, &site.trusted_proxies)
    } else {
        client::Told { resolved: Resolved::peer(peer), host: None, secure: None }
    };
    if told.resolved.malformed {
        dropped(DropReason::MalformedChain);
    }
    let admitted = Admitted {
        served,
        host: told.host.unwrap_or_else(|| host.into_value()),
        secure: told.secure.unwrap_or(connection.tls.is_some()),
        client: told.resolved.client,
        chain: told.resolved.chain,
        trusted,
        id: ids.of_request(if trusted && ours { headers.get(request_id::NAME) } else { None }),
    };
    Ok((admitted, Look { kept, found }))
}

/// The one host of a request, and where it leads. Leaves exactly one `Host` in the head.
fn find(
    parts: &mut Parts,
    connection: &Connection,
    snapshot: &Snapshot,
) -> Result<(host::Host, Served), Reason> {
    let parts_are_connect = parts.method == Method::CONNECT;
    // There is no resource behind `CONNECT`, so no host of ours is asked for either.
    let refused = |reason| if parts_are_connect { Reason::MethodNotAllowed } else { reason };
    let host = host::take(parts).map_err(refused)?;
    let served = snapshot.host(host.name()).ok_or(Reason::UnknownHost).map_err(refused)?;
    if let Some(tls) = &connection.tls
        && !tls.certificate.covered.contains(host.name())
    {
        tls.certificate.misses(host.name());
        return Err(Reason::NotInCertificate);
    }
    Ok((host, served))
}

/// Makes the rest of the head unambiguous.
///
/// On return `parts` has an origin-form target, no hop-by-hop field, and no field in whose name only we speak.
///
/// # Errors
/// The reason for which the request must not be forwarded.
pub fn normalise(
    parts: &mut Parts,
    body: &impl Body,
    (admitted, found): (&Admitted, Result<headers::Found, Reason>),
    connection: &Connection,
    snapshot: &Snapshot,
    dropped: &mut impl FnMut(DropReason),
) -> Result<Normalised, Reason> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Reason::MethodNotAllowed);
    }
    size::check(parts, &snapshot.config.limits)?;
    let rules = &snapshot.config.ingress;
    target::check(&parts.uri, snapshot.config.limits.uri_bytes, rules.encoded_slashes)?;
    target::to_origin_form(&mut parts.uri)?;
    let found = found?;
    if found.framing {
        framing::check(&parts.headers, parts.version)?;
    }
    if found.expects {
        expect::check(&parts.headers)?;
    }
    let site = &snapshot.config.sites[admitted.served.site];
    if body.size_hint().exact().is_some_and(|length| length > site.body_bytes) {
        return Err(Reason::BodyTooLarge);
    }
    let websocket = headers::asks_for_websocket(&parts.headers, &parts.method, parts.version, &found);
    headers::remove(&mut parts.headers, &found);
    if websocket {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if found.upgrade {
        dropped(DropReason::Upgrade);
    }
    let facts = outgoing::Facts {
        host: &admitted.host,
        secure: admitted.secure,
        chain: &admitted.chain,
        id: &admitted.id,
        client_address_to: site.client_address_to.as_ref(),
    };
    parts.version = Version::HTTP_11;
    let own = outgoing::fields(&facts, &connection.told);
    let headers::Found { advertising, listed, trailers, .. } = found;
    Ok(Normalised { websocket, advertising, own, listed, trailers })
}
