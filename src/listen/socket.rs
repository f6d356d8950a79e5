//! Opens the listening sockets, and accepts on them.
//!
//! Every worker thread has a TCP socket of its own on the same port (`SO_REUSEPORT`), so that the kernel spreads the
//! connections and no thread wakes another; a Unix socket, or one handed over by systemd, is shared instead, and those of
//! a gateway whose place is taken are spread over the workers. The first socket on a port is bound alone ([`Sharing`]), so
//! that two gateways that know nothing of each other do not get half of the connections each. Never admits or refuses.
//! Bound: one socket per listener and worker.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpStream, UnixStream};

use super::link::Link;
use super::unix;
use crate::config::ListenAddress;

/// Connections that the kernel queues before we accept them.
pub(super) const BACKLOG: i32 = 4096;

/// Whom a connection through a Unix socket comes from: a process of this machine, which is believed no more than one
/// that connects to a loopback address, and counts as one client with it.
pub const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listening socket.
#[derive(Debug)]
pub enum Socket {
    /// On an address and port.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

/// A listening socket on a thread that accepts.
#[derive(Debug)]
pub enum Acceptor {
    /// On an address and port.
    Tcp(tokio::net::TcpListener),
    /// At a path.
    Unix(tokio::net::UnixListener),
}

impl Socket {
    /// Where it listens.
    ///
    /// # Errors
    /// It is at no address that a listener can have.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(ListenAddress::Tcp),
            Self::Unix(socket) => match socket.local_addr()?.as_pathname() {
                Some(path) => Ok(ListenAddress::Unix(path.to_owned())),
                None => Err(io::ErrorKind::AddrNotAvailable.into()),
            },
        }
    }

    /// A second handle.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// Makes accepting return when nobody waits.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// A connection that waits, and its peer.
    ///
    /// # Errors
    /// None does, or those of the operating system.
    pub fn accept(&self) -> io::Result<(Link, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Link::Tcp(TcpStream::from_std(stream)?), peer))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Link::Unix(UnixStream::from_std(stream)?), UNIX_PEER))
            }
        }
    }

    /// The socket on this thread.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn into_acceptor(self) -> io::Result<Acceptor> {
        match self {
            Self::Tcp(socket) => tokio::net::TcpListener::from_std(socket).map(Acceptor::Tcp),
            Self::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Acceptor::Unix),
        }
    }
}

impl Acceptor {
    /// The next connection, and its peer.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn accept(&self) -> io::Result<(Link, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, peer)| (Link::Tcp(stream), peer)),
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| (Link::Unix(stream), UNIX_PEER)),
        }
    }
}

/// Whether a socket may be bound beside those that listen on its port already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Not even beside those of this user.
    Alone,
    /// Beside those of this user that were opened here.
    Beside,
}

/// Opens a listening socket. Further ones of this user can be bound beside it, if they mean to.
///
/// # Errors
/// Those of the operating system: address in use, no permission, no such address.
pub fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Beside)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Linux: asked only of those that come later. Of two that start at once, the second fails here or before.
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// The sockets of one listener, by worker: at least one for each.
///
/// `given` ones were handed over and are all used, since what waits in the queue of one that nobody accepts on would wait
/// for ever. Where they are too few, further ones are bound beside them, or the given ones shared if that cannot be.
/// `sharing` is for the first socket where none is given.
/// Port 0 is resolved once, so that all workers share the port that the kernel chose. `mode` is for the file of a Unix
/// socket that has to be made.
///
/// # Errors
/// Those of [`bind`] and [`unix::bind`]; no descriptor is left.
pub fn spread(
    given: Vec<Socket>,
    address: &ListenAddress,
    mode: u32,
    sharing: Sharing,
    workers: usize,
) -> io::Result<Vec<Vec<Socket>>> {
    let given = match (given.is_empty(), address) {
        (true, ListenAddress::Tcp(address)) => bind_all(*address, sharing, workers)?,
        (true, ListenAddress::Unix(path)) => vec![Socket::Unix(unix::bind(path, mode)?)],
        (false, _) => given,
    };
    let count = given.len();
    let mut sockets: Vec<Vec<Socket>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
    let mut more = Vec::new();
    for index in count..workers {
        let given = &given[index % count];
        let own = match (given, address) {
            (Socket::Tcp(socket), ListenAddress::Tcp(address)) if SockRef::from(socket).reuse_port()? => {
                bind(*address, Sharing::Beside).map(Socket::Tcp).ok()
            }
            _ => None,
        };
        more.push(own.map_or_else(|| given.try_clone(), Ok)?);
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
pub fn bind_all(address: SocketAddr, sharing: Sharing, workers: usize) -> io::Result<Vec<Socket>> {
    let first = bind(address, sharing)?;
    let resolved = first.local_addr()?;
    let mut sockets = vec![Socket::Tcp(first)];
    while sockets.len() < workers {
        sockets.push(Socket::Tcp(bind(resolved, Sharing::Beside)?));
    }
    Ok(sockets)
}

/// The sockets that systemd handed over, by address; empty when there are none.
///
/// # Errors
/// A handed-over descriptor is not a listening TCP or Unix socket.
pub fn inherited() -> io::Result<Vec<(ListenAddress, Socket)>> {
    let mut fds = listenfd::ListenFd::from_env();
    let mut sockets = Vec::with_capacity(fds.len());
    for index in 0..fds.len() {
        let socket = match fds.take_unix_listener(index) {
            Ok(socket) => socket.map(Socket::Unix),
            Err(_) => fds.take_tcp_listener(index)?.map(Socket::Tcp),
        };
        if let Some(socket) = socket {
            socket.set_nonblocking()?;
            sockets.push((socket.address()?, socket));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(socket: &Socket) -> u16 {
        match socket.address().unwrap() {
            ListenAddress::Tcp(address) => address.port(),
            ListenAddress::Unix(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn workers_share_one_port() {
        let sockets = bind_all("127.0.0.1:0".parse().unwrap(), Sharing::Alone, 3).unwrap();
        let ports: Vec<u16> = sockets.iter().map(port).collect();
        assert_eq!(ports, vec![ports[0]; 3]);
    }

    #[test]
    fn a_port_where_somebody_listens_is_shared_on_purpose_only() {
        for workers in [1, 2] {
            let sockets = bind_all("127.0.0.1:0".parse().unwrap(), Sharing::Alone, workers).unwrap();
            let port = port(&sockets[0]);
            for address in [[127, 0, 0, 1], [0, 0, 0, 0]] {
                let error = bind((address, port).into(), Sharing::Alone).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address:?}");
                assert!(bind((address, port).into(), Sharing::Beside).is_ok(), "{address:?}");
            }
        }
    }

    #[test]
    fn every_given_socket_is_used_and_every_worker_has_one() {
        for (given, workers) in [(3, 2), (2, 3), (1, 1), (0, 2)] {
            let sockets = bind_all("127.0.0.1:0".parse().unwrap(), Sharing::Alone, given.max(1)).unwrap();
            let address = sockets[0].address().unwrap();
            let wanted = port(&sockets[0]);
            // The one that is not given goes on listening.
            let others =
                sockets.iter().skip(given).map(|socket| socket.try_clone().unwrap()).collect::<Vec<_>>();
            let given_ones = sockets.into_iter().take(given).collect();
            let spread = spread(given_ones, &address, 0, Sharing::Beside, workers).unwrap();
            drop(others);
            assert_eq!(spread.len(), workers);
            assert!(spread.iter().all(|of| !of.is_empty()));
            assert_eq!(spread.iter().map(Vec::len).sum::<usize>(), given.max(workers));
            assert!(spread.iter().flatten().all(|socket| port(socket) == wanted));
        }
    }

    #[test]
    fn workers_share_one_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let address = ListenAddress::Unix(folder.path().join("k.sock"));
        let spread = spread(Vec::new(), &address, 0o600, Sharing::Alone, 3).unwrap();
        assert_eq!(spread.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(spread.iter().flatten().all(|socket| socket.address().unwrap() == address));
    }
}
