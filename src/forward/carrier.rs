//! What carries an exchange: a connection of HTTP/1.1, or a stream of HTTP/2.
//!
//! Passes every call on. Never decides anything. Bound: that of what it holds.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};

use super::body::RequestBody;
use super::http2::Http2;
use super::wire::{Active, Conduct, Failure, HeadLimits, State, Switched, Transport, Wire};
use crate::error::Refusal;

/// One of the two.
pub(super) enum Carrier {
    /// A connection that carries one exchange after the other.
    Connection(Active),
    /// A stream that carries one.
    Stream(Box<Http2>),
}

/// Calls the same method of whichever it is.
macro_rules! each {
    ($carrier:expr, $inner:ident => $call:expr) => {
        match $carrier {
            Carrier::Connection($inner) => $call,
            Carrier::Stream($inner) => $call,
        }
    };
}

impl Wire<Transport> for Carrier {
    async fn open(transport: Transport, limits: HeadLimits) -> Result<Self, Refusal> {
        Active::open(transport, limits).await.map(Self::Connection)
    }

    fn state(&mut self) -> State {
        each!(self, inner => inner.state())
    }

    fn state_known(&mut self) -> State {
        each!(self, inner => inner.state_known())
    }

    async fn settled(&mut self) -> bool {
        each!(self, inner => inner.settled().await)
    }

    async fn exchange(&mut self, request: &mut Request<RequestBody>) -> Result<Response<()>, Failure> {
        each!(self, inner => inner.exchange(request).await)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        each!(self, inner => inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        each!(self, inner => inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        each!(self, inner => inner.size_hint())
    }

    fn heard(&self) -> bool {
        each!(self, inner => inner.heard())
    }

    fn conduct(&self) -> Conduct {
        each!(self, inner => inner.conduct())
    }

    fn rest(&mut self) {
        each!(self, inner => inner.rest());
    }

    async fn switch(self) -> Result<Switched, Refusal> {
        each!(self, inner => inner.switch().await)
    }
}
