//! One framing per request (RFC 9112 §6).
//!
//! Refuses what hyper lets through and a site might read differently. What hyper hides (`Content-Length` beside
//! `Transfer-Encoding`) cannot be seen here; it is forwarded re-framed, never as received. Bound: the head.

use http::{HeaderMap, Version, header};

use crate::error::Reason;

/// Checks the two fields that tell where a body ends.
///
/// # Errors
/// [`Reason::AmbiguousFraming`] for more than one field of a kind, both kinds, a list, or a coding on HTTP/1.0;
/// [`Reason::TransferCoding`] for a coding other than `chunked`.
pub fn check(headers: &HeaderMap, version: Version) -> Result<(), Reason> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(length) = length {
        let bytes = length.as_bytes();
        if lengths.next().is_some() || bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
            return Err(Reason::AmbiguousFraming);
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if length.is_some() || codings.next().is_some() || version != Version::HTTP_11 {
        return Err(Reason::AmbiguousFraming);
    }
    let coding = coding.as_bytes().trim_ascii();
    if coding.contains(&b',') {
        Err(Reason::AmbiguousFraming)
    } else if coding.eq_ignore_ascii_case(b"chunked") {
        Ok(())
    } else {
        Err(Reason::TransferCoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &[(&str, &str)]) -> Result<(), Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        check(&headers, Version::HTTP_11)
    }

    #[test]
    fn only_one_framing_passes() {
        assert_eq!(checked(&[]), Ok(()));
        assert_eq!(checked(&[("content-length", "5")]), Ok(()));
        assert_eq!(checked(&[("transfer-encoding", " Chunked\t")]), Ok(()));
        for bad in [
            &[("content-length", "5"), ("content-length", "5")][..],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "5, 5")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", ",chunked")],
        ] {
            assert_eq!(checked(bad), Err(Reason::AmbiguousFraming), "{bad:?}");
        }
        assert_eq!(checked(&[("transfer-encoding", "gzip")]), Err(Reason::TransferCoding));
    }

    #[test]
    fn http_1_0_has_no_transfer_coding() {
        let mut headers = HeaderMap::new();
        headers.insert(header::TRANSFER_ENCODING, "chunked".parse().unwrap());
        assert_eq!(check(&headers, Version::HTTP_10), Err(Reason::AmbiguousFraming));
    }
}
