//! A real application behind the gateway: Django with its admin, sessions, forms and CSRF protection.
//!
//! Somebody fails to log in, logs in, adds things by forms and logs out, in every state of consent: nothing breaks,
//! the application's cookies arrive byte for byte, and advertising cookies in the same field only with consent.
//! Large bodies are in [`large`], server-sent events and WebSockets in [`streams`].

mod large;
mod site;
mod streams;

use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::tls::Certificate;
use crate::support::{ADS, Gateway, HOST, Protocol, Visitor, ask};
use site::{Believes, LOGIN, Member, PASSWORD, Site, Tls, USER};

/// What a visitor may have said about advertising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Nothing,
    Yes,
    No,
    YesThenNo,
}

impl Choice {
    const ALL: [Self; 4] = [Self::Nothing, Self::Yes, Self::No, Self::YesThenNo];

    fn say(self, visitor: &mut Visitor) {
        match self {
            Self::Nothing => {}
            Self::Yes => visitor.grant(),
            Self::No => assert_eq!(visitor.choose(r#"{"advertising":false}"#).json()["decision"], "denied"),
            Self::YesThenNo => {
                visitor.grant();
                visitor.withdraw();
            }
        }
    }
}

#[test]
fn logins_forms_and_sessions_work_in_every_state_of_consent() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let gateway = site.server.gateway();
    for protocol in Protocol::ALL {
        for choice in Choice::ALL {
            let member = Member::new(Visitor::new(&gateway, protocol));
            a_day_at_the_office(member, choice, &format!("{protocol:?} {choice:?}"));
        }
    }
    gateway.finish();
}

#[test]
fn the_same_by_tls_with_secure_cookies() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Only) else { return };
    let (gateway, certificate) = by_tls(&site);
    for protocol in Protocol::ALL {
        for choice in Choice::ALL {
            let member = Member::new(Visitor::by_tls(&gateway, &certificate, protocol));
            a_day_at_the_office(member, choice, &format!("tls {protocol:?} {choice:?}"));
        }
    }
    gateway.finish();
}

#[test]
fn a_site_that_names_its_origins_needs_no_forwarded_fields() {
    let Some(site) = Site::start(Believes::Nothing, Tls::Optional) else { return };
    let (gateway, certificate) = by_tls(&site);
    for protocol in Protocol::ALL {
        let member = Member::new(Visitor::by_tls(&gateway, &certificate, protocol));
        a_day_at_the_office(member, Choice::Nothing, &format!("named {protocol:?}"));
    }
}

#[test]
fn a_site_for_tls_alone_sends_visitors_there_once() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Only) else { return };
    let (gateway, certificate) = by_tls(&site);
    for protocol in Protocol::ALL {
        // In cleartext the scheme is http, whatever the client says.
        let mut visitor = Visitor::new(&gateway, protocol)
            .always("x-forwarded-proto", "https")
            .always("forwarded", "proto=https");
        let reply = visitor.open("/seen?a=1");
        assert_eq!((reply.status, reply.header("location")), (301, "https://kz.example/seen?a=1"));
        let mut visitor = Visitor::by_tls(&gateway, &certificate, protocol);
        let reply = visitor.open("/seen?a=1");
        assert_eq!(reply.status, 200, "no loop");
        assert_eq!(reply.header("strict-transport-security"), "max-age=3600");
        assert_eq!(reply.json()["absolute"], "https://kz.example/seen?a=1");
    }
}

#[test]
fn the_site_believes_the_gateway_and_no_client_speaks_for_it() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let (gateway, certificate) = by_tls(&site);
    let liars = |visitor: Visitor| {
        visitor
            .always("x-forwarded-host", "evil.example")
            .always("x_forwarded_host", "evil.example")
            .always("x-forwarded-proto", "ftp")
            .always("x-forwarded-for", "203.0.113.9")
            .always("forwarded", "for=203.0.113.9;host=evil.example;proto=ftp")
            .always("kelisim-consent", "advertising=granted; policy=0; source=own")
    };
    for protocol in Protocol::ALL {
        for (scheme, visitor) in [
            ("http", Visitor::new(&gateway, protocol)),
            ("https", Visitor::by_tls(&gateway, &certificate, protocol)),
        ] {
            let reply = liars(visitor).open("/seen");
            assert_eq!(reply.status, 200, "{}", reply.text());
            let seen = reply.json();
            let case = format!("{scheme} {protocol:?}: {seen}");
            assert_eq!(seen["secure"], scheme == "https", "{case}");
            assert_eq!(seen["host"], HOST, "{case}");
            assert_eq!(seen["absolute"], format!("{scheme}://{HOST}/seen"), "{case}");
            assert_eq!(seen["forwarded_for"], "127.0.0.1", "{case}");
            assert_eq!(seen["forwarded"], format!("for=127.0.0.1;host={HOST};proto={scheme}"), "{case}");
            assert_eq!(seen["consent"], "advertising=denied; policy=0; source=none", "{case}");
        }
    }
}

#[test]
fn forged_forms_are_refused_by_the_site_as_ever() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let (gateway, certificate) = by_tls(&site);
    for protocol in Protocol::ALL {
        let mut member = Member::new(Visitor::by_tls(&gateway, &certificate, protocol));
        let fields = [("username", USER), ("password", PASSWORD)];
        let form = member.form(LOGIN, &fields);
        let page = format!("https://{HOST}{LOGIN}");
        // A good token, and headers that say where the form was.
        for (status, headers) in [
            (403, vec![("origin", "https://evil.example"), ("referer", &page)]),
            (403, vec![("origin", "http://kz.example"), ("referer", &page)]),
            (403, vec![("origin", "null")]),
            (403, vec![("referer", "https://evil.example/")]),
            (403, vec![]),
            (302, vec![("referer", &page)]),
        ] {
            let ask = headers.iter().fold(form.clone(), |ask, (name, value)| ask.header(name, value));
            assert_eq!(member.visitor.fetch(ask).status, status, "{protocol:?} {headers:?}");
        }
        // The right place, and no token or no cookie.
        let origin = member.visitor.origin();
        let bare = ask("POST", LOGIN).header("origin", &origin).body("username=a&password=b");
        assert_eq!(member.visitor.fetch(bare).status, 403, "{protocol:?}");
        let mut stranger = Visitor::by_tls(&gateway, &certificate, protocol);
        assert_eq!(stranger.fetch(form.header("origin", &origin)).status, 403, "{protocol:?}");
    }
}

#[test]
fn a_person_with_a_browser_works_through_every_change_of_mind() {
    let Some(mut browser) = Browser::start() else { return };
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let gateway = site.server.build_gateway().hosts(&["127.0.0.1"]).start();
    let base = format!("http://{}", gateway.addresses[0]);
    browser.open(&format!("{base}/admin/"));
    assert_eq!(browser.evaluate("location.pathname"), "/admin/login/");
    assert_eq!(browser.evaluate("document.styleSheets.length > 0"), true, "its style sheets arrived");
    log_in(&mut browser, "wrong");
    assert_eq!(browser.evaluate("document.querySelectorAll('.errornote').length"), 1);
    assert_eq!(browser.cookie("sessionid"), None);
    log_in(&mut browser, PASSWORD);
    assert_eq!(browser.evaluate("location.pathname"), "/admin/");
    let session = browser.cookie("sessionid").expect("a session");
    for (name, choice) in
        [("silent", None), ("yes", Some("accept")), ("no more", Some("withdraw")), ("no", Some("refuse"))]
    {
        if let Some(choice) = choice {
            browser.open(&format!("{base}/.kelisim/?return=/admin/&lang=en"));
            browser.click_through(&format!("button[value={choice}]"));
            assert_eq!(browser.evaluate("location.pathname"), "/admin/", "{name}");
        }
        write_ads(&mut browser);
        browser.open(&format!("{base}/admin/auth/group/add/"));
        browser.evaluate(&format!("document.querySelector('#id_name').value = {name:?}"));
        write_ads(&mut browser);
        browser.click_through("input[name=_save]");
        assert_eq!(
            browser.evaluate("document.querySelectorAll('.messagelist .success').length"),
            1,
            "{name}"
        );
        write_ads(&mut browser);
        let token = browser.cookie("csrftoken").expect("a token");
        browser.open(&format!("{base}/seen"));
        let text = browser.evaluate("document.body.innerText");
        let seen: Value = serde_json::from_str(text.as_str().unwrap_or_default()).expect("what it saw");
        assert_eq!(
            (&seen["user"], &seen["read"]["sessionid"]),
            (&USER.into(), &session.clone().into()),
            "{name}"
        );
        assert_eq!(seen["read"]["csrftoken"], token, "{name}");
        let arrived = ADS.iter().filter(|(ad, _)| seen["read"].get(ad).is_some()).count();
        assert_eq!(arrived, if name == "yes" { ADS.len() } else { 0 }, "{name}: {seen}");
        let set = browser.cookie("_gcl_au").is_some_and(|value| value == "1.1.set-by-the-site");
        assert_eq!(set, name == "yes", "{name}: set by the site");
    }
    browser.open(&format!("{base}/admin/auth/group/"));
    assert_eq!(browser.evaluate("document.querySelectorAll('#result_list tbody tr').length"), 4);
    browser.click_through("#logout-form button");
    assert_eq!(browser.cookie("sessionid"), None);
    browser.open(&format!("{base}/admin/"));
    assert_eq!(browser.evaluate("location.pathname"), "/admin/login/");
}

/// A gateway with a cleartext and a TLS listener.
fn by_tls(site: &Site) -> (Gateway, Certificate) {
    let builder = site.server.build_gateway();
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    (builder.listener(&certificate.config()).start(), certificate)
}

/// From a wrong password to the logout; `group` is what is added by a form.
fn a_day_at_the_office(mut member: Member, choice: Choice, group: &str) {
    let granted = choice == Choice::Yes;
    choice.say(&mut member.visitor);
    member.visitor.hold("layout", ODD);
    let reply = member.open("/admin/");
    assert_eq!((reply.status, reply.header("location")), (302, LOGIN), "{group}");
    let wrong = member.post(LOGIN, &[("username", USER), ("password", "wrong")]);
    assert!(wrong.status == 200 && wrong.text().contains("errornote"), "{group}: {}", wrong.status);
    assert_eq!(member.visitor.cookie("sessionid"), None, "{group}");
    let right = member.post(LOGIN, &[("username", USER), ("password", PASSWORD)]);
    assert_eq!((right.status, right.header("location")), (302, "/admin/"), "{group}: {}", right.text());
    let session = member.visitor.cookie("sessionid").expect("a session").to_owned();
    let set = right.set_cookies().into_iter().find(|c| c.starts_with("sessionid=")).expect("a session");
    let secure = member.visitor.origin().starts_with("https") && !group.starts_with("named");
    assert!(set.contains("HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax"), "{set}");
    assert_eq!(set.ends_with("; Secure"), secure, "{set}");
    assert!(member.open("/admin/").text().contains("logout-form"), "{group}");
    let added = member.post("/admin/auth/group/add/", &[("name", group), ("_save", "Save")]);
    assert_eq!((added.status, added.header("location")), (302, "/admin/auth/group/"), "{group}");
    assert!(member.open("/admin/auth/group/").text().contains(group), "{group}");
    what_arrives(&mut member, granted, group);
    assert_eq!(member.visitor.cookie("sessionid"), Some(session.as_str()), "{group}: the session stayed");
    let out = member.post_from("/admin/", "/admin/logout/", &[]);
    assert!(out.status == 200 && out.text().contains("Logged out"), "{group}: {}", out.text());
    assert_eq!(member.visitor.cookie("sessionid"), None, "{group}");
    assert_eq!(member.open("/admin/").status, 302, "{group}: logged out");
}

/// The field `Cookie` as the site got it, and what came of the cookies that it set.
fn what_arrives(member: &mut Member, granted: bool, group: &str) {
    member.hold_ads();
    let sent = member.visitor.cookies();
    let reply = member.visitor.open("/seen");
    let seen = reply.json();
    let expected: Vec<&str> =
        sent.split("; ").filter(|pair| !is_ours(pair) && (granted || !is_advertising(pair))).collect();
    let cookie = seen["cookie"].as_str().expect("cookies");
    let arrived: Vec<&str> = cookie.split("; ").filter(|pair| !is_ours(pair)).collect();
    assert_eq!(arrived, expected, "{group}");
    assert!(expected.iter().any(|pair| pair.starts_with("csrftoken=")) && cookie.contains(ODD), "{group}");
    assert_eq!(seen["user"], USER, "{group}");
    let state = if granted { "advertising=granted" } else { "advertising=denied" };
    assert!(seen["consent"].as_str().is_some_and(|value| value.starts_with(state)), "{group}: {seen}");
    let set = reply.set_cookies();
    assert!(set.contains(&"seen=\"yes\\054 \\\"once\\\"\"; Path=/; SameSite=Lax"), "{group}: {set:?}");
    assert_eq!(set.iter().any(|c| c.starts_with("_gcl_au=1.1.set-by")), granted, "{group}: {set:?}");
}

fn is_ours(pair: &str) -> bool {
    pair.starts_with("kelisim_")
}

fn is_advertising(pair: &str) -> bool {
    ADS.iter().any(|(name, _)| pair.split('=').next() == Some(name))
}

fn log_in(browser: &mut Browser, password: &str) {
    browser.evaluate(&format!(
        "document.querySelector('#id_username').value = {USER:?};
         document.querySelector('#id_password').value = {password:?}"
    ));
    browser.click_through("#login-form input[type=submit]");
}

/// What an advertiser's script does on every page.
fn write_ads(browser: &mut Browser) {
    for (name, value) in ADS {
        browser.evaluate(&format!("document.cookie = '{name}={value}; path=/'"));
    }
}

/// A cookie's value with bytes that careless code would change.
const ODD: &str = "\"a=b, c%20d+e/==|~\"";
