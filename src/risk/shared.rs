//! Addresses that many people share, and what is counted of them instead.
//!
//! Behind carrier-grade NAT or a relay one address is a crowd: its logins, failures and pages say nothing about anybody.
//! So no address of such a network is counted by itself; only login attempts are, of address and user agent together, and
//! far more of them are let pass. The networks are those that the operator names. Keeps keyed hashes only. Bounds: the
//! configuration; the bytes given to [`Crowds::with_bytes`]; while they are used up, newcomers are not judged.

use std::net::IpAddr;

use ipnet::IpNet;

use super::bounded::BoundedMap;
use super::memory::Tick;
use super::signal::Level;
use super::velocity::{Threshold, Window};

/// The networks whose addresses are shared.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedNetworks {
    /// None overlaps another, in order.
    networks: Vec<IpNet>,
    /// In order.
    asns: Vec<u32>,
}

impl SharedNetworks {
    pub(super) fn new(networks: &[IpNet], asns: &[u32]) -> Self {
        let mut networks = IpNet::aggregate(&networks.to_vec());
        networks.sort_unstable_by_key(IpNet::network);
        let mut asns = asns.to_vec();
        asns.sort_unstable();
        Self { networks, asns }
    }

    /// Whether many share this address.
    pub(super) fn contain(&self, ip: IpAddr, asn: Option<u32>) -> bool {
        asn.is_some_and(|asn| self.asns.binary_search(&asn).is_ok()) || self.has(ip)
    }

    fn has(&self, ip: IpAddr) -> bool {
        let after = self.networks.partition_point(|network| network.network() <= ip);
        after.checked_sub(1).is_some_and(|at| self.networks[at].contains(&ip))
    }
}

/// Login attempts by address and user agent. Keys are keyed hashes.
#[derive(Clone)]
pub(super) struct Crowds(BoundedMap<Attempts>);

#[derive(Clone, Copy, Default)]
struct Attempts {
    logins: Window,
    last: Tick,
}

impl Crowds {
    pub(super) fn with_bytes(bytes: usize) -> Self {
        Self(BoundedMap::with_bytes(bytes))
    }

    /// Counts a login attempt, if the request is one, and judges address and user agent.
    pub(super) fn observe(&mut self, key: u64, login: bool, now: Tick) -> Level {
        let attempts = if login {
            let idle = |attempts: &Attempts| attempts.last.saturating_add(2 * WINDOW) < now;
            let Some(attempts) = self.0.get_or_replace(key, idle, Attempts::default) else {
                return Level::None;
            };
            attempts.logins.add(now, WINDOW);
            attempts.last = now;
            attempts
        } else {
            match self.0.get_mut(key) {
                Some(attempts) => attempts,
                None => return Level::None,
            }
        };
        LOGINS.judge(attempts.logins.rate(now, WINDOW))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// Five minutes.
const WINDOW: Tick = 300;
/// Login attempts per address, user agent and window (AWS's example of a login page).
const LOGINS: Threshold = Threshold { low: f32::INFINITY, medium: 100.0, high: f32::INFINITY };

#[cfg(test)]
mod tests {
    use super::*;

    const T: Tick = 300_000;

    fn attempts(crowds: &mut Crowds, key: u64, count: usize, now: Tick) -> Level {
        (0..count).map(|_| crowds.observe(key, true, now)).last().unwrap_or_default()
    }

    #[test]
    fn more_than_a_hundred_logins_of_one_user_agent_are_medium() {
        let mut crowds = Crowds::with_bytes(1 << 16);
        assert_eq!(attempts(&mut crowds, 1, 100, T), Level::None);
        assert_eq!(attempts(&mut crowds, 2, 100, T), Level::None, "another user agent");
        assert_eq!(attempts(&mut crowds, 1, 1, T), Level::Medium);
        assert_eq!(attempts(&mut crowds, 1, 1000, T), Level::Medium, "never more");
        assert_eq!(crowds.observe(1, false, T), Level::Medium, "whatever is asked for then");
        assert_eq!(crowds.observe(1, false, T + 2 * WINDOW), Level::None);
        assert_eq!(crowds.observe(3, false, T), Level::None);
        assert_eq!(crowds.len(), 2, "who does not log in takes no room");
    }

    #[test]
    fn a_full_map_judges_no_newcomer_until_one_is_idle() {
        let mut crowds = Crowds::with_bytes(1500);
        let capacity = crowds.capacity();
        (0..capacity as u64).for_each(|key| _ = crowds.observe(key, true, T));
        assert_eq!(attempts(&mut crowds, 999, 200, T), Level::None);
        assert_eq!(crowds.len(), capacity);
        assert_eq!(attempts(&mut crowds, 999, 101, T + 3 * WINDOW), Level::Medium);
        assert_eq!(crowds.len(), capacity);
    }

    #[test]
    fn an_address_is_found_by_network_or_by_number() {
        let networks = ["10.0.0.0/8", "192.0.2.128/25", "192.0.2.0/25", "2001:db8::/32", "10.1.0.0/16"];
        let networks = networks.map(|text| text.parse().unwrap());
        let shared = SharedNetworks::new(&networks, &[64_512, 65]);
        let contain = |ip: &str, asn| shared.contain(ip.parse().unwrap(), asn);
        for ip in ["10.0.0.0", "10.1.2.3", "10.255.255.255", "192.0.2.0", "192.0.2.200", "2001:db8::1"] {
            assert!(contain(ip, None), "{ip}");
        }
        for ip in ["9.255.255.255", "11.0.0.0", "192.0.1.255", "192.0.3.0", "::1", "2001:db9::", "::a00:1"] {
            assert!(!contain(ip, None) && !contain(ip, Some(66)), "{ip}");
            assert!(contain(ip, Some(65)) && contain(ip, Some(64_512)), "{ip}");
        }
        assert!(!SharedNetworks::default().contain("10.0.0.1".parse().unwrap(), Some(65)));
    }
}
