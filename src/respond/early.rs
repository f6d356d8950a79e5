//! Our answer to a head that never became a request, as bytes: hyper has not seen it and cannot answer.
//!
//! The same page, fields and counters as for every other refusal, in plain text, since a head that is refused is not
//! asked what it accepts. Nothing is recorded: there is no site that it was for. Never holds a byte of the head.
//! Bound: one page.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, header};

use super::error_page::{self, Taste};
use super::status;
use crate::admin::labels::MethodLabel;
use crate::clock;
use crate::error::Reason;
use crate::ingress::request_id;
use crate::listen::connection::Connection;
use crate::worker::Worker;

/// Counts and logs a refusal, and writes its answer. A `HEAD` request is answered without a body.
pub fn answer(worker: &Worker, connection: &Connection, reason: Reason, head: bool) -> Vec<u8> {
    let code = status::status(reason);
    let method = if head { MethodLabel::Head } else { MethodLabel::Other };
    worker.metrics.request_rejected(reason);
    worker.metrics.request(connection.listener, None, method, code.as_u16(), Duration::ZERO);
    let id = worker.ids.of_request(None);
    tracing::debug!(
        reason = reason.label(),
        request.id = id.to_str().unwrap_or_default(),
        "refused before it became a request"
    );
    let mut response = error_page::answer(reason, Taste::of_values(None, None), &id);
    let length = response.body().len();
    let fields = response.headers_mut();
    fields.insert(request_id::NAME, id);
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let now = UNIX_EPOCH + Duration::from_secs(clock::now().as_secs().unsigned_abs());
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
        fields.insert(header::DATE, date);
    }
    let mut bytes = Vec::with_capacity(1024 + length);
    // Writing to memory cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {} {}\r\n", code.as_str(), code.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    if !head {
        bytes.extend_from_slice(response.body());
    }
    bytes
}
