//! The page that a visitor sees when the site does not answer.
//!
//! HTML, JSON (problem details, RFC 9457) or plain text, by `Accept`; in kk, ru or en, by `Accept-Language`; with the
//! request id that support can look up. Never a cause, a version or a host name. Bound: a few KiB.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use maud::html;

use super::accept::Format;
use super::error_texts::{sentence, words};
use super::status;
use crate::clock;
use crate::error::Reason;
use crate::pages::{self, language::Language};

/// What of a request decides how its error page looks; kept, since the head itself goes to the site.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    format: Format,
    language: Language,
}

impl Taste {
    /// Reads `Accept` and `Accept-Language`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let value = |name| headers.get(name).map(HeaderValue::as_bytes);
        Self::of_values(value(header::ACCEPT), value(header::ACCEPT_LANGUAGE), None)
    }

    /// The same from the values; `fallback` is the language of a visitor who asks for none of ours.
    #[must_use]
    pub fn of_values(
        accept: Option<&[u8]>,
        accept_language: Option<&[u8]>,
        fallback: Option<Language>,
    ) -> Self {
        let wanted = accept_language.and_then(Language::from_accept_language);
        let language = wanted.or(fallback).unwrap_or(Language::En);
        Self { format: accept.map_or(Format::Text, Format::of), language }
    }

    /// The same from the bytes of an HTTP/1 head that may be malformed: the first line of each name counts.
    #[must_use]
    pub fn of_bytes(head: &[u8]) -> Self {
        let value = |name: &[u8]| {
            head.split(|&b| b == b'\n').skip(1).find_map(|line| {
                let at = memchr::memchr(b':', line)?;
                line[..at].eq_ignore_ascii_case(name).then(|| line[at + 1..].trim_ascii())
            })
        };
        Self::of_values(value(b"accept"), value(b"accept-language"), None)
    }
}

/// Our own answer for a reason.
#[must_use]
pub fn answer(reason: Reason, taste: Taste, id: &HeaderValue) -> Response<Bytes> {
    let code = status::status(reason);
    let id_text = id.to_str().unwrap_or_default();
    let body = match taste.format {
        Format::Html => page(code, reason, taste.language, id_text),
        Format::Problem | Format::Json => json(code, reason, taste.language, id_text),
        Format::Text => text(code, reason, taste.language, id_text),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(taste.format.content_type()));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(taste.language.tag()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-language"));
    headers.insert(PROXY_STATUS, HeaderValue::from_static(status::proxy_status(reason)));
    if taste.format == Format::Html {
        headers.insert(header::CONTENT_SECURITY_POLICY, pages::content_security_policy());
    }
    if code == StatusCode::METHOD_NOT_ALLOWED {
        headers
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if let Some(seconds) = status::retry_after(reason) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status::closes(reason) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The same as HTTP/1.1 bytes, for a head that never became a request; `head` is what came of it. The connection must
/// be closed after it.
#[must_use]
pub fn answer_bytes(reason: Reason, head: &[u8], id: &HeaderValue, now: clock::Timestamp) -> Vec<u8> {
    let response = answer(reason, Taste::of_bytes(head), id);
    let code = response.status();
    let mut out = Vec::with_capacity(ANSWER_BYTES);
    let reason_phrase = code.canonical_reason().unwrap_or_default();
    let mut push = |part: &[u8]| out.extend_from_slice(part);
    push(format!("HTTP/1.1 {} {reason_phrase}\r\n", code.as_u16()).as_bytes());
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != header::CONNECTION) {
        push(name.as_str().as_bytes());
        push(b": ");
        push(value.as_bytes());
        push(b"\r\n");
    }
    push(b"x-request-id: ");
    push(id.as_bytes());
    let since = std::time::Duration::from_secs(now.as_secs().try_into().unwrap_or(0));
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + since);
    let length = response.body().len();
    push(format!("\r\nconnection: close\r\ncontent-length: {length}\r\ndate: {date}\r\n\r\n").as_bytes());
    if !head.starts_with(b"HEAD ") {
        push(response.body());
    }
    out
}

fn page(code: StatusCode, reason: Reason, language: Language, id: &str) -> String {
    let words = words(language);
    let (title, advice) = sentence(reason, language);
    let body = html! {
        h1 { (title) }
        p.lead { (advice) }
        div.state {
            p.small { (words.code) " " (code.as_u16()) }
            p.small { (words.id) " " code { (id) } }
        }
    };
    pages::shell(language, title, &body).into_string()
}

/// Problem details (RFC 9457 §3.1) with two members of our own: `error`, the reason's stable name, and `request_id`.
fn json(code: StatusCode, reason: Reason, language: Language, id: &str) -> String {
    let (title, advice) = sentence(reason, language);
    serde_json::json!({
        "type": "about:blank",
        "status": code.as_u16(),
        "title": title,
        "detail": advice,
        "error": reason.label(),
        "request_id": id,
    })
    .to_string()
}

fn text(code: StatusCode, reason: Reason, language: Language, id: &str) -> String {
    let words = words(language);
    let (title, advice) = sentence(reason, language);
    format!("{title}\n{advice}\n\n{} {}\n{} {id}\n", words.code, code.as_u16(), words.id)
}

/// RFC 9209.
pub(super) const PROXY_STATUS: http::HeaderName = http::HeaderName::from_static("proxy-status");

/// Enough for nearly every answer.
const ANSWER_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(accept: &str, language: &str) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        headers.insert(header::ACCEPT_LANGUAGE, language.parse().unwrap());
        answer(Reason::UpstreamTimeout, Taste::of(&headers), &HeaderValue::from_static("id-1"))
    }

    #[test]
    fn the_form_follows_accept() {
        for (accept, kind) in [
            ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/json", "application/json"),
            ("application/problem+json", "application/problem+json"),
            ("*/*", "text/plain; charset=utf-8"),
        ] {
            let response = shown(accept, "en");
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{accept}");
            assert!(String::from_utf8_lossy(response.body()).contains("id-1"));
            assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(response.headers()["proxy-status"], "kelisim; error=http_response_timeout");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        }
    }

    #[test]
    fn the_language_follows_accept_language() {
        assert!(String::from_utf8_lossy(shown("text/html", "ru").body()).contains("Сайт не ответил"));
        assert!(
            String::from_utf8_lossy(shown("text/html", "kk-KZ,ru;q=0.5").body())
                .contains("Сайт жауап бермеді")
        );
    }

    #[test]
    fn a_visitor_without_a_wish_gets_the_sites_language() {
        let taste = Taste::of_values(None, Some(b"de"), Some(Language::Kk));
        let response = answer(Reason::QueueFull, taste, &HeaderValue::from_static("x"));
        assert_eq!(response.headers()[header::CONTENT_LANGUAGE], "kk");
    }

    /// The table of the design's §9, for every reason, in every form and language.
    #[test]
    fn every_reason_has_a_page_that_tells_no_secret() {
        let id = HeaderValue::from_static("id-1");
        for &reason in Reason::ALL {
            for format in [Format::Html, Format::Problem, Format::Json, Format::Text] {
                for language in Language::ALL {
                    let response = answer(reason, Taste { format, language }, &id);
                    let (headers, code) = (response.headers(), response.status());
                    let body = String::from_utf8(response.body().to_vec()).unwrap();
                    assert!(body.contains("id-1") && body.contains(code.as_str()), "{reason:?}: {body}");
                    assert!(!body.contains(env!("CARGO_PKG_VERSION")) && !body.contains("example"), "{body}");
                    assert_eq!(headers[header::CONTENT_TYPE], format.content_type());
                    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
                    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
                    assert!(headers[PROXY_STATUS].to_str().unwrap().starts_with("kelisim; error="));
                    assert_eq!(headers.contains_key(header::ALLOW), code == 405, "{reason:?}");
                    let waits = code == 429 || code == 503;
                    assert_eq!(headers.contains_key(header::RETRY_AFTER), waits, "{reason:?}");
                    assert_eq!(headers.contains_key(header::CONTENT_SECURITY_POLICY), format == Format::Html);
                    if format == Format::Html {
                        assert!(body.contains(&format!("<html lang=\"{}\">", language.tag())));
                    }
                }
            }
        }
    }

    #[test]
    fn a_head_that_never_became_a_request_is_answered_in_bytes() {
        let id = HeaderValue::from_static("id-1");
        let now = clock::Timestamp::from_secs(1_795_341_600);
        let head = b"GET / HTTP/1.1\r\nHost: a\r\naccept: application/json\r\nAccept-Language: ru\r\n bad : x\r\n\r\n";
        let said = String::from_utf8(answer_bytes(Reason::AmbiguousFraming, head, &id, now)).unwrap();
        let (fields, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(fields.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{fields}");
        for field in [
            "content-type: application/json",
            "content-language: ru",
            "connection: close",
            "x-request-id: id-1",
            "date: Sun, 22 Nov 2026 10:00:00 GMT",
            &format!("content-length: {}", body.len()),
            "proxy-status: kelisim; error=http_request_error",
        ] {
            assert_eq!(fields.matches(field).count(), 1, "{field} in {fields}");
        }
        assert!(body.contains("ambiguous_framing"));
        let to_head = answer_bytes(Reason::Malformed, b"HEAD / HTTP/1.1\r\nbad", &id, now);
        assert!(to_head.ends_with(b"\r\n\r\n"));
        assert!(answer_bytes(Reason::Malformed, b"", &id, now).starts_with(b"HTTP/1.1 400 "));
    }

    #[test]
    fn an_ambiguous_request_ends_the_connection() {
        let response = answer(
            Reason::AmbiguousFraming,
            Taste { format: Format::Text, language: Language::En },
            &HeaderValue::from_static("x"),
        );
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }
}
