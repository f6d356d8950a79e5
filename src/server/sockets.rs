//! The sockets of a start: handed over by systemd, taken from the gateway before, or new.
//!
//! Decides which socket is whose; opens them by [`crate::listen::socket`]. A port where somebody listens is shared only
//! with a gateway on the same data folder, whose place is being taken. Never accepts. Bound: one socket per listener and
//! worker, and those that are handed over.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::handover::{self, Traffic};
use super::start::StartError;
use super::worker::Listening;
use crate::config::{Config, ListenAddress, Listener};
use crate::listen::accept::Door;
use crate::listen::proxy_protocol::Required;
use crate::listen::socket::{self, Sharing};
use crate::listen::tls::Store;
use crate::listen::unix::SocketFile;

/// The listening sockets of each worker.
type Workers = Vec<Vec<Listening>>;

/// The listening sockets of each worker: those that systemd handed over, then those of the gateway whose place is taken,
/// then new ones. `succeeds` says whether there may be such a gateway, be it one that gives nothing any more because it
/// drains. With them the files of Unix sockets that are ours: systemd takes its own away.
///
/// # Errors
/// The first that cannot be opened.
pub(super) fn listen(
    config: &Config,
    certificates: &[Option<Arc<Store>>],
    given: &mut handover::Given,
    succeeds: bool,
) -> Result<(Workers, Vec<SocketFile>), StartError> {
    let mut workers: Workers = (0..config.workers).map(|_| Vec::new()).collect();
    let mut files = Vec::new();
    let mut inherited = socket::inherited()
        .map_err(|source| StartError::Listen { address: config.listeners[0].address.clone(), source })?;
    for (index, (listener, tls)) in config.listeners.iter().zip(certificates).enumerate() {
        let address = &listener.address;
        let failed = |source| StartError::Listen { address: address.clone(), source };
        let (mine, others): (Vec<_>, Vec<_>) = inherited.into_iter().partition(|(at, _)| at == address);
        inherited = others;
        let (mine, file_is_ours) = match mine.is_empty() {
            true => given.take(address),
            false => (mine.into_iter().map(|(_, socket)| socket).collect(), false),
        };
        let sharing = match succeeds || overlaps(address, &config.listeners[..index]) {
            true => Sharing::Beside,
            false => Sharing::Alone,
        };
        let sockets =
            socket::spread(mine, address, listener.mode, sharing, config.workers).map_err(failed)?;
        if let (ListenAddress::Unix(path), true) = (address, file_is_ours) {
            files.push(SocketFile::at(path).map_err(failed)?);
        }
        let proxy = listener.proxy_protocol.then(|| Required::from_networks(&listener.proxy_protocol_from));
        let door = Door { listener: index, tls: tls.clone(), proxy };
        for (worker, sockets) in workers.iter_mut().zip(sockets) {
            let listening = |socket| Listening { door: door.clone(), socket };
            worker.extend(sockets.into_iter().map(listening));
        }
    }
    for (address, _) in inherited {
        tracing::warn!(%address, "a socket was handed over that no listener in the configuration uses");
    }
    Ok((workers, files))
}

/// Whether a listener before this one has the same port, be it of one address only: then the kernel shares it between them.
fn overlaps(address: &ListenAddress, before: &[Listener]) -> bool {
    let ListenAddress::Tcp(address) = address else { return false };
    before.iter().any(|listener| match &listener.address {
        ListenAddress::Tcp(other) => meet(*address, *other),
        ListenAddress::Unix(_) => false,
    })
}

fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip().is_unspecified() || other.ip().is_unspecified() || one.ip() == other.ip())
}

/// The addresses of the listeners, with real ports.
pub(super) fn addresses(config: &Config, workers: &[Vec<Listening>]) -> Vec<ListenAddress> {
    let of = |listener| {
        let mut sockets = workers.iter().flatten().filter(|l| l.door.listener == listener);
        sockets.find_map(|l| l.socket.address().ok())
    };
    (0..config.listeners.len()).filter_map(of).collect()
}

/// Every traffic socket once more, for a successor. Without descriptors to spare there is none to hand over.
pub(super) fn clones(workers: &[Vec<Listening>], files: &[SocketFile]) -> Vec<Traffic> {
    let clone = |listening: &Listening| {
        let socket = listening.socket.try_clone().ok()?;
        let with_file = matches!(socket.address(), Ok(ListenAddress::Unix(path)) if files.iter().any(|file| file.is_at(&path)));
        Some(Traffic { socket, with_file })
    };
    workers.iter().flatten().filter_map(clone).collect()
}

/// The admin listener's socket.
///
/// # Errors
/// It cannot be opened.
pub(super) fn admin(
    config: &Config,
    given: &mut handover::Given,
    succeeds: bool,
) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.admin.address else { return Ok(None) };
    if let Some(socket) = given.take_admin(address) {
        return Ok(Some(socket));
    }
    let sharing = match succeeds || overlaps(&ListenAddress::Tcp(address), &config.listeners) {
        true => Sharing::Beside,
        false => Sharing::Alone,
    };
    socket::bind(address, sharing).map(Some).map_err(|source| StartError::Admin { address, source })
}
