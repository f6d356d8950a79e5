//! The `[geoip]` and `[risk]` tables: location databases, what the site is told of them, signals and actions.
//!
//! Checks what the keys say about each other. Never opens a database. Bound: the configuration.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::problem::{Fault, Mistakes};
use super::value::Value;
use super::walk::{Missing, View};
use crate::risk::{Action, Actions, Level, SignalName};

/// Location databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geoip {
    /// Country database; `None` switches location off. Default: the one shipped, embedded in the binary.
    pub country: CountryDatabase,
    /// ASN database.
    pub asn: Option<PathBuf>,
    /// How often files are looked at for a change.
    pub check_every: Duration,
    /// What the site is told; `None`, the default: nothing.
    pub headers: Option<GeoHeaders>,
}

/// Which country database is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountryDatabase {
    /// `geoip/country.mmdb` as shipped inside the binary.
    Shipped,
    /// A file of the operator's.
    File(PathBuf),
    /// None: `country = "off"`.
    Off,
}

/// What the site is told of where visitors are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoHeaders {
    /// What the site needs it for, in the operator's words. Never blank.
    pub purpose: String,
    /// Whether the country is told.
    pub country: bool,
    /// Whether the kind of network is told.
    pub network: bool,
    /// Whether the country is also told in `CF-IPCountry`.
    pub cloudflare: bool,
}

/// Signals and actions.
#[derive(Clone, Debug)]
pub struct Risk {
    /// What is done at each level.
    pub actions: Actions,
    /// Signals that are switched off.
    pub off: Vec<SignalName>,
    /// Signals that never rise above a level.
    pub caps: Vec<(SignalName, Level)>,
    /// Days of observation before `deny` acts; needed when any action is `deny`.
    pub observe_days: Option<u32>,
    /// Path prefixes of login forms (POST to these is a login attempt).
    pub login_paths: Vec<String>,
    /// Statuses of the answer to a failed login. Never empty.
    pub failed_login_statuses: Vec<RangeInclusive<u16>>,
    /// Networks whose addresses are shared by many.
    pub shared_networks: Vec<IpNet>,
    /// The same by the number of the autonomous system.
    pub shared_asns: Vec<u32>,
    /// Whether browsers without a visitor cookie are given one.
    pub visitor_cookie: bool,
    /// Bytes for the memory of subjects and counters.
    pub memory_bytes: usize,
}

impl Risk {
    /// The highest level that a signal may have, if the configuration says one.
    #[must_use]
    pub fn cap(&self, name: SignalName) -> Option<Level> {
        self.caps.iter().find(|(capped, _)| *capped == name).map(|(_, level)| *level)
    }
}

pub(super) fn geoip(table: &View<'_>) -> Result<Geoip, Missing> {
    let country = table.need("country", |value| match value {
        Value::Path(path) => Some(CountryDatabase::File(path.clone())),
        Value::Text(word) if word == "off" => Some(CountryDatabase::Off),
        Value::Text(_) => Some(CountryDatabase::Shipped),
        _ => None,
    })?;
    let tells = |what: &str| is_listed(table, what);
    let headers = if tells("country") || tells("network") {
        Some(GeoHeaders {
            purpose: table.take("headers_purpose")?,
            country: tells("country"),
            network: tells("network"),
            cloudflare: table.text("headers_as") == Some("cloudflare"),
        })
    } else {
        None
    };
    Ok(Geoip { country, asn: table.maybe("asn"), check_every: table.take("check_every")?, headers })
}

pub(super) fn risk(table: &View<'_>) -> Result<Risk, Missing> {
    let action = |level: &str| {
        Ok(match table.table("action").word(level)? {
            "tag" => Action::Tag,
            "throttle" => Action::Throttle,
            "deny" => Action::Deny,
            _ => Action::Observe,
        })
    };
    let caps = table.table("cap");
    let cap = |name: SignalName| match caps.text(name.label())? {
        "low" => Some((name, Level::Low)),
        _ => Some((name, Level::Medium)),
    };
    Ok(Risk {
        actions: Actions { low: action("low")?, medium: action("medium")?, high: action("high")? },
        off: table.all::<String>("off").iter().filter_map(|name| SignalName::from_label(name)).collect(),
        caps: SignalName::ALL.into_iter().filter_map(cap).collect(),
        observe_days: table.maybe("observe_days"),
        login_paths: table.all("login_paths"),
        failed_login_statuses: table.all("failed_login_statuses"),
        shared_networks: table.all("shared_networks"),
        shared_asns: table.all("shared_asns"),
        visitor_cookie: table.take("visitor_cookie")?,
        memory_bytes: table.take("memory_bytes")?,
    })
}

/// Checks both tables.
pub(super) fn check(root: &View<'_>, mistakes: &mut Mistakes) {
    let (geoip, risk) = (root.table("geoip"), root.table("risk"));
    headers(&geoip, mistakes);
    denials(&risk, mistakes);
    if !risk.list("shared_asns").is_empty()
        && geoip.entry("asn").is_none()
        && let Some(entry) = risk.entry("shared_asns")
    {
        let fault = Fault::new("without an ASN database this has no effect")
            .hint("set geoip.asn, or name the networks in risk.shared_networks");
        mistakes.add(&entry.place, risk.path_of("shared_asns"), fault);
    }
}

fn headers(geoip: &View<'_>, mistakes: &mut Mistakes) {
    let mut fault = |name: &str, fault: Fault| {
        let Some(entry) = geoip.entry(name) else { return };
        mistakes.add(&entry.place, geoip.path_of(name), fault);
    };
    if geoip.list("headers").is_empty() {
        for name in ["headers_purpose", "headers_as"] {
            let nothing = Fault::new("nothing is told, so this has no effect");
            fault(name, nothing.hint("set geoip.headers = [\"country\"], or take it out"));
        }
        return;
    }
    match geoip.text("headers_purpose") {
        None => {
            let without = Fault::new("telling the site where visitors are needs a purpose");
            fault("headers", without.hint(PURPOSE));
        }
        Some(purpose) if purpose.trim().is_empty() => {
            fault("headers_purpose", Fault::new("this is no purpose").hint(PURPOSE));
        }
        Some(_) => {}
    }
    // One that cannot be read may have been meant so.
    let unread = geoip.list("headers").iter().any(|(value, _)| *value == Value::Unreadable);
    if !unread && !is_listed(geoip, "country") {
        let untold = Fault::new("this writes the country, which is not told");
        fault("headers_as", untold.hint("add \"country\" to geoip.headers"));
    }
}

fn denials(risk: &View<'_>, mistakes: &mut Mistakes) {
    if risk.entry("observe_days").is_some() {
        return;
    }
    let action = risk.table("action");
    for level in ["low", "medium", "high"] {
        if action.text(level) == Some("deny")
            && let Some(entry) = action.entry(level)
        {
            let fault = Fault::new("`deny` needs days of observation first").hint(
                "set risk.observe_days, for example 14: until then it is counted what `deny` would have done",
            );
            mistakes.add(&entry.place, action.path_of(level), fault);
        }
    }
}

fn is_listed(geoip: &View<'_>, what: &str) -> bool {
    geoip.list("headers").iter().any(|(value, _)| matches!(value, Value::Text(text) if text == what))
}

const PURPOSE: &str = "set geoip.headers_purpose, in the words of the privacy policy, for example \"checks of orders \
                       against fraud\"";
