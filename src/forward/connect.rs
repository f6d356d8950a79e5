//! From an endpoint to a connected stream, TLS included.
//!
//! All addresses of a name are tried, one after the other; each gets its share of the time left, so that one that
//! swallows packets leaves time for the next. One deadline covers look-up, connecting and handshake. Never chooses an
//! endpoint and never writes a request. Bound: the addresses of one name.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{timeout, timeout_at};

use super::resolve::{Known, Name, Resolve};
use super::tls::{ClientTls, Dialer};
use super::wire::Transport;
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};

/// Where to connect to, and how.
pub(super) struct Target {
    place: Place,
    tls: Option<Dialer>,
}

enum Place {
    Address(SocketAddr),
    Name(Name),
    Unix(PathBuf),
}

impl Target {
    /// A target from the configuration. `tls` is there if and only if the endpoint wants it.
    pub(super) fn new(
        endpoint: &config::Endpoint,
        tls: Option<&Arc<ClientTls>>,
        resolver: Rc<dyn Resolve>,
    ) -> Self {
        match endpoint {
            config::Endpoint::Unix(path) => Self { place: Place::Unix(path.clone()), tls: None },
            config::Endpoint::Host { host, port, tls: wanted } => {
                let place = match host.parse::<IpAddr>() {
                    Ok(ip) => Place::Address(SocketAddr::new(ip, *port)),
                    Err(_) => Place::Name(Name::new(host, *port, resolver)),
                };
                Self { place, tls: tls.filter(|_| *wanted).map(|tls| tls.dialer(host)) }
            }
        }
    }

    /// Whether TLS is spoken there.
    pub(super) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects until `deadline`.
    ///
    /// # Errors
    /// `Dns`, `DnsTimeout`, `ConnectRefused`, `ConnectTimeout`, `UpstreamCertificate` or `UpstreamTls`; of several
    /// addresses the last one tried decides.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Transport, Refusal> {
        let stream = match &self.place {
            Place::Address(address) => dial(*address, deadline).await?,
            Place::Name(name) => dial_name(name, deadline).await?,
            Place::Unix(path) => {
                return match timeout_at(deadline.into(), UnixStream::connect(path)).await {
                    Ok(Ok(stream)) => Ok(Transport::Unix(stream)),
                    Ok(Err(error)) => Err(Refusal::caused_by(Reason::ConnectRefused, error)),
                    Err(elapsed) => Err(Refusal::caused_by(Reason::ConnectTimeout, elapsed)),
                };
            }
        };
        match &self.tls {
            None => Ok(Transport::Tcp(stream)),
            Some(dialer) => match timeout_at(deadline.into(), dialer.handshake(stream)).await {
                Ok(outcome) => outcome.map(|stream| Transport::Tls(Box::new(stream))),
                Err(elapsed) => Err(Refusal::caused_by(Reason::ConnectTimeout, elapsed)),
            },
        }
    }
}

async fn dial_name(name: &Name, deadline: Instant) -> Result<TcpStream, Refusal> {
    let known = name.addresses(clock::monotonic(), deadline).await?;
    let refusal = match dial_all(&known, deadline).await {
        Ok(stream) => return Ok(stream),
        Err(refusal) => refusal,
    };
    // The host has perhaps moved. If it cannot be told, what was found out before is the better answer.
    match name.renewed(clock::monotonic(), deadline).await {
        Ok(renewed) if !renewed.same(&known) => dial_all(&renewed, deadline).await,
        _ => Err(refusal),
    }
}

async fn dial_all(known: &Known, deadline: Instant) -> Result<TcpStream, Refusal> {
    let order = known.order();
    let mut last = Refusal::from(Reason::Dns);
    for (tried, (index, address)) in order.iter().enumerate() {
        let now = clock::monotonic();
        let left = u32::try_from(order.len() - tried).unwrap_or(1).max(1);
        let share = deadline.saturating_duration_since(now) / left;
        match dial(*address, now + share).await {
            Ok(stream) => return Ok(stream),
            Err(refusal) => {
                known.note_failed(*index);
                last = refusal;
            }
        }
    }
    Err(last)
}

async fn dial(address: SocketAddr, deadline: Instant) -> Result<TcpStream, Refusal> {
    let left = deadline.saturating_duration_since(clock::monotonic());
    match timeout(left, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => match stream.set_nodelay(true) {
            Ok(()) => Ok(stream),
            Err(error) => Err(Refusal::caused_by(Reason::ConnectRefused, error)),
        },
        Ok(Err(error)) => Err(Refusal::caused_by(Reason::ConnectRefused, error)),
        Err(elapsed) => Err(Refusal::caused_by(Reason::ConnectTimeout, elapsed)),
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
