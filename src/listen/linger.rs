//! Closes a connection whose client may still be sending.
//!
//! Closing a socket with unread bytes resets the connection, and a reset destroys an answer that the client has not read
//! yet. So the writing side ends first, and what comes in is read and thrown away for a while. Under TLS this happens
//! below the encryption: nobody looks at these bytes. Bound: `limits.linger_bytes`, `timeouts.linger`; the answer itself
//! has `timeouts.response_write`.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::stream::Transport;
use crate::config::Config;

/// How long, and for how many bytes.
#[derive(Clone, Copy, Debug)]
pub struct Linger {
    bytes: u64,
    time: Duration,
    write: Duration,
}

impl From<&Config> for Linger {
    fn from(config: &Config) -> Self {
        Self {
            bytes: config.limits.linger_bytes,
            time: config.timeouts.linger,
            write: config.timeouts.response_write,
        }
    }
}

impl Linger {
    /// Sends a last answer and ends the writing side. False if the client does not take it.
    pub async fn answer(self, transport: &mut Transport, answer: &[u8]) -> bool {
        let sent = async {
            transport.write_all(answer).await?;
            transport.flush().await?;
            transport.shutdown().await
        };
        matches!(timeout(self.write, sent).await, Ok(Ok(())))
    }

    /// Reads and throws away until the client ends, too, or a limit is reached. The writing side has ended.
    pub async fn discard(self, transport: Transport) {
        let mut socket = match transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.into_inner().0,
            Transport::Gone => return,
        };
        // However it ends: after this the socket is closed.
        let _: Result<io::Result<()>, _> = timeout(self.time, read(&mut socket, self.bytes)).await;
    }
}

/// Whether bytes are there that nobody has read.
#[must_use]
pub fn has_unread(transport: &Transport) -> bool {
    let socket = match transport {
        Transport::Plain(socket) => socket,
        Transport::Tls(stream) => stream.get_ref().0,
        Transport::Gone => return false,
    };
    // The bytes are thrown away, so reading one is as good as looking at it.
    matches!(socket.try_read(&mut [0; 1]), Ok(1))
}

async fn read(socket: &mut TcpStream, most: u64) -> io::Result<()> {
    let mut left = most;
    let mut buffer = [0; BUFFER];
    while left > 0 {
        let n = socket.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        left = left.saturating_sub(n as u64);
    }
    Ok(())
}

/// Bytes thrown away at a time.
const BUFFER: usize = 8192;
