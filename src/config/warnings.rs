//! What a configuration may say, and should not without a good reason.
//!
//! Told at the start and by `kelisim check`. Never stops anything. Bound: one line per listener and site, and a few.

use super::{ClientAddressFrom, Config, CountryDatabase, Listener, Site};
use crate::cookies::{Action, Category};

impl Config {
    /// One sentence for each doubtful setting, with its key.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let open = |(_, listener): &(usize, &Listener)| {
            listener.proxy_protocol && listener.proxy_protocol_from.is_empty()
        };
        let listeners = self.listeners.iter().enumerate().filter(open).map(|(i, listener)| {
            format!(
                "listen[{i}].proxy_protocol_from: not set, so everybody who reaches {} may claim any client address",
                listener.address
            )
        });
        let unread = |(_, site): &(usize, &Site)| {
            site.client_address_from != ClientAddressFrom::XForwardedFor && site.trusted_proxies.is_empty()
        };
        let sites = self.sites.iter().enumerate().filter(unread).map(|(i, _)| {
            format!("site[{i}].client_address_from: nobody is in trusted_proxies, so the field is never read")
        });
        let unverified =
            |(_, site): &(usize, &Site)| site.upstream_tls.as_ref().is_some_and(|tls| !tls.verify);
        let upstreams = self.sites.iter().enumerate().filter(unverified).map(|(i, _)| {
            format!(
                "site[{i}].upstream_tls.verify = false: whoever can answer at the address of an https:// upstream \
                 can read and change all of its traffic"
            )
        });
        let allows = self.cookies.actions.get(Category::Advertising) == Action::Allow;
        let advertising = allows.then(|| {
            "cookies.actions.advertising = \"allow\": advertising cookies pass without consent, which a policy that asks for \
             consent forbids; to see what would be removed, use cookies.mode = \"dry-run\""
                .to_owned()
        });
        listeners.chain(sites).chain(upstreams).chain(advertising).chain(self.untold()).collect()
    }

    /// What the site is to be told, and no database knows.
    fn untold(&self) -> Vec<String> {
        let Some(headers) = &self.geoip.headers else { return Vec::new() };
        let mut untold = Vec::new();
        if headers.country && self.geoip.country == CountryDatabase::Off {
            untold.push(
                "geoip.headers: the site is to be told the country, but geoip.country is \"off\"".to_owned(),
            );
        }
        if headers.network && self.geoip.asn.is_none() {
            untold.push(
                "geoip.headers: the site is to be told the kind of network, but there is no geoip.asn"
                    .to_owned(),
            );
        }
        untold
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse_pure;

    fn warnings(listener: &str, site: &str) -> Vec<String> {
        let toml = format!(
            "[[listen]]\naddress = \"[::]:80\"\n{listener}\n[[site]]\nhosts = [\"a\"]\nupstream = [\"http://b\"]\n{site}\n"
        );
        parse_pure(toml.as_bytes()).unwrap().warnings()
    }

    #[test]
    fn an_open_door_for_claims_is_told() {
        assert!(warnings("", "").is_empty());
        let told = warnings("proxy_protocol = true", "");
        assert!(told.len() == 1 && told[0].starts_with("listen[0].proxy_protocol_from: "), "{told:?}");
        let from = "proxy_protocol = true\nproxy_protocol_from = [\"10.0.0.0/8\"]";
        assert!(warnings(from, "").is_empty());
    }

    #[test]
    fn advertising_that_passes_without_consent_is_told() {
        let told = warnings("", "[cookies.actions]\nadvertising = \"allow\"");
        assert!(
            told.len() == 1 && told[0].starts_with("cookies.actions.advertising = \"allow\": "),
            "{told:?}"
        );
        assert!(warnings("", "[cookies.actions]\nadvertising = \"strip\"").is_empty());
    }

    #[test]
    fn a_field_that_is_never_read_is_told() {
        let told = warnings("", "client_address_from = \"cf-connecting-ip\"");
        assert!(told.len() == 1 && told[0].starts_with("site[0].client_address_from: "), "{told:?}");
        let trusting = "client_address_from = \"forwarded\"\ntrusted_proxies = [\"10.0.0.0/8\"]";
        assert!(warnings("", trusting).is_empty());
    }

    #[test]
    fn what_no_database_knows_cannot_be_told() {
        let table = "[geoip]\nheaders = [\"country\", \"network\"]\nheaders_purpose = \"a test\"";
        let told = warnings("", table);
        assert!(told.len() == 1 && told[0].contains("no geoip.asn"), "{told:?}");
        assert_eq!(warnings("", &format!("{table}\ncountry = \"off\"")).len(), 2);
        assert!(warnings("", &format!("{table}\nasn = \"asn.mmdb\"")).is_empty());
    }
}
