//! The matrix: source × decision × category × direction × protocol, all cells, one gateway that reads every source.
//!
//! Each row is what one source writes when the visitor granted, refused, or did neither. Every request carries a cookie
//! of every category, and the site sets one of every category on every answer.

use crate::support::client::Client;
use crate::support::h2::Http2;
use crate::support::{Answer, Ask, Gateway, Origin, Protocol, Reply, ask};

/// What advertising and statistics come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Yes,
    No,
    Nothing,
}

use Says::{No, Nothing, Yes};

/// One row: the fields and query that a source sends, and what it says about advertising and about statistics.
struct Row {
    source: &'static str,
    headers: Vec<(&'static str, String)>,
    query: &'static str,
    advertising: Says,
    analytics: Says,
}

/// A cookie of each category, and whether it waits for consent.
const COOKIES: [(&str, &str); 5] = [
    ("_fbp", "advertising"),
    ("_ga", "analytics"),
    ("NEXT_LOCALE", "functional"),
    ("sessionid", "necessary"),
    ("nobody_knows_it", "unknown"),
];

#[test]
fn every_source_decision_category_direction_and_protocol() {
    let origin = Origin::start(|_| {
        COOKIES.iter().fold(Answer::page(), |answer, (name, _)| {
            answer.header("Set-Cookie", &format!("{name}=set; Path=/; Max-Age=1000"))
        })
    });
    // What arrives is compared below, cell by cell.
    origin.grant_advertising(true);
    let gateway = Gateway::build(&[&origin])
        .key("workers", "1")
        .key("cookies.actions.analytics", "\"consent\"")
        .key("cookies.actions.functional", "\"consent\"")
        .tables(SOURCES)
        .start();
    let (mut client, mut http2) = (gateway.client(), gateway.http2());
    let mut cells = 0;
    for row in rows() {
        for protocol in Protocol::ALL {
            cells += row.check(&origin, protocol, &mut client, &mut http2);
        }
    }
    assert_eq!(cells, rows().len() * 2 * COOKIES.len() * 2);
    // The figures tell the same: as many grants of each source as there were.
    for source in ["onetrust", "klaro", "tcf", "cookie"] {
        let grants = rows().iter().filter(|r| r.label() == source && r.advertising == Yes).count() * 2;
        let labels = ["result=\"granted\"".to_owned(), format!("source=\"{source}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(gateway.metric("kelisim_consent_decisions_total", &labels) as usize, grants, "{source}");
    }
    // And so does the record.
    let records = gateway.records();
    let of_klaro = records.iter().filter(|record| record["consent.source"] == "klaro");
    let reasons: std::collections::BTreeSet<_> = of_klaro.map(|r| r["consent.reason"].to_string()).collect();
    assert_eq!(reasons, ["\"all_granted\"", "\"unknown\"", "\"vendor_refused\""].map(String::from).into());
    gateway.finish();
}

#[test]
fn the_state_tells_the_source() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).tables(SOURCES).start();
    let state = |cookie: &str| {
        gateway.client().fetch(&ask("GET", "/.kelisim/consent").header("cookie", cookie)).json()
    };
    let granted = state("klaro={\"ads\":true}");
    assert_eq!((&granted["decision"], &granted["source"]), (&"granted".into(), &"klaro".into()));
    let refused = state("klaro={\"ads\":true}; us_privacy=1YYN");
    assert_eq!((&refused["reason"], &refused["source"]), (&"framework_refused".into(), &"us_privacy".into()));
}

#[test]
fn a_withdrawal_on_our_page_beats_every_banner() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).tables(SOURCES).start();
    for protocol in Protocol::ALL {
        let mut visitor = crate::support::Visitor::with_ads(&gateway, protocol);
        visitor.hold("klaro", "{\"ads\":true}");
        origin.grant_advertising(true);
        visitor.open("/granted");
        assert!(origin.last().cookies().contains("_fbp="), "{protocol:?}");
        origin.grant_advertising(false);
        visitor.withdraw();
        visitor.hold("_fbp", "1");
        visitor.open("/withdrawn");
        assert!(!origin.last().cookies().contains("_fbp="), "{protocol:?}");
        assert!(origin.last().cookies().contains("klaro="), "the banner's own cookie passes");
    }
}

#[test]
fn a_consent_cookie_of_the_configuration_is_never_stripped() {
    let origin = Origin::pages();
    let rules = "rules = [{ match = \"^mine\", category = \"advertising\" }]";
    let builder =
        Gateway::build(&[&origin]).file("cookies.toml", rules).key("cookies.rules", "\"cookies.toml\"");
    let toml = format!("{}\n{SOURCES}", builder.toml());
    let file = builder.folder().join("clash.toml");
    std::fs::write(&file, toml).unwrap();
    let said = crate::support::cli::kelisim(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(said.code, 64, "{}", said.err);
    assert!(said.err.contains("`^mine` hits `=mine`, which is never stripped"), "{}", said.err);
}

impl Row {
    /// The source's name in metrics.
    fn label(&self) -> &'static str {
        if self.source.starts_with("cookie-") && self.source.len() == "cookie-1".len() {
            "cookie"
        } else {
            self.source
        }
    }

    /// Asks once over a protocol and compares every category in both directions; how many cells were compared.
    fn check(&self, origin: &Origin, protocol: Protocol, client: &mut Client, http2: &mut Http2) -> usize {
        let carried = COOKIES.map(|(name, _)| format!("{name}=sent")).join("; ");
        let mut question: Ask = ask("GET", &format!("/{}", self.query)).header("accept", "text/html");
        let mut field = carried;
        for (name, value) in &self.headers {
            if *name == "cookie" {
                field = format!("{field}; {value}");
            } else {
                question = question.header(name, value);
            }
        }
        question = question.header("cookie", &field);
        let reply = match protocol {
            Protocol::Http1 => client.fetch(&question),
            Protocol::Http2 => http2.fetch(&question),
        };
        let seen = origin.last();
        let told = seen.headers.one("kelisim-consent").unwrap_or_default().to_owned();
        let expected = if self.advertising == Yes { "granted" } else { "denied" };
        assert!(told.contains(&format!("advertising={expected};")), "{}: {told}", self.describe());
        if self.advertising != Nothing {
            assert!(told.ends_with(&format!("source={}", self.source)), "{}: {told}", self.describe());
        }
        for (name, category) in COOKIES {
            let passes = match category {
                "advertising" => self.advertising == Yes,
                "analytics" => self.analytics == Yes,
                "functional" => false,
                _ => true,
            };
            let arrived = seen.cookies().split("; ").any(|cookie| cookie == format!("{name}=sent"));
            assert_eq!(arrived, passes, "{} {protocol:?}: {category} to the site", self.describe());
            assert_eq!(
                is_set(&reply, name),
                passes,
                "{} {protocol:?}: {category} to the visitor",
                self.describe()
            );
        }
        COOKIES.len() * 2
    }

    fn describe(&self) -> String {
        format!("{} {:?} {}", self.source, self.headers, self.query)
    }
}

fn is_set(reply: &Reply, name: &str) -> bool {
    reply.set_cookies().iter().any(|field| field.starts_with(&format!("{name}=set")))
}

fn row(source: &'static str, cookies: &str, advertising: Says, analytics: Says) -> Row {
    Row { source, headers: vec![("cookie", cookies.to_owned())], query: "", advertising, analytics }
}

/// A string of TCF made now: grants or refuses.
fn tcf(granted: bool) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let decis = u64::try_from(now.as_millis() / 100).unwrap();
    let mut bits = vec![false; 264];
    let mut put = |at: usize, length: usize, number: u64| {
        (0..length).for_each(|i| bits[at + i] = number >> (length - 1 - i) & 1 == 1);
    };
    put(0, 6, 2);
    put(6, 36, decis);
    put(42, 36, decis);
    put(132, 6, 5);
    put(138, 1, 1);
    for purpose in [1, 2, 3, 4, 7] {
        put(151 + purpose, 1, u64::from(granted || purpose != 4));
    }
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let six = |six: &[bool]| char::from(letters[six.iter().fold(0, |n, bit| n << 1 | usize::from(*bit))]);
    bits.chunks(6).map(six).collect()
}

#[rustfmt::skip] // one row reads as the table it is
fn rows() -> Vec<Row> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let iso = "2026-11-01T00:00:00Z";
    let onetrust = |ads: u8, stats: u8| format!("OptanonConsent=groups=C0002%3A{stats}%2CC0004%3A{ads}&AwaitingReconsent=false");
    let closed = format!("OptanonAlertBoxClosed={iso}");
    let cookiebot = |ads: &str, stats: &str, method: &str| format!("CookieConsent={{stamp:%27x%27%2Cstatistics:{stats}%2Cmarketing:{ads}%2Cmethod:%27{method}%27%2Cutc:{now}000}}");
    let cookieyes = |ads: &str, stats: &str, action: &str| format!("cookieyes-consent=action:{action},analytics:{stats},advertisement:{ads}");
    let axeptio = |ads: bool, done: bool| format!("axeptio_cookies={{\"px\":{ads},\"$$completed\":{done}}}");
    let script = |action: &str, list: &str| format!("CookieScriptConsent={{\"action\":\"{action}\",\"categories\":\"{list}\",\"consenttime\":{now}}}");
    let first = |ads: &str| format!("cookiefirst-consent={{\"advertising\":{ads},\"performance\":true,\"timestamp\":{now}}}");
    let borlabs = |more: &str| format!("borlabs-cookie={{\"consents\":{{\"essential\":[\"b\"]{more}}},\"v3\":true}}");
    let header = |source, name, value: &str, says| Row { source, headers: vec![(name, value.to_owned())], query: "", advertising: says, analytics: Nothing };
    let hit = |query, advertising, analytics| Row { source: "consent_mode", headers: vec![], query, advertising, analytics };
    vec![
        row("none", "x=1", Nothing, Nothing),
        row("own", "kelisim_consent=v1.forged", Nothing, Nothing),
        header("gpc", "sec-gpc", "1", No),
        header("none", "sec-gpc", "0", Nothing),
        header("dnt", "dnt", "1", No),
        row("onetrust", &format!("{}; {closed}", onetrust(1, 0)), Yes, No),
        row("onetrust", &format!("{}; {closed}", onetrust(0, 1)), No, Yes),
        row("onetrust", &onetrust(1, 1), Nothing, Nothing),
        row("cookiebot", &cookiebot("true", "true", "explicit"), Yes, Yes),
        row("cookiebot", &cookiebot("false", "true", "explicit"), No, Yes),
        row("cookiebot", &cookiebot("true", "true", "implied"), Nothing, Nothing),
        row("cookieyes", &cookieyes("yes", "no", "yes"), Yes, No),
        row("cookieyes", &cookieyes("no", "yes", "yes"), No, Yes),
        row("cookieyes", &cookieyes("yes", "yes", "no"), Nothing, Nothing),
        row("cookieyes-legacy", "cookielawinfo-checkbox-advertisement=yes; viewed_cookie_policy=yes", Yes, Nothing),
        row("cookieyes-legacy", "cookielawinfo-checkbox-advertisement=no; cookielawinfo-checkbox-analytics=yes; viewed_cookie_policy=yes", No, Yes),
        row("cookieyes-legacy", "cookielawinfo-checkbox-advertisement=yes", Nothing, Nothing),
        row("complianz", "cmplz_marketing=allow; cmplz_statistics=deny; cmplz_banner-status=dismissed", Yes, No),
        row("complianz", "cmplz_marketing=deny; cmplz_statistics=allow; cmplz_banner-status=dismissed", No, Yes),
        row("complianz", "cmplz_marketing=allow", Nothing, Nothing),
        row("cookieconsent", "cc_cookie={\"categories\":[\"ads\"],\"revision\":0}", Yes, No),
        row("cookieconsent", "cc_cookie={\"categories\":[\"stats\"],\"revision\":0}", No, Yes),
        row("cookieconsent", "cc_cookie={\"revision\":0}", Nothing, Nothing),
        row("klaro", "klaro=%7B%22ads%22%3Atrue%2C%22stats%22%3Atrue%7D", Yes, Yes),
        row("klaro", "klaro={\"ads\":false,\"stats\":false}", No, No),
        row("klaro", "klaro={\"x\":true}", Nothing, Nothing),
        row("tarteaucitron", "tarteaucitron=!gtag=true!matomo=false", Yes, No),
        row("tarteaucitron", "tarteaucitron=!gtag=false!matomo=true", No, Yes),
        row("tarteaucitron", "tarteaucitron=!gtag=wait!matomo=wait", Nothing, Nothing),
        row("axeptio", &axeptio(true, true), Yes, Nothing),
        row("axeptio", &axeptio(false, true), No, Nothing),
        row("axeptio", &axeptio(true, false), Nothing, Nothing),
        row("cookie-script", &script("accept", "[\\\"targeting\\\"]"), Yes, No),
        row("cookie-script", &script("accept", "[\\\"performance\\\"]"), No, Yes),
        row("cookie-script", &script("shown", "[\\\"targeting\\\"]"), Nothing, Nothing),
        row("cookiefirst", &first("true"), Yes, Yes),
        row("cookiefirst", &first("false"), No, Yes),
        row("cookiefirst", "cookiefirst-consent={\"necessary\":true}", Nothing, Nothing),
        row("borlabs", &borlabs(",\"marketing\":[\"m\"]"), Yes, No),
        row("borlabs", &borlabs(",\"statistics\":[\"m\"]"), No, Yes),
        row("borlabs", "borlabs-cookie={\"uid\":\"u\"}", Nothing, Nothing),
        row("iubenda", "_iub_cs-12={\"purposes\":{\"1\":true,\"5\":true}}", Yes, No),
        row("iubenda", "_iub_cs-12={\"purposes\":{\"1\":true,\"4\":true}}", No, Yes),
        row("iubenda", "_iub_cs-12={\"id\":12}", Nothing, Nothing),
        row("trustarc", "notice_gdpr_prefs=0,1,2:; cmapi_cookie_privacy=permit 1,2,3", Yes, Yes),
        row("trustarc", "notice_gdpr_prefs=0,1:; cmapi_cookie_privacy=permit 1,2", No, Yes),
        row("trustarc", "notice_gdpr_prefs=0::implied,eu; cmapi_cookie_privacy=permit 1 required", Nothing, Nothing),
        row("tealium", &format!("CONSENTMGR=consent:true%7Cts:{now}000%7Cc1:0%7Cc3:1"), Yes, No),
        row("tealium", &format!("CONSENTMGR=consent:true%7Cts:{now}000%7Cc1:1%7Cc3:0"), No, Yes),
        row("tealium", &format!("CONSENTMGR=ts:{now}000"), Nothing, Nothing),
        row("consentmanager", &format!("__cmpconsent7={}", tcf(true)), Yes, Nothing),
        row("consentmanager", &format!("__cmpconsent7={}", tcf(false)), No, Nothing),
        row("consentmanager", "__cmpconsent7=BOxxxxxOxxxxx", Nothing, Nothing),
        row("didomi", "didomi_token=eyJwdXJwb3NlcyI6eyJlbmFibGVkIjpbImFkcyJdfX0=", Yes, Nothing),
        row("didomi", "didomi_token=eyJwdXJwb3NlcyI6eyJkaXNhYmxlZCI6WyJhZHMiXX19", No, Nothing),
        row("didomi", "didomi_dcs=0", Nothing, Nothing),
        row("commanders-act", &format!("TC_PRIVACY=0%40007%402%40%40{now}000"), Yes, No),
        row("commanders-act", &format!("TC_PRIVACY=1%40007%40ALL%40%40{now}000"), No, No),
        row("commanders-act", "TC_PRIVACY=7", Nothing, Nothing),
        row("zaraz", "zaraz-consent={\"vxcT\":true,\"stat\":false}", Yes, No),
        row("zaraz", "zaraz-consent={\"vxcT\":false,\"stat\":true}", No, Yes),
        row("zaraz", "zaraz-consent={}", Nothing, Nothing),
        row("shopify", "_tracking_consent={\"con\":{\"CMP\":{\"m\":\"1\",\"a\":\"1\"}}}", Nothing, Nothing),
        row("shopify", "_tracking_consent={\"con\":{\"CMP\":{\"m\":\"0\",\"a\":\"1\"}}}", No, Nothing),
        row("drupal-eu", "cookie-agreed=2", Nothing, Nothing),
        row("drupal-eu", "cookie-agreed=0", No, No),
        row("tcf", &format!("snconsent={}", tcf(true)), Yes, Nothing),
        row("tcf", &format!("snconsent={}.IAAA", tcf(false)), No, Nothing),
        row("tcf", "snconsent=CQKjTcAQKjTcAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA", Nothing, Nothing),
        row("tcf", &format!("__gpp=DBABM~{}", tcf(true)), Yes, Nothing),
        row("gpp", "__gpp=DBABLA~BVQpAAAAAgA.QA", No, Nothing),
        row("gpp", "__gpp=DBABLA~BVQqAAAAAgA.QA", Nothing, Nothing),
        row("us_privacy", "us_privacy=1YYN", No, Nothing),
        row("us_privacy", "usprivacy=1YNN", Nothing, Nothing),
        hit("?gcs=G111", Nothing, Nothing),
        hit("?gcs=G100", No, No),
        row("cookie-1", "mine=yes; shown=1", Yes, Nothing),
        row("cookie-1", "mine=no; shown=1", No, Nothing),
        row("cookie-1", "mine=yes", Nothing, Nothing),
    ]
}

const SOURCES: &str = r#"
[consent]
sources = ["own", "gpc", "dnt", "tcf", "gpp", "us-privacy", "consent-mode", "onetrust", "cookiebot", "cookieyes",
    "cookieyes-legacy", "complianz", "cookieconsent", "klaro", "tarteaucitron", "axeptio", "cookie-script",
    "cookiefirst", "borlabs", "iubenda", "trustarc", "tealium", "consentmanager", "didomi", "commanders-act", "zaraz",
    "shopify", "drupal-eu"]
tcf_cookies = ["snconsent"]
preset = [
    { source = "cookieconsent", advertising = ["ads"], analytics = ["stats"] },
    { source = "klaro", advertising = ["ads"], analytics = ["stats"] },
    { source = "tarteaucitron", advertising = ["gtag"], analytics = ["matomo"] },
    { source = "axeptio", advertising = ["px"] },
    { source = "tealium", advertising = ["c3"], analytics = ["c1"] },
    { source = "didomi", advertising = ["ads"] },
    { source = "commanders-act", advertising = ["2"], analytics = ["1"] },
    { source = "zaraz", advertising = ["vxcT"], analytics = ["stat"] },
]
[[consent.cookie]]
name = "mine"
format = "flag"
grants = ["yes"]
denies = ["no"]
also = [{ cookie = "shown", equals = "1" }]
"#;
