//! The request as it was typed, and options that need reading.
//!
//! Never looks at what a field means. Bound: [`MOST_BYTES`].

use std::net::{IpAddr, SocketAddr};

use crate::clock::Timestamp;

/// The largest input in bytes: far above every limit of a head that can be configured.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// The head with CRLF at the end of every line and the empty line after it. What follows the first empty line is a body
/// and stays as it is.
pub(super) fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    // What is pasted often begins with an empty line.
    let mut rest = bytes.trim_ascii_start();
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest);
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(rest);
    out
}

/// An address with or without a port.
pub(super) fn peer(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    bare.map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).map_err(|_| {
        format!("`{}` is no address: 203.0.113.9, 2001:db8::9 or [2001:db8::9]:4711", text.escape_debug())
    })
}

/// A moment as RFC 3339 writes it.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(|time| Timestamp::from_micros(time.as_microsecond())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_made_crlf_in_the_head_alone() {
        let wanted = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for typed in [
            &b"GET / HTTP/1.1\nHost: a\n\n"[..],
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\nGET / HTTP/1.1\nHost: a",
        ] {
            assert_eq!(with_crlf(typed), wanted, "{}", typed.escape_ascii());
        }
        assert_eq!(with_crlf(b"A\n\nb\nc"), b"A\r\n\r\nb\nc");
        assert_eq!(with_crlf(b"A: \rb\n"), b"A: \rb\r\n\r\n", "a CR inside a line stays for hyper to refuse");
    }

    #[test]
    fn peers_may_have_a_port() {
        assert_eq!(peer("192.0.2.7").unwrap().to_string(), "192.0.2.7:0");
        assert_eq!(peer("[2001:db8::1]").unwrap().to_string(), "[2001:db8::1]:0");
        assert_eq!(peer("[2001:db8::1]:5").unwrap().to_string(), "[2001:db8::1]:5");
        assert!(peer("kz.example").is_err() && time("yesterday").is_err());
        assert_eq!(time("2026-11-22T10:00:00Z").unwrap().as_secs(), 1_795_341_600);
    }
}
