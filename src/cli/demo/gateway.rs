//! The configuration of the demo's gateway, and the ports that it takes.
//!
//! Everything is on loopback. The rest is as `kelisim run` would have it, except what makes the demo worth seeing: a
//! published policy, and risk told to the site. Never binds for longer than to see whether a port is free. Bound: two
//! listeners.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use crate::clock::Timestamp;
use crate::config::{Config, Listener, Policy, PolicyVersion, Problems};
use crate::risk::{Action, Actions};

/// A port that is free on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// The port.
    pub(super) number: u16,
    /// Whether it is free on `::1` too; false where there is no IPv6.
    pub(super) ipv6: bool,
    /// The port that was wanted, if it was taken.
    pub(super) instead_of: Option<u16>,
}

/// The wanted ports of the site and of the admin listener, or others if something listens there.
///
/// The gateway's own sockets may share their port, so two demos would share one unless it is looked at first.
///
/// # Errors
/// No port is free.
pub(super) fn choose_ports(site: u16, admin: u16) -> io::Result<(Port, Port)> {
    // The first is held until the second is found: they may not be the same.
    let (site, _held) = choose(site)?;
    let (admin, _) = choose(admin)?;
    Ok((site, admin))
}

fn choose(wanted: u16) -> io::Result<(Port, [Option<TcpListener>; 2])> {
    let (held, instead_of) = match hold(wanted) {
        Err(_) if wanted != 0 => (hold(0)?, Some(wanted)),
        held => (held?, None),
    };
    let number = match &held[0] {
        Some(socket) => socket.local_addr()?.port(),
        None => wanted,
    };
    Ok((Port { number, ipv6: held[1].is_some(), instead_of }, held))
}

/// Sockets on a port that nothing else listens on: IPv4, and IPv6 where there is any.
fn hold(port: u16) -> io::Result<[Option<TcpListener>; 2]> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let ipv4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        match TcpListener::bind((Ipv6Addr::LOCALHOST, ipv4.local_addr()?.port())) {
            Ok(ipv6) => return Ok([Some(ipv4), Some(ipv6)]),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Ok([Some(ipv4), None]),
            Err(error) => last = Some(error),
        }
        if port != 0 {
            break;
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// The gateway in front of the site at `upstream`.
///
/// # Errors
/// The defaults contradict each other, which would be a bug.
pub(super) fn config(
    site: Port,
    admin: Port,
    upstream: SocketAddr,
    data: &Path,
    now: Timestamp,
) -> Result<Config, Problems> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, site.number));
    let mut config = Config::default_for(listen, &HOSTS, upstream, data)?;
    if site.ipv6 {
        // Browsers try ::1 first for `localhost`: without this, something else could answer there.
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, site.number));
        config.listeners.push(Listener::cleartext(address));
    }
    for site in &mut config.sites {
        site.policy = Some(policy(now));
    }
    config.admin.address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, admin.number)));
    config.risk.actions = Actions { low: Action::Tag, medium: Action::Tag, high: Action::Tag };
    config.risk.login_paths = vec!["/login".into()];
    // Small, so that it starts with the limits of any desktop.
    config.workers = WORKERS;
    config.limits.connections = CONNECTIONS;
    Ok(config)
}

/// One version in three languages, in force since today.
fn policy(now: Timestamp) -> Policy {
    let version = |language: &str, text: &str| PolicyVersion {
        id: VERSION.into(),
        text: text.into(),
        language: language.into(),
        effective: now.day() * 86_400,
        reconsent: true,
    };
    Policy {
        versions: vec![
            version("kk", include_str!("policy/kk.md")),
            version("ru", include_str!("policy/ru.md")),
            version("en", include_str!("policy/en.md")),
        ],
        gate: vec!["/register".into()],
        default_language: "en".into(),
    }
}

/// Id of the demo's policy.
pub(super) const VERSION: &str = "demo-1";
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
const WORKERS: usize = 2;
const CONNECTIONS: usize = 512;
/// How often a free port is looked for that is free on both protocols.
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;
    use crate::consent::Policies;

    #[test]
    fn a_port_in_use_is_not_taken() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = held.local_addr().unwrap().port();
        let (port, _) = choose_ports(taken, 0).unwrap();
        assert_eq!(port.instead_of, Some(taken));
        assert!(port.number != taken && port.number != 0);
    }

    #[test]
    fn a_port_in_use_on_ipv6_only_is_not_taken() {
        let Ok(held) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            eprintln!("skipped: no IPv6 here");
            return;
        };
        let taken = held.local_addr().unwrap().port();
        assert_eq!(choose_ports(0, taken).unwrap().1.instead_of, Some(taken));
    }

    #[test]
    fn the_two_ports_are_never_the_same() {
        let (site, _) = choose_ports(0, 0).unwrap();
        assert_eq!(site.instead_of, None);
        let (site, admin) = choose_ports(site.number, site.number).unwrap();
        assert_ne!(site.number, admin.number);
        assert!(admin.instead_of.is_some());
    }

    #[test]
    fn the_configuration_is_on_loopback_with_a_policy_in_force() {
        let port = |number| Port { number, ipv6: true, instead_of: None };
        let now = Timestamp::from_secs(1_795_341_600);
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 3000));
        let config = config(port(8080), port(9180), upstream, Path::new("data"), now).unwrap();
        let local =
            |listener: &Listener| matches!(listener.address, ListenAddress::Tcp(at) if at.ip().is_loopback());
        assert!(config.listeners.iter().all(local));
        assert!(config.admin.address.unwrap().ip().is_loopback());
        assert_eq!((config.listeners.len(), config.records.dir.to_str()), (2, Some("data")));
        let policies = Policies::new(config.sites[0].policy.as_ref());
        assert_eq!(policies.version_in_force(now).as_str(), VERSION);
        for language in ["kk", "ru", "en"] {
            let document = policies.document(policies.in_force(now).unwrap(), language).unwrap();
            assert_eq!(document.language, language);
            assert!(document.html.contains("<h1>") && document.html.contains("<table>"));
        }
    }
}
