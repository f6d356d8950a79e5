//! Checked values become the typed [`Config`].
//!
//! Nothing is decided here and nothing can be wrong any more: a value that is missing is a key that the table of
//! keys forgot, told as [`Missing`]. Bound: the values.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::check::Texts;
use super::value::Value;
use super::walk::{Missing, Values, View};
use super::*;
use crate::clock::Timestamp;
use crate::cookies::{Action as CookieAction, Category};
use crate::record::Class;
use crate::risk::{Action as RiskAction, Actions as RiskActions, SignalName};
use crate::seal::Day;

/// The configuration.
pub(super) fn build(values: &Values, texts: &mut Texts) -> Result<Config, Missing> {
    let root = values.root();
    let limits = limits(&root.table("limits"))?;
    let workers = match root.take::<usize>("workers")? {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        some => some,
    };
    Ok(Config {
        listeners: root.rows("listen").map(|row| listener(&row)).collect::<Result<_, _>>()?,
        sites: root.rows("site").map(|row| site(&row, &limits, texts)).collect::<Result<_, _>>()?,
        cookies: cookies(&root.table("cookies"), texts)?,
        consent: consent::build(&root.table("consent"))?,
        geoip: geoip(&root.table("geoip"))?,
        risk: risk(&root.table("risk"))?,
        records: records(&root.table("records"))?,
        timeouts: timeouts(&root.table("timeouts"))?,
        ingress: Ingress {
            strict: root.take("ingress.strict")?,
            underscores: match root.word("ingress.underscores")? {
                "reject" => Underscores::Reject,
                "pass" => Underscores::Pass,
                _ => Underscores::Drop,
            },
            encoded_slashes: match root.word("ingress.encoded_slashes")? {
                "reject" => EncodedSlashes::Reject,
                _ => EncodedSlashes::Pass,
            },
            strip: Strip {
                click_ids: root.word("ingress.click_ids")? == "strip",
                campaign: root.word("ingress.campaign")? == "strip",
            },
        },
        log: log(&root.table("log"))?,
        admin: Admin { address: root.maybe("admin.address"), hosts: root.all("admin.hosts") },
        limits,
        workers,
    })
}

fn log(table: &View<'_>) -> Result<Log, Missing> {
    Ok(Log {
        level: table.take("level")?,
        access: match table.word("access")? {
            "json" => Some(AccessFormat::Json),
            "combined" => Some(AccessFormat::Combined),
            _ => None,
        },
        // The word `stdout` is no path.
        access_file: table.maybe("access_file"),
        access_queue: table.take("access_queue")?,
    })
}

fn listener(row: &View<'_>) -> Result<Listener, Missing> {
    let tls = row
        .present("tls")
        .map(|tls| Ok(Tls { certificate: tls.take("certificate")?, key: tls.take("key")? }));
    Ok(Listener {
        address: row.take("address")?,
        mode: row.take("mode")?,
        tls: tls.transpose()?,
        proxy_protocol: row.take("proxy_protocol")?,
        proxy_protocol_from: row.all("proxy_protocol_from"),
    })
}

fn site(row: &View<'_>, limits: &Limits, texts: &Texts) -> Result<Site, Missing> {
    Ok(Site {
        hosts: row.all("hosts"),
        upstream: row.all("upstream"),
        balance: match row.word("balance")? {
            "least" => Balance::Least,
            _ => Balance::RoundRobin,
        },
        protocol: match row.word("upstream_protocol")? {
            "h2" => Protocol::Http2,
            _ => Protocol::Http1,
        },
        upstream_tls: upstream_tls(row)?,
        health: row.present("health").map(|table| health(&table)).transpose()?,
        trusted_proxies: row.all("trusted_proxies"),
        client_address_from: match row.word("client_address_from")? {
            "forwarded" => ClientAddressFrom::Forwarded,
            "x-forwarded-for" => ClientAddressFrom::XForwardedFor,
            _ => ClientAddressFrom::Field(row.take("client_address_from")?),
        },
        client_address_to: row.maybe("client_address_to"),
        prefix: row.take("prefix")?,
        policy: row.present("policy").map(|table| policy(&table, texts)).transpose()?,
        controller: row.present("controller").map(|table| controller(&table)).transpose()?,
        notices: row.rows("notice").map(|row| notice(&row)).collect::<Result<_, _>>()?,
        body_bytes: row.maybe("body_bytes").unwrap_or(limits.body_bytes),
        rate_limit: row.present("rate_limit").map(|table| rate_limit(&table)).transpose()?,
        routes: Routes::new(row.all("routes")),
    })
}

fn rate_limit(table: &View<'_>) -> Result<Rate, Missing> {
    let requests = table.take("requests")?;
    Ok(Rate::new(requests, table.take("per")?, table.maybe("burst").unwrap_or(requests)))
}

fn upstream_tls(row: &View<'_>) -> Result<Option<UpstreamTls>, Missing> {
    if !row.all::<Endpoint>("upstream").iter().any(Endpoint::is_tls) {
        return Ok(None);
    }
    let table = row.table("upstream_tls");
    let client = table.maybe("certificate").zip(table.maybe("key"));
    Ok(Some(UpstreamTls {
        ca: table.maybe("ca"),
        server_name: table.maybe("server_name"),
        client: client.map(|(certificate, key)| Tls { certificate, key }),
        verify: table.take("verify")?,
    }))
}

fn health(table: &View<'_>) -> Result<HealthCheck, Missing> {
    Ok(HealthCheck {
        path: table.take("path")?,
        interval: table.take("interval")?,
        timeout: table.take("timeout")?,
        healthy: table.take("healthy")?,
        unhealthy: table.take("unhealthy")?,
        statuses: table.all("statuses"),
    })
}

fn day(value: &Value) -> Option<i64> {
    match value {
        Value::Day(seconds) => Some(*seconds),
        _ => None,
    }
}

fn controller(table: &View<'_>) -> Result<Controller, Missing> {
    Ok(Controller {
        name: table.take("name")?,
        contact: table.take("contact")?,
        jurisdiction: table.maybe("jurisdiction"),
    })
}

fn notice(row: &View<'_>) -> Result<Notice, Missing> {
    let texts = ["kk", "ru", "en"].into_iter();
    let texts = texts.filter_map(|tag| Some((tag.to_owned(), row.maybe::<String>(&format!("text.{tag}"))?)));
    Ok(Notice {
        id: row.take("id")?,
        texts: texts.collect(),
        from: row.entry("from").and_then(|entry| day(&entry.value)),
        until: row.entry("until").and_then(|entry| day(&entry.value)),
    })
}

fn policy(table: &View<'_>, texts: &Texts) -> Result<Policy, Missing> {
    let version = |row: View<'_>| {
        let file: PathBuf = row.take("file")?;
        Ok(PolicyVersion {
            id: row.take("id")?,
            text: texts.get(&file).cloned().ok_or_else(|| Missing(row.path_of("file")))?,
            language: row.take("language")?,
            effective: row.need("effective", day)?,
            reconsent: row.take("reconsent")?,
        })
    };
    let versions: Vec<PolicyVersion> = table.rows("versions").map(version).collect::<Result<_, _>>()?;
    let first = || versions.first().map(|v| v.language.clone());
    let default_language = table.maybe("default_language").or_else(first);
    Ok(Policy {
        gate: table.all("gate"),
        default_language: default_language.ok_or_else(|| Missing(table.path_of("versions")))?,
        versions,
    })
}

fn cookies(table: &View<'_>, texts: &mut Texts) -> Result<Cookies, Missing> {
    let mut actions = Actions::default();
    for category in Category::ALL {
        let action = match table.table("actions").word(category.label())? {
            "consent" => CookieAction::Consent,
            "strip" => CookieAction::Strip,
            _ => CookieAction::Allow,
        };
        actions.set(category, action);
    }
    let rules = table.maybe("rules").map(|path: PathBuf| {
        let text = texts.remove(&path).ok_or_else(|| Missing(table.path_of("rules")))?;
        Ok(RuleFile { path, text })
    });
    let mode = match table.word("mode")? {
        "dry-run" => Mode::DryRun,
        _ => Mode::Enforce,
    };
    Ok(Cookies { mode, rules: rules.transpose()?, actions })
}

fn geoip(table: &View<'_>) -> Result<Geoip, Missing> {
    let country = table.need("country", |value| match value {
        Value::Path(path) => Some(CountryDatabase::File(path.clone())),
        Value::Text(word) if word == "off" => Some(CountryDatabase::Off),
        Value::Text(_) => Some(CountryDatabase::Shipped),
        _ => None,
    })?;
    Ok(Geoip { country, asn: table.maybe("asn"), check_every: table.take("check_every")? })
}

fn risk(table: &View<'_>) -> Result<Risk, Missing> {
    let action = |level: &str| {
        Ok(match table.table("action").word(level)? {
            "tag" => RiskAction::Tag,
            "throttle" => RiskAction::Throttle,
            "deny" => RiskAction::Deny,
            _ => RiskAction::Observe,
        })
    };
    Ok(Risk {
        actions: RiskActions { low: action("low")?, medium: action("medium")?, high: action("high")? },
        off: table.all::<String>("off").iter().filter_map(|name| SignalName::from_label(name)).collect(),
        observe_days: table.maybe("observe_days"),
        login_paths: table.all("login_paths"),
        visitor_cookie: table.take("visitor_cookie")?,
        memory_bytes: table.take("memory_bytes")?,
    })
}

fn records(table: &View<'_>) -> Result<Records, Missing> {
    Ok(Records {
        dir: table.take("dir")?,
        keys_dir: table.maybe("keys_dir"),
        durability: match table.word("durability")? {
            "memory" => Durability::Memory,
            "fsync" => Durability::Fsync,
            _ => Durability::Group,
        },
        group_commit: table.take("group_commit")?,
        file_bytes: table.take("file_bytes")?,
        ring_bytes: table.take("ring_bytes")?,
        hold: table.take("hold")?,
        max_bytes: table.take("max_bytes")?,
        retention: terms(&table.table("retention"))?,
        minimum: terms(&table.table("minimum"))?,
        legal_holds: table.rows("legal_hold").map(|row| legal_hold(&row)).collect::<Result<_, _>>()?,
        segments: table.take("segments")?,
        segment_minutes: table.take("segment_minutes")?,
        user_agent_data: table.maybe("user_agent_data"),
        bot_data: table.maybe("bot_data"),
        query_values: table.all("query_values"),
        cookie_values: table.all("cookie_values"),
        record_before_forward: table.all("record_before_forward"),
        account_header: table.maybe("account_header"),
        node: table.take("node")?,
    })
}

/// Days by purpose; 0 where nothing is said.
fn terms(table: &View<'_>) -> Result<Retention, Missing> {
    let days = |name: &str| {
        let time: Duration = table.maybe(name).unwrap_or_default();
        u32::try_from(time.as_secs() / 86_400).map_err(|_| Missing(table.path_of(name)))
    };
    Ok(Retention {
        support: days("support")?,
        security: days("security")?,
        fraud: days("fraud")?,
        diagnostics: days("diagnostics")?,
        advertising: days("advertising")?,
    })
}

fn legal_hold(row: &View<'_>) -> Result<LegalHold, Missing> {
    let day = |name| {
        row.need(name, |value| match value {
            Value::Day(seconds) => Some(Day::of(Timestamp::from_secs(*seconds))),
            _ => None,
        })
    };
    let class = |name: &String| match &name[..] {
        "security" => Class::Sec,
        "fraud" => Class::Fraud,
        "diagnostics" => Class::Diag,
        "advertising" => Class::Ads,
        _ => Class::Clear,
    };
    Ok(LegalHold {
        name: row.take("name")?,
        from: day("from")?,
        until: day("until")?,
        classes: row.all::<String>("classes").iter().map(class).collect(),
    })
}

fn limits(table: &View<'_>) -> Result<Limits, Missing> {
    let upstream_connections: usize = table.take("upstream_connections")?;
    let share = table.maybe("upstream_connections_per_client");
    Ok(Limits {
        head_bytes: table.take("head_bytes")?,
        head_fields: table.take("head_fields")?,
        uri_bytes: table.take("uri_bytes")?,
        body_bytes: table.take("body_bytes")?,
        linger_bytes: table.take("linger_bytes")?,
        linger_connections: table.take("linger_connections")?,
        min_body_rate: table.take("min_body_rate")?,
        rate_memory_bytes: table.take("rate_memory_bytes")?,
        connections: table.take("connections")?,
        connections_per_client: table.take("connections_per_client")?,
        requests_per_connection: table.take("requests_per_connection")?,
        h2_streams: table.take("h2_streams")?,
        h2_stream_window: table.take("h2_stream_window")?,
        h2_connection_window: table.take("h2_connection_window")?,
        upstream_connections,
        upstream_connections_per_client: share.unwrap_or(upstream_connections.div_ceil(2)),
        upstream_queue: table.take("upstream_queue")?,
    })
}

fn timeouts(table: &View<'_>) -> Result<Timeouts, Missing> {
    Ok(Timeouts {
        tls_handshake: table.take("tls_handshake")?,
        request_head: table.take("request_head")?,
        request_body: table.take("request_body")?,
        response_write: table.take("response_write")?,
        keep_alive: table.take("keep_alive")?,
        linger: table.take("linger")?,
        upstream_connect: table.take("upstream_connect")?,
        upstream_head: table.take("upstream_head")?,
        upstream_body: table.take("upstream_body")?,
        upstream_idle: table.take("upstream_idle")?,
        upstream_max_age: table.take("upstream_max_age")?,
        upstream_queue: table.take("upstream_queue")?,
        upgrade_idle: table.take("upgrade_idle")?,
        drain: table.take("drain")?,
    })
}

/// A type that a [`Value`] can become.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $made:expr;)*) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value { $pattern => $made, _ => None }
            }
        })*
    };
}

from_value! {
    Duration: Value::Duration(time) => Some(*time);
    u64: Value::Number(number) => Some(*number);
    u32: Value::Number(number) => Self::try_from(*number).ok();
    usize: Value::Number(number) => Self::try_from(*number).ok();
    bool: Value::Bool(yes) => Some(*yes);
    String: Value::Text(text) => Some(text.clone());
    PathBuf: Value::Path(path) => Some(path.clone());
    SocketAddr: Value::Socket(address) => Some(*address);
    ListenAddress: Value::Listen(address) => Some(address.clone());
    Endpoint: Value::Endpoint(endpoint) => Some(endpoint.clone());
    RangeInclusive<u16>: Value::Statuses(range) => Some(range.clone());
    IpNet: Value::Network(network) => Some(*network);
    HeaderName: Value::Text(name) => Self::from_bytes(name.as_bytes()).ok();
}

impl<'a> View<'a> {
    pub(super) fn take<T: FromValue>(&self, name: &str) -> Result<T, Missing> {
        self.need(name, T::from_value)
    }

    pub(super) fn maybe<T: FromValue>(&self, name: &str) -> Option<T> {
        T::from_value(&self.entry(name)?.value)
    }

    pub(super) fn all<T: FromValue>(&self, name: &str) -> Vec<T> {
        self.list(name).iter().filter_map(|(value, _)| T::from_value(value)).collect()
    }

    pub(super) fn word(&self, name: &str) -> Result<&'a str, Missing> {
        self.text(name).ok_or_else(|| Missing(self.path_of(name)))
    }
}
