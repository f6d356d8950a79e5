//! The page where a visitor chooses.
//!
//! A plain HTML form: it needs no script. Nothing is ticked for somebody who has not chosen, refusing is as near as
//! accepting, and withdrawing is one button. Never decides. Bound: the texts and one address.

use maud::{Markup, html};

use super::language::Language;
use super::texts::{Purpose, Texts, texts};
use super::{shell, switcher};
use crate::consent::notice::Shown;
use crate::consent::policy::VersionId;
use crate::consent::receipts::hash_of;
use crate::consent::{Decision, Mask, NO_RECEIPT, Outcome, Source};
use crate::cookies::{Action, Actions, Category, Mode};

/// What the page shows.
#[derive(Clone, Debug)]
pub struct ConsentPage<'a> {
    /// Language of the page.
    pub language: Language,
    /// Path of our endpoints, with both slashes.
    pub prefix: &'a str,
    /// The decision for this request.
    pub decision: &'a Decision,
    /// Which purposes wait for a choice; only these get a switch.
    pub actions: Actions,
    /// Whether what is decided is enforced: the page says no other thing than what is done.
    pub mode: Mode,
    /// Whether the visitor's country is looked up.
    pub location: bool,
    /// Token of the form.
    pub token: String,
    /// What visitors are told now.
    pub notices: Vec<Shown<'a>>,
    /// Where to go afterwards: an address on this site, already checked.
    pub back: Option<&'a str>,
    /// Whether that address needs acceptance of the policy.
    pub gated: bool,
    /// Whether a choice was just stored.
    pub saved: bool,
    /// The signal by which the browser objects to advertising, if it sends one.
    pub objection: Option<Source>,
    /// Whether that signal beats a consent given here.
    pub objection_wins: bool,
}

impl ConsentPage<'_> {
    /// The page as HTML.
    #[must_use]
    pub fn render(&self) -> Markup {
        let t = texts(self.language);
        let body = html! {
            (switcher(self.language, t.languages, |language| self.address(language)))
            h1 { (t.title) }
            p.lead { (t.lead) }
            (self.notices(t))
            (self.state(t))
            form method="post" action={ (self.prefix) "consent" } {
                (self.hidden())
                fieldset {
                    legend { h2 { (t.purposes) } }
                    (row(&t.necessary, t.always))
                    (self.purpose(Category::Functional, &t.functional, Mask::FUNCTIONAL, t))
                    (self.purpose(Category::Analytics, &t.analytics, Mask::ANALYTICS, t))
                    (self.purpose(Category::Advertising, advertising(t, self.actions, self.mode), Mask::ADVERTISING, t))
                }
                (self.policy(t))
                div.buttons {
                    button type="submit" name="action" value="refuse" { (t.refuse) }
                    button type="submit" name="action" value="accept" { (t.accept) }
                    button.wide type="submit" name="action" value="save" { (t.save) }
                }
            }
            section {
                h2 { (t.withdraw_heading) }
                p { (t.withdraw_text) }
                form method="post" action={ (self.prefix) "consent" } {
                    (self.hidden())
                    button type="submit" name="action" value="withdraw" { (t.withdraw) }
                }
            }
            section {
                h2 { (t.recorded_heading) }
                p { (t.recorded) }
                @if self.location {
                    h2 { (t.location_heading) }
                    p { (t.location) }
                }
            }
        };
        shell(self.language, t.title, &body)
    }

    fn address(&self, language: Language) -> String {
        let mut address = format!("{}?lang={}", self.prefix, language.tag());
        if let Some(back) = self.back {
            address.push_str("&return=");
            address.push_str(&crate::consent::encode(back));
        }
        address
    }

    fn hidden(&self) -> Markup {
        html! {
            input type="hidden" name="token" value=(self.token);
            input type="hidden" name="lang" value=(self.language.tag());
            input type="hidden" name="shown"
                value=(hash_of(&statement(self.language, (self.actions, self.mode), self.decision.policy_version)));
            input type="hidden" name="held" value=(self.held());
            @if let Some(back) = self.back { input type="hidden" name="return" value=(back); }
        }
    }

    /// The choice that the switches show: a form that was open while another one was made does not undo it.
    fn held(&self) -> String {
        self.decision.receipt.map_or_else(|| NO_RECEIPT.to_owned(), |receipt| receipt.to_string())
    }

    fn notices(&self, t: &Texts) -> Markup {
        html! {
            @if self.saved { p.notice.good role="status" { (t.saved) } }
            @for Shown { language, text, .. } in &self.notices { p.notice lang=(language) { (text) } }
            @if self.gated { p.notice role="status" { (t.gated) } }
            @if let Some(signal) = self.objection.filter(|_| self.asks_about_advertising()) {
                p.notice { (fill(if self.objection_wins { t.objection_wins } else { t.objection }, name_of(signal))) }
            }
        }
    }

    fn state(&self, t: &Texts) -> Markup {
        let action = self.actions.get(Category::Advertising);
        let advertising = match (action, self.decision.result) {
            (Action::Consent, Outcome::Granted) => t.advertising_granted.to_owned(),
            (Action::Consent, Outcome::Denied) => t.advertising_denied.to_owned(),
            (Action::Allow, _) => format!("{}: {}", t.advertising.name, t.not_asked),
            (Action::Strip, _) => format!("{}: {}", t.advertising.name, never(t, self.mode)),
        };
        html! {
            section.state {
                h2 { (t.state) }
                p { strong { (advertising) } }
                @if !self.decision.chosen { p { (t.state_open) } }
                @if let Some(receipt) = self.decision.receipt {
                    p.small { (t.receipt) ": " code { (receipt) } br; (t.receipt_hint) " "
                        a href={ (self.prefix) "receipt?lang=" (self.language.tag()) } { (t.receipt_download) }
                    }
                }
            }
        }
    }

    fn asks_about_advertising(&self) -> bool {
        self.actions.get(Category::Advertising) == Action::Consent
    }

    /// A switch, or, where nothing waits for a choice, a plain word about what happens.
    fn purpose(&self, category: Category, purpose: &Purpose, bit: Mask, t: &Texts) -> Markup {
        let name = category.label();
        match self.actions.get(category) {
            Action::Allow => row(purpose, t.not_asked),
            Action::Strip => row(purpose, never(t, self.mode)),
            Action::Consent => html! {
                div.purpose {
                    label for=(name) { (purpose.name) }
                    input type="checkbox" role="switch" id=(name) name=(name) value="on"
                        aria-describedby={ (name) "-text" } checked[self.decision.own.contains(bit)];
                    p id={ (name) "-text" } { (purpose.text) }
                }
            },
        }
    }

    fn policy(&self, t: &Texts) -> Markup {
        let version = self.decision.policy_version;
        html! {
            @if version != VersionId::NONE {
                fieldset {
                    legend { h2 { (t.policy_heading) } }
                    p {
                        a href={ (self.prefix) "policy?lang=" (self.language.tag()) } {
                            (fill(t.policy_read, version.as_str()))
                        }
                    }
                    @if self.decision.policy_accepted {
                        p { (fill(t.policy_accepted, version.as_str())) }
                    } @else {
                        p.check {
                            input type="checkbox" id="policy" name="policy" value="accepted";
                            label for="policy" { (fill(t.policy_accept, version.as_str())) }
                        }
                    }
                    p.small { (t.policy_not_consent) }
                }
            }
        }
    }
}

/// The exact words on which a choice rests, as a receipt keeps them: everything that is said about the purposes, the
/// policy and what the buttons do.
#[must_use]
pub fn statement(language: Language, (actions, mode): (Actions, Mode), version: VersionId) -> String {
    let t = texts(language);
    let mut lines = vec![t.title.to_owned(), t.lead.to_owned(), t.purposes.to_owned()];
    lines.push(format!("{}: {} [{}]", t.necessary.name, t.necessary.text, t.always));
    for (category, purpose) in [
        (Category::Functional, &t.functional),
        (Category::Analytics, &t.analytics),
        (Category::Advertising, advertising(t, actions, mode)),
    ] {
        let asked = match actions.get(category) {
            Action::Consent => "?",
            Action::Allow => t.not_asked,
            Action::Strip => never(t, mode),
        };
        lines.push(format!("{}: {} [{asked}]", purpose.name, purpose.text));
    }
    if version != VersionId::NONE {
        let filled = |text| fill(text, version.as_str());
        lines.extend([t.policy_heading.to_owned(), filled(t.policy_read), filled(t.policy_accept)]);
        lines.push(t.policy_not_consent.to_owned());
    }
    lines.push(format!("[{}] [{}] [{}]", t.refuse, t.accept, t.save));
    lines.extend([t.withdraw_heading.to_owned(), t.withdraw_text.to_owned(), format!("[{}]", t.withdraw)]);
    lines.join("\n") + "\n"
}

/// The name under which people know a browser's signal.
const fn name_of(signal: Source) -> &'static str {
    match signal {
        Source::Gpc => "Global Privacy Control",
        Source::Dnt => "Do Not Track",
        other => other.label(),
    }
}

/// What is said of advertising: what is done.
const fn advertising(t: &Texts, actions: Actions, mode: Mode) -> &Purpose {
    match (actions.get(Category::Advertising), mode) {
        (Action::Consent, Mode::Enforce) => &t.advertising,
        (Action::Consent, Mode::DryRun) => &t.advertising_dry_run,
        (Action::Strip, Mode::Enforce) => &t.advertising_never,
        (Action::Allow, _) | (Action::Strip, Mode::DryRun) => &t.advertising_allowed,
    }
}

/// What is said of a purpose that is not allowed: while nothing is enforced, its cookies pass unasked.
const fn never(t: &Texts, mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => t.never,
        Mode::DryRun => t.not_asked,
    }
}

/// Why a request could not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is there, or it cannot be read.
    Unreadable,
    /// Nothing proves that it came from our form.
    Unproven,
    /// What the form spoke of is not what holds now.
    Outdated,
    /// The choice could not be stored.
    NotStored,
    /// What was asked for needs acceptance of the policy.
    NotAccepted,
}

/// The page for a request that could not be answered.
#[must_use]
pub fn problem(language: Language, prefix: &str, cause: Cause) -> Markup {
    let t = texts(language);
    let body = html! {
        h1 { (t.problem_title) }
        p { (match cause {
            Cause::Unreadable => t.problem_text,
            Cause::Unproven => t.problem_expired,
            Cause::Outdated => t.problem_outdated,
            Cause::NotStored => t.problem_not_stored,
            Cause::NotAccepted => t.gated,
        }) }
        p { a href={ (prefix) "?lang=" (language.tag()) } { (t.back_to_choices) } }
    };
    shell(language, t.problem_title, &body)
}

/// Puts a version id, a date or a name in its place in a text.
pub(super) fn fill(text: &str, value: &str) -> String {
    text.replacen("{}", value, 1)
}

/// A purpose that there is nothing to choose about.
fn row(purpose: &Purpose, state: &str) -> Markup {
    html! {
        div.purpose {
            h3 { (purpose.name) }
            span.fixed { (state) }
            p { (purpose.text) }
        }
    }
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
