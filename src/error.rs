//! What can go wrong with a request, and whose fault it is.
//!
//! A [`Refusal`] keeps its source chain; `respond::status` alone turns it into a status. Never holds bytes from the
//! wire, so it is safe to log. Bound: one word and one boxed source.

use std::error::Error as StdError;
use std::fmt;

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client sent something that cannot or may not be served.
    Client,
    /// The site's own server failed.
    Site,
    /// Ours.
    Us,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $fault:ident;)*) => {
        /// Why a request was not answered by the site. The label is a metric label and a log field: a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name used in metrics, logs and records.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }
        }
    };
}

reasons! {
    /// The head cannot be read as HTTP.
    Malformed = "malformed", Client;
    /// More than one way to tell where the body ends.
    AmbiguousFraming = "ambiguous_framing", Client;
    /// No host, several, or one that does not parse.
    BadHost = "bad_host", Client;
    /// The request target does not parse, or has a NUL or an invalid `%`.
    BadTarget = "bad_target", Client;
    /// A header name with `_` under `ingress.underscores = "reject"`.
    Underscore = "underscore", Client;
    /// A host that is not configured here.
    UnknownHost = "unknown_host", Client;
    /// A host that is configured, but not in the certificate of the listener.
    NotInCertificate = "not_in_certificate", Client;
    /// A method that is not served (`CONNECT`, `TRACE`).
    MethodNotAllowed = "method_not_allowed", Client;
    /// The target is longer than `limits.uri_bytes`.
    UriTooLong = "uri_too_long", Client;
    /// The head is larger than `limits.head_bytes` or has more fields than `limits.head_fields`.
    HeadTooLarge = "head_too_large", Client;
    /// The body is larger than `limits.body_bytes`.
    BodyTooLarge = "body_too_large", Client;
    /// The body stopped coming for `timeouts.request_body`.
    BodyTimeout = "body_timeout", Client;
    /// The body broke off or was framed wrongly.
    BodyBroken = "body_broken", Client;
    /// An expectation other than `100-continue`.
    Expectation = "expectation", Client;
    /// A transfer coding other than `chunked`.
    TransferCoding = "transfer_coding", Client;
    /// A major version of HTTP that cannot be served on this connection.
    UnsupportedVersion = "unsupported_version", Client;
    /// The head took longer than `timeouts.request_head`.
    HeadTimeout = "head_timeout", Client;
    /// The client asks more often than `site[].rate_limit` allows.
    RateLimited = "rate_limited", Client;
    /// As many of this client's requests are with the site as `limits.upstream_connections_per_client` allows, and
    /// waiting took too long.
    ClientShare = "client_share", Client;
    /// Throttled by the risk policy.
    Throttled = "throttled", Client;
    /// Denied by the risk policy.
    Denied = "denied", Client;
    /// A consent endpoint was called across sites, or with a bad token.
    CrossSite = "cross_site", Client;
    /// The client left before the answer was complete.
    ClientGone = "client_gone", Client;
    /// The endpoint refused the connection or cannot be reached.
    ConnectRefused = "connect_refused", Site;
    /// Connecting took longer than `timeouts.upstream_connect`.
    ConnectTimeout = "connect_timeout", Site;
    /// The endpoint's name does not resolve.
    Dns = "dns", Site;
    /// Looking the endpoint's name up took longer than `timeouts.upstream_connect`.
    DnsTimeout = "dns_timeout", Site;
    /// The endpoint's certificate is not one that is trusted for its name.
    UpstreamCertificate = "upstream_certificate", Site;
    /// The TLS handshake with the endpoint failed, or it does not speak the protocol that is asked for.
    UpstreamTls = "upstream_tls", Site;
    /// The endpoint closed or reset the connection before an answer.
    UpstreamClosed = "upstream_closed", Site;
    /// The endpoint's answer is not HTTP, or is not one that may follow.
    UpstreamProtocol = "upstream_protocol", Site;
    /// The head of the endpoint's answer is too large.
    UpstreamHeadTooLarge = "upstream_head_too_large", Site;
    /// No head of an answer within `timeouts.upstream_head`.
    UpstreamTimeout = "upstream_timeout", Site;
    /// The answer's body broke off.
    UpstreamBodyBroken = "upstream_body_broken", Site;
    /// The answer's body stopped for `timeouts.upstream_body`.
    UpstreamBodyTimeout = "upstream_body_timeout", Site;
    /// Every connection is busy and the queue is full, or waiting took too long.
    QueueFull = "queue_full", Site;
    /// The record could not be written before forwarding, where that is demanded.
    RecordFailed = "record_failed", Us;
    /// The gateway is shutting down.
    Draining = "draining", Us;
    /// A bug of ours.
    Internal = "internal", Us;
}

/// A request that the site will not answer, with the reason and what caused it.
#[derive(Debug)]
pub struct Refusal {
    reason: Reason,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Refusal {
    /// A refusal with its cause.
    pub fn caused_by(reason: Reason, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { reason, source: Some(source.into()) }
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, source: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.label())
    }
}

impl StdError for Refusal {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// An error with its causes, for a person.
pub(crate) fn chain(error: &dyn StdError) -> impl fmt::Display {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
