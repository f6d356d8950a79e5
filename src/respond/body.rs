//! The answer's body on its way to the client, and the promise about its end.
//!
//! The last bytes of an answer are held back until its record has reached the level of durability that was promised:
//! whoever received an answer in full has a record. A body that is dropped before its end is recorded as given up, by
//! the exchange itself.
//! Never changes a byte. Bound: one frame at a time.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::pieces::{PIECE, Pieces};
use super::trailers::Reach;
use crate::error::Refusal;
use crate::exchange::Exchange;
use crate::forward::AnswerBody;
use crate::record::emit;
use crate::store::recorder::Submission;

/// The body of every answer.
pub enum Body {
    /// Recorded already; what is left to send.
    Whole(Option<Bytes>),
    /// Recorded already; never sent, but of this length in bytes. hyper writes the `Content-Length` of a 304 (RFC 9110
    /// §15.4.5) only for a body that claims to have it.
    Unsent(u64),
    /// From the site.
    Streaming(Box<Streaming>),
    /// One of these on an HTTP/2 stream.
    Pieces(Box<Pieces>),
}

/// A body that comes from the site while it is sent to the client.
pub struct Streaming {
    source: AnswerBody,
    exchange: Box<Exchange>,
    reach: Reach,
    stage: Stage,
}

enum Stage {
    /// A frame that came with the head.
    First(Frame<Bytes>),
    /// Frames are passed on as they come.
    Passing,
    /// The last frame, if there is one, waits for its record.
    Holding(Option<Frame<Bytes>>, Submission),
    /// Nothing is left.
    Done,
}

impl Body {
    /// A body whose record is written.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// The site's body, with its first frame if that has come already.
    #[must_use]
    pub(super) fn streaming(
        (source, first): (AnswerBody, Option<Frame<Bytes>>),
        exchange: Box<Exchange>,
        reach: Reach,
    ) -> Self {
        let stage = first.map_or(Stage::Passing, Stage::First);
        Self::Streaming(Box::new(Streaming { source, exchange, reach, stage }))
    }

    /// The same for an HTTP/2 stream.
    #[must_use]
    pub fn in_pieces(self) -> Self {
        match self {
            Self::Whole(bytes) if bytes.as_ref().is_none_or(|bytes| bytes.len() <= PIECE) => {
                Self::Whole(bytes)
            }
            body => Self::Pieces(Box::new(Pieces::new(body))),
        }
    }
}

/// Redacted: bodies are nobody's business.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(..)")
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Unsent(_) => Poll::Ready(None),
            Self::Streaming(streaming) => streaming.poll_frame(cx),
            Self::Pieces(pieces) => pieces.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Unsent(_) => false,
            Self::Streaming(streaming) => matches!(streaming.stage, Stage::Done),
            Self::Pieces(pieces) => pieces.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Unsent(length) => SizeHint::with_exact(*length),
            Self::Streaming(streaming) => streaming.size_hint(),
            Self::Pieces(pieces) => pieces.size_hint(),
        }
    }
}

impl Streaming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::First(frame) => {
                    self.stage = Stage::Passing;
                    if let Some(frame) = self.pass(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Stage::Passing => {
                    self.stage = Stage::Passing;
                    match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            if let Some(frame) = self.pass(frame) {
                                return Poll::Ready(Some(Ok(frame)));
                            }
                        }
                        Some(Err(refusal)) => {
                            self.stage = Stage::Done;
                            self.exchange.error = Some(refusal.reason());
                            emit::finish_now(&mut self.exchange);
                            return Poll::Ready(Some(Err(refusal)));
                        }
                        None => self.hold(None),
                    }
                }
                Stage::Holding(frame, mut submission) => {
                    if Pin::new(&mut submission).poll(cx).is_pending() {
                        self.stage = Stage::Holding(frame, submission);
                        return Poll::Pending;
                    }
                    return Poll::Ready(frame.map(Ok));
                }
                Stage::Done => return Poll::Ready(None),
            }
        }
    }

    /// Counts a frame. Gives it back to be sent now, or holds it if it is the last.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        if let Some(data) = frame.data_ref() {
            self.exchange.sent.set(self.exchange.sent.get() + data.len() as u64);
        }
        if let Some(fields) = frame.trailers_ref() {
            let dropped = self.source.trailers_dropped() + self.reach.lost(fields);
            self.exchange.worker.metrics.dropped_trailers(dropped);
        }
        if frame.is_trailers() || self.source.is_end_stream() {
            self.hold(Some(frame));
            None
        } else {
            Some(frame)
        }
    }

    fn hold(&mut self, last: Option<Frame<Bytes>>) {
        self.stage = Stage::Holding(last, emit::finish(&mut self.exchange));
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = match &self.stage {
            Stage::First(frame) | Stage::Holding(Some(frame), _) => {
                frame.data_ref().map_or(0, |d| d.len() as u64)
            }
            _ => 0,
        };
        let left = self.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower() + waiting);
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + waiting);
        }
        hint
    }
}
