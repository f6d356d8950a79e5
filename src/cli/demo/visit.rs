//! What one request tells the demo site: its language, cookies and session.
//!
//! The cookies are read as a site does it, not as the gateway does: that is the point of showing them. Never decides
//! about consent. Bound: the request's head, which hyper limits.

use http::header::{ACCEPT_LANGUAGE, COOKIE};
use http::request::Parts;

use crate::pages::language::Language;

/// One request, looked at.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    /// The head as it arrived.
    pub(super) parts: &'a Parts,
    /// Language of the answer.
    pub(super) language: Language,
    /// Every cookie, in the order of arrival.
    pub(super) cookies: Vec<Cookie>,
}

/// A cookie that the site received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    /// Its name.
    pub(super) name: String,
    /// Its value.
    pub(super) value: String,
}

/// What a cookie is for, by the demo's own naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signed in or not.
    Session,
    /// Language and basket.
    Settings,
    /// Counting visits.
    Analytics,
    /// Advertising.
    Advertising,
    /// The gateway's own.
    Gateway,
    /// Set by something else on this computer: cookies are shared by all ports of a host.
    Other,
}

/// What the gateway says about the visitor's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// Advertising is allowed.
    Granted,
    /// It is not, by somebody's word.
    Denied,
    /// It is not, as nobody has chosen.
    Open,
    /// No word: the request did not come through the gateway.
    Unsaid,
}

impl<'a> Visit<'a> {
    /// Looks at a request.
    pub(super) fn new(parts: &'a Parts) -> Self {
        let cookies = cookies(parts);
        let chosen = || Language::from_tag(value_of(&cookies, LANGUAGE)?);
        let browser = || Language::from_accept_language(parts.headers.get(ACCEPT_LANGUAGE)?.as_bytes());
        let language = asked_language(parts).or_else(chosen).or_else(browser).unwrap_or(Language::En);
        Self { parts, language, cookies }
    }

    /// The first value of a cookie.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        value_of(&self.cookies, name)
    }

    /// Whether there is a session. Any will do: there is nothing to protect.
    pub(super) fn is_signed_in(&self) -> bool {
        self.cookie(SESSION).is_some_and(|value| !value.is_empty())
    }

    /// How many teas are in the basket.
    pub(super) fn basket(&self) -> u16 {
        self.cookie(BASKET).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// What the gateway says in `kelisim-consent`.
    pub(super) fn consent(&self) -> Consent {
        let Some(value) = self.parts.headers.get("kelisim-consent").and_then(|v| v.to_str().ok()) else {
            return Consent::Unsaid;
        };
        let mut parts = value.split("; ");
        if parts.next() == Some("advertising=granted") {
            Consent::Granted
        } else if parts.any(|part| part == "source=none") {
            Consent::Open
        } else {
            Consent::Denied
        }
    }
}

impl Kind {
    /// The kind of a cookie by its name.
    pub(super) fn of(name: &str) -> Self {
        match name {
            SESSION => Self::Session,
            LANGUAGE | BASKET => Self::Settings,
            "_ga" | "_ym_uid" => Self::Analytics,
            "_fbp" | "_gcl_au" | "cto_bundle" | "_uetsid" | "tmr_lvid" | "_fbc" | "_ttp" | "adrcid" => {
                Self::Advertising
            }
            _ if name.starts_with("kelisim_") => Self::Gateway,
            _ => Self::Other,
        }
    }
}

/// The language named in the query.
pub(super) fn asked_language(parts: &Parts) -> Option<Language> {
    parts.uri.query().and_then(Language::from_query)
}

fn value_of<'c>(cookies: &'c [Cookie], name: &str) -> Option<&'c str> {
    cookies.iter().find(|cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
}

fn cookies(parts: &Parts) -> Vec<Cookie> {
    let mut all = Vec::new();
    for field in parts.headers.get_all(COOKIE) {
        for pair in String::from_utf8_lossy(field.as_bytes()).split(';') {
            if let Some((name, value)) = pair.trim().split_once('=') {
                all.push(Cookie { name: name.to_owned(), value: value.to_owned() });
            }
        }
    }
    all
}

/// The session cookie.
pub(super) const SESSION: &str = "sessionid";
/// The cookie that remembers the language.
pub(super) const LANGUAGE: &str = "lang";
/// The cookie that counts the teas in the basket.
pub(super) const BASKET: &str = "basket";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_language_is_asked_for_remembered_or_preferred() {
        let accept = ("accept-language", "ru");
        for (uri, headers, expected) in [
            ("/", &[][..], Language::En),
            ("/", &[accept][..], Language::Ru),
            ("/", &[accept, ("cookie", "lang=kk")][..], Language::Kk),
            ("/?lang=en", &[accept, ("cookie", "lang=kk")][..], Language::En),
            ("/?lang=xx", &[accept, ("cookie", "lang=yy")][..], Language::Ru),
        ] {
            assert_eq!(Visit::new(&parts(uri, headers)).language, expected, "{uri} {headers:?}");
        }
    }

    #[test]
    fn cookies_of_all_fields_are_read_in_order() {
        let parts = parts("/", &[("cookie", "a=1; sessionid=x=y;nameless"), ("cookie", "a=2")]);
        let visit = Visit::new(&parts);
        let names: Vec<_> = visit.cookies.iter().map(|c| (c.name.as_str(), c.value.as_str())).collect();
        assert_eq!(names, [("a", "1"), ("sessionid", "x=y"), ("a", "2")]);
        assert!(visit.is_signed_in());
    }

    #[test]
    fn consent_is_read_from_the_gateways_word() {
        for (value, expected) in [
            ("advertising=granted; policy=demo-1; source=own", Consent::Granted),
            ("advertising=denied; policy=demo-1; source=own", Consent::Denied),
            ("advertising=denied; policy=demo-1; source=none", Consent::Open),
        ] {
            assert_eq!(Visit::new(&parts("/", &[("kelisim-consent", value)])).consent(), expected);
        }
        assert_eq!(Visit::new(&parts("/", &[])).consent(), Consent::Unsaid);
    }
}
