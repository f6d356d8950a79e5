//! Any `Cookie` field before every source of consent: no panic, no grant from a field without the name of a source, and
//! no grant that a refusal beside it does not end.
#![no_main]

use std::sync::LazyLock;

use kelisim::clock::Timestamp;
use kelisim::config::parse_pure;
use kelisim::consent::{Banners, Outcome, Rules, Signals, decide};
use kelisim::cookies::Actions;
use kelisim::cookies::catalogue::Catalogue;
use kelisim::cookies::parse::RequestCookies;
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::builtin);
static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    max_age: std::time::Duration::from_secs(400 * 86_400),
    gpc_over_own_grant: false,
    policies: kelisim::consent::Policies::new(None),
});
static BANNERS: LazyLock<Banners> = LazyLock::new(|| {
    let config = parse_pure(CONFIG.as_bytes()).expect("the configuration is good");
    config.consent.banners(Actions::default())
});

fuzz_target!(|field: &[u8]| {
    let granted = grants(field);
    if granted {
        let named = |name: &str| field.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(NAMES.iter().any(|name| named(name)), "a grant by no source");
        let refused = [field, b"; us_privacy=1YYN"].concat();
        assert!(!grants(&refused), "a refusal does not count");
        // A copy of every cookie with another value contradicts it.
        let mut doubled = field.to_vec();
        for name in NAMES {
            doubled.extend(format!("; {name}=?").bytes());
        }
        assert!(!grants(&doubled), "a contradiction does not count");
    }
});

fn grants(field: &[u8]) -> bool {
    let cookies = RequestCookies::parse(std::iter::once(field), &CATALOGUE);
    let mut signals = Signals::default();
    BANNERS.read(&cookies, None, &mut signals);
    decide(&signals, &RULES, Timestamp::from_secs(1_795_341_600)).result == Outcome::Granted
}

const NAMES: [&str; 20] = [
    "OptanonConsent",
    "CookieConsent",
    "cookieyes-consent",
    "cookielawinfo-checkbox-advertisement",
    "cmplz_marketing",
    "cc_cookie",
    "klaro",
    "tarteaucitron",
    "axeptio_cookies",
    "CookieScriptConsent",
    "cookiefirst-consent",
    "borlabs-cookie",
    "_iub_cs-",
    "notice_gdpr_prefs",
    "CONSENTMGR",
    "__cmpconsent",
    "didomi_token",
    "TC_PRIVACY",
    "zaraz-consent",
    "mine",
];

const CONFIG: &str = r#"
[[listen]]
address = "[::]:8080"
[[site]]
hosts = ["a"]
upstream = ["http://b"]
[consent]
sources = ["us-privacy", "onetrust", "cookiebot", "cookieyes", "cookieyes-legacy", "complianz", "cookieconsent", "klaro",
    "tarteaucitron", "axeptio", "cookie-script", "cookiefirst", "borlabs", "iubenda", "trustarc", "tealium",
    "consentmanager", "didomi", "commanders-act", "zaraz", "shopify", "drupal-eu"]
preset = [
    { source = "cookieconsent", advertising = ["a"] },
    { source = "klaro", advertising = ["a"] },
    { source = "tarteaucitron", advertising = ["a"] },
    { source = "axeptio", advertising = ["a"] },
    { source = "tealium", advertising = ["c3"] },
    { source = "didomi", advertising = ["a"] },
    { source = "commanders-act", advertising = ["2"] },
    { source = "zaraz", advertising = ["a"] },
]
[[consent.cookie]]
name = "mine"
format = "form"
path = "a"
at = "t"
"#;
