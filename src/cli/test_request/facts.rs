//! What each step noted, as the report tells it.
//!
//! Reads an [`Exchange`]; where a step keeps only names, its own pure function is asked once more. Never decides. Bound:
//! the head.

use http::{HeaderMap, HeaderValue, header};
use serde_json::Value as Json;

use super::mask::{Mask, text};
use super::report::{Client, Consent, Cookie, RecordClass, Risk, Signal, Site, VisitorCookie};
use super::why;
use crate::cli::logs::cell::push_json_value;
use crate::clock::Timestamp;
use crate::config::{self, Retention};
use crate::consent::Decision;
use crate::cookies::parse::RequestCookies;
use crate::cookies::{self, Action, CookiePolicy, Mode};
use crate::exchange::Exchange;
use crate::identify::visitor;
use crate::record::event::{COLUMNS, Encoded};
use crate::record::{Class, Column, Purpose, Row, SCHEMA_VERSION, Value};
use crate::risk::{Action as RiskAction, Assessed, Level, SignalName};

/// The site.
pub(super) fn site(exchange: &Exchange) -> Site {
    let served = exchange.admitted.served;
    let site = &exchange.state.config.sites[served.site];
    Site {
        name: site.hosts.first().cloned().unwrap_or_default(),
        host: exchange.admitted.domain(&exchange.state).to_owned(),
        scheme: if exchange.admitted.secure { "https" } else { "http" },
        upstream: exchange.state.endpoints[served.site].iter().map(ToString::to_string).collect(),
    }
}

/// The walk from the peer to the client.
pub(super) fn client(exchange: &Exchange, malformed: bool, mask: Mask) -> Client {
    let admitted = &exchange.admitted;
    let why = match (admitted.trusted, malformed, admitted.chain.len()) {
        (false, ..) => "the peer is not in trusted_proxies: nobody else is believed",
        (true, true, _) => "the walk ended before a malformed element of X-Forwarded-For",
        (true, false, 1) => "the peer is trusted, but names nobody",
        (true, false, _) => {
            "walked from the right of X-Forwarded-For to the first address that is not trusted"
        }
    };
    Client {
        address: mask.address(admitted.client.ip()),
        peer: mask.address(exchange.open.connection().peer.ip().to_canonical()),
        peer_trusted: admitted.trusted,
        chain: admitted.chain.iter().map(|address| mask.address(address.ip())).collect(),
        why,
    }
}

/// The visitor cookie.
pub(super) fn visitor(exchange: &Exchange, came: &HeaderMap, given: bool) -> VisitorCookie {
    let catalogue = &exchange.state.cookies.catalogue;
    let there = carried(came, catalogue).values_of(visitor::NAME.as_bytes()).next().is_some();
    let state = match (exchange.visitor.is_some(), there) {
        (true, _) => "genuine",
        (false, true) => "not genuine",
        (false, false) => "absent",
    };
    VisitorCookie { state, given }
}

/// The decision about advertising.
pub(super) fn consent(decision: &Decision) -> Consent {
    let permits = [
        ("advertising", decision.permits.advertising.is_some()),
        ("analytics", decision.permits.analytics.is_some()),
        ("functional", decision.permits.functional.is_some()),
    ];
    Consent {
        decision: decision.result.label(),
        source: decision.source.label(),
        reason: decision.reason.label(),
        why: why::decided(decision.reason),
        policy_version: decision.policy_version.as_str().to_owned(),
        policy_accepted: decision.policy_accepted,
        chosen: decision.chosen,
        permits: permits.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect(),
    }
}

/// What became of every cookie.
pub(super) fn cookies(
    came: &HeaderMap,
    policy: &CookiePolicy,
    decision: &Decision,
    mask: Mask,
) -> Vec<Cookie> {
    let carried = carried(came, &policy.catalogue);
    let filtered = cookies::request::filter(&carried, policy, &decision.permits);
    let stripped: Vec<usize> = filtered.stripped().collect();
    let cookies = carried.iter().enumerate().map(|(index, cookie)| {
        let rule = cookie.class.rule.and_then(|id| policy.catalogue.rule(id));
        let (action, why) = if cookie.class.is_visitor_cookie() {
            ("ours", "the gateway's own: the site never sees it".to_owned())
        } else if stripped.contains(&index) {
            let action = if policy.mode == Mode::Enforce { "stripped" } else { "would be stripped" };
            let why = match policy.actions.get(cookie.class.category) {
                Action::Strip => format!("cookies.actions.{} = \"strip\"", cookie.class.category),
                _ => format!("{} cookies pass with consent only", cookie.class.category),
            };
            (action, why)
        } else if cookie.class.protected {
            ("kept", "on the never-strip list".to_owned())
        } else {
            let why = match (rule, policy.actions.get(cookie.class.category)) {
                (None, _) => "no rule knows it: passes and is counted".to_owned(),
                (_, Action::Consent) => format!("consent to {} is there", cookie.class.category),
                _ => format!("{} cookies pass", cookie.class.category),
            };
            ("kept", why)
        };
        Cookie {
            name: if cookie.is_named() { text(cookie.name()) } else { String::new() },
            bytes: if cookie.is_named() { cookie.value().len() } else { cookie.raw().len() },
            value: mask.show.then(|| text(if cookie.is_named() { cookie.value() } else { cookie.raw() })),
            category: cookie.class.category.label(),
            rule: rule.map(|rule| rule.pattern.clone()),
            action,
            why,
        }
    });
    cookies.collect()
}

/// The risk signals, and what they would need.
pub(super) fn risk(assessed: &Assessed, config: &config::Risk) -> Risk {
    let signal = |name: SignalName| Signal {
        name: name.label(),
        level: assessed.assessment.signals.get(name).label(),
        off: config.off.contains(&name),
        cap: config.cap(name).map(Level::label),
        needs: why::signal(name),
    };
    Risk {
        level: assessed.assessment.level.label(),
        score: assessed.assessment.score,
        action: assessed.applied.action.label(),
        would_have: assessed.applied.would_have.map(RiskAction::label),
        shared: assessed.is_shared(),
        signals: SignalName::ALL.into_iter().map(signal).collect(),
    }
}

/// The columns of an encoded record, by class.
pub(super) fn record(
    bytes: &[u8],
    node: &str,
    days: &Retention,
    now: Timestamp,
    mask: Mask,
) -> Vec<RecordClass> {
    let Some((encoded, _)) = Encoded::take(bytes) else { return Vec::new() };
    let classes = Class::ALL.into_iter().map(|class| {
        let purposes: Vec<Purpose> = Purpose::ALL.into_iter().filter(|p| p.opens(class)).collect();
        let opened = purposes.first().copied().unwrap_or_default().opened();
        let row = Row::new((0, now), (node.as_bytes(), SCHEMA_VERSION), encoded.sections, opened);
        let of_class =
            COLUMNS.iter().filter(|column| column.class == class && !BY_THE_JOURNAL.contains(&column.name));
        let values = of_class.filter_map(|column| Some((column.name, json(column, &row.get(column)?, mask))));
        RecordClass {
            class: class.label(),
            sealed: class != Class::Clear,
            opened_by: purposes.into_iter().map(Purpose::label).collect(),
            days: match class {
                Class::Clear => days.support,
                Class::Sec => days.security,
                Class::Fraud => days.fraud,
                Class::Diag => days.diagnostics,
                Class::Ads => days.advertising,
            },
            columns: values.collect(),
        }
    });
    classes.filter(|class| !class.columns.is_empty()).collect()
}

/// A value as `logs query --format json` writes it, or what may be shown of it.
fn json(column: &Column, value: &Value<'_>, mask: Mask) -> Json {
    if !mask.show {
        match (column.name, value) {
            (_, Value::Address(ip)) => return mask.address(*ip).into(),
            ("client.forwarded_chain", Value::List(list)) => {
                let masked = list.iter().map(|item| {
                    let ip = std::str::from_utf8(item).ok().and_then(|text| text.parse().ok());
                    ip.map_or_else(|| mask.secret(item), |ip| mask.address(ip))
                });
                return masked.collect::<Vec<_>>().into();
            }
            ("visitor.tag" | "subject_tag" | "subject_tag.visitor" | "account_tag", Value::Text(tag)) => {
                return mask.secret(tag).into();
            }
            _ => {}
        }
    }
    let mut out = String::new();
    push_json_value(&mut out, value);
    // It is JSON already; a text is the safe reading of anything else.
    serde_json::from_str(&out).unwrap_or(Json::String(out))
}

fn carried<'a>(came: &'a HeaderMap, catalogue: &cookies::catalogue::Catalogue) -> RequestCookies<'a> {
    let fields = came.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    RequestCookies::parse(fields, catalogue)
}

/// Columns that only the journal can fill.
const BY_THE_JOURNAL: [&str; 2] = ["ts", "seq"];
