//! Expectations (RFC 9110 §10.1.1): `100-continue` is honoured by polling the body late, all others are refused.
//!
//! Never answers. Bound: one field.

use http::{HeaderMap, header};

use crate::error::Reason;

/// Refuses expectations that we cannot meet.
///
/// # Errors
/// [`Reason::Expectation`].
pub fn check(headers: &HeaderMap) -> Result<(), Reason> {
    for value in headers.get_all(header::EXPECT) {
        if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue") {
            return Err(Reason::Expectation);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_100_continue_is_known() {
        let mut headers = HeaderMap::new();
        assert_eq!(check(&headers), Ok(()));
        headers.insert(header::EXPECT, "100-Continue".parse().unwrap());
        assert_eq!(check(&headers), Ok(()));
        headers.append(header::EXPECT, "coffee".parse().unwrap());
        assert_eq!(check(&headers), Err(Reason::Expectation));
    }
}
