//! IAB TCF 2.2 and 2.3: the consent bits of a TC string.
//!
//! `Core[.segment…]`, base64url. Only the core's fixed fields up to bit 213 are read; the rest must be there, in base64url. A
//! grant is a string of this version and scope whose consent bits are all set; legitimate interest is no consent. Never
//! weighs the string's age: that is [`super::precedence`]. Bound: the value's length; nothing is allocated by what a
//! string claims.

use super::banner::reading::Reading;
use super::banner::text::{Pass, first};
use super::bits::Bits;
use super::signal::Verdict;
use crate::clock::Timestamp;

/// A set of TCF purposes, 1 to 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purposes(u32);

impl Purposes {
    /// Storing, basic advertising, its profile, its personalisation, its measurement: 1, 2, 3, 4 and 7.
    pub const ADVERTISING: Self = Self(1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6);

    /// These purposes, and purpose 1, without which nothing may be stored. Other numbers than 1 to 24 do not count.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let bit = |number: u32| if (1..=24).contains(&number) { 1 << (number - 1) } else { 0 };
        Self(numbers.into_iter().fold(1, |all, number| all | bit(number)))
    }
}

/// Those of advertising.
impl Default for Purposes {
    fn default() -> Self {
        Self::ADVERTISING
    }
}

/// What the value of a cookie with a TC string says.
#[must_use]
pub fn read(value: &[u8], wanted: Purposes) -> Reading {
    // There is nothing to encode in such a string, but some writers encode every value.
    let read = |text: &str, pass| {
        let reading = read_string(text.as_bytes(), wanted);
        (pass == Pass::Last || !text.contains('%')).then_some(reading)
    };
    first(value, read).unwrap_or(Reading::UNKNOWN)
}

/// What a TC string says.
#[must_use]
pub fn read_string(text: &[u8], wanted: Purposes) -> Reading {
    parse(text, wanted).unwrap_or(Reading::UNKNOWN)
}

fn parse(text: &[u8], wanted: Purposes) -> Option<Reading> {
    let mut segments = text.split(|byte| *byte == b'.');
    let core = Bits::new(segments.next()?)?;
    if core.len() < SHORTEST || !segments.all(|segment| Bits::new(segment).is_some()) {
        return None;
    }
    let ours = core.number(VERSION.0, VERSION.1)? == 2
        && core.number(POLICY.0, POLICY.1)? >= OLDEST_POLICY
        && core.bit(SERVICE_SPECIFIC)?;
    if !ours {
        return None;
    }
    let decis = i64::try_from(core.number(UPDATED.0, UPDATED.1)?).ok()?;
    let at = Timestamp::from_micros(decis.checked_mul(100_000)?);
    // Purpose 1 was never asked.
    if core.bit(ONE_TREATMENT)? {
        return Some(Reading::of_tcf(Verdict::Denied, at));
    }
    let mut consents = 0;
    for purpose in 0..24 {
        consents |= u32::from(core.bit(CONSENTS + purpose)?) << purpose;
    }
    let verdict = if consents & wanted.0 == wanted.0 { Verdict::Granted } else { Verdict::Denied };
    Some(Reading::of_tcf(verdict, at))
}

/// Offset and length in bits.
const VERSION: (usize, usize) = (0, 6);
const UPDATED: (usize, usize) = (42, 36);
const POLICY: (usize, usize) = (132, 6);
const SERVICE_SPECIFIC: usize = 138;
const CONSENTS: usize = 152;
const ONE_TREATMENT: usize = 200;
/// Where the vendors begin, and what two empty lists of them and no restriction take: a shorter core is cut off.
const SHORTEST: usize = 213 + 17 + 17 + 12;
/// The policy version of TCF 2.2.
const OLDEST_POLICY: u64 = 4;

#[cfg(test)]
#[path = "tcf_tests.rs"]
mod tests;
