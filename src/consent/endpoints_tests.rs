//! Tests of the endpoints: every verb, every refusal, and what a choice leaves behind.

use http::{HeaderName, HeaderValue, Method as Verb};
use http_body_util::BodyExt as _;

use super::*;
use crate::consent::{COOKIE, Outcome, Reason, Signals, TWIN_COOKIE};
use crate::cookies::Category;

const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: (&str, &str) = ("accept", "text/html");

struct Bench {
    site: SiteConsent,
    keys: ConsentKeys,
    decision: Decision,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
    choice: Option<Choice>,
}

impl Bench {
    fn new() -> Self {
        let site = SiteConsent::for_test();
        let decision = decide(&Signals::default(), &site.rules, NOW);
        Self { site, keys: ConsentKeys::for_test(1), decision }
    }

    /// A visitor whose browser holds a record with these bits.
    fn holding(mask: Mask) -> Self {
        let mut bench = Self::new();
        let mut signals = Signals::default();
        let version = bench.decision.policy_version;
        signals.push_own(Some(ConsentRecord { version, mask, ..ConsentRecord::for_test() }));
        bench.decision = decide(&signals, &bench.site.rules, NOW);
        bench
    }

    fn send(&self, verb: &Verb, target: &str, fields: &[(&str, &str)], body: &str) -> Got {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
            })
            .collect();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let request = OwnRequest {
            method: verb,
            path,
            query,
            headers: &headers,
            body: body.as_bytes(),
            authority: "kz.example",
            secure: true,
            decision: &self.decision,
        };
        let answer = handle(&request, &self.site, &self.keys, NOW);
        let (parts, body) = answer.response.into_parts();
        let body = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(body.collect())
            .unwrap()
            .to_bytes();
        Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
            choice: answer.choice,
        }
    }

    /// The record that an answer stores, read back as the next request would.
    fn stored(&self, got: &Got) -> ConsentRecord {
        let value = got.cookie(COOKIE).expect("a stored record");
        ConsentRecord::verify(&self.keys, "kz.example", value.as_bytes()).expect("a genuine record")
    }
}

impl Got {
    fn cookie(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}=");
        self.headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|field| field.to_str().unwrap().strip_prefix(&prefix))
            .map(|rest| rest.split(';').next().unwrap().to_owned())
            // Ours comes after those that expire what others set.
            .next_back()
    }

    fn is_refused(&self, status: u16, error: &str) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!((self.status, body["error"].as_str()), (status, Some(error)), "{}", self.body);
        assert_eq!(body["detail"].is_string(), error == "malformed", "{}", self.body);
        assert!(self.choice.is_none() && !self.headers.contains_key("set-cookie"));
    }
}

#[test]
fn every_verb_on_every_path() {
    let bench = Bench::new();
    for (path, verb, status, allow) in [
        ("", Verb::GET, 200, None),
        ("", Verb::HEAD, 200, None),
        ("", Verb::POST, 405, Some("GET, HEAD")),
        ("", Verb::OPTIONS, 405, Some("GET, HEAD")),
        ("consent", Verb::GET, 200, None),
        ("consent", Verb::HEAD, 200, None),
        ("consent", Verb::PUT, 405, Some("GET, HEAD, POST, DELETE")),
        ("consent", Verb::PATCH, 405, Some("GET, HEAD, POST, DELETE")),
        ("consent", Verb::OPTIONS, 405, Some("GET, HEAD, POST, DELETE")),
        ("policy", Verb::GET, 200, None),
        ("policy", Verb::DELETE, 405, Some("GET, HEAD")),
        ("policy/2026-11", Verb::GET, 200, None),
        ("policy/2025-01", Verb::HEAD, 200, None),
        ("policy/2025-01", Verb::POST, 405, Some("GET, HEAD")),
        ("policy/2099", Verb::GET, 404, None),
        ("policy/..", Verb::GET, 404, None),
        ("policy/", Verb::GET, 404, None),
        ("policy/2026-11/", Verb::GET, 404, None),
        ("consent/", Verb::GET, 404, None),
        ("Consent", Verb::GET, 404, None),
        ("x", Verb::GET, 404, None),
        ("x", Verb::POST, 404, None),
    ] {
        let got = bench.send(&verb, path, &[], "");
        assert_eq!(got.status, status, "{verb} {path}");
        assert_eq!(got.headers.get("allow").map(|v| v.to_str().unwrap()), allow, "{verb} {path}");
        assert_eq!(got.headers["cache-control"], "no-store");
        assert_eq!(got.headers["x-content-type-options"], "nosniff");
        assert_eq!(got.headers["referrer-policy"], "same-origin");
        assert!(got.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        assert!(got.choice.is_none());
        assert_eq!(got.body.is_empty(), verb == Verb::HEAD, "{verb} {path}");
    }
}

#[test]
fn head_has_the_fields_of_get() {
    let bench = Bench::new();
    for path in ["", "consent", "policy"] {
        let get = bench.send(&Verb::GET, path, &[], "");
        let mut head = bench.send(&Verb::HEAD, path, &[], "").headers;
        assert_eq!(head.remove("content-length").unwrap().to_str().unwrap(), get.body.len().to_string());
        assert_eq!(head, get.headers);
    }
}

#[test]
fn the_state_is_told() {
    let got = Bench::new().send(&Verb::GET, "consent", &[], "");
    assert_eq!(
        got.body,
        r#"{"decision":"denied","reason":"unknown","source":"none","policy_version":"2026-11","policy_accepted":false,"receipt":null,"purposes":{"advertising":false,"analytics":false,"functional":false},"notices":[]}"#
    );
    assert_eq!(got.headers["vary"], VARY);
    let got = Bench::holding(Mask::ADVERTISING.or(Mask::POLICY)).send(&Verb::GET, "consent", &[], "");
    assert!(
        got.body.starts_with(r#"{"decision":"granted","reason":"own_granted","source":"own""#),
        "{}",
        got.body
    );
    assert!(got.body.contains(r#""policy_accepted":true,"receipt":"01900000-0000-7000-8000-000000000001""#));
}

#[test]
fn a_choice_by_form() {
    let bench = Bench::new();
    let got = bench.send(
        &Verb::POST,
        "consent",
        &[SAME, FORM],
        "action=save&advertising=on&policy=accepted&return=%2Fregister%3Fa%3D1&lang=ru",
    );
    assert_eq!((got.status, &got.headers["location"]), (303, &HeaderValue::from_static("/register?a=1")));
    let record = bench.stored(&got);
    assert_eq!(record.mask, Mask::ADVERTISING.or(Mask::POLICY));
    assert_eq!((record.version.as_str(), record.at), ("2026-11", NOW));
    assert_eq!(record.receipt.get_version_num(), 7);
    assert_eq!(got.cookie(TWIN_COOKIE).as_deref(), Some("9"));
    let expected = Choice {
        record,
        event: Event::Given,
        method: Method::Page,
        language: Language::Ru,
        expires: true,
        before: None,
        before_ended: false,
        text: None,
        own_text: None,
        variant: None,
    };
    assert_eq!(got.choice, Some(expected));
}

#[test]
fn a_choice_by_json() {
    let bench = Bench::new();
    let got = bench.send(&Verb::POST, "consent", &[SAME, JSON, ("sec-gpc", "1")], r#"{"advertising":true}"#);
    assert_eq!(got.status, 200);
    let record = bench.stored(&got);
    assert!(got.body.starts_with(r#"{"decision":"granted","reason":"own_granted""#), "{}", got.body);
    assert!(got.body.contains(&format!("\"receipt\":\"{}\"", record.receipt)));
    assert_eq!(got.choice.map(|c| c.method), Some(Method::Api));

    let mut strict = Bench::new();
    strict.site.rules.gpc_over_own_grant = true;
    let got = strict.send(&Verb::POST, "consent", &[SAME, JSON, ("sec-gpc", "1")], r#"{"advertising":true}"#);
    assert!(got.body.starts_with(r#"{"decision":"denied","reason":"gpc""#), "{}", got.body);
}

#[test]
fn accepting_and_refusing_all() {
    let mut bench = Bench::new();
    let accept = |bench: &Bench| {
        bench.stored(&bench.send(&Verb::POST, "consent", &[SAME, FORM], "action=accept")).mask
    };
    assert_eq!(accept(&bench), Mask::ADVERTISING.or(Mask::ANALYTICS).or(Mask::FUNCTIONAL));
    // "All" is what the page offers: a purpose without a switch was not agreed to.
    bench.site.actions.set(Category::Analytics, CookieAction::Allow);
    assert_eq!(accept(&bench), Mask::ADVERTISING.or(Mask::FUNCTIONAL));

    // The button decides, whatever is ticked.
    let got = bench.send(&Verb::POST, "consent", &[SAME, FORM], "advertising=on&analytics=on&action=refuse");
    assert_eq!(bench.stored(&got).mask, Mask::EMPTY);
    let choice = got.choice.unwrap();
    assert_eq!((choice.event, choice.expires), (Event::Refused, true));
    assert_eq!(got.headers["location"], "/.kelisim/?saved=1&lang=kk");
}

#[test]
fn withdrawing_leaves_a_refusal_and_the_accepted_policy() {
    let bench = Bench::holding(Mask::ADVERTISING.or(Mask::ANALYTICS).or(Mask::POLICY));
    assert_eq!(bench.decision.result, Outcome::Granted);
    for (verb, fields, body) in [
        (Verb::DELETE, vec![SAME], ""),
        (Verb::DELETE, vec![SAME, JSON], r#"{"advertising":true}"#),
        (Verb::POST, vec![SAME, FORM], "action=withdraw&advertising=on"),
        (Verb::POST, vec![SAME, JSON], r#"{"action":"withdraw"}"#),
    ] {
        let got = bench.send(&verb, "consent", &fields, body);
        let record = bench.stored(&got);
        assert_eq!(record.mask, Mask::POLICY, "{verb} {body}");
        let choice = got.choice.unwrap();
        assert_eq!((choice.event, choice.expires), (Event::Withdrawn, true));
        let mut signals = Signals::default();
        signals.push_own(Some(record));
        assert_eq!(decide(&signals, &bench.site.rules, NOW).reason, Reason::OwnRefused);
    }
    let got = bench.send(&Verb::POST, "consent", &[SAME, JSON], r#"{"policy":"declined"}"#);
    assert_eq!(bench.stored(&got).mask, Mask::ADVERTISING.or(Mask::ANALYTICS));
}

#[test]
fn other_sites_change_nothing() {
    let bench = Bench::new();
    for field in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://kz.example"),
    ] {
        bench.send(&Verb::POST, "consent", &[field, FORM], "action=accept").is_refused(403, "cross_site");
        bench
            .send(&Verb::POST, "consent", &[field, JSON], r#"{"advertising":true}"#)
            .is_refused(403, "cross_site");
        bench.send(&Verb::DELETE, "consent", &[field], "").is_refused(403, "cross_site");
        // Our own token does not help a stranger.
        let body = format!("action=accept&token={}", bench.keys.form_token("kz.example", hour(NOW)));
        bench.send(&Verb::POST, "consent", &[field, FORM], &body).is_refused(403, "cross_site");
    }
    let got = bench.send(&Verb::POST, "consent", &[("origin", "https://kz.example"), FORM], "action=accept");
    assert_eq!(got.status, 303);
}

#[test]
fn without_metadata_the_token_decides() {
    let bench = Bench::new();
    let token = |hours: i64| bench.keys.form_token("kz.example", hour(NOW) - hours);
    for (hours, status) in [(0, 303), (1, 303), (2, 403), (-1, 403)] {
        let got =
            bench.send(&Verb::POST, "consent", &[FORM], &format!("action=refuse&token={}", token(hours)));
        assert_eq!(got.status, status, "{hours}");
    }
    bench.send(&Verb::POST, "consent", &[FORM], "action=refuse").is_refused(403, "cross_site");
    bench.send(&Verb::DELETE, "consent", &[], "").is_refused(403, "cross_site");
    let got = bench.send(&Verb::DELETE, "consent", &[JSON], &format!(r#"{{"token":"{}"}}"#, token(0)));
    assert_eq!(got.status, 200);
    // The page carries it.
    let page = bench.send(&Verb::GET, "", &[], "");
    assert!(page.body.contains(&format!("name=\"token\" value=\"{}\"", token(0))));
}

#[test]
fn bodies_that_are_refused() {
    let bench = Bench::new();
    let big = format!("x={}", "a".repeat(BODY_BYTES - 1));
    bench.send(&Verb::POST, "consent", &[SAME, FORM], &big).is_refused(413, "body_too_large");
    bench
        .send(&Verb::POST, "consent", &[SAME, ("content-type", "text/plain")], "{}")
        .is_refused(415, "media_type");
    bench.send(&Verb::POST, "consent", &[SAME], "").is_refused(415, "media_type");
    bench.send(&Verb::POST, "consent", &[SAME, JSON], "{").is_refused(400, "malformed");
    bench.send(&Verb::POST, "consent", &[SAME, FORM], "action=no").is_refused(400, "malformed");
}

#[test]
fn no_return_leaves_the_site() {
    let bench = Bench::new();
    for bad in [
        "//evil.example",
        "https://evil.example",
        "/%2Fevil.example",
        "/\\evil.example",
        "/a%0d%0ab",
        "x",
        "",
    ] {
        let body = format!("action=refuse&lang=en&return={}", form::encode(bad));
        let got = bench.send(&Verb::POST, "consent", &[SAME, FORM], &body);
        assert_eq!(got.headers["location"], "/.kelisim/?saved=1&lang=en", "{bad}");
        let page = bench.send(&Verb::GET, &format!("?return={}", form::encode(bad)), &[], "");
        assert!(!page.body.contains("evil.example"), "{bad}");
        assert!(!page.body.contains("name=\"return\""), "{bad}");
    }
}

#[test]
fn the_page_explains_the_gate() {
    let needs = "requires you to accept the privacy policy";
    let bench = Bench::new();
    assert!(bench.send(&Verb::GET, "?return=/register%3Fa&lang=en", &[], "").body.contains(needs));
    assert!(!bench.send(&Verb::GET, "?return=/other&lang=en", &[], "").body.contains(needs));
    let accepted = Bench::holding(Mask::POLICY);
    assert!(!accepted.send(&Verb::GET, "?return=/register&lang=en", &[], "").body.contains(needs));
}

#[test]
fn languages() {
    let bench = Bench::new();
    let language = |target: &str, fields: &[(&str, &str)]| {
        bench.send(&Verb::GET, target, fields, "").headers["content-language"].to_str().unwrap().to_owned()
    };
    assert_eq!(language("", &[]), "kk");
    assert_eq!(language("", &[("accept-language", "de,ru;q=0.5")]), "ru");
    assert_eq!(language("?lang=en", &[("accept-language", "ru")]), "en");
    assert_eq!(language("?lang=xx", &[("accept-language", "ru")]), "ru");
    assert_eq!(language("policy?lang=en", &[]), "en");
}

#[test]
fn errors_are_pages_for_people() {
    let bench = Bench::new();
    let got = bench.send(&Verb::POST, "consent?lang=en", &[FORM, HTML], "action=refuse");
    assert_eq!((got.status, got.choice), (403, None));
    assert!(got.body.contains("Please open the page again") && got.body.contains("<html lang=\"en\">"));
    assert!(bench.send(&Verb::GET, "x?lang=ru", &[HTML], "").body.contains("Не получилось"));
}

#[test]
fn global_privacy_control_is_announced() {
    let mut site = SiteConsent::for_test();
    let reply = well_known_gpc(&Verb::GET, &site);
    assert_eq!(reply.headers()["content-type"], "application/json");
    assert_eq!(
        reply.body().size_hint().exact(),
        Some(r#"{"gpc":true,"lastUpdate":"2026-11-22"}"#.len() as u64)
    );
    assert_eq!(well_known_gpc(&Verb::HEAD, &site).body().size_hint().exact(), Some(0));
    let refused = well_known_gpc(&Verb::POST, &site);
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &HeaderValue::from_static("GET, HEAD"))
    );
    site.sources = crate::consent::Sources::new(&[]);
    let reply = well_known_gpc(&Verb::GET, &site);
    assert_eq!(
        reply.body().size_hint().exact(),
        Some(r#"{"gpc":false,"lastUpdate":"2026-11-22"}"#.len() as u64)
    );
}

#[test]
fn a_site_without_a_policy_has_no_policy_page() {
    let mut bench = Bench::new();
    bench.site.rules.policies = crate::consent::Policies::default();
    bench.decision = decide(&Signals::default(), &bench.site.rules, NOW);
    assert_eq!(bench.send(&Verb::GET, "policy", &[], "").status, 404);
    let got =
        bench.send(&Verb::POST, "consent", &[SAME, JSON], r#"{"advertising":true,"policy":"accepted"}"#);
    let record = bench.stored(&got);
    let mask = Mask::ADVERTISING.or(Mask::open(Mask::ADVERTISING.complement()));
    assert_eq!((record.version, record.mask), (VersionId::NONE, mask));
}

/// The hash that the page's form carries.
fn shown(page: &str) -> String {
    page.split("name=\"shown\" value=\"").nth(1).unwrap()[..64].to_owned()
}

#[test]
fn a_choice_names_the_text_that_was_shown() {
    let bench = Bench::new();
    for (language, tag) in [(Language::Kk, "page-kk"), (Language::Ru, "page-ru"), (Language::En, "page-en")] {
        let page = bench.send(&Verb::GET, &format!("?lang={}", language.tag()), &[], "").body;
        let body = format!("action=accept&shown={}&lang={}", shown(&page), language.tag());
        let choice = bench.send(&Verb::POST, "consent", &[SAME, FORM], &body).choice.unwrap();
        let (text, named) = (choice.own_text.unwrap(), choice.text.unwrap());
        assert_eq!((named.id.as_str(), named.sha256), (tag, hash_of(&text)));
        for line in text.lines().filter(|line| !line.contains(['[', ':'])) {
            assert!(page.contains(line), "{line} is not on the page");
        }
        // The text has a language, whatever the form says besides.
        for other in Language::ALL {
            let body = format!("action=accept&shown={}&lang={}", shown(&page), other.tag());
            let choice = bench.send(&Verb::POST, "consent", &[SAME, FORM], &body).choice.unwrap();
            assert_eq!((choice.language, choice.text.unwrap().id.as_str()), (language, tag));
        }
    }
}

#[test]
fn nobody_agrees_to_a_text_that_they_were_not_shown() {
    let mut bench = Bench::new();
    let page = bench.send(&Verb::GET, "", &[], "").body;
    bench.site.actions.set(Category::Analytics, CookieAction::Allow);
    let post = |body: &str| {
        bench.send(&Verb::POST, "consent", &[SAME, FORM], &format!("{body}&shown={}", shown(&page)))
    };
    for yes in ["action=accept", "advertising=on", "action=refuse&policy=accepted"] {
        post(yes).is_refused(409, "text_changed");
    }
    // A no needs no text, whatever was accepted before.
    let mut accepted = Bench::holding(Mask::POLICY);
    accepted.site.actions = bench.site.actions;
    let old = format!("action=refuse&shown={}", shown(&page));
    assert_eq!(accepted.send(&Verb::POST, "consent", &[SAME, FORM], &old).status, 303);
    for no in ["action=refuse", "action=save", "action=withdraw"] {
        assert_eq!(post(no).status, 303, "{no}");
        assert_eq!(post(no).choice.unwrap().text, None);
    }
}

#[test]
fn events_follow_from_the_choice_before() {
    let bench = Bench::new();
    let mut held: Option<String> = None;
    let mut choose = |body: &str| {
        let cookie = held.as_ref().map(|value| format!("a=b; kelisim_consent={value}"));
        let mut fields = vec![SAME, FORM];
        fields.extend(cookie.as_deref().map(|value| ("cookie", value)));
        let got = bench.send(&Verb::POST, "consent", &fields, body);
        held = got.cookie(COOKIE);
        let choice = got.choice.unwrap();
        (choice.event, choice.before.is_some())
    };
    assert_eq!(choose("action=refuse"), (Event::Refused, false));
    assert_eq!(choose("advertising=on"), (Event::Given, true));
    assert_eq!(choose("advertising=on"), (Event::ReConfirmed, true));
    assert_eq!(choose("advertising=on&analytics=on"), (Event::Given, true));
    assert_eq!(choose("action=refuse"), (Event::Withdrawn, true));
    assert_eq!(choose("action=refuse"), (Event::Refused, true));
    assert_eq!(choose("action=withdraw"), (Event::Withdrawn, true));
}

#[test]
fn a_receipt_says_everything_and_keeps_the_end_of_the_choice_before() {
    let mut bench = Bench::holding(Mask::ADVERTISING);
    let old = ConsentRecord {
        version: VersionId::parse(b"2025-01").unwrap(),
        mask: Mask::ADVERTISING.or(Mask::ANALYTICS),
        ..ConsentRecord::for_test()
    };
    bench.decision = decide(&Signals::default(), &bench.site.rules, NOW);
    let cookie = format!("kelisim_consent={}", old.sign(&bench.keys, "kz.example"));
    let got = bench.send(
        &Verb::POST,
        "consent",
        &[SAME, JSON, ("cookie", &cookie)],
        r#"{"analytics":true,"banner":{"variant":"B"}}"#,
    );
    let choice = got.choice.unwrap();
    assert!(choice.before_ended);
    let receipt = crate::consent::receipts::Receipt::of(&choice, &bench.site, "request-1", NOW);
    let json = serde_json::to_string_pretty(&receipt).unwrap();
    insta::assert_snapshot!(json.replace(&choice.record.receipt.to_string(), "[id]"));
}

/// A sign-up form accepts the policy by a program: that is neither consent to advertising nor its refusal.
#[test]
fn accepting_the_policy_says_nothing_of_advertising() {
    let bench = Bench::new();
    for (field, body) in [(JSON, r#"{"policy":"accepted"}"#), (FORM, "action=policy&policy=accepted")] {
        let got = bench.send(&Verb::POST, "consent", &[SAME, field], body);
        let record = bench.stored(&got);
        assert_eq!(record.mask, Mask::UNDECIDED.or(Mask::POLICY), "{body}");
        assert_eq!(got.cookie(TWIN_COOKIE).as_deref(), Some("1"));
        let choice = got.choice.unwrap();
        assert_eq!(choice.event, Event::Policy);
        let receipt = crate::consent::receipts::Receipt::of(&choice, &bench.site, "request-1", NOW);
        let json = serde_json::to_value(&receipt).unwrap();
        assert_eq!((&json["event"], &json["purposes"][2]["state"]), (&"policy".into(), &"open".into()));
    }

    // Who allowed advertising before still does, for no longer than before.
    let given = Mask::ADVERTISING.or(Mask::open(Mask::ANALYTICS));
    let bench = Bench::holding(given);
    let (version, at) = (bench.decision.policy_version, Timestamp::from_secs(NOW.as_secs() - 86_400));
    let before = ConsentRecord { version, at, mask: given, ..ConsentRecord::for_test() };
    let cookie = format!("kelisim_consent={}", before.sign(&bench.keys, "kz.example"));
    let got =
        bench.send(&Verb::POST, "consent", &[SAME, JSON, ("cookie", &cookie)], r#"{"policy":"accepted"}"#);
    assert!(got.body.starts_with(r#"{"decision":"granted","reason":"own_granted""#), "{}", got.body);
    let record = bench.stored(&got);
    assert_eq!((record.mask, record.at), (given.or(Mask::POLICY), at));
    assert_eq!(got.choice.unwrap().event, Event::Policy);
}

#[test]
fn what_a_program_does_not_speak_of_stays_as_it_was() {
    let say = |held: Mask, body: &str| {
        let bench = Bench::holding(held);
        bench.stored(&bench.send(&Verb::POST, "consent", &[SAME, JSON], body)).mask
    };
    let (ads, counting) = (Mask::ADVERTISING, Mask::ANALYTICS);
    assert_eq!(say(ads, r#"{"analytics":true}"#), ads.or(counting));
    assert_eq!(say(ads.or(counting), r#"{"analytics":false}"#), ads);
    assert_eq!(say(Mask::EMPTY, r#"{"analytics":true}"#), counting);
    assert_eq!(say(ads.or(Mask::POLICY), r#"{"policy":"declined"}"#), ads);
    assert_eq!(say(Mask::UNDECIDED, r#"{"advertising":true}"#), ads.or(Mask::open(ads.complement())));
}

/// Two tabs: what is withdrawn in one does not come back by the switches that the other still shows.
#[test]
fn a_form_that_was_open_during_a_withdrawal_grants_nothing() {
    let held = |page: &str| {
        page.split("name=\"held\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let before = Bench::holding(Mask::ADVERTISING);
    let page = before.send(&Verb::GET, "?lang=en", &[], "").body;
    let old = held(&page);
    assert!(page.contains(" checked") && Uuid::try_parse(&old).is_ok());
    let save = |bench: &Bench, held: &str, more: &str| {
        bench.send(&Verb::POST, "consent", &[SAME, FORM], &format!("{more}&held={held}"))
    };
    assert_eq!(save(&before, &old, "action=save&advertising=on").status, 303);

    let mut after = Bench::new();
    let withdrawn = ConsentRecord {
        version: after.decision.policy_version,
        mask: Mask::EMPTY,
        receipt: Uuid::from_u128(7),
        ..ConsentRecord::for_test()
    };
    let mut signals = Signals::default();
    signals.push_own(Some(withdrawn));
    after.decision = decide(&signals, &after.site.rules, NOW);
    save(&after, &old, "action=save&advertising=on").is_refused(409, "choice_changed");
    save(&after, NO_RECEIPT, "action=save&advertising=on").is_refused(409, "choice_changed");
    // Who says no, or presses what says yes by itself, is understood.
    for (clear, mask) in
        [("action=refuse", 0), ("action=save", 0), ("action=withdraw", 0), ("action=accept", 14)]
    {
        assert_eq!(after.stored(&save(&after, &old, clear)).mask.bits(), mask, "{clear}");
    }
    let first = Bench::new();
    assert_eq!(held(&first.send(&Verb::GET, "", &[], "").body), NO_RECEIPT);
    assert_eq!(save(&first, NO_RECEIPT, "action=save&advertising=on").status, 303);
}
