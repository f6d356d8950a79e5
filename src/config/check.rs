//! What keys say about each other: duplicates, contradictions, files that must be there.
//!
//! [`check`] notes every mistake and hands back the texts of the files that become part of the configuration. It
//! works on whatever values could be read, so that these mistakes are told together with those of single keys.
//! Bound: the configuration.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::net::IpAddr;
use std::path::PathBuf;

use super::files::Files;
use super::listen::DEFAULT_MODE;
use super::problem::{Fault, Mistakes, Place, shown};
use super::reference::Kind;
use super::syntax::{show_duration, show_size};
use super::value::Value;
use super::walk::{Entry, Values, View};
use super::{Endpoint, ListenAddress, consent, location};
use crate::cookies::Category;
use crate::cookies::catalogue::Catalogue;
use crate::record::route::MOST_ROUTES;

/// Texts of files, by path.
pub(super) type Texts = HashMap<PathBuf, String>;

/// Checks all keys against each other and against the files.
pub(super) fn check(values: &Values, files: &dyn Files, mistakes: &mut Mistakes) -> Texts {
    let root = values.root();
    listeners(&root, mistakes);
    sites(&root, mistakes);
    loops(&root, mistakes);
    consent::check(&root.table("consent"), mistakes);
    location::check(&root, mistakes);
    records(&root.table("records"), mistakes);
    limits(&root.table("limits"), mistakes);
    repetitions(values, mistakes);
    self::files(values, files, mistakes)
}

fn listeners(root: &View<'_>, mistakes: &mut Mistakes) {
    if root.has_no("listen") {
        let hint = "add [[listen]] with address = \"0.0.0.0:8080\"";
        mistakes.add(&Place::Nowhere, "listen", Fault::new("nothing to listen on").hint(hint));
    }
    let mut seen: HashMap<ListenAddress, String> = HashMap::new();
    for listener in root.rows("listen").chain([root.table("admin")]) {
        let Some(entry) = listener.entry("address") else { continue };
        // Port 0 asks for any free port: two of them do not collide.
        let address = match &entry.value {
            Value::Socket(address) => ListenAddress::Tcp(*address),
            Value::Listen(address) => address.clone(),
            _ => continue,
        };
        if matches!(address, ListenAddress::Tcp(address) if address.port() == 0) {
            continue;
        }
        match seen.entry(address) {
            Slot::Vacant(slot) => {
                slot.insert(listener.path_of("address"));
            }
            Slot::Occupied(first) => {
                let fault = Fault::new(format!("{} is already taken by {}", first.key(), first.get()));
                mistakes.add(&entry.place, listener.path_of("address"), fault);
            }
        }
    }
    for listener in root.rows("listen") {
        // The default may stand there: the effective configuration says it.
        if let Some(entry) = listener.entry("mode")
            && entry.value != Value::Number(DEFAULT_MODE.into())
            && let Some(Value::Listen(ListenAddress::Tcp(_))) =
                listener.entry("address").map(|entry| &entry.value)
        {
            let fault = Fault::new("a port has no permissions").hint("take it out, or listen on unix:/path");
            mistakes.add(&entry.place, listener.path_of("mode"), fault);
        }
        if let Some(entry) = listener.entry("proxy_protocol_from")
            && !listener.list("proxy_protocol_from").is_empty()
            && listener.entry("proxy_protocol").is_none_or(|entry| entry.value != Value::Bool(true))
        {
            let fault =
                Fault::new("without a PROXY header this has no effect").hint("set proxy_protocol = true");
            mistakes.add(&entry.place, listener.path_of("proxy_protocol_from"), fault);
        }
    }
}

fn sites(root: &View<'_>, mistakes: &mut Mistakes) {
    if root.has_no("site") {
        let hint = "add [[site]] with hosts = [\"www.example\"] and upstream = [\"http://127.0.0.1:3000\"]";
        mistakes.add(&Place::Nowhere, "site", Fault::new("no site to serve").hint(hint));
    }
    let mut seen: HashMap<&str, String> = HashMap::new();
    for site in root.rows("site") {
        for (i, (host, place)) in site.list("hosts").iter().enumerate() {
            let Value::Text(host) = host else { continue };
            let path = format!("{}[{i}]", site.path_of("hosts"));
            match seen.entry(host) {
                Slot::Vacant(slot) => {
                    slot.insert(path);
                }
                Slot::Occupied(first) => {
                    let fault = Fault::new(format!("`{}` is already served by {}", shown(host), first.get()));
                    mistakes.add(place, path, fault);
                }
            }
        }
        servers(&site, mistakes);
        notices(&site, mistakes);
        if let Some(policy) = site.present("policy") {
            self::policy(&policy, mistakes);
        }
    }
}

fn notices(site: &View<'_>, mistakes: &mut Mistakes) {
    unique(site, "notice", "id", mistakes);
    for notice in site.rows("notice") {
        if ["text.kk", "text.ru", "text.en"].iter().all(|name| notice.entry(name).is_none()) {
            let fault = Fault::new("a notice without a text").hint("text = { en = \"...\" }");
            mistakes.add(notice.place(), notice.path(), fault);
        }
        if let (Some((from, _)), Some((until, place))) = (day(&notice, "from"), day(&notice, "until"))
            && until <= from
        {
            let fault = Fault::new("the notice would never be shown")
                .hint("`until` is the first day on which it is no longer shown");
            mistakes.add(place, notice.path_of("until"), fault);
        }
    }
}

/// Rows that one name has to tell apart.
fn unique(table: &View<'_>, rows: &str, name: &str, mistakes: &mut Mistakes) {
    let mut seen: HashMap<&str, String> = HashMap::new();
    for row in table.rows(rows) {
        let (Some(text), Some(entry)) = (row.text(name), row.entry(name)) else { continue };
        match seen.entry(text) {
            Slot::Vacant(slot) => {
                slot.insert(row.path_of(name));
            }
            Slot::Occupied(first) => {
                let fault = Fault::new(format!("the same as {}", first.get()));
                mistakes.add(&entry.place, row.path_of(name), fault);
            }
        }
    }
}

/// A day, in seconds since 1970, and where it was said.
fn day<'a>(row: &View<'a>, name: &str) -> Option<(i64, &'a Place)> {
    match row.entry(name).map(|entry| (&entry.value, &entry.place)) {
        Some((Value::Day(seconds), place)) => Some((*seconds, place)),
        _ => None,
    }
}

/// TLS and health checks of the servers of a site.
fn servers(site: &View<'_>, mistakes: &mut Mistakes) {
    let tls = site.table("upstream_tls");
    let mut fault = |name: &str, fault: Fault| {
        let Some(entry) = tls.entry(name) else { return };
        mistakes.add(&entry.place, tls.path_of(name), fault);
    };
    let servers = site.list("upstream");
    // One that cannot be read may have been meant so.
    let secure = |value: &Value| match value {
        Value::Endpoint(endpoint) => endpoint.is_tls(),
        value => *value == Value::Unreadable,
    };
    let verify = tls.entry("verify").is_none_or(|entry| entry.value != Value::Bool(false));
    let said = !verify || TLS_KEYS.iter().any(|name| tls.entry(name).is_some());
    if said && !servers.is_empty() && !servers.iter().any(|(value, _)| secure(value)) {
        let none = Fault::new("no server of this site speaks TLS").hint("write https:// in `upstream`");
        mistakes.add(tls.place(), tls.path(), none);
        return;
    }
    match (tls.entry("certificate"), tls.entry("key")) {
        (Some(_), None) => fault("certificate", Fault::new("a certificate without its `key`")),
        (None, Some(_)) => fault("key", Fault::new("a key without its `certificate`")),
        _ => {}
    }
    if !verify && tls.entry("ca").is_some() {
        fault("ca", Fault::new("nothing is compared with it: `verify` is false").hint("take out `verify`"));
    }
    let health = site.table("health");
    let time = |name| match health.entry(name).map(|entry| (&entry.value, &entry.place)) {
        Some((Value::Duration(time), place)) => Some((*time, place)),
        _ => None,
    };
    if let (Some((timeout, place)), Some((interval, other))) = (time("timeout"), time("interval"))
        && timeout > interval
    {
        let (timeout, interval) = (show_duration(timeout), show_duration(interval));
        let late = Fault::new(format!("a check may take {timeout}, but the next begins after {interval}"));
        let place = if *place == Place::Nowhere { other } else { place };
        mistakes.add(place, health.path_of("timeout"), late);
    }
}

/// Keys of `upstream_tls` without a default.
const TLS_KEYS: [&str; 4] = ["ca", "server_name", "certificate", "key"];

fn policy(policy: &View<'_>, mistakes: &mut Mistakes) {
    if policy.has_no("versions") {
        let hint = "versions = [{ id = \"2026-11\", file = \"policy.kk.md\", language = \"kk\", effective = 2026-11-22 }]";
        let gated = policy.entry("gate").filter(|_| !policy.list("gate").is_empty());
        match gated {
            Some(gate) => {
                let fault = Fault::new("a gate without a policy version to accept").hint(hint);
                mistakes.add(&gate.place, policy.path_of("gate"), fault);
            }
            None => {
                mistakes.add(
                    policy.place(),
                    policy.path(),
                    Fault::new("a policy needs a version").hint(hint),
                );
            }
        }
    }
    let mut days: HashMap<&str, (i64, String)> = HashMap::new();
    let mut documents: HashMap<(&str, &str), String> = HashMap::new();
    for version in policy.rows("versions") {
        let (Some(id), Some(language)) = (version.text("id"), version.text("language")) else { continue };
        match documents.entry((id, language)) {
            Slot::Vacant(slot) => {
                slot.insert(version.path().to_owned());
            }
            Slot::Occupied(first) => {
                let fault =
                    Fault::new(format!("version `{id}` in `{language}` is already there as {}", first.get()));
                mistakes.add(version.place(), version.path(), fault);
            }
        }
        let Some(effective) = version.entry("effective") else { continue };
        let Value::Day(day) = effective.value else { continue };
        let (first, path) = days.entry(id).or_insert_with(|| (day, version.path_of("effective")));
        if *first != day {
            let fault = Fault::new(format!("version `{id}` comes into force on another day in {path}"));
            mistakes.add(&effective.place, version.path_of("effective"), fault);
        }
    }
    if let Some(entry) = policy.entry("default_language")
        && let Value::Text(language) = &entry.value
        && !documents.is_empty()
        && !documents.keys().any(|(_, l)| l == language)
    {
        let fault = Fault::new(format!("there is no document in `{language}`"));
        mistakes.add(&entry.place, policy.path_of("default_language"), fault);
    }
}

/// An upstream that is one of our own addresses would send every request round and round.
fn loops(root: &View<'_>, mistakes: &mut Mistakes) {
    let own: Vec<ListenAddress> = root
        .rows("listen")
        .filter_map(|listener| match &listener.entry("address")?.value {
            Value::Listen(address) => Some(address.clone()),
            _ => None,
        })
        .collect();
    for site in root.rows("site") {
        for (i, (value, place)) in site.list("upstream").iter().enumerate() {
            let Value::Endpoint(endpoint) = value else { continue };
            if let Some(address) = own.iter().find(|address| is_same(endpoint, address)) {
                let fault = Fault::new(format!("this is the gateway's own address {address}"))
                    .hint("the site's server needs a port of its own");
                mistakes.add(place, format!("{}[{i}]", site.path_of("upstream")), fault);
            }
        }
    }
}

fn is_same(endpoint: &Endpoint, own: &ListenAddress) -> bool {
    let (host, port, own) = match (endpoint, own) {
        (Endpoint::Unix(path), ListenAddress::Unix(own)) => return path == own,
        (Endpoint::Host { host, port, .. }, ListenAddress::Tcp(own)) => (host, port, own),
        _ => return false,
    };
    let ip = match host.as_str() {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.parse::<IpAddr>().ok(),
    };
    let reaches = |ip: IpAddr| own.ip() == ip || (own.ip().is_unspecified() && ip.is_loopback());
    *port == own.port() && ip.is_some_and(reaches)
}

fn records(records: &View<'_>, mistakes: &mut Mistakes) {
    room(records, mistakes);
    if let Some(name) = records.text("account_header")
        && NEVER_AN_ACCOUNT.iter().any(|never| name.eq_ignore_ascii_case(never))
        && let Some(entry) = records.entry("account_header")
    {
        let fault = Fault::new("a field with credentials or cookies names no account")
            .hint("let the site send a field of its own, such as x-account");
        mistakes.add(&entry.place, records.path_of("account_header"), fault);
    }
    cookie_values(records, mistakes);
    let retention = records.table("retention");
    let minimum = records.table("minimum");
    // What is longer holds, and is where a mistake is told.
    let days = |name| {
        let said = |entry: Option<&'_ Entry>| match entry.map(|entry| (&entry.value, &entry.place)) {
            Some((Value::Duration(time), place)) => Some((*time, place.clone())),
            _ => None,
        };
        match (said(retention.entry(name)), said(minimum.entry(name))) {
            (Some(kept), Some(least)) if least.0 > kept.0 => Some(least),
            (kept, least) => kept.or(least),
        }
    };
    unique(records, "legal_hold", "name", mistakes);
    for hold in records.rows("legal_hold") {
        legal_hold(&hold, mistakes);
    }
    let Some((security, security_place)) = days("security") else { return };
    for class in ["fraud", "diagnostics", "advertising"] {
        if let Some((time, place)) = days(class)
            && time > security
        {
            let (time, security) = (show_duration(time), show_duration(security));
            let fault = Fault::new(format!("{class} ({time}) outlives security ({security})")).hint(format!(
                "without the tags of class security these rows can no longer be found for erasure; set {class} = \"{security}\" or less"
            ));
            let path = match minimum.entry(class) {
                Some(entry) if entry.place == place => minimum.path_of(class),
                _ => retention.path_of(class),
            };
            let place = if place == Place::Nowhere { &security_place } else { &place };
            mistakes.add(place, path, fault);
        }
    }
}

/// Below it closed files would go before they are segments, and with them nearly every record.
fn room(records: &View<'_>, mistakes: &mut Mistakes) {
    let to_segments = records.entry("segments").is_none_or(|entry| entry.value != Value::Bool(false));
    let files = if to_segments { FILES_WITH_SEGMENTS } else { FILES };
    if let (Some(file), Some(max)) = (records.number("file_bytes"), records.number("max_bytes"))
        && max / files < file
        && let Some(entry) = records.entry("max_bytes")
    {
        let why = if to_segments { ", and closed ones until they are segments" } else { ", and closed ones" };
        let fault = Fault::new(format!("smaller than {files} journal files: one in use, one spare{why}"));
        let fault = fault.hint(format!(
            "at least {}, or a smaller records.file_bytes",
            show_size(file.saturating_mul(files))
        ));
        mistakes.add(&entry.place, records.path_of("max_bytes"), fault);
    }
}

/// Journal files that must have room: one in use, the spare, one that closes while the next spare is made.
const FILES: u64 = 4;
/// With segments also those that wait to become one.
const FILES_WITH_SEGMENTS: u64 = 8;

/// Whoever reads such a value could take somebody's place, or follow them without consent.
fn cookie_values(records: &View<'_>, mistakes: &mut Mistakes) {
    let listed = records.list("cookie_values");
    if listed.is_empty() {
        return;
    }
    let catalogue = Catalogue::builtin();
    for (i, (value, place)) in listed.iter().enumerate() {
        let Value::Text(name) = value else { continue };
        let class = catalogue.classify(name.as_bytes());
        let lower = name.to_ascii_lowercase();
        let fault = if name.bytes().any(|b| !b.is_ascii_graphic() || b";=".contains(&b)) {
            Fault::new("no cookie has such a name").hint("the name as the browser sends it, such as \"lang\"")
        } else if class.protected
            || lower.starts_with("kelisim_")
            || lower.ends_with("sid")
            || OF_LOGINS.iter().any(|word| lower.contains(word))
        {
            Fault::new(format!("`{}` is a cookie of logins, carts or protection", shown(name)))
                .hint("its value is never recorded: whoever read it could take the visitor's place")
        } else if class.category == Category::Advertising {
            Fault::new(format!("`{}` is an advertising cookie", shown(name)))
                .hint("its value is never recorded: it would follow the visitor")
        } else {
            continue;
        };
        mistakes.add(place, format!("{}[{i}]", records.path_of("cookie_values")), fault);
    }
}

/// Parts of the names of cookies that stand for a login.
const OF_LOGINS: [&str; 12] = [
    "sess",
    "auth",
    "token",
    "jwt",
    "csrf",
    "xsrf",
    "login",
    "logon",
    "passw",
    "secret",
    "remember",
    "credential",
];

fn legal_hold(hold: &View<'_>, mistakes: &mut Mistakes) {
    if let (Some((from, _)), Some((until, place))) = (day(hold, "from"), day(hold, "until"))
        && until < from
    {
        let fault =
            Fault::new("the last day is before the first").hint("`until` is the last day that is held");
        mistakes.add(place, hold.path_of("until"), fault);
    }
    let classes: Vec<_> = hold.list("classes").iter().map(|(value, _)| value).collect();
    let named = |name: &str| classes.iter().any(|value| matches!(value, Value::Text(text) if text == name));
    if ["fraud", "diagnostics", "advertising"].into_iter().any(named)
        && !named("security")
        && let Some(entry) = hold.entry("classes")
    {
        let fault = Fault::new("these classes would outlive security").hint(
            "without the tags of class security these rows can no longer be found for erasure; add \"security\"",
        );
        mistakes.add(&entry.place, hold.path_of("classes"), fault);
    }
}

/// Fields that are never recorded, in whatever form.
const NEVER_AN_ACCOUNT: [&str; 6] = [
    "set-cookie",
    "cookie",
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "authentication-info",
];

/// A limit that another limit makes pointless, if somebody set it.
fn limits(limits: &View<'_>, mistakes: &mut Mistakes) {
    for (inner, outer) in [
        ("uri_bytes", "head_bytes"),
        ("connections_per_client", "connections"),
        ("upstream_connections_per_client", "upstream_connections"),
        ("h2_stream_window", "h2_connection_window"),
    ] {
        if let (Some(small), Some(large)) = (limits.number(inner), limits.number(outer))
            && small > large
            && let Some(entry) = limits.entry(inner)
            && entry.place != Place::Nowhere
        {
            let fault = Fault::new(format!("larger than {} ({large})", limits.path_of(outer)));
            mistakes.add(&entry.place, limits.path_of(inner), fault);
        }
    }
}

/// Elements that stand twice in one list. Hosts are compared over all sites elsewhere.
fn repetitions(values: &Values, mistakes: &mut Mistakes) {
    for (path, entry) in values.iter() {
        let Value::List(list) = &entry.value else { continue };
        if matches!(entry.key.kind, Kind::List { of: Kind::Host, .. }) {
            continue;
        }
        if matches!(entry.key.kind, Kind::List { of: Kind::Route, .. }) && list.len() > MOST_ROUTES {
            let fault =
                Fault::new(format!("more than {MOST_ROUTES} templates: each costs every request a look"));
            mistakes.add(&entry.place, path, fault);
        }
        let mut seen = HashMap::new();
        for (i, (value, place)) in list.iter().enumerate() {
            if *value == Value::Unreadable {
                continue;
            }
            if let Some(first) = seen.insert(format!("{value:?}"), i) {
                let fault = Fault::new(format!("the same as {path}[{first}]"));
                mistakes.add(place, format!("{path}[{i}]"), fault);
            }
        }
    }
}

fn files(values: &Values, files: &dyn Files, mistakes: &mut Mistakes) -> Texts {
    let mut texts = Texts::new();
    for (at, entry) in values.iter() {
        let (Kind::File { text, .. }, Value::Path(path)) = (&entry.key.kind, &entry.value) else { continue };
        let looked = if !*text {
            files.readable(path)
        } else if texts.contains_key(path) {
            Ok(())
        } else {
            files.text(path).map(|text| {
                texts.insert(path.clone(), text);
            })
        };
        if let Err(fault) = looked {
            mistakes.add(&entry.place, at, fault);
        }
    }
    texts
}
