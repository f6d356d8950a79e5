//! The demo site: a request in, an answer out.
//!
//! It behaves as many sites do: it signs people in, and sets cookies for statistics and advertising without asking.
//! Keeps nothing. What takes time (uploads, events, waiting) is in `server`. Bound: a body of [`BODY_BYTES`].

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use maud::Markup;

use super::body::Body;
use super::visit::{BASKET, LANGUAGE, SESSION, Visit, asked_language};
use super::{pages, received};
use crate::clock::Timestamp;

/// What would make an answer different each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Now.
    pub(super) now: Timestamp,
    /// Random: for the session and for the trackers' identifiers.
    pub(super) random: u128,
}

/// The answer to a request whose body, if any, is `body`.
pub(super) fn answer(parts: &Parts, body: &[u8], moment: Moment) -> Response<Body> {
    let visit = Visit::new(parts);
    let get = matches!(parts.method, Method::GET | Method::HEAD);
    let post = parts.method == Method::POST;
    let path = parts.uri.path();
    let mut response = match path {
        "/" if get => home(&visit, moment),
        "/shop" if get => page(StatusCode::OK, pages::shop(&visit)),
        "/basket" if post => add_to_basket(&visit),
        "/login" if get => page(StatusCode::OK, pages::login(&visit, false)),
        "/login" if post => log_in(&visit, body, moment),
        "/logout" if get || post => log_out(),
        "/account" if get && visit.is_signed_in() => page(StatusCode::OK, pages::account(&visit)),
        "/account" if get => see_other("/login"),
        "/register" if get || post => page(StatusCode::OK, pages::register(&visit, post)),
        "/received" if get => page(StatusCode::OK, received::received(&visit)),
        "/received.json" if get => received_json(&visit),
        "/events" if get => page(StatusCode::OK, pages::events(&visit)),
        "/upload" if get => page(StatusCode::OK, pages::upload(&visit, None)),
        "/slow" if get => text(StatusCode::OK, "done\n"),
        "/basket" | "/upload" => not_allowed(&visit, "POST"),
        "/login" | "/logout" | "/register" => not_allowed(&visit, "GET, HEAD, POST"),
        _ => match odd(path) {
            Some(odd) if get => odd,
            None if get => page(StatusCode::NOT_FOUND, pages::not_found(&visit)),
            _ => not_allowed(&visit, "GET, HEAD"),
        },
    };
    if let Some(language) = asked_language(parts) {
        let cookie = format!("{LANGUAGE}={}; Path=/; Max-Age=31536000; SameSite=Lax", language.tag());
        add(&mut response, SET_COOKIE, &cookie);
    }
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A page that says that something did not work.
pub(super) fn failed(parts: &Parts, status: StatusCode) -> Response<Body> {
    page(status, pages::failed(&Visit::new(parts)))
}

/// A plain text.
pub(super) fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = whole(status, "text/plain; charset=utf-8", text);
    // Nothing here is worth a copy anywhere.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page.
pub(super) fn page(status: StatusCode, page: Markup) -> Response<Body> {
    whole(status, "text/html; charset=utf-8", page.into_string())
}

/// An answer of one piece.
pub(super) fn whole(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The home page with the cookies of one statistics and five advertising services, each time, as they do it.
fn home(visit: &Visit<'_>, moment: Moment) -> Response<Body> {
    let mut response = page(StatusCode::OK, pages::home(visit));
    let Moment { now, random } = moment;
    let (seconds, number) = (now.as_secs(), random % 10_000_000_000);
    for (name, value, days) in [
        ("_ga", format!("GA1.1.{number}.{seconds}"), 400),
        ("_fbp", format!("fb.0.{}.{number}", now.as_micros() / 1000), 90),
        ("_gcl_au", format!("1.1.{number}.{seconds}"), 90),
        ("cto_bundle", format!("{random:032x}{:032x}", !random), 390),
        ("_uetsid", format!("{:032x}", random.rotate_left(32)), 1),
        ("tmr_lvid", format!("{:032x}", random.rotate_left(64)), 365),
    ] {
        // A known browser keeps its identifier and gets a later end.
        let value = visit.cookie(name).unwrap_or(&value);
        add(&mut response, SET_COOKIE, &format!("{name}={value}; Path=/; Max-Age={}", days * 86_400));
    }
    response
}

fn add_to_basket(visit: &Visit<'_>) -> Response<Body> {
    let mut response = see_other("/shop");
    let cookie = format!("{BASKET}={}; Path=/; SameSite=Lax", visit.basket().saturating_add(1));
    add(&mut response, SET_COOKIE, &cookie);
    response
}

fn log_in(visit: &Visit<'_>, body: &[u8], moment: Moment) -> Response<Body> {
    let named =
        body.split(|&b| b == b'&').any(|pair| pair.strip_prefix(b"name=").is_some_and(|v| !v.is_empty()));
    if !named {
        return page(StatusCode::UNAUTHORIZED, pages::login(visit, true));
    }
    let mut response = see_other("/account");
    let cookie = format!("{SESSION}={:032x}; Path=/; HttpOnly; SameSite=Lax", moment.random);
    add(&mut response, SET_COOKIE, &cookie);
    response
}

fn log_out() -> Response<Body> {
    let mut response = see_other("/");
    add(&mut response, SET_COOKIE, &format!("{SESSION}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"));
    response
}

fn received_json(visit: &Visit<'_>) -> Response<Body> {
    match received::json(visit) {
        Ok(json) => whole(StatusCode::OK, "application/json", json),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, pages::failed(visit)),
    }
}

/// `/download/N`: N MiB; `/status/N`: an answer with that status.
fn odd(path: &str) -> Option<Response<Body>> {
    if let Some(mebibytes) = path.strip_prefix("/download/") {
        let mebibytes = mebibytes.parse::<u64>().ok().filter(|n| *n <= DOWNLOAD_MEBIBYTES)?;
        let mut response = whole(StatusCode::OK, "application/octet-stream", "");
        *response.body_mut() = Body::Filling(mebibytes << 20);
        let name = format!("attachment; filename=\"{mebibytes}MiB.bin\"");
        add(&mut response, http::header::CONTENT_DISPOSITION, &name);
        return Some(response);
    }
    let status = StatusCode::from_bytes(path.strip_prefix("/status/")?.as_bytes()).ok()?;
    match status.as_u16() {
        200..=599 if matches!(status.as_u16(), 204 | 205 | 304) => Some(text(status, "")),
        200..=599 => Some(text(status, format!("status {}\n", status.as_u16()))),
        _ => None,
    }
}

fn not_allowed(visit: &Visit<'_>, allow: &'static str) -> Response<Body> {
    let mut response = page(StatusCode::METHOD_NOT_ALLOWED, pages::failed(visit));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn see_other(location: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::whole(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
    response
}

/// Adds a field; a value that is none is left out (a browser sent an identifier that no browser can store).
fn add(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
}

/// Bytes of a form.
pub(super) const BODY_BYTES: usize = 4096;
/// Longest download.
const DOWNLOAD_MEBIBYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::cookies::Category;
    use crate::cookies::catalogue::Catalogue;

    const MOMENT: Moment = Moment { now: Timestamp::from_secs(1_795_341_600), random: 0xabc };

    fn ask(method: &str, target: &str, cookie: Option<&str>, body: &str) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        answer(&request.body(()).unwrap().into_parts().0, body.as_bytes(), MOMENT)
    }

    fn get(target: &str, cookie: Option<&str>) -> Response<Body> {
        ask("GET", target, cookie, "")
    }

    fn set_cookies(response: &Response<Body>) -> Vec<&str> {
        response.headers().get_all(SET_COOKIE).iter().map(|v| v.to_str().unwrap()).collect()
    }

    fn body(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Whole(bytes) => String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn home_sets_what_the_catalogue_knows_as_analytics_and_advertising() {
        let response = get("/", None);
        let catalogue = Catalogue::builtin();
        let category =
            |field: &&str| catalogue.classify(field.split('=').next().unwrap().as_bytes()).category;
        let categories: Vec<Category> = set_cookies(&response).iter().map(category).collect();
        let mut expected = [Category::Advertising; 6];
        expected[0] = Category::Analytics;
        assert_eq!(categories, expected);
        assert!(set_cookies(&response).iter().all(|field| field.contains("; Path=/; Max-Age=")));
    }

    #[test]
    fn a_known_browser_keeps_its_identifier() {
        let response = get("/", Some("_fbp=fb.0.1.2"));
        assert!(set_cookies(&response).contains(&"_fbp=fb.0.1.2; Path=/; Max-Age=7776000"));
    }

    #[test]
    fn the_shops_script_sets_what_the_page_says() {
        let page = body(get("/shop", None));
        for name in ["_fbc", "_ttp", "_ym_uid", "adrcid"] {
            assert!(page.contains(&format!("keep(\"{name}\"")), "{name}");
            let class = Catalogue::builtin().classify(name.as_bytes()).category;
            let expected = if name == "_ym_uid" { Category::Analytics } else { Category::Advertising };
            assert_eq!(class, expected, "{name}");
        }
    }

    #[test]
    fn a_session_begins_is_needed_and_ends() {
        assert_eq!(get("/account", None).headers()[LOCATION], "/login");
        let response = ask("POST", "/login", None, "x=1&name=a");
        assert_eq!(
            (response.status().as_u16(), &response.headers()[LOCATION]),
            (303, &"/account".parse().unwrap())
        );
        let session = "sessionid=00000000000000000000000000000abc";
        assert_eq!(set_cookies(&response), [format!("{session}; Path=/; HttpOnly; SameSite=Lax")]);
        assert_eq!(get("/account", Some(session)).status(), 200);
        assert!(set_cookies(&get("/logout", Some(session)))[0].ends_with("; Max-Age=0"));
    }

    #[test]
    fn a_login_without_a_name_fails_as_logins_do() {
        for form in ["", "name=", "noname=x"] {
            let response = ask("POST", "/login", None, form);
            assert_eq!(response.status(), 401, "{form}");
            assert!(set_cookies(&response).is_empty());
        }
    }

    #[test]
    fn the_basket_counts_and_does_not_overflow() {
        assert_eq!(
            set_cookies(&ask("POST", "/basket", Some("basket=2"), ""))[0],
            "basket=3; Path=/; SameSite=Lax"
        );
        assert!(
            set_cookies(&ask("POST", "/basket", Some("basket=65535"), ""))[0].starts_with("basket=65535;")
        );
        assert!(body(get("/shop", Some("basket=<"))).contains("In your basket: 0"));
    }

    #[test]
    fn a_chosen_language_is_remembered() {
        let response = get("/register?lang=kk", None);
        assert_eq!(set_cookies(&response), ["lang=kk; Path=/; Max-Age=31536000; SameSite=Lax"]);
        assert!(body(response).contains("<h1>Тіркелу</h1>"));
        assert!(body(get("/register", Some("lang=ru"))).contains("<h1>Регистрация</h1>"));
    }

    #[test]
    fn the_banner_is_there_until_somebody_chooses() {
        let banner = |consent: &str| {
            let request = Request::get("/shop").header("kelisim-consent", consent).body(()).unwrap();
            let page = body(answer(&request.into_parts().0, b"", MOMENT));
            page.contains("href=\"/.kelisim/?lang=en&amp;return=/shop\"")
        };
        assert!(banner("advertising=denied; policy=demo-1; source=none"));
        assert!(!banner("advertising=denied; policy=demo-1; source=own"));
        assert!(!banner("advertising=granted; policy=demo-1; source=own"));
    }

    #[test]
    fn downloads_and_statuses_have_bounds() {
        assert!(matches!(get("/download/3", None).body(), Body::Filling(3_145_728)));
        assert!(matches!(get("/download/4096", None).body(), Body::Filling(_)));
        for path in [
            "/download/4097",
            "/download/-1",
            "/download/",
            "/status/199",
            "/status/600",
            "/status/2000",
            "/x",
        ] {
            assert_eq!(get(path, None).status(), 404, "{path}");
        }
        for status in [200, 204, 304, 404, 451, 503, 599] {
            assert_eq!(get(&format!("/status/{status}"), None).status(), status);
        }
    }

    #[test]
    fn other_methods_are_told_which_are_allowed() {
        for (method, path, allow) in [
            ("PUT", "/", "GET, HEAD"),
            ("POST", "/status/200", "GET, HEAD"),
            ("DELETE", "/login", "GET, HEAD, POST"),
            ("GET", "/basket", "POST"),
        ] {
            let response = ask(method, path, None, "");
            assert_eq!(
                (response.status().as_u16(), &response.headers()[ALLOW]),
                (405, &allow.parse().unwrap())
            );
        }
    }

    #[test]
    fn every_page_is_there_in_every_language_and_may_not_be_cached() {
        for language in ["kk", "ru", "en"] {
            for path in ["/", "/shop", "/login", "/register", "/received", "/events", "/upload"] {
                let response = get(path, Some(&format!("lang={language}")));
                assert_eq!(
                    (response.status().as_u16(), &response.headers()[CACHE_CONTROL]),
                    (200, &"no-store".parse().unwrap())
                );
                let page = body(response);
                assert!(page.starts_with(&format!("<!DOCTYPE html><html lang=\"{language}\">")), "{path}");
                assert!(page.contains("<footer>"));
            }
        }
    }
}
