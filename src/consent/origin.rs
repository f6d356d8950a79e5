//! Whether a change of the choice comes from this site's own pages.
//!
//! By `Sec-Fetch-Site` and `Origin`; a browser that sends neither must send back the token of our form. Never looks at
//! cookies: that a cookie came proves nothing. Bound: two header fields.

use http::{HeaderMap, header};

/// What the header fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This site.
    Same,
    /// Another site, or something contradictory.
    Other,
    /// Nothing: the form's token decides.
    Unstated,
}

/// Reads the fields of a request to `authority` (as in `Host`), over https if `secure`.
///
/// `Sec-Fetch-Site` must be `same-origin`. Beside it `Origin` may be absent or `null` (some privacy settings), else its
/// authority must be ours. `Origin` alone must be ours with its scheme.
pub(super) fn of(headers: &HeaderMap, authority: &str, secure: bool) -> Origin {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(http::HeaderValue::as_bytes), values.next().is_some())
    };
    let (site, several_sites) = one("sec-fetch-site");
    let (origin, several_origins) = one(header::ORIGIN.as_str());
    if several_sites || several_origins {
        return Origin::Other;
    }
    let ours = |origin: &[u8], scheme: &[u8]| {
        origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(authority.as_bytes()))
    };
    let same = match (site, origin) {
        (None, None) => return Origin::Unstated,
        (Some(b"same-origin"), None | Some(b"null")) => true,
        // The browser has compared schemes; a proxy in front of us may have changed ours.
        (Some(b"same-origin"), Some(origin)) => ours(origin, b"https://") || ours(origin, b"http://"),
        (Some(_), _) => false,
        (None, Some(origin)) => ours(origin, if secure { b"https://" } else { b"http://" }),
    };
    if same { Origin::Same } else { Origin::Other }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(site: &[&'static str], origin: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in site {
            map.append("sec-fetch-site", HeaderValue::from_static(value));
        }
        for value in origin {
            map.append("origin", HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn table() {
        let ours = "https://kz.example";
        for (site, origin, expected) in [
            (&[][..], &[][..], Origin::Unstated),
            (&["same-origin"], &[], Origin::Same),
            (&["same-origin"], &[ours], Origin::Same),
            (&["same-origin"], &["http://kz.example"], Origin::Same),
            (&["same-origin"], &["null"], Origin::Same),
            (&["same-origin"], &["https://evil.example"], Origin::Other),
            (&["same-site"], &[], Origin::Other),
            (&["same-site"], &[ours], Origin::Other),
            (&["cross-site"], &[], Origin::Other),
            (&["cross-site"], &[ours], Origin::Other),
            (&["none"], &[], Origin::Other),
            (&[""], &[], Origin::Other),
            (&["same-origin", "same-origin"], &[], Origin::Other),
            (&[], &[ours], Origin::Same),
            (&[], &["https://KZ.example"], Origin::Same),
            (&[], &["http://kz.example"], Origin::Other),
            (&[], &["https://kz.example:8443"], Origin::Other),
            (&[], &["https://kz.example.evil.example"], Origin::Other),
            (&[], &["https://evil.example"], Origin::Other),
            (&[], &["null"], Origin::Other),
            (&[], &[""], Origin::Other),
            (&[], &[ours, ours], Origin::Other),
            (&[], &["https://a@kz.example"], Origin::Other),
        ] {
            assert_eq!(of(&headers(site, origin), "kz.example", true), expected, "{site:?} {origin:?}");
        }
        assert_eq!(of(&headers(&[], &["http://127.0.0.1:8080"]), "127.0.0.1:8080", false), Origin::Same);
        assert_eq!(of(&headers(&[], &["https://127.0.0.1:8080"]), "127.0.0.1:8080", false), Origin::Other);
    }
}
