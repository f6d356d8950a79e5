//! A request on its way to an endpoint: its head, and its body in the framing that the head announced.
//!
//! The head is written from the request's fields without taking them; small frames share its write, large ones are
//! written from where they lie. Never announces a framing: that is `forward::framing`'s. Bounds: [`FILL_BYTES`] and one
//! frame that the endpoint has not taken yet.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use crate::error::{Reason, Refusal};
use crate::forward::body::RequestBody;
use crate::forward::kept::Kept;

/// The request of one exchange.
pub(super) struct Sending {
    /// Encoded bytes, of which `at` are written.
    out: Vec<u8>,
    at: usize,
    /// A large frame, which comes next.
    data: Bytes,
    /// What ends it.
    tail: &'static [u8],
    coding: Coding,
    /// `None` when all of it was taken.
    body: Option<RequestBody>,
    /// Not a byte was written, and the body was not asked.
    untouched: bool,
    /// Something was written that may lie in a buffer of the transport.
    unflushed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Coding {
    /// So many bytes are still owed.
    Length(u64),
    Chunked,
}

/// Why a request cannot be sent to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client's body failed.
    Body(Refusal),
    /// The connection did. An answer may have come all the same.
    Transport(io::Error),
}

impl Sending {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self {
            out: Vec::new(),
            at: 0,
            data: Bytes::new(),
            tail: b"",
            coding: Coding::Length(0),
            body: None,
            untouched: true,
            unflushed: false,
        }
    }

    /// Encodes the head and takes the body.
    pub(super) fn begin(&mut self, request: &mut Request<RequestBody>) {
        self.reset();
        head(&mut self.out, request);
        if !request.body().is_end_stream() {
            let exact = request.body().size_hint().exact();
            self.coding = exact.map_or(Coding::Chunked, Coding::Length);
            self.body = Some(request.body_mut().take());
        }
    }

    /// Gives the body back if the endpoint cannot have got anything of this request.
    pub(super) fn give_back(&mut self, request: &mut Request<RequestBody>) -> bool {
        if self.untouched
            && let Some(body) = self.body.take()
        {
            request.body_mut().put_back(body, Kept::new());
        }
        self.untouched
    }

    /// Whether everything was handed to the transport.
    pub(super) fn finished(&self) -> bool {
        self.body.is_none() && self.buffered() == 0 && !self.unflushed
    }

    /// Whether frames of the body are still to come.
    pub(super) const fn wants_body(&self) -> bool {
        self.body.is_some()
    }

    /// Sends what can be sent. Ready when everything was.
    pub(super) fn poll<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.fill(cx).map_err(Broken::Body)?;
            if self.buffered() > 0 {
                let n = ready!(self.poll_write(transport, cx)).map_err(Broken::Transport)?;
                self.wrote(n);
            } else {
                if self.unflushed {
                    ready!(Pin::new(&mut *transport).poll_flush(cx)).map_err(Broken::Transport)?;
                    self.unflushed = false;
                }
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        }
    }

    /// Gives memory back that only an exchange needs.
    pub(super) fn rest(&mut self) {
        self.reset();
        self.out = Vec::new();
    }

    fn reset(&mut self) {
        self.out.clear();
        if self.out.capacity() > FILL_BYTES {
            self.out = Vec::new();
        }
        (self.at, self.data, self.tail) = (0, Bytes::new(), b"");
        (self.coding, self.body) = (Coding::Length(0), None);
        (self.untouched, self.unflushed) = (true, false);
    }

    fn buffered(&self) -> usize {
        self.out.len() - self.at + self.data.len() + self.tail.len()
    }

    /// Takes frames while there is room for them.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), Refusal> {
        while self.data.is_empty() && self.tail.is_empty() && self.out.len() - self.at < FILL_BYTES {
            let Some(body) = &mut self.body else { return Ok(()) };
            self.untouched = false;
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => {
                    let last = body.is_end_stream();
                    self.push(frame?)?;
                    if last {
                        self.end()?;
                    }
                }
                Poll::Ready(None) => self.end()?,
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame<Bytes>) -> Result<(), Refusal> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let Ok(fields) = frame.into_trailers() {
                    self.end_with(&fields)?;
                }
                return Ok(());
            }
        };
        if data.is_empty() {
            return Ok(());
        }
        let end: &'static [u8] = match &mut self.coding {
            Coding::Length(left) => {
                // More than was announced would be read as the next request.
                *left = left.checked_sub(data.len() as u64).ok_or(Reason::BodyBroken)?;
                b""
            }
            Coding::Chunked => {
                write!(self.out, "{:X}\r\n", data.len()).map_err(internal)?;
                b"\r\n"
            }
        };
        if data.len() <= COPY_BYTES {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(end);
        } else {
            (self.data, self.tail) = (data, end);
        }
        Ok(())
    }

    /// The body has ended.
    fn end(&mut self) -> Result<(), Refusal> {
        if self.body.take().is_none() {
            return Ok(());
        }
        match self.coding {
            Coding::Length(0) => {}
            Coding::Length(_) => return Err(Refusal::from(Reason::BodyBroken)),
            Coding::Chunked if self.tail.is_empty() => self.out.extend_from_slice(b"0\r\n\r\n"),
            Coding::Chunked => self.tail = b"\r\n0\r\n\r\n",
        }
        Ok(())
    }

    /// The body has ended with these trailers. A body of known length has no room for them.
    fn end_with(&mut self, fields: &HeaderMap) -> Result<(), Refusal> {
        if matches!(self.coding, Coding::Length(_)) {
            if let Some(body) = &self.body {
                body.lose_trailers(fields.keys_len());
            }
            return self.end();
        }
        self.body = None;
        self.out.extend_from_slice(b"0\r\n");
        write_fields(&mut self.out, fields);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let out = &self.out[self.at..];
        let vectored = transport.is_write_vectored();
        let transport = Pin::new(transport);
        let written = if self.data.is_empty() && self.tail.is_empty() {
            transport.poll_write(cx, out)
        } else if vectored {
            let slices = [IoSlice::new(out), IoSlice::new(&self.data), IoSlice::new(self.tail)];
            transport.poll_write_vectored(cx, &slices)
        } else {
            let first = [out, &self.data[..], self.tail].into_iter().find(|part| !part.is_empty());
            transport.poll_write(cx, first.unwrap_or_default())
        };
        match ready!(written) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            outcome => Poll::Ready(outcome),
        }
    }

    fn wrote(&mut self, n: usize) {
        (self.untouched, self.unflushed) = (false, true);
        let of_out = n.min(self.out.len() - self.at);
        self.at += of_out;
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
        }
        let of_data = (n - of_out).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[n - of_out - of_data..];
    }
}

fn head(out: &mut Vec<u8>, request: &Request<RequestBody>) {
    out.reserve(HEAD_ROOM);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with(['/', '*']) {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(out, request.headers());
    out.extend_from_slice(request.body().own().lines());
    out.extend_from_slice(b"\r\n");
}

fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn internal(error: io::Error) -> Refusal {
    Refusal::caused_by(Reason::Internal, error)
}

/// Bytes from which on no further frame is taken; and of encoding memory kept between exchanges.
const FILL_BYTES: usize = 16 * 1024;
/// Bytes of the largest frame that is copied behind what is already there: cheaper than a longer `writev`.
const COPY_BYTES: usize = 4 * 1024;
/// Bytes that most heads fit into.
const HEAD_ROOM: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body::SizeHint;
    use tokio::io::duplex;

    use super::*;

    /// Endless frames of so many bytes.
    struct Endless(usize);

    impl Body for Endless {
        type Data = Bytes;
        type Error = Refusal;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.0])))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::new()
        }
    }

    #[test]
    fn an_endpoint_that_takes_nothing_holds_the_upload_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for bytes in [1, 1000, 5000, 100_000] {
                let stub = RequestBody::stub(Endless(bytes), u64::MAX, Duration::from_secs(20));
                let mut request = Request::new(stub);
                let (mut ours, _theirs) = duplex(1);
                let mut sending = Sending::new();
                sending.begin(&mut request);
                poll_once(&mut sending, &mut ours).await;
                assert!(sending.buffered() <= FILL_BYTES + bytes + 16, "{bytes}: {}", sending.buffered());
                assert!(sending.wants_body() && !sending.finished());
            }
        });
    }

    async fn poll_once(sending: &mut Sending, transport: &mut tokio::io::DuplexStream) {
        std::future::poll_fn(|cx| {
            assert!(sending.poll(transport, cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
}
