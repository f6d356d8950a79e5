//! Google Consent Mode on a hit that passes the gateway: `gcs` and `gcd` in its query.
//!
//! Undocumented, and sent by a tag rather than chosen by a person, so it can only refuse. Never reads a body. Bound: the
//! first [`MAX_PAIRS`] pairs of the query.

/// What a hit refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Advertising storage, user data or personalisation.
    pub advertising: bool,
    /// Analytics storage.
    pub analytics: bool,
}

/// Reads a raw query without `?`.
#[must_use]
pub fn read(query: &str) -> Refused {
    let mut refused = Refused::default();
    for pair in query.split('&').take(MAX_PAIRS) {
        match pair.split_once('=') {
            Some(("gcs", value)) => {
                if let [b'G', b'1', ads, analytics] = value.as_bytes() {
                    refused.advertising |= *ads == b'0';
                    refused.analytics |= *analytics == b'0';
                }
            }
            // The letters for ad_storage, analytics_storage, ad_user_data and ad_personalization, each before a 1 or 5.
            Some(("gcd", value)) => {
                if let [_, _, storage, b'1', analytics, b'1', user, b'1', personal, b'5', ..] =
                    value.as_bytes()
                {
                    let denied = |letter: &u8| matches!(letter, b'p' | b'q' | b'm' | b'u');
                    refused.advertising |= denied(storage) || denied(user) || denied(personal);
                    refused.analytics |= denied(analytics);
                }
            }
            _ => {}
        }
    }
    refused
}

/// Most pairs of a query that are looked at.
pub const MAX_PAIRS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_read() {
        for (query, advertising, analytics) in [
            ("v=2&gcs=G111", false, false),
            ("v=2&gcs=G100&x=1", true, true),
            ("gcs=G101", true, false),
            ("gcs=G110", false, true),
            ("gcs=G1--", false, false),
            ("gcs=G2000", false, false),
            ("gcs=g100", false, false),
            ("gcd=11l1l1l1l5", false, false),
            ("gcd=11t1t1t1t5", false, false),
            ("gcd=11p1p1p1p5", true, true),
            ("gcd=11r1r1q1r5", true, false),
            ("gcd=11r1r1r1m5", true, false),
            ("gcd=13u3u3u3u5l1", false, false),
            ("gcd=11r1u1r1r5l1", false, true),
            ("gcd=11p1", false, false),
            ("xgcs=G100", false, false),
            ("", false, false),
        ] {
            assert_eq!(read(query), Refused { advertising, analytics }, "{query}");
        }
    }

    #[test]
    fn pairs_beyond_the_bound_are_not_looked_at() {
        let query = |before: usize| format!("{}gcs=G100", "a=1&".repeat(before));
        assert!(read(&query(MAX_PAIRS - 1)).advertising);
        assert!(!read(&query(MAX_PAIRS)).advertising);
    }
}
