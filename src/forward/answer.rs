//! The answer's body on its way to the client, and the connection that it comes from.
//!
//! The connection goes back to the pool when the body has ended and the request was sent to its end; in every other
//! case it is closed. A cut body is an error, never a short body that looks whole. Reads nothing and changes nothing
//! but trailers. Bound: one frame at a time.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::Upload;
use super::pool::Lease;
use super::trailers;
use super::wire::{Active, Wire};
use crate::clock;
use crate::error::{Reason, Refusal};

type Inner = <Active as Wire>::Body;

/// The body of an endpoint's answer. Its error is a [`Refusal`] with `UpstreamBodyBroken`, `UpstreamBodyTimeout`, or
/// the reason why the client's own body failed meanwhile.
pub struct AnswerBody {
    inner: Inner,
    /// `None` once the exchange is over.
    lease: Option<Lease>,
    upload: Option<Rc<Upload>>,
    reusable: bool,
    waiting_since: Option<Instant>,
}

impl AnswerBody {
    /// The body of an exchange that runs on `lease`.
    pub(super) fn new(inner: Inner, lease: Lease, upload: Option<Rc<Upload>>, reusable: bool) -> Self {
        let mut body = Self { inner, lease: Some(lease), upload, reusable, waiting_since: None };
        if body.inner.is_end_stream() {
            body.complete();
        }
        body
    }

    /// The empty body of a 101: the connection belongs to the upgrade.
    pub(super) fn upgraded(inner: Inner, lease: Lease) -> Self {
        lease.detach();
        Self { inner, lease: None, upload: None, reusable: false, waiting_since: None }
    }

    /// The answer has ended.
    fn complete(&mut self) {
        // An early answer leaves an upload half sent: that connection is closed, and with it the upload.
        let sent = self.upload.as_ref().is_none_or(|upload| upload.finished());
        if let Some(lease) = self.lease.take()
            && self.reusable
            && sent
        {
            lease.give_back();
        }
    }

    fn broken(&mut self, reason: Reason, error: Option<hyper::Error>) -> Refusal {
        self.lease = None;
        let reason = self.upload.as_ref().and_then(|upload| upload.failure()).unwrap_or(reason);
        error.map_or_else(|| Refusal::from(reason), |error| Refusal::caused_by(reason, error))
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(lease) = &mut self.lease else { return Poll::Pending };
        let due = *self.waiting_since.get_or_insert_with(clock::monotonic) + lease.settings().body;
        match lease.connection() {
            Some(connection) => connection.timer.poll_until(cx, due, |_| due),
            None => Poll::Pending,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.waiting_since = None;
                if let Some(fields) = frame.trailers_mut() {
                    trailers::clean_answer(fields);
                    this.complete();
                } else if this.inner.is_end_stream() {
                    // Whoever writes the answer need not ask again for a body of known length.
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(this.broken(Reason::UpstreamBodyBroken, Some(error)))))
            }
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match this.poll_timeout(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(this.broken(Reason::UpstreamBodyTimeout, None)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
