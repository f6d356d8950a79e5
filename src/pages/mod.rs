//! Our own pages: one shell, no script, nothing from elsewhere.
//!
//! [`shell`] is the frame of every page that the gateway makes itself; [`content_security_policy`] allows its style
//! and nothing else. Never holds a visitor's data beyond what the page shows. Bound: the texts.

pub mod consent;
pub mod language;
pub mod policy;

mod texts;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use self::language::Language;

/// A whole page with our style: `title` for the tab, `body` for everything inside `<main>`.
#[must_use]
pub fn shell(language: Language, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
}

/// The content security policy of every page made with [`shell`]: its own style by hash, forms to this site, no more.
#[must_use]
pub fn content_security_policy() -> HeaderValue {
    static VALUE: LazyLock<HeaderValue> = LazyLock::new(|| {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let value = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        // Base64 and the text above are visible ASCII, so the fallback is never taken; it allows less.
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    });
    VALUE.clone()
}

/// Links to the same page in the other languages; `href` makes the address for one.
fn switcher(current: Language, label: &str, href: impl Fn(Language) -> String) -> Markup {
    html! {
        nav.languages aria-label=(label) {
            @for language in Language::ALL {
                @if language == current {
                    span lang=(language.tag()) aria-current="true" { (language.name()) }
                } @else {
                    a lang=(language.tag()) hreflang=(language.tag()) href=(href(language)) { (language.name()) }
                }
            }
        }
    }
}

/// The style of all pages.
const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_style_that_the_page_carries() {
        let page = shell(Language::En, "T", &html! {}).into_string();
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        let csp = content_security_policy();
        assert!(csp.to_str().unwrap().contains(&format!("style-src 'sha256-{hash}';")));
        assert!(csp.to_str().unwrap().starts_with("default-src 'none';"));
    }

    #[test]
    fn the_shell_escapes_and_loads_nothing() {
        let page = shell(Language::Kk, "<b>&\"", &html! { p { "<i>" } }).into_string();
        assert!(page.contains("<title>&lt;b&gt;&amp;") && page.contains("<p>&lt;i&gt;</p>"));
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"kk\">"));
        for load in ["<script", "<link", "<img", "url(", "@import", "http:", "https:", "style=\""] {
            assert!(!page.contains(load), "{load}");
        }
    }
}
