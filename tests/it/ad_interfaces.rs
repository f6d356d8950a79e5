//! Advertising interfaces and client hints of browsers: what passes, in which direction, with consent and without.

use serde_json::json;

use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, cli};

/// A page that asks for everything that a browser could tell an advertiser.
fn asking_site() -> Origin {
    Origin::start(|_| {
        Answer::page()
            .header("Observe-Browsing-Topics", "?1")
            .header("Attribution-Reporting-Register-Source", "{}")
            .header("Attribution-Reporting-Register-Trigger", "{}")
            .header("Ad-Auction-Signals", "{}")
            .header("Shared-Storage-Write", "set;key=\"a\";value=\"b\"")
            .header("Attribution-Reporting-Info", "preferred-platform=web")
            .header("Ad-Auction-Allowed", "?1")
            .header("X-Allow-FLEDGE", "true")
            .header("Ad-Auction-Additional-Bid", "nonce:bid")
            .header("Ad-Auction-Result", "hash")
            .header("Shared-Storage-Cross-Origin-Worklet-Allowed", "?1")
            .header("Accept-CH", "Sec-CH-UA-Model, DPR")
            .header("Critical-CH", "Sec-CH-UA-Model")
            .header(
                "Permissions-Policy",
                "camera=(), ch-ua-model=(self \"https://ads.example\"), run-ad-auction=(self)",
            )
    })
}

/// Signals that a request carries: advertising interfaces, and hints that browsers tell only when asked.
const SIGNALS: &[(&str, &str)] = &[
    ("sec-browsing-topics", "(1)"),
    ("attribution-reporting-eligible", "event-source"),
    ("attribution-reporting-support", "web"),
    ("sec-ad-auction-fetch", "?1"),
    ("sec-shared-storage-writable", "?1"),
    ("sec-shared-storage-data-origin", "https://ads.example"),
    ("sec-ch-ua-model", "\"M\""),
    ("sec-ch-ua-full-version-list", "\"A\";v=\"1.2\""),
    ("device-memory", "8"),
    ("ect", "4g"),
];

const LOW_ENTROPY: (&str, &str) = ("sec-ch-ua", "\"A\";v=\"1\"");

const STARTS_ADVERTISING: &[&str] = &[
    "observe-browsing-topics",
    "attribution-reporting-register-source",
    "attribution-reporting-register-trigger",
    "ad-auction-signals",
    "shared-storage-write",
    "attribution-reporting-info",
    "ad-auction-allowed",
    "x-allow-fledge",
    "ad-auction-additional-bid",
    "ad-auction-result",
    "shared-storage-cross-origin-worklet-allowed",
];

#[test]
fn browser_advertising_interfaces_wait_for_consent_and_nobody_asks_for_hints() {
    let origin = asking_site();
    SIGNALS.iter().for_each(|(name, _)| origin.tolerate(name));
    let gateway = Gateway::of(&origin);
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let mut visitor = Visitor::new(&gateway, protocol);
        let question = |path: &str| {
            let all = SIGNALS.iter().chain([&LOW_ENTROPY]);
            all.fold(ask("GET", path), |question, (name, value)| question.header(name, value))
        };
        let path = format!("/denied/{n}");
        let reply = visitor.fetch(question(&path));
        let seen = origin.last();
        assert_eq!(seen.headers.one(LOW_ENTROPY.0), Some(LOW_ENTROPY.1), "low entropy passes");
        for (name, _) in SIGNALS {
            assert!(!seen.headers.has(name), "{name}");
        }
        for name in STARTS_ADVERTISING.iter().chain(&["accept-ch", "critical-ch"]) {
            assert!(!reply.headers.has(name), "{name}");
        }
        assert_eq!(
            reply.headers.all("permissions-policy").join(", "),
            "camera=(), run-ad-auction=(self), browsing-topics=(), attribution-reporting=(), join-ad-interest-group=()"
        );
        let record = gateway.record(&path);
        let done =
            ["request-advertising", "request-client-hints", "answer-advertising", "answer-client-hints"];
        assert_eq!(record["decision.log"], json!(done));

        visitor.grant();
        let reply = visitor.fetch(question("/granted"));
        for (name, value) in SIGNALS {
            assert_eq!(origin.last().headers.one(name), Some(*value), "{name}");
        }
        for name in STARTS_ADVERTISING {
            assert!(reply.headers.has(name), "{name}");
        }
        assert!(!reply.headers.has("accept-ch") && !reply.headers.has("critical-ch"));
        assert_eq!(reply.headers.all("permissions-policy"), ["camera=(), run-ad-auction=(self)"]);
    }
    // What the browser told is a technical detail, for who has the purpose.
    let data = gateway.data().display().to_string();
    let more = ["--purpose", "diagnostics", "--reason", "test", "path=/denied/0"];
    let said = cli::kelisim(&[&["logs", "query", "--format", "json", "--data", &data], &more[..]].concat());
    let record: serde_json::Value =
        serde_json::from_str(said.out.lines().next().expect("a record")).expect("JSON");
    assert_eq!(record["sec_ch_ua.model"], "\"M\"");
    assert_eq!((&record["device.memory"], &record["network.hints"]), (&json!("8"), &json!(["4g"])));
}

#[test]
fn a_dry_run_leaves_hints_and_advertising_interfaces_alone() {
    let origin = asking_site();
    SIGNALS.iter().for_each(|(name, _)| origin.tolerate(name));
    let gateway = Gateway::build(&[&origin])
        .key("cookies.mode", "\"dry-run\"")
        .key("ingress.click_ids", "\"strip\"")
        .start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        let question = SIGNALS
            .iter()
            .fold(ask("GET", "/?gclid=1"), |question, (name, value)| question.header(name, value));
        let reply = visitor.fetch(question);
        assert_eq!(origin.last().target, "/?gclid=1");
        for (name, value) in SIGNALS {
            assert_eq!(origin.last().headers.one(name), Some(*value), "{name}");
        }
        for name in STARTS_ADVERTISING.iter().chain(&["accept-ch", "critical-ch"]) {
            assert!(reply.headers.has(name), "{name}");
        }
        assert_eq!(
            reply.headers.all("permissions-policy"),
            ["camera=(), ch-ua-model=(self \"https://ads.example\"), run-ad-auction=(self)"]
        );
    }
}

#[test]
fn documents_in_frames_are_denied_the_interfaces_too_and_lose_no_cookie() {
    let origin = Origin::start(|seen| {
        let kind = if seen.target.contains("html") { "text/html; charset=utf-8" } else { "image/svg+xml" };
        Answer::new(200).header("Content-Type", kind).body("<svg/>")
    });
    let gateway = Gateway::of(&origin);
    let denied = |path: &str, destination: Option<&str>| {
        let mut question = ask("GET", path);
        if let Some(destination) = destination {
            question = question.header("sec-fetch-dest", destination);
        }
        let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
        let reply = visitor.fetch(question);
        assert_eq!(
            visitor.cookie("_fbp").is_none(),
            matches!(destination, None | Some("document")) && path != "/svg"
        );
        reply.headers.has("permissions-policy")
    };
    for destination in ["document", "iframe", "frame", "embed", "object", "fencedframe"] {
        assert!(denied("/html", Some(destination)), "{destination}");
    }
    for destination in ["iframe", "frame", "embed", "object", "fencedframe"] {
        assert!(denied("/svg", Some(destination)), "{destination}");
    }
    for destination in ["empty", "image", "worker"] {
        assert!(denied("/html", Some(destination)), "{destination}");
        assert!(!denied("/svg", Some(destination)), "{destination}");
    }
    assert!(denied("/html", None) && !denied("/svg", None));
}
