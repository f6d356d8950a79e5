//! `/received` and `/received.json`: what the site received in that very request.
//!
//! Shows the request's own head to whoever sent it; never another's. Bound: the head.

use http::HeaderMap;
use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::pages::page;
use super::texts::{Kinds, texts};
use super::visit::{Consent, Kind, Visit};

/// The page.
pub(super) fn received(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    let (class, state) = match visit.consent() {
        Consent::Granted => ("state yes", t.allowed),
        Consent::Denied | Consent::Open => ("state no", t.refused),
        Consent::Unsaid => ("state", t.no_gateway),
    };
    let names: Vec<&str> = visit.cookies.iter().map(|cookie| cookie.name.as_str()).collect();
    // A list of strings always has a JSON form, so the fallback is never taken.
    let names = serde_json::to_string(&names).unwrap_or_else(|_| "[]".into());
    let body = html! {
        h1 { (t.received_title) }
        p.lead { (t.received_lead) }
        p class=(class) { (state) }
        div.actions {
            a.button href={ "/.kelisim/?return=/received&lang=" (visit.language.tag()) } { (t.change) }
            a.button.quiet href="/received" { (t.again) }
            a.button.quiet href="/received.json" { (t.as_json) }
        }
        h2 { (t.cookies) }
        (cookies(visit))
        section id="compare" hidden {
            h2 { (t.kept_back) }
            p.small { (t.kept_back_text) }
            ul.list id="kept-back" data-received=(names) {}
        }
        h2 { (t.headers) }
        p.small { (t.headers_text) }
        (headers(visit))
        script { (PreEscaped(include_str!("received.js"))) }
    };
    page(visit, t.received_title, &body)
}

fn cookies(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    html! {
        @if visit.cookies.is_empty() {
            p { (t.no_cookies) }
        } @else {
            ul.list {
                @for cookie in &visit.cookies {
                    @let (class, label) = badge(Kind::of(&cookie.name), &t.kinds);
                    li {
                        code { (cookie.name) }
                        span class={ "badge " (class) } { (label) }
                        code.value { (cookie.value) }
                    }
                }
            }
        }
    }
}

fn headers(visit: &Visit<'_>) -> Markup {
    let all = visit.parts.headers.iter();
    let mut shown: Vec<_> = all.filter(|(name, _)| is_the_gateways(name.as_str())).collect();
    // The decisions first.
    shown.sort_by_key(|(name, _)| !name.as_str().starts_with("kelisim-"));
    html! {
        @if shown.is_empty() {
            p { (texts(visit.language).no_headers) }
        } @else {
            ul.list {
                @for (name, value) in shown {
                    li { code { (name.as_str()) } code.value { (String::from_utf8_lossy(value.as_bytes())) } }
                }
            }
        }
    }
}

const fn badge(kind: Kind, names: &Kinds) -> (&'static str, &'static str) {
    match kind {
        Kind::Session => ("session", names.session),
        Kind::Settings => ("settings", names.settings),
        Kind::Analytics => ("analytics", names.analytics),
        Kind::Advertising => ("advertising", names.advertising),
        Kind::Gateway => ("gateway", names.gateway),
        Kind::Other => ("other", names.other),
    }
}

/// Whether the gateway sets or removes a header on every request.
fn is_the_gateways(name: &str) -> bool {
    name.starts_with("kelisim-")
        || name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-request-id")
}

/// The request's head as JSON: method, target, all `Cookie` fields as they came, and all headers in order of arrival.
#[derive(Serialize)]
struct Received<'a> {
    method: &'a str,
    target: String,
    cookie: Option<String>,
    headers: serde_json::Map<String, serde_json::Value>,
}

/// The JSON.
pub(super) fn json(visit: &Visit<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let cookies: Vec<_> = visit.parts.headers.get_all(http::header::COOKIE).iter().map(text).collect();
    let received = Received {
        method: visit.parts.method.as_str(),
        target: visit.parts.uri.to_string(),
        cookie: Some(cookies.join("; ")).filter(|_| !cookies.is_empty()),
        headers: headers_by_name(&visit.parts.headers),
    };
    let mut json = serde_json::to_vec_pretty(&received)?;
    json.push(b'\n');
    Ok(json)
}

/// One string per name; several fields of a name are joined as a list, as RFC 9110 section 5.3 allows.
fn headers_by_name(headers: &HeaderMap) -> serde_json::Map<String, serde_json::Value> {
    let of_name = |name| {
        let all: Vec<_> = headers.get_all(name).iter().map(text).collect();
        // The one field that may not be joined by commas (RFC 6265 section 5.4).
        all.join(if name == http::header::COOKIE { "; " } else { ", " })
    };
    headers.keys().map(|name| (name.as_str().to_owned(), of_name(name).into())).collect()
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::request::Parts;

    use super::*;

    fn parts() -> Parts {
        let request = Request::get("/received")
            .header("cookie", "sessionid=1; _fbp=<b>; _ga=2; kelisim_choice=0")
            .header("cookie", "x=y")
            .header("kelisim-consent", "advertising=denied; policy=demo-1; source=own")
            .header("x-forwarded-for", "127.0.0.1")
            .header("x-private", "not shown on the page");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn each_cookie_has_its_badge_and_is_escaped() {
        let parts = parts();
        let page = received(&Visit::new(&parts)).into_string();
        for (name, class) in [
            ("sessionid", "session"),
            ("_fbp", "advertising"),
            ("_ga", "analytics"),
            ("kelisim_choice", "gateway"),
            ("x", "other"),
        ] {
            assert!(page.contains(&format!("<code>{name}</code><span class=\"badge {class}\">")), "{name}");
        }
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"));
    }

    #[test]
    fn only_the_gateways_headers_are_on_the_page() {
        let parts = parts();
        let page = received(&Visit::new(&parts)).into_string();
        assert!(page.contains("x-forwarded-for") && page.contains("kelisim-consent"));
        assert!(!page.contains("x-private"));
    }

    #[test]
    fn json_has_the_raw_cookies_and_every_header() {
        let parts = parts();
        let json: serde_json::Value = serde_json::from_slice(&json(&Visit::new(&parts)).unwrap()).unwrap();
        assert_eq!(json["cookie"], "sessionid=1; _fbp=<b>; _ga=2; kelisim_choice=0; x=y");
        assert_eq!(json["headers"]["x-forwarded-for"], "127.0.0.1");
        assert_eq!((&json["method"], &json["target"]), (&"GET".into(), &"/received".into()));
    }

    #[test]
    fn without_cookies_the_field_is_null() {
        let parts = Request::get("/").body(()).unwrap().into_parts().0;
        let json: serde_json::Value = serde_json::from_slice(&json(&Visit::new(&parts)).unwrap()).unwrap();
        assert!(json["cookie"].is_null());
    }
}
