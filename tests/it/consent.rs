//! Advertising only with consent, everything else byte for byte: clause 2.2.8 from the outside.
//!
//! Everything that may differ between protocols is asked over HTTP/1.1 and HTTP/2.

use serde_json::json;

use crate::support::{ADS, Answer, Gateway, HOST, Origin, Protocol, SESSION, Seen, Visitor, ask};

/// A site that sets a session cookie and two advertising cookies on every page.
fn setting_site() -> Origin {
    Origin::start(|_| {
        Answer::page()
            .header("Set-Cookie", "sessionid=new; Path=/; HttpOnly")
            .header("Set-Cookie", "_fbp=fb.1.2.3; Path=/; Max-Age=7776000")
            .header("Set-Cookie", "_ga=GA1.1.1.1; Path=/")
            .header("Set-Cookie", "_gcl_au=1.1.1; Path=/; Domain=kz.example")
            .header("Cache-Control", "public, max-age=60")
    })
}

fn session_only() -> String {
    format!("{}={}", SESSION.0, SESSION.1)
}

/// What the site must see of a visitor who granted: everything but what is the gateway's own.
fn everything(visitor: &Visitor) -> Vec<String> {
    visitor.cookies().split("; ").filter(|c| !c.starts_with("kelisim_")).map(ToOwned::to_owned).collect()
}

fn without_ours(seen: &Seen) -> Vec<String> {
    seen.cookies().split("; ").filter(|c| !c.starts_with("kelisim_")).map(ToOwned::to_owned).collect()
}

#[test]
fn without_a_choice_the_site_gets_the_session_and_no_advertising_cookie() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::with_ads(&gateway, protocol);
        assert_eq!(visitor.open("/").status, 200);
        assert_eq!(origin.last().cookies(), session_only(), "{protocol:?}");
        let consent = origin.last().headers.one("kelisim-consent").map(ToOwned::to_owned);
        assert_eq!(consent.as_deref(), Some("advertising=denied; policy=0; source=none"), "{protocol:?}");
    }
}

#[test]
fn without_a_choice_the_site_sets_no_advertising_cookie() {
    let origin = setting_site();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).open("/");
        let set: Vec<&str> =
            reply.set_cookies().into_iter().filter(|c| !c.starts_with("kelisim_vid=")).collect();
        assert_eq!(set, ["sessionid=new; Path=/; HttpOnly", "_ga=GA1.1.1.1; Path=/"], "{protocol:?}");
        let cache = reply.header("cache-control").to_owned();
        assert!(cache.contains("private") && !cache.contains("public"), "no shared cache: {cache}");
    }
}

#[test]
fn a_navigation_deletes_the_advertising_cookies_that_the_browser_holds() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::with_ads(&gateway, protocol);
        let reply = visitor.open("/");
        for (name, _) in ADS {
            let begin = format!("{name}=;");
            let fields: Vec<_> = reply.set_cookies().into_iter().filter(|f| f.starts_with(&begin)).collect();
            assert!(!fields.is_empty(), "{protocol:?}: {name} is not deleted");
            for field in &fields {
                assert!(field.contains("Max-Age=0") && field.contains("Path=/"), "{field}");
                assert!(field.contains("Expires=Thu, 01 Jan 1970 00:00:00 GMT"), "{field}");
            }
            assert!(fields.iter().any(|f| f.contains("Domain=kz.example")), "{fields:?}");
            assert!(fields.iter().any(|f| !f.contains("Domain=")), "{fields:?}");
        }
        assert_eq!(visitor.cookie("_fbp"), None);
        assert_eq!(visitor.cookie(SESSION.0), Some(SESSION.1), "the session stays");
        assert_eq!(reply.header("cache-control"), "private");
    }
}

#[test]
fn an_image_request_deletes_nothing() {
    let origin = Origin::start(|_| Answer::new(200).header("Content-Type", "image/png").body("png"));
    let gateway = Gateway::of(&origin);
    let reply = Visitor::with_ads(&gateway, Protocol::Http1)
        .fetch(ask("GET", "/a.png").header("sec-fetch-dest", "image"));
    assert_eq!(reply.set_cookies(), Vec::<&str>::new());
    assert_eq!(origin.last().cookies(), session_only());
}

#[test]
fn after_a_grant_every_cookie_passes_byte_for_byte_and_after_a_withdrawal_none() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::with_ads(&gateway, protocol);
        visitor.grant();
        ADS.iter().for_each(|(name, value)| visitor.hold(name, value));
        origin.grant_advertising(true);
        visitor.open("/granted");
        assert_eq!(without_ours(&origin.last()), everything(&visitor), "{protocol:?}");
        let consent = origin.last().headers.one("kelisim-consent").map(ToOwned::to_owned);
        assert_eq!(consent.as_deref(), Some("advertising=granted; policy=0; source=own"));
        // The very next request, on the same connection.
        origin.grant_advertising(false);
        visitor.withdraw();
        ADS.iter().for_each(|(name, value)| visitor.hold(name, value));
        visitor.open("/withdrawn");
        assert_eq!(without_ours(&origin.last()), [session_only()], "{protocol:?}");
        let consent = origin.last().headers.one("kelisim-consent").map(ToOwned::to_owned);
        assert_eq!(consent.as_deref(), Some("advertising=denied; policy=0; source=own"));
    }
}

#[test]
fn a_granted_site_may_set_its_advertising_cookies() {
    let origin = setting_site();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        visitor.grant();
        origin.grant_advertising(true);
        let reply = visitor.open("/");
        let set: Vec<&str> =
            reply.set_cookies().into_iter().filter(|c| !c.starts_with("kelisim_vid=")).collect();
        let expected = [
            "sessionid=new; Path=/; HttpOnly",
            "_fbp=fb.1.2.3; Path=/; Max-Age=7776000",
            "_ga=GA1.1.1.1; Path=/",
            "_gcl_au=1.1.1; Path=/; Domain=kz.example",
        ];
        assert_eq!(set, expected, "{protocol:?}");
    }
}

#[test]
fn the_answer_to_a_refusal_deletes_at_once() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    let reply = visitor.submit("action=refuse");
    assert_eq!(reply.status, 303);
    assert!(reply.set_cookies().iter().any(|f| f.starts_with("_fbp=;")), "{:?}", reply.set_cookies());
    assert_eq!((visitor.cookie("_fbp"), origin.count()), (None, 0));
}

#[test]
fn the_answer_to_a_withdrawal_deletes_no_more_than_a_browser_is_sent_at_once() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for (n, page) in ["/", "/shop/", "/shop/a/b/c/d/e/f/g"].into_iter().enumerate() {
        let mut visitor = Visitor::with_ads(&gateway, Protocol::ALL[n % 2]);
        let reply = visitor.fetch(
            ask("DELETE", "/.kelisim/consent")
                .host("www.kz.example")
                .header("origin", "http://www.kz.example")
                .header("referer", &format!("http://www.kz.example{page}")),
        );
        assert_eq!(reply.status, 200);
        let fields = reply.set_cookies();
        let bytes: usize = fields.iter().map(|field| field.len()).sum();
        assert!(fields.len() <= 16 && bytes <= 4096, "{page}: {} fields", fields.len());
        assert!(fields.iter().any(|field| field.starts_with("_fbp=;")), "{page}: {fields:?}");
        assert!(fields.iter().any(|field| field.starts_with("kelisim_consent=;")), "{page}: {fields:?}");
    }
}

/// Whether this page deletes `_fbp`, which the browser then holds again.
fn is_told(visitor: &mut Visitor, path: &str) -> bool {
    visitor.hold("_fbp", "fb.1");
    let told = visitor.open(path).set_cookies().iter().any(|field| field.starts_with("_fbp=;"));
    visitor.hold("_fbp", "fb.1");
    told
}

#[test]
fn who_refuses_after_a_consent_is_told_again_on_the_same_day() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::new(&gateway, Protocol::Http1);
    visitor.open("/");
    assert!(is_told(&mut visitor, "/") && !is_told(&mut visitor, "/"), "once a day");
    visitor.grant();
    // The answer to the refusal cannot delete what a script sets only then.
    visitor.forget("_fbp");
    visitor.submit("action=refuse");
    assert!(is_told(&mut visitor, "/") && !is_told(&mut visitor, "/"));
}

#[test]
fn who_refuses_in_a_banner_after_a_consent_there_is_told_again_on_the_same_day() {
    let origin = Origin::pages();
    origin.grant_advertising(true);
    let gateway = Gateway::build(&[&origin])
        .key("consent.sources", "[\"own\", \"klaro\"]")
        .tables("[[consent.preset]]\nsource = \"klaro\"\nadvertising = [\"ads\"]\n")
        .key("workers", "1")
        .start();
    let mut visitor = Visitor::new(&gateway, Protocol::Http1);
    visitor.open("/");
    let (no, yes) = ("{\"ads\":false}", "{\"ads\":true}");
    visitor.hold("klaro", no);
    assert!(is_told(&mut visitor, "/") && !is_told(&mut visitor, "/"), "once a day");
    visitor.hold("klaro", yes);
    assert!(!is_told(&mut visitor, "/"));
    visitor.hold("klaro", no);
    assert!(is_told(&mut visitor, "/") && !is_told(&mut visitor, "/"));
}

#[test]
fn the_form_returns_to_a_page_of_this_site_and_to_no_other() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::new(&gateway, Protocol::Http1);
    let back = |visitor: &mut Visitor, to: &str| {
        let reply = visitor.submit(&format!("action=accept&return={to}"));
        assert_eq!(reply.status, 303);
        reply.header("location").to_owned()
    };
    assert_eq!(back(&mut visitor, "/cart%3Fid%3D1"), "/cart?id=1");
    for evil in ["//evil.example", "https://evil.example", "/%5Cevil.example", "%09//evil.example"] {
        assert!(back(&mut visitor, evil).starts_with("/.kelisim/"), "{evil}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_choice_must_come_from_this_site() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let form = |headers: &[(&str, &str)]| {
        let mut ask = ask("POST", "/.kelisim/consent").body("action=accept");
        ask = ask.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        gateway.client().fetch(&ask)
    };
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://kz.example")],
        &[],
    ] {
        let reply = form(headers);
        assert_eq!(reply.status, 403, "{headers:?}");
        assert_eq!(reply.set_cookies(), Vec::<&str>::new(), "{headers:?}");
    }
    assert_eq!(form(&[("sec-fetch-site", "same-origin")]).status, 303);
    // A browser that sends neither proves itself by the form's token.
    let page = gateway.client().get("/.kelisim/").text();
    let token = page
        .split("name=\"token\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a token");
    let ask = ask("POST", "/.kelisim/consent")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("action=accept&token={token}"));
    assert_eq!(gateway.client().fetch(&ask).status, 303);
}

#[test]
fn browser_signals_deny_and_an_own_grant_beats_them() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for (name, value, source, known_as) in
        [("sec-gpc", "1", "gpc", "Global Privacy Control"), ("dnt", "1", "dnt", "Do Not Track")]
    {
        let mut visitor = Visitor::with_ads(&gateway, Protocol::Http2).always(name, value);
        visitor.open("/");
        let seen = origin.last();
        let expected = format!("advertising=denied; policy=0; source={source}");
        assert_eq!(seen.headers.one("kelisim-consent"), Some(expected.as_str()));
        assert_eq!(seen.headers.one(name), Some("1"), "the signal is for the site, too");
        let page = visitor.open("/.kelisim/?lang=en");
        assert!(page.text().contains(&format!("the {known_as} signal")), "{name}");
        assert_eq!(page.header("vary"), "Sec-GPC, DNT, Accept-Language");
        visitor.grant();
        visitor.open("/");
        let consent = origin.last().headers.one("kelisim-consent").map(ToOwned::to_owned);
        assert_eq!(consent.as_deref(), Some("advertising=granted; policy=0; source=own"), "{name}");
    }
    let state = gateway.client().get("/.well-known/gpc.json").json();
    assert_eq!((&state["gpc"], origin.count()), (&json!(true), 4));
}

#[test]
fn gpc_beats_an_own_grant_where_the_operator_says_so() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("consent.gpc_over_own_grant", "true").start();
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    visitor.grant();
    let mut objecting = Visitor::with_ads(&gateway, Protocol::Http1).always("sec-gpc", "1");
    objecting.hold("kelisim_consent", visitor.cookie("kelisim_consent").expect("a record"));
    objecting.open("/");
    let consent = origin.last().headers.one("kelisim-consent").map(ToOwned::to_owned);
    assert_eq!(consent.as_deref(), Some("advertising=denied; policy=0; source=gpc"));
}

#[test]
fn a_forged_or_changed_record_is_no_consent() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    visitor.grant();
    let genuine = visitor.cookie("kelisim_consent").expect("a record").to_owned();
    let refused = {
        let mut other = Visitor::new(&gateway, Protocol::Http1);
        other.submit("action=refuse");
        other.cookie("kelisim_consent").expect("a record").to_owned()
    };
    let mut forged: Vec<String> = (0..genuine.len())
        .step_by(7)
        .map(|at| {
            let mut bytes = genuine.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    forged.extend([
        "granted".to_owned(),
        String::new(),
        "v1.0.1700000000.8.x.y.z".to_owned(),
        "8".to_owned(),
    ]);
    for value in forged {
        visitor.hold("kelisim_consent", &value);
        ADS.iter().for_each(|(name, value)| visitor.hold(name, value));
        visitor.open("/");
        let seen = origin.last();
        let consent = seen.headers.one("kelisim-consent").unwrap_or_default();
        assert!(consent.starts_with("advertising=denied;"), "{value}: {consent}");
        assert_eq!(without_ours(&seen), [session_only()], "{value}");
    }
    // Two copies that differ: no. The readable twin is never read back.
    visitor.hold("kelisim_consent", &format!("{genuine}; kelisim_consent={refused}"));
    visitor.open("/");
    assert!(
        origin.last().headers.one("kelisim-consent").unwrap_or_default().starts_with("advertising=denied;")
    );
    let mut twin = Visitor::with_ads(&gateway, Protocol::Http1);
    twin.hold("kelisim_choice", "8");
    twin.open("/");
    assert_eq!(without_ours(&origin.last()), [session_only()]);
}

#[test]
fn a_record_of_another_site_or_gateway_is_no_consent() {
    let (origin, elsewhere) = (Origin::pages(), Origin::pages());
    let other = Gateway::of(&elsewhere);
    let mut visitor = Visitor::new(&other, Protocol::Http1);
    visitor.grant();
    let gateway = Gateway::of(&origin);
    let mut here = Visitor::with_ads(&gateway, Protocol::Http1);
    here.hold("kelisim_consent", visitor.cookie("kelisim_consent").expect("a record"));
    here.open("/");
    assert_eq!(without_ours(&origin.last()), [session_only()]);
}

#[test]
fn headers_of_ours_are_ours_alone() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        let mut question = ask("GET", "/spoof")
            .header("kelisim-consent", "advertising=granted; policy=0; source=own")
            .header("kelisim-risk", "none;score=0")
            .header("kelisim-signals", "x")
            .header("kelisim-country", "KZ")
            .header("x-test-kept", "1")
            .header("kelisim_consent", "advertising=granted");
        if protocol == Protocol::Http1 {
            question =
                question.header("Connection", "kelisim-consent, kelisim-risk, x-forwarded-for, cookie, host");
        }
        visitor.hold("a", "b");
        assert_eq!(visitor.fetch(question).status, 200);
        let seen = origin.last();
        assert_eq!(seen.headers.all("kelisim-consent"), ["advertising=denied; policy=0; source=none"]);
        assert_eq!(seen.headers.all("kelisim-risk"), Vec::<&str>::new(), "nothing is tagged by default");
        assert_eq!(seen.headers.all("kelisim-country"), Vec::<&str>::new());
        assert_eq!(seen.headers.one("x-test-kept"), Some("1"));
        assert_eq!((seen.cookies(), seen.headers.one("host")), ("a=b", Some(HOST)));
        assert_eq!(seen.headers.one("x-forwarded-for"), Some("127.0.0.1"));
    }
    assert!(gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"forged\""]) >= 6.0);
}

/// Chromium reads these dates otherwise than RFC 6265, or sets them right by `Date`, and keeps the cookie.
#[test]
fn a_deletion_that_a_browser_may_take_for_a_cookie_does_not_pass() {
    for (date, expires, passes) in [
        (None, "Thu, 01 Jan 1970 00:00:00 GMT", true),
        (None, "Wed, 01 Jan 2020 00:00:00Z", false),
        (None, "1st Jan 2020 0:0:0", false),
        (None, "01 Jan 2020abc 2040 00:00:00", false),
        (Some("Wed, 01 Jan 2020 00:00:00 GMT"), "Wed, 01 Jul 2020 00:00:00 GMT", false),
        (Some("Wed, 01 Jan 2020 00:00:00 GMT"), "Thu, 01 Jan 1970 00:00:00 GMT", true),
    ] {
        let field = format!("_fbp=AD; Path=/; Expires={expires}");
        let sent = field.clone();
        let origin = Origin::start(move |_| {
            let page = Answer::page().header("Set-Cookie", &sent);
            if let Some(date) = date { page.header("Date", date) } else { page }
        });
        let gateway = Gateway::of(&origin);
        for protocol in Protocol::ALL {
            let reply = Visitor::new(&gateway, protocol).open("/");
            assert_eq!(
                reply.set_cookies().contains(&field.as_str()),
                passes,
                "{protocol:?} {date:?} {expires}"
            );
        }
    }
}

/// A cookie with a control byte costs itself, not the page; browsers would not take it.
#[test]
fn a_cookie_with_a_control_byte_costs_no_page() {
    let origin = Origin::raw(|mut connection| {
        while let Ok(Some(_)) = connection.request() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: public\r\n\
                          Set-Cookie: pref=a\x01b\r\nSet-Cookie: kept=1\r\nContent-Length: 4\r\n\r\npage";
            connection.send(answer.as_bytes()).unwrap();
        }
    });
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).open("/");
        let set: Vec<&str> =
            reply.set_cookies().into_iter().filter(|c| !c.starts_with("kelisim_vid=")).collect();
        assert_eq!((reply.status, reply.text(), set), (200, "page".into(), vec!["kept=1"]), "{protocol:?}");
        assert_eq!(reply.header("cache-control"), "private");
    }
}

/// Whatever waits for consent is also deleted without it, not advertising alone.
#[test]
fn statistics_and_preferences_that_wait_for_consent_are_deleted_as_well() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("cookies.actions", "{ analytics = \"consent\", functional = \"consent\" }")
        .start();
    origin.grant_advertising(true);
    let deleted = |reply: &crate::support::Reply| -> Vec<&'static str> {
        let fields = reply.set_cookies();
        ["_ga", "_fbp"]
            .into_iter()
            .filter(|name| fields.iter().any(|f| f.starts_with(&format!("{name}=;"))))
            .collect()
    };
    let hold = |visitor: &mut Visitor| {
        visitor.hold("_ga", "GA1");
        visitor.hold("_fbp", "fb.1");
    };
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        hold(&mut visitor);
        assert_eq!(deleted(&visitor.open("/")), ["_ga", "_fbp"], "{protocol:?}");
        hold(&mut visitor);
        assert_eq!(deleted(&visitor.choose(r#"{"advertising":true,"analytics":true}"#)), [""; 0]);
        assert_eq!(deleted(&visitor.open("/")), [""; 0]);
        // Only what is taken back.
        assert_eq!(deleted(&visitor.choose(r#"{"analytics":false}"#)), ["_ga"]);
        hold(&mut visitor);
        assert_eq!(deleted(&visitor.open("/")), ["_ga"]);
        visitor.choose(r#"{"advertising":true,"analytics":true}"#);
        hold(&mut visitor);
        let withdraws = ask("DELETE", "/.kelisim/consent").header("origin", &visitor.origin());
        assert_eq!(deleted(&visitor.fetch(withdraws)), ["_ga", "_fbp"]);
    }
    let expired = |category| {
        gateway.metric("kelisim_cookies_total", &["action=\"expired\"", category, "direction=\"response\""])
    };
    assert!(expired("category=\"analytics\"") > 0.0 && expired("category=\"advertising\"") > 0.0);
}

#[test]
fn without_the_key_no_visitor_cookie_is_given() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("risk.visitor_cookie", "false").start();
    let reply = Visitor::new(&gateway, Protocol::Http1).open("/");
    assert_eq!(reply.set_cookies(), [""; 0]);
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let origin = setting_site();
    origin.grant_advertising(true);
    let gateway = Gateway::build(&[&origin]).key("cookies.mode", "\"dry-run\"").start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::with_ads(&gateway, protocol);
        let all = everything(&visitor);
        let reply = visitor.open("/");
        assert_eq!(without_ours(&origin.last()), all);
        assert_eq!(reply.set_cookies().len(), 4, "not even a visitor cookie");
        assert_eq!(reply.header("cache-control"), "public, max-age=60");
    }
    let stripped = ["action=\"stripped\"", "category=\"advertising\"", "mode=\"dry-run\""];
    let count = |direction| gateway.metric("kelisim_cookies_total", &[&stripped[..], &[direction]].concat());
    assert_eq!((count("direction=\"request\""), count("direction=\"response\"")), (8.0, 4.0));
}

#[test]
fn our_own_pages_never_reach_the_site() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::with_ads(&gateway, protocol);
        for (method, path, status) in [
            ("GET", "/.kelisim/", 200),
            ("HEAD", "/.kelisim/", 200),
            ("GET", "/.kelisim/?lang=kk", 200),
            ("GET", "/.kelisim/consent", 200),
            ("GET", "/.kelisim/policy", 404),
            ("GET", "/.kelisim/nothing", 404),
            ("PUT", "/.kelisim/consent", 405),
            ("GET", "/.well-known/gpc.json", 200),
        ] {
            let reply = visitor.fetch(ask(method, path));
            assert_eq!(reply.status, status, "{method} {path}");
            assert!(reply.header("cache-control").contains("no-store"), "{method} {path}");
        }
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_state_is_told_as_json() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::new(&gateway, Protocol::Http2);
    let state = visitor.fetch(ask("GET", "/.kelisim/consent")).json();
    assert_eq!((&state["decision"], &state["reason"]), (&json!("denied"), &json!("unknown")));
    visitor.grant();
    let state = visitor.fetch(ask("GET", "/.kelisim/consent")).json();
    assert_eq!((&state["decision"], &state["source"]), (&json!("granted"), &json!("own")));
    assert_eq!(state["receipt"].as_str().map(str::len), Some(36));
    let big = visitor.choose(&format!("{{\"advertising\":true,\"lang\":\"{}\"}}", "x".repeat(5000)));
    assert_eq!(big.status, 413);
    assert_eq!(visitor.choose("{\"advertisng\":true}").status, 400);
}
