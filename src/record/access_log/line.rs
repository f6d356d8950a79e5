//! One request as a line: JSON with the names of the Elastic Common Schema, or the combined log format.
//!
//! The table of fields is the whole of what can appear. The user agent is there as sent, unless it is not wanted. Texts from the wire are escaped, so that a line is one line and a
//! terminal sees no control character. Bound: the head of a request.

use std::fmt::Write as _;
use std::time::Duration;

use http::Version;
use serde::Serialize;

use crate::config::AccessFormat;
use crate::exchange::Exchange;
use crate::record::redact;

/// What a line looks like.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its fields as JSON, or in the order of a known format.
    pub format: AccessFormat,
    /// Whether the user agent is in it.
    pub user_agent: bool,
}

/// The line of a finished exchange, with its line end.
#[must_use]
pub fn of(form: Form, exchange: &Exchange, duration: Duration) -> Vec<u8> {
    let mut masked = Vec::with_capacity(24);
    exchange.admitted.client.push_masked(&mut masked);
    let site = &exchange.state.config.sites[exchange.admitted.served.site];
    let (_, path) = site.routes.recorded(exchange.kept.path());
    let upstream = exchange.upstream.as_ref();
    let endpoints = exchange.state.endpoints.get(exchange.admitted.served.site);
    let endpoint = upstream.and_then(|u| u.endpoint).and_then(|index| endpoints?.get(index));
    let facts = Facts {
        timestamp: exchange.arrived.to_string(),
        method: text(redact::method(exchange.kept.method())),
        path: text(&path),
        scheme: if exchange.admitted.secure { "https" } else { "http" },
        status: exchange.status,
        request_bytes: exchange.upload.as_ref().map_or(0, |upload| upload.bytes()),
        response_bytes: exchange.sent.get(),
        version: version(exchange.version),
        host: exchange.admitted.domain(&exchange.state),
        client: text(&masked),
        user_agent: exchange.kept.user_agent().filter(|_| form.user_agent).map(text),
        duration: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        trace: exchange.kept.traceparent().and_then(trace_id),
        request: text(exchange.admitted.id.as_bytes()),
        error: exchange.error.map(crate::error::Reason::label),
        consent: exchange.consent.as_ref().map(|decision| decision.result.label()),
        cookies_dropped: exchange.cookies.stripped().into_iter().count(),
        upstream: endpoint.map(|endpoint| &**endpoint),
        retry: upstream.map_or(0, |u| u.retries),
    };
    let mut line = Vec::with_capacity(LINE_BYTES);
    match form.format {
        AccessFormat::Json => {
            // Texts and numbers always serialise; should that change, the line is empty instead of half.
            if serde_json::to_writer(&mut line, &facts).is_err() {
                line.clear();
            }
        }
        AccessFormat::Combined => line.extend_from_slice(facts.combined().as_bytes()),
    }
    line.push(b'\n');
    line
}

/// Every field of a line.
#[derive(Serialize)]
struct Facts<'a> {
    /// When the request's head was complete, RFC 3339 in UTC.
    #[serde(rename = "@timestamp")]
    timestamp: String,
    #[serde(rename = "http.request.method")]
    method: String,
    /// As `url.path` of the record: without its query, and without what names a person or opens something.
    #[serde(rename = "url.path")]
    path: String,
    #[serde(rename = "url.scheme")]
    scheme: &'static str,
    #[serde(rename = "http.response.status_code")]
    status: u16,
    #[serde(rename = "http.request.body.size")]
    request_bytes: u64,
    #[serde(rename = "http.response.body.size")]
    response_bytes: u64,
    #[serde(rename = "network.protocol.version")]
    version: &'static str,
    /// The configured host, never what the client wrote.
    #[serde(rename = "server.address")]
    host: &'a str,
    /// The visitor's network: /24 or /48.
    #[serde(rename = "client.address")]
    client: String,
    #[serde(rename = "user_agent.original", skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Nanoseconds, as that schema has it.
    #[serde(rename = "event.duration")]
    duration: u64,
    #[serde(rename = "trace.id", skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
    #[serde(rename = "request.id")]
    request: String,
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(rename = "kelisim.consent", skip_serializing_if = "Option::is_none")]
    consent: Option<&'static str>,
    /// Names that were kept from the site.
    #[serde(rename = "kelisim.cookies.dropped")]
    cookies_dropped: usize,
    #[serde(rename = "kelisim.upstream", skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(rename = "kelisim.retry")]
    retry: u8,
}

impl Facts<'_> {
    /// `network - - [time] "request" status bytes "-" "user agent"`. There is no referrer: it may name a page elsewhere.
    fn combined(&self) -> String {
        let mut out = format!("{} - - [", self.client);
        let time: Option<jiff::Timestamp> = self.timestamp.parse().ok();
        match time.map(|time| time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()) {
            Some(time) => out.push_str(&time),
            None => out.push('-'),
        }
        out.push_str("] \"");
        push_quotable(&mut out, &self.method);
        out.push(' ');
        push_quotable(&mut out, &self.path);
        let version = if self.version == "2" { "2.0" } else { self.version };
        // Writing to a String cannot fail.
        let _ = write!(out, " HTTP/{version}\" {} {} \"-\" \"", self.status, self.response_bytes);
        push_quotable(&mut out, self.user_agent.as_deref().unwrap_or("-"));
        out.push('"');
        out
    }
}

/// Bytes from the wire as text; control characters are for [`push_quotable`] and JSON to escape.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What may stand between quotes: visible ASCII but quote and backslash; everything else as `\xHH`.
fn push_quotable(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            _ => out.push(char::from(byte)),
        }
    }
}

/// The trace id of a `traceparent` (W3C Trace Context §3.2.2).
fn trace_id(value: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(value.get(3..35)?).ok()?;
    let fits = value.len() == 55 && value[2] == b'-' && value[35] == b'-';
    (fits && id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))).then_some(id)
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Enough for nearly every line.
const LINE_BYTES: usize = 640;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts<'static> {
        Facts {
            timestamp: "2026-11-22T10:00:00.000000Z".into(),
            method: "GET".into(),
            path: "/a\"\n\u{1b}[31mя".into(),
            scheme: "https",
            status: 200,
            request_bytes: 0,
            response_bytes: 5,
            version: "2",
            host: "kz.example",
            client: "192.0.2.0/24".into(),
            user_agent: Some("Mozilla \\".into()),
            duration: 1,
            trace: None,
            request: "id".into(),
            error: None,
            consent: Some("denied"),
            cookies_dropped: 2,
            upstream: None,
            retry: 0,
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_the_client_wrote() {
        let combined = facts().combined();
        assert_eq!(
            combined,
            "192.0.2.0/24 - - [22/Nov/2026:10:00:00 +0000] \
             \"GET /a\\x22\\x0a\\x1b[31m\\xd1\\x8f HTTP/2.0\" 200 5 \"-\" \"Mozilla \\x5c\""
        );
        let json = serde_json::to_string(&facts()).unwrap();
        assert!(!json.contains(['\n', '\u{1b}']), "{json}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["url.path"], "/a\"\n\u{1b}[31mя");
        assert_eq!(back["kelisim.cookies.dropped"], 2);
    }

    #[test]
    fn a_trace_id_is_hexadecimal() {
        let good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(good), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in [&b"ivan@mail.kz"[..], b"", b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"] {
            assert_eq!(trace_id(bad), None);
        }
    }
}
