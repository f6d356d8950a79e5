//! The page that a visitor sees when the site does not answer.
//!
//! JSON, HTML or plain text, by `Accept`; in kk, ru or en, by `Accept-Language`; with the request id that support can
//! look up. Never a cause, a version or a host name. Bound: a few KiB.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use maud::html;

use super::status;
use crate::error::{Fault, Reason};
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
        Self::of_values(value(header::ACCEPT), value(header::ACCEPT_LANGUAGE))
    }

    /// The same from the values.
    #[must_use]
    pub fn of_values(accept: Option<&[u8]>, accept_language: Option<&[u8]>) -> Self {
        let language = accept_language.and_then(Language::from_accept_language).unwrap_or(Language::En);
        Self { format: accept.map_or(Format::Text, Format::of), language }
    }
}

/// Our own answer for a reason.
#[must_use]
pub fn answer(reason: Reason, taste: Taste, id: &HeaderValue) -> Response<Bytes> {
    let code = status::status(reason);
    let id_text = id.to_str().unwrap_or_default();
    let (kind, body) = match taste.format {
        Format::Html => ("text/html; charset=utf-8", page(code, reason, taste.language, id_text)),
        Format::Json => ("application/json", json(code, reason, taste.language, id_text)),
        Format::Text => ("text/plain; charset=utf-8", text(code, reason, taste.language, id_text)),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    #[default]
    Text,
}

impl Format {
    /// The first of the media types that we can write; plain text when none is named.
    fn of(accept: &[u8]) -> Self {
        for item in accept.split(|&b| b == b',') {
            let media = item.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
            if media.eq_ignore_ascii_case(b"text/html")
                || media.eq_ignore_ascii_case(b"application/xhtml+xml")
            {
                return Self::Html;
            }
            if media.eq_ignore_ascii_case(b"application/json")
                || media.to_ascii_lowercase().ends_with(b"+json")
            {
                return Self::Json;
            }
        }
        Self::Text
    }
}

fn page(code: StatusCode, reason: Reason, language: Language, id: &str) -> String {
    let words = words(language);
    let (title, advice) = sentence(reason, language);
    let body = html! {
        h1 { (title) }
        p { (advice) }
        p.quiet { (words.code) " " (code.as_u16()) " · " (words.id) " " code { (id) } }
    };
    pages::shell(language, title, &body).into_string()
}

fn json(code: StatusCode, reason: Reason, language: Language, id: &str) -> String {
    let (title, advice) = sentence(reason, language);
    serde_json::json!({
        "status": code.as_u16(),
        "error": reason.label(),
        "title": title,
        "detail": advice,
        "request_id": id,
    })
    .to_string()
}

fn text(code: StatusCode, reason: Reason, language: Language, id: &str) -> String {
    let words = words(language);
    let (title, advice) = sentence(reason, language);
    format!("{title}\n{advice}\n\n{} {}\n{} {id}\n", words.code, code.as_u16(), words.id)
}

struct Words {
    code: &'static str,
    id: &'static str,
}

const fn words(language: Language) -> Words {
    match language {
        Language::Kk => Words { code: "Код", id: "Сұрау нөмірі" },
        Language::Ru => Words { code: "Код", id: "Номер запроса" },
        Language::En => Words { code: "Code", id: "Request id" },
    }
}

/// Title and advice for a person: what happened, and what they can do.
fn sentence(reason: Reason, language: Language) -> (&'static str, &'static str) {
    let [kk, ru, en] = match reason {
        Reason::UnknownHost => MISDIRECTED,
        Reason::Throttled => THROTTLED,
        Reason::Denied | Reason::CrossSite => DENIED,
        Reason::BodyTooLarge => TOO_LARGE,
        Reason::QueueFull | Reason::Draining | Reason::RecordFailed => BUSY,
        _ => match reason.fault() {
            Fault::Client => BAD_REQUEST,
            Fault::Site => SITE,
            Fault::Us => OURS,
        },
    };
    match language {
        Language::Kk => kk,
        Language::Ru => ru,
        Language::En => en,
    }
}

type Texts = [(&'static str, &'static str); 3];

const BAD_REQUEST: Texts = [
    ("Сұрау түсініксіз", "Браузер жіберген сұрауды орындау мүмкін емес. Бетті жаңартып, қайталап көріңіз."),
    (
        "Запрос непонятен",
        "Запрос, который отправил браузер, выполнить нельзя. Обновите страницу и попробуйте ещё раз.",
    ),
    (
        "The request cannot be understood",
        "What the browser sent cannot be served. Reload the page and try again.",
    ),
];
const MISDIRECTED: Texts = [
    ("Мұнда ондай сайт жоқ", "Мекенжайдың дұрыс жазылғанын тексеріңіз."),
    ("Здесь нет такого сайта", "Проверьте, правильно ли написан адрес."),
    ("There is no such site here", "Check that the address is spelled correctly."),
];
const THROTTLED: Texts = [
    ("Сұраулар тым жиі", "Біраз күтіп, қайталап көріңіз."),
    ("Слишком много запросов", "Подождите немного и попробуйте ещё раз."),
    ("Too many requests", "Wait a little and try again."),
];
const DENIED: Texts = [
    (
        "Сұрау қабылданбады",
        "Сұрау қауіпсіздік ережелері бойынша қабылданбады. Бұл қате деп ойласаңыз, қолдау қызметіне төмендегі нөмірді айтыңыз.",
    ),
    (
        "Запрос отклонён",
        "Запрос отклонён по правилам безопасности. Если это ошибка, сообщите службе поддержки номер, указанный ниже.",
    ),
    (
        "The request was refused",
        "It was refused by the security rules. If you think that this is a mistake, give the number below to support.",
    ),
];
const TOO_LARGE: Texts = [
    ("Файл тым үлкен", "Сайт мұндай көлемді қабылдамайды. Кішірек файл жіберіп көріңіз."),
    ("Файл слишком большой", "Сайт не принимает такой объём. Попробуйте отправить файл поменьше."),
    ("The upload is too large", "The site does not accept this much data. Try a smaller file."),
];
const BUSY: Texts = [
    ("Сайт қазір бос емес", "Бірнеше секундтан кейін қайталап көріңіз."),
    ("Сайт сейчас перегружен", "Попробуйте ещё раз через несколько секунд."),
    ("The site is busy", "Try again in a few seconds."),
];
const SITE: Texts = [
    (
        "Сайт жауап бермеді",
        "Сайттың сервері қазір жауап бермей тұр. Сәл кейінірек қайталап көріңіз; қайталана берсе, қолдау қызметіне төмендегі нөмірді айтыңыз.",
    ),
    (
        "Сайт не ответил",
        "Сервер сайта сейчас не отвечает. Попробуйте чуть позже; если это повторится, сообщите службе поддержки номер, указанный ниже.",
    ),
    (
        "The site did not answer",
        "Its server is not responding at the moment. Try again a little later; if it happens again, give the number below to support.",
    ),
];
const OURS: Texts = [
    ("Ішкі қате", "Қате біздің тарапымыздан шықты. Қолдау қызметіне төмендегі нөмірді айтыңыз."),
    ("Внутренняя ошибка", "Ошибка на нашей стороне. Сообщите службе поддержки номер, указанный ниже."),
    ("An internal error", "The fault is ours. Please give the number below to support."),
];

const PROXY_STATUS: http::HeaderName = http::HeaderName::from_static("proxy-status");

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
            ("application/problem+json", "application/json"),
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
    fn an_ambiguous_request_ends_the_connection() {
        let response = answer(
            Reason::AmbiguousFraming,
            Taste { format: Format::Text, language: Language::En },
            &HeaderValue::from_static("x"),
        );
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }
}
