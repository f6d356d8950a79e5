//! Names of fields as people type them, and what sort of value each holds.
//!
//! A field is known by its dotted name, by its column name (`_` for `.`) and by the short names in [`ALIASES`].
//! Never decides who may see it: that is [`super::access`]. Bound: the column table.

use crate::record::event::Type;
use crate::record::{COLUMNS, Column};

/// What a column's values are, for units, operators and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A number without a unit.
    Count,
    /// A number of bytes.
    Bytes,
    /// Microseconds.
    Duration,
    /// A time.
    Time,
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// An IP address.
    Address,
    /// A list of texts.
    List,
}

/// Short names, in the order in which help lists them.
pub const ALIASES: &[(&str, &str)] = &[
    ("time", "start_ts"),
    ("status", "http.response.status_code"),
    ("method", "http.request.method"),
    ("host", "url.domain"),
    ("path", "url.path"),
    ("referer", "http.request.header.referer"),
    ("duration", "event.duration"),
    ("ttfb", "event.time_to_first_byte"),
    ("bytes", "http.response.body.size"),
    ("id", "request.id"),
    ("error", "error.type"),
    ("upstream", "upstream.address"),
    ("consent", "consent.decision"),
    ("cookie", "cookie.names"),
    ("stripped", "cookies.stripped"),
    ("blocked", "set_cookie.blocked"),
    ("language", "accept_language.primary"),
    ("kind", "record.kind"),
    ("action", "risk.action"),
    ("browser", "user_agent.family"),
    ("os", "os.family"),
    ("device", "device.class"),
    ("bot", "bot.category"),
    ("ip", "client.address"),
    ("net", "client.net"),
    ("visitor", "visitor.tag"),
    ("country", "geo.country.iso_code"),
    ("asn", "as.number"),
    ("risk", "risk.level"),
    ("signal", "risk.signals"),
    ("ua", "user_agent.original"),
];

/// What the column's values are.
#[must_use]
pub fn quantity(column: &Column) -> Quantity {
    match column.ty {
        Type::U64 if DURATIONS.contains(&column.name) => Quantity::Duration,
        Type::U64 if SIZES.contains(&column.name) => Quantity::Bytes,
        Type::U64 => Quantity::Count,
        Type::Time => Quantity::Time,
        Type::Text => Quantity::Text,
        Type::Bool => Quantity::Flag,
        Type::Address => Quantity::Address,
        Type::List => Quantity::List,
    }
}

/// The column of that short, dotted or column name.
#[must_use]
pub fn resolve(name: &str) -> Option<&'static Column> {
    let full = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, full)| full);
    Column::by_name(full)
}

/// Whether the text of a column is a network, so that `:` asks for those that lie in another.
#[must_use]
pub fn holds_networks(column: &Column) -> bool {
    column.name == "client.net"
}

/// The short names of a column.
pub fn aliases(column: &Column) -> impl Iterator<Item = &'static str> {
    let full = column.name;
    ALIASES.iter().filter(move |(_, name)| *name == full).map(|(alias, _)| *alias)
}

/// The known name nearest to a mistyped one, if it is near.
#[must_use]
pub fn suggest(name: &str) -> Option<&'static str> {
    let known = ALIASES.iter().map(|(alias, _)| *alias).chain(COLUMNS.iter().map(|c| c.name));
    known
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// Least similarity (Jaro–Winkler, 0 to 1) of a suggestion.
const NEAR: f64 = 0.8;

/// Columns whose numbers are microseconds.
const DURATIONS: [&str; 4] = ["event.duration", "event.time_to_first_byte", "upstream.duration", "tcp.rtt"];
/// Columns whose numbers are bytes.
const SIZES: [&str; 4] = ["http.request.body.size", "http.response.body.size", "cookie.bytes", "gap.bytes"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_and_every_unit_names_a_column() {
        for (alias, name) in ALIASES {
            assert_eq!(resolve(alias).map(|c| c.name), Some(*name), "{alias}");
        }
        for name in DURATIONS.into_iter().chain(SIZES) {
            assert!(Column::by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn units_agree_with_the_reference() {
        for column in COLUMNS.iter().filter(|c| c.ty == Type::U64) {
            let micros = column.doc.contains("microseconds");
            let bytes = column.doc.to_lowercase().contains("bytes") || column.name.ends_with(".size");
            assert_eq!(quantity(column) == Quantity::Duration, micros, "{}", column.name);
            assert_eq!(quantity(column) == Quantity::Bytes, bytes, "{}", column.name);
        }
    }

    #[test]
    fn near_misses_are_named_and_nonsense_is_not() {
        assert_eq!(suggest("statsu"), Some("status"));
        assert_eq!(suggest("url.pth"), Some("url.path"));
        assert_eq!(suggest("zzzzzz"), None);
    }
}
