//! Binds the listening sockets.
//!
//! Every worker thread has a socket of its own on the same port (`SO_REUSEPORT`), so that the kernel spreads the
//! connections and no thread wakes another; a socket handed over by systemd is shared instead, and those of a gateway
//! whose place is taken are spread over the workers. Never accepts. Bound: one socket per listener and worker.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that the kernel queues before we accept them.
pub(super) const BACKLOG: i32 = 4096;

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

/// The sockets of one listener, by worker: at least one for each.
///
/// `given` ones were handed over and are all used, since what waits in the queue of one that nobody accepts on would wait
/// for ever. Where they are too few, further ones are bound beside them, or the given ones shared if that cannot be.
/// Port 0 is resolved once, so that all workers share the port that the kernel chose.
///
/// # Errors
/// Those of [`bind`]; no descriptor is left.
pub fn spread(
    given: Vec<TcpListener>,
    address: SocketAddr,
    workers: usize,
) -> io::Result<Vec<Vec<TcpListener>>> {
    if given.is_empty() {
        return Ok(bind_all(address, workers)?.into_iter().map(|socket| vec![socket]).collect());
    }
    let count = given.len();
    let mut sockets: Vec<Vec<TcpListener>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
    let mut more = Vec::new();
    for index in count..workers {
        let given = &given[index % count];
        let own = if SockRef::from(given).reuse_port()? { bind(address) } else { given.try_clone() };
        more.push(own.or_else(|_| given.try_clone())?);
    }
    for (index, socket) in given.into_iter().chain(more).enumerate() {
        let worker = index % sockets.len();
        sockets[worker].push(socket);
    }
    Ok(sockets)
}

/// One socket per worker.
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

    #[test]
    fn every_given_socket_is_used_and_every_worker_has_one() {
        for (given, workers) in [(3, 2), (2, 3), (1, 1), (0, 2)] {
            let sockets = bind_all("127.0.0.1:0".parse().unwrap(), given.max(1)).unwrap();
            let address = sockets[0].local_addr().unwrap();
            let spread = spread(sockets.into_iter().take(given).collect(), address, workers).unwrap();
            assert_eq!(spread.len(), workers);
            assert!(spread.iter().all(|of| !of.is_empty()));
            assert_eq!(spread.iter().map(Vec::len).sum::<usize>(), given.max(workers));
            assert!(spread.iter().flatten().all(|s| s.local_addr().unwrap().port() == address.port()));
        }
    }
}
