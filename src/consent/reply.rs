//! The shapes of our own answers: page, JSON, redirect, nothing.
//!
//! Every answer but the script is `no-store`; all are `nosniff`, and keeps its address from other sites. Never says what another part may
//! cache. Bound: what is handed in.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use maud::Markup;
use serde::Serialize;

use crate::pages;
use crate::pages::language::Language;

/// One of our answers.
pub(super) type Reply = Response<Full<Bytes>>;

/// A page.
pub(super) fn page(status: StatusCode, language: Language, page: Markup) -> Reply {
    let mut reply = bytes(status, "text/html; charset=utf-8", Bytes::from(page.into_string()));
    set(&mut reply, header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    set(&mut reply, header::CONTENT_SECURITY_POLICY, pages::content_security_policy());
    reply
}

/// A JSON document.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, "application/json", Bytes::from(body)),
        // Our types are structs of strings and flags: they always serialise.
        Err(_) => bytes(StatusCode::INTERNAL_SERVER_ERROR, "application/json", Bytes::from_static(b"{}")),
    }
}

/// A script that pages of this site may load and keep, as long as they ask whether it is still the same.
pub(super) fn script(status: StatusCode, script: &'static str, tag: HeaderValue) -> Reply {
    let mut reply = bytes(status, "text/javascript; charset=utf-8", Bytes::from_static(script.as_bytes()));
    set(&mut reply, header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    set(&mut reply, header::ETAG, tag);
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    set(&mut reply, policy, HeaderValue::from_static("same-origin"));
    reply
}

/// `303 See Other`. An address that is no header value leads to an error of ours, not elsewhere.
pub(super) fn see_other(location: &str) -> Reply {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut reply = bytes(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
            set(&mut reply, header::LOCATION, location);
            reply
        }
        Err(_) => bytes(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", Bytes::new()),
    }
}

/// Adds `Vary`.
pub(super) fn vary(mut reply: Reply, on: &'static str) -> Reply {
    set(&mut reply, header::VARY, HeaderValue::from_static(on));
    reply
}

/// Adds `Allow`.
pub(super) fn allow(mut reply: Reply, methods: &'static str) -> Reply {
    set(&mut reply, header::ALLOW, HeaderValue::from_static(methods));
    reply
}

/// The answer to `HEAD`: all fields of the answer to `GET`, with its length, and no body.
pub(super) fn without_body(mut reply: Reply, length: u64) -> Reply {
    set(&mut reply, header::CONTENT_LENGTH, HeaderValue::from(length));
    *reply.body_mut() = Full::new(Bytes::new());
    reply
}

fn bytes(status: StatusCode, media_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: with it browsers send `Origin: null` with our own form.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        set(&mut reply, name, HeaderValue::from_static(value));
    }
    reply
}

fn set(reply: &mut Reply, name: HeaderName, value: HeaderValue) {
    reply.headers_mut().insert(name, value);
}
