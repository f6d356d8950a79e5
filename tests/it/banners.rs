//! Real banners in a real browser, on a page that loads no script but from its own site: what the visitor chose there is
//! what the site gets.
//!
//! The banners are open source, from npm (`.ci/npm`), and keep the choice in the browser's storage where they can: the
//! gateway reads none of their cookies here, all goes through `/.kelisim/banner.js`.

use std::path::PathBuf;

use crate::support::browser::Browser;
use crate::support::{ADS, Answer, Gateway, Origin, Seen, missing};

/// A banner, and how a visitor uses it.
struct Banner {
    /// As `data-banner` names it.
    name: &'static str,
    /// Its files below `node_modules`.
    script: &'static str,
    style: &'static str,
    /// How a site sets it up.
    setup: &'static str,
    /// True when it has loaded all that is its own.
    ready: &'static str,
    /// True when the visitor sees it.
    shown: &'static str,
    refuse: &'static str,
    accept: &'static str,
    withdraw: &'static str,
}

#[test]
fn cookieconsent() {
    journey(&Banner {
        name: "cookieconsent",
        script: "vanilla-cookieconsent/dist/cookieconsent.umd.js",
        style: "vanilla-cookieconsent/dist/cookieconsent.css",
        setup: "CookieConsent.run({ hideFromBots: false, cookie: { useLocalStorage: true },
            categories: { necessary: { enabled: true, readOnly: true }, ads: {} },
            language: { default: 'en', translations: { en: {
                consentModal: { title: 'Cookies', acceptAllBtn: 'Yes', acceptNecessaryBtn: 'No', showPreferencesBtn: 'More' },
                preferencesModal: { title: 'Cookies', acceptAllBtn: 'Yes', acceptNecessaryBtn: 'No', savePreferencesBtn: 'Save',
                    sections: [{ title: 'Ads', linkedCategory: 'ads' }] } } } } })",
        ready: "true",
        shown: "!!document.querySelector('#cc-main .cm__btn[data-role=necessary]')",
        refuse: "document.querySelector('#cc-main .cm__btn[data-role=necessary]').click()",
        accept: "CookieConsent.showPreferences(), document.querySelector('#cc-main .pm__btn[data-role=all]').click()",
        withdraw: "CookieConsent.showPreferences(), document.querySelector('#cc-main .pm__btn[data-role=necessary]').click()",
    });
}

#[test]
fn klaro() {
    journey(&Banner {
        name: "klaro",
        script: "klaro/dist/klaro-no-css.js",
        style: "klaro/dist/klaro.css",
        setup: "window.klaroConfig = { storageMethod: 'localStorage', lang: 'en', acceptAll: true,
            services: [{ name: 'ads', title: 'Ads', purposes: ['marketing'] }] }",
        ready: "true",
        shown: "!!document.querySelector('.klaro .cn-decline')",
        refuse: "document.querySelector('.klaro .cn-decline').click()",
        accept: KLARO_SWITCH,
        withdraw: KLARO_SWITCH,
    });
}

#[test]
fn tarteaucitron() {
    journey(&Banner {
        name: "tarteaucitron",
        script: "tarteaucitronjs/tarteaucitron.js",
        style: "tarteaucitronjs/css/tarteaucitron.css",
        setup: "tarteaucitron.init({ privacyUrl: '', bodyPosition: 'bottom', hashtag: '#t', cookieName: 'tarteaucitron',
                orientation: 'bottom', groupServices: false, showAlertSmall: false, cookieslist: false, showIcon: false,
                highPrivacy: true, AcceptAllCta: true, DenyAllCta: true, handleBrowserDNTRequest: false, mandatory: true });
            tarteaucitron.services.ads = { key: 'ads', type: 'ads', name: 'Ads', needConsent: true, cookies: [], js() {}, fallback() {} };
            (tarteaucitron.job = tarteaucitron.job || []).push('ads');
            // Its buttons are there before they do anything: pressed as a person does, until one does.
            window.press = (button, state) => {
                document.querySelector(button).click();
                if (tarteaucitron.state.ads !== state) setTimeout(press, 100, button, state);
            };",
        ready: "!!document.querySelector('#tacCurrentStatusads')",
        shown: "document.querySelector('#tarteaucitronAllDenied2').offsetHeight > 0",
        refuse: "press('#tarteaucitronAllDenied2', false)",
        accept: "tarteaucitron.userInterface.openPanel(), press('#tarteaucitronAllAllowed', true)",
        withdraw: "tarteaucitron.userInterface.openPanel(), press('#tarteaucitronAllDenied', false)",
    });
}

#[test]
fn a_plain_call_carries_a_choice_of_any_banner() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::start(|seen| site(seen, None));
    let gateway = start(&origin);
    let base = format!("http://{}", gateway.addresses[0]);
    browser.open(&format!("{base}/shop/item"));
    let said = |browser: &mut Browser, call: &str| browser.evaluate(call);
    let state = said(&mut browser, "kelisim.consent({ advertising: true, analytics: 'yes' })");
    assert_eq!((&state["decision"], &state["source"]), (&"granted".into(), &"own".into()));
    assert_eq!(state["purposes"]["analytics"], false, "only a plain true is a yes");
    assert_eq!(arrives(&mut browser, &base, &origin), advertising_names());
    // Two at once: the last one counts.
    browser.open(&format!("{base}/shop/item"));
    said(&mut browser, "kelisim.consent({ advertising: true }), kelisim.consent({})");
    let state = said(&mut browser, "kelisim.state()");
    assert_eq!((&state["decision"], &state["reason"]), (&"denied".into(), &"own_refused".into()));
    said(&mut browser, "kelisim.consent({ advertising: true }).then(() => kelisim.withdraw())");
    assert_eq!(arrives(&mut browser, &base, &origin), Vec::<String>::new());
    gateway.finish();
}

/// A copy of our cookie under another path once contradicted every new choice on the pages below it.
#[test]
fn a_stray_copy_of_our_cookie_does_not_outlive_a_new_choice() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::start(|seen| site(seen, None));
    let gateway = start(&origin);
    let base = format!("http://{}", gateway.addresses[0]);
    let told = |origin: &Origin| {
        let seen = origin.seen();
        let last =
            seen.iter().rev().find(|seen| seen.target == "/shop/item").expect("the page was asked for");
        last.headers.one("kelisim-consent").unwrap_or_default().to_owned()
    };
    browser.open(&format!("{base}/"));
    browser.evaluate("kelisim.consent({ advertising: true })");
    browser.evaluate("document.cookie = 'kelisim_consent=junk; path=/shop'");
    browser.evaluate("document.cookie = 'kelisim_consent=junk; path=/shop/item'");
    browser.open(&format!("{base}/shop/item"));
    assert!(told(&origin).starts_with("advertising=denied"), "copies contradict: {}", told(&origin));
    browser.evaluate("kelisim.consent({ advertising: true })");
    browser.open(&format!("{base}/shop/item"));
    assert!(told(&origin).starts_with("advertising=granted"), "{}", told(&origin));
    // By the form as well, which knows the page by where it returns to.
    browser.evaluate("document.cookie = 'kelisim_consent=junk; path=/shop'");
    browser.open(&format!("{base}/.kelisim/?return=/shop/item&lang=en"));
    browser.click_through("button[value=accept]");
    assert!(told(&origin).starts_with("advertising=granted"), "{}", told(&origin));
    gateway.finish();
}

#[test]
fn the_script_is_kept_by_browsers_and_asked_for_anew() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    let first = client.get("/.kelisim/banner.js");
    assert_eq!((first.status, first.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert_eq!(first.header("cache-control"), "no-cache");
    let tag = first.header("etag").to_owned();
    let again =
        client.fetch(&crate::support::ask("GET", "/.kelisim/banner.js").header("if-none-match", &tag));
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(client.fetch(&crate::support::ask("POST", "/.kelisim/banner.js")).status, 405);
    assert_eq!(origin.count(), 0);
}

fn journey(banner: &Banner) {
    if modules().is_none() {
        return missing("npm packages of .ci/npm");
    }
    let Some(mut browser) = Browser::start() else { return };
    let page = page(banner);
    let setup = banner.setup;
    let origin = Origin::start(move |seen| site(seen, Some((&page, setup))));
    let gateway = start(&origin);
    let base = format!("http://{}", gateway.addresses[0]);
    let open = |browser: &mut Browser| {
        browser.open(&format!("{base}/shop/item"));
        browser.wait_until(&format!("typeof kelisim === 'object' && {}", banner.ready));
    };
    let act = |browser: &mut Browser, action: &str| {
        // Whatever goes wrong on the page ends the wait and is shown.
        browser.evaluate(
            "window.told = new Promise(done => {
                addEventListener('kelisim:consent', event => done(event.detail), { once: true });
                addEventListener('error', event => done({ error: event.message }));
                addEventListener('unhandledrejection', event => done({ error: String(event.reason) }));
                setTimeout(() => done({ error: 'nothing was sent' }), 10000);
            }), 0",
        );
        browser.evaluate(&format!("({action}, 0)"));
        browser.evaluate("window.told")
    };
    let name = banner.name;
    // Before a choice.
    open(&mut browser);
    browser.wait_until(banner.shown);
    assert_eq!(arrives(&mut browser, &base, &origin), Vec::<String>::new(), "{name}: before");
    // Refused by a click on the banner.
    open(&mut browser);
    browser.wait_until(banner.shown);
    let state = act(&mut browser, banner.refuse);
    assert_eq!(state["reason"], "own_refused", "{name}: {state}");
    assert_eq!(arrives(&mut browser, &base, &origin), Vec::<String>::new(), "{name}: refused");
    // Accepted, later, in its settings.
    open(&mut browser);
    let state = act(&mut browser, banner.accept);
    assert_eq!(state["reason"], "own_granted", "{name}: {state}");
    assert_eq!(arrives(&mut browser, &base, &origin), advertising_names(), "{name}: accepted");
    // What the banner remembers is no new choice: a withdrawal elsewhere holds.
    browser.evaluate("fetch('/.kelisim/consent', { method: 'DELETE' }).then(() => 0)");
    open(&mut browser);
    assert_eq!(browser.evaluate("kelisim.state()")["reason"], "own_refused", "{name}: remembered");
    assert_eq!(arrives(&mut browser, &base, &origin), Vec::<String>::new(), "{name}: withdrawn elsewhere");
    // Accepted once more, and withdrawn in the banner.
    open(&mut browser);
    browser.evaluate("kelisim.consent({ advertising: true }).then(() => 0)");
    let state = act(&mut browser, banner.withdraw);
    assert_eq!(state["reason"], "own_refused", "{name}: {state}");
    assert_eq!(arrives(&mut browser, &base, &origin), Vec::<String>::new(), "{name}: withdrawn");
    gateway.finish();
}

fn start(origin: &Origin) -> Gateway {
    // What arrives is compared with what was chosen.
    origin.grant_advertising(true);
    ["sec-purpose", "sec-fetch-storage-access"].iter().for_each(|name| origin.tolerate(name));
    Gateway::build(&[origin]).hosts(&["127.0.0.1"]).start()
}

/// The advertising cookies that reach the site when a script has just written them all.
fn arrives(browser: &mut Browser, base: &str, origin: &Origin) -> Vec<String> {
    for (name, value) in ADS {
        browser.evaluate(&format!("document.cookie = '{name}={value}; path=/'"));
    }
    browser.open(&format!("{base}/received"));
    let seen = origin.seen();
    let last = seen.iter().rev().find(|seen| seen.target == "/received").expect("the page was asked for");
    let names =
        last.cookies().split("; ").map(|cookie| cookie.split('=').next().unwrap_or_default().to_owned());
    let mut names: Vec<String> = names.filter(|name| ADS.iter().any(|(ad, _)| ad == name)).collect();
    names.sort();
    names
}

fn advertising_names() -> Vec<String> {
    let mut names: Vec<String> = ADS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    names
}

fn page(banner: &Banner) -> String {
    format!(
        "<link rel=stylesheet href=\"/npm/{}\"><script src=\"/.kelisim/banner.js\" data-banner=\"{}\" data-advertising=\"ads\"></script>\
         {}<script src=\"/npm/{}\"></script>{}",
        banner.style,
        banner.name,
        // Klaro reads its settings when it is loaded; the others are called.
        if banner.name == "klaro" { "<script src=\"/setup.js\"></script>" } else { "" },
        banner.script,
        if banner.name == "klaro" { "" } else { "<script src=\"/setup.js\"></script>" },
    )
}

/// A site whose pages load scripts of their own site only.
fn site(seen: &Seen, banner: Option<(&String, &str)>) -> Answer {
    let path = seen.target.split('?').next().unwrap_or_default();
    let text = |kind: &str, body: Vec<u8>| Answer::new(200).header("Content-Type", kind).body(body);
    if let Some(file) = path.strip_prefix("/npm/") {
        let file = modules().map(|folder| folder.join(file)).filter(|_| !file.contains(".."));
        let kind = if path.ends_with(".css") { "text/css" } else { "text/javascript" };
        return match file.and_then(|file| std::fs::read(file).ok()) {
            Some(body) => text(kind, body),
            None => Answer::new(404),
        };
    }
    let (body, setup) = banner
        .map_or(("<script src=\"/.kelisim/banner.js\"></script>", ""), |(page, setup)| {
            (page.as_str(), setup)
        });
    match path {
        "/setup.js" => text("text/javascript", setup.into()),
        "/received" | "/favicon.ico" => Answer::page().body("<!doctype html><title>received</title>"),
        _ => Answer::page().header("Content-Security-Policy", POLICY).body(format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>t</title><body>{body}</body></html>"
        )),
    }
}

/// Where `.ci/run` installs the packages.
fn modules() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/npm/node_modules");
    folder.join("klaro").is_dir().then_some(folder)
}

/// In Klaro's window: the other state of the one switch, and save.
const KLARO_SWITCH: &str =
    "klaro.show(undefined, true), new Promise(done => setTimeout(done, 100)).then(() => {
    document.querySelector('.klaro .cm-modal #service-item-ads').click();
    document.querySelector('.klaro .cm-modal .cm-btn-accept').click();
})";

/// Nothing inline but styles, which these banners cannot do without.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; \
img-src 'self' data:; font-src 'self' data:";
