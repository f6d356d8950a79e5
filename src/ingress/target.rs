//! The request target (RFC 9112 §3.2): which forms are served, and what a path may hold.
//!
//! The raw path is forwarded as it came; rules read it in every way in which a site may ([`crate::consent::Gate`]).
//! Never rewrites what the site sees, but for absolute-form, which becomes origin-form. Bound: `limits.uri_bytes`.

use http::Uri;
use http::uri::PathAndQuery;

use crate::config::EncodedSlashes;
use crate::error::Reason;

/// Refuses targets that are too long, or that two readers could take for different things.
///
/// # Errors
/// [`Reason::UriTooLong`]; [`Reason::BadTarget`] for an invalid `%`, an encoded NUL, an encoded slash where those are to
/// be rejected, or a scheme that is not HTTP's: nothing here could translate the request.
pub fn check(uri: &Uri, limit: usize, slashes: EncodedSlashes) -> Result<(), Reason> {
    let is_http = |scheme: &str| SCHEMES.iter().any(|http| scheme.eq_ignore_ascii_case(http));
    if uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Err(Reason::BadTarget);
    }
    let Some(target) = uri.path_and_query() else { return Ok(()) };
    let bytes = target.as_str().as_bytes();
    if bytes.len() > limit {
        return Err(Reason::UriTooLong);
    }
    for at in memchr::memchr_iter(b'%', uri.path().as_bytes()) {
        match escape(uri.path().as_bytes(), at) {
            Some(0) | None => return Err(Reason::BadTarget),
            Some(b'/') if slashes == EncodedSlashes::Reject => return Err(Reason::BadTarget),
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
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // Absolute-form may leave the path out; origin-form writes it as `/` (RFC 9112 §3.2.1).
    let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
    if !target.starts_with('/') {
        return Err(Reason::BadTarget);
    }
    *uri = Uri::try_from(target).map_err(|_| Reason::BadTarget)?;
    Ok(())
}

/// Whether the target is the `*` of `OPTIONS *`, which asks the server and not a resource.
#[must_use]
pub fn is_asterisk(uri: &Uri) -> bool {
    uri.path() == "*"
}

/// What HTTP is spoken for.
const SCHEMES: [&str; 2] = ["http", "https"];

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
        check(&target.parse().unwrap(), 64, EncodedSlashes::Pass)
    }

    #[test]
    fn only_schemes_of_http_are_served() {
        for target in ["http://a/", "HTTPS://a/", "Http://a?x", "/ftp://a/"] {
            assert_eq!(checked(target), Ok(()), "{target}");
        }
        for target in ["ftp://a/", "ws://a/", "unix://a/", "httpx://a/"] {
            assert_eq!(checked(target), Err(Reason::BadTarget), "{target}");
        }
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
    fn encoded_slashes_can_be_refused() {
        let rejected = |target: &str| check(&target.parse().unwrap(), 64, EncodedSlashes::Reject);
        assert_eq!(rejected("/a%2Fb"), Err(Reason::BadTarget));
        assert_eq!(rejected("/a%2fb"), Err(Reason::BadTarget));
        assert_eq!(rejected("/a%252Fb?c=%2F"), Ok(()));
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
    fn an_absolute_form_without_a_path_gets_one() {
        for (absolute, origin) in [("http://kz.example?b=c", "/?b=c"), ("http://kz.example#d", "/")] {
            let mut uri: Uri = absolute.parse().unwrap();
            to_origin_form(&mut uri).unwrap();
            assert_eq!((uri.path(), uri.to_string().as_str()), ("/", origin), "{absolute}");
        }
    }
}
