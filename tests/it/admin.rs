//! The admin listener: figures that tell what happened, and whether traffic should come.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::client::Client;
use crate::support::server::{Server, free_port};
use crate::support::{Gateway, Origin, Protocol, Visitor, ask, program, wait_for};

#[test]
fn the_page_of_metrics_is_as_prometheus_wants_it() {
    let Some(promtool) = program("promtool", &[]) else { return };
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    Visitor::with_ads(&gateway, Protocol::Http2).open("/");
    let page = gateway.metrics();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    child.stdin.take().expect("its input").write_all(page.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The configuration in deploy/, with the addresses and intervals of a test; every rule that it loads is evaluated, and
/// every figure on the page arrives.
#[test]
fn a_real_prometheus_scrapes_it_and_evaluates_the_rules() {
    let Some(prometheus) = program("prometheus", &[]) else { return };
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    gateway.client().get("/");
    let folder = tempfile::tempdir().unwrap();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");
    let shipped = std::fs::read_to_string(format!("{deploy}/scrape.yml")).unwrap();
    let config = shipped.replace("127.0.0.1:9180", &gateway.admin_address().to_string()).replace("15s", "1s");
    assert_ne!(config, shipped);
    std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    std::fs::copy(format!("{deploy}/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
    let address = free_port();
    let mut command = Command::new(prometheus);
    command
        .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"));
    let _server = Server::start(&mut command, address);
    let asked = |path: &str| {
        let mut client = Client::connect(address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: prometheus\r\nConnection: close\r\n\r\n"));
        client.read().text()
    };
    let found = wait_for("the figures", || {
        let found = asked("/api/v1/query?query=kelisim_http_requests_total");
        found.contains("kz.example").then_some(found)
    });
    assert!(found.contains("\"method\":\"GET\""), "{found}");
    let rules = wait_for("the rules", || {
        let rules = asked("/api/v1/rules");
        (rules.contains("\"health\":\"ok\"") && !rules.contains("\"health\":\"unknown\"")).then_some(rules)
    });
    assert!(!rules.contains("\"health\":\"err\""), "{rules}");
}

#[test]
fn each_thing_that_happens_is_counted() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::with_ads(&gateway, Protocol::Http1);
    visitor.open("/");
    visitor.submit("action=refuse");
    visitor.open("/");
    visitor.grant();
    visitor.withdraw();
    Visitor::new(&gateway, Protocol::Http2).fetch(ask("GET", "/").host("evil.example"));
    let count = |name: &str, labels: &[&str]| gateway.metric(name, labels);
    assert_eq!(count("kelisim_http_requests_total", &["method=\"GET\"", "host=\"kz.example\""]), 2.0);
    assert_eq!(count("kelisim_http_requests_total", &["method=\"POST\""]), 2.0);
    assert_eq!(count("kelisim_http_requests_total", &["method=\"DELETE\""]), 1.0);
    let stripped =
        ["action=\"stripped\"", "category=\"advertising\"", "direction=\"request\"", "mode=\"enforce\""];
    assert!(count("kelisim_cookies_total", &stripped) >= 4.0);
    assert!(count("kelisim_cookies_total", &["action=\"expired\""]) >= 4.0);
    assert_eq!(count("kelisim_consent_choices_total", &["choice=\"refused\""]), 1.0);
    assert_eq!(count("kelisim_consent_choices_total", &["choice=\"given\""]), 1.0);
    assert_eq!(count("kelisim_consent_choices_total", &["choice=\"withdrawn\""]), 1.0);
    assert_eq!(count("kelisim_request_rejected_total", &["reason=\"unknown_host\""]), 1.0);
    assert_eq!(count("kelisim_upstream_requests_total", &["result=\"ok\""]), 2.0);
    wait_for("the records", || {
        (count("kelisim_journal_records_total", &["kind=\"access\""]) == 5.0).then_some(())
    });
    assert_eq!(count("kelisim_journal_dropped_records_total", &[]), 0.0);
}

#[test]
fn no_word_from_the_wire_becomes_a_label() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut visitor = Visitor::new(&gateway, Protocol::Http1).always("user-agent", "word-agent");
    visitor.hold("word-cookie", "word-value");
    visitor.fetch(ask("WORDMETHOD", "/word-path?word-key=1"));
    visitor.fetch(ask("GET", "/").host("word-host.example"));
    let page = gateway.metrics();
    assert!(!page.contains("word-") && !page.contains("WORDMETHOD"), "{page}");
    assert!(page.contains("method=\"_OTHER\""));
}

#[test]
fn health_readiness_and_version_are_told() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    assert_eq!(gateway.admin("/healthz").status, 200);
    assert_eq!(gateway.admin("/readyz").status, 200);
    assert!(gateway.admin("/version").text().contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(gateway.admin("/nothing").status, 404);
    let mut client = Client::connect(gateway.admin_port());
    client
        .send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read().status, 405);
}

#[test]
fn what_is_for_the_admin_listener_is_not_served_to_visitors() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let reply = gateway.client().get("/metrics");
    assert!(!reply.text().contains("kelisim_"), "that is the site's own path");
    assert_eq!(origin.last().target, "/metrics");
}

#[test]
fn a_throttled_client_is_told_how_long_to_wait() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("risk.login_paths", "[\"/login\"]")
        .tables("[risk.action]\nhigh = \"throttle\"\n")
        .start();
    let mut client = gateway.client();
    let throttled = (0..40).map(|_| client.fetch(&ask("POST", "/login"))).find(|reply| reply.status == 429);
    let throttled = throttled.expect("forty logins from one address are too many");
    // What risk::action says for throttle: a minute.
    assert_eq!(throttled.header("retry-after"), "60");
    assert!(
        gateway.metric("kelisim_risk_actions_total", &["action=\"throttle\"", "applied=\"true\""]) >= 1.0
    );
}

#[test]
fn a_cookie_field_that_sites_refuse_is_forwarded_and_counted() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    origin.tolerate("cookie");
    let long = format!("sessionid={}", "a".repeat(9000));
    assert_eq!(gateway.client().fetch(&ask("GET", "/").header("Cookie", &long)).status, 200);
    assert_eq!(origin.last().headers.one("cookie"), Some(long.as_str()));
    assert_eq!(gateway.metric("kelisim_cookie_fields_oversize_total", &[]), 1.0);
}

#[test]
fn advertising_signals_and_client_hints_that_are_removed_are_counted() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let question = ask("GET", "/").header("Sec-Browsing-Topics", "(1)").header("Sec-CH-UA-Model", "\"x\"");
    assert_eq!(gateway.client().fetch(&question).status, 200);
    let dropped = |reason: &str| gateway.metric("kelisim_ingress_dropped_headers_total", &[reason]);
    assert_eq!((dropped("reason=\"advertising\""), dropped("reason=\"client_hint\"")), (1.0, 1.0));
}
