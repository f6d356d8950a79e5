//! Which fields of a request may go on: one scan that finds them, one removal.
//!
//! Removes what belongs to this hop (RFC 9110 §7.6.1), what the client listed in `Connection`, names with `_`, and
//! every name that the site trusts because we set it. Runs before our own fields are added, so that nobody can have
//! those removed. Bound: the head.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use smallvec::SmallVec;

use crate::admin::labels::DropReason;
use crate::config::Underscores;
use crate::error::Reason;

/// Names of fields.
pub type Names = SmallVec<[HeaderName; 4]>;

/// What one scan of the head found.
#[derive(Debug, Default)]
pub struct Found {
    remove: SmallVec<[(HeaderName, Option<DropReason>); 8]>,
    upgrade: bool,
    trailers: bool,
    /// Advertising signals and high-entropy client hints: they go on only with a permit.
    pub advertising: Names,
}

impl Found {
    /// The fields that go, with the reason where it is counted; a hop's own fields go without one.
    pub(crate) fn removed(&self) -> impl Iterator<Item = (&HeaderName, Option<DropReason>)> {
        self.remove.iter().map(|(name, why)| (name, *why))
    }
}

/// Looks at every field once.
///
/// # Errors
/// [`Reason::Underscore`] if such names are to be rejected; [`Reason::Malformed`] if `Connection` lists more than
/// [`MOST_LISTED`] names.
pub fn scan(headers: &HeaderMap, underscores: Underscores) -> Result<Found, Reason> {
    let mut found = Found::default();
    for name in headers.keys() {
        let treatment = treatment(name.as_str());
        match treatment {
            Treatment::Pass if underscores == Underscores::Pass => {
                if is_ours_to_a_site_that_reads_underscores(name.as_str()) {
                    found.remove.push((name.clone(), Some(DropReason::Underscore)));
                }
            }
            Treatment::Pass => {
                if name.as_str().as_bytes().contains(&b'_') {
                    if underscores == Underscores::Reject {
                        return Err(Reason::Underscore);
                    }
                    found.remove.push((name.clone(), Some(DropReason::Underscore)));
                }
            }
            Treatment::Remove(why) => found.remove.push((name.clone(), why)),
            Treatment::Advertising => found.advertising.push(name.clone()),
            Treatment::Connection => {
                list(headers, &mut found)?;
                found.remove.push((name.clone(), None));
            }
            Treatment::Upgrade => {
                found.upgrade = true;
                found.remove.push((name.clone(), None));
            }
            Treatment::Te => {
                found.trailers = has_token(headers, &header::TE, "trailers");
                found.remove.push((name.clone(), None));
            }
        }
    }
    Ok(found)
}

/// Whether this is a request for a WebSocket (RFC 6455 §4.1): the only upgrade that is passed on.
#[must_use]
pub fn asks_for_websocket(headers: &HeaderMap, version: Version, found: &Found) -> bool {
    found.upgrade
        && version == Version::HTTP_11
        && has_token(headers, &header::CONNECTION, "upgrade")
        && headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Removes what the scan found, and tells what really was removed.
pub fn remove(headers: &mut HeaderMap, found: &Found, dropped: &mut impl FnMut(DropReason)) {
    for (name, why) in &found.remove {
        if headers.remove(name).is_some()
            && let Some(why) = why
        {
            dropped(*why);
        }
    }
    if found.trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes from an answer what belongs to the connection to the site, and what only a visitor with consent may get.
pub fn clean_answer(headers: &mut HeaderMap, permitted: bool) {
    let mut found = Found::default();
    for name in headers.keys() {
        match name.as_str() {
            "connection" => {
                // More names than an honest site lists: the answer goes on without those that were read.
                let _ = list(headers, &mut found);
                found.remove.push((name.clone(), None));
            }
            "transfer-encoding" | "upgrade" | "te" | "keep-alive" | "proxy-connection"
            | "proxy-authenticate" => {
                found.remove.push((name.clone(), None));
            }
            // Only the gateway speaks in this name; a site that echoes what it received must not tell the visitor.
            ours if ours.starts_with("kelisim-") => found.remove.push((name.clone(), None)),
            other if !permitted && is_advertising_of_answer(other) => found.remove.push((name.clone(), None)),
            _ => {}
        }
    }
    for (name, _) in &found.remove {
        headers.remove(name);
    }
}

/// Fields that start advertising interfaces of the browser, and requests for high-entropy client hints.
fn is_advertising_of_answer(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'a') => {
            matches!(name, "accept-ch" | "ad-auction-signals")
                || name.starts_with("attribution-reporting-register-")
        }
        Some(b'c') => name == "critical-ch",
        Some(b'o') => name == "observe-browsing-topics",
        Some(b's') => name == "shared-storage-write",
        _ => false,
    }
}

enum Treatment {
    Pass,
    Remove(Option<DropReason>),
    Advertising,
    Connection,
    Upgrade,
    Te,
}

/// What becomes of a field with this (lower-case) name. The first byte decides for nearly all.
fn treatment(name: &str) -> Treatment {
    // Fields of the hop are removed as the protocol demands; the others are worth counting.
    const HOP: Treatment = Remove(None);
    const FORGED: Treatment = Remove(Some(DropReason::Forged));
    use Treatment::{Advertising, Connection, Pass, Remove, Te, Upgrade};
    match name.as_bytes().first() {
        Some(b'a') => match name {
            "attribution-reporting-eligible" | "attribution-reporting-support" => Advertising,
            _ => Pass,
        },
        Some(b'c') => match name {
            "connection" => Connection,
            "cf-connecting-ip" | "cf-connecting-ipv6" | "cf-ipcountry" | "client-ip" => FORGED,
            _ => Pass,
        },
        Some(b'd') => match name {
            "device-memory" | "dpr" | "downlink" => Advertising,
            _ => Pass,
        },
        Some(b'e') => match name {
            // Honoured here: the site must not wait for a body that we hold back, nor answer 100 itself.
            "expect" => HOP,
            "ect" => Advertising,
            _ => Pass,
        },
        Some(b'f') => match name {
            "fastly-client-ip" => FORGED,
            _ => Pass,
        },
        Some(b'h') => match name {
            "http2-settings" => HOP,
            _ => Pass,
        },
        Some(b'k') => match name {
            "keep-alive" => HOP,
            _ if name.starts_with("kelisim-") => FORGED,
            _ => Pass,
        },
        Some(b'p') => match name {
            "proxy" => Remove(Some(DropReason::Proxy)),
            "proxy-connection" | "proxy-authenticate" | "proxy-authorization" => HOP,
            _ => Pass,
        },
        Some(b'r') => match name {
            "rtt" => Advertising,
            _ => Pass,
        },
        Some(b's') => advertising_of_s(name),
        Some(b't') => match name {
            "te" => Te,
            "transfer-encoding" => HOP,
            "true-client-ip" => FORGED,
            _ => Pass,
        },
        Some(b'u') => match name {
            "upgrade" => Upgrade,
            _ => Pass,
        },
        Some(b'v') => match name {
            "viewport-width" => Advertising,
            _ => Pass,
        },
        Some(b'w') => match name {
            "width" => Advertising,
            _ => Pass,
        },
        Some(b'x') => match name {
            "x-real-ip"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "x-original-forwarded-for"
            | "x-forwarded"
            | "x-forwarded-by"
            | "x-forwarded-server"
            | "x-forwarded-port"
            | "x-forwarded-ssl"
            | "x-forwarded-scheme"
            | "x-url-scheme"
            | "x-forwarded-prefix"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-original-host"
            | "x-host" => FORGED,
            _ => Pass,
        },
        _ => Pass,
    }
}

/// Whether a site that reads `_` as `-` (CGI, WSGI, Rack, PHP) would take this for a field that it trusts because we
/// set it: then it goes, even where names with `_` may pass.
fn is_ours_to_a_site_that_reads_underscores(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let name = name.replace('_', "-");
    matches!(name.as_str(), "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-request-id")
        || !matches!(treatment(&name), Treatment::Pass)
}

/// Names that begin with `s`: advertising signals, and client hints but the low-entropy ones.
fn advertising_of_s(name: &str) -> Treatment {
    match name {
        "sec-browsing-topics" | "sec-ad-auction-fetch" | "sec-shared-storage-writable" => {
            Treatment::Advertising
        }
        "sec-ch-ua" | "sec-ch-ua-mobile" | "sec-ch-ua-platform" => Treatment::Pass,
        _ if name.starts_with("sec-ch-") => Treatment::Advertising,
        _ => Treatment::Pass,
    }
}

/// Collects what `Connection` lists. Fields that a request cannot do without, or that we set, are not for the client
/// to remove.
fn list(headers: &HeaderMap, found: &mut Found) -> Result<(), Reason> {
    let mut listed = 0;
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if token.is_empty()
                || token.eq_ignore_ascii_case(b"keep-alive")
                || token.eq_ignore_ascii_case(b"close")
            {
                continue;
            }
            listed += 1;
            if listed > MOST_LISTED {
                return Err(Reason::Malformed);
            }
            let Ok(name) = HeaderName::from_bytes(token) else { continue };
            if !PROTECTED.contains(&name.as_str()) {
                found.remove.push((name, Some(DropReason::ConnectionListed)));
            }
        }
    }
    Ok(())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Fields that `Connection` cannot remove. Ours need no mention: they are written afterwards.
const PROTECTED: [&str; 7] =
    ["host", "cookie", "content-length", "content-type", "authorization", "te", "upgrade"];

/// Names that `Connection` may list: each costs a look-up.
pub const MOST_LISTED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn cleaned(fields: &[(&str, &str)]) -> (Vec<String>, Vec<DropReason>) {
        let mut headers = headers(fields);
        let found = scan(&headers, Underscores::Drop).unwrap();
        let mut dropped = Vec::new();
        remove(&mut headers, &found, &mut |why| dropped.push(why));
        (headers.keys().map(ToString::to_string).collect(), dropped)
    }

    #[test]
    fn fields_of_the_hop_stay_here() {
        let (left, _) = cleaned(&[
            ("connection", "keep-alive, x-mine"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "x"),
            ("expect", "100-continue"),
            ("x-mine", "1"),
            ("trailer", "x-t"),
            ("accept", "*/*"),
        ]);
        assert_eq!(left, ["trailer", "accept"]);
    }

    #[test]
    fn connection_cannot_remove_what_the_site_needs() {
        let (left, dropped) = cleaned(&[
            ("connection", "cookie, host, content-length, authorization"),
            ("cookie", "a=b"),
            ("host", "h"),
            ("content-length", "0"),
            ("authorization", "x"),
        ]);
        for name in ["cookie", "host", "content-length", "authorization"] {
            assert!(left.iter().any(|l| l == name), "{name}");
        }
        assert!(dropped.is_empty());
    }

    #[test]
    fn spoofed_fields_go_and_are_counted() {
        let (left, dropped) = cleaned(&[
            ("kelisim-risk", "none"),
            ("kelisim-consent", "advertising=granted"),
            ("x-real-ip", "1.1.1.1"),
            ("x_forwarded_for", "1.1.1.1"),
            ("proxy", "http://evil"),
        ]);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(dropped.iter().filter(|d| **d == DropReason::Forged).count(), 3);
        assert!(dropped.contains(&DropReason::Underscore) && dropped.contains(&DropReason::Proxy));
    }

    #[test]
    fn an_answer_loses_what_is_of_the_hop_and_what_needs_consent() {
        let answer = [
            ("connection", "x-mine, close"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("content-type", "text/html"),
            ("accept-ch", "Sec-CH-UA-Model"),
            ("attribution-reporting-register-source", "x"),
            ("trailer", "x"),
        ];
        let left = |permitted| {
            let mut h = headers(&answer);
            clean_answer(&mut h, permitted);
            let mut names: Vec<String> = h.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(left(false), ["content-type", "trailer"]);
        let all = ["accept-ch", "attribution-reporting-register-source", "content-type", "trailer"];
        assert_eq!(left(true), all);
    }

    #[test]
    fn a_connection_field_that_lists_too_much_is_refused() {
        let names = |n: usize| (0..n).map(|i| format!("x-{i}")).collect::<Vec<_>>().join(", ");
        let scanned = |n| scan(&headers(&[("connection", &names(n))]), Underscores::Drop).map(|_| ());
        assert_eq!(scanned(MOST_LISTED), Ok(()));
        assert_eq!(scanned(MOST_LISTED + 1), Err(Reason::Malformed));
    }

    #[test]
    fn a_site_cannot_speak_in_our_name() {
        let mut h = headers(&[("kelisim-risk", "low"), ("x-other", "1")]);
        clean_answer(&mut h, true);
        assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }

    #[test]
    fn trailers_survive_in_te() {
        let mut h = headers(&[("te", "gzip,\ttrailers"), ("connection", "te")]);
        let found = scan(&h, Underscores::Drop).unwrap();
        remove(&mut h, &found, &mut |_| {});
        assert_eq!(h[header::TE], "trailers");
    }

    #[test]
    fn websocket_needs_both_fields() {
        let asks = |fields: &[(&str, &str)]| {
            let h = headers(fields);
            let found = scan(&h, Underscores::Drop).unwrap();
            asks_for_websocket(&h, Version::HTTP_11, &found)
        };
        assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!asks(&[("upgrade", "websocket")]));
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!asks(&[("connection", "upgrade")]));
    }

    #[test]
    fn high_entropy_hints_wait_for_a_permit_low_entropy_ones_pass() {
        let h = headers(&[
            ("sec-ch-ua", "x"),
            ("sec-ch-ua-model", "x"),
            ("sec-browsing-topics", "x"),
            ("save-data", "on"),
        ]);
        let found = scan(&h, Underscores::Drop).unwrap();
        let names: Vec<_> = found.advertising.iter().map(HeaderName::as_str).collect();
        assert_eq!(names, ["sec-ch-ua-model", "sec-browsing-topics"]);
    }

    #[test]
    fn underscores_can_be_refused() {
        let h = headers(&[("x_y", "1")]);
        assert!(matches!(scan(&h, Underscores::Reject), Err(Reason::Underscore)));
        assert!(scan(&h, Underscores::Pass).unwrap().remove.is_empty());
    }

    #[test]
    fn underscores_that_pass_cannot_forge_a_field_of_ours() {
        let h = headers(&[
            ("x_forwarded_for", "1.1.1.1"),
            ("x_forwarded-proto", "https"),
            ("x_request_id", "x"),
            ("kelisim_risk", "none"),
            ("x_real_ip", "1.1.1.1"),
            ("sec_browsing_topics", "x"),
        ]);
        assert_eq!(scan(&h, Underscores::Pass).unwrap().remove.len(), 6);
    }
}
