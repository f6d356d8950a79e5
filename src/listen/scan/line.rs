//! The first line of a request (RFC 9112 §3).
//!
//! Accepts what hyper accepts, and refuses a fragment, which hyper would drop in silence. Never looks at what a target
//! means: that is `ingress::target`. Bound: [`LONGEST_TARGET`].

use crate::error::Reason;

/// Most bytes of a target that hyper reads.
pub(super) const LONGEST_TARGET: usize = 65_534;

/// What the first line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// HTTP/1.1, else HTTP/1.0.
    pub(super) http_11: bool,
}

/// Reads a first line without its end.
pub(super) fn read(line: &[u8], uri_bytes: usize) -> Result<Line, Reason> {
    let end = line.iter().position(|&b| !is_token(b)).ok_or(Reason::Malformed)?;
    let (method, rest) = line.split_at(end);
    let [b' ', rest @ ..] = rest else { return Err(Reason::Malformed) };
    if method.is_empty() || method.len() > LONGEST_METHOD {
        return Err(Reason::Malformed);
    }
    let Some((target, version)) = rest.len().checked_sub(VERSION).map(|at| rest.split_at(at)) else {
        return Err(if rest.len() > uri_bytes { Reason::UriTooLong } else { Reason::Malformed });
    };
    let http_11 = match version {
        b" HTTP/1.1" => true,
        b" HTTP/1.0" => false,
        // A later HTTP/1 should be read as 1.1 (RFC 9110 §2.5), which hyper does not; 505 is about major versions.
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', _] => return Err(Reason::Malformed),
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Reason::UnsupportedVersion);
        }
        // HTTP/0.9 has no version at all.
        _ => return Err(Reason::Malformed),
    };
    if target.len() > uri_bytes {
        return Err(Reason::UriTooLong);
    }
    if method == b"CONNECT" {
        return Err(Reason::MethodNotAllowed);
    }
    target_is_good(target)?;
    Ok(Line { http_11 })
}

/// What can be said of the beginning of a first line that is not complete.
pub(super) fn begin(part: &[u8], uri_bytes: usize) -> Result<(), Reason> {
    match memchr::memchr(b' ', part) {
        at if at.unwrap_or(part.len()) > LONGEST_METHOD => Err(Reason::Malformed),
        Some(at) if part.len() - at > uri_bytes + SLACK => Err(Reason::UriTooLong),
        _ if part.first().is_some_and(|&first| !is_token(first)) => Err(Reason::Malformed),
        _ => Ok(()),
    }
}

/// Whether a byte may stand in a method or a field name (RFC 9110 §5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

fn target_is_good(target: &[u8]) -> Result<(), Reason> {
    // To the end in any case: without a way out this is two instructions for each byte.
    if target.first() == Some(&b'/') && target.iter().fold(true, |plain, &b| plain & PLAIN[b as usize]) {
        return Ok(());
    }
    // Rare forms and bytes: hyper's own reader is asked. Blanks and control bytes are errors of the line.
    if target.is_empty() || target.iter().any(|&b| b <= b' ' || b == 0x7f) {
        return Err(Reason::Malformed);
    }
    if target.contains(&b'#') || std::str::from_utf8(target).is_err() || http::Uri::try_from(target).is_err()
    {
        return Err(Reason::BadTarget);
    }
    Ok(())
}

/// ` HTTP/1.1`.
const VERSION: usize = 9;
/// What follows a target on its line, and its first blank.
const SLACK: usize = 16;
/// Most bytes of a method.
const LONGEST_METHOD: usize = 256;

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// Bytes that are good anywhere in an origin-form target.
const PLAIN: [bool; 256] = table(b"!$%&'()*+,-./:;=?@[]_|~");

const fn table(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}
