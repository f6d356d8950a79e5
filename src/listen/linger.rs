//! Closes a connection, or ends an HTTP/2 stream, whose client may still be sending.
//!
//! Closing a socket with unread bytes resets the connection, and a reset destroys an answer that the client has not read
//! yet. So the writing side ends first, and what comes in is read and thrown away for a while. Under TLS this happens
//! below the encryption: nobody looks at these bytes. A stream is read on likewise before it is reset. Bound:
//! `limits.linger_connections` of both on each thread, each for `limits.linger_bytes` and `timeouts.linger`; the answer
//! itself has `timeouts.response_write`.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::link::Link;
use super::stream::Transport;
use crate::admin::labels::ConnReason;
use crate::config::Config;
use crate::worker::Worker;

/// How long, and for how many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    connections: usize,
    bytes: u64,
    time: Duration,
    write: Duration,
}

impl From<&Config> for Linger {
    fn from(config: &Config) -> Self {
        Self {
            connections: config.limits.linger_connections,
            bytes: config.limits.linger_bytes,
            time: config.timeouts.linger,
            write: config.timeouts.response_write,
        }
    }
}

impl Linger {
    /// Sends a last answer, if there is one, and ends the writing side. False if the client does not take it.
    pub async fn answer(self, transport: &mut Transport, answer: &[u8]) -> bool {
        let sent = async {
            transport.write_all(answer).await?;
            transport.flush().await?;
            transport.shutdown().await
        };
        matches!(timeout(self.write, sent).await, Ok(Ok(())))
    }

    /// Reads and throws away until the client ends, too, or a limit is reached. The writing side has ended. Where too
    /// many connections wait so, this one is closed at once, and the reason given.
    pub async fn discard(self, worker: &Worker, transport: Transport) -> Option<ConnReason> {
        let Some(_lingering) = worker.linger(self.connections) else { return Some(ConnReason::LingerLimit) };
        self.read_on(transport).await;
        None
    }

    /// The same for the body of a request whose HTTP/2 stream has its answer: when this is over the stream is reset. What
    /// is not read holds its client back by the window, so a stream that sends too much ends no sooner than others: the
    /// reset would overtake the answer.
    pub async fn discard_body(self, worker: &Worker, mut body: Incoming) -> Option<ConnReason> {
        let Some(_lingering) = worker.linger(self.connections) else { return Some(ConnReason::LingerLimit) };
        let read = async {
            let mut left = self.bytes;
            while left > 0 {
                let Some(Ok(frame)) = body.frame().await else { return };
                left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            }
            std::future::pending::<()>().await;
        };
        // However it ends: after this the stream is.
        let _: Result<(), _> = timeout(self.time, read).await;
        None
    }

    async fn read_on(self, transport: Transport) {
        let mut link = match transport {
            Transport::Plain(link) => link,
            Transport::Tls(stream) => stream.into_inner().0,
            Transport::Gone => return,
        };
        // However it ends: after this the socket is closed.
        let _: Result<io::Result<()>, _> = timeout(self.time, read(&mut link, self.bytes)).await;
    }
}

/// Whether bytes are there that nobody has read.
#[must_use]
pub fn has_unread(transport: &Transport) -> bool {
    let link = match transport {
        Transport::Plain(link) => link,
        Transport::Tls(stream) => stream.get_ref().0,
        Transport::Gone => return false,
    };
    // The bytes are thrown away, so reading one is as good as looking at it.
    matches!(link.try_read(&mut [0; 1]), Ok(1))
}

async fn read(link: &mut Link, most: u64) -> io::Result<()> {
    let mut left = most;
    // On the heap: else every connection has room for it while it lives.
    let mut buffer = vec![0; BUFFER];
    while left > 0 {
        let n = link.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        left = left.saturating_sub(n as u64);
    }
    Ok(())
}

/// Bytes thrown away at a time.
const BUFFER: usize = 8192;
