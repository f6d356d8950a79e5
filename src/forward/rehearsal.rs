//! The head of a request as an endpoint would get it, without an endpoint.
//!
//! The same framing and the same client as on a real connection write it into memory. Never opens a socket, never reads
//! the request's body. Bound: the head.

use std::io;
use std::pin::pin;

use http::Request;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use super::body::RequestBody;
use super::{framing, wire};

/// The head's bytes with the empty line at its end.
///
/// # Errors
/// The client refuses to write it.
pub(crate) async fn head(mut request: Request<RequestBody>) -> io::Result<Vec<u8>> {
    framing::request(&mut request);
    let (ours, mut theirs) = tokio::io::duplex(PIPE);
    let (mut sender, connection) =
        wire::builder().handshake(TokioIo::new(ours)).await.map_err(io::Error::other)?;
    let exchange = pin!(async {
        let (connected, sent) = tokio::join!(connection, sender.send_request(request));
        connected.and(sent.map(drop)).map_err(io::Error::other)
    });
    let read = pin!(async {
        let mut head = Vec::new();
        while memchr::memmem::find(&head, END).is_none() {
            if theirs.read_buf(&mut head).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(head)
    });
    let mut head = tokio::select! {
        biased;
        head = read => head?,
        refused = exchange => return Err(refused.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    };
    let end = memchr::memmem::find(&head, END).map_or(head.len(), |at| at + END.len());
    head.truncate(end);
    Ok(head)
}

const END: &[u8] = b"\r\n\r\n";
/// Bytes of the pipe between the client and us.
const PIPE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_is_written_as_to_an_endpoint() {
        let request = Request::get("http://kz.example/a?b=c")
            .header("host", "kz.example")
            .header("x", "y")
            .body(RequestBody::empty())
            .unwrap();
        assert_eq!(head(request).await.unwrap(), b"GET /a?b=c HTTP/1.1\r\nhost: kz.example\r\nx: y\r\n\r\n");
    }
}
