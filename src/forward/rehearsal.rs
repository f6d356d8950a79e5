//! The head of a request as an endpoint would get it, without an endpoint.
//!
//! The same framing and the same client as on a real connection write it into memory. Never opens a socket, never waits
//! for the request's body. Bound: the head.

use std::io;
use std::pin::pin;

use http::Request;
use tokio::io::{AsyncReadExt, DuplexStream};

use super::body::RequestBody;
use super::framing;
use super::wire::{HeadLimits, Http1, Wire};

/// The head's bytes with the empty line at its end.
///
/// # Errors
/// The client refuses to write it.
pub(crate) async fn head(mut request: Request<RequestBody>) -> io::Result<Vec<u8>> {
    framing::request(&mut request);
    let (ours, mut theirs) = tokio::io::duplex(PIPE);
    let opened = <Box<Http1<DuplexStream>> as Wire<_>>::open(ours, HeadLimits::USUAL).await;
    let mut wire = opened.map_err(io::Error::other)?;
    let exchange = pin!(wire.exchange(&mut request));
    let read = pin!(async {
        let mut head = Vec::new();
        loop {
            if theirs.read_buf(&mut head).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if let Some(at) = memchr::memmem::find(&head, END) {
                head.truncate(at + END.len());
                return Ok(head);
            }
        }
    });
    tokio::select! {
        biased;
        head = read => head,
        // Nobody answers, so this is a refusal to send.
        ended = exchange => Err(match ended {
            Err(failure) => io::Error::other(failure.refusal),
            Ok(_) => io::ErrorKind::UnexpectedEof.into(),
        }),
    }
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
        let wanted = b"GET /a?b=c HTTP/1.1\r\nhost: kz.example\r\nx: y\r\n\r\n";
        assert_eq!(head(request).await.unwrap(), wanted);
    }
}
