//! Which fields of a request may go on, and which the record needs: one look at each name, then what has to go is removed.
//!
//! Removes what belongs to this hop (RFC 9110 §7.6.1), what the client listed in `Connection`, names with `_`, and
//! every name that the site trusts because we set it. Runs before our own fields are added, so that nobody can have
//! those removed. What a name means stands in [`super::names`]. Bound: the head.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use smallvec::SmallVec;

use super::names::{Class, class, look_up};
use crate::admin::labels::DropReason;
use crate::config::Underscores;
use crate::error::Reason;
use crate::record::kept::Kept;

/// Names of fields.
pub type Names = SmallVec<[HeaderName; 4]>;

/// What the treatment of a name depends on besides the name.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What is done with names that have a `_`.
    pub underscores: Underscores,
    /// Whether the peer is a proxy that the site trusts: then what it says of the client is no forgery.
    pub trusted: bool,
}

/// What one look at the head found.
#[derive(Debug, Default)]
pub struct Found {
    /// Fields that say where the body ends.
    pub framing: bool,
    /// `Expect`.
    pub expects: bool,
    /// `Upgrade`.
    pub upgrade: bool,
    /// Advertising signals and high-entropy client hints: they go on only with a permit.
    pub advertising: Names,
    /// A field of the chain of proxies.
    pub chain: bool,
    /// Another field that only we write.
    pub ours: bool,
    trailers: bool,
    remove: Names,
}

/// Looks at every name once: keeps the texts that the record needs, and tells which fields that matter will not be passed
/// on.
///
/// # Errors
/// [`Reason::Underscore`] if such names are to be rejected; [`Reason::Malformed`] if `Connection` lists more than
/// [`MOST_LISTED`] names.
pub fn scan(
    headers: &HeaderMap,
    rules: Rules,
    kept: &mut Kept,
    dropped: &mut impl FnMut(DropReason),
) -> Result<Found, Reason> {
    let mut found = Found::default();
    let mut before: Option<&HeaderName> = None;
    for (name, value) in headers {
        // Every value comes with its name; those of one name come together.
        if before.replace(name).is_some_and(|before| std::ptr::eq(before, name)) {
            continue;
        }
        let (class, place) = look_up(name.as_str());
        if let Some(place) = place {
            kept.keep(place, value.as_bytes());
        }
        let goes = match class {
            Class::Plain | Class::Head | Class::Kept => continue,
            Class::AsksHints | Class::Permissions => continue,
            Class::Length => {
                found.framing = true;
                continue;
            }
            Class::Chain => {
                found.chain = true;
                if !rules.trusted {
                    dropped(DropReason::ClientAddress);
                }
                None
            }
            Class::Advertising | Class::ClientHint => {
                found.advertising.push(name.clone());
                continue;
            }
            Class::Relayed if rules.trusted => continue,
            Class::Underscore => match rules.underscores {
                Underscores::Pass if !is_ours_to_a_site_that_reads_underscores(name.as_str()) => continue,
                Underscores::Reject => return Err(Reason::Underscore),
                Underscores::Pass | Underscores::Drop => Some(DropReason::Underscore),
            },
            Class::Connection => {
                list(headers, &mut found.remove, dropped)?;
                None
            }
            Class::Coding => {
                found.framing = true;
                None
            }
            Class::Te => {
                found.trailers = has_token(headers, &header::TE, b"trailers");
                None
            }
            Class::Upgrade => {
                found.upgrade = true;
                None
            }
            Class::Expect => {
                found.expects = true;
                None
            }
            // It is written anew.
            Class::Ours => {
                found.ours = true;
                None
            }
            // Fields of the hop are removed as the protocol demands; the others are worth counting.
            Class::Hop => None,
            Class::Proxy => Some(DropReason::Proxy),
            Class::Kelisim => Some(DropReason::Forged),
            Class::ClientAddress => (!rules.trusted).then_some(DropReason::ClientAddress),
            Class::Forged | Class::Relayed => (!rules.trusted).then_some(DropReason::Forged),
        };
        if let Some(why) = goes {
            dropped(why);
        }
        found.remove.push(name.clone());
    }
    Ok(found)
}

/// Whether this is a request for a WebSocket (RFC 6455 §4.1): the only upgrade that is passed on. Both fields are lists.
#[must_use]
pub fn asks_for_websocket(headers: &HeaderMap, method: &Method, version: Version, found: &Found) -> bool {
    found.upgrade
        && version == Version::HTTP_11
        && method == Method::GET
        && has_token(headers, &header::CONNECTION, b"upgrade")
        && has_token(headers, &header::UPGRADE, b"websocket")
}

/// Removes what was found.
pub fn remove(headers: &mut HeaderMap, found: &Found) {
    for name in &found.remove {
        headers.remove(name);
    }
    if found.trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// What of an answer may go on to the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// What speaks to an advertising interface: with a permit.
    pub advertising: bool,
    /// What asks for client hints: only where nothing is enforced, since the gateway asks for none.
    pub hints: bool,
}

/// What one look at an answer's head found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The site sent a `Permissions-Policy`.
    pub permissions: bool,
    /// Something that speaks to an advertising interface was removed.
    pub advertising: bool,
    /// Something that asks for client hints was removed.
    pub hints: bool,
}

/// Removes from an answer what belongs to the connection to the site, and what the visitor may not get.
pub fn clean_answer(headers: &mut HeaderMap, passes: Passes) -> Cleaned {
    let mut remove = Names::new();
    let mut cleaned = Cleaned::default();
    for name in headers.keys() {
        match class(name.as_str()) {
            class if class.is_of_the_hop() => {
                if class == Class::Connection {
                    // More names than an honest site lists: the answer goes on without those that were read.
                    let _ = list(headers, &mut remove, &mut |_| {});
                }
            }
            // A site that echoes what it received must not tell the visitor.
            Class::Kelisim => {}
            Class::Advertising if !passes.advertising => cleaned.advertising = true,
            Class::AsksHints if !passes.hints => cleaned.hints = true,
            Class::Permissions => {
                cleaned.permissions = true;
                continue;
            }
            _ => continue,
        }
        remove.push(name.clone());
    }
    for name in &remove {
        headers.remove(name);
    }
    cleaned
}

/// Whether a site that reads `_` as `-` (CGI, WSGI, Rack, PHP) would take this for a field that it trusts because we
/// set or remove it: then it goes, even where names with `_` may pass.
fn is_ours_to_a_site_that_reads_underscores(name: &str) -> bool {
    let class = class(&name.replace('_', "-"));
    !matches!(
        class,
        Class::Plain | Class::Head | Class::Kept | Class::Length | Class::AsksHints | Class::Permissions
    )
}

/// Collects what `Connection` lists. Fields that a site cannot do without, or that we set, are not for the client to
/// remove: that is counted.
fn list(headers: &HeaderMap, remove: &mut Names, dropped: &mut impl FnMut(DropReason)) -> Result<(), Reason> {
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
            if class(name.as_str()).is_protected() {
                dropped(DropReason::ConnectionListed);
            } else {
                remove.push(name);
            }
        }
    }
    Ok(())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
}

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

    const RULES: Rules = Rules { underscores: Underscores::Drop, trusted: false };

    fn scanned(headers: &HeaderMap, underscores: Underscores) -> Result<Found, Reason> {
        scan(headers, Rules { underscores, ..RULES }, &mut Kept::default(), &mut |_| {})
    }

    fn cleaned(fields: &[(&str, &str)]) -> (Vec<String>, Vec<DropReason>) {
        let mut headers = headers(fields);
        let mut dropped = Vec::new();
        let found = scan(&headers, RULES, &mut Kept::default(), &mut |why| dropped.push(why)).unwrap();
        remove(&mut headers, &found);
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
        assert_eq!(dropped, [DropReason::ConnectionListed; 4]);
    }

    #[test]
    fn of_the_names_in_which_only_we_speak_none_is_left() {
        let names = "x-forwarded-for x-forwarded-proto x-forwarded-host forwarded x-request-id x-real-ip \
                     kelisim-consent kelisim-risk kelisim-signals kelisim-anything";
        let given: Vec<_> = names.split(' ').flat_map(|name| [(name, "evil"), (name, "evil2")]).collect();
        for trusted in [false, true] {
            let mut headers = headers(&given);
            let found =
                scan(&headers, Rules { trusted, ..RULES }, &mut Kept::default(), &mut |_| {}).unwrap();
            remove(&mut headers, &found);
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    #[test]
    fn what_a_trusted_proxy_says_is_no_forgery() {
        let given = headers(&[
            ("x-real-ip", "1.1.1.1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-user", "a"),
            ("x-original-url", "/"),
            ("kelisim-risk", "none"),
        ]);
        let left = |trusted| {
            let (mut headers, mut dropped) = (given.clone(), Vec::new());
            let found = scan(&headers, Rules { trusted, ..RULES }, &mut Kept::default(), &mut |why| {
                dropped.push(why);
            })
            .unwrap();
            remove(&mut headers, &found);
            let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            (names, dropped)
        };
        use DropReason::{ClientAddress, Forged};
        assert_eq!(left(true), (vec!["x-forwarded-user".into()], vec![Forged]));
        let (names, mut dropped) = left(false);
        dropped.sort_by_key(|why| *why as u8);
        assert!(names.is_empty(), "{names:?}");
        assert_eq!(dropped, [Forged, Forged, Forged, ClientAddress, ClientAddress]);
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
        assert_eq!(dropped.iter().filter(|d| **d == DropReason::Forged).count(), 2);
        assert!(dropped.contains(&DropReason::ClientAddress));
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
        let left = |advertising, hints| {
            let mut h = headers(&answer);
            let cleaned = clean_answer(&mut h, Passes { advertising, hints });
            assert_eq!((cleaned.advertising, cleaned.hints), (!advertising, !hints));
            let mut names: Vec<String> = h.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(left(false, false), ["content-type", "trailer"]);
        assert_eq!(left(true, false), ["attribution-reporting-register-source", "content-type", "trailer"]);
        let all = ["accept-ch", "attribution-reporting-register-source", "content-type", "trailer"];
        assert_eq!(left(true, true), all);
    }

    #[test]
    fn a_connection_field_that_lists_too_much_is_refused() {
        let names = |n: usize| (0..n).map(|i| format!("x-{i}")).collect::<Vec<_>>().join(", ");
        let scanned = |n| {
            scan(&headers(&[("connection", &names(n))]), RULES, &mut Kept::default(), &mut |_| {}).map(|_| ())
        };
        assert_eq!(scanned(MOST_LISTED), Ok(()));
        assert_eq!(scanned(MOST_LISTED + 1), Err(Reason::Malformed));
    }

    #[test]
    fn a_site_cannot_speak_in_our_name() {
        let mut h = headers(&[("kelisim-risk", "low"), ("x-other", "1")]);
        clean_answer(&mut h, Passes { advertising: true, hints: true });
        assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }

    #[test]
    fn a_field_that_comes_twice_is_looked_at_once_and_its_first_value_kept() {
        let h =
            headers(&[("x_y", "1"), ("user-agent", "a"), ("x_y", "2"), ("user-agent", "b"), ("x_y", "3")]);
        let (mut kept, mut dropped) = (Kept::default(), 0);
        scan(&h, RULES, &mut kept, &mut |_| dropped += 1).unwrap();
        assert_eq!((kept.user_agent(), dropped), (Some(&b"a"[..]), 1));
    }

    #[test]
    fn trailers_survive_in_te() {
        let mut h = headers(&[("te", "gzip,\ttrailers"), ("connection", "te")]);
        let found = scanned(&h, Underscores::Drop).unwrap();
        remove(&mut h, &found);
        assert_eq!(h[header::TE], "trailers");
    }

    #[test]
    fn websocket_needs_both_fields() {
        let asks = |fields: &[(&str, &str)]| {
            let h = headers(fields);
            let found = scanned(&h, Underscores::Drop).unwrap();
            asks_for_websocket(&h, &Method::GET, Version::HTTP_11, &found)
        };
        assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(asks(&[("connection", "Upgrade"), ("upgrade", "h2c, websocket")]));
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
        let found = scanned(&h, Underscores::Drop).unwrap();
        let names: Vec<_> = found.advertising.iter().map(HeaderName::as_str).collect();
        assert_eq!(names, ["sec-ch-ua-model", "sec-browsing-topics"]);
    }

    #[test]
    fn underscores_can_be_refused() {
        let h = headers(&[("x_y", "1")]);
        assert!(matches!(scanned(&h, Underscores::Reject), Err(Reason::Underscore)));
        assert!(scanned(&h, Underscores::Pass).unwrap().remove.is_empty());
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
        assert_eq!(scanned(&h, Underscores::Pass).unwrap().remove.len(), 6);
    }
}
