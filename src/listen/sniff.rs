//! Tells HTTP/2 with prior knowledge from HTTP/1.1 on a cleartext connection.
//!
//! Compares the first bytes with the connection preface of RFC 9113 §3.4, and stops at the first that differs. The
//! caller's deadline bounds the wait. Never decides on TLS connections: there ALPN does. Bound: [`PREFIX`] bytes.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a cleartext connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Most bytes read before the protocol is known.
pub const PREFIX: usize = 1024;

/// Reads until the protocol is known. Returns it with the bytes read, which belong to the request.
///
/// The end of input before the protocol is known counts as HTTP/1: hyper then sees an empty or cut head.
///
/// # Errors
/// Those of the stream.
pub async fn protocol(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Protocol, BytesMut)> {
    let mut prefix = BytesMut::with_capacity(PREFIX);
    loop {
        match compare(&prefix) {
            Some(protocol) => return Ok((protocol, prefix)),
            None if prefix.len() >= PREFIX => return Ok((Protocol::Http1, prefix)),
            None => {}
        }
        if stream.read_buf(&mut prefix).await? == 0 {
            return Ok((Protocol::Http1, prefix));
        }
    }
}

/// The protocol, if these first bytes decide it.
fn compare(bytes: &[u8]) -> Option<Protocol> {
    let n = bytes.len().min(PREFACE.len());
    if bytes[..n] != PREFACE[..n] {
        Some(Protocol::Http1)
    } else if n == PREFACE.len() {
        Some(Protocol::Http2)
    } else {
        None
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_byte_decides() {
        assert_eq!(compare(b""), None);
        assert_eq!(compare(b"G"), Some(Protocol::Http1));
        assert_eq!(compare(b"PRI * HTTP/2.0\r\n"), None);
        assert_eq!(compare(b"PRI * HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(compare(PREFACE), Some(Protocol::Http2));
        assert_eq!(compare(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Some(Protocol::Http2));
    }

    #[tokio::test]
    async fn a_preface_in_single_bytes_is_found() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let writer = async {
            tokio::io::AsyncWriteExt::write_all(&mut client, PREFACE).await.unwrap();
            client
        };
        let (_, found) = tokio::join!(writer, protocol(&mut server));
        let (protocol, prefix) = found.unwrap();
        assert_eq!(protocol, Protocol::Http2);
        assert_eq!(&prefix[..], PREFACE);
    }
}
