//! A real browser before a real site: what a visitor sees, and what their browser then holds and sends.
//!
//! The same journey is made before a small site of the tests' own and before `kelisim demo`: nothing in it knows more
//! than an address, four pages (`/`, `/shop`, `/login`, `/received.json`) and the consent page.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::{ADS, Answer, Gateway, Origin, Seen, cli};

#[test]
fn a_visitor_refuses_by_silence_grants_by_a_form_and_withdraws() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::start(site);
    // What arrives is looked at below, by what the site shows of it.
    origin.grant_advertising(true);
    BROWSERS.iter().for_each(|name| origin.tolerate(name));
    let gateway = Gateway::build(&[&origin]).hosts(&["127.0.0.1"]).start();
    journey(&mut browser, &format!("http://{}", gateway.addresses[0]));
    gateway.finish();
}

#[test]
fn the_same_journey_through_the_demo() {
    let Some(demo) = Demo::start() else {
        eprintln!("skipped: this build has no demo that tells an address");
        return;
    };
    let Some(mut browser) = Browser::start() else { return };
    journey(&mut browser, &demo.base);
}

#[test]
fn the_consent_page_works_without_scripts_in_three_languages() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::start(site);
    let gateway = Gateway::build(&[&origin]).hosts(&["127.0.0.1"]).start();
    let page = format!("http://{}/.kelisim/", gateway.addresses[0]);
    browser.scripts(false);
    let mut titles = Vec::new();
    for language in ["kk", "ru", "en"] {
        browser.open(&format!("{page}?lang={language}"));
        assert_eq!(browser.evaluate("document.documentElement.lang"), language);
        titles.push(browser.evaluate("document.querySelector('h1').textContent"));
        assert_eq!(browser.evaluate("document.querySelectorAll('input[type=checkbox]:checked').length"), 0, "nothing is ticked");
        assert_eq!(browser.evaluate("document.querySelectorAll('script').length"), 0);
        // Refusing is as near as accepting: two buttons of one size.
        let sizes = browser.evaluate(
            "['refuse', 'accept'].map(v => { const r = document.querySelector(`button[value=${v}]`).getBoundingClientRect();
               return [Math.round(r.width / 20), Math.round(r.height)]; })",
        );
        assert_eq!(sizes[0], sizes[1], "{language}");
        assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "nothing sticks out");
        if let Some(folder) = std::env::var_os("KELISIM_SCREENSHOTS") {
            browser.screenshot(&std::path::Path::new(&folder).join(format!("consent-{language}.png")));
        }
    }
    titles.dedup();
    assert_eq!(titles.len(), 3, "{titles:?}");
    // By keyboard alone: every control is reached by its label, and no message of the browser says otherwise.
    let unlabelled = "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length";
    assert_eq!(browser.evaluate(unlabelled), 0);
    assert_eq!(origin.count(), 0, "the site saw none of it");
}

/// From a first visit to a withdrawal.
fn journey(browser: &mut Browser, base: &str) {
    // Somebody signs in and looks round. A script on the shop's page writes advertising cookies.
    sign_in(browser, base);
    let session = browser.cookie("sessionid").expect("a session");
    browser.open(&format!("{base}/shop"));
    let held = |browser: &mut Browser| -> Vec<String> {
        browser.cookies().into_iter().map(|c| c.name).filter(|name| is_advertising(name)).collect()
    };
    assert!(!held(browser).is_empty(), "the script wrote advertising cookies");
    // Without consent the site gets none of them, and the browser is told to forget them.
    let received = received(browser, base);
    assert_eq!(advertising(&received), Vec::<String>::new());
    assert!(received["headers"]["kelisim-consent"].as_str().is_some_and(|v| v.starts_with("advertising=denied")));
    assert!(cookies(&received).contains(&format!("sessionid={session}")));
    assert_eq!(held(browser), Vec::<String>::new());
    // Yes, by a plain form without any script.
    browser.scripts(false);
    browser.open(&format!("{base}/.kelisim/?return=/received.json&lang=en"));
    browser.click_through("button[value=accept]");
    assert_eq!(browser.evaluate("location.pathname"), "/received.json");
    browser.scripts(true);
    browser.open(&format!("{base}/shop"));
    let granted = self::received(browser, base);
    let names = held(browser);
    assert!(!names.is_empty(), "they stay in the browser");
    let mut arrived = advertising(&granted);
    arrived.sort();
    assert_eq!(arrived, names, "and reach the site");
    assert!(granted["headers"]["kelisim-consent"].as_str().is_some_and(|v| v.starts_with("advertising=granted")));
    // And no again: from the very next request on.
    browser.scripts(false);
    browser.open(&format!("{base}/.kelisim/?return=/received.json&lang=kk"));
    browser.click_through("button[value=withdraw]");
    browser.scripts(true);
    let withdrawn = self::received(browser, base);
    assert_eq!(advertising(&withdrawn), Vec::<String>::new());
    assert_eq!(held(browser), Vec::<String>::new());
    assert!(cookies(&withdrawn).contains(&format!("sessionid={session}")), "the session outlived it all");
    assert_eq!(browser.cookie("sessionid"), Some(session));
    let record = browser.cookies().into_iter().find(|c| c.name == "kelisim_consent").expect("a record");
    assert!(record.http_only, "no script reads or writes it");
}

/// Fills in whatever the form on `/login` asks for, and sends it.
fn sign_in(browser: &mut Browser, base: &str) {
    browser.open(&format!("{base}/login"));
    browser.evaluate(
        "for (const i of document.querySelectorAll('form[action=\"/login\"] input:not([type=hidden])')) i.value ||= 'demo'",
    );
    browser.click_through("form[action=\"/login\"] button");
}

/// What the site says that it received.
fn received(browser: &mut Browser, base: &str) -> Value {
    browser.open(&format!("{base}/received.json"));
    let text = browser.evaluate("document.body.innerText");
    serde_json::from_str(text.as_str().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn cookies(received: &Value) -> Vec<String> {
    received["cookie"].as_str().unwrap_or_default().split("; ").map(ToOwned::to_owned).collect()
}

fn advertising(received: &Value) -> Vec<String> {
    let names = cookies(received).into_iter().map(|c| c.split('=').next().unwrap_or_default().to_owned());
    names.filter(|name| is_advertising(name)).collect()
}

fn is_advertising(name: &str) -> bool {
    ADS.iter().any(|(ad, _)| *ad == name) || ["_fbc", "_ttp", "adrcid", "__gads", "_gcl_aw"].contains(&name)
}

/// The tests' own site.
fn site(seen: &Seen) -> Answer {
    let page = |body: &str| Answer::page().body(format!("<!doctype html><meta charset=utf-8><title>t</title>{body}"));
    match (seen.method.as_str(), seen.target.as_str()) {
        (_, "/received.json") => {
            let headers: serde_json::Map<String, Value> =
                seen.headers.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let body = json!({ "cookie": seen.cookies(), "headers": headers }).to_string();
            Answer::new(200).header("Content-Type", "application/json").body(body)
        }
        ("POST", "/login") => Answer::new(303)
            .header("Location", "/")
            .header("Set-Cookie", "sessionid=s-1.a=b; Path=/; HttpOnly; SameSite=Lax")
            .header("Set-Cookie", "_fbp=from.the.server; Path=/; Max-Age=1000"),
        (_, "/login") => {
            page("<form method=post action=\"/login\"><input name=u><button>in</button></form>")
        }
        (_, "/shop") => page("<script>for (const n of ['_fbp', '_gcl_au']) document.cookie = n + '=1.2; path=/'</script>"),
        _ => page("<h1>A site</h1>").header("Set-Cookie", "_gcl_au=1.1; Path=/; Max-Age=1000"),
    }
}

/// A running `kelisim demo`.
struct Demo {
    process: Child,
    base: String,
}

impl Demo {
    fn start() -> Option<Self> {
        let mut process = cli::command()
            .arg("demo")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let base = lines.by_ref().find_map(|line| {
            let rest = &line[line.find("http://")?..];
            Some(rest.split(|c: char| c.is_whitespace()).next()?.trim_end_matches('/').to_owned())
        });
        let demo = Self { process, base: base.clone().unwrap_or_default() };
        std::thread::spawn(move || lines.for_each(drop));
        base.map(|_| demo)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Headers of browsers that the other tests do not send.
const BROWSERS: &[&str] = &["sec-purpose", "sec-fetch-storage-access"];
