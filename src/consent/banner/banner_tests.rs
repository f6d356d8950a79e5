//! Tests of all sources together: precedence with real cookies, statistics, bounds.

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::consent::precedence::{self, Outcome, Reason, Rules, decide};
use crate::consent::{Policies, SiteConsent};
use crate::cookies::catalogue::Catalogue;

const TCF_GRANT: &str = "CQtDjkAQtDjkAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA";
const TCF_DENIAL: &str = "CQtDjkAQtDjkAEsABBRUBkFgANIAAAAAAAYgAAAAAAAA.IAAA";

fn everything() -> Banners {
    let named = |preset: Preset, key: &str| {
        (preset, Options { advertising: vec![key.into()], analytics: vec!["s".into()], ..Options::default() })
    };
    let mut own = Spec::new(Name::exact("own"), document::Format::Flag);
    own.choices = vec![spec::Choice {
        paths: vec![vec![]],
        grants: vec!["yes".into()],
        denies: vec!["no".into()],
        kind: spec::Kind::Word,
    }];
    Banners::new(Wanted {
        presets: vec![
            named(Preset::Klaro, "a"),
            named(Preset::CookieConsent, "ads"),
            (Preset::Cookiebot, Options::default()),
            (Preset::Shopify, Options::default()),
        ],
        own: vec![Own { advertising: own, analytics: None }],
        tcf: vec![Name::exact("euconsent-v2")],
        purposes: Purposes::ADVERTISING,
        gpp: true,
        us_privacy: true,
        consent_mode: true,
        analytics: true,
    })
}

fn rules() -> Rules {
    Rules {
        max_age: std::time::Duration::from_secs(365 * 86_400),
        gpc_over_own_grant: false,
        policies: Policies::new(None),
    }
}

fn decision(field: &str, query: Option<&str>) -> precedence::Decision {
    let catalogue = Catalogue::builtin();
    let cookies = RequestCookies::parse(std::iter::once(field.as_bytes()), &catalogue);
    let mut signals = Signals::default();
    everything().read(&cookies, query, &mut signals);
    decide(&signals, &rules(), Timestamp::from_secs(1_795_341_600))
}

#[test]
fn rows_4_to_7_with_real_cookies() {
    let tcf = |text: &str| format!("euconsent-v2={text}");
    let us = "us_privacy=1YYN";
    for (field, query, reason, source) in [
        ("a=b".to_owned(), None, Reason::Unknown, "none"),
        (r#"klaro={"a":true}"#.into(), None, Reason::AllGranted, "klaro"),
        (r#"klaro={"a":false}"#.into(), None, Reason::VendorRefused, "klaro"),
        (r#"klaro={"a":1}"#.into(), None, Reason::Unknown, "klaro"),
        (format!(r#"klaro={{"a":true}}; {}"#, tcf(TCF_GRANT)), None, Reason::AllGranted, "klaro"),
        (format!(r#"klaro={{"a":true}}; {}"#, tcf(TCF_DENIAL)), None, Reason::FrameworkRefused, "tcf"),
        (format!(r#"klaro={{"a":false}}; {}"#, tcf(TCF_DENIAL)), None, Reason::VendorRefused, "klaro"),
        (format!(r#"klaro={{"a":true}}; {}"#, tcf("junk")), None, Reason::Unknown, "tcf"),
        (tcf(TCF_GRANT), None, Reason::AllGranted, "tcf"),
        // Too old for 13 months, and for the year that is the default here.
        (tcf("CQKjTcAQKjTcAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA"), None, Reason::Unknown, "tcf"),
        (format!("klaro={{\"a\":true}}; {us}"), None, Reason::FrameworkRefused, "us_privacy"),
        (us.into(), None, Reason::FrameworkRefused, "us_privacy"),
        ("us_privacy=1YNN".into(), None, Reason::Unknown, "none"),
        ("klaro={\"a\":true}; us_privacy=1YNN; usprivacy=1---".into(), None, Reason::AllGranted, "klaro"),
        ("__gpp=DBABLA~BVQpAAAAAgA.QA".into(), None, Reason::FrameworkRefused, "gpp"),
        ("klaro={\"a\":true}; __gpp=DBABLA~BVQqAAAAAgA.QA".into(), None, Reason::AllGranted, "klaro"),
        (format!("__gpp=DBABM~{TCF_GRANT}"), None, Reason::AllGranted, "tcf"),
        (format!("__gpp=DBABM~{TCF_DENIAL}"), None, Reason::FrameworkRefused, "tcf"),
        ("own=yes".into(), None, Reason::AllGranted, "cookie-1"),
        ("own=no; klaro={\"a\":true}".into(), None, Reason::VendorRefused, "cookie-1"),
        ("own=yes; own=no".into(), None, Reason::VendorRefused, "cookie-1"),
        ("klaro={\"a\":true}".into(), Some("gcs=G100"), Reason::FrameworkRefused, "consent_mode"),
        ("klaro={\"a\":true}".into(), Some("gcs=G111"), Reason::AllGranted, "klaro"),
        ("".into(), Some("gcs=G111"), Reason::Unknown, "none"),
        ("_tracking_consent={\"con\":{\"CMP\":{\"m\":\"1\"}}}".into(), None, Reason::Unknown, "none"),
    ] {
        let decision = decision(&field, query);
        assert_eq!((decision.reason, decision.source.label()), (reason, source), "{field} {query:?}");
        let granted = reason == Reason::AllGranted;
        assert_eq!(decision.result == Outcome::Granted, granted);
        assert_eq!(decision.permits.advertising.is_some(), granted);
    }
}

#[test]
fn statistics_follow_the_banners_where_our_own_record_is_silent() {
    let permitted = |field: &str, query: Option<&str>| decision(field, query).permits.analytics.is_some();
    assert!(!permitted("a=b", None));
    assert!(permitted(r#"klaro={"a":false,"s":true}"#, None), "each purpose for itself");
    assert!(!permitted(r#"klaro={"a":true,"s":false}"#, None));
    assert!(!permitted(r#"klaro={"a":true}"#, None));
    assert!(!permitted(r#"klaro={"s":true}"#, Some("gcs=G110")));
    assert!(!permitted(r#"klaro={"s":true}; cc_cookie={"categories":[]}"#, None));
    assert!(permitted(r#"klaro={"s":true}; cc_cookie={"categories":["s"]}"#, None));
    assert!(
        permitted(r#"klaro={"s":true}; us_privacy=1YYN"#, None),
        "an opt-out of sale is not about statistics"
    );
}

#[test]
fn more_consent_cookies_than_are_read_grant_nothing() {
    let one = r#"klaro={"a":true}; "#;
    assert_eq!(decision(&one.repeat(jar::MAX_COOKIES), None).reason, Reason::AllGranted);
    assert_eq!(decision(&one.repeat(jar::MAX_COOKIES + 1), None).reason, Reason::Unknown);
}

#[test]
fn without_configured_cookies_nothing_is_looked_for() {
    let banners = SiteConsent::for_test().banners;
    assert!(banners.names().is_empty());
    let catalogue = Catalogue::builtin();
    let cookies = RequestCookies::parse(std::iter::once(b"klaro=x".as_slice()), &catalogue);
    let mut signals = Signals::default();
    banners.read(&cookies, Some("gcs=G100"), &mut signals);
    assert!(signals.others().is_empty());
}

proptest! {
    #[test]
    fn no_cookie_field_panics_and_none_without_a_known_name_grants(field in proptest::collection::vec(any::<u8>(), 0..200)) {
        let catalogue = Catalogue::builtin();
        let cookies = RequestCookies::parse(std::iter::once(field.as_slice()), &catalogue);
        let mut signals = Signals::default();
        everything().read(&cookies, None, &mut signals);
        let granted = decide(&signals, &rules(), Timestamp::from_secs(0)).result == Outcome::Granted;
        let known: [&[u8]; 4] = [b"klaro=", b"own=", b"cc_cookie=", b"CookieConsent="];
        prop_assert!(!granted || known.iter().any(|name| memchr::memmem::find(&field, name).is_some()));
    }
}
