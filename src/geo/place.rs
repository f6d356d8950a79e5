//! What is known about where an address is.
//!
//! Reading a [`Place`] takes a [`SecurityPurpose`], or for what the site may be told a [`Disclosure`]. It has no
//! coordinates and no city, is not serialisable, and its `Debug` tells nothing. Bound: 12 bytes.
//!
//! ```compile_fail
//! fn serialisable<T: serde::Serialize>() {}
//! serialisable::<kelisim::geo::place::Place>();
//! ```
//!
//! ```compile_fail
//! let purpose = kelisim::risk::SecurityPurpose(());
//! ```

use std::fmt;
use std::str;

use super::disclosure::Disclosure;
use crate::risk::SecurityPurpose;

/// Where an address is, as far as the databases say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    country: Looked<CountryCode>,
    asn: Looked<u32>,
    category: NetworkCategory,
}

impl Place {
    pub(super) const fn new(
        country: Looked<CountryCode>,
        asn: Looked<u32>,
        category: NetworkCategory,
    ) -> Self {
        Self { country, asn, category }
    }

    /// The country's ISO 3166-1 code, e.g. `KZ`. Purpose: security, fraud prevention.
    #[must_use]
    pub fn country(&self, _purpose: &SecurityPurpose) -> Option<&str> {
        match &self.country {
            Looked::Hit(code) => str::from_utf8(&code.0).ok(),
            Looked::Miss | Looked::Error | Looked::Off => None,
        }
    }

    /// The same as two bytes, for comparing.
    #[must_use]
    pub const fn country_code(&self, _purpose: &SecurityPurpose) -> Option<CountryCode> {
        match self.country {
            Looked::Hit(code) => Some(code),
            Looked::Miss | Looked::Error | Looked::Off => None,
        }
    }

    /// The number of the autonomous system. Purpose: security, fraud prevention.
    #[must_use]
    pub const fn asn(&self, _purpose: &SecurityPurpose) -> Option<u32> {
        match self.asn {
            Looked::Hit(asn) => Some(asn),
            Looked::Miss | Looked::Error | Looked::Off => None,
        }
    }

    /// What kind of network it is.
    #[must_use]
    pub const fn category(&self, _purpose: &SecurityPurpose) -> NetworkCategory {
        self.category
    }

    /// The country for the site, as far as the disclosure opens it. Purpose: the one that the disclosure names.
    #[must_use]
    pub fn disclosed_country(&self, disclosure: &Disclosure) -> Option<&str> {
        match &self.country {
            Looked::Hit(code) if disclosure.country() => str::from_utf8(&code.0).ok(),
            Looked::Hit(_) | Looked::Miss | Looked::Error | Looked::Off => None,
        }
    }

    /// The kind of network for the site, as far as the disclosure opens it; `None` where no database was asked or could
    /// answer. Purpose: the one that the disclosure names.
    #[must_use]
    pub const fn disclosed_network(&self, disclosure: &Disclosure) -> Option<NetworkCategory> {
        match self.asn {
            Looked::Hit(_) | Looked::Miss if disclosure.network() => Some(self.category),
            Looked::Hit(_) | Looked::Miss | Looked::Error | Looked::Off => None,
        }
    }

    /// How the country look-up went, for `kelisim_geo_lookups_total`.
    #[must_use]
    pub const fn country_lookup(&self) -> Lookup {
        self.country.outcome()
    }

    /// How the ASN look-up went.
    #[must_use]
    pub const fn asn_lookup(&self) -> Lookup {
        self.asn.outcome()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place(..)")
    }
}

/// Two upper-case letters. `ZZ` and `XX`, which some files write for "no data", are not countries.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    /// The code, if it is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        let is_country = code.iter().all(u8::is_ascii_uppercase) && &code != b"ZZ" && &code != b"XX";
        is_country.then_some(Self(code))
    }

    pub(crate) const fn bytes(self) -> [u8; 2] {
        self.0
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountryCode(..)")
    }
}

/// What kind of network an address belongs to. Tor, relay, VPN and satellite come with their lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkCategory {
    /// It connects people.
    Isp,
    /// It hosts machines.
    Hosting,
    /// Nobody knows: no ASN database, or no entry.
    Unknown,
}

impl NetworkCategory {
    /// The name used in records, and in the header that may tell the site.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Isp => "isp",
            Self::Hosting => "hosting",
            Self::Unknown => "unknown",
        }
    }
}

/// How a look-up went. Tells nothing about where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Found.
    Hit,
    /// Not in the file.
    Miss,
    /// The file's record cannot be read.
    Error,
    /// There is no database: not a look-up, not counted.
    Off,
}

impl Lookup {
    /// The metric label; `None` where nothing was looked up.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Hit => Some("hit"),
            Self::Miss => Some("miss"),
            Self::Error => Some("error"),
            Self::Off => None,
        }
    }
}

/// What a database said, with the reason where it said nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked<T> {
    Hit(T),
    Miss,
    Error,
    Off,
}

impl<T> Looked<T> {
    const fn outcome(&self) -> Lookup {
        match self {
            Self::Hit(_) => Lookup::Hit,
            Self::Miss => Lookup::Miss,
            Self::Error => Lookup::Error,
            Self::Off => Lookup::Off,
        }
    }
}

#[cfg(test)]
impl Place {
    /// A place made up for a test.
    pub(crate) fn of(country: Option<&str>, asn: Option<u32>, category: NetworkCategory) -> Self {
        let country = country.and_then(CountryCode::new).map_or(Looked::Miss, Looked::Hit);
        Self::new(country, asn.map_or(Looked::Miss, Looked::Hit), category)
    }

    /// Nothing, since the databases cannot be read.
    pub(crate) const fn unread() -> Self {
        Self::new(Looked::Error, Looked::Error, NetworkCategory::Unknown)
    }

    /// Nothing, since there are no databases.
    pub(crate) const fn not_asked() -> Self {
        Self::new(Looked::Off, Looked::Off, NetworkCategory::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_nothing() {
        let place = Place::of(Some("KZ"), Some(9198), NetworkCategory::Isp);
        assert_eq!(format!("{place:?}"), "Place(..)");
        assert_eq!(format!("{:?}", CountryCode::new("KZ")), "Some(CountryCode(..))");
    }

    #[test]
    fn only_two_capitals_are_a_country() {
        assert!(CountryCode::new("KZ").is_some());
        for not in ["", "K", "kz", "KAZ", "K1", "ZZ", "XX", "é"] {
            assert!(CountryCode::new(not).is_none(), "{not}");
        }
    }
}
