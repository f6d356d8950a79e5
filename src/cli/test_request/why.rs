//! Reasons as sentences for an operator.
//!
//! The labels are the contract; these words explain them. Never decides. Bound: tables.

use http::HeaderName;

use crate::admin::labels::DropReason;
use crate::consent::Reason as Row;
use crate::error::Reason;
use crate::risk::SignalName;

/// Why a request is refused.
pub(super) const fn refused(reason: Reason) -> &'static str {
    match reason {
        Reason::Malformed => "the head cannot be read as HTTP",
        Reason::AmbiguousFraming => "there is more than one way to tell where the body ends",
        Reason::BadHost => "there is no host, more than one, or one that does not parse",
        Reason::BadTarget => "the target does not parse, or has a NUL or an invalid % in it",
        Reason::Underscore => "a field name has _ in it, and ingress.underscores = \"reject\"",
        Reason::UnknownHost => "the host is no site's",
        Reason::NotInCertificate => "the listener's certificate does not cover the host",
        Reason::MethodNotAllowed => "CONNECT and TRACE are not served",
        Reason::UriTooLong => "the target is longer than limits.uri_bytes",
        Reason::HeadTooLarge => {
            "the head is larger than limits.head_bytes or has more fields than limits.head_fields"
        }
        Reason::BodyTooLarge => "the declared body is larger than the site's body_bytes",
        Reason::Expectation => "it expects something else than 100-continue",
        Reason::TransferCoding => "it has a transfer coding other than chunked",
        Reason::UnsupportedVersion => "the request line names a version of HTTP that is not served",
        Reason::RateLimited => "the client asks more often than the rate limit allows",
        Reason::Throttled => "the risk policy throttles this client",
        Reason::Denied => "the risk policy denies this client",
        Reason::CrossSite => "the consent endpoint was called from another site, or without its token",
        Reason::HeadTimeout => "the head does not come to its end",
        Reason::BodyTimeout | Reason::BodyBroken => "the body is not there as its framing says",
        _ => "see the reason's name in the reference",
    }
}

/// Why advertising is allowed or not.
pub(super) const fn decided(row: Row) -> &'static str {
    match row {
        Row::OwnRefused => "the visitor refused, or took the consent back",
        Row::CopiesDiffer => "copies of the consent cookie contradict each other",
        Row::OwnGranted => "the visitor granted it: a fresh choice under the policy in force",
        Row::Gpc => "the browser says Sec-GPC: 1",
        Row::Dnt => "the browser says DNT: 1",
        Row::VendorRefused => "the banner's cookie refuses",
        Row::FrameworkRefused => "a consent framework's string refuses",
        Row::AllGranted => "every source that is present grants",
        Row::Unknown => "nobody said a valid yes",
    }
}

/// Why a field does not go on, where that is counted.
pub(super) const fn dropped(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Underscore => "a site that reads _ as - would take it for another field",
        DropReason::Forged => "a name that a site may trust: clients may not set it",
        DropReason::Proxy => "CGI programs would take it for their proxy",
        DropReason::ClientAddress => "claims a client address, and nobody who is trusted wrote it",
        DropReason::Upgrade => "only websocket is passed on",
        _ => "not for the site",
    }
}

/// Why a field of the connection does not go on.
pub(super) fn of_the_hop(name: &HeaderName) -> &'static str {
    match name.as_str() {
        "expect" => "answered by the gateway",
        "te" => "only trailers is passed on",
        "upgrade" => "only websocket is passed on",
        "transfer-encoding" => "the framing is written anew",
        _ => "belongs to this connection",
    }
}

/// Which earlier requests a signal compares with.
pub(super) const fn signal(name: SignalName) -> &'static str {
    match name {
        SignalName::CountryHop => "the same visitor from another country within an hour",
        SignalName::SessionSpread => "the same visitor from several networks within minutes",
        SignalName::Velocity => {
            "many logins, failed logins, refused paths or pages of the same address or visitor"
        }
        SignalName::NewCountry => "the same visitor, seen before from other countries",
        SignalName::NewNetwork => "the same visitor, seen before from other networks",
    }
}
