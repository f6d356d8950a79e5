//! A listener as the configuration describes it.
//!
//! Never opens anything. Bound: the configuration.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::Tls;

/// One address that accepts traffic.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: ListenAddress,
    /// Permissions of the file of a Unix socket.
    pub mode: u32,
    /// Certificate and key; `None` means cleartext.
    pub tls: Option<Tls>,
    /// Whether connections must begin with a PROXY header.
    pub proxy_protocol: bool,
    /// From where such connections may come. Empty: from everywhere.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// Where traffic is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// Address and port.
    Tcp(SocketAddr),
    /// A Unix socket, by the path of its file.
    Unix(PathBuf),
}

impl Listener {
    /// A cleartext listener with the defaults for everything else.
    #[must_use]
    pub const fn cleartext(address: SocketAddr) -> Self {
        Self {
            address: ListenAddress::Tcp(address),
            mode: DEFAULT_MODE,
            tls: None,
            proxy_protocol: false,
            proxy_protocol_from: Vec::new(),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As it is written in the configuration.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Owner and group may connect.
pub(super) const DEFAULT_MODE: u32 = 0o660;
