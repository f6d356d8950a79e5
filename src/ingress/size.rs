//! One size for heads over HTTP/2 and HTTP/1: `limits.head_bytes` and `limits.head_fields`.
//!
//! A head is measured as it would stand on the wire of HTTP/1.1, with the crumbs of `Cookie` (RFC 9113 §8.2.3) joined:
//! the parser of HTTP/2 counts each crumb as a field and 32 bytes more for each, and so would refuse cookies that it
//! takes over HTTP/1. Its own limit stands above this one ([`parser_bytes`]). Heads over HTTP/1 are limited where they
//! are read. The same look refuses values that HTTP/1.1 could not carry. Bound: one look at each field.

use http::request::Parts;
use http::{Version, header};

use crate::config::Limits;
use crate::error::Reason;

/// Checks the size of a head that came over HTTP/2, and that no value begins or ends with a blank: HTTP/1.1 would read it
/// without (RFC 9113 §8.2.1).
///
/// # Errors
/// [`Reason::HeadTooLarge`] and [`Reason::Malformed`].
pub fn check(parts: &Parts, limits: &Limits) -> Result<(), Reason> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let mut bytes = parts.method.as_str().len() + target + REQUEST_LINE;
    let (mut fields, mut cookies, mut blanks) = (0, 0, false);
    for (name, value) in &parts.headers {
        let crumb = name == header::COOKIE;
        if crumb && cookies > 0 {
            bytes += "; ".len() + value.len();
        } else {
            fields += 1;
            bytes += name.as_str().len() + ": \r\n".len() + value.len();
        }
        cookies += usize::from(crumb);
        blanks |= is_blank(value.as_bytes().first()) | is_blank(value.as_bytes().last());
    }
    if blanks {
        return Err(Reason::Malformed);
    }
    if bytes > limits.head_bytes || fields > limits.head_fields { Err(Reason::HeadTooLarge) } else { Ok(()) }
}

fn is_blank(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'\t'))
}

/// Bytes of a header list at which the parser of HTTP/2 itself answers 431: room for a head of the allowed size in
/// crumbs of eleven bytes and more.
#[must_use]
pub fn parser_bytes(limits: &Limits) -> u32 {
    u32::try_from(limits.head_bytes.saturating_mul(PARSER_FACTOR)).unwrap_or(u32::MAX)
}

/// What a request line has beside method and target, and the empty line at the end.
const REQUEST_LINE: usize = "  HTTP/1.1\r\n\r\n".len();
/// A crumb of eleven bytes takes 13 in a joined field, and 49 in a header list of HTTP/2.
const PARSER_FACTOR: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(head_bytes: usize, head_fields: usize) -> Limits {
        let text = format!(
            "listen = [{{ address = \"127.0.0.1:8080\" }}]\n\
             site = [{{ hosts = [\"a.example\"], upstream = [\"http://127.0.0.1:1\"] }}]\n\
             limits = {{ head_bytes = {head_bytes}, head_fields = {head_fields} }}"
        );
        crate::config::parse_pure(text.as_bytes()).unwrap().limits
    }

    fn head(fields: &[(&'static str, &str)], version: Version) -> Parts {
        let mut request = http::Request::get("https://a.example/path?query").version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_head_is_as_large_as_on_http_1() {
        let long = "v".repeat(1000);
        let wire =
            format!("GET /path?query HTTP/1.1\r\nhost: a.example\r\ncookie: a=1; b={long}\r\n\r\n").len();
        let crumb = format!("b={long}");
        let fields = [("host", "a.example"), ("cookie", "a=1"), ("cookie", &*crumb)];
        assert_eq!(check(&head(&fields, Version::HTTP_2), &limits(wire, 16)), Ok(()));
        assert_eq!(check(&head(&fields, Version::HTTP_2), &limits(wire - 1, 16)), Err(Reason::HeadTooLarge));
        assert_eq!(
            check(&head(&fields, Version::HTTP_11), &limits(wire - 1, 16)),
            Ok(()),
            "limited elsewhere"
        );
    }

    #[test]
    fn a_value_has_no_blank_at_its_ends() {
        for (value, sound) in
            [(" a", false), ("a ", false), ("\ta", false), ("a\t", false), ("a \tb", true), ("", true)]
        {
            let wanted = if sound { Ok(()) } else { Err(Reason::Malformed) };
            assert_eq!(
                check(&head(&[("x-test", value)], Version::HTTP_2), &limits(64 << 10, 16)),
                wanted,
                "{value:?}"
            );
        }
    }

    #[test]
    fn crumbs_are_one_field() {
        let crumbs = [("cookie", "crumb=1"); 100];
        assert_eq!(check(&head(&crumbs, Version::HTTP_2), &limits(64 << 10, 16)), Ok(()));
        let others = [("accept", "x"); 17];
        assert_eq!(check(&head(&others, Version::HTTP_2), &limits(64 << 10, 16)), Err(Reason::HeadTooLarge));
    }
}
