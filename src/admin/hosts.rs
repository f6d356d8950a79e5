//! Which names the admin listener answers to.
//!
//! A page that a browser loads from anywhere can have its own name resolved to the gateway's address, and read from here
//! as if it were its own site (DNS rebinding). Such a request carries the page's name in `Host`, which is how it is told:
//! answered are loopback names, the address that was connected to, and what `admin.hosts` lists. A target with a name of
//! its own goes before `Host` (RFC 9112 §3.2.2). No browser sends a request without `Host`; a load balancer's check by
//! HTTP/1.0 may. Never looks at a path. Bound: the list.

use std::net::IpAddr;

use http::{HeaderMap, Uri, Version, header};

use crate::ingress::host;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// No `Host`, several, or one that is no host (RFC 9112 §3.2).
    Malformed,
    /// It asks for a name that is not the listener's.
    OtherName,
}

/// The names of `admin.hosts`.
#[derive(Clone, Debug, Default)]
pub struct AdminHosts(Vec<String>);

impl AdminHosts {
    /// Names in lower case, without port.
    #[must_use]
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether a request with this target and these fields, on a connection to `local`, is meant for the admin listener.
    ///
    /// # Errors
    /// See [`NotOurs`].
    pub fn admit(
        &self,
        version: Version,
        target: &Uri,
        fields: &HeaderMap,
        local: IpAddr,
    ) -> Result<(), NotOurs> {
        let parsed = |text| host::parse(text).ok_or(NotOurs::Malformed);
        let mut all = fields.get_all(header::HOST).iter();
        let field = match (all.next(), all.next()) {
            (None, _) if version == Version::HTTP_10 => None,
            (Some(value), None) => Some(parsed(value.as_bytes())?),
            _ => return Err(NotOurs::Malformed),
        };
        let name = match target.authority() {
            Some(authority) => Some(parsed(authority.as_str().as_bytes())?),
            None => field,
        };
        if name.is_none_or(|name| self.knows(name, local)) { Ok(()) } else { Err(NotOurs::OtherName) }
    }

    fn knows(&self, name: &[u8], local: IpAddr) -> bool {
        let Ok(name) = std::str::from_utf8(name) else { return false };
        match name.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(ip) => ip.is_loopback() || ip == local.to_canonical() || self.lists(&ip.to_string()),
            Err(_) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name.eq_ignore_ascii_case("localhost")
                    || name.to_ascii_lowercase().ends_with(".localhost")
                    || self.lists(name)
            }
        }
    }

    fn lists(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, hosts: &[&str]) -> Result<(), NotOurs> {
        let known = AdminHosts::new(vec!["metrics.kz.example".into(), "203.0.113.9".into()]);
        let mut fields = HeaderMap::new();
        hosts.iter().for_each(|host| {
            fields.append(header::HOST, host.parse().unwrap());
        });
        known.admit(Version::HTTP_11, &target.parse().unwrap(), &fields, IpAddr::from([10, 1, 2, 3]))
    }

    #[test]
    fn loopback_names_the_own_address_and_listed_names_are_answered() {
        for host in [
            "localhost",
            "LOCALHOST:9180",
            "localhost.",
            "kelisim.localhost:9180",
            "127.0.0.1:9180",
            "127.9.9.9",
            "[::1]:9180",
            "10.1.2.3:9180",
            "[::ffff:10.1.2.3]",
            "metrics.kz.example",
            "Metrics.KZ.example:80",
            "203.0.113.9:9180",
        ] {
            assert_eq!(asked("/", &[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn names_that_somebody_else_may_own_are_not() {
        for host in [
            "rebound.example",
            "localhost.rebound.example",
            "notlocalhost",
            "10.1.2.4",
            "0.0.0.0:9180",
            "metrics.kz.example.rebound.example",
        ] {
            assert_eq!(asked("/", &[host]), Err(NotOurs::OtherName), "{host}");
        }
    }

    #[test]
    fn a_request_has_one_host_that_is_one() {
        for hosts in [&[][..], &["localhost", "localhost"], &["localhost:99999"], &["user@localhost"], &[""]]
        {
            assert_eq!(asked("/", hosts), Err(NotOurs::Malformed), "{hosts:?}");
            assert_eq!(asked("http://localhost/", hosts), Err(NotOurs::Malformed), "{hosts:?}");
        }
    }

    #[test]
    fn the_name_in_the_target_goes_before_the_field() {
        assert_eq!(asked("http://localhost:9180/", &["rebound.example"]), Ok(()));
        assert_eq!(asked("http://rebound.example/", &["localhost"]), Err(NotOurs::OtherName));
        assert_eq!(asked("http://user@localhost/", &["localhost"]), Err(NotOurs::Malformed));
    }

    #[test]
    fn a_check_by_http_10_needs_no_host() {
        let local = IpAddr::from([10, 1, 2, 3]);
        let known = AdminHosts::default();
        let asked = |fields| known.admit(Version::HTTP_10, &Uri::from_static("/healthz"), &fields, local);
        assert_eq!(asked(HeaderMap::new()), Ok(()));
        let fields = HeaderMap::from_iter([(header::HOST, "rebound.example".parse().unwrap())]);
        assert_eq!(asked(fields), Err(NotOurs::OtherName));
    }
}
