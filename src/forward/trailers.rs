//! Which trailer fields may pass.
//!
//! A trailer is a field that arrives after every check on the head was made, so it must not say anything that a head
//! decides: framing, routing, credentials, cookies, or a name that the gateway itself writes (RFC 9110 §6.5.1). What a
//! name means stands in [`crate::ingress::names`]. Never adds a field. Bound: the fields that were accepted.

use http::HeaderMap;
use http::header::HeaderName;
use smallvec::SmallVec;

use crate::ingress::names::{Class, class};

/// Removes what a client may not say in a trailer, and what its `Connection` lists. Returns how many fields that were.
pub(super) fn clean_request(fields: &mut HeaderMap, listed: &[HeaderName]) -> usize {
    // Not with `_` either: `x_forwarded_for` is `X-Forwarded-For` to a CGI-style site.
    clean(fields, listed, Class::may_trail_request)
}

/// Removes what a site may not say in a trailer, and what its `Connection` lists. Returns how many fields that were.
pub(super) fn clean_answer(fields: &mut HeaderMap, listed: &[HeaderName]) -> usize {
    clean(fields, listed, Class::may_trail_answer)
}

fn clean(fields: &mut HeaderMap, listed: &[HeaderName], may: impl Fn(Class) -> bool) -> usize {
    let goes = |name: &&HeaderName| !may(class(name.as_str())) || listed.contains(name);
    let names: SmallVec<[HeaderName; 4]> = fields.keys().filter(goes).cloned().collect();
    for name in &names {
        fields.remove(name);
    }
    names.len()
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
        assert_eq!(clean_answer(&mut fields, &[]), refused.len());
        assert!(fields.is_empty(), "{:?}", fields.keys());
    }

    #[test]
    fn others_pass() {
        let mut fields = map(&["grpc-status", "digest", "x-checksum"]);
        assert_eq!(clean_request(&mut fields, &[]), 0);
        assert_eq!(fields.len(), 3);
    }

    #[test]
    fn what_connection_lists_stays_here() {
        let listed = [HeaderName::from_static("x-mine")];
        for clean in [clean_request, clean_answer] {
            let mut fields = map(&["x-mine", "x-checksum"]);
            assert_eq!(clean(&mut fields, &listed), 1);
            assert_eq!(fields.keys().collect::<Vec<_>>(), ["x-checksum"]);
        }
    }

    #[test]
    fn underscores_pass_only_from_the_site() {
        let mut fields = map(&["x_forwarded_for"]);
        assert_eq!(clean_answer(&mut fields, &[]), 0);
        assert_eq!(clean_request(&mut fields, &[]), 1);
        assert!(fields.is_empty());
    }
}
