//! How many more hops an `OPTIONS` may take (RFC 9110 §7.6.2).
//!
//! At 0 the request ends here, whoever asked for what; else the number goes on, less one. What is no number is left to the
//! site. `TRACE`, the other method that has it, is not served at all. Bound: one field.

use http::{HeaderMap, HeaderValue, header};

/// Takes one hop. Returns whether there was one.
pub fn spend(fields: &mut HeaderMap) -> bool {
    let told = fields.get_all(header::MAX_FORWARDS).iter().filter_map(number).min();
    let Some(hops) = told else { return true };
    match hops.checked_sub(1) {
        Some(left) => {
            fields.insert(header::MAX_FORWARDS, HeaderValue::from(left));
            true
        }
        None => false,
    }
}

/// Digits only; more than anybody has hops if they do not fit.
fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok().or(Some(u64::MAX))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hop_takes_one_and_none_is_left_at_zero() {
        for (told, goes_on, left) in [
            (&["3"][..], true, &["2"][..]),
            (&["1"], true, &["0"]),
            (&["0"], false, &["0"]),
            (&["5", "2"], true, &["1"]),
            (&["5", "0"], false, &["5", "0"]),
            (&["99999999999999999999999"], true, &["18446744073709551614"]),
            (&["-1"], true, &["-1"]),
            (&["x"], true, &["x"]),
            (&[""], true, &[""]),
            (&[], true, &[]),
        ] {
            let mut fields = HeaderMap::new();
            for value in told {
                fields.append(header::MAX_FORWARDS, value.parse().unwrap());
            }
            assert_eq!(spend(&mut fields), goes_on, "{told:?}");
            assert_eq!(fields.get_all(header::MAX_FORWARDS).iter().collect::<Vec<_>>(), left, "{told:?}");
        }
    }
}
