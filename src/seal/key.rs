//! Which key: class, day and generation, and how that is written.
//!
//! The text of a [`KeyId`] stands in file heads, in the metadata of segments and in the audit log, and is bound into
//! everything the key wraps. Pure. Bound: [`KeyId::MAX_TEXT`] bytes of text.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::record::Class;

/// What a key is for: the records of a seal class, or the workings of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum KeyClass {
    /// [`Class::Clear`].
    Clear = 0,
    /// [`Class::Sec`].
    Sec = 1,
    /// [`Class::Fraud`].
    Fraud = 2,
    /// [`Class::Diag`].
    Diag = 3,
    /// [`Class::Ads`].
    Ads = 4,
    /// No record: signatures over what is not sealed. Losing it costs the check of the signature, not data.
    Ops = 5,
    /// No record: it wraps the key of a day's visit tags, and without it they cannot be computed again.
    Visit = 6,
}

impl KeyClass {
    /// Every class, in the order of their codes.
    pub const ALL: [Self; 7] =
        [Self::Clear, Self::Sec, Self::Fraud, Self::Diag, Self::Ads, Self::Ops, Self::Visit];

    /// The name: of the folder, in a [`KeyId`], and as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match (self.class(), self) {
            (Some(class), _) => class.label(),
            (None, Self::Visit) => "visit",
            (None, _) => "ops",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.label() == label)
    }

    /// The seal class whose records the key seals; `None` for [`Self::Ops`] and [`Self::Visit`].
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        Class::from_code(self as u8)
    }
}

impl From<Class> for KeyClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Clear => Self::Clear,
            Class::Sec => Self::Sec,
            Class::Fraud => Self::Fraud,
            Class::Diag => Self::Diag,
            Class::Ads => Self::Ads,
        }
    }
}

/// A day in UTC, counted from 1970-01-01; written `2026-11-22`. Years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(i32);

impl Day {
    /// The day of a time; times outside the years 1 to 9999 get the nearest day inside.
    #[must_use]
    pub fn of(ts: Timestamp) -> Self {
        Self(ts.day().clamp(FIRST_DAY, LAST_DAY) as i32)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0 as i64
    }

    /// Its first moment.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp::from_secs(self.0 as i64 * 86_400)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 3339 begins with the date.
        let text = self.start().to_string();
        f.write_str(text.get(..DAY_TEXT).unwrap_or(&text))
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let date: jiff::civil::Date = text.parse().map_err(|_| NotAKeyId)?;
        let since = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| NotAKeyId)?.timestamp();
        let day = Self::of(Timestamp::from_secs(since.as_second()));
        // One spelling for each day: names of files are compared as text.
        if day.to_string() == text { Ok(day) } else { Err(NotAKeyId) }
    }
}

/// Names a key; shown as `sec/2026-11-22#0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId {
    /// What it is for.
    pub class: KeyClass,
    /// The day whose records it seals, UTC.
    pub day: Day,
    /// From 0; a number is never given twice, so that a destroyed key does not come back under its name.
    pub generation: u32,
}

impl KeyId {
    /// Longest text of an id, in bytes.
    pub const MAX_TEXT: usize = "clear/2026-11-22#4294967295".len();
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.class.label(), self.day, self.generation)
    }
}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let (class, rest) = text.split_once('/').ok_or(NotAKeyId)?;
        let (day, generation) = rest.split_once('#').ok_or(NotAKeyId)?;
        let id = Self {
            class: KeyClass::from_label(class).ok_or(NotAKeyId)?,
            day: day.parse()?,
            generation: generation.parse().map_err(|_| NotAKeyId)?,
        };
        // `+1` and `01` are numbers, but not how this one is written.
        if id.to_string() == text { Ok(id) } else { Err(NotAKeyId) }
    }
}

/// The text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a key")]
pub struct NotAKeyId;

/// 0001-01-01.
const FIRST_DAY: i64 = -719_162;
/// 9999-12-30: the last day whose every moment the calendar library takes.
const LAST_DAY: i64 = 2_932_895;
const DAY_TEXT: usize = "2026-11-22".len();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_shown_as_the_design_says() {
        let day = Day::of(Timestamp::from_secs(1_795_341_600));
        assert_eq!(KeyId { class: KeyClass::Sec, day, generation: 0 }.to_string(), "sec/2026-11-22#0");
    }

    #[test]
    fn other_spellings_are_no_ids() {
        for text in ["sec/2026-11-22", "sec/2026-11-22#01", "sec/2026-11-22#+1", "sex/2026-11-22#0"] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text}");
        }
        for text in ["sec/2026-1-22#0", "sec/20261122#0", "../2026-11-22#0", "sec/2026-02-30#0", ""] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text}");
        }
    }

    #[test]
    fn every_seal_class_has_its_key_class() {
        for class in Class::ALL {
            assert_eq!(KeyClass::from(class).class(), Some(class));
        }
        assert_eq!((KeyClass::Ops.class(), KeyClass::Ops.label()), (None, "ops"));
        assert_eq!((KeyClass::Visit.class(), KeyClass::Visit.label()), (None, "visit"));
    }

    proptest! {
        #[test]
        fn ids_come_back(class in 0usize..7, micros: i64, generation: u32) {
            let day = Day::of(Timestamp::from_micros(micros));
            let id = KeyId { class: KeyClass::ALL[class], day, generation };
            prop_assert!(id.to_string().len() <= KeyId::MAX_TEXT);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
