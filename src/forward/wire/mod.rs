//! What the pool needs of a connection to an endpoint.
//!
//! [`Wire`] is the seam: everything above it stays when another client takes the place of the one in use. It never
//! retries and never decides on reuse; it tells what happened. Bound: one exchange at a time.
//!
//! | file | job |
//! |---|---|
//! | `http1` | HTTP/1.1 by this crate: what is in use |
//! | `sending` | the request, from fields and frames to bytes |
//! | `input`, `head`, `decode` | the answer, from bytes to fields and frames |
//! | `unreadable` | the cookies that cost no page |
//! | `transport` | the byte stream below: what can be connected to |
//! | `reference` | hyper's client, which the tests hold `http1` against |

mod decode;
mod head;
mod http1;
mod input;
#[cfg(any(test, fuzzing))]
pub(super) mod reference;
mod sending;
mod transport;
mod unreadable;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};

pub(super) use self::http1::Http1;
pub use self::transport::Switched;
pub(super) use self::transport::Transport;
use super::body::RequestBody;
use crate::error::Refusal;

/// The connection in use. Another [`Wire`] takes its place by changing this line.
pub(super) type Active = Box<Http1<Transport>>;

/// Whether a connection can take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Now.
    Ready,
    /// Not yet: the last exchange is being put away.
    Busy,
    /// Never again.
    Closed,
}

/// An exchange without an answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why, and what caused it.
    pub(super) refusal: Refusal,
    /// Whether the request is untouched: not a byte of it was written, and its body is whole.
    pub(super) unwritten: bool,
}

/// How an endpoint keeps to the ends of its answers, as far as one connection has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conduct {
    /// The last answer had no body because none may follow (to HEAD, 204, 304), not because its length was said: a server
    /// that writes one all the same may still be about to.
    pub(super) owes: bool,
    /// The same of any answer so far.
    pub(super) owed: bool,
    /// Bytes came that belong to no answer: behind one, between two, or where one should begin.
    pub(super) strayed: bool,
}

/// Bounds of the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadLimits {
    /// `limits.upstream_head_fields`.
    pub(super) fields: usize,
    /// `limits.upstream_head_bytes`.
    pub(super) bytes: usize,
}

impl HeadLimits {
    /// Those of a configuration that says nothing else.
    pub(super) const USUAL: Self = Self { fields: 200, bytes: 64 * 1024 };
}

/// A connection over `T` that carries one exchange at a time. Dropping it closes it, whatever is under way.
pub(super) trait Wire<T>: Sized {
    /// Takes over a connected transport.
    async fn open(transport: T, limits: HeadLimits) -> Result<Self, Refusal>;

    /// Whether a request can be sent. Bytes or an end of input that came between exchanges close the connection.
    fn state(&mut self) -> State;

    /// The same as far as is known without looking at the transport: whoever takes the connection next looks.
    fn state_known(&mut self) -> State {
        self.state()
    }

    /// Waits for `Ready` or `Closed`; true if it is ready.
    async fn settled(&mut self) -> bool;

    /// Sends a request and gives the head of the answer; 1xx but 101 are dropped.
    ///
    /// Without an answer the head of the request stays as it is, so that the caller can send it again; with one its
    /// fields are gone, and their memory serves the answer's. The body is taken, unless the failure says `unwritten`.
    async fn exchange(&mut self, request: &mut Request<RequestBody>) -> Result<Response<()>, Failure>;

    /// The next frame of the answer's body; goes on with the request's body if the answer was early. `None` only when
    /// all of it was read: a cut body is an error.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>>;

    /// Whether the body of the answer has ended.
    fn is_end_stream(&self) -> bool;

    /// How much of the body is to come.
    fn size_hint(&self) -> SizeHint;

    /// Whether a byte arrived since the last exchange began.
    fn heard(&self) -> bool;

    /// What the endpoint's bytes told of it so far.
    fn conduct(&self) -> Conduct {
        Conduct::default()
    }

    /// Gives memory back that only an exchange needs.
    fn rest(&mut self);

    /// After a 101: the transport, with what was read of the other protocol.
    async fn switch(self) -> Result<Switched<T>, Refusal>;
}
