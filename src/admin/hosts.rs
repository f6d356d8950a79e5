//! Which names the admin listener answers to.
//!
//! A page that a browser loads from anywhere can have its own name resolved to the gateway's address, and read from here
//! as if it were its own site (DNS rebinding). Such a request carries the page's name in `Host`, which is how it is told:
//! answered are loopback names, the address that was connected to, and what `admin.hosts` lists. No browser sends a
//! request without `Host`; a load balancer's check by HTTP/1.0 may. Never looks at a path. Bound: the list.

use std::net::IpAddr;

use http::{HeaderMap, Version, header};

use crate::ingress::host;

/// The names of `admin.hosts`.
#[derive(Clone, Debug, Default)]
pub struct AdminHosts(Vec<String>);

impl AdminHosts {
    /// Names in lower case, without port.
    #[must_use]
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether a request with these fields, on a connection to `local`, is meant for the admin listener.
    #[must_use]
    pub fn admit(&self, version: Version, fields: &HeaderMap, local: IpAddr) -> bool {
        let mut all = fields.get_all(header::HOST).iter();
        match (all.next(), all.next()) {
            (None, _) => version == Version::HTTP_10,
            (Some(value), None) => host::parse(value.as_bytes()).is_some_and(|name| self.knows(name, local)),
            _ => false,
        }
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

    fn admits(hosts: &[&str]) -> bool {
        let known = AdminHosts::new(vec!["metrics.kz.example".into(), "203.0.113.9".into()]);
        let mut fields = HeaderMap::new();
        hosts.iter().for_each(|host| {
            fields.append(header::HOST, host.parse().unwrap());
        });
        known.admit(Version::HTTP_11, &fields, IpAddr::from([10, 1, 2, 3]))
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
            assert!(admits(&[host]), "{host}");
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
            "localhost:99999",
            "user@localhost",
            "",
        ] {
            assert!(!admits(&[host]), "{host}");
        }
        assert!(!admits(&["localhost", "localhost"]));
        assert!(!admits(&[]));
    }

    #[test]
    fn a_check_by_http_10_needs_no_host() {
        let local = IpAddr::from([10, 1, 2, 3]);
        let known = AdminHosts::default();
        assert!(known.admit(Version::HTTP_10, &HeaderMap::new(), local));
        let fields = HeaderMap::from_iter([(header::HOST, "rebound.example".parse().unwrap())]);
        assert!(!known.admit(Version::HTTP_10, &fields, local));
    }
}
