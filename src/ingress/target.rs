//! The request target (RFC 9112 §3.2): which forms are served, and what a path may hold.
//!
//! The raw path is forwarded as it came; rules look at a normalised copy ([`normalised_path`]). Never rewrites what
//! the site sees, but for absolute-form, which becomes origin-form. Bound: `limits.uri_bytes`.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

use crate::error::Reason;

/// Refuses targets that are too long, or that two readers could take for different things.
///
/// # Errors
/// [`Reason::UriTooLong`]; [`Reason::BadTarget`] for an invalid `%` or an encoded NUL.
pub fn check(uri: &Uri, limit: usize) -> Result<(), Reason> {
    let Some(target) = uri.path_and_query() else { return Ok(()) };
    let bytes = target.as_str().as_bytes();
    if bytes.len() > limit {
        return Err(Reason::UriTooLong);
    }
    for at in memchr::memchr_iter(b'%', uri.path().as_bytes()) {
        match escape(uri.path().as_bytes(), at) {
            Some(0) | None => return Err(Reason::BadTarget),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Keeps only path and query of an absolute-form target; the authority has been compared with `Host` before.
///
/// # Errors
/// [`Reason::BadTarget`] if there is no path at all (authority-form, asterisk-form).
pub fn to_origin_form(uri: &mut Uri) -> Result<(), Reason> {
    if uri.authority().is_none() && uri.path().starts_with('/') {
        return Ok(());
    }
    let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if !target.path().starts_with('/') {
        return Err(Reason::BadTarget);
    }
    *uri = Uri::from(target);
    Ok(())
}

/// Whether the target is the `*` of `OPTIONS *`, which asks the server and not a resource.
#[must_use]
pub fn is_asterisk(uri: &Uri) -> bool {
    uri.path() == "*"
}

/// The path as rules see it: escapes decoded once, `//` and dot segments resolved. Borrowed when nothing changes.
#[must_use]
pub fn normalised_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path.as_bytes());
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|&b| b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = Vec::with_capacity(decoded.len() + 1);
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    // The last segment was a folder: `/a/`, `/a/.`, `/a/..`.
    if out.is_empty() || decoded.ends_with(b"/") || decoded.ends_with(b"/.") || decoded.ends_with(b"/..") {
        out.push(b'/');
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Whether `path` (normalised) lies at or below `prefix`, by whole segments.
#[must_use]
pub fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], escape(bytes, at)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// The byte that the escape at `at` stands for.
fn escape(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |i: usize| bytes.get(i).and_then(|&b| char::from(b).to_digit(16));
    let (high, low) = (digit(at + 1)?, digit(at + 2)?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(target: &str) -> Result<(), Reason> {
        check(&target.parse().unwrap(), 64)
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        assert_eq!(checked("/a%2Fb?x=%zz"), Ok(()));
        assert_eq!(checked("/a%00b"), Err(Reason::BadTarget));
        assert_eq!(checked("/a%"), Err(Reason::BadTarget));
        assert_eq!(checked("/a%2"), Err(Reason::BadTarget));
        assert_eq!(checked("/a%zz"), Err(Reason::BadTarget));
        assert_eq!(checked(&format!("/{}", "a".repeat(64))), Err(Reason::UriTooLong));
        assert_eq!(checked(&format!("/{}", "a".repeat(63))), Ok(()));
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        let mut uri: Uri = "http://kz.example/a?b=c".parse().unwrap();
        to_origin_form(&mut uri).unwrap();
        assert_eq!(uri.to_string(), "/a?b=c");
        let mut uri: Uri = "http://kz.example".parse().unwrap();
        to_origin_form(&mut uri).unwrap();
        assert_eq!(uri.to_string(), "/");
    }

    #[test]
    fn rules_see_a_normalised_copy() {
        for (raw, expected) in [
            ("/register", "/register"),
            ("//register", "/register"),
            ("/a/../register", "/register"),
            ("/%72egister", "/register"),
            ("/register/", "/register/"),
            ("/..", "/"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a%2f..%2fregister", "/register"),
        ] {
            assert_eq!(normalised_path(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        assert!(is_below("/register", "/register"));
        assert!(is_below("/register/now", "/register"));
        assert!(is_below("/register/now", "/register/"));
        assert!(!is_below("/registered", "/register"));
        assert!(is_below("/anything", "/"));
    }
}
