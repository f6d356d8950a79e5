//! The client's address: canonical, and never shown in full.
//!
//! Made only by the trusted-proxy walk ([`super::forwarded::resolve`]) and by an operator's look-up. Never holds an
//! IPv4-mapped IPv6 address: in most databases such an address finds nothing, which would be a silent bypass.
//! Bound: 17 bytes.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::text::{push_ip, push_octet};

/// A client's canonical address. `Debug` is redacted; for logs there is [`ClientAddress::masked`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// An address that the trusted-proxy walk ended at. IPv4-mapped IPv6 becomes IPv4.
    pub(crate) const fn from_resolved(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }

    /// The full address. Not for logs, records or messages.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// The network that risk counts by: /24, for IPv6 /64.
    #[must_use]
    pub fn net(self) -> IpNet {
        self.cut(24, 64)
    }

    /// The network that logs may show: /24, for IPv6 /48.
    #[must_use]
    pub fn masked(self) -> IpNet {
        self.cut(24, 48)
    }

    /// Appends what `Display` of [`Self::masked`] writes.
    pub(crate) fn push_masked(self, out: &mut Vec<u8>) {
        let net = self.masked();
        push_ip(out, net.network());
        out.push(b'/');
        push_octet(out, net.prefix_len());
    }

    /// What one subscriber has: the address, for IPv6 its /64. To be hashed with a secret before it is kept.
    pub(crate) fn subscriber(self) -> IpNet {
        self.cut(32, 64)
    }

    fn cut(self, v4: u8, v6: u8) -> IpNet {
        let bits = if self.0.is_ipv4() { v4 } else { v6 };
        IpNet::new(self.0, bits).map_or_else(|_| IpNet::from(self.0), |net| net.trunc())
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAddress(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::from_resolved(text.parse().unwrap())
    }

    #[test]
    fn mapped_addresses_become_ipv4() {
        assert_eq!(address("::ffff:81.2.69.142"), address("81.2.69.142"));
        assert_eq!(address("::ffff:81.2.69.142").net().to_string(), "81.2.69.0/24");
    }

    #[test]
    fn networks_are_cut() {
        let v4 = address("81.2.69.142");
        assert_eq!(v4.masked().to_string(), "81.2.69.0/24");
        assert_eq!(v4.subscriber().to_string(), "81.2.69.142/32");
        let v6 = address("2001:db8:1:2:3:4:5:6");
        assert_eq!(v6.net().to_string(), "2001:db8:1:2::/64");
        assert_eq!(v6.masked().to_string(), "2001:db8:1::/48");
        assert_eq!(v6.subscriber(), v6.net());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", address("81.2.69.142")), "ClientAddress(..)");
    }
}
