//! What was sent of a request's body while no answer came.
//!
//! An HTTP/2 endpoint can say that it has not acted on a request when a part of its body, or all of it, is on its way
//! (RFC 9113 §8.7). Then the request goes once more, and the body from its beginning. Never sends anything. Bound:
//! [`KEPT_BYTES`] of one body in [`KEPT_PIECES`]; of a body that is longer nothing is kept, and it is not sent again.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use smallvec::SmallVec;

/// The beginning of a body, or all of it, in the pieces in which it came.
pub(super) struct Kept {
    pieces: SmallVec<[Bytes; 1]>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    /// Whether nothing is missing of what was sent.
    whole: bool,
    /// Whether the body ended with it.
    ended: bool,
}

impl Kept {
    /// Nothing was sent yet.
    pub(super) const fn new() -> Self {
        Self { pieces: SmallVec::new_const(), bytes: 0, trailers: None, whole: true, ended: false }
    }

    /// A frame is about to be sent.
    pub(super) fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.whole {
            return;
        }
        if let Some(fields) = frame.trailers_ref() {
            self.trailers = Some(fields.clone());
            self.ended = true;
        } else if let Some(data) = frame.data_ref()
            && !data.is_empty()
        {
            self.bytes = self.bytes.saturating_add(data.len());
            if self.bytes > KEPT_BYTES || self.pieces.len() == KEPT_PIECES {
                self.give_up();
            } else {
                self.pieces.push(data.clone());
            }
        }
    }

    /// No frame follows.
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }

    /// It will not be needed, or is too much.
    pub(super) fn give_up(&mut self) {
        (self.pieces, self.trailers, self.whole) = (SmallVec::new(), None, false);
    }

    /// Whether nothing is missing of what was sent.
    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether the body ended with it.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether there is nothing to send before the rest.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none()
    }

    /// Bytes to send before the rest.
    pub(super) fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Takes the first frame that is left.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.pieces.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        Some(Frame::data(self.pieces.remove(0)))
    }
}

/// Most bytes kept of one body.
pub(super) const KEPT_BYTES: usize = 64 << 10;
/// Most pieces: a small one may hold the whole buffer that it was read into.
pub(super) const KEPT_PIECES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[usize]) -> Kept {
        let mut kept = Kept::new();
        for &length in pieces {
            kept.keep(&Frame::data(Bytes::from(vec![b'x'; length])));
        }
        kept
    }

    #[test]
    fn what_was_sent_comes_again_in_its_order() {
        let mut kept = kept(&[3, 0, 2]);
        let fields: HeaderMap = [(http::header::ETAG, "a".parse().unwrap())].into_iter().collect();
        kept.keep(&Frame::trailers(fields.clone()));
        assert!(kept.is_whole() && kept.has_ended() && kept.length() == 5);
        assert_eq!(kept.next().unwrap().into_data().unwrap(), "xxx");
        assert_eq!(kept.next().unwrap().into_data().unwrap(), "xx");
        assert!(!kept.is_empty());
        assert_eq!(kept.next().unwrap().into_trailers().unwrap(), fields);
        assert!(kept.is_empty() && kept.next().is_none());
    }

    #[test]
    fn more_than_the_bound_is_not_kept() {
        assert!(kept(&[KEPT_BYTES]).is_whole());
        assert!(kept(&[1; KEPT_PIECES]).is_whole());
        for mut more in [kept(&[KEPT_BYTES, 1]), kept(&[1; KEPT_PIECES + 1])] {
            assert!(!more.is_whole() && more.next().is_none());
            more.keep(&Frame::data(Bytes::from_static(b"x")));
            assert!(!more.is_whole() && more.is_empty());
        }
    }
}
