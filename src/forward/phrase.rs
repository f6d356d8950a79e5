//! The words beside a status that has no usual ones.
//!
//! Where HTTP knows none, hyper would write `<none>`: the site's own go on, or nothing where it said nothing. Never
//! looks at a status that has usual words, which are written whatever the site said. Bound: the line that they came in.

use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;

/// What is to be written instead of the usual words.
pub(super) fn of(status: StatusCode, said: &str) -> Option<ReasonPhrase> {
    if status.canonical_reason().is_some() {
        return None;
    }
    Some(ReasonPhrase::try_from(said.as_bytes()).unwrap_or(ReasonPhrase::from_static(b"")))
}

/// Puts it where hyper looks for it.
pub(super) fn put<B>(response: &mut Response<B>, phrase: Option<ReasonPhrase>) {
    if let Some(phrase) = phrase {
        response.extensions_mut().insert(phrase);
    }
}
