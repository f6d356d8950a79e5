//! The head of an answer: from bytes to fields, and what follows it.
//!
//! The syntax is `httparse`'s, as in hyper; how the body ends is decided here, and only one way of saying it is
//! accepted. Names and values share the memory that was read. Never looks at a body byte. Bound: [`HeadLimits`].

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use httparse::{Error, ParserConfig, Status};
use smallvec::SmallVec;

use super::HeadLimits;
use super::unreadable::{self, Outcome};
use crate::error::Reason;
use crate::forward::phrase;

/// What the first bytes of an answer are.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Not yet a whole head.
    Partial,
    /// An interim answer, which is gone now.
    Interim,
    /// The answer.
    Answer(Head),
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    /// Status, version and fields as they came.
    pub(super) response: Response<()>,
    /// Where the body ends.
    pub(super) follows: Follows,
    /// Whether the endpoint will take another request on this connection.
    pub(super) keeps: bool,
}

/// What follows a head (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
}

/// Reads a head from the start of `input` and takes it out. `bodiless`: the request was a HEAD. The fields of an answer
/// take the memory of `spare`, whose own are forgotten then.
///
/// # Errors
/// `UpstreamHeadTooLarge`, or `UpstreamProtocol` for anything that is not one clear answer.
pub(super) fn parse(
    input: &mut BytesMut,
    bodiless: bool,
    limits: HeadLimits,
    spare: &mut HeaderMap,
) -> Result<Parsed, Reason> {
    match parse_as_it_is(input, bodiless, limits, spare) {
        Err(Reason::UpstreamProtocol) => match unreadable::replace(input) {
            Outcome::Replaced => parse_as_it_is(input, bodiless, limits, spare),
            Outcome::Partial(_) if input.len() >= limits.bytes => Err(Reason::UpstreamHeadTooLarge),
            Outcome::Partial(mut lines) => {
                parse_as_it_is(&mut lines, bodiless, limits, &mut HeaderMap::new()).map(|_| Parsed::Partial)
            }
            Outcome::Unchanged => Err(Reason::UpstreamProtocol),
        },
        read => read,
    }
}

fn parse_as_it_is(
    input: &mut BytesMut,
    bodiless: bool,
    limits: HeadLimits,
    spare: &mut HeaderMap,
) -> Result<Parsed, Reason> {
    match parse_with_room::<USUAL_FIELDS>(input, bodiless, limits, spare) {
        Err(Reason::UpstreamHeadTooLarge) if limits.fields > USUAL_FIELDS => {
            parse_crowded(input, bodiless, limits, spare)
        }
        outcome => outcome,
    }
}

/// The same for a head with more fields than nearly all have: others need not find room for them.
#[cold]
#[inline(never)]
fn parse_crowded(
    input: &mut BytesMut,
    bodiless: bool,
    limits: HeadLimits,
    spare: &mut HeaderMap,
) -> Result<Parsed, Reason> {
    parse_with_room::<MOST_FIELDS>(input, bodiless, limits, spare)
}

fn parse_with_room<const FIELDS: usize>(
    input: &mut BytesMut,
    bodiless: bool,
    limits: HeadLimits,
    spare: &mut HeaderMap,
) -> Result<Parsed, Reason> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS];
    let room = &mut room[..limits.fields.min(FIELDS)];
    let mut parsed = httparse::Response::new(&mut []);
    let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, input, room) {
        Ok(Status::Complete(length)) if length <= limits.bytes => length,
        Ok(Status::Partial) if input.len() < limits.bytes => return Ok(Parsed::Partial),
        Ok(_) | Err(Error::TooManyHeaders) => return Err(Reason::UpstreamHeadTooLarge),
        Err(_) => return Err(Reason::UpstreamProtocol),
    };
    let status =
        StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| Reason::UpstreamProtocol)?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        input.advance(length);
        return Ok(Parsed::Interim);
    }
    let phrase = phrase::of(status, parsed.reason.unwrap_or_default());
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut facts = Facts::default();
    let mut spans = SmallVec::<[Span; 24]>::new();
    let base = input.as_ptr() as usize;
    for field in parsed.headers.iter() {
        facts.note(field.name.as_bytes(), field.value);
        spans.push(Span::new(base, field));
    }
    let follows = facts.follows(status, version, bodiless)?;
    let mut response = Response::new(());
    *response.headers_mut() = fields(input, length, &spans, spare)?;
    *response.status_mut() = status;
    *response.version_mut() = version;
    phrase::put(&mut response, phrase);
    let keeps = version == Version::HTTP_11
        && !facts.close
        && follows != Follows::UntilClose
        && !(facts.codings > 0 && facts.lengths);
    Ok(Parsed::Answer(Head { response, follows, keeps }))
}

/// Takes the head out of `input` and makes its fields.
fn fields(
    input: &mut BytesMut,
    length: usize,
    spans: &[Span],
    spare: &mut HeaderMap,
) -> Result<HeaderMap, Reason> {
    let block = input.split_to(length).freeze();
    let mut fields = if spare.capacity() <= MOST_REUSED { std::mem::take(spare) } else { HeaderMap::new() };
    fields.clear();
    fields.reserve(spans.len() + ADDED_LATER);
    for span in spans {
        let name = &block[span.name_from..span.name_to];
        let name = usual(name).map_or_else(|| HeaderName::from_bytes(name), Ok);
        let value = HeaderValue::from_maybe_shared(block.slice(span.value_from..span.value_to));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Reason::UpstreamProtocol) };
        fields.append(name, value);
    }
    Ok(fields)
}

/// A name that most answers have, in one of its usual spellings: found by its length, without lower-casing it.
fn usual(name: &[u8]) -> Option<HeaderName> {
    let usual = match (name.len(), name) {
        (4, b"date" | b"Date") => header::DATE,
        (4, b"etag" | b"ETag" | b"Etag") => header::ETAG,
        (4, b"vary" | b"Vary") => header::VARY,
        (6, b"server" | b"Server") => header::SERVER,
        (7, b"expires" | b"Expires") => header::EXPIRES,
        (8, b"location" | b"Location") => header::LOCATION,
        (10, b"connection" | b"Connection") => header::CONNECTION,
        (10, b"set-cookie" | b"Set-Cookie") => header::SET_COOKIE,
        (12, b"content-type" | b"Content-Type") => header::CONTENT_TYPE,
        (13, b"cache-control" | b"Cache-Control") => header::CACHE_CONTROL,
        (13, b"last-modified" | b"Last-Modified") => header::LAST_MODIFIED,
        (13, b"accept-ranges" | b"Accept-Ranges") => header::ACCEPT_RANGES,
        (14, b"content-length" | b"Content-Length") => header::CONTENT_LENGTH,
        (16, b"content-encoding" | b"Content-Encoding") => header::CONTENT_ENCODING,
        (17, b"transfer-encoding" | b"Transfer-Encoding") => header::TRANSFER_ENCODING,
        _ => return None,
    };
    Some(usual)
}

/// Fields that nearly every answer has room in.
const USUAL_FIELDS: usize = 100;

/// What `limits.upstream_head_fields` may be at most.
const MOST_FIELDS: usize = 1000;

/// Fields that an answer gets on its way to the visitor: the request id, and a cookie.
const ADDED_LATER: usize = 2;

/// Fields whose memory is handed on from a request to its answer, and by hyper from there to the connection's next
/// request: a client that sends very many does not make its idle connection large.
const MOST_REUSED: usize = 48;

/// Where a field lies in the head. Kept while the bytes move from the buffer to the fields.
struct Span {
    name_from: usize,
    name_to: usize,
    value_from: usize,
    value_to: usize,
}

impl Span {
    fn new(base: usize, field: &httparse::Header<'_>) -> Self {
        let name_from = field.name.as_ptr() as usize - base;
        let name_to = name_from + field.name.len();
        // An empty value need not point into the head.
        let value_from = if field.value.is_empty() { name_to } else { field.value.as_ptr() as usize - base };
        Self { name_from, name_to, value_from, value_to: value_from + field.value.len() }
    }
}

/// What the fields say about the end of the body and of the connection.
#[derive(Default)]
struct Facts {
    close: bool,
    /// `Transfer-Encoding` fields.
    codings: usize,
    other_coding: bool,
    /// Whether there is a `Content-Length`.
    lengths: bool,
    length: Option<u64>,
    bad_length: bool,
}

impl Facts {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        // The lengths of the three names differ, and most names have another.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut tokens = value.split(|byte| *byte == b',');
                self.close |= tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value);
                self.bad_length |= length.is_none() || (self.lengths && self.length != length);
                self.lengths = true;
                self.length = length;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings += 1;
                self.other_coding |= !value.eq_ignore_ascii_case(b"chunked");
            }
            _ => {}
        }
    }

    fn follows(&self, status: StatusCode, version: Version, bodiless: bool) -> Result<Follows, Reason> {
        let never = matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
        );
        if bodiless || never {
            return Ok(Follows::Length(0));
        }
        match (self.codings, self.length) {
            (1, _) if !self.other_coding && version == Version::HTTP_11 => Ok(Follows::Chunked),
            (0, Some(length)) if !self.bad_length => Ok(Follows::Length(length)),
            (0, None) if !self.lengths => Ok(Follows::UntilClose),
            _ => Err(Reason::UpstreamProtocol),
        }
    }
}

/// Digits only, and a number that a file can have.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit).filter(|sum| *sum <= MAX_LENGTH)
    })
}

/// Bytes that a body may announce.
const MAX_LENGTH: u64 = u64::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, bodiless: bool) -> Result<Head, Reason> {
        let mut input = BytesMut::from(head);
        match parse(&mut input, bodiless, HeadLimits::USUAL, &mut HeaderMap::new())? {
            Parsed::Answer(head) => Ok(head),
            other => panic!("{other:?}"),
        }
    }

    fn with(fields: &str) -> Result<Head, Reason> {
        answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), false)
    }

    #[test]
    fn one_way_to_end_is_accepted() {
        for (fields, follows, keeps) in [
            ("content-length: 5\r\n", Follows::Length(5), true),
            ("Content-Length: 5\r\ncontent-length: 5\r\n", Follows::Length(5), true),
            ("content-length: 5\r\nconnection: keep-alive, Close\r\n", Follows::Length(5), false),
            ("content-length: 9223372036854775807\r\n", Follows::Length(MAX_LENGTH), true),
            ("transfer-encoding: Chunked\r\n", Follows::Chunked, true),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", Follows::Chunked, false),
            ("", Follows::UntilClose, false),
        ] {
            let head = with(fields).unwrap();
            assert_eq!((head.follows, head.keeps), (follows, keeps), "{fields}");
        }
    }

    #[test]
    fn unclear_ends_are_refused() {
        for fields in [
            "content-length:\r\n",
            "content-length: +5\r\n",
            "content-length: 5, 5\r\n",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 0x5\r\n",
            "content-length: 9223372036854775808\r\n",
            "content-length: 99999999999999999999999\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: \x0bchunked\r\n",
            "transfer-encoding:\r\n",
        ] {
            assert_eq!(with(fields).unwrap_err(), Reason::UpstreamProtocol, "{fields:?}");
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(answer(old, false).unwrap_err(), Reason::UpstreamProtocol);
    }

    #[test]
    fn nothing_follows_where_nothing_may() {
        let head =
            |status| format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\ntransfer-encoding: x\r\n\r\n");
        for (status, bodiless) in [(200, true), (204, false), (304, false), (101, false)] {
            assert_eq!(answer(&head(status), bodiless).unwrap().follows, Follows::Length(0), "{status}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\na: b\r\n c: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nab\r\n\r\n",
            "HTTP/1.1 99 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            assert_eq!(answer(head, false).unwrap_err(), Reason::UpstreamProtocol, "{head:?}");
        }
    }

    #[test]
    fn a_cookie_that_no_browser_takes_costs_no_page() {
        let head = with("content-length: 0\r\nset-cookie: a=b\x01c\r\nset-cookie: d=e\r\n").unwrap();
        let cookies: Vec<_> = head.response.headers().get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["kelisim_unreadable=", "d=e"]);
        assert_eq!(with("cache-control: no-store\x01\r\n").unwrap_err(), Reason::UpstreamProtocol);
        let begun = "HTTP/1.1 200 OK\r\nset-cookie: a=\x01";
        let parsed = parse(&mut BytesMut::from(begun), false, HeadLimits::USUAL, &mut HeaderMap::new());
        assert!(matches!(parsed, Ok(Parsed::Partial)), "{parsed:?}");
        let endless = format!("{begun}{}", "x".repeat(HeadLimits::USUAL.bytes));
        let parsed = parse(&mut BytesMut::from(&*endless), false, HeadLimits::USUAL, &mut HeaderMap::new());
        assert_eq!(parsed.unwrap_err(), Reason::UpstreamHeadTooLarge);
        // What else is wrong is told as soon as without it.
        let wrong = "HTTP/1.1 200 OK\r\na b\r\nset-cookie: a=\x01";
        let parsed = parse(&mut BytesMut::from(wrong), false, HeadLimits::USUAL, &mut HeaderMap::new());
        assert_eq!(parsed.unwrap_err(), Reason::UpstreamProtocol);
    }

    #[test]
    fn a_usual_name_is_what_it_would_be_if_it_were_read() {
        let names = "date etag vary server expires location connection set-cookie content-type cache-control \
                     last-modified accept-ranges content-length content-encoding transfer-encoding";
        for name in names.split(' ') {
            assert_eq!(usual(name.as_bytes()).unwrap(), name);
            let mut title = name.as_bytes().to_vec();
            title[0].make_ascii_uppercase();
            if let Some(dash) = name.find('-') {
                title[dash + 1].make_ascii_uppercase();
            }
            assert_eq!(usual(&title).unwrap(), name);
            title[1] = b'X';
            assert_eq!(usual(&title), None);
        }
    }

    #[test]
    fn the_memory_of_a_request_serves_its_answer_and_nothing_of_it_is_left() {
        for (sent, reused) in [(20, true), (100, false)] {
            let mut spare = HeaderMap::with_capacity(sent);
            spare.insert("cookie", HeaderValue::from_static("secret=1"));
            let capacity = spare.capacity();
            let mut input = BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            let Ok(Parsed::Answer(head)) = parse(&mut input, false, HeadLimits::USUAL, &mut spare) else {
                panic!("no answer")
            };
            let fields = head.response.headers();
            assert_eq!(fields.keys().collect::<Vec<_>>(), [header::CONTENT_LENGTH]);
            assert_eq!(fields.capacity() == capacity, reused, "{sent}");
        }
    }

    #[test]
    fn what_is_not_yet_an_answer_leaves_the_request_as_it_is() {
        for head in [
            "HTTP/1.1 200 OK\r\na: b\r\n",
            "HTTP/1.1 103 Early\r\na: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na b\r\n\r\n",
        ] {
            let mut spare = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("a"))]);
            let parsed = parse(&mut BytesMut::from(head), false, HeadLimits::USUAL, &mut spare);
            assert!(!matches!(parsed, Ok(Parsed::Answer(_))), "{head}");
            assert_eq!(spare[header::HOST], "a", "{head}");
        }
    }

    #[test]
    fn the_words_beside_a_status_are_those_of_the_site() {
        use hyper::ext::ReasonPhrase;
        for (line, kept) in [
            ("299 Of The House", Some("Of The House")),
            ("299 ", Some("")),
            ("299", Some("")),
            ("200 Of The House", Some("Of The House")),
            ("302 Moved Temporarily", Some("Moved Temporarily")),
            // What would be written anyway, or where the site says nothing.
            ("200 OK", None),
            ("200 ", None),
            ("200", None),
        ] {
            let head = answer(&format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"), false).unwrap();
            let phrase = head.response.extensions().get::<ReasonPhrase>();
            assert_eq!(phrase.map(ReasonPhrase::as_bytes), kept.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn a_head_may_have_as_many_fields_and_bytes_as_the_limits_say() {
        let read = |fields: usize, bytes: usize, head: &str| {
            let limits = HeadLimits { fields, bytes };
            parse(&mut BytesMut::from(head), false, limits, &mut HeaderMap::new()).map(|_| ())
        };
        for limit in [16, 99, 100, 101, 200, MOST_FIELDS] {
            let head = |n: usize| {
                format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(n - 1))
            };
            assert_eq!(read(limit, 1 << 16, &head(limit)), Ok(()), "{limit}");
            assert_eq!(read(limit, 1 << 16, &head(limit + 1)), Err(Reason::UpstreamHeadTooLarge), "{limit}");
            let bytes = head(limit).len();
            assert_eq!(read(limit, bytes, &head(limit)), Ok(()), "{limit}");
            assert_eq!(read(limit, bytes - 1, &head(limit)), Err(Reason::UpstreamHeadTooLarge), "{limit}");
        }
    }

    #[test]
    fn fields_keep_their_order_and_share_the_head() {
        let head = with("B: 1\r\nA: 2\r\nb:  3 \r\nEmpty:\r\ncontent-length: 0\r\n").unwrap();
        let fields: Vec<_> =
            head.response.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let wanted: [(&str, &[u8]); 5] =
            [("b", b"1"), ("b", b"3"), ("a", b"2"), ("empty", b""), ("content-length", b"0")];
        assert_eq!(fields, wanted);
    }
}
