//! Reasons become statuses here, and nowhere else.
//!
//! Also names the error for `Proxy-Status` (RFC 9209 §2.3) and says whether the client's connection must end. Never
//! looks at a request. Bound: one table.

use http::StatusCode;

use crate::error::Reason;

/// The status of our own answer. For a client that left it is the status that the log shows (499).
#[must_use]
pub fn status(reason: Reason) -> StatusCode {
    use Reason as R;
    match reason {
        R::Malformed | R::AmbiguousFraming | R::BadHost | R::BadTarget | R::Underscore | R::BodyBroken => {
            StatusCode::BAD_REQUEST
        }
        R::Denied | R::CrossSite => StatusCode::FORBIDDEN,
        R::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        R::BodyTimeout | R::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
        R::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        R::UriTooLong => StatusCode::URI_TOO_LONG,
        R::Expectation => StatusCode::EXPECTATION_FAILED,
        R::UnknownHost | R::NotInCertificate => StatusCode::MISDIRECTED_REQUEST,
        R::Throttled | R::RateLimited | R::ClientShare => StatusCode::TOO_MANY_REQUESTS,
        R::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        R::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        R::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        R::TransferCoding => StatusCode::NOT_IMPLEMENTED,
        R::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        R::ConnectRefused
        | R::Dns
        | R::UpstreamCertificate
        | R::UpstreamTls
        | R::UpstreamClosed
        | R::UpstreamProtocol
        | R::UpstreamHeadTooLarge
        | R::UpstreamBodyBroken => StatusCode::BAD_GATEWAY,
        R::QueueFull | R::Draining | R::RecordFailed => StatusCode::SERVICE_UNAVAILABLE,
        R::ConnectTimeout | R::DnsTimeout | R::UpstreamTimeout | R::UpstreamBodyTimeout => {
            StatusCode::GATEWAY_TIMEOUT
        }
    }
}

/// The error type of `Proxy-Status` (RFC 9209 §2.3).
#[must_use]
pub const fn proxy_status(reason: Reason) -> &'static str {
    use Reason as R;
    match reason {
        R::Denied | R::Throttled | R::RateLimited | R::ClientShare | R::CrossSite => {
            "kelisim; error=http_request_denied"
        }
        R::ConnectRefused => "kelisim; error=connection_refused",
        R::ConnectTimeout => "kelisim; error=connection_timeout",
        R::Dns => "kelisim; error=dns_error",
        R::DnsTimeout => "kelisim; error=dns_timeout",
        R::UpstreamCertificate => "kelisim; error=tls_certificate_error",
        R::UpstreamTls => "kelisim; error=tls_protocol_error",
        R::UpstreamClosed => "kelisim; error=connection_terminated",
        R::UpstreamProtocol => "kelisim; error=http_protocol_error",
        R::UpstreamHeadTooLarge => "kelisim; error=http_response_header_section_size",
        R::UpstreamBodyBroken => "kelisim; error=http_response_incomplete",
        R::UpstreamTimeout | R::UpstreamBodyTimeout => "kelisim; error=http_response_timeout",
        R::QueueFull => "kelisim; error=connection_limit_reached",
        R::Draining => "kelisim; error=destination_unavailable",
        R::RecordFailed | R::Internal => "kelisim; error=proxy_internal_error",
        _ => "kelisim; error=http_request_error",
    }
}

/// Whether the client's connection ends with this answer: its next bytes cannot be trusted to be a request.
#[must_use]
pub const fn closes(reason: Reason) -> bool {
    use Reason as R;
    matches!(
        reason,
        R::Malformed
            | R::AmbiguousFraming
            | R::BadHost
            | R::BadTarget
            | R::TransferCoding
            | R::UnsupportedVersion
            | R::HeadTimeout
            | R::Expectation
            | R::HeadTooLarge
            | R::UriTooLong
            | R::BodyTooLarge
            | R::BodyTimeout
            | R::BodyBroken
            | R::MethodNotAllowed
    )
}

/// Seconds after which trying again makes sense, if it does: on every 429 and 503.
#[must_use]
pub const fn retry_after(reason: Reason) -> Option<u32> {
    match reason {
        Reason::QueueFull | Reason::ClientShare | Reason::Draining | Reason::RecordFailed => Some(2),
        // The rate limit's own wait, or the risk policy's where it names one, takes this one's place.
        Reason::Throttled | Reason::RateLimited => Some(60),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn the_status_tells_whose_fault_it_is() {
        for &reason in Reason::ALL {
            let status = status(reason);
            match reason.fault() {
                Fault::Client => assert!(
                    status.is_client_error()
                        || status == StatusCode::NOT_IMPLEMENTED
                        || status == StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                    "{reason:?} {status}"
                ),
                Fault::Site | Fault::Us => assert!(status.is_server_error(), "{reason:?} {status}"),
            }
        }
    }

    /// The design's §9: which statuses go with which error type of RFC 9209 §2.3.
    #[test]
    fn the_error_type_fits_the_status() {
        for &reason in Reason::ALL {
            let error = proxy_status(reason).strip_prefix("kelisim; error=").unwrap();
            let allowed: &[&str] = match status(reason).as_u16() {
                403 | 429 => &["http_request_denied"],
                400..=499 | 501 | 505 => &["http_request_error"],
                500 => &["proxy_internal_error"],
                502 => &[
                    "dns_error",
                    "connection_refused",
                    "connection_terminated",
                    "http_response_incomplete",
                    "http_protocol_error",
                    "http_response_header_section_size",
                    "tls_certificate_error",
                    "tls_protocol_error",
                ],
                503 => &["destination_unavailable", "connection_limit_reached", "proxy_internal_error"],
                504 => &["connection_timeout", "dns_timeout", "http_response_timeout"],
                other => panic!("{reason:?} has the status {other}, which the table does not know"),
            };
            assert!(allowed.contains(&error), "{reason:?}: {error}");
        }
    }

    #[test]
    fn a_refusal_by_the_policy_keeps_the_connection() {
        assert!(!closes(Reason::Throttled) && !closes(Reason::RateLimited) && !closes(Reason::ClientShare));
        assert!(!closes(Reason::UnknownHost) && !closes(Reason::NotInCertificate));
        assert!(closes(Reason::AmbiguousFraming));
    }
}
