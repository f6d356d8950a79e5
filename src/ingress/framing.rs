//! One framing per request (RFC 9112 §6): the rule for the two fields that tell where a body ends.
//!
//! The byte-level scan asks it about every HTTP/1.1 head before hyper sees the head; [`check`] asks it again about what
//! hyper made of the head, and is all there is on HTTP/2, where DATA frames are the framing. Never looks at a body.
//! Bound: a few words.

use http::{HeaderMap, Version, header};

use crate::admin::labels::Tolerated;
use crate::error::Reason;

/// Where a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; 0 without a framing field.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// What the framing fields seen so far say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields {
    length: Option<u64>,
    repeated_length: bool,
    chunked: bool,
}

impl Fields {
    /// Takes the value of a `Content-Length` field.
    ///
    /// # Errors
    /// [`Reason::AmbiguousFraming`] for anything but digits (nothing, a sign, a list), for a number beyond 63 bits, and
    /// for a second field that says something else.
    pub fn length(&mut self, value: &[u8]) -> Result<(), Reason> {
        let value = value.trim_ascii();
        let mut number = 0_i64;
        for &byte in value {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Err(Reason::AmbiguousFraming);
            }
            number = number
                .checked_mul(10)
                .and_then(|n| n.checked_add(i64::from(digit)))
                .ok_or(Reason::AmbiguousFraming)?;
        }
        let number = number.unsigned_abs();
        match self.length {
            _ if value.is_empty() => return Err(Reason::AmbiguousFraming),
            Some(other) if other != number => return Err(Reason::AmbiguousFraming),
            Some(_) => self.repeated_length = true,
            None => self.length = Some(number),
        }
        Ok(())
    }

    /// Takes the value of a `Transfer-Encoding` field.
    ///
    /// # Errors
    /// [`Reason::AmbiguousFraming`] for a second field, a list, or what is no token; [`Reason::TransferCoding`] for one
    /// coding that is not `chunked`.
    pub fn coding(&mut self, value: &[u8]) -> Result<(), Reason> {
        let value = value.trim_ascii();
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if self.chunked || value.is_empty() || !value.iter().all(token) {
            Err(Reason::AmbiguousFraming)
        } else if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            Ok(())
        } else {
            Err(Reason::TransferCoding)
        }
    }

    /// The one framing of a head that is complete, and what was tolerated to get it if `strict` is off.
    ///
    /// # Errors
    /// [`Reason::AmbiguousFraming`] for a transfer coding on anything but HTTP/1.1; if `strict`, for both fields and for
    /// two equal `Content-Length` fields.
    pub fn decide(self, http_11: bool, strict: bool) -> Result<(Framing, Option<Tolerated>), Reason> {
        let tolerated = if self.chunked && self.length.is_some() {
            Some(Tolerated::TwoFramings)
        } else if self.repeated_length {
            Some(Tolerated::RepeatedLength)
        } else {
            None
        };
        if (self.chunked && !http_11) || (strict && tolerated.is_some()) {
            return Err(Reason::AmbiguousFraming);
        }
        let framing =
            if self.chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or_default()) };
        Ok((framing, tolerated))
    }
}

/// Checks the framing of a head that hyper has read. By then nothing is tolerated: hyper leaves one field of two.
///
/// # Errors
/// Those of [`Fields`].
pub fn check(headers: &HeaderMap, version: Version) -> Result<(), Reason> {
    let mut fields = Fields::default();
    for value in headers.get_all(header::CONTENT_LENGTH) {
        fields.length(value.as_bytes())?;
    }
    for value in headers.get_all(header::TRANSFER_ENCODING) {
        fields.coding(value.as_bytes())?;
    }
    fields.decide(version == Version::HTTP_11, true).map(|_| ())
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
            &[("content-length", "9223372036854775808")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", ",chunked")],
            &[("transfer-encoding", "\"chunked\"")],
            &[("transfer-encoding", "")],
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

    #[test]
    fn without_strictness_two_that_agree_become_one() {
        let mut both = Fields::default();
        both.length(b"5").unwrap();
        both.coding(b"chunked").unwrap();
        assert_eq!(both.decide(true, false), Ok((Framing::Chunked, Some(Tolerated::TwoFramings))));
        let mut twice = Fields::default();
        twice.length(b"5").unwrap();
        twice.length(b"05").unwrap();
        assert_eq!(twice.decide(true, false), Ok((Framing::Length(5), Some(Tolerated::RepeatedLength))));
        assert_eq!(twice.length(b"6"), Err(Reason::AmbiguousFraming));
    }
}
