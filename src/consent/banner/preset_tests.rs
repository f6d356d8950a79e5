//! Tests of the presets: for each its sample, its traps, its refusal, both encodings, and one bad byte.

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::consent::form::push_escaped;
use crate::cookies::catalogue::Catalogue;

use Verdict::{Denied, Granted, Unknown};

type Cookies<'a> = &'a [(&'a str, &'a str)];

/// A preset as a test configures it.
struct Case {
    preset: Preset,
    options: Options,
}

fn case(preset: Preset, advertising: &[&str]) -> Case {
    let advertising = advertising.iter().map(|key| (*key).to_owned()).collect();
    Case { preset, options: Options { advertising, ..Options::default() } }
}

fn jar<'a>(cookies: &'a [(Vec<u8>, Vec<u8>)]) -> Jar<'a> {
    let mut jar = Jar::default();
    cookies.iter().for_each(|(name, value)| jar.push(name, value));
    jar
}

fn owned(cookies: Cookies<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    cookies.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

impl Case {
    fn raw(&self, cookies: &[(Vec<u8>, Vec<u8>)]) -> Option<Reading> {
        reader(self.preset, &self.options, Purpose::Advertising, Purposes::ADVERTISING)
            .expect("configured")
            .read(&jar(cookies))
    }

    fn read(&self, cookies: Cookies<'_>) -> Option<Reading> {
        self.raw(&owned(cookies))
    }

    fn statistics(&self, cookies: Cookies<'_>) -> Option<Verdict> {
        let owned = owned(cookies);
        let reader = reader(self.preset, &self.options, Purpose::Analytics, Purposes::ADVERTISING)?;
        reader.read(&jar(&owned)).map(|reading| reading.verdict)
    }

    /// The verdict, the same for the value as it is, and encoded as a whole.
    fn says(&self, cookies: Cookies<'_>, expected: Verdict) {
        let label = self.preset.facts().label;
        let said = self.read(cookies).map(|reading| reading.verdict);
        assert_eq!(said, Some(expected), "{label}: {cookies:?}");
        // What can be encoded once more without being encoded three times.
        if cookies.iter().all(|(_, value)| !value.contains("%25")) {
            let encoded: Vec<(&str, String)> = cookies
                .iter()
                .map(|(name, value)| {
                    let mut out = String::new();
                    value.bytes().for_each(|byte| push_escaped(&mut out, byte));
                    (*name, out)
                })
                .collect();
            let encoded: Vec<(&str, &str)> = encoded.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let said = self.read(&encoded).map(|reading| reading.verdict);
            assert_eq!(said, Some(expected), "{label}, encoded: {encoded:?}");
        }
    }

    /// A grant: as [`Self::says`], no grant with a cookie missing, doubled by its opposite, or with one bad byte.
    fn grants(&self, cookies: Cookies<'_>, at: Option<i64>) {
        let label = self.preset.facts().label;
        self.says(cookies, Granted);
        assert_eq!(self.read(cookies).unwrap().at.map(Timestamp::as_secs), at, "{label}");
        let good = owned(cookies);
        for index in 0..good.len() {
            let mut fewer = good.clone();
            fewer.remove(index);
            let said = self.raw(&fewer).map(|reading| reading.verdict);
            assert_ne!(said, Some(Granted), "{label} without {}", cookies[index].0);
            let mut more = good.clone();
            more.push((good[index].0.clone(), b"nonsense".to_vec()));
            assert_eq!(self.raw(&more).map(|r| r.verdict), Some(Denied), "{label}: copies differ");
            for at in 0..=good[index].1.len() {
                for bad in [b'\xFF', b'%'] {
                    let mut spoilt = good.clone();
                    spoilt[index].1.insert(at, bad);
                    // A `%` before two digits is another text; it is not the bad byte meant here.
                    let escapes = spoilt[index]
                        .1
                        .get(at + 1..at + 3)
                        .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
                    let said = self.raw(&spoilt).map(|reading| reading.verdict);
                    if !(bad == b'%' && escapes) {
                        assert_eq!(said, Some(Unknown), "{label}: {}", spoilt[index].1.escape_ascii());
                    }
                }
            }
        }
    }
}

const ONETRUST: &str = "isGpcEnabled=0&datestamp=Thu+Nov+19+2026&version=202512.1.0&browserGpcFlag=0&consentId=a-b&\
interactionCount=1&groups=C0001%3A1%2CC0002%3A1%2CC0003%3A1%2CC0004%3A1&intType=1&geolocation=HK%3B&AwaitingReconsent=false";

#[test]
fn onetrust() {
    let closed = ("OptanonAlertBoxClosed", "2021-10-19T03:31:41.236Z");
    let with = |text: &str| -> String { text.to_owned() };
    let case = case(Preset::OneTrust, &[]);
    case.grants(&[("OptanonConsent", ONETRUST), closed], Some(1_634_614_301));
    assert_eq!(case.statistics(&[("OptanonConsent", ONETRUST), closed]), Some(Granted));
    // The groups are all 1 before any click.
    case.says(&[("OptanonConsent", ONETRUST)], Unknown);
    case.says(&[("OptanonConsent", ONETRUST), ("OptanonAlertBoxClosed", "")], Unknown);
    case.says(&[("OptanonConsent", &ONETRUST.replace("C0004%3A1", "C0004%3A0")), closed], Denied);
    case.says(&[("OptanonConsent", &ONETRUST.replace("Reconsent=false", "Reconsent=true")), closed], Unknown);
    case.says(&[("OptanonConsent", &ONETRUST.replace("GpcFlag=0", "GpcFlag=1")), closed], Denied);
    case.says(&[("OptanonConsent", &ONETRUST.replace("GpcFlag=0", "GpcFlag=1"))], Denied);
    case.says(&[("OptanonConsent", &with("groups=1%3A1%2C4%3A1")), closed], Unknown);
    case.says(&[("OptanonConsent", &with("groups=C0004%3A1%2CC0004%3A0")), closed], Unknown);
    case.says(&[("OptanonConsent", &with("groups=")), closed], Unknown);
    for (groups, id) in [("2%3A1%2C4%3A1", "4"), ("STACK42%3A1", "STACK42"), ("C0035%3A1", "C0035")] {
        let own = self::case(Preset::OneTrust, &[id]);
        own.says(&[("OptanonConsent", &format!("groups={groups}")), closed], Granted);
    }
    let two = self::case(Preset::OneTrust, &["C0003", "C0004"]);
    two.says(&[("OptanonConsent", ONETRUST), closed], Granted);
    two.says(&[("OptanonConsent", &ONETRUST.replace("C0003%3A1", "C0003%3A0")), closed], Denied);
}

#[test]
fn cookiebot() {
    let sample = "{stamp:%27G+6r==%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:false%2Cmarketing:true%2Cmethod:%27explicit%27%2Cver:1%2Cutc:1705162226478%2Cregion:%27ae%27}";
    let case = case(Preset::Cookiebot, &[]);
    case.grants(&[("CookieConsent", sample)], Some(1_705_162_226));
    assert_eq!(case.statistics(&[("CookieConsent", sample)]), Some(Denied));
    let raw = sample.replace("%27", "'").replace("%2C", ",");
    case.says(&[("CookieConsent", &raw)], Granted);
    case.says(&[("CookieConsent", &sample.replace("%2C", "%2C+"))], Granted);
    case.says(&[("CookieConsent", &raw.replace("marketing:true", "marketing:false"))], Denied);
    case.says(&[("CookieConsent", &raw.replace("method:'explicit',", ""))], Granted);
    let mut with_tcf = raw.clone();
    with_tcf.insert_str(raw.len() - 1, ",iab2:'CQ,AA',gacm:'1~2'");
    case.says(&[("CookieConsent", &with_tcf)], Granted);
    for trap in [
        "{stamp:%27-1%27%2Cnecessary:true%2Cmarketing:true%2Cmethod:%27implied%27%2Cver:1%2Cutc:1705162226478}".to_owned(),
        "{stamp:'-1',marketing:true}".to_owned(),
        raw.replace("explicit", "implied"),
        raw.replace("stamp:'G+6r==',", ""),
        raw.replace("utc:1705162226478", "utc:soon"),
        raw.replace("marketing:true", "marketing:true,marketing:true"),
        raw.replace("marketing:true", "marketing:maybe"),
        "-1".to_owned(),
        "0".to_owned(),
        String::new(),
        "{}".to_owned(),
        "{marketing:true}".to_owned(),
        r#"{"stamp":"x","marketing":true,"method":"explicit"}"#.to_owned(),
    ] {
        case.says(&[("CookieConsent", &trap)], Unknown);
    }
}

#[test]
fn cookieyes_and_its_forerunner() {
    let case = case(Preset::CookieYes, &[]);
    let name = "cookieyes-consent";
    let sample = "consentid:d0JF,consent:yes,action:yes,necessary:yes,functional:yes,analytics:yes,performance:yes,advertisement:yes,other:yes";
    case.grants(&[(name, sample)], None);
    assert_eq!(case.statistics(&[(name, sample)]), Some(Granted));
    case.says(&[(name, &sample.replace("advertisement:yes", "advertisement:no"))], Denied);
    case.says(&[(name, &sample.replace("action:yes", "action:no"))], Unknown);
    case.says(&[(name, "consentid:x,consent:,action:,necessary:,advertisement:")], Unknown);
    case.says(&[(name, "consentid:x,consent:yes,action:yes")], Unknown);

    let case = self::case(Preset::CookieYesLegacy, &[]);
    let (ads, seen) = ("cookielawinfo-checkbox-advertisement", ("viewed_cookie_policy", "yes"));
    case.grants(&[(ads, "yes"), seen], None);
    case.says(&[(ads, "no"), seen], Denied);
    case.says(&[(ads, "yes")], Unknown);
    case.says(&[(ads, "yes"), ("viewed_cookie_policy", "no")], Unknown);
    assert_eq!(case.statistics(&[("cookielawinfo-checkbox-analytics", "yes"), seen]), Some(Granted));
}

#[test]
fn complianz() {
    let mut case = case(Preset::Complianz, &[]);
    let shut = ("cmplz_banner-status", "dismissed");
    case.grants(&[("cmplz_marketing", "allow"), shut], None);
    case.says(&[("cmplz_marketing", "deny"), shut], Denied);
    case.says(&[("cmplz_marketing", "allow")], Unknown);
    case.says(&[("cmplz_marketing", "allow"), ("cmplz_banner-status", "show")], Unknown);
    assert_eq!(case.statistics(&[("cmplz_statistics", "allow"), shut]), Some(Granted));
    case.options.expect_version = Some("35".into());
    case.grants(&[("cmplz_marketing", "allow"), shut, ("cmplz_policy_id", "35")], None);
    case.says(&[("cmplz_marketing", "allow"), shut, ("cmplz_policy_id", "34")], Unknown);
    case.options = Options { prefix: Some("abc_".into()), ..Options::default() };
    case.says(&[("abc_marketing", "allow"), ("abc_banner-status", "dismissed")], Granted);
    assert_eq!(case.read(&[("cmplz_marketing", "allow"), shut]), None);
}

#[test]
fn cookieconsent() {
    let mut case = case(Preset::CookieConsent, &["ads"]);
    let sample = r#"{"categories":["necessary","ads"],"revision":0,"data":null,"consentId":"x","consentTimestamp":"2026-01-01T00:00:00.000Z","lastConsentTimestamp":"2026-02-01T00:00:00.000Z","languageCode":"en","services":{"ads":["a"]},"expirationTime":1800000000000}"#;
    case.grants(&[("cc_cookie", sample)], Some(1_769_904_000));
    case.says(&[("cc_cookie", &sample.replace(",\"ads\"]", "]"))], Denied);
    case.says(&[("cc_cookie", &sample.replace("\"categories\"", "\"other\""))], Unknown);
    case.says(&[("cc_cookie", &sample.replace("2026-02-01T", "soon"))], Unknown);
    case.says(&[("cc_cookie", r#"{"level":["necessary","ads"],"revision":0,"rfc_cookie":false}"#)], Granted);
    case.says(&[("cc_cookie", r#"{"level":["necessary"],"revision":0,"rfc_cookie":false}"#)], Denied);
    case.options.analytics = vec!["stats".into()];
    assert_eq!(case.statistics(&[("cc_cookie", sample)]), Some(Denied));
    case.options.expect_version = Some("0".into());
    case.says(&[("cc_cookie", sample)], Granted);
    case.options.expect_version = Some("1".into());
    case.says(&[("cc_cookie", sample)], Unknown);
    case.options =
        Options { name: Some("mine".into()), advertising: vec!["ads".into()], ..Options::default() };
    case.says(&[("mine", sample)], Granted);
}

#[test]
fn klaro_zaraz_and_tarteaucitron_by_service() {
    let case = case(Preset::Klaro, &["googleAds"]);
    case.grants(&[("klaro", "%7B%22googleAds%22%3Atrue%2C%22matomo%22%3Afalse%7D")], None);
    case.says(&[("klaro", r#"{"googleAds":false,"matomo":true}"#)], Denied);
    case.says(&[("klaro", r#"{"matomo":true}"#)], Unknown);
    let both = self::case(Preset::Klaro, &["googleAds", "meta"]);
    both.says(&[("klaro", r#"{"googleAds":true,"meta":false}"#)], Denied);
    both.says(&[("klaro", r#"{"googleAds":true,"meta":true}"#)], Granted);

    let case = self::case(Preset::Zaraz, &["vxcT"]);
    case.grants(&[("zaraz-consent", r#"{"vxcT":true}"#)], None);
    case.says(&[("zaraz-consent", r#"{"vxcT":false}"#)], Denied);
    case.says(&[("zaraz-consent", "{}")], Unknown);

    let case = self::case(Preset::Tarteaucitron, &["gtag"]);
    let sample = "!gtag=true!facebookpixel=wait!googleads=false";
    case.grants(&[("tarteaucitron", sample)], None);
    for (service, expected) in [("facebookpixel", Unknown), ("googleads", Denied), ("other", Unknown)] {
        self::case(Preset::Tarteaucitron, &[service]).says(&[("tarteaucitron", sample)], expected);
    }
}

#[test]
fn axeptio() {
    let case = case(Preset::Axeptio, &["facebook_pixel"]);
    let sample = r#"{%22$$token%22:%22t%22,%22$$date%22:%222026-01-01T00:00:00.000Z%22,%22$$cookiesVersion%22:{%22name%22:%22a%22},%22facebook_pixel%22:true,%22$$completed%22:true}"#;
    case.grants(&[("axeptio_cookies", sample)], Some(1_767_225_600));
    case.says(&[("axeptio_cookies", &sample.replace("%22", "\""))], Granted);
    case.says(&[("axeptio_cookies", &sample.replace("pixel%22:true", "pixel%22:false"))], Denied);
    case.says(&[("axeptio_cookies", &sample.replace("completed%22:true", "completed%22:false"))], Unknown);
    case.says(&[("axeptio_cookies", &sample.replace("facebook_pixel", "other"))], Unknown);
}

#[test]
fn cookie_script_and_cookiefirst() {
    let case = case(Preset::CookieScript, &[]);
    let name = "CookieScriptConsent";
    let sample = r#"{"action":"accept","categories":"[\"performance\",\"targeting\"]","consenttime":1718103120,"key":"k"}"#;
    case.grants(&[(name, sample)], Some(1_718_103_120));
    assert_eq!(case.statistics(&[(name, sample)]), Some(Granted));
    case.says(&[(name, &sample.replace(",\\\"targeting\\\"", ""))], Denied);
    case.says(&[(name, r#"{"action":"reject","categories":"[]","consenttime":1718103120}"#)], Denied);
    case.says(&[(name, r#"{"action":"reject","consenttime":1718103120}"#)], Denied);
    case.says(&[(name, &sample.replace("accept", "shown"))], Unknown);
    case.says(&[(name, &sample.replace("[\\\"", "[\\\"\\\""))], Unknown);

    let case = self::case(Preset::CookieFirst, &[]);
    let name = "cookiefirst-consent";
    let sample = "%7B%22necessary%22%3Atrue%2C%22performance%22%3Atrue%2C%22functional%22%3Atrue%2C%22advertising%22%3Atrue%2C%22timestamp%22%3A1679215079%2C%22type%22%3A%22category%22%2C%22version%22%3A%22c838%22%7D";
    case.grants(&[(name, sample)], Some(1_679_215_079));
    case.says(&[(name, &sample.replace("advertising%22%3Atrue", "advertising%22%3Afalse"))], Denied);
    case.says(&[(name, r#"{"necessary":true,"timestamp":1679215079}"#)], Unknown);
}

#[test]
fn borlabs_and_iubenda() {
    let case = case(Preset::Borlabs, &[]);
    let name = "borlabs-cookie";
    let sample = r#"{"consents":{"essential":["borlabs-cookie"],"marketing":["google-adsense"]},"domainPath":"kz.example/","expires":"x","uid":"u","v3":true,"version":1}"#;
    case.grants(&[(name, sample)], None);
    case.says(&[(name, &sample.replace("\"v3\":true,\"version\":1", "\"version\":\"1\""))], Granted);
    case.says(&[(name, &sample.replace("[\"google-adsense\"]", "[]"))], Denied);
    case.says(&[(name, &sample.replace(",\"marketing\":[\"google-adsense\"]", ""))], Denied);
    case.says(&[(name, r#"{"uid":"u"}"#)], Unknown);
    case.says(&[(name, &sample.replace("[\"google-adsense\"]", "true"))], Unknown);

    let case = self::case(Preset::Iubenda, &[]);
    let name = "_iub_cs-50053366";
    let sample = r#"{"timestamp":"2025-02-05T15:40:00.391Z","version":"1.75.1","purposes":{"1":true,"3":true,"4":true,"5":true},"id":50053366,"cons":{"rand":"157518"}}"#;
    case.grants(&[(name, sample)], Some(1_738_770_000));
    case.says(&[(name, &sample.replace(",\"5\":true", ""))], Denied);
    assert_eq!(case.statistics(&[(name, &sample.replace(",\"5\":true", ""))]), Some(Granted));
    case.says(&[(name, &sample.replace("\"5\":true", "\"5\":false"))], Denied);
    case.says(&[(name, r#"{"timestamp":"2025-02-05T15:40:00.391Z","consent":true,"id":1}"#)], Granted);
    case.says(&[(name, r#"{"consent":false,"id":1}"#)], Denied);
    case.says(&[(name, r#"{"id":90483436}"#)], Unknown);
    for other in ["_iub_cs-50053366-granular", "_iub_cs-50053366-uspr", "_iub_cs-"] {
        assert_eq!(case.read(&[(other, sample)]), None, "{other}");
    }
}

#[test]
fn trustarc() {
    let case = case(Preset::TrustArc, &[]);
    let cookies = |levels: &'static str, permits: &'static str| {
        [("notice_gdpr_prefs", levels), ("cmapi_cookie_privacy", permits)]
    };
    case.grants(&cookies("0,1,2:", "permit 1,2,3"), None);
    case.says(&cookies("0,1,2:", "permit+1,2,3"), Granted);
    case.says(&cookies("0,1,2::", "permit 1,2"), Denied);
    case.says(&cookies("0:", "permit 1"), Denied);
    case.says(&cookies("0,1:", "permit 1,2"), Denied);
    assert_eq!(case.statistics(&cookies("0,1:", "permit 1,2")), Some(Granted));
    case.says(&cookies("0::implied,eu", "permit 1 required"), Unknown);
    case.says(&cookies("0,1,2::implied,us", "permit 1,2,3"), Unknown);
    case.says(&cookies("0,1,2:", "permit 1,2,3 implied"), Unknown);
    case.says(&cookies("0,1,2", "permit 1,2,3"), Unknown);
    assert_eq!(case.read(&[("notice_behavior", "implied,eu")]), None);
    case.says(&[("notice_gdpr_prefs", "0:"), ("notice_preferences", "0:"), ("gpcishonored", "true")], Denied);
}

#[test]
fn tealium() {
    let case = case(Preset::Tealium, &["c3"]);
    let name = "CONSENTMGR";
    case.grants(&[(name, "consent:true%7Cts:1678332400820%7Cc1:1%7Cc3:1")], Some(1_678_332_400));
    case.says(&[(name, "c3:1|c1:0|ts:1678332400820|consent:true")], Granted);
    case.says(&[(name, "consent:true|ts:1678332400820|c1:1|c3:0")], Denied);
    case.says(&[(name, "consent:true|ts:1678332400820|c3:0|c7:0")], Denied);
    case.says(&[(name, "consent:true|ts:1678332400820|c1:1")], Unknown);
    case.says(&[(name, "consent:true|ts:1678332400820")], Granted);
    case.says(&[(name, "consent:false|ts:1678332400820")], Denied);
    case.says(&[(name, "consent:false|ts:1678332400820|c3:1")], Denied);
    case.says(&[(name, "ts:1678332400820|c3:1")], Unknown);
    case.says(&[(name, "consent:true|ts:x|c3:1")], Unknown);
    case.says(&[(name, "consent:true|c3:1|c3:0")], Unknown);
}

const TCF_GRANT: &str = "CQtDjkAQtDjkAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA";
const TCF_DENIAL: &str = "CQtDjkAQtDjkAEsABBRUBkFgANIAAAAAAAYgAAAAAAAA.IAAA";

#[test]
fn consentmanager_and_didomi() {
    let case = case(Preset::ConsentManager, &[]);
    let at = tcf::read_string(TCF_GRANT.as_bytes(), Purposes::ADVERTISING).at.map(Timestamp::as_secs);
    case.grants(&[("__cmpconsent1234", TCF_GRANT)], at);
    case.grants(&[("__cmpconsentx1234", TCF_GRANT)], at);
    case.says(&[("__cmpconsent1234", TCF_DENIAL)], Denied);
    case.says(&[("__cmpconsent1", TCF_GRANT), ("__cmpconsentx1", TCF_DENIAL)], Denied);
    case.says(&[("__cmpconsent1", "BOxxxxxOxxxxxAAAAAENAAAAAAAAoAA")], Unknown);
    assert_eq!(case.read(&[("__cmpcc", "1"), ("__cmpcccx1", "aAA")]), None);

    let token = |json: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, json);
    let case = self::case(Preset::Didomi, &["advertising-x"]);
    let enabled = token(
        r#"{"created":"2026-01-01T00:00:00.000Z","updated":"2026-02-01T00:00:00.000Z","version":2,"purposes":{"enabled":["advertising-x","stats"]},"vendors":{"enabled":["google"]}}"#,
    );
    case.says(&[("euconsent-v2", TCF_GRANT)], Granted);
    case.says(&[("euconsent-v2", TCF_DENIAL), ("didomi_token", &enabled)], Denied);
    case.grants(&[("didomi_token", &enabled)], Some(1_769_904_000));
    // Only what a TC string says has its term.
    let by_tcf = |cookies| case.read(cookies).expect("a reading").by_tcf;
    assert!(by_tcf(&[("euconsent-v2", TCF_GRANT)]) && !by_tcf(&[("didomi_token", &enabled)]));
    case.says(&[("didomi_token", enabled.trim_end_matches('='))], Granted);
    case.says(&[("didomi_token", &token(r#"{"purposes":{"disabled":["advertising-x"]}}"#))], Denied);
    case.says(&[("didomi_token", &token(r#"{"created":"2026-01-01T00:00:00Z","version":2}"#))], Unknown);
    case.says(&[("didomi_token", "not base64!")], Unknown);
    case.says(&[("didomi_dcs", "0:abc")], Unknown);
    // Without a purpose only the TC string counts.
    self::case(Preset::Didomi, &[]).says(&[("didomi_token", &enabled)], Unknown);
    let with = Options { analytics: vec!["stats".into()], ..Options::default() };
    let case = Case { preset: Preset::Didomi, options: with };
    assert_eq!(case.statistics(&[("didomi_token", &enabled)]), Some(Granted));
}

#[test]
fn commanders_act() {
    let case = case(Preset::CommandersAct, &["2"]);
    let name = "TC_PRIVACY";
    let sample = "0%40007%7C2%7C2%7C224%7C114%7C5380%401%2C2%2C3%40%401714758430157%2C1717350430157";
    case.grants(&[(name, sample)], Some(1_714_758_430));
    case.says(&[(name, "0@007@ALL@@1714758430157,1")], Granted);
    case.says(&[(name, "0@007@1,3@@1714758430157,1")], Denied);
    case.says(&[(name, "1@009@ALL@@1714758430157,1")], Denied);
    case.says(&[(name, "1@009@2@@1714758430157")], Denied);
    // The times stand in another field; a refusal needs none.
    case.grants(&[(name, "0@007@1,2,3@1714758430157,1717350430157@")], Some(1_714_758_430));
    case.grants(&[(name, "0@007@2@5@a@x,1717350430157@1714758430157")], Some(1_714_758_430));
    case.says(&[(name, "1@009@ALL@@")], Denied);
    case.says(&[(name, "0@007@1,3")], Denied);
    for timeless in ["0@007@2@@soon", "0@007@2@@", "0@007@2", "0@007@ALL@1,2,3@4"] {
        case.says(&[(name, timeless)], Unknown);
    }
    for unknown in ["", "0", "0@007", "2@007@ALL@@1714758430157", "true@1@2"] {
        case.says(&[(name, unknown)], Unknown);
    }
}

#[test]
fn refuse_only_presets_refuse_and_say_nothing_else() {
    let shopify = r#"{"con":{"CMP":{"a":"","m":"","p":"","s":""}},"v":"2.1","region":"USTX","reg":"","purposes":{"a":true,"p":true,"m":true,"t":true},"display_banner":false}"#;
    let refused = shopify.replace("\"m\":\"\"", "\"m\":\"0\"");
    let granted = shopify.replace("\"m\":\"\"", "\"m\":\"1\"");
    let v2 = r#"{"lim":["GDPR"],"v":"2.0","con":{"GDPR":""},"reg":""}"#;
    let said = |preset: Preset, options: Options, cookies: Cookies<'_>| {
        let banners = Banners::new(Wanted { presets: vec![(preset, options)], ..Wanted::default() });
        let owned = owned(cookies);
        let mut signals = Signals::default();
        banners.read_jar(&jar(&owned), &mut signals);
        signals.others().iter().map(|signal| signal.decision).collect::<Vec<_>>()
    };
    for (value, expected) in [
        (shopify, vec![]),
        (&refused, vec![Denied]),
        (&granted, vec![]),
        (v2, vec![]),
        ("3.AMPS_USVA_f_f_x", vec![]),
        ("\u{fffd}", vec![]),
    ] {
        assert_eq!(said(Preset::Shopify, Options::default(), &[("_tracking_consent", value)]), expected);
    }
    let ads = || Options { advertising: vec!["ads".into()], ..Options::default() };
    for (agreed, categories, expected) in [
        ("0", None, vec![Denied]),
        ("1", None, vec![]),
        ("2", None, vec![]),
        ("2", Some(r#"["ads"]"#), vec![]),
        ("2", Some(r#"["stats"]"#), vec![Denied]),
        ("2", Some("%5B%22stats%22%5D"), vec![Denied]),
        ("3", Some(r#"["stats"]"#), vec![]),
    ] {
        let mut cookies = vec![("cookie-agreed", agreed)];
        cookies.extend(categories.map(|value| ("cookie-agreed-categories", value)));
        assert_eq!(said(Preset::DrupalEu, ads(), &cookies), expected, "{agreed} {categories:?}");
    }
}

#[test]
fn presets_are_found_by_label_and_stand_in_order() {
    for (index, facts) in presets::PRESETS.iter().enumerate() {
        assert_eq!(facts.preset as usize, index, "{}", facts.label);
        assert_eq!(Preset::from_label(facts.label), Some(facts.preset));
    }
    assert_eq!(Preset::from_label("own"), None);
}

#[test]
fn every_name_of_every_preset_is_on_the_never_strip_list() {
    let catalogue = Catalogue::builtin();
    let key = vec!["x".to_owned()];
    for facts in &presets::PRESETS {
        let options = Options { advertising: key.clone(), analytics: key.clone(), ..Options::default() };
        for purpose in [Purpose::Advertising, Purpose::Analytics] {
            for name in
                reader(facts.preset, &options, purpose, Purposes::ADVERTISING).iter().flat_map(Reader::names)
            {
                let text =
                    name.pattern()[1..].to_owned() + if matches!(name, Name::Exact(_)) { "" } else { "1" };
                assert!(catalogue.classify(text.as_bytes()).protected, "{}: {text}", facts.label);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_value_of_any_preset_is_survived(value in "\\PC{0,80}", index in 0_usize..21) {
        let preset = presets::PRESETS[index].preset;
        let case = case(preset, &["1"]);
        let reader = reader(preset, &case.options, Purpose::Advertising, Purposes::ADVERTISING).unwrap();
        let names: Vec<String> = reader.names().iter().map(|name| name.pattern()[1..].to_owned() + if matches!(name, Name::Exact(_)) { "" } else { "1" }).collect();
        let cookies: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        let said = case.read(&cookies);
        prop_assert!(said.is_some());
    }
}
