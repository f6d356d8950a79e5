//! The configuration as a whole: defaults, every value, overrides, round trips, any bytes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::reference::{Fallback, KEYS, Kind};
use super::*;
use crate::cookies::{Action, Category};
use crate::risk;

mod mistakes;

const FINE: &str = r#"
[[listen]]
address = "127.0.0.1:8080"
[[site]]
hosts = ["a.example"]
upstream = ["http://127.0.0.1:3000"]
"#;

fn no_env() -> impl Iterator<Item = (String, String)> {
    std::iter::empty()
}

fn fine(extra: &str) -> Config {
    let text = format!("{FINE}{extra}");
    parse_pure(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = fine("");
    let (l, t) = (&config.limits, &config.timeouts);
    assert_eq!((l.head_bytes, l.head_fields, l.uri_bytes), (64 << 10, 200, 16 << 10));
    assert_eq!(l.body_bytes, 100 << 20);
    assert_eq!((l.connections, l.connections_per_client, l.requests_per_connection), (20_000, 256, 10_000));
    assert_eq!((l.h2_streams, l.h2_stream_window, l.h2_connection_window), (100, 256 << 10, 1 << 20));
    assert_eq!((l.upstream_connections, l.upstream_queue), (64, 256));
    let s = Duration::from_secs;
    assert_eq!((t.tls_handshake, t.request_head, t.request_body), (s(10), s(15), s(30)));
    assert_eq!((t.response_write, t.keep_alive), (s(60), s(60)));
    assert_eq!((t.upstream_connect, t.upstream_head, t.upstream_body), (s(3), s(60), s(60)));
    assert_eq!((t.upstream_idle, t.upstream_max_age, t.upstream_queue), (s(30), s(600), s(2)));
    assert_eq!((t.upgrade_idle, t.drain), (s(3600), s(30)));
    assert_eq!(config.cookies.mode, Mode::Enforce);
    assert_eq!(config.cookies.actions, Actions::default());
    assert_eq!(config.consent.sources, [ConsentSource::Own, ConsentSource::Gpc, ConsentSource::Dnt]);
    assert_eq!(config.consent.max_age, crate::consent::precedence::DEFAULT_MAX_AGE);
    assert!(!config.consent.gpc_over_own_grant);
    assert_eq!(config.geoip.country, CountryDatabase::Shipped);
    assert_eq!(config.geoip.headers, None);
    assert_eq!(config.risk.actions, risk::Actions::default());
    assert_eq!(config.risk.failed_login_statuses, [401..=401, 403..=403]);
    assert!(config.risk.caps.is_empty() && config.risk.shared_networks.is_empty());
    let r = &config.records;
    assert_eq!((r.durability, r.group_commit, r.hold), (Durability::Group, s(1) / 5, s(1) / 20));
    assert_eq!((r.file_bytes, r.legal_holds.len()), (64 << 20, 0));
    let retention = Retention { support: 90, security: 30, fraud: 30, diagnostics: 7, advertising: 30 };
    assert_eq!(r.retention, retention);
    assert_eq!(config.ingress.underscores, Underscores::Drop);
    assert_eq!(config.admin.address, Some("127.0.0.1:9180".parse().unwrap()));
    let site = &config.sites[0];
    assert_eq!(
        (site.prefix.as_str(), site.body_bytes, site.balance),
        ("/.kelisim/", 100 << 20, Balance::RoundRobin)
    );
    assert!(site.policy.is_none() && site.trusted_proxies.is_empty());
    assert!(config.workers >= 1);
}

#[test]
fn every_value_reaches_the_config() {
    let text = r#"
workers = 3
[[listen]]
address = "[::1]:8443"
tls = { certificate = "c.pem", key = "k.pem" }
[[site]]
hosts = ["a.example", "::1"]
upstream = ["http://b:3000/", "http://[::1]:3001"]
balance = "least"
trusted_proxies = ["10.0.0.0/8", "::1"]
prefix = "/privacy/"
body_bytes = "1MiB"
[site.policy]
versions = [
  { id = "v1", file = "v1.md", language = "ru", effective = 2026-11-22 },
  { id = "v1", file = "v1.kk.md", language = "kk", effective = "2026-11-22" },
]
gate = ["/register"]
[cookies]
mode = "dry-run"
rules = "cookies.toml"
[cookies.actions]
analytics = "consent"
unknown = "strip"
[consent]
sources = ["dnt", "own"]
max_age = "30d"
gpc_over_own_grant = true
[geoip]
country = "off"
asn = "asn.mmdb"
headers = ["network", "country"]
headers_purpose = "checks of orders"
headers_as = "cloudflare"
[risk]
off = ["velocity"]
cap = { country-hop = "low", new-network = "medium" }
observe_days = 14
login_paths = ["/login"]
failed_login_statuses = ["200", "4xx"]
shared_networks = ["100.64.0.0/10", "192.0.2.1"]
shared_asns = [64512, 4294967295]
action = { medium = "tag", high = "deny" }
[records]
dir = "data"
durability = "fsync"
retention = { support = "120d" }
node = "n-1"
[ingress]
underscores = "reject"
[admin]
address = "off"
"#;
    let config = parse_pure(text.as_bytes()).unwrap();
    assert_eq!(config.workers, 3);
    assert_eq!(config.listeners[0].tls.as_ref().unwrap().key, Path::new("k.pem"));
    let site = &config.sites[0];
    assert_eq!(site.hosts, ["a.example", "[::1]"]);
    assert_eq!(site.upstream[1], Endpoint::Host { host: "::1".into(), port: 3001, tls: false });
    assert_eq!((site.balance, site.body_bytes, site.prefix.as_str()), (Balance::Least, 1 << 20, "/privacy/"));
    assert_eq!(site.trusted_proxies.len(), 2);
    let policy = site.policy.as_ref().unwrap();
    assert_eq!((policy.default_language.as_str(), policy.versions.len()), ("ru", 2));
    assert_eq!((policy.versions[1].effective, policy.gate.len()), (1_795_305_600, 1));
    assert_eq!(config.cookies.mode, Mode::DryRun);
    assert_eq!(config.cookies.actions.get(Category::Analytics), Action::Consent);
    assert_eq!(config.cookies.actions.get(Category::Unknown), Action::Strip);
    assert_eq!(config.cookies.rules.unwrap().path, Path::new("cookies.toml"));
    assert_eq!(config.consent.sources, [ConsentSource::Dnt, ConsentSource::Own]);
    assert!(config.consent.gpc_over_own_grant);
    assert_eq!(config.geoip.country, CountryDatabase::Off);
    let purpose = "checks of orders".to_owned();
    let told = GeoHeaders { purpose, country: true, network: true, cloudflare: true };
    assert_eq!(config.geoip.headers, Some(told));
    assert_eq!((config.risk.actions.high, config.risk.observe_days), (risk::Action::Deny, Some(14)));
    assert_eq!(config.risk.off, [risk::SignalName::Velocity]);
    let caps = [risk::SignalName::CountryHop, risk::SignalName::NewNetwork, risk::SignalName::Velocity];
    let caps = caps.map(|name| config.risk.cap(name));
    assert_eq!(caps, [Some(risk::Level::Low), Some(risk::Level::Medium), None]);
    assert_eq!(config.risk.failed_login_statuses, [200..=200, 400..=499]);
    assert_eq!(config.risk.shared_networks.len(), 2);
    assert_eq!(config.risk.shared_asns, [64_512, u32::MAX]);
    assert_eq!((config.records.durability, config.records.retention.support), (Durability::Fsync, 120));
    assert_eq!(config.ingress.underscores, Underscores::Reject);
    assert_eq!(config.admin.address, None);
}

#[test]
fn the_environment_overrides_and_its_mistakes_are_told_last() {
    let env = |name: &str, value: &str| std::iter::once((name.to_owned(), value.to_owned()));
    let text = format!("{FINE}[limits]\nhead_bytes = \"32KiB\"\n");
    let config = parse(&text, "f", Path::new(""), env("KELISIM_LIMITS__HEAD_BYTES", "128KiB")).unwrap();
    assert_eq!(config.limits.head_bytes, 128 << 10);
    let bad = text.replace("head_bytes", "head_byte");
    let problems = parse(&bad, "f", Path::new(""), env("KELISIM_LIMITS__HEAD_BYTES", "big")).unwrap_err();
    let files: Vec<&str> = problems.list().iter().map(|p| p.file.as_str()).collect();
    assert_eq!(files, ["f", "environment: KELISIM_LIMITS__HEAD_BYTES"]);
}

#[test]
fn a_url_is_enough() {
    let config = for_upstream("http://Shop.example:3000", None, None, no_env()).unwrap();
    assert_eq!(config.sites[0].hosts, ["localhost", "127.0.0.1", "[::1]", "shop.example"]);
    assert_eq!(
        config.sites[0].upstream,
        [Endpoint::Host { host: "shop.example".into(), port: 3000, tls: false }]
    );
    assert_eq!(config.listeners[0].address.to_string(), DEFAULT_LISTEN);
    assert_eq!(config.records.dir, Path::new(DEFAULT_DATA));
    let local = for_upstream("http://[::1]:3000", Some("0.0.0.0:80"), Some("d".into()), no_env()).unwrap();
    assert_eq!((local.sites[0].hosts.len(), local.records.dir), (3, PathBuf::from("d")));
    let problems = for_upstream("https://a\"\n/b", Some("x"), None, no_env()).unwrap_err();
    let keys: Vec<&str> = problems.list().iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["--listen", "--upstream"]);
    assert!(problems.list().iter().all(|p| p.file == "command line" && p.line.is_none()));
}

#[test]
fn the_demo_gets_its_config_from_code() {
    let (listen, upstream) = ("127.0.0.1:0".parse().unwrap(), "127.0.0.1:4000".parse().unwrap());
    let config = Config::default_for(listen, &["localhost"], upstream, Path::new("/tmp/x")).unwrap();
    assert_eq!((config.listeners.len(), config.sites[0].hosts.len()), (1, 1));
    assert!(Config::default_for(listen, &["No Host"], upstream, Path::new("/tmp/x")).is_err());
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kelisim.toml");
    fs::write(dir.path().join("p.md"), "# p").unwrap();
    fs::write(
        &path,
        format!(
            "{FINE}trusted_proxies = [\"10.0.0.0/8\"]\n[site.policy]\ngate = [\"/r\"]\n\
             versions = [{{ id = \"a\", file = \"p.md\", language = \"kk\", effective = 2026-01-01 }}]\n\
             [limits]\nhead_bytes = 65536\n"
        ),
    )
    .unwrap();
    let env = || std::iter::once(("KELISIM_TIMEOUTS__DRAIN".to_owned(), "90s".to_owned()));
    let first = effective(&path, env()).unwrap();
    assert!(first.contains("drain = \"90s\"  # KELISIM_TIMEOUTS__DRAIN"), "{first}");
    assert!(first.contains("head_bytes = \"64KiB\"\n"), "{first}");
    assert!(first.contains("keep_alive = \"1m\"  # default"), "{first}");
    fs::write(&path, &first).unwrap();
    let values = |toml: &str| -> Vec<String> {
        toml.lines().map(|line| line.split("  #").next().unwrap_or_default().to_owned()).collect()
    };
    let second = effective(&path, no_env()).unwrap_or_else(|problems| panic!("{problems}\n{first}"));
    assert_eq!(values(&first), values(&second));
}

#[test]
fn the_example_is_complete_and_accepted() {
    let example = include_str!("../../deploy/kelisim.toml");
    let dir = tempfile::tempdir().unwrap();
    for file in [
        "tls/site.pem",
        "tls/site.key",
        "policy/2026-11.kk.md",
        "policy/2026-11.ru.md",
        "cookies.toml",
        "geoip/country.mmdb",
    ] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    parse(example, "kelisim.toml", dir.path(), no_env()).unwrap_or_else(|problems| panic!("{problems}"));
    for key in KEYS.iter().filter(|key| !matches!(key.kind, Kind::Later)) {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(example.contains(&format!("{name} = ")), "the example lacks {}", key.path);
        let commented: Vec<&str> =
            example.lines().filter_map(|line| line.strip_prefix(&format!("# {name} = "))).collect();
        if let Fallback::Value(default) = key.fallback
            && !commented.is_empty()
        {
            // Two tables may have a key of that name.
            let shows = commented.iter().any(|line| line.split("  #").next().unwrap().trim_end() == default);
            assert!(shows, "{}: a commented line shows the default", key.path);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_pure(&bytes);
    }

    #[test]
    fn no_text_made_of_our_keys_panics(parts in proptest::collection::vec(part(), 0..40)) {
        let text = parts.concat();
        if let Err(problems) = parse_pure(text.as_bytes()) {
            prop_assert!(!problems.list().is_empty());
            let _ = problems.render(true);
            for problem in problems.list() {
                if let Some(line) = problem.line {
                    prop_assert!(line <= text.split('\n').count());
                }
            }
        }
    }
}

/// Pieces that come near to a configuration.
fn part() -> impl Strategy<Value = String> {
    let keys: Vec<String> = KEYS.iter().map(|k| k.path.replace("[]", "")).collect();
    let literals = [
        "1",
        "-1",
        "\"15s\"",
        "\"64KiB\"",
        "[]",
        "[\"a\"]",
        "{}",
        "[{}]",
        "true",
        "2026-11-22",
        "\"\\u0000\"",
        "1.5",
    ];
    prop_oneof![
        (proptest::sample::select(keys.clone()), proptest::sample::select(literals.to_vec()))
            .prop_map(|(key, value)| format!("{key} = {value}\n")),
        proptest::sample::select(keys).prop_map(|key| format!("[{key}]\n")),
        Just("[[site]]\n".to_owned()),
        Just("[[listen]]\n".to_owned()),
        "\\PC{0,12}\n",
    ]
}
