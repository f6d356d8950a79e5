//! Paths that need acceptance of the policy in force, such as a sign-up form.
//!
//! [`Gate::requires`] reads a path in every way in which a server behind us may read it; if one reading lies under a
//! gated prefix, or comes by one on the way of its `..`, the gate holds. Upper and lower case are the same. So an odd
//! spelling can meet the gate without need, never go round it. Never looks at a body. Bound: six readings of one path.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::Full;

use super::form;
use super::policy::VersionId;
use super::precedence::Decision;
use super::reply;
use super::return_path;
use crate::pages;
use crate::pages::consent::Cause;
use crate::pages::language::Language;

/// The gated prefixes of one site.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// Segments of each prefix.
    prefixes: Vec<Vec<Vec<u8>>>,
}

impl Gate {
    /// Compiles path prefixes; `/` gates everything.
    #[must_use]
    pub fn new(prefixes: &[String]) -> Self {
        let segments = |prefix: &String| {
            let path = form::percent_decode(prefix.as_bytes());
            resolve(&path).into_iter().map(<[u8]>::to_vec).collect()
        };
        Self { prefixes: prefixes.iter().map(segments).collect() }
    }

    /// Whether nothing is gated.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether a raw request path (without its query) lies under a gated prefix.
    #[must_use]
    pub fn requires(&self, path: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let raw = path.as_bytes();
        if !raw.iter().any(|b| matches!(b, b'%' | b'\\')) {
            // All readings are the same.
            return self.is_on_the_way(raw, Separators::Slash);
        }
        let once = form::percent_decode(raw);
        // A server that decodes twice is wrong, and exists.
        let twice = form::percent_decode(&once);
        [raw, &once, &twice].iter().any(|reading| {
            [Separators::Slash, Separators::SlashAndBackslash]
                .into_iter()
                .any(|how| self.is_on_the_way(reading, how))
        })
    }

    /// The answer for a request that must not pass; `None` lets it pass. `path` and `query` are raw, `prefix` is that of
    /// our own endpoints, `site` the language of our pages where the visitor states none.
    #[must_use]
    pub fn check(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        decision: &Decision,
        (prefix, site): (&str, Language),
    ) -> Option<Response<Full<Bytes>>> {
        // Without a version in force there is nothing to accept.
        if decision.policy_accepted || decision.policy_version == VersionId::NONE || !self.requires(path) {
            return None;
        }
        if matches!(*method, Method::GET | Method::HEAD) && is_navigation(headers) {
            let address = match query {
                Some(query) if path.len() + query.len() < return_path::PATH_BYTES => {
                    format!("{path}?{query}")
                }
                _ => path.to_owned(),
            };
            return Some(reply::see_other(&format!("{prefix}?return={}", form::encode(&address))));
        }
        // A person sent a form. Sent elsewhere it would be lost; by the browser's way back it is there again.
        if is_navigation(headers) {
            let accepted = headers.get(header::ACCEPT_LANGUAGE);
            let stated = accepted.and_then(|value| Language::from_accept_language(value.as_bytes()));
            let language = stated.unwrap_or(site);
            let page = pages::consent::problem(language, prefix, Cause::NotAccepted);
            return Some(reply::vary(reply::page(StatusCode::FORBIDDEN, language, page), "Accept-Language"));
        }
        let body = Refusal {
            error: "policy_not_accepted",
            policy_version: decision.policy_version.as_str(),
            page: prefix,
        };
        Some(reply::json(StatusCode::FORBIDDEN, &body))
    }

    /// Whether the path is under a prefix at any step: servers differ in which `..` they follow.
    fn is_on_the_way(&self, path: &[u8], separators: Separators) -> bool {
        let mut at = Vec::new();
        let mut met = self.covers(&at);
        for piece in pieces(path, separators) {
            step(&mut at, piece);
            met |= self.covers(&at);
        }
        met
    }

    fn covers(&self, path: &[&[u8]]) -> bool {
        let same = |(want, have): (&Vec<u8>, &&[u8])| want.eq_ignore_ascii_case(have);
        self.prefixes.iter().any(|prefix| prefix.len() <= path.len() && prefix.iter().zip(path).all(same))
    }
}

/// The body for what is not a navigation.
#[derive(serde::Serialize)]
struct Refusal<'a> {
    error: &'static str,
    policy_version: &'a str,
    page: &'a str,
}

/// What separates the segments of a path for the server that reads it.
#[derive(Clone, Copy)]
enum Separators {
    Slash,
    SlashAndBackslash,
}

fn pieces(path: &[u8], separators: Separators) -> impl Iterator<Item = &[u8]> {
    let backslash = matches!(separators, Separators::SlashAndBackslash);
    path.split(move |&b| b == b'/' || (backslash && b == b'\\'))
}

/// Goes one piece on: cuts `;parameters`, drops empty and `.` segments, follows `..`.
fn step<'a>(at: &mut Vec<&'a [u8]>, piece: &'a [u8]) {
    match piece.split(|&b| b == b';').next().unwrap_or_default() {
        b"" | b"." => {}
        b".." => {
            at.pop();
        }
        segment => at.push(segment),
    }
}

fn resolve(path: &[u8]) -> Vec<&[u8]> {
    let mut at = Vec::new();
    pieces(path, Separators::SlashAndBackslash).for_each(|piece| step(&mut at, piece));
    at
}

/// Whether a browser asks for a page: by fetch metadata where it sends them, else by `Accept`.
fn is_navigation(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    match (text("sec-fetch-mode"), text("sec-fetch-dest")) {
        (Some(mode), _) => mode == b"navigate",
        (None, Some(dest)) => dest == b"document",
        (None, None) => headers
            .get(header::ACCEPT)
            .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::clock::Timestamp;
    use crate::consent::{Signals, SiteConsent, decide};

    fn gate(prefixes: &[&str]) -> Gate {
        Gate::new(&prefixes.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let gate = gate(&["/register", "/account/new/"]);
        for path in ["/register", "/register/", "/register/x", "/account/new", "/account/new/x"] {
            assert!(gate.requires(path), "{path}");
        }
        for path in ["/", "/registered", "/x/register", "/account", "/account/newer", "", "*"] {
            assert!(!gate.requires(path), "{path}");
        }
    }

    #[test]
    fn no_spelling_goes_round_it() {
        let gate = gate(&["/register"]);
        for path in [
            "//register",
            "/./register",
            "/x/../register",
            "/x/%2e%2e/register",
            "/x/.%2E/register",
            "/%72egister",
            "/%2572egister",
            "/register%2Fx",
            "/%2Fregister",
            "/x%2F..%2Fregister",
            "/register/..%2Fx",
            "/register;a=b",
            "/register;a=b/x",
            "/x;/../register",
            "\\register",
            "/x\\..\\register",
            "/x%5c..%5cregister",
            "/../../register",
            "///../register/.",
        ] {
            assert!(gate.requires(path), "{path}");
        }
        for path in ["/registe%72x", "/%zzregister"] {
            assert!(!gate.requires(path), "{path}");
        }
    }

    #[test]
    fn servers_that_differ_about_case_backslash_and_parameters_find_no_way_round() {
        let gate = gate(&["/register"]);
        for path in [
            "/Register",
            "/REGISTER/x",
            // To a server for which `\` is a letter this is /register.
            "/foo\\bar/../register",
            "/foo%5Cbar/../register",
            // To one that leaves `..`, `..;` or `..\x` alone these are below /register.
            "/register/../x",
            "/register/..;/",
            "/register/..\\x",
        ] {
            assert!(gate.requires(path), "{path}");
        }
    }

    #[test]
    fn the_root_gates_everything_and_an_empty_list_nothing() {
        assert!(gate(&["/"]).requires("/x"));
        assert!(!gate(&[]).requires("/x"));
        assert!(gate(&["/кіру"]).requires("/%D0%BA%D1%96%D1%80%D1%83"));
        assert!(gate(&["/%D0%BA%D1%96%D1%80%D1%83"]).requires("/%D0%BA%D1%96%D1%80%D1%83"));
    }

    fn check(
        method: &Method,
        path: &str,
        query: Option<&str>,
        header: Option<(&'static str, &'static str)>,
        decision: &Decision,
    ) -> Option<(u16, String)> {
        let site = SiteConsent::for_test();
        let headers = header
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        site.gate.check(method, path, query, &headers, decision, (&site.prefix, site.language)).map(
            |response| {
                let location = response.headers().get("location").map_or("", |l| l.to_str().unwrap());
                assert_eq!(response.headers()["cache-control"], "no-store");
                (response.status().as_u16(), location.to_owned())
            },
        )
    }

    /// A version that came into force while the form was open is no reason to show a person JSON.
    #[test]
    fn a_form_that_a_person_sent_is_answered_by_a_page() {
        let site = SiteConsent::for_test();
        let decision = decide(&Signals::default(), &site.rules, Timestamp::from_secs(1_795_341_600));
        let kind = |fields: &[(&'static str, &'static str)]| {
            let fields = fields
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
            let headers = fields.collect();
            let answer = site.gate.check(
                &Method::POST,
                "/register",
                None,
                &headers,
                &decision,
                ("/.kelisim/", Language::En),
            );
            let answer = answer.expect("a refusal");
            assert_eq!(answer.status(), 403);
            let text =
                |name| answer.headers().get(name).map(|v: &HeaderValue| v.to_str().unwrap().to_owned());
            (text("content-type"), text("content-language"))
        };
        let html = Some("text/html; charset=utf-8".to_owned());
        let page = ("sec-fetch-mode", "navigate");
        assert_eq!(kind(&[page, ("accept-language", "ru")]), (html.clone(), Some("ru".into())));
        assert_eq!(kind(&[("accept", "text/html")]), (html, Some("en".into())));
        assert_eq!(kind(&[("sec-fetch-mode", "cors")]), (Some("application/json".into()), None));
    }

    #[test]
    fn navigations_are_sent_to_the_page_and_others_refused() {
        let site = SiteConsent::for_test();
        let mut decision = decide(&Signals::default(), &site.rules, Timestamp::from_secs(1_795_341_600));
        let page = Some(("accept", "text/html,*/*"));
        assert_eq!(
            check(&Method::GET, "/register", None, page, &decision),
            Some((303, "/.kelisim/?return=/register".into()))
        );
        assert_eq!(
            check(&Method::GET, "/register", Some("a=1&b=//x"), page, &decision),
            Some((303, "/.kelisim/?return=/register%3Fa%3D1%26b%3D//x".into()))
        );
        let long = "q".repeat(return_path::PATH_BYTES);
        assert_eq!(
            check(&Method::HEAD, "/register", Some(&long), page, &decision),
            Some((303, "/.kelisim/?return=/register".into()))
        );
        let refused = Some((403, String::new()));
        assert_eq!(check(&Method::POST, "/register", None, page, &decision), refused);
        assert_eq!(check(&Method::GET, "/register", None, None, &decision), refused);
        assert_eq!(
            check(&Method::GET, "/register", None, Some(("sec-fetch-mode", "cors")), &decision),
            refused
        );
        assert_eq!(
            check(&Method::GET, "/register", None, Some(("sec-fetch-dest", "image")), &decision),
            refused
        );
        assert!(matches!(
            check(&Method::GET, "/register", None, Some(("sec-fetch-mode", "navigate")), &decision),
            Some((303, _))
        ));
        assert_eq!(check(&Method::POST, "/other", None, None, &decision), None);
        decision.policy_accepted = true;
        assert_eq!(check(&Method::POST, "/register", None, None, &decision), None);
        decision.policy_accepted = false;
        decision.policy_version = VersionId::NONE;
        assert_eq!(check(&Method::POST, "/register", None, None, &decision), None);
    }
}
