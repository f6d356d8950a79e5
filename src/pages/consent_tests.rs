//! Tests of the consent page: the controls are there, nothing is ticked, nothing is loaded.

use super::*;
use crate::clock::Timestamp;
use crate::consent::{ConsentRecord, Mask, Signals, SiteConsent, decide};

const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

fn decision(mask: Option<Mask>) -> Decision {
    let site = SiteConsent::for_test();
    let mut signals = Signals::default();
    if let Some(mask) = mask {
        let version = site.rules.policies.version_in_force(NOW);
        signals.push_own(Some(ConsentRecord { version, mask, ..ConsentRecord::for_test() }));
    }
    decide(&signals, &site.rules, NOW)
}

fn page<'a>(language: Language, decision: &'a Decision) -> ConsentPage<'a> {
    ConsentPage {
        language,
        prefix: "/.kelisim/",
        decision,
        actions: SiteConsent::for_test().actions,
        mode: Mode::Enforce,
        location: true,
        token: "TOKEN".into(),
        notices: vec![],
        back: None,
        gated: false,
        saved: false,
        objection: None,
        objection_wins: false,
    }
}

#[test]
fn every_language_has_every_control() {
    for language in Language::ALL {
        let first = decision(None);
        let html = page(language, &first).render().into_string();
        assert!(html.contains(&format!("<html lang=\"{}\">", language.tag())));
        for name in ["functional", "analytics", "advertising"] {
            assert!(html.contains(&format!("<label for=\"{name}\">")), "{name}");
            assert!(html.contains(&format!("id=\"{name}\" name=\"{name}\" value=\"on\"")), "{name}");
        }
        for action in ["refuse", "accept", "save", "withdraw"] {
            assert_eq!(html.matches(&format!("name=\"action\" value=\"{action}\"")).count(), 1, "{action}");
        }
        for part in
            ["<fieldset>", "<legend>", "name=\"policy\" value=\"accepted\"", "name=\"token\" value=\"TOKEN\""]
        {
            assert!(html.contains(part), "{part}");
        }
        assert!(html.contains(&format!("href=\"/.kelisim/policy?lang={}\"", language.tag())));
        for other in Language::ALL.into_iter().filter(|other| *other != language) {
            assert!(html.contains(&format!("href=\"/.kelisim/?lang={}\"", other.tag())));
        }
        let t = texts(language);
        for text in [t.recorded, t.location, t.withdraw_text, t.state_open, t.advertising_denied] {
            assert!(html.contains(text), "{text}");
        }
        assert!(!html.contains("{}"), "a place in a text was not filled");
        assert!(!html.contains("Control") && !html.contains(t.saved) && !html.contains(t.gated));
    }
}

#[test]
fn nothing_is_ticked_and_nothing_loaded_for_a_first_visit() {
    let first = decision(None);
    let html = page(Language::En, &first).render().into_string();
    for not in
        [" checked", "<script", "javascript:", "<link", "<img", "<iframe", "http:", "https:", " style=\""]
    {
        assert!(!html.contains(not), "{not}");
    }
    assert!(!html.contains("onclick") && !html.contains("onchange"));
}

#[test]
fn refusing_is_as_prominent_as_accepting() {
    let first = decision(None);
    let html = page(Language::En, &first).render().into_string();
    assert!(html.contains(
        "<button type=\"submit\" name=\"action\" value=\"refuse\">Refuse all</button>\
         <button type=\"submit\" name=\"action\" value=\"accept\">Accept all</button>"
    ));
}

#[test]
fn a_choice_is_shown_as_it_stands() {
    let chosen = decision(Some(Mask::ANALYTICS.or(Mask::POLICY)));
    let html = page(Language::En, &chosen).render().into_string();
    assert_eq!(html.matches(" checked").count(), 1);
    assert!(html.contains("aria-describedby=\"analytics-text\" checked"));
    assert!(
        html.contains("Advertising: not allowed") && html.contains("01900000-0000-7000-8000-000000000001")
    );
    assert!(html.contains("You have accepted the privacy policy, version 2026-11."));
    assert!(!html.contains("name=\"policy\""));

    let all = decision(Some(Mask::ANALYTICS.or(Mask::FUNCTIONAL).or(Mask::ADVERTISING)));
    let html = page(Language::En, &all).render().into_string();
    assert_eq!(html.matches(" checked").count(), 3);
    assert!(html.contains("Advertising: allowed") && html.contains("name=\"policy\""));
}

#[test]
fn a_consent_given_elsewhere_is_told_and_not_ticked() {
    let mut banner = decision(None);
    banner.result = Outcome::Granted;
    banner.permits.advertising = Some(crate::consent::Permit::for_test());
    let html = page(Language::En, &banner).render().into_string();
    assert!(html.contains("Advertising: allowed") && !html.contains(" checked"));
}

#[test]
fn what_nobody_is_asked_about_has_no_switch() {
    let first = decision(None);
    let mut page = page(Language::En, &first);
    page.actions.set(Category::Analytics, Action::Allow);
    page.actions.set(Category::Advertising, Action::Strip);
    let html = page.render().into_string();
    assert!(!html.contains("name=\"analytics\"") && !html.contains("name=\"advertising\""));
    assert!(html.contains("Used without asking") && html.contains("Never let through"));
}

#[test]
fn the_page_says_of_advertising_what_is_done() {
    let first = decision(None);
    for language in Language::ALL {
        let t = texts(language);
        for (action, mode, said, state) in [
            (Action::Consent, Mode::Enforce, &t.advertising, t.advertising_denied.to_owned()),
            (Action::Consent, Mode::DryRun, &t.advertising_dry_run, t.advertising_denied.to_owned()),
            (
                Action::Strip,
                Mode::Enforce,
                &t.advertising_never,
                format!("{}: {}", t.advertising.name, t.never),
            ),
            (
                Action::Strip,
                Mode::DryRun,
                &t.advertising_allowed,
                format!("{}: {}", t.advertising.name, t.not_asked),
            ),
            (
                Action::Allow,
                Mode::Enforce,
                &t.advertising_allowed,
                format!("{}: {}", t.advertising.name, t.not_asked),
            ),
        ] {
            let mut page = ConsentPage { mode, objection: Some(Source::Gpc), ..page(language, &first) };
            page.actions.set(Category::Advertising, action);
            let html = page.render().into_string();
            let words = format!("<p id=\"advertising-text\">{}</p>", said.text);
            let plain = format!("<p>{}</p>", said.text);
            assert!(html.contains(&words) || html.contains(&plain), "{action:?} {mode:?}");
            assert!(html.contains(&format!("<strong>{state}</strong>")), "{action:?} {mode:?}");
            assert_eq!(html.contains("Global Privacy Control"), action == Action::Consent);
            assert!(statement(language, (page.actions, mode), first.policy_version).contains(said.text));
        }
        let off = ConsentPage { location: false, ..page(language, &first) }.render().into_string();
        assert!(
            !off.contains(t.location) && page(language, &first).render().into_string().contains(t.location)
        );
    }
}

#[test]
fn while_nothing_is_enforced_the_page_claims_no_removal() {
    let first = decision(None);
    for language in Language::ALL {
        let t = texts(language);
        let mut page = ConsentPage { mode: Mode::DryRun, ..page(language, &first) };
        page.actions.set(Category::Analytics, Action::Strip);
        let html = page.render().into_string();
        assert!(html.contains(t.advertising_dry_run.text) && !html.contains(t.advertising.text));
        assert!(html.contains(t.not_asked) && !html.contains(t.never));
        let text = |mode| statement(language, (page.actions, mode), first.policy_version);
        assert!(html.contains(&hash_of(&text(Mode::DryRun))) && text(Mode::DryRun) != text(Mode::Enforce));
    }
}

#[test]
fn notices_and_the_way_back() {
    let first = decision(None);
    let page = ConsentPage {
        back: Some("/a?b=\"><script>&c=1"),
        gated: true,
        saved: true,
        objection: Some(Source::Gpc),
        ..page(Language::En, &first)
    };
    let html = page.render().into_string();
    let t = texts(Language::En);
    for text in [t.saved, &fill(t.objection, "Global Privacy Control")] {
        assert!(html.contains(text));
    }
    assert!(html.contains("requires you to accept the privacy policy") && !html.contains("<script"));
    assert!(html.contains("name=\"return\" value=\"/a?b=&quot;&gt;&lt;script&gt;&amp;c=1\""));
    assert!(html.contains("/.kelisim/?lang=kk&amp;return=/a%3Fb%3D%22%3E%3Cscript%3E%26c%3D1\""), "{html}");
    let dnt = ConsentPage { objection: Some(Source::Dnt), ..page.clone() }.render().into_string();
    assert!(dnt.contains(&fill(t.objection, "Do Not Track")));
    let wins = ConsentPage { objection_wins: true, ..page }.render().into_string();
    assert!(wins.contains(&fill(t.objection_wins, "Global Privacy Control")));
    assert!(!wins.contains(&fill(t.objection, "Global Privacy Control")));
}

#[test]
fn without_a_policy_there_is_nothing_to_accept() {
    let mut site = SiteConsent::for_test();
    site.rules.policies = crate::consent::Policies::default();
    let first = decide(&Signals::default(), &site.rules, NOW);
    let html = page(Language::En, &first).render().into_string();
    assert!(!html.contains("name=\"policy\"") && !html.contains("/.kelisim/policy"));
}

#[test]
fn snapshot() {
    let chosen = decision(Some(Mask::ANALYTICS));
    let html = page(Language::En, &chosen).render().into_string();
    let (head, rest) = html.split_once("<style>").unwrap();
    let body = rest.split_once("</style>").unwrap().1;
    insta::assert_snapshot!(format!("{head}{body}").replace("><", ">\n<"));
}

/// Writes the pages where `KELISIM_PAGES` says, to be looked at.
#[test]
fn pages_can_be_looked_at() {
    let Some(dir) = std::env::var_os("KELISIM_PAGES").map(std::path::PathBuf::from) else { return };
    std::fs::create_dir_all(&dir).unwrap();
    for language in Language::ALL {
        std::fs::write(
            dir.join(format!("problem.{}.html", language.tag())),
            problem(language, "/.kelisim/", Cause::Unproven).into_string(),
        )
        .unwrap();
        let (first, chosen) = (decision(None), decision(Some(Mask::ANALYTICS.or(Mask::POLICY))));
        let first = ConsentPage { objection: Some(Source::Gpc), gated: true, ..page(language, &first) };
        let chosen = ConsentPage { saved: true, ..page(language, &chosen) };
        for (name, page) in [("first", &first), ("chosen", &chosen)] {
            let file = format!("{name}.{}.html", language.tag());
            std::fs::write(dir.join(file), page.render().into_string()).unwrap();
        }
    }
}
