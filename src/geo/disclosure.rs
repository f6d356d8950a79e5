//! What the site may be told of a place: the country and the kind of network, for a purpose that is written down.
//!
//! A [`Disclosure`] is the one other key to a [`super::place::Place`] besides the security purpose. Only a configuration
//! that names what the site needs it for makes one, and it opens no more than that configuration lists. It makes no
//! look-up: what is told was looked up for security. Never opens a number, an organisation, a city or coordinates.
//! Bound: the configuration.
//!
//! ```compile_fail
//! let told = kelisim::geo::disclosure::Disclosure { country: true, network: true, cloudflare: false, purpose: String::new() };
//! ```
//!
//! ```compile_fail
//! fn number(place: &kelisim::geo::place::Place, told: &kelisim::geo::disclosure::Disclosure) -> Option<u32> {
//!     place.asn(told)
//! }
//! ```

use std::fmt;

use crate::config::Geoip;

/// Proof that the configuration names a purpose for what the site is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    country: bool,
    network: bool,
    cloudflare: bool,
    purpose: String,
}

impl Disclosure {
    /// What the configuration lets the site be told; `None`: nothing.
    #[must_use]
    pub fn of(config: &Geoip) -> Option<Self> {
        let headers = config.headers.as_ref()?;
        let has_purpose = !headers.purpose.trim().is_empty();
        (has_purpose && (headers.country || headers.network)).then(|| Self {
            country: headers.country,
            network: headers.network,
            cloudflare: headers.country && headers.cloudflare,
            purpose: headers.purpose.clone(),
        })
    }

    /// Whether the country is told.
    #[must_use]
    pub const fn country(&self) -> bool {
        self.country
    }

    /// Whether the kind of network is told.
    #[must_use]
    pub const fn network(&self) -> bool {
        self.network
    }

    /// Whether the country is told in `CF-IPCountry`, too.
    #[must_use]
    pub const fn cloudflare(&self) -> bool {
        self.cloudflare
    }

    /// What the site needs it for, in the operator's words.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }
}

/// Writes one line about what the site is told from now on: nobody shall learn it from the configuration alone.
pub fn log(disclosure: Option<&Disclosure>) {
    match disclosure {
        Some(told) => {
            tracing::info!(%told, purpose = told.purpose(), "the site is told where visitors are");
        }
        None => tracing::info!("the site is told nothing of where visitors are"),
    }
}

/// What is told, as the names of the configuration.
impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.country, self.network) {
            (true, true) => "country, network",
            (true, false) => "country",
            _ => "network",
        })?;
        if self.cloudflare { f.write_str(", CF-IPCountry") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{CountryDatabase, GeoHeaders};

    fn of(headers: Option<GeoHeaders>) -> Option<String> {
        let check_every = Duration::from_secs(60);
        let config = Geoip { country: CountryDatabase::Shipped, asn: None, check_every, headers };
        Disclosure::of(&config).map(|told| told.to_string())
    }

    #[test]
    fn there_is_none_without_a_purpose_and_something_to_tell() {
        let all = GeoHeaders { purpose: "a test".into(), country: true, network: true, cloudflare: true };
        assert_eq!(of(None), None);
        assert_eq!(of(Some(GeoHeaders { purpose: " ".into(), ..all.clone() })), None);
        assert_eq!(of(Some(GeoHeaders { country: false, network: false, ..all.clone() })), None);
        assert_eq!(of(Some(all.clone())).as_deref(), Some("country, network, CF-IPCountry"));
        assert_eq!(of(Some(GeoHeaders { country: false, ..all })).as_deref(), Some("network"));
    }
}
