//! What the head of a choice alone says against it, so that its body need not be sent.
//!
//! The same rules that hold for the whole request, as far as they look at header fields. Never lets anything pass for
//! good: what is not refused here is judged again with its body. Bound: four header fields.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;

use super::choice::{self, BodyError};
use super::endpoints::{BODY_BYTES, OwnRequest};
use super::origin::{self, Origin};
use super::problem::{self, Problem};
use super::site::SiteConsent;

/// The answer to a `POST` or `DELETE` of `consent` that no body can save. `length` is that of its body, if it is told.
#[must_use]
pub fn refused_unread(
    request: &OwnRequest<'_>,
    site: &SiteConsent,
    length: Option<u64>,
) -> Option<Response<Full<Bytes>>> {
    // Without a body it needs no type to withdraw; whether one that tells no length has any is yet to be seen.
    let untyped = *request.method != Method::DELETE || length.is_some_and(|length| length > 0);
    let why = if length.is_some_and(|length| length > BODY_BYTES as u64) {
        Problem::Body(BodyError::TooLarge)
    } else if untyped && choice::format(request.headers).is_none() {
        Problem::Body(BodyError::MediaType)
    } else if origin::of(request.headers, request.authority, request.secure) == Origin::Other {
        Problem::CrossSite
    } else {
        return None;
    };
    Some(problem::reply(request, site, why))
}
