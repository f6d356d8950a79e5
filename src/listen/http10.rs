//! What an HTTP/1.0 client has to be told of an answer, and how it learns that one is cut.
//!
//! Such a client knows no chunks: an answer of unknown length ends with its connection (RFC 9112 §6.3), so the
//! connection must not be promised to go on, and must not end as if it had been ended on purpose while the answer is cut
//! ([`super::stream`] resets it then). Never looks at a body byte. Bound: the head of an answer.

use http::{HeaderValue, Response, Version, header};
use http_body::Body as _;

use super::connection::Connection;
use crate::respond::Body;

/// Makes an answer fit for a client that speaks HTTP/1.0.
pub(super) fn fit(connection: &Connection, response: &mut Response<Body>) {
    let until_close = response.body().size_hint().exact().is_none();
    if until_close {
        connection.ends_with_answer();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if response.headers().contains_key(header::CONNECTION) {
        // Else hyper puts `keep-alive` beside it, if the client had asked for that.
        *response.version_mut() = Version::HTTP_10;
    }
}
