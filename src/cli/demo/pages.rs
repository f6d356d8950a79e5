//! The demo site's pages.
//!
//! Plain HTML that works without scripts; the scripts do what trackers do, or compare. Never loads anything from
//! elsewhere. Bound: the texts.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::texts::texts;
use super::visit::{Consent, Visit};
use crate::pages::language::Language;

/// A whole page: menu, banner if nobody has chosen yet, `body`, footer.
pub(super) fn page(visit: &Visit<'_>, title: &str, body: &Markup) -> Markup {
    let t = texts(visit.language);
    html! {
        (DOCTYPE)
        html lang=(visit.language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                // An empty icon: otherwise browsers ask for one, and the records of a first try fill with it.
                link rel="icon" href="data:,";
                title { (title) " · " (t.brand) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header { (head(visit)) }
                main {
                    // `/received` says it in its own words.
                    @if visit.consent() == Consent::Open && visit.parts.uri.path() != "/received" {
                        div.banner {
                            p { (t.banner) }
                            a.button href=(consent_page(visit)) { (t.choose) }
                        }
                    }
                    (body)
                }
                footer { (t.footer) }
            }
        }
    }
}

/// The home page.
pub(super) fn home(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    let here = consent_page(visit);
    let steps = ["/shop", "/login", "/received", here.as_str()];
    let body = html! {
        h1 { (t.home_title) }
        p.lead { (t.home_lead) }
        h2 { (t.home_cookies) }
        p { (t.home_cookies_text) }
        h2 { (t.home_try) }
        ol.steps {
            @for (text, address) in t.home_steps.iter().zip(steps) {
                li { a href=(address) { (text) } }
            }
        }
        h2 { (t.more) }
        ul.steps {
            li { a href="/events" { (t.clock) } }
            li { a href="/upload" { (t.upload) } }
            li { a href="/download/10" { (t.download) } }
        }
    };
    page(visit, t.home, &body)
}

/// The shelf, with a script that behaves as trackers do.
pub(super) fn shop(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    let body = html! {
        h1 { (t.shop_title) }
        p { (t.basket.replace("{}", &visit.basket().to_string())) }
        ul.cards {
            @for tea in &t.teas {
                li.card {
                    h2 { (tea.name) }
                    p { (tea.text) }
                    form.foot method="post" action="/basket" {
                        span.price { (tea.price) }
                        button { (t.add) }
                    }
                }
            }
        }
        p { (t.shop_script) }
        p.small hidden { (t.shop_held) " " code id="held" {} }
        script { (PreEscaped(include_str!("shop.js"))) }
    };
    page(visit, t.shop, &body)
}

/// The form to sign in; `wrong` after an attempt without a name.
pub(super) fn login(visit: &Visit<'_>, wrong: bool) -> Markup {
    let t = texts(visit.language);
    let body = html! {
        h1 { (t.sign_in) }
        form.sheet method="post" action="/login" {
            @if wrong { p.wrong role="alert" { (t.sign_in_wrong) } }
            label { (t.name) input name="name" autocomplete="off" maxlength="100"; }
            p.small { (t.sign_in_note) }
            div { button { (t.sign_in) } }
        }
    };
    page(visit, t.sign_in, &body)
}

/// What a signed-in person sees.
pub(super) fn account(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    let body = html! {
        h1 { (t.account) }
        p { (t.account_text) }
        div.actions {
            a.button href="/received" { (t.received) }
            form method="post" action="/logout" { button.quiet { (t.sign_out) } }
        }
    };
    page(visit, t.account, &body)
}

/// The form to register, or after it.
pub(super) fn register(visit: &Visit<'_>, done: bool) -> Markup {
    let t = texts(visit.language);
    let body = html! {
        @if done {
            h1 { (t.registered) }
            p { (t.registered_text) }
        } @else {
            h1 { (t.register) }
            p { (t.register_text) }
            form.sheet method="post" action="/register" {
                label { (t.name) input name="name" autocomplete="off" maxlength="100" required; }
                label { (t.email) input name="email" type="email" autocomplete="off" maxlength="200" required; }
                div { button { (t.register) } }
            }
        }
    };
    page(visit, t.register, &body)
}

/// A clock that ticks by server-sent events.
pub(super) fn events(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    let body = html! {
        h1 { (t.clock) }
        p { (t.clock_text) }
        p.clock id="clock" role="timer" { "–" }
        script { (PreEscaped(include_str!("clock.js"))) }
    };
    page(visit, t.clock, &body)
}

/// The form to send a file; with `report` what came of it.
pub(super) fn upload(visit: &Visit<'_>, report: Option<&str>) -> Markup {
    let t = texts(visit.language);
    let body = html! {
        h1 { (t.upload) }
        p { (t.upload_text) }
        form.sheet id="upload" method="post" enctype="multipart/form-data" action="/upload" {
            label { (t.file) input type="file" name="file" required; }
            div { button { (t.send) } }
        }
        section id="result" hidden[report.is_none()] {
            h2 { (t.upload_done) }
            p { code { (report.unwrap_or_default()) } }
        }
        script { (PreEscaped(include_str!("upload.js"))) }
    };
    page(visit, t.upload, &body)
}

/// There is no such page.
pub(super) fn not_found(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    page(visit, t.not_found, &html! { h1 { (t.not_found) } p { a href="/" { (t.home) } } })
}

/// Something else did not work.
pub(super) fn failed(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    page(visit, t.failed, &html! { h1 { (t.failed) } p { (t.failed_text) } p { a href="/" { (t.home) } } })
}

fn head(visit: &Visit<'_>) -> Markup {
    let t = texts(visit.language);
    let path = visit.parts.uri.path();
    let account = if visit.is_signed_in() { ("/account", t.account) } else { ("/login", t.sign_in) };
    let menu =
        [("/", t.home), ("/shop", t.shop), account, ("/register", t.register), ("/received", t.received)];
    html! {
        div.top {
            a.brand href="/" { (t.brand) }
            nav.languages aria-label=(t.languages) {
                @for language in Language::ALL {
                    @if language == visit.language {
                        span lang=(language.tag()) aria-current="true" { (language.name()) }
                    } @else {
                        a lang=(language.tag()) hreflang=(language.tag()) href={ "?lang=" (language.tag()) } {
                            (language.name())
                        }
                    }
                }
            }
        }
        div {
            nav.menu aria-label=(t.menu) {
                @for (address, name) in menu {
                    a href=(address) aria-current=[(address == path).then_some("page")] { (name) }
                }
            }
        }
    }
}

/// The gateway's page, and back to this one.
fn consent_page(visit: &Visit<'_>) -> String {
    let back = crate::consent::encode(visit.parts.uri.path());
    format!("/.kelisim/?lang={}&return={back}", visit.language.tag())
}
