//! The sockets of a start: handed over by systemd, taken from the gateway before, or new.
//!
//! Decides which socket is whose; opens them by [`crate::listen::socket`]. Never accepts. Bound: one socket per listener
//! and worker, and those that are handed over.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::handover;
use super::start::StartError;
use super::worker::Listening;
use crate::config::Config;
use crate::listen::accept::Door;
use crate::listen::proxy_protocol::Required;
use crate::listen::socket;
use crate::listen::tls::Store;

/// The listening sockets of each worker: those that systemd handed over, then those of the gateway whose place is taken,
/// then new ones.
///
/// # Errors
/// The first that cannot be opened.
pub(super) fn listen(
    config: &Config,
    certificates: &[Option<Arc<Store>>],
    given: &mut handover::Given,
) -> Result<Vec<Vec<Listening>>, StartError> {
    let mut workers: Vec<Vec<Listening>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut inherited = socket::inherited()
        .map_err(|source| StartError::Listen { address: config.listeners[0].address, source })?;
    for (index, (listener, tls)) in config.listeners.iter().zip(certificates).enumerate() {
        let address = listener.address;
        let (mut mine, others): (Vec<_>, Vec<_>) = inherited.into_iter().partition(|(at, _)| *at == address);
        inherited = others;
        if mine.is_empty() {
            mine = given.take(address).into_iter().map(|socket| (address, socket)).collect();
        }
        let mine = mine.into_iter().map(|(_, socket)| socket).collect();
        let sockets = socket::spread(mine, address, config.workers)
            .map_err(|source| StartError::Listen { address, source })?;
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
    Ok(workers)
}

/// The addresses of the listeners, with real ports.
pub(super) fn addresses(config: &Config, workers: &[Vec<Listening>]) -> Vec<SocketAddr> {
    let of = |listener| {
        let mut sockets = workers.iter().flatten().filter(|l| l.door.listener == listener);
        sockets.find_map(|l| l.socket.local_addr().ok())
    };
    (0..config.listeners.len()).filter_map(of).collect()
}

/// Every traffic socket once more, for a successor. Without descriptors to spare there is none to hand over.
pub(super) fn clones(workers: &[Vec<Listening>]) -> Vec<TcpListener> {
    workers.iter().flatten().filter_map(|listening| listening.socket.try_clone().ok()).collect()
}

/// The admin listener's socket.
///
/// # Errors
/// It cannot be opened.
pub(super) fn admin(config: &Config, given: &mut handover::Given) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.admin.address else { return Ok(None) };
    if let Some(socket) = given.take_admin(address) {
        return Ok(Some(socket));
    }
    socket::bind(address).map(Some).map_err(|source| StartError::Listen { address, source })
}
