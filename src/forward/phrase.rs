//! The words beside a status.
//!
//! Those of the site go on to clients of HTTP/1. Where it said nothing, the usual ones are written, or nothing where HTTP
//! knows none: hyper would write `<none>`. Costs nothing where the site says the usual words. Bound: the line that they
//! came in.

use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;

/// What is to be written instead of the usual words.
pub(super) fn of(status: StatusCode, said: &str) -> Option<ReasonPhrase> {
    match status.canonical_reason() {
        Some(usual) if said.is_empty() || said == usual => return None,
        _ => {}
    }
    Some(ReasonPhrase::try_from(said.as_bytes()).unwrap_or(ReasonPhrase::from_static(b"")))
}

/// Puts it where hyper looks for it.
pub(super) fn put<B>(response: &mut Response<B>, phrase: Option<ReasonPhrase>) {
    if let Some(phrase) = phrase {
        response.extensions_mut().insert(phrase);
    }
}
