//! The answer's body on its way to the client, and the connection that it comes from.
//!
//! The connection goes back to the pool when the body has ended and the request was sent to its end; in every other
//! case it is closed. A cut body is an error, never a short body that looks whole. Reads nothing and changes nothing
//! but trailers. Bound: one frame at a time.

use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::Upload;
use super::pool::Lease;
use super::trailers;
use super::wire::Wire;
use crate::clock;
use crate::error::{Reason, Refusal};
use crate::ingress::headers::Listed;

/// The body of an endpoint's answer. Its error is a [`Refusal`] with `UpstreamBodyBroken`, `UpstreamBodyTimeout`, or
/// the reason why the client's own body failed meanwhile.
pub struct AnswerBody {
    source: Source,
    upload: Option<Rc<Upload>>,
    reusable: bool,
    /// Names that may not come as a trailer.
    listed: Listed,
    trailers_dropped: usize,
    waiting_since: Option<Instant>,
    /// A frame was handed on, and whoever took it has not been made to wait since.
    handed: bool,
    /// Why the body broke, to be told next.
    broke: Option<Refusal>,
}

/// Where the frames come from.
enum Source {
    /// A connection that carries nothing else.
    Wire(Lease),
    /// Nothing comes any more: the exchange is over, and its connection gone back or closed.
    Over,
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self {
            Self::Wire(lease) => match lease.connection() {
                Some(connection) => connection.wire.poll_frame(cx),
                None => Poll::Ready(Some(Err(Refusal::from(Reason::Internal)))),
            },
            Self::Over => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(lease) => lease.wire().is_none_or(Wire::is_end_stream),
            Self::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Wire(lease) => lease.wire().map_or_else(SizeHint::new, Wire::size_hint),
            Self::Over => SizeHint::with_exact(0),
        }
    }

    /// Ready when the endpoint has said nothing since `since` for too long.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, since: Instant) -> Poll<()> {
        let Self::Wire(lease) = self else { return Poll::Pending };
        let due = since + lease.settings().body;
        match lease.connection() {
            Some(connection) => connection.timer.poll_until(cx, due, |_| due),
            None => Poll::Pending,
        }
    }
}

impl AnswerBody {
    /// The body of an exchange that runs on `lease`.
    pub(super) fn new(lease: Lease, upload: Option<Rc<Upload>>, reusable: bool) -> Self {
        let mut body = Self { source: Source::Wire(lease), upload, reusable, ..Self::empty() };
        if body.source.is_end_stream() {
            body.complete();
        }
        body
    }

    /// No body.
    pub(super) const fn empty() -> Self {
        Self {
            source: Source::Over,
            upload: None,
            reusable: false,
            listed: Listed::new(),
            trailers_dropped: 0,
            waiting_since: None,
            handed: false,
            broke: None,
        }
    }

    /// Names that may not come as a trailer, since the head of the answer lists them as its hop's own.
    pub fn list(&mut self, names: Listed) {
        self.listed = names;
    }

    /// Trailer fields that were removed.
    #[must_use]
    pub const fn trailers_dropped(&self) -> usize {
        self.trailers_dropped
    }

    /// The answer has ended.
    fn complete(&mut self) {
        // An early answer leaves an upload half sent: that connection is closed, and with it the upload.
        let sent = self.upload.as_ref().is_none_or(|upload| upload.finished());
        if let Source::Wire(lease) = mem::replace(&mut self.source, Source::Over)
            && self.reusable
            && sent
        {
            lease.give_back();
        }
    }

    /// Closes the connection. A client's body that failed meanwhile is the reason that is told.
    fn broken(&mut self, refusal: Refusal) -> Refusal {
        self.source = Source::Over;
        match self.upload.as_ref().and_then(|upload| upload.failure()) {
            Some(reason) if reason != refusal.reason() => Refusal::caused_by(reason, refusal),
            _ => refusal,
        }
    }

    /// Tells that the body broke. What was handed on just now is sent first: hyper drops what it has not written when
    /// it hears of an error, and a client whose answer never begins takes it for a lost connection.
    fn poll_broken(&mut self, cx: &mut Context<'_>, refusal: Refusal) -> Poll<Refusal> {
        if mem::take(&mut self.handed) {
            self.broke = Some(refusal);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(refusal)
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(clock::monotonic);
        self.source.poll_timeout(cx, since)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let this = self.get_mut();
        if let Some(refusal) = this.broke.take() {
            return Poll::Ready(Some(Err(refusal)));
        }
        match this.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.waiting_since = None;
                this.handed = true;
                if let Some(fields) = frame.trailers_mut() {
                    this.trailers_dropped += trailers::clean_answer(fields, &this.listed);
                    this.complete();
                } else if this.source.is_end_stream() {
                    // Whoever writes the answer need not ask again for a body of known length.
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(refusal))) => {
                let refusal = this.broken(refusal);
                this.poll_broken(cx, refusal).map(|refusal| Some(Err(refusal)))
            }
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match this.poll_timeout(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(this.broken(Reason::UpstreamBodyTimeout.into())))),
                Poll::Pending => {
                    this.handed = false;
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broke.is_none() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.broke.is_some() { SizeHint::new() } else { self.source.size_hint() }
    }
}
