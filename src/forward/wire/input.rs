//! What was read from an endpoint and not yet understood.
//!
//! The buffer grows with the answers that come, so that a large one takes few reads and a small one little memory.
//! What is taken out of it shares its memory. Bound: [`LARGEST_READ`] beyond what is kept unread.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The bytes of one connection.
pub(super) struct Input {
    /// Unread bytes.
    pub(super) bytes: BytesMut,
    /// Bytes that this exchange has brought.
    seen: usize,
    /// Room that the next read should find.
    appetite: usize,
}

impl Input {
    /// Nothing, and no memory.
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), seen: 0, appetite: SMALLEST_READ }
    }

    /// An exchange begins. It is expected to bring as much as the last one did.
    pub(super) fn begin(&mut self) {
        self.appetite = self.seen.next_multiple_of(SMALLEST_READ).clamp(SMALLEST_READ, LARGEST_READ);
        self.seen = 0;
    }

    /// Reads once. At most `wanted` more bytes are known to be needed.
    pub(super) fn poll_fill<T: AsyncRead + Unpin>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        wanted: u64,
    ) -> Poll<io::Result<usize>> {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(LARGEST_READ).max(self.appetite);
        if self.bytes.capacity() - self.bytes.len() < wanted.min(SMALLEST_READ) {
            self.make_room(wanted);
        }
        let polled = pin!(transport.read_buf(&mut self.bytes)).poll(cx);
        if let Poll::Ready(Ok(n)) = polled {
            self.seen = self.seen.saturating_add(n);
            if self.bytes.capacity() == self.bytes.len() {
                self.appetite = (self.appetite * 2).min(LARGEST_READ);
            }
        }
        polled
    }

    /// Gives the memory back. The expectation stays.
    pub(super) fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    fn make_room(&mut self, wanted: usize) {
        // Memory whose frames are gone is used again; else a new piece leaves the old one to its frames.
        if !self.bytes.try_reclaim(wanted) {
            if self.bytes.is_empty() {
                self.bytes = BytesMut::with_capacity(wanted);
            } else {
                self.bytes.reserve(wanted);
            }
        }
    }
}

/// Bytes of room for a read of unknown size.
pub(super) const SMALLEST_READ: usize = 8 * 1024;
/// Bytes of room at most.
pub(super) const LARGEST_READ: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn room_grows_with_what_comes_and_shrinks_again() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut input = Input::new();
        let large = vec![b'x'; 1 << 20];
        let mut source = &large[..];
        let mut reads = 0;
        while matches!(input.poll_fill(&mut source, &mut cx, 0), Poll::Ready(Ok(n)) if n > 0) {
            assert!(input.bytes.capacity() <= LARGEST_READ);
            input.bytes = BytesMut::from(&input.bytes.split()[..0]);
            reads += 1;
        }
        assert!(reads < 16, "{reads}");
        input.begin();
        assert_eq!(input.appetite, LARGEST_READ);
        input.begin();
        assert_eq!(input.appetite, SMALLEST_READ);
        input.rest();
        assert_eq!(input.bytes.capacity(), 0);
    }

    #[test]
    fn a_known_length_is_read_at_once() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut input = Input::new();
        let large = vec![b'x'; 65_536];
        let read = input.poll_fill(&mut &large[..], &mut cx, 65_536);
        assert!(matches!(read, Poll::Ready(Ok(65_536))));
    }
}
