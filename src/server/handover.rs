//! Hands the listening sockets of a running gateway to the one that takes its place.
//!
//! Two processes that only share a port by `SO_REUSEPORT` have a queue each, and the kernel resets what waits in the
//! queue of the one that ends. So a second process on the same data folder asks the first for the sockets themselves
//! (`SCM_RIGHTS`): the queues go on living with it. While the second starts, the first goes on accepting; only its admin
//! listener rests, so that `/readyz` is answered by the newcomer. Should that one not get ready, the first is as before.
//!
//! What is said: `L` and an address with a traffic socket, `U` or `F` with a Unix socket, which knows its path (`F`: its
//! file goes over, too), `A` and an address with the admin socket, `E` for the end; back come `T` (the admin socket is
//! taken) and `R` (ready). Never speaks to another user: the socket lies in the private data folder, and both sides ask
//! the kernel who the other is. Bound: `SOCKETS_MAX` sockets, `PATIENCE` for each packet, one newcomer at a time.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::ListenAddress;
use crate::listen::socket::Socket;

/// What the running gateway gave.
#[derive(Debug, Default)]
pub struct Given {
    /// Its traffic sockets with their addresses; several may have one address.
    pub traffic: Vec<(ListenAddress, Traffic)>,
    /// Its admin socket.
    pub admin: Option<(SocketAddr, TcpListener)>,
    before: Option<StdStream>,
}

/// A traffic socket that goes over.
#[derive(Debug)]
pub struct Traffic {
    /// The socket.
    pub socket: Socket,
    /// Whether the file of a Unix socket goes over with it: whoever has it takes it away at the end.
    pub with_file: bool,
}

/// Asks the gateway that runs on this data folder for its sockets; nothing comes when there is none.
///
/// # Errors
/// There is one, but it does not answer as it should.
pub fn ask(data: &Path) -> io::Result<Given> {
    let mut given = Given::default();
    let server = match StdStream::connect(data.join(NAME)) {
        Ok(server) => server,
        // Nobody has been here yet, whoever was has ended, or the path is too long for a socket.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput
            ) =>
        {
            return Ok(given);
        }
        Err(error) => return Err(error),
    };
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_write_timeout(Some(PATIENCE))?;
    same_user(&server)?;
    for _ in 0..SOCKETS_MAX {
        let (address, traffic) = match receive(&server)? {
            (b'E', ..) => {
                given.before = Some(server);
                return Ok(given);
            }
            (b'A', Some(address), Some(socket)) => {
                let socket = TcpListener::from(socket);
                socket.set_nonblocking(true)?;
                given.admin = Some((address, socket));
                continue;
            }
            (b'L', Some(address), Some(socket)) => (
                ListenAddress::Tcp(address),
                Traffic { socket: Socket::Tcp(socket.into()), with_file: false },
            ),
            (kind @ (b'U' | b'F'), _, Some(socket)) => {
                let socket = Socket::Unix(socket.into());
                (socket.address()?, Traffic { socket, with_file: kind == b'F' })
            }
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        traffic.socket.set_nonblocking()?;
        given.traffic.push((address, traffic));
    }
    Err(ErrorKind::InvalidData.into())
}

impl Given {
    /// Takes the admin socket, if it is the one for this address; the gateway before lets it rest from now on.
    pub fn take_admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let (_, socket) = self.admin.take_if(|(theirs, _)| *theirs == address)?;
        self.tell(b'T');
        Some(socket)
    }

    /// Takes the sockets for an address, and whether the file of a Unix socket there is ours: it is, too, when none was
    /// given.
    pub fn take(&mut self, address: &ListenAddress) -> (Vec<Socket>, bool) {
        let (mine, others) = std::mem::take(&mut self.traffic).into_iter().partition(|(a, _)| a == address);
        self.traffic = others;
        let mine: Vec<(ListenAddress, Traffic)> = mine;
        let with_file = mine.iter().all(|(_, traffic)| traffic.with_file);
        (mine.into_iter().map(|(_, traffic)| traffic.socket).collect(), with_file)
    }

    /// Whether a gateway was there before.
    #[must_use]
    pub const fn is_from_another(&self) -> bool {
        self.before.is_some()
    }

    /// Tells the gateway before that this one accepts now.
    pub fn ready(self) {
        self.tell(b'R');
    }

    fn tell(&self, word: u8) {
        let Some(before) = &self.before else { return };
        let sent = send(before, &packet(word, None), None::<&TcpListener>);
        // It may have ended in the meantime, which is as good.
        if let Err(error) = sent {
            tracing::debug!(%error, "the gateway before cannot be told");
        }
    }
}

/// What a running gateway gives.
#[derive(Debug)]
pub struct Offer {
    /// Clones of its traffic sockets.
    pub traffic: Vec<Traffic>,
    /// A clone of its admin socket.
    pub admin: Option<TcpListener>,
}

/// Waits for a newcomer. `resting` says whether the admin listener must not accept. Returns once a newcomer is ready;
/// what cannot be opened is told in the log, and then nothing is handed over.
pub async fn serve(data: &Path, offer: &Offer, resting: &watch::Sender<bool>) {
    let door = match open(data) {
        Ok(door) => door,
        Err(error) => {
            tracing::warn!(%error, "no successor can ask for the listening sockets");
            return;
        }
    };
    loop {
        match meet(&door, offer, resting).await {
            Ok(true) => {
                tracing::info!("another process has taken over the listening sockets");
                return;
            }
            Ok(false) => tracing::warn!("a successor asked for the listening sockets and did not get ready"),
            Err(error) => {
                tracing::warn!(%error, "the listening sockets could not be handed over");
                tokio::time::sleep(PAUSE).await;
            }
        }
        resting.send_replace(false);
    }
}

fn open(data: &Path) -> io::Result<UnixListener> {
    let path = data.join(NAME);
    // What lies there belongs to a gateway that has ended, or that has just handed over to this one.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Serves one newcomer. Returns whether it got ready.
async fn meet(door: &UnixListener, offer: &Offer, resting: &watch::Sender<bool>) -> io::Result<bool> {
    let (newcomer, _) = door.accept().await?;
    same_user(&newcomer)?;
    for traffic in &offer.traffic {
        match (&traffic.socket, traffic.with_file) {
            (Socket::Tcp(socket), _) => give(&newcomer, b'L', socket.local_addr().ok(), Some(socket)).await?,
            (Socket::Unix(socket), true) => give(&newcomer, b'F', None, Some(socket)).await?,
            (Socket::Unix(socket), false) => give(&newcomer, b'U', None, Some(socket)).await?,
        }
    }
    if let Some(socket) = &offer.admin {
        give(&newcomer, b'A', socket.local_addr().ok(), Some(socket)).await?;
    }
    give(&newcomer, b'E', None, None::<&TcpListener>).await?;
    loop {
        // No time limit: opening what a gateway needs may take long, and the connection ends with the process.
        match newcomer.async_io(Interest::READABLE, || receive(&newcomer)).await {
            Ok((b'T', ..)) => {
                resting.send_replace(true);
            }
            Ok((b'R', ..)) => return Ok(true),
            Ok(_) => return Err(ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

async fn give(
    to: &UnixStream,
    kind: u8,
    address: Option<SocketAddr>,
    socket: Option<&impl AsFd>,
) -> io::Result<()> {
    let packet = packet(kind, address);
    timeout(PATIENCE, to.async_io(Interest::WRITABLE, || send(to, &packet, socket))).await?
}

/// A kind and an address in text, filled up with zeros: all packets have one length, so that on a stream too one read is
/// one packet.
fn packet(kind: u8, address: Option<SocketAddr>) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    let text = address.map_or(String::new(), |address| address.to_string());
    let bytes = std::iter::once(kind).chain(text.bytes());
    packet.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    packet
}

fn send(to: &impl AsFd, packet: &[u8; PACKET_BYTES], socket: Option<&impl AsFd>) -> io::Result<()> {
    let fds: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(ErrorKind::OutOfMemory.into());
    }
    match sendmsg(to, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)? {
        PACKET_BYTES => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

/// One packet: its kind, its address, its socket.
fn receive(from: &impl AsFd) -> io::Result<(u8, Option<SocketAddr>, Option<OwnedFd>)> {
    let mut bytes = [0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if received != PACKET_BYTES {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let text = std::str::from_utf8(&bytes[1..]).unwrap_or_default().trim_end_matches('\0');
    Ok((bytes[0], text.parse().ok(), socket))
}

fn same_user(other: &impl AsFd) -> io::Result<()> {
    let (theirs, ours) = (socket_peercred(other)?.uid, rustix::process::geteuid());
    if theirs == ours { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
}

/// The socket in the data folder.
const NAME: &str = "handover.sock";
/// Most sockets that are handed over: workers × listeners.
const SOCKETS_MAX: usize = 65_536;
/// Longest wait for one packet.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failed meeting, so that a broken newcomer does not cost a thread.
const PAUSE: Duration = Duration::from_millis(200);
/// A kind and an address.
const PACKET_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::listen::socket::{self, Sharing};

    fn offer(sockets: usize) -> Offer {
        let sockets = socket::bind_all("127.0.0.1:0".parse().unwrap(), Sharing::Alone, sockets).unwrap();
        let traffic = sockets.into_iter().map(|socket| Traffic { socket, with_file: false }).collect();
        let admin = socket::bind("127.0.0.1:0".parse().unwrap(), Sharing::Alone).unwrap();
        Offer { traffic, admin: Some(admin) }
    }

    /// Runs `newcomer` against a gateway that offers; returns whether that one's admin listener rests afterwards.
    fn meeting(offer: &Offer, newcomer: impl FnOnce(&Path) + Send + 'static) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = Arc::new(tempfile::tempdir().unwrap());
            let (resting, _) = watch::channel(false);
            let data = Arc::clone(&folder);
            let newcomer = async {
                while !folder.path().join(NAME).exists() {
                    tokio::task::yield_now().await;
                }
                tokio::task::spawn_blocking(move || newcomer(data.path())).await.unwrap();
                // What the newcomer did last may still be on its way.
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            tokio::select! {
                () = serve(folder.path(), offer, &resting) => {}
                () = newcomer => {}
            }
            *resting.borrow()
        })
    }

    #[test]
    fn nobody_there_is_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let given = ask(folder.path()).unwrap();
        assert!(given.traffic.is_empty() && !given.is_from_another());
        // A gateway that was killed leaves its door behind.
        drop(std::os::unix::net::UnixListener::bind(folder.path().join(NAME)).unwrap());
        assert!(!ask(folder.path()).unwrap().is_from_another());
    }

    #[test]
    fn sockets_go_over_with_what_waits_in_them() {
        let offer = offer(3);
        let address = offer.traffic[0].socket.address().unwrap();
        let admin = offer.admin.as_ref().unwrap().local_addr().unwrap();
        let waiting = std::net::TcpStream::connect(address.to_string()).unwrap();
        let rests = meeting(&offer, move |data| {
            let mut given = ask(data).unwrap();
            assert!(given.take_admin("127.0.0.1:1".parse().unwrap()).is_none());
            assert!(given.take_admin(admin).is_some());
            let (sockets, _) = given.take(&address);
            assert_eq!(sockets.len(), 3);
            let accept = |socket: &Socket| match socket {
                Socket::Tcp(socket) => socket.accept().is_ok(),
                Socket::Unix(_) => false,
            };
            let accepted = sockets.iter().filter(|socket| accept(socket)).count();
            assert_eq!(accepted, 1, "the connection waits in one of the queues");
            given.ready();
        });
        assert!(rests);
        drop(waiting);
    }

    #[test]
    fn unix_sockets_go_over_with_or_without_their_files() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than a packet.
        let paths = ["a", "b"]
            .map(|name| folder.path().join(name.repeat(80 - folder.path().as_os_str().len().min(50))));
        let listen = |path: &std::path::PathBuf, with_file| {
            let socket = Socket::Unix(crate::listen::unix::bind(path, 0o600).unwrap());
            Traffic { socket, with_file }
        };
        let traffic = vec![listen(&paths[0], true), listen(&paths[1], false)];
        let offer = Offer { traffic, admin: None };
        let waiting = StdStream::connect(&paths[0]).unwrap();
        let [first, second] = paths.map(ListenAddress::Unix);
        meeting(&offer, move |data| {
            let mut given = ask(data).unwrap();
            let (sockets, with_file) = given.take(&first);
            let [Socket::Unix(socket)] = &sockets[..] else { panic!("{sockets:?}") };
            assert!(with_file && socket.accept().is_ok());
            let (sockets, with_file) = given.take(&second);
            assert!(!with_file && sockets.len() == 1);
            given.ready();
        });
        drop(waiting);
    }

    #[test]
    fn a_newcomer_that_does_not_get_ready_changes_nothing() {
        let offer = offer(1);
        let admin = offer.admin.as_ref().unwrap().local_addr().unwrap();
        let rests = meeting(&offer, move |data| {
            for _ in 0..2 {
                let mut given = ask(data).unwrap();
                assert!(given.take_admin(admin).is_some());
                drop(given);
            }
        });
        assert!(!rests);
    }
}
