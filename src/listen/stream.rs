//! The I/O object that hyper reads from and writes to.
//!
//! On HTTP/1.1 everything that is read passes the scan first: hyper gets whole heads that are clean, and the bodies that
//! follow them; the beginning of a head waits here for its end. Tells the connection about progress, so that deadlines
//! can be kept, and gives the transport back when hyper is done with it. Never changes a byte. Bound: one head, at most
//! `limits.head_bytes` and a read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::link::Link;
use super::scan::{Scan, Step};
use crate::clock;
use crate::error::Reason;

/// A client's byte stream, encrypted or not.
#[derive(Debug)]
pub enum Transport {
    /// Cleartext.
    Plain(Link),
    /// TLS; boxed, since its state is large.
    Tls(Box<TlsStream<Link>>),
    /// Given back: nothing can be read or written any more.
    Gone,
}

/// A [`Transport`] with what was read from it too early, its scan and its connection.
#[derive(Debug)]
pub struct Stream {
    /// Bytes not handed on yet: `ready` ones that may be, then the beginning of a head.
    held: BytesMut,
    ready: usize,
    /// `None` on HTTP/2 and in a tunnel.
    scan: Option<Scan>,
    ended: bool,
    /// The writing side has been ended.
    shut: bool,
    transport: Transport,
    connection: Arc<Connection>,
    back: Option<oneshot::Sender<Remains>>,
}

/// What is left of a connection when hyper is done with it.
#[derive(Debug)]
pub struct Remains {
    /// The transport.
    pub transport: Transport,
    /// Why hyper was not shown a head.
    pub refused: Option<Reason>,
    /// A head has begun: the client waits for an answer to it.
    pub waiting: bool,
    /// What came of that head.
    pub head: BytesMut,
    /// Bytes of the client are unread, or more are to come.
    pub unread: bool,
    /// Whether hyper has ended the writing side. It does not where a request asked for a tunnel, even if it got none.
    pub shut: bool,
}

impl Transport {
    /// Sends small answers at once: without it one may wait for the client's delayed acknowledgement.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Plain(link) => link.set_nodelay(),
            Self::Tls(stream) => stream.get_ref().0.set_nodelay(),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Makes the close a reset, by TLS too: many take its end without a closing alert for an end like any other.
    fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Plain(link) => link.reset_on_close(),
            Self::Tls(stream) => stream.get_ref().0.reset_on_close(),
            Self::Gone => Ok(()),
        }
    }
}

impl Stream {
    /// A stream without a scan, whose first bytes, `prefix`, have been read already.
    #[must_use]
    pub fn new(prefix: BytesMut, transport: Transport, connection: Arc<Connection>) -> Self {
        let ready = prefix.len();
        Self { held: prefix, ready, scan: None, ended: false, shut: false, transport, connection, back: None }
    }

    /// A stream whose bytes pass `scan`. When it is dropped `back` gets what remains.
    #[must_use]
    pub fn scanned(
        prefix: BytesMut,
        transport: Transport,
        connection: Arc<Connection>,
        scan: Scan,
        back: oneshot::Sender<Remains>,
    ) -> Self {
        let mut stream = Self {
            held: prefix,
            ready: 0,
            scan: Some(scan),
            ended: false,
            shut: false,
            transport,
            connection,
            back: Some(back),
        };
        stream.screen_held();
        stream
    }

    fn wrote(&self, progress: bool) {
        if progress {
            self.connection.write_progressed(clock::monotonic);
        } else {
            self.connection.write_blocked(clock::monotonic);
        }
    }

    /// Learns what became of a request for a tunnel.
    fn settle(&mut self) {
        let Some(scan) = &mut self.scan else { return };
        if !scan.undecided() {
            return;
        }
        if self.connection.is_tunnel() {
            self.scan = None;
            self.ready = self.held.len();
        } else if self.connection.all_answered() {
            scan.no_tunnel();
            self.screen_held();
        }
    }

    fn screen_held(&mut self) {
        if let Some(scan) = &mut self.scan {
            self.ready += screen(scan, &self.connection, &self.held[self.ready..]);
        }
    }

    /// Hands on what may be.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.ready.min(buf.remaining());
        buf.put_slice(&self.held[..n]);
        self.held.advance(n);
        self.ready -= n;
        if self.held.is_empty() {
            // An idle connection holds no memory.
            self.held = BytesMut::new();
        }
    }

    /// Reads into hyper's buffer, and takes back what may not be handed on.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        self.ended = read.is_empty();
        if let Some(scan) = &mut self.scan
            && !read.is_empty()
        {
            let clean = screen(scan, &self.connection, read);
            if clean < read.len() {
                self.held.extend_from_slice(&read[clean..]);
                buf.set_filled(before + clean);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a little for hyper where that does not, to hear that the client goes. What comes is kept in its order; a
    /// client that has sent more than that is only heard once hyper has come to it.
    fn watch_client(&mut self, cx: &mut Context<'_>) {
        while self.held.len() < MORE {
            match self.read_more(cx) {
                Poll::Pending => return,
                // It may be what hyper waits for, although it has a whole head.
                Poll::Ready(Ok(())) if !self.ended => cx.waker().wake_by_ref(),
                Poll::Ready(_) => return self.connection.leave(),
            }
        }
    }

    /// Reads more of what follows the bytes that were handed on.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.held.len();
        self.held.resize(before + MORE, 0);
        let mut buf = ReadBuf::new(&mut self.held[before..]);
        let polled = Pin::new(&mut self.transport).poll_read(cx, &mut buf);
        let n = buf.filled().len();
        self.held.truncate(before + n);
        ready!(polled)?;
        self.ended = n == 0;
        self.screen_held();
        Poll::Ready(Ok(()))
    }
}

/// How many of these bytes may be handed on.
fn screen(scan: &mut Scan, connection: &Connection, bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match scan.step(&bytes[at..]) {
            Step::Head(n, tolerated) => {
                at += n;
                connection.head_passed(tolerated);
            }
            Step::Data(n) | Step::Framing(n) => at += n,
            Step::Partial => {
                if scan.in_head() {
                    connection.head_begins(clock::monotonic);
                }
                break;
            }
            Step::Refused(_) => {
                connection.refuse();
                break;
            }
            Step::Hold | Step::Broken => break,
        }
    }
    connection.set_in_body(scan.in_body());
    at
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Self::Gone => gone(),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
            Self::Gone => gone(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Gone => gone(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(s) => s.is_write_vectored(),
            Self::Tls(s) => s.is_write_vectored(),
            Self::Gone => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
            Self::Gone => gone(),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Self::Gone => gone(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.settle();
        loop {
            if this.ready > 0 {
                this.hand_on(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(scan) = &this.scan {
                if scan.is_broken() {
                    // hyper asks while it reads that body: the request fails, and the connection ends with its answer.
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                // Nobody is woken for more: the server takes over when what came before is answered.
                if scan.refused().is_some() {
                    return Poll::Pending;
                }
                if scan.undecided() && !this.held.is_empty() {
                    // hyper trusts that it is woken for what it could not read, so it does not ask again by itself.
                    this.connection.wait_for_answers(cx.waker());
                    return Poll::Pending;
                }
            }
            let before = buf.filled().len();
            if this.held.is_empty() {
                ready!(this.read_through(cx, buf))?;
            } else {
                ready!(this.read_more(cx))?;
            }
            if this.ended || buf.filled().len() > before {
                this.connection.set_heard();
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.connection.set_flushed(false);
        self.wrote(result.is_ready());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.connection.set_flushed(false);
        self.wrote(result.is_ready());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.transport).poll_flush(cx);
        if self.scan.is_some() && self.connection.is_ahead() {
            self.watch_client(cx);
        }
        // hyper flushes when it has nothing left to write.
        self.connection.set_flushed(result.is_ready());
        self.wrote(result.is_ready());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.shut |= polled.is_ready();
        polled
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(back) = self.back.take() else { return };
        if !self.shut && self.connection.is_ended_by_close() {
            // hyper did not come to the end of the answer. If the peer is gone, nobody can be misled.
            let _: io::Result<()> = self.transport.reset_on_close();
        }
        let scan = self.scan.as_ref();
        let remains = Remains {
            transport: std::mem::replace(&mut self.transport, Transport::Gone),
            refused: scan.and_then(Scan::refused),
            waiting: scan.is_some_and(Scan::in_head),
            unread: !self.ended && (!self.held.is_empty() || scan.is_some_and(Scan::in_body)),
            head: std::mem::take(&mut self.held),
            shut: self.shut,
        };
        // Nobody waits for what remains of a tunnel: it ends here.
        drop(back.send(remains));
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

/// Most bytes read at a time while a head is not complete.
const MORE: usize = 4096;
