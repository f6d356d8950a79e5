//! Our own consent record: the cookie `kelisim_consent`.
//!
//! `v1.<policy version>.<unix seconds>.<mask>.<receipt uuid>.<key id>.<mac>`, signed for one site. A value that is not
//! byte for byte what we wrote is no record. Never says what follows from a record: that is [`super::precedence`].
//! Bound: [`VALUE_BYTES`].

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use uuid::Uuid;

use super::keys::{ConsentKeys, MAC_BYTES};
use super::policy::VersionId;
use super::signal::{Signal, Source, Verdict};
use crate::clock::Timestamp;
use crate::cookies::Category;

/// Name of the signed cookie.
pub const COOKIE: &str = "kelisim_consent";
/// Name of the twin that scripts may read: the mask only. We never read it back.
pub const TWIN_COOKIE: &str = "kelisim_choice";

/// What was chosen: one bit each for what was said yes to, and for purposes of which nothing was said, four bits higher.
/// What has neither bit was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Mask(u8);

impl Mask {
    /// Nothing.
    pub const EMPTY: Self = Self(0);
    /// The policy was accepted: opens the gate, is no consent.
    pub const POLICY: Self = Self(1);
    /// Consent to functional cookies.
    pub const FUNCTIONAL: Self = Self(1 << 1);
    /// Consent to analytics.
    pub const ANALYTICS: Self = Self(1 << 2);
    /// Consent to advertising.
    pub const ADVERTISING: Self = Self(1 << 3);

    /// Nothing was said of any purpose.
    pub const UNDECIDED: Self = Self::open(Self(0b1110));

    /// Nothing was said of these purposes.
    #[must_use]
    pub const fn open(purposes: Self) -> Self {
        Self(purposes.consents().0 << 4)
    }

    /// The bit of the purpose that these cookies wait for.
    #[must_use]
    pub const fn of(category: Category) -> Option<Self> {
        match category {
            Category::Functional => Some(Self::FUNCTIONAL),
            Category::Analytics => Some(Self::ANALYTICS),
            Category::Advertising => Some(Self::ADVERTISING),
            Category::Necessary | Category::Security | Category::Unknown => None,
        }
    }

    /// Whether nothing was said of this purpose: neither yes nor no.
    #[must_use]
    pub const fn is_open(self, purpose: Self) -> bool {
        Self(self.0 >> 4).contains(purpose)
    }

    /// Whether this purpose was refused.
    #[must_use]
    pub const fn refuses(self, purpose: Self) -> bool {
        !self.contains(purpose) && !self.is_open(purpose)
    }

    /// Whether all bits of `other` are in it; false for an empty `other`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        other.0 != 0 && self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// All purposes and the policy, but not what is in it.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(!self.0 & 15)
    }

    /// `self`, plus `other` if `given`.
    #[must_use]
    pub const fn with_if(self, other: Self, given: bool) -> Self {
        if given { self.or(other) } else { self }
    }

    /// The consents alone, without the acceptance of the policy.
    #[must_use]
    pub const fn consents(self) -> Self {
        Self(self.0 & 0b1110)
    }

    /// What was said yes to: the consents and the acceptance of the policy.
    #[must_use]
    pub const fn said(self) -> Self {
        Self(self.0 & 0b1111)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// One lower-case hexadecimal digit, or before it another for the purposes of which nothing was said; nothing else is
    /// a mask.
    fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        match *text {
            [said] => digit(said).map(Self),
            [open, said] => {
                let (open, said) = (digit(open)?, digit(said)?);
                // Only purposes can be open, and not those that were said yes to.
                (open != 0 && open & (said | Self::POLICY.0) == 0).then_some(Self(open << 4 | said))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What the visitor chose on this site, and for which policy version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentRecord {
    /// The policy version in force at that moment.
    pub version: VersionId,
    /// When; whole seconds.
    pub at: Timestamp,
    /// What.
    pub mask: Mask,
    /// Number of the receipt.
    pub receipt: Uuid,
}

impl ConsentRecord {
    /// The cookie's value for `site`, signed with the current key.
    #[must_use]
    pub fn sign(&self, keys: &ConsentKeys, site: &str) -> String {
        let mut value = format!(
            "v1.{}.{}.{}.{}.{}.",
            self.version,
            self.at.as_secs(),
            self.mask,
            self.receipt.hyphenated(),
            keys.current_id(),
        );
        let mac = keys.sign_record(site, value.as_bytes());
        URL_SAFE_NO_PAD.encode_string(mac, &mut value);
        value
    }

    /// The record in a cookie's value, if we signed exactly these bytes for `site`.
    #[must_use]
    pub fn verify(keys: &ConsentKeys, site: &str, value: &[u8]) -> Option<Self> {
        if value.len() > VALUE_BYTES {
            return None;
        }
        let mut fields = value.split(|&b| b == b'.');
        let mut next = || fields.next();
        let (tag, version, at, mask, receipt, key_id, mac) =
            (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
        if tag != b"v1" || next().is_some() {
            return None;
        }
        let record = Self {
            version: VersionId::parse(version)?,
            at: parse_seconds(at)?,
            mask: Mask::parse(mask)?,
            receipt: if receipt.len() == 36 { Uuid::try_parse_ascii(receipt).ok()? } else { return None },
        };
        let signed = &value[..value.len() - mac.len()];
        keys.verify_record(key_id, site, signed, &decode_mac(mac)?).then_some(record)
    }

    /// What the record says about advertising, if it speaks of it: then a bit that is off is a refusal, not silence.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        if self.mask.is_open(Mask::ADVERTISING) {
            return None;
        }
        Some(Signal {
            decision: if self.mask.contains(Mask::ADVERTISING) { Verdict::Granted } else { Verdict::Denied },
            explicit: true,
            at: Some(self.at),
            policy_version: Some(self.version),
            source: Source::Own,
            by_tcf: false,
        })
    }

    /// The `Set-Cookie` fields that store the record: the signed one and its readable twin.
    ///
    /// # Errors
    /// Never with values made by [`ConsentRecord::sign`]; the type of `HeaderValue` says so all the same.
    pub fn set_cookies(
        &self,
        keys: &ConsentKeys,
        site: &str,
        secure: bool,
        max_age: Duration,
    ) -> Result<[HeaderValue; 2], InvalidHeaderValue> {
        let seconds = i64::try_from(max_age.min(BROWSER_MAX_AGE).as_secs()).unwrap_or(i64::MAX);
        let field = |name: &'static str, value: String, http_only: bool| {
            let mut cookie = Cookie::build((name, value))
                .path("/")
                .same_site(SameSite::Lax)
                .max_age(cookie::time::Duration::seconds(seconds))
                .build();
            // `Some(false)` would print nothing as well; `None` says what is meant.
            cookie.set_secure(secure.then_some(true));
            cookie.set_http_only(http_only.then_some(true));
            HeaderValue::try_from(cookie.to_string())
        };
        Ok([
            field(COOKIE, self.sign(keys, site), true)?,
            field(TWIN_COOKIE, self.mask.said().to_string(), false)?,
        ])
    }

    /// A record for tests.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self {
            version: VersionId::NONE,
            at: Timestamp::from_secs(1_795_341_600),
            mask: Mask::ADVERTISING,
            receipt: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        }
    }
}

/// Decimal seconds as we print them: no sign, no leading zero, at most 11 digits (the year 5138).
fn parse_seconds(text: &[u8]) -> Option<Timestamp> {
    let canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.len() <= 11;
    if !canonical || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(Timestamp::from_secs(text.iter().fold(0, |sum, &digit| sum * 10 + i64::from(digit - b'0'))))
}

/// The 22 characters of a MAC. Bits that do not belong to it must be zero, so each MAC has one spelling.
fn decode_mac(text: &[u8]) -> Option<[u8; MAC_BYTES]> {
    if text.len() != 22 {
        return None;
    }
    let mut buffer = [0; 24];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok()?;
    buffer.get(..length)?.try_into().ok()
}

/// Longest value that can be ours, in bytes.
pub const VALUE_BYTES: usize = 160;
/// Browsers keep a cookie for 400 days at most.
const BROWSER_MAX_AGE: Duration = Duration::from_secs(400 * 86_400);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> ConsentRecord {
        ConsentRecord { version: VersionId::parse(b"2026-11").unwrap(), ..ConsentRecord::for_test() }
    }

    #[test]
    fn round_trip() {
        let keys = ConsentKeys::for_test(1);
        let value = record().sign(&keys, "kz.example");
        assert!(
            value.starts_with("v1.2026-11.1795341600.8.01900000-0000-7000-8000-000000000001.t1."),
            "{value}"
        );
        assert_eq!(value.rsplit('.').next().unwrap().len(), 22);
        assert_eq!(ConsentRecord::verify(&keys, "kz.example", value.as_bytes()), Some(record()));
    }

    #[test]
    fn the_longest_value_fits() {
        let long = ConsentRecord {
            version: VersionId::parse(&[b'x'; 32]).unwrap(),
            at: Timestamp::from_secs(99_999_999_999),
            ..record()
        };
        let keys = ConsentKeys::for_test_named("0123456789abcdef", 1);
        let value = long.sign(&keys, "s");
        assert!(value.len() <= VALUE_BYTES, "{}", value.len());
        assert_eq!(ConsentRecord::verify(&keys, "s", value.as_bytes()), Some(long));
        let mut longer = value.into_bytes();
        longer.resize(VALUE_BYTES + 1, b'x');
        assert_eq!(ConsentRecord::verify(&keys, "s", &longer), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let keys = ConsentKeys::for_test(1);
        let value = record().sign(&keys, "kz.example").into_bytes();
        for index in 0..value.len() {
            for bit in 0..8 {
                let mut forged = value.clone();
                forged[index] ^= 1 << bit;
                assert_eq!(
                    ConsentRecord::verify(&keys, "kz.example", &forged),
                    None,
                    "byte {index} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn another_site_or_key_is_not_ours() {
        let keys = ConsentKeys::for_test(1);
        let value = record().sign(&keys, "kz.example");
        assert_eq!(ConsentRecord::verify(&keys, "other.example", value.as_bytes()), None);
        assert_eq!(ConsentRecord::verify(&ConsentKeys::for_test(2), "kz.example", value.as_bytes()), None);
        // The same id with another secret: a data folder that was lost.
        let lost = ConsentKeys::for_test_named("t1", 9);
        assert_eq!(ConsentRecord::verify(&lost, "kz.example", value.as_bytes()), None);
    }

    #[test]
    fn cookies_have_their_attributes() {
        let keys = ConsentKeys::for_test(1);
        let [own, twin] =
            record().set_cookies(&keys, "kz.example", true, Duration::from_secs(365 * 86_400)).unwrap();
        let own = own.to_str().unwrap();
        assert!(own.starts_with("kelisim_consent=v1."), "{own}");
        for part in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/", "; Max-Age=31536000"] {
            assert!(own.contains(part), "{own} lacks {part}");
        }
        assert!(!own.contains("Domain"));
        let twin = twin.to_str().unwrap();
        assert!(twin.starts_with("kelisim_choice=8;") && !twin.contains("HttpOnly"), "{twin}");

        let [own, twin] = record().set_cookies(&keys, "s", false, Duration::from_secs(u64::MAX)).unwrap();
        assert!(!own.to_str().unwrap().contains("Secure") && !twin.to_str().unwrap().contains("Secure"));
        assert!(own.to_str().unwrap().contains("Max-Age=34560000"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_record(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(ConsentRecord::verify(&ConsentKeys::for_test(1), "s", &value), None);
        }

        #[test]
        fn no_mutation_is_a_record(at in any::<prop::sample::Index>(), cut in 0_usize..3, insert in proptest::collection::vec(any::<u8>(), 0..3)) {
            let keys = ConsentKeys::for_test(1);
            let value = record().sign(&keys, "s").into_bytes();
            let start = at.index(value.len());
            let end = (start + cut).min(value.len());
            let mut forged = value.clone();
            forged.splice(start..end, insert);
            prop_assume!(forged != value);
            prop_assert_eq!(ConsentRecord::verify(&keys, "s", &forged), None);
        }

        #[test]
        fn every_record_survives(secs in 0_i64..99_999_999_999, mask in 0_u8..16, receipt in any::<u128>(), version in "[A-Za-z0-9-]{1,32}") {
            let keys = ConsentKeys::for_test(1);
            let record = ConsentRecord {
                version: VersionId::parse(version.as_bytes()).unwrap(),
                at: Timestamp::from_secs(secs),
                mask: Mask(mask),
                receipt: Uuid::from_u128(receipt),
            };
            prop_assert_eq!(ConsentRecord::verify(&keys, "s", record.sign(&keys, "s").as_bytes()), Some(record));
        }
    }
}
