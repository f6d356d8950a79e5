//! Accepts connections on one listener of one worker.
//!
//! Admits or refuses by count, then runs PROXY header, handshake and protocol choice under their deadlines. Accepting
//! stops while the gateway is full, so that the kernel's queue, not our memory, holds the rest. Bound:
//! [`super::admission`].

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::admission::Place;
use super::connection::{Connection, TlsFacts};
use super::link::Link;
use super::proxy_protocol::{self, Required};
use super::scan::{Rules, Scan};
use super::serve;
use super::sniff::{self, Protocol};
use super::socket::{self, Acceptor, Socket};
use super::stream::Transport;
use super::tls::Store;
use crate::admin::labels::{ConnReason, ConnectionState};
use crate::clock;
use crate::identify::ClientAddress;
use crate::worker::{Arriving, Worker};

/// One listener: what a connection has to pass.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its index in the configuration.
    pub listener: usize,
    /// The certificate, on TLS listeners.
    pub tls: Option<Arc<Store>>,
    /// Whether connections begin with a PROXY header.
    pub proxy: Option<Required>,
}

/// Accepts until the task is dropped. Open connections get their turn between a few new ones, however many wait.
pub async fn accept(worker: Rc<Worker>, listener: Acceptor, door: Rc<Door>) {
    let mut in_a_row = 0;
    loop {
        in_a_row += 1;
        if in_a_row > TURN {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
        while worker.shared.admission.full() {
            worker.metrics.connection_rejected(ConnReason::Limit);
            tokio::time::sleep(BACK_OFF).await;
        }
        match listener.accept().await {
            Ok((link, peer)) => admit(&worker, link, peer, &door),
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
pub fn drain_queue(worker: &Rc<Worker>, queue: &Socket, door: &Rc<Door>) {
    for _ in 0..socket::BACKLOG {
        match queue.accept() {
            Ok((link, peer)) if !worker.shared.admission.full() => admit(worker, link, peer, door),
            Err(error) if is_of_one_connection(&error) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// New connections in a row.
const TURN: usize = 4;
/// How long accepting pauses when there is no place or no descriptor.
const BACK_OFF: Duration = Duration::from_millis(20);

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn admit(worker: &Rc<Worker>, link: Link, peer: SocketAddr, door: &Rc<Door>) {
    let address = ClientAddress::from_resolved(peer.ip());
    if door.proxy.as_ref().is_some_and(|required| !required.admits(address.ip())) {
        tracing::debug!(
            listener = door.listener,
            "a connection from a peer that listen[].proxy_protocol_from does not name"
        );
        worker.metrics.connection_rejected(ConnReason::ProxyProtocol);
        return;
    }
    // A load balancer brings many clients: they are counted when its header has told them apart.
    let exempt = door.proxy.is_some() || worker.snapshot().is_trusted_peer(address.ip());
    let Ok(place) = worker.shared.admission.enter(address, exempt) else {
        worker.metrics.connection_rejected(ConnReason::ClientLimit);
        return;
    };
    let arriving = worker.arriving();
    let (worker, door) = (Rc::clone(worker), Rc::clone(door));
    tokio::task::spawn_local(async move {
        if let Some(reason) = connection(&worker, link, peer, &door, place, arriving).await {
            worker.metrics.connection_rejected(reason);
        }
    });
}

async fn connection(
    worker: &Rc<Worker>,
    mut link: Link,
    peer: SocketAddr,
    door: &Door,
    mut place: Place,
    arriving: Arriving,
) -> Option<ConnReason> {
    let accepted = clock::monotonic();
    let handshaking = worker.metrics.hold_connection(ConnectionState::Handshake);
    let timeouts = worker.snapshot().config.timeouts.clone();
    let handshake_ends = accepted + timeouts.tls_handshake;
    let round_trip = if door.proxy.is_none() { link.round_trip() } else { None };
    let peer = match &door.proxy {
        Some(_) => match Box::pin(introduced(worker, &mut link, peer, &mut place, handshake_ends)).await {
            Ok(peer) => peer,
            Err(reason) => return Some(reason),
        },
        None => peer,
    };
    // Boxed: its state is large, and this task keeps the room of its largest part while the connection lives.
    let (facts, transport, protocol, prefix) = match &door.tls {
        Some(store) => match timeout_at(handshake_ends.into(), Box::pin(handshake(link, store))).await {
            Ok(Ok((facts, transport, protocol))) => (Some(facts), transport, protocol, BytesMut::new()),
            Ok(Err(error)) => {
                tracing::debug!(listener = store.address, %error, "a TLS handshake failed");
                return Some(ConnReason::TlsError);
            }
            Err(_) => return Some(ConnReason::TlsTimeout),
        },
        None => {
            let mut transport = Transport::Plain(link);
            match timeout(timeouts.request_head, sniff::protocol(&mut transport)).await {
                Ok(Ok((protocol, prefix))) => {
                    if protocol == Protocol::Http1
                        && let Some(reason) = Scan::refuses(&prefix, Rules::from(&worker.snapshot().config))
                    {
                        return serve::refuse(worker, door.listener, transport, &prefix, reason).await;
                    }
                    // An error means that the peer is gone.
                    if transport.set_nodelay().is_err() {
                        return None;
                    }
                    (None, transport, protocol, prefix)
                }
                Ok(Err(_)) => return None,
                Err(_) => return Some(ConnReason::HeadTimeout),
            }
        }
    };
    let mut connection = Connection::new(door.listener, peer, facts, accepted);
    connection.round_trip = round_trip;
    let connection = Arc::new(connection);
    drop(handshaking);
    let _registered = worker.register(&connection);
    drop(arriving);
    serve::serve(Rc::clone(worker), transport, prefix, protocol, connection).await
}

/// The client as the PROXY header tells it, counted as one; the peer itself when the header is about nobody else.
async fn introduced(
    worker: &Worker,
    link: &mut Link,
    peer: SocketAddr,
    place: &mut Place,
    deadline: Instant,
) -> Result<SocketAddr, ConnReason> {
    let told = match timeout_at(deadline.into(), proxy_protocol::read(link)).await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection without a PROXY header that can be read");
            return Err(ConnReason::ProxyProtocol);
        }
        Err(_) => {
            tracing::debug!("a connection whose PROXY header did not come in time");
            return Err(ConnReason::ProxyProtocol);
        }
    };
    let Some(client) = told else { return Ok(peer) };
    let address = ClientAddress::from_resolved(client.ip());
    if !worker.snapshot().is_trusted_peer(address.ip()) && place.claim(address).is_err() {
        return Err(ConnReason::ClientLimit);
    }
    Ok(client)
}

async fn handshake(link: Link, store: &Store) -> io::Result<(TlsFacts, Transport, Protocol)> {
    link.set_nodelay()?;
    let certificate = store.current();
    let stream = TlsAcceptor::from(Arc::clone(&certificate.server)).accept(link).await?;
    let session = stream.get_ref().1;
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    };
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let alpn = match session.alpn_protocol() {
        Some(b"h2") => Some("h2"),
        Some(b"http/1.1") => Some("http/1.1"),
        _ => None,
    };
    Ok((TlsFacts { version, cipher, alpn, certificate }, Transport::Tls(Box::new(stream)), protocol))
}
