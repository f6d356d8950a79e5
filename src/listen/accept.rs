//! Accepts connections on one listener of one worker.
//!
//! Admits or refuses by count, then runs handshake and protocol choice under their deadlines. Accepting stops while
//! the gateway is full, so that the kernel's queue, not our memory, holds the rest. Bound: [`super::admission`].

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::admission::Place;
use super::connection::{Connection, TlsFacts};
use super::sniff::{self, Protocol};
use super::stream::Transport;
use super::tls::Store;
use super::{serve, socket};
use crate::admin::labels::{ConnReason, ConnectionState};
use crate::clock;
use crate::identify::ClientAddress;
use crate::worker::{Arriving, Worker};

/// Accepts until the task is dropped.
pub async fn accept(worker: Rc<Worker>, listener: TcpListener, index: usize, tls: Option<Arc<Store>>) {
    loop {
        while worker.shared.admission.full() {
            worker.metrics.connection_rejected(ConnReason::Limit);
            tokio::time::sleep(BACK_OFF).await;
        }
        match listener.accept().await {
            Ok((socket, peer)) => admit(&worker, socket, peer, index, tls.as_ref()),
            // One connection that is already gone says nothing about the next.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(error = %error, "accepting failed");
                worker.metrics.connection_rejected(ConnReason::AcceptError);
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Admits what waits in a socket's queue, before the socket is closed: the kernel resets what it finds there then.
pub fn drain_queue(
    worker: &Rc<Worker>,
    queue: &std::net::TcpListener,
    index: usize,
    tls: Option<&Arc<Store>>,
) {
    for _ in 0..socket::BACKLOG {
        let accepted = queue.accept().and_then(|(socket, peer)| {
            socket.set_nonblocking(true)?;
            Ok((TcpStream::from_std(socket)?, peer))
        });
        match accepted {
            Ok((socket, peer)) if !worker.shared.admission.full() => admit(worker, socket, peer, index, tls),
            Err(error) if is_of_one_connection(&error) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// How long accepting pauses when there is no place or no descriptor.
const BACK_OFF: Duration = Duration::from_millis(20);

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn admit(
    worker: &Rc<Worker>,
    socket: TcpStream,
    peer: std::net::SocketAddr,
    index: usize,
    tls: Option<&Arc<Store>>,
) {
    let address = ClientAddress::from_resolved(peer.ip());
    let exempt = worker.snapshot().is_trusted_peer(address.ip());
    let Ok(place) = worker.shared.admission.enter(address, exempt) else {
        worker.metrics.connection_rejected(ConnReason::ClientLimit);
        return;
    };
    let arriving = worker.arriving();
    let worker = Rc::clone(worker);
    let tls = tls.cloned();
    tokio::task::spawn_local(async move {
        if let Some(reason) = connection(&worker, socket, peer, index, tls, place, arriving).await {
            worker.metrics.connection_rejected(reason);
        }
    });
}

async fn connection(
    worker: &Rc<Worker>,
    socket: TcpStream,
    peer: std::net::SocketAddr,
    index: usize,
    tls: Option<Arc<Store>>,
    _place: Place,
    arriving: Arriving,
) -> Option<ConnReason> {
    let accepted = clock::monotonic();
    let handshaking = worker.metrics.hold_connection(ConnectionState::Handshake);
    let timeouts = worker.snapshot().config.timeouts.clone();
    // Without it a small answer may wait for the client's delayed acknowledgement. An error means that the peer is gone.
    if socket.set_nodelay(true).is_err() {
        return None;
    }
    // Boxed: its state is large, and this task keeps the room of its largest part while the connection lives.
    let (facts, transport, protocol, prefix) = match tls {
        Some(store) => match timeout(timeouts.tls_handshake, Box::pin(handshake(socket, &store))).await {
            Ok(Ok((facts, transport, protocol))) => (Some(facts), transport, protocol, BytesMut::new()),
            Ok(Err(_)) => return Some(ConnReason::TlsError),
            Err(_) => return Some(ConnReason::TlsTimeout),
        },
        None => {
            let mut transport = Transport::Plain(socket);
            match timeout(timeouts.request_head, sniff::protocol(&mut transport)).await {
                Ok(Ok((protocol, prefix))) => (None, transport, protocol, prefix),
                Ok(Err(_)) => return None,
                Err(_) => return Some(ConnReason::HeadTimeout),
            }
        }
    };
    let connection = Arc::new(Connection::new(index, peer, facts, accepted));
    drop(handshaking);
    let _registered = worker.register(&connection);
    drop(arriving);
    serve::serve(Rc::clone(worker), transport, prefix, protocol, connection).await
}

async fn handshake(socket: TcpStream, store: &Store) -> io::Result<(TlsFacts, Transport, Protocol)> {
    let certificate = store.current();
    let stream = TlsAcceptor::from(Arc::clone(&certificate.server)).accept(socket).await?;
    let session = stream.get_ref().1;
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    };
    Ok((TlsFacts { version, certificate }, Transport::Tls(Box::new(stream)), protocol))
}
