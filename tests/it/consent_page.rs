//! The consent page for everybody: by keyboard alone, large, dark, narrow, with and without scripts; and what axe says.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::{Gateway, Origin, missing};

/// A gateway with a policy in three languages, all purposes asked for, and a notice.
fn gateway(origin: &Origin) -> Gateway {
    let mut build = Gateway::build(&[origin]).hosts(&["127.0.0.1"]);
    let mut versions = Vec::new();
    for (language, text) in [
        ("kk", "# Құпиялылық саясаты\n\n## 1. Жалпы ережелер\n\nМәтін.\n"),
        ("ru", "# Политика конфиденциальности\n\n## 1. Общие положения\n\nТекст.\n"),
        (
            "en",
            "# Privacy policy\n\n## 1. Terms\n\n1. Text.\n\n| data | term |\n|---|---|\n| address | 30 days |\n",
        ),
    ] {
        build = build.file(&format!("{language}.md"), text);
        for (id, day) in [("2024-01", "2024-01-01"), ("2026-01", "2026-01-01")] {
            versions.push(format!(
                "{{ id = \"{id}\", file = \"{language}.md\", language = \"{language}\", effective = {day} }}"
            ));
        }
    }
    build
        .key("cookies.actions.analytics", "\"consent\"")
        .key("cookies.actions.functional", "\"consent\"")
        .tables(&format!(
            "[site.policy]\nversions = [{}]\n[[site.notice]]\nid = \"n\"\ntext = {{ en = \"The policy has changed.\", ru = \"Политика изменилась.\", kk = \"Саясат өзгерді.\" }}\n",
            versions.join(", ")
        ))
        .start()
}

/// How the page is looked at: a name, the width, the zoom in percent, and whether it is dark.
const VIEWS: [(&str, u32, u32, bool); 5] = [
    ("wide", 1280, 100, false),
    ("dark", 1280, 100, true),
    ("narrow", 320, 100, false),
    ("narrow-dark", 320, 100, true),
    ("zoomed", 1280, 200, false),
];

fn look(browser: &mut Browser, (_, width, zoom, dark): (&str, u32, u32, bool)) {
    // A zoom of 200 % halves the width that the page has and doubles the pixels of each of its own.
    let metrics = json!({ "width": width * 100 / zoom, "height": 900, "deviceScaleFactor": zoom / 100, "mobile": false });
    browser.command("Emulation.setDeviceMetricsOverride", &metrics);
    let scheme = if dark { "dark" } else { "light" };
    let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    browser.command("Emulation.setEmulatedMedia", &feature);
}

/// axe-core, where `.ci/run` has put it.
fn axe() -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/npm/node_modules/axe-core/axe.min.js");
    let text = std::fs::read_to_string(path).ok();
    if text.is_none() {
        missing("axe-core");
    }
    text
}

#[test]
fn nothing_sticks_out_and_axe_finds_no_violation() {
    let Some(mut browser) = Browser::start() else { return };
    let Some(axe) = axe() else { return };
    let origin = Origin::pages();
    let gateway = gateway(&origin);
    let base = format!("http://{}/.kelisim/", gateway.addresses[0]);
    let screenshots = std::env::var_os("KELISIM_SCREENSHOTS").map(PathBuf::from);
    for page in ["", "policy", "nothing-here"] {
        for language in ["kk", "ru", "en"] {
            for view in VIEWS {
                look(&mut browser, view);
                browser.open(&format!("{base}{page}?lang={language}"));
                let name = format!("{page}-{language}-{}", view.0);
                let fits = "document.documentElement.scrollWidth <= innerWidth";
                assert_eq!(browser.evaluate(fits), true, "{name}: something sticks out");
                // The content policy of the page forbids scripts; the debugger's are not the page's.
                browser.evaluate(&format!("{axe}; true"));
                let found = browser.evaluate(
                    "axe.run({ resultTypes: ['violations'] }).then(r => JSON.stringify(r.violations.map(v => [v.id, v.nodes.map(n => n.html)])))",
                );
                assert_eq!(found, "[]", "{name}");
                if let Some(folder) = &screenshots {
                    shoot(&mut browser, folder, &name);
                }
            }
        }
    }
    assert_eq!(origin.count(), 0);
}

fn shoot(browser: &mut Browser, folder: &Path, name: &str) {
    browser.screenshot(&folder.join(format!("page-{name}.png")));
}

/// What has the focus: the name or value of a control, or the address of a link.
const FOCUSED: &str = "(e => e.name === 'action' ? e.value : e.name || e.getAttribute('href') || e.tagName)(document.activeElement)";

#[test]
fn by_keyboard_alone_refusing_is_as_short_as_accepting() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::pages();
    let gateway = gateway(&origin);
    let base = format!("http://{}/.kelisim/", gateway.addresses[0]);
    let mut presses = Vec::new();
    for scripts in [true, false] {
        browser.scripts(scripts);
        for button in ["refuse", "accept", "save"] {
            browser.command("Network.clearBrowserCookies", &json!({}));
            browser.open(&format!("{base}?lang=en"));
            let mut met = Vec::new();
            while met.last().map(String::as_str) != Some(button) {
                assert!(met.len() < 20, "{button} is not reached: {met:?}");
                browser.press("Tab");
                let focused = browser.evaluate(FOCUSED).as_str().unwrap_or_default().to_owned();
                let outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle");
                assert_ne!(outline, "none", "{focused}: where one is must be seen");
                if focused == "advertising" && button == "save" {
                    browser.press(" ");
                }
                met.push(focused);
            }
            for control in ["functional", "analytics", "advertising", "policy"] {
                assert!(met.iter().any(|m| m == control), "{control} is not reached: {met:?}");
            }
            browser.press("Enter");
            browser.wait_until("location.search.includes('saved=1') && document.readyState === 'complete'");
            let granted = browser.evaluate("document.body.innerText.includes('Advertising: allowed')");
            assert_eq!(granted, Value::Bool(button != "refuse"), "{button}");
            assert_eq!(browser.evaluate("document.querySelector('[role=status]') !== null"), true);
            presses.push((button, met.len()));
        }
    }
    let of = |button: &str| presses.iter().filter(|(b, _)| *b == button).map(|(_, n)| *n).max();
    assert!(of("refuse") <= of("accept"), "{presses:?}");
}
