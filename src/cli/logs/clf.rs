//! The combined log format, for the tools that read it.
//!
//! `address - - [time] "request" status bytes "referer" "user agent"`. What the purpose does not open is `-`: under
//! `support` that is the address, the query and the user agent. Times are UTC. Never writes a control character.

use std::fmt::Write as _;

use super::cell::push_number;
use super::escape::push_quotable;
use crate::clock::Timestamp;
use crate::record::{Column, Projection, Row, Value};

/// Writes lines of the combined log format.
pub(super) struct Clf {
    projection: Projection,
}

impl Clf {
    /// Prepares the columns that a line is made of.
    pub(super) fn new() -> Self {
        let columns: Vec<&Column> = NAMES.iter().filter_map(|name| Column::by_name(name)).collect();
        Self { projection: Projection::new(&columns) }
    }

    /// Appends one line without its end.
    pub(super) fn push_line(&self, out: &mut String, row: &Row<'_>) {
        let mut values = [None; NAMES.len()];
        row.project(&self.projection, &mut values);
        let [address, time, method, path, query, version, status, bytes, referer, full_referer, agent] =
            values;
        match address {
            Some(Value::Address(ip)) => {
                let _ = write!(out, "{ip}");
            }
            _ => out.push('-'),
        }
        out.push_str(" - - [");
        push_time(out, if let Some(Value::Time(t)) = time { t } else { row.ts });
        out.push_str("] \"");
        push_or_dash(out, method);
        out.push(' ');
        push_or_dash(out, path);
        if let Some(Value::Text(query)) = query {
            out.push('?');
            push_quotable(out, query);
        }
        push_version(out, version);
        out.push_str("\" ");
        push_count(out, status);
        out.push(' ');
        push_count(out, bytes);
        out.push_str(" \"");
        push_or_dash(out, full_referer.or(referer));
        out.push_str("\" \"");
        push_or_dash(out, agent);
        out.push('"');
    }
}

/// ` HTTP/1.1`; the newer versions are recorded without a minor one.
fn push_version(out: &mut String, version: Option<Value<'_>>) {
    let Some(Value::Text(version)) = version else { return };
    out.push_str(" HTTP/");
    push_quotable(out, version);
    if !version.contains(&b'.') {
        out.push_str(".0");
    }
}

fn push_count(out: &mut String, value: Option<Value<'_>>) {
    match value {
        Some(Value::U64(n)) => push_number(out, n),
        _ => out.push('-'),
    }
}

fn push_or_dash(out: &mut String, value: Option<Value<'_>>) {
    match value {
        Some(Value::Text(text)) if !text.is_empty() => push_quotable(out, text),
        _ => out.push('-'),
    }
}

/// `22/Nov/2026:10:00:00 +0000`; month names are English whatever the locale.
fn push_time(out: &mut String, time: Timestamp) {
    let written = jiff::Timestamp::from_microsecond(time.as_micros())
        .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|t| write!(out, "{}", t.strftime("%d/%b/%Y:%H:%M:%S +0000")));
    if !matches!(written, Ok(Ok(()))) {
        out.push('-');
    }
}

/// In the order in which [`Clf::push_line`] takes them.
const NAMES: [&str; 11] = [
    "client.address",
    "start_ts",
    "http.request.method",
    "url.path",
    "url.query",
    "network.protocol.version",
    "http.response.status_code",
    "http.response.body.size",
    "http.request.header.referer",
    "referer.full",
    "user_agent.original",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Event, Purpose};
    use crate::store::query::testing::{Stored, event};

    fn line(event: &Event<'_>, purpose: Purpose) -> String {
        let mut out = String::new();
        Clf::new().push_line(&mut out, &Stored::new(event).row(purpose, 1, Timestamp::from_secs(999_000)));
        out
    }

    #[test]
    fn the_address_appears_under_the_security_purpose_alone() {
        assert!(NAMES.iter().all(|name| Column::by_name(name).is_some()));
        let event = Event {
            client_address: "192.0.2.7".parse().ok(),
            user_agent: Some(b"Mozilla/5.0 \"\n"),
            referer_origin: Some(b"https://kz.example"),
            ..event()
        };
        let rest =
            "- - [12/Jan/1970:13:29:00 +0000] \"GET /a/b.html HTTP/2.0\" 404 2048 \"https://kz.example\"";
        assert_eq!(line(&event, Purpose::Support), format!("- {rest} \"-\""));
        assert_eq!(line(&event, Purpose::Security), format!("192.0.2.7 {rest} \"-\""));
        assert_eq!(line(&event, Purpose::Diagnostics), format!("- {rest} \"Mozilla/5.0 \\x22\\x0a\""));
    }

    #[test]
    fn a_path_cannot_forge_a_line() {
        let event = Event { path: Some(b"/\" 200 5\n192.0.2.1 - - [x] \"GET /"), ..event() };
        let line = line(&event, Purpose::Support);
        assert!(!line.contains('\n'));
        assert_eq!(line.matches('"').count(), 6);
    }

    #[test]
    fn what_is_absent_is_a_dash() {
        let line = line(&Event::default(), Purpose::Support);
        assert_eq!(line, "- - - [12/Jan/1970:13:30:00 +0000] \"- -\" - - \"-\" \"-\"");
    }
}
