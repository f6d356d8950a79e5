//! The headers that tell the site where a visitor is, where the configuration asks for it.
//!
//! [`crate::ingress`] removes what the client sent in their names, on every request and whatever is configured. What is not
//! known is absent. Bound: three short values.

use http::{HeaderName, HeaderValue};

use super::disclosure::Disclosure;
use super::place::Place;
use crate::ingress::outgoing::Fields;

/// Adds what the disclosure opens of a place.
pub fn push(fields: &mut Fields, disclosure: &Disclosure, place: &Place) {
    let country = place.disclosed_country(disclosure).and_then(|code| HeaderValue::from_str(code).ok());
    if let Some(country) = &country {
        fields.push(&COUNTRY, country);
    }
    if let Some(network) = place.disclosed_network(disclosure) {
        fields.push(&NETWORK, &HeaderValue::from_static(network.label()));
    }
    if disclosure.cloudflare() {
        fields.push(&CF_COUNTRY, &country.unwrap_or(NO_DATA));
    }
}

/// ISO 3166-1, two capitals.
pub const COUNTRY: HeaderName = HeaderName::from_static("kelisim-country");
/// The kind of network, by its name.
pub const NETWORK: HeaderName = HeaderName::from_static("kelisim-network");
/// Cloudflare's name for the country. That product writes `T1` for Tor, which no database here tells.
pub const CF_COUNTRY: HeaderName = HeaderName::from_static("cf-ipcountry");

const NO_DATA: HeaderValue = HeaderValue::from_static("XX");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CountryDatabase, GeoHeaders, Geoip};
    use crate::geo::place::NetworkCategory;

    fn told(country: bool, network: bool, cloudflare: bool, place: &Place) -> String {
        let headers = GeoHeaders { purpose: "a test".into(), country, network, cloudflare };
        let config = Geoip {
            country: CountryDatabase::Shipped,
            asn: None,
            check_every: std::time::Duration::from_secs(60),
            headers: Some(headers),
        };
        let mut fields = Fields::NONE;
        push(&mut fields, &Disclosure::of(&config).unwrap(), place);
        String::from_utf8_lossy(fields.lines()).replace("\r\n", "; ")
    }

    #[test]
    fn each_is_told_alone() {
        let place = Place::of(Some("DE"), Some(1), NetworkCategory::Isp);
        assert_eq!(told(true, false, false, &place), "kelisim-country: DE; ");
        assert_eq!(told(false, true, false, &place), "kelisim-network: isp; ");
        assert_eq!(told(false, true, true, &place), "kelisim-network: isp; ", "not by another name either");
        let all = "kelisim-country: DE; kelisim-network: isp; cf-ipcountry: DE; ";
        assert_eq!(told(true, true, true, &place), all);
        let hosting = Place::of(Some("DE"), Some(1), NetworkCategory::Hosting);
        assert_eq!(told(false, true, false, &hosting), "kelisim-network: hosting; ");
    }

    #[test]
    fn what_is_not_known_is_absent_or_has_the_other_products_word() {
        let unknown = Place::of(None, None, NetworkCategory::Unknown);
        assert_eq!(told(true, false, true, &unknown), "cf-ipcountry: XX; ");
        assert_eq!(
            told(true, true, false, &unknown),
            "kelisim-network: unknown; ",
            "the database knows no number"
        );
        for nowhere in [Place::unread(), Place::not_asked()] {
            assert_eq!(told(true, true, false, &nowhere), "");
            assert_eq!(told(true, true, true, &nowhere), "cf-ipcountry: XX; ");
        }
    }
}
