//! An answer's body on an HTTP/2 stream, handed to hyper in pieces.
//!
//! hyper takes a frame before the client's window has room for it, and once it is in h2 nobody can take it back. So what
//! a client can hold here without reading is one piece; the rest goes with the stream when
//! [`crate::listen::patience`] ends it. Never changes a byte. Bound: 16 KiB a piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::body::Body;
use crate::error::Refusal;
use crate::listen::patience;

/// A body and what is left of its last frame.
pub struct Pieces {
    body: Body,
    rest: Bytes,
}

impl Pieces {
    /// The pieces of `body`.
    pub(super) const fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new() }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if self.rest.is_empty() {
            patience::site_is_awaited();
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.len() > PIECE) => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                other => {
                    patience::client_is_awaited();
                    return Poll::Ready(other);
                }
            }
        }
        patience::client_is_awaited();
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn piece(&mut self) -> Bytes {
        if self.rest.len() > PIECE {
            return self.rest.split_to(PIECE);
        }
        let last = std::mem::take(&mut self.rest);
        // The last one outlives the stream's task in h2, and must not hold the others' memory there.
        if self.body.is_end_stream() { Bytes::copy_from_slice(&last) } else { last }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let (mut hint, waiting) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + waiting);
        }
        hint.set_lower(hint.lower() + waiting);
        hint
    }
}

/// Bytes handed on at a time: h2's frames are no larger.
pub(super) const PIECE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn pieces(length: usize) -> Vec<Bytes> {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut body = Body::whole(bytes.clone().into()).in_pieces();
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut all = Vec::new();
        while let Some(frame) = runtime.block_on(body.frame()) {
            all.push(frame.unwrap().into_data().unwrap());
            let left = length - all.iter().map(Bytes::len).sum::<usize>();
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            assert_eq!(body.is_end_stream(), left == 0);
        }
        assert_eq!(all.concat(), bytes);
        all
    }

    #[test]
    fn a_body_comes_whole_in_pieces_of_bounded_size() {
        for (length, count) in
            [(0, 0), (1, 1), (PIECE, 1), (PIECE + 1, 2), (5 * PIECE, 5), (5 * PIECE + 7, 6)]
        {
            let all = pieces(length);
            assert_eq!(all.len(), count, "{length}");
            assert!(all.iter().all(|piece| piece.len() <= PIECE));
        }
    }

    #[test]
    fn the_last_piece_holds_no_memory_of_the_others() {
        let all = pieces(3 * PIECE);
        let end = all[1].as_ptr().wrapping_add(PIECE);
        assert_ne!(all[2].as_ptr(), end);
        assert_eq!(all[1].as_ptr(), all[0].as_ptr().wrapping_add(PIECE));
    }
}
