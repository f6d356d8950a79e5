//! Which trailer fields may pass.
//!
//! A trailer is a field that arrives after every check on the head was made, so it must not say anything that a head
//! decides: framing, routing, credentials, cookies, or a name that the gateway itself writes (RFC 9110 §6.5.1). Never
//! adds a field. Bound: the fields that hyper accepted.

use http::HeaderMap;
use http::header::{self, HeaderName};
use smallvec::SmallVec;

/// Removes what a client may not say in a trailer.
pub(super) fn clean_request(fields: &mut HeaderMap) {
    // `x_forwarded_for` is `X-Forwarded-For` to a CGI-style site.
    clean(fields, |name| forbidden(name) || name.as_str().contains('_'));
}

/// Removes what a site may not say in a trailer.
pub(super) fn clean_answer(fields: &mut HeaderMap) {
    clean(fields, forbidden);
}

fn clean(fields: &mut HeaderMap, refused: impl Fn(&HeaderName) -> bool) {
    let names: SmallVec<[HeaderName; 4]> = fields.keys().filter(|name| refused(name)).cloned().collect();
    for name in names {
        fields.remove(name);
    }
}

fn forbidden(name: &HeaderName) -> bool {
    FORBIDDEN.contains(name)
        || NAMES.contains(&name.as_str())
        || PREFIXES.iter().any(|p| name.as_str().starts_with(p))
}

/// Framing, hop-by-hop, routing, credentials, cookies.
const FORBIDDEN: [HeaderName; 21] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];

/// Names without a constant; all in lower case.
const NAMES: [&str; 16] = [
    "keep-alive",
    "proxy",
    "proxy-connection",
    "x-request-id",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "proxy-status",
    "x-client-ip",
    "client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-host",
    "fastly-client-ip",
    "cf-connecting-ipv6",
];

/// Families of names that the gateway writes.
const PREFIXES: [&str; 3] = ["x-forwarded-", "kelisim-", "sec-"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(names: &[&'static str]) -> HeaderMap {
        names.iter().map(|n| (HeaderName::from_static(n), HeaderValue::from_static("x"))).collect()
    }

    #[test]
    fn what_a_head_decides_is_removed() {
        let refused = [
            "x-forwarded-for",
            "cookie",
            "set-cookie",
            "content-length",
            "kelisim-consent",
            "host",
            "connection",
        ];
        let mut fields = map(&refused);
        clean_answer(&mut fields);
        assert!(fields.is_empty(), "{:?}", fields.keys());
    }

    #[test]
    fn others_pass() {
        let mut fields = map(&["grpc-status", "digest", "x-checksum"]);
        clean_request(&mut fields);
        assert_eq!(fields.len(), 3);
    }

    #[test]
    fn underscores_pass_only_from_the_site() {
        let mut fields = map(&["x_forwarded_for"]);
        clean_answer(&mut fields);
        assert_eq!(fields.len(), 1);
        clean_request(&mut fields);
        assert!(fields.is_empty());
    }
}
