//! The request body on its way to the endpoint: counted, limited and watched for progress.
//!
//! It reads nothing and changes nothing but trailers. What went wrong is kept in a cell that outlives the body, so that
//! a client's broken upload is answered 400, 408 or 413 and not blamed on the endpoint. Bound: one frame at a time.

use std::cell::Cell;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::kept::Kept;
use super::timer::LazyTimer;
use super::trailers;
use crate::clock;
use crate::config;
use crate::error::{Reason, Refusal};
use crate::ingress::headers::Listed;
use crate::ingress::outgoing::Fields;
use crate::listen::patience;

/// What is known of a request body while it is sent and afterwards.
#[derive(Debug)]
pub struct Upload {
    bytes: Cell<u64>,
    failure: Cell<Option<Reason>>,
    finished: Cell<bool>,
    trailers_dropped: Cell<usize>,
    /// The client owes us the next frame (as opposed to: the endpoint does not take it).
    waiting: Cell<bool>,
    progress: Cell<Instant>,
}

impl Upload {
    /// Body bytes handed on so far, without framing.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Why the body failed: `BodyTimeout`, `BodyTooLarge` or `BodyBroken`.
    #[must_use]
    pub fn failure(&self) -> Option<Reason> {
        self.failure.get()
    }

    /// Whether the whole body was handed on.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finished.get()
    }

    /// Trailer fields that were not passed on.
    #[must_use]
    pub fn trailers_dropped(&self) -> usize {
        self.trailers_dropped.get()
    }

    /// From when the endpoint may be called slow. Not while the client is the one who is awaited.
    pub(super) fn endpoint_owes_since(&self, now: Instant) -> Instant {
        if self.waiting.get() { now } else { self.progress.get() }
    }
}

/// What an upload must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Most bytes.
    pub bytes: u64,
    /// Longest wait between two reads.
    pub timeout: Duration,
    /// Bytes that each second of waiting must have brought, but for the first `timeout`; 0: any. Only the time that the
    /// client was awaited counts: a slow endpoint is not its fault.
    pub rate: u64,
}

impl UploadLimits {
    /// The limits for uploads to `site`.
    #[must_use]
    pub const fn new(site: &config::Site, limits: &config::Limits, timeouts: &config::Timeouts) -> Self {
        Self { bytes: site.body_bytes, timeout: timeouts.request_body, rate: limits.min_body_rate }
    }
}

/// A request body for the endpoint, with the fields of ours that stand behind those of the client in the head.
///
/// Its error is a [`Refusal`] with `BodyTimeout`, `BodyTooLarge` or `BodyBroken`.
pub struct RequestBody {
    source: Source,
    /// `None` if the body is empty.
    watch: Option<Watch>,
    own: Fields,
}

enum Source {
    Empty,
    /// Whoever sends it has it.
    Taken,
    Client(Unread),
    Again(Box<Again>),
    #[cfg(test)]
    Stub(http_body_util::combinators::UnsyncBoxBody<Bytes, Refusal>),
}

/// The client's body. Dropped before its end it is left to the task of its stream, if it came by HTTP/2. `None` only
/// while it is dropped.
struct Unread(Option<Incoming>);

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            patience::leave_unread(body);
        }
    }
}

/// A body that is sent from its beginning once more.
struct Again {
    /// Counted when it came from the client.
    kept: Kept,
    rest: Source,
}

struct Watch {
    upload: Rc<Upload>,
    limits: UploadLimits,
    /// Names that may not come as a trailer.
    listed: Listed,
    timer: Option<LazyTimer>,
    waiting_since: Option<Instant>,
    /// How long the client was awaited, but for the wait that is going on.
    waited: Duration,
}

impl RequestBody {
    /// No body. Allocates nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self { source: Source::Empty, watch: None, own: Fields::NONE }
    }

    /// The client's body under its limits.
    #[must_use]
    pub fn new(incoming: Incoming, limits: UploadLimits, own: Fields, listed: Listed) -> Self {
        let body = if incoming.is_end_stream() {
            Self::empty()
        } else {
            Self::watched(Source::Client(Unread(Some(incoming))), limits, listed)
        };
        Self { own, ..body }
    }

    /// Takes what is to be sent and leaves what belongs to the head, which may have to be sent again.
    pub(super) fn take(&mut self) -> Self {
        let source = mem::replace(&mut self.source, Source::Taken);
        Self { source, watch: self.watch.take(), own: Fields::NONE }
    }

    /// Puts back what was taken, behind what was read of it.
    pub(super) fn put_back(&mut self, taken: Self, kept: Kept) {
        let rest = if kept.has_ended() { Source::Empty } else { taken.source };
        self.source = if kept.is_empty() { rest } else { Source::Again(Box::new(Again { kept, rest })) };
        self.watch = taken.watch;
    }

    /// Tells that so many trailer fields cannot be passed on.
    pub(super) fn lose_trailers(&self, n: usize) {
        if let Some(watch) = &self.watch {
            watch.drop_trailers(n);
        }
    }

    /// Whether it is as it came: else the request cannot be sent again.
    pub(super) const fn is_whole(&self) -> bool {
        !matches!(self.source, Source::Taken)
    }

    /// Fields for the end of the head.
    #[must_use]
    pub const fn own(&self) -> &Fields {
        &self.own
    }

    #[cfg(test)]
    pub(super) fn with_own(self, own: Fields) -> Self {
        Self { own, ..self }
    }

    #[cfg(test)]
    pub(super) fn stub<B>(body: B, limit: u64, timeout: Duration) -> Self
    where
        B: Body<Data = Bytes, Error = Refusal> + Send + 'static,
    {
        let body = http_body_util::combinators::UnsyncBoxBody::new(body);
        Self::watched(Source::Stub(body), UploadLimits { bytes: limit, timeout, rate: 0 }, Listed::new())
    }

    #[cfg(test)]
    pub(super) fn stub_with<B>(body: B, limits: UploadLimits) -> Self
    where
        B: Body<Data = Bytes, Error = Refusal> + Send + 'static,
    {
        let source = Source::Stub(http_body_util::combinators::UnsyncBoxBody::new(body));
        Self::watched(source, limits, Listed::new())
    }

    fn watched(source: Source, limits: UploadLimits, listed: Listed) -> Self {
        let upload = Upload {
            bytes: Cell::new(0),
            failure: Cell::new(None),
            finished: Cell::new(false),
            trailers_dropped: Cell::new(0),
            waiting: Cell::new(false),
            progress: Cell::new(clock::monotonic()),
        };
        let watch = Watch {
            upload: Rc::new(upload),
            limits,
            listed,
            timer: None,
            waiting_since: None,
            waited: Duration::ZERO,
        };
        Self { source, watch: Some(watch), own: Fields::NONE }
    }

    /// The state of the upload, which outlives the body. `None` if there is nothing to send.
    #[must_use]
    pub fn upload(&self) -> Option<Rc<Upload>> {
        self.watch.as_ref().map(|watch| Rc::clone(&watch.upload))
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        match self {
            Self::Empty | Self::Taken | Self::Client(Unread(None)) => Poll::Ready(None),
            // What was kept has been taken from it: see [`RequestBody::poll_frame`].
            Self::Again(again) => again.rest.poll_frame(cx),
            Self::Client(Unread(Some(incoming))) => {
                Pin::new(incoming).poll_frame(cx).map_err(|e| Refusal::caused_by(Reason::BodyBroken, e))
            }
            #[cfg(test)]
            Self::Stub(stub) => Pin::new(stub).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Taken | Self::Client(Unread(None)) => true,
            Self::Client(Unread(Some(incoming))) => incoming.is_end_stream(),
            Self::Again(again) => again.kept.is_empty() && again.rest.is_end_stream(),
            #[cfg(test)]
            Self::Stub(stub) => stub.is_end_stream(),
        }
    }
}

impl Source {
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Taken | Self::Client(Unread(None)) => SizeHint::with_exact(0),
            Self::Client(Unread(Some(incoming))) => incoming.size_hint(),
            Self::Again(again) => {
                let exact = again.rest.size_hint().exact();
                exact.map_or_else(SizeHint::new, |rest| SizeHint::with_exact(rest + again.kept.length()))
            }
            #[cfg(test)]
            Self::Stub(stub) => stub.size_hint(),
        }
    }
}

impl Watch {
    /// Counts a frame and checks the limit.
    fn took(&mut self, frame: &Frame<Bytes>) -> Result<(), Refusal> {
        let now = clock::monotonic();
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.upload.waiting.set(false);
        self.upload.progress.set(now);
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let total = self.upload.bytes.get().saturating_add(length);
        if total > self.limits.bytes {
            return Err(self.failed(Refusal::from(Reason::BodyTooLarge)));
        }
        self.upload.bytes.set(total);
        Ok(())
    }

    fn drop_trailers(&self, n: usize) {
        self.upload.trailers_dropped.set(self.upload.trailers_dropped.get() + n);
    }

    fn failed(&self, refusal: Refusal) -> Refusal {
        self.upload.waiting.set(false);
        self.upload.failure.set(Some(refusal.reason()));
        refusal
    }

    /// How long the wait that is going on may last.
    fn patience(&self) -> Duration {
        let Some(earned) = self.upload.bytes.get().saturating_mul(1000).checked_div(self.limits.rate) else {
            return self.limits.timeout;
        };
        let allowed = self.limits.timeout.saturating_add(Duration::from_millis(earned));
        self.limits.timeout.min(allowed.saturating_sub(self.waited))
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let since = *self.waiting_since.get_or_insert_with(clock::monotonic);
        self.upload.waiting.set(true);
        let due = since + self.patience();
        let timer = self.timer.get_or_insert_with(|| LazyTimer::new(due));
        match timer.poll_until(cx, due, |_| due) {
            Poll::Ready(()) => Poll::Ready(Some(Err(self.failed(Refusal::from(Reason::BodyTimeout))))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let this = self.get_mut();
        let Some(watch) = &mut this.watch else {
            return Poll::Ready(None);
        };
        while let Source::Again(again) = &mut this.source {
            if let Some(frame) = again.kept.next() {
                return Poll::Ready(Some(Ok(frame)));
            }
            this.source = mem::replace(&mut again.rest, Source::Taken);
        }
        match this.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Err(refusal) = watch.took(&frame) {
                    return Poll::Ready(Some(Err(refusal)));
                }
                if let Some(fields) = frame.trailers_mut() {
                    watch.drop_trailers(trailers::clean_request(fields, &watch.listed));
                    watch.upload.finished.set(true);
                } else if this.source.is_end_stream() {
                    // hyper does not ask again once it knows that this was the last frame.
                    watch.upload.finished.set(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(refusal))) => Poll::Ready(Some(Err(watch.failed(refusal)))),
            Poll::Ready(None) => {
                watch.upload.waiting.set(false);
                watch.upload.progress.set(clock::monotonic());
                watch.upload.finished.set(true);
                Poll::Ready(None)
            }
            Poll::Pending => watch.poll_timeout(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}
