//! Binds the listening sockets.
//!
//! Every worker thread has a socket of its own on the same port (`SO_REUSEPORT`), so that the kernel spreads the
//! connections and no thread wakes another; sockets handed over by systemd are shared instead. Never accepts. Bound:
//! one socket per listener and worker.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel queues before we accept them.
const BACKLOG: i32 = 4096;

/// Opens a listening socket that other sockets of this user may share.
///
/// # Errors
/// Those of the operating system: address in use by another user or without `SO_REUSEPORT`, no permission, no such
/// address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The sockets of one listener, one per worker.
///
/// Port 0 is resolved once, so that all workers share the port that the kernel chose.
///
/// # Errors
/// Those of [`bind`].
pub fn bind_all(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind(address)?;
    let resolved = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(bind(resolved)?);
    }
    Ok(sockets)
}

/// One handed-over socket for several workers: they share its queue.
///
/// # Errors
/// No descriptor is left.
pub fn share(socket: &TcpListener, workers: usize) -> io::Result<Vec<TcpListener>> {
    (0..workers).map(|_| socket.try_clone()).collect()
}

/// The sockets that systemd handed over, by address; empty when there are none.
///
/// # Errors
/// A handed-over descriptor is not a listening TCP socket.
pub fn inherited() -> io::Result<Vec<(SocketAddr, TcpListener)>> {
    let mut fds = listenfd::ListenFd::from_env();
    let mut sockets = Vec::with_capacity(fds.len());
    for index in 0..fds.len() {
        if let Some(socket) = fds.take_tcp_listener(index)? {
            socket.set_nonblocking(true)?;
            sockets.push((socket.local_addr()?, socket));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_one_port() {
        let sockets = bind_all("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        assert_eq!(ports, vec![ports[0]; 3]);
    }
}
