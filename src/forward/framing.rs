//! One framing in each direction, written anew.
//!
//! The request goes out with exactly one of `Content-Length` and `Transfer-Encoding: chunked`, whatever arrived; the
//! answer keeps a `Content-Length` only if it is the length of what follows. Never looks at a body byte. Bound: a few
//! field look-ups; allocates only when a length has to be written that was not there.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;

use super::body::RequestBody;
use crate::error::Reason;

/// Gives a request its framing, the version of this hop and an origin-form target.
pub(super) fn request(request: &mut Request<RequestBody>) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        let target = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
    }
    let empty = request.body().is_end_stream();
    let exact = request.body().size_hint().exact();
    let fields = request.headers_mut();
    fields.remove(TRANSFER_ENCODING);
    match exact {
        _ if empty => {
            // Some sites want `Content-Length: 0` on an empty POST, so a client's own zero is left.
            if fields.contains_key(CONTENT_LENGTH) {
                set_length(fields, 0);
            }
        }
        Some(length) => set_length(fields, length),
        None => {
            fields.remove(CONTENT_LENGTH);
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Checks and normalises the framing of an answer whose body has `exact` bytes, if that is known. Gives whether the
/// connection may be used again.
///
/// # Errors
/// `UpstreamProtocol` if the body has a transfer coding other than `chunked` (RFC 9112 §6.1): we ask for none.
pub(super) fn answer<B>(
    response: &mut Response<B>,
    exact: Option<u64>,
    method: &Method,
) -> Result<bool, Reason> {
    let mut reusable = response.version() == Version::HTTP_11;
    *response.version_mut() = Version::HTTP_11;
    let bodiless = method == Method::HEAD
        || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || response.status().is_informational();
    // RFC 9110 §8.6: these have no length, not even as a hint, and clients of HTTP/2 take one for a broken answer.
    let lengthless = response.status() == StatusCode::NO_CONTENT || response.status().is_informational();
    let fields = response.headers_mut();
    if fields.contains_key(TRANSFER_ENCODING) {
        if !bodiless && !is_chunked(fields) {
            return Err(Reason::UpstreamProtocol);
        }
        fields.remove(TRANSFER_ENCODING);
        // RFC 9112 §6.3: the coding wins, the length goes, and whoever sends both is not trusted with another request.
        if fields.remove(CONTENT_LENGTH).is_some() {
            reusable = false;
        }
    } else {
        match exact {
            _ if lengthless => {
                fields.remove(CONTENT_LENGTH);
            }
            _ if bodiless => keep_one_length(fields),
            Some(length) if says(fields, length) == Some(false) => {
                fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Some(_) => {}
            None => {
                fields.remove(CONTENT_LENGTH);
            }
        }
    }
    Ok(reusable)
}

/// Leaves exactly one `Content-Length` with this value.
fn set_length(fields: &mut HeaderMap, length: u64) {
    if says(fields, length) != Some(true) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Whether exactly one `Content-Length` has this value; `None` if there is none.
fn says(fields: &HeaderMap, length: u64) -> Option<bool> {
    let mut present = fields.get_all(CONTENT_LENGTH).iter();
    let first = present.next()?;
    let mut digits = itoa::Buffer::new();
    Some(first.as_bytes() == digits.format(length).as_bytes() && present.next().is_none())
}

/// An answer without a body says how long it would have been: kept if it is one decimal number.
fn keep_one_length(fields: &mut HeaderMap) {
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let sound = values.next().is_some_and(|v| !v.is_empty() && v.as_bytes().iter().all(u8::is_ascii_digit));
    if !sound || values.next().is_some() {
        fields.remove(CONTENT_LENGTH);
    }
}

fn is_chunked(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(TRANSFER_ENCODING).iter();
    let first = values.next().is_some_and(|v| v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    first && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(method: Method, uri: &str, fields: &[(&'static str, &'static str)]) -> Request<RequestBody> {
        let mut builder = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let mut made = builder.body(RequestBody::empty()).unwrap();
        request(&mut made);
        made
    }

    #[test]
    fn an_absolute_target_becomes_origin_form() {
        let made = sent(Method::GET, "https://example.org/a?b=c", &[]);
        assert_eq!(made.uri().to_string(), "/a?b=c");
        assert_eq!(made.version(), Version::HTTP_11);
    }

    #[test]
    fn an_empty_body_has_no_coding_and_at_most_a_zero() {
        let made = sent(Method::POST, "/", &[("transfer-encoding", "chunked"), ("content-length", "7")]);
        assert!(!made.headers().contains_key(TRANSFER_ENCODING));
        assert_eq!(made.headers()[CONTENT_LENGTH], "0");
        let made = sent(Method::GET, "/", &[]);
        assert!(!made.headers().contains_key(CONTENT_LENGTH));
    }

    fn answered(
        fields: &[(&'static str, &'static str)],
        method: &Method,
    ) -> (Result<bool, Reason>, HeaderMap) {
        let mut builder = Response::builder();
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let mut made = builder.body(()).unwrap();
        let outcome = answer(&mut made, Some(3), method);
        (outcome, made.headers().clone())
    }

    #[test]
    fn equal_lengths_are_merged() {
        let (outcome, fields) = answered(&[("content-length", "3"), ("content-length", "3")], &Method::GET);
        assert_eq!(outcome, Ok(true));
        assert_eq!(fields.get_all(CONTENT_LENGTH).iter().count(), 1);
    }

    #[test]
    fn a_length_beside_chunked_goes_and_so_does_the_connection() {
        let (outcome, fields) =
            answered(&[("content-length", "3"), ("transfer-encoding", "Chunked")], &Method::GET);
        assert_eq!(outcome, Ok(false));
        assert!(fields.is_empty());
    }

    #[test]
    fn other_codings_are_refused_unless_nothing_follows() {
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", ""] {
            let (outcome, _) = answered(&[("transfer-encoding", coding)], &Method::GET);
            assert_eq!(outcome, Err(Reason::UpstreamProtocol), "{coding}");
        }
        let (outcome, _) = answered(&[("transfer-encoding", "gzip")], &Method::HEAD);
        assert_eq!(outcome, Ok(true));
    }

    #[test]
    fn a_length_without_a_body_is_kept_if_it_is_one_number() {
        for (value, kept) in [("12", true), ("+12", false), ("", false), ("1, 2", false)] {
            let (_, fields) = answered(&[("content-length", value)], &Method::HEAD);
            assert_eq!(fields.contains_key(CONTENT_LENGTH), kept, "{value}");
        }
    }

    #[test]
    fn an_answer_that_has_no_length_tells_none() {
        for (status, kept) in [(204, false), (101, false), (304, true)] {
            let mut made = Response::builder().status(status).header(CONTENT_LENGTH, "5").body(()).unwrap();
            assert_eq!(answer(&mut made, Some(0), &Method::GET), Ok(true));
            assert_eq!(made.headers().contains_key(CONTENT_LENGTH), kept, "{status}");
        }
    }

    #[test]
    fn an_old_version_is_not_used_again() {
        let mut old = Response::builder().version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(answer(&mut old, Some(0), &Method::GET), Ok(false));
        assert_eq!(old.version(), Version::HTTP_11);
    }
}
