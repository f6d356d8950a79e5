//! Which trailer fields may pass.
//!
//! A trailer is a field that arrives after every check on the head was made, so it must not say anything that a head
//! decides: framing, routing, credentials, cookies, or a name that the gateway itself writes (RFC 9110 §6.5.1). What a
//! name means stands in [`crate::ingress::names`]. Never adds a field. Bound: the fields that hyper accepted.

use http::HeaderMap;
use http::header::HeaderName;
use smallvec::SmallVec;

use crate::ingress::names::{Class, class};

/// Removes what a client may not say in a trailer.
pub(super) fn clean_request(fields: &mut HeaderMap) {
    // Not with `_` either: `x_forwarded_for` is `X-Forwarded-For` to a CGI-style site.
    clean(fields, Class::may_trail_request);
}

/// Removes what a site may not say in a trailer.
pub(super) fn clean_answer(fields: &mut HeaderMap) {
    clean(fields, Class::may_trail_answer);
}

fn clean(fields: &mut HeaderMap, may: impl Fn(Class) -> bool) {
    let names: SmallVec<[HeaderName; 4]> =
        fields.keys().filter(|name| !may(class(name.as_str()))).cloned().collect();
    for name in names {
        fields.remove(name);
    }
}

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
