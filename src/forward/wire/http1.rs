//! HTTP/1.1 to an endpoint, driven by whoever waits for it: no task and no channel of its own.
//!
//! One write and one read in the common case. An exchange sends and reads in the same polls, so that an early answer
//! is heard while a body is still being sent. Whatever is not clearly one answer closes the connection; bytes behind
//! an answer never reach the next. Bounds: those of `head`, `input`, `decode`, `sending`, and [`INTERIM_ANSWERS`].

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;

use super::decode::Decoder;
use super::head::{self, Follows, Head, Parsed};
use super::input::Input;
use super::sending::{Broken, Sending};
use super::{Conduct, Failure, HeadLimits, State, Switched, Wire};
use crate::error::{Reason, Refusal};
use crate::forward::body::RequestBody;

/// A connection.
pub(in crate::forward) struct Http1<T> {
    transport: T,
    input: Input,
    sending: Sending,
    decoder: Decoder,
    stage: Stage,
    /// The connection may carry another exchange.
    keeps: bool,
    /// The transport takes no more bytes.
    unwritable: bool,
    /// A byte has come since the exchange began.
    heard: bool,
    /// The request is a HEAD.
    bodiless: bool,
    /// Interim answers of this exchange.
    interim: u8,
    /// Bytes of a partial head that are known not to end it.
    searched: usize,
    limits: HeadLimits,
    conduct: Conduct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No exchange.
    Idle,
    /// The head of the answer is awaited.
    Head,
    /// Its body is.
    Body,
    /// Nothing is read any more.
    Closed,
}

/// In a box, since a connection is handed around more often than it is looked at.
impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> for Box<Http1<T>> {
    async fn open(transport: T, limits: HeadLimits) -> Result<Self, Refusal> {
        Ok(Self::new(Http1 {
            transport,
            input: Input::new(),
            sending: Sending::new(),
            decoder: Decoder::new(Follows::Length(0)),
            stage: Stage::Idle,
            keeps: true,
            unwritable: false,
            heard: false,
            bodiless: false,
            interim: 0,
            searched: 0,
            limits,
            conduct: Conduct::default(),
        }))
    }

    fn state(&mut self) -> State {
        let known = self.state_known();
        if known == State::Ready
            && let Some(strayed) = self.broken_silence()
        {
            self.conduct.strayed |= strayed;
            self.stage = Stage::Closed;
            return State::Closed;
        }
        known
    }

    fn state_known(&mut self) -> State {
        if self.stage != Stage::Idle || self.unwritable || self.sending.wants_body() {
            State::Closed
        } else if self.sending.finished() {
            State::Ready
        } else {
            State::Busy
        }
    }

    async fn settled(&mut self) -> bool {
        if self.sending.wants_body() {
            return false;
        }
        let this = &mut **self;
        let sent = poll_fn(|cx| this.sending.poll(&mut this.transport, cx)).await;
        sent.is_ok() && self.state() == State::Ready
    }

    async fn exchange(&mut self, request: &mut Request<RequestBody>) -> Result<Response<()>, Failure> {
        if self.stage != Stage::Idle {
            return Err(Failure { refusal: Reason::UpstreamClosed.into(), unwritten: true });
        }
        self.stage = Stage::Head;
        self.heard = false;
        self.bodiless = request.method() == Method::HEAD;
        (self.interim, self.searched) = (0, 0);
        self.input.begin();
        self.sending.begin(request);
        let outcome = poll_fn(|cx| self.poll_head(cx, request.headers_mut())).await;
        outcome.map_err(|refusal| {
            self.stage = Stage::Closed;
            self.conduct.strayed |= self.is_no_beginning();
            let unwritten = !self.heard && self.sending.give_back(request);
            Failure { refusal, unwritten }
        })
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if self.stage != Stage::Body {
            return Poll::Ready(self.unread());
        }
        let polled = self.poll_body(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.stage = Stage::Closed,
            Poll::Ready(_) => self.end_if_ended(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }

    fn heard(&self) -> bool {
        self.heard
    }

    fn conduct(&self) -> Conduct {
        self.conduct
    }

    fn rest(&mut self) {
        if self.stage == Stage::Idle && self.sending.finished() {
            self.input.rest();
            self.sending.rest();
        }
    }

    async fn switch(self) -> Result<Switched<T>, Refusal> {
        let Http1 { transport, input, .. } = *self;
        Ok(Switched::new(transport, input.bytes.freeze()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Http1<T> {
    /// Sends what can be sent and reads until the head of the answer is there, whose fields take the place of `sent`.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        sent: &mut HeaderMap,
    ) -> Poll<Result<Response<()>, Refusal>> {
        self.send(cx)?;
        loop {
            let ended = match ready!(self.poll_read(cx)) {
                Ok(n) => n == 0,
                Err(error) => return Poll::Ready(Err(Refusal::caused_by(Reason::UpstreamClosed, error))),
            };
            if let Some(response) = self.parse(ended, sent)? {
                return Poll::Ready(Ok(response));
            }
            if ended {
                return Poll::Ready(Err(Refusal::from(Reason::UpstreamClosed)));
            }
        }
    }

    /// Looks for the head in what has come.
    fn parse(&mut self, ended: bool, sent: &mut HeaderMap) -> Result<Option<Response<()>>, Reason> {
        while !self.input.bytes.is_empty() {
            if !self.worth_parsing() && !ended {
                return Ok(None);
            }
            match head::parse(&mut self.input.bytes, self.bodiless, self.limits, sent)? {
                Parsed::Partial => {
                    self.searched = self.input.bytes.len();
                    return Ok(None);
                }
                Parsed::Interim if self.interim == INTERIM_ANSWERS => return Err(Reason::UpstreamProtocol),
                Parsed::Interim => {
                    self.interim += 1;
                    self.searched = 0;
                }
                Parsed::Answer(head) => return Ok(Some(self.answered(head))),
            }
        }
        Ok(None)
    }

    /// Whether the head may be whole now: a head that comes in many pieces is not read anew with each.
    fn worth_parsing(&self) -> bool {
        let bytes = &self.input.bytes;
        if self.searched == 0 || bytes.len() >= self.limits.bytes {
            return true;
        }
        let new = self.searched.saturating_sub(2);
        memchr::memchr_iter(b'\n', &bytes[new..]).any(|at| {
            let rest = &bytes[new + at + 1..];
            rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
        })
    }

    fn answered(&mut self, head: Head) -> Response<()> {
        self.decoder = Decoder::new(head.follows);
        self.keeps = head.keeps;
        self.stage = Stage::Body;
        let status = head.response.status();
        self.conduct.owes =
            self.bodiless || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.conduct.owed |= self.conduct.owes;
        // What follows a 101 is another protocol: it is left for whoever takes the transport.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.stage = Stage::Closed;
        } else {
            self.end_if_ended();
        }
        head.response
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        self.send(cx)?;
        loop {
            let decoded = self.decoder.decode(&mut self.input.bytes);
            if let Some(frame) =
                decoded.map_err(|error| Refusal::caused_by(Reason::UpstreamBodyBroken, error))?
            {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.decoder.ended() {
                return Poll::Ready(None);
            }
            let error = match ready!(self.poll_read(cx)) {
                Ok(1..) => continue,
                Ok(0) if self.decoder.end_of_input() => return Poll::Ready(None),
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            return Poll::Ready(Some(Err(Refusal::caused_by(Reason::UpstreamBodyBroken, error))));
        }
    }

    /// Goes on sending the request. A transport that takes nothing more may still bring the answer.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Refusal> {
        if self.unwritable || self.sending.finished() {
            return Ok(());
        }
        match self.sending.poll(&mut self.transport, cx) {
            Poll::Ready(Err(Broken::Body(refusal))) => Err(refusal),
            Poll::Ready(Err(Broken::Transport(error))) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "upstream takes no more");
                self.unwritable = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let polled = self.input.poll_fill(&mut self.transport, cx, self.decoder.needs());
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.heard = true;
        }
        polled
    }

    /// Once the answer was read: whether the connection is free or done with.
    fn end_if_ended(&mut self) {
        if self.stage == Stage::Body && self.decoder.ended() {
            // Bytes behind an answer belong to nothing that was asked.
            let strayed = !self.input.bytes.is_empty();
            self.conduct.strayed |= strayed;
            let clean = self.keeps && !strayed;
            self.stage = if clean { Stage::Idle } else { Stage::Closed };
        }
    }

    /// What a body that is not being read gives: nothing if it has ended, else an error once more.
    fn unread(&self) -> Option<Result<Frame<Bytes>, Refusal>> {
        (!self.decoder.ended()).then(|| Err(Refusal::from(Reason::UpstreamBodyBroken)))
    }

    /// Whether what has come in place of an answer cannot be the beginning of one: it was left over by somebody.
    fn is_no_beginning(&self) -> bool {
        let (came, begins) = (&self.input.bytes[..], b"HTTP/");
        let n = came.len().min(begins.len());
        self.interim == 0 && came[..n] != begins[..n]
    }

    /// Whether an idle connection has ended, or said something although nobody asked: `Some(true)` for the latter. It
    /// waits for nothing, and it is exempt from the budget of the task, which would let bytes go unseen.
    fn broken_silence(&mut self) -> Option<bool> {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let transport = &mut self.transport;
        let look = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *transport).poll_read(cx, &mut buffer))));
        let looked = look.poll(&mut Context::from_waker(Waker::noop()));
        looked.is_ready().then(|| !buffer.filled().is_empty())
    }
}

/// Interim answers (1xx) that one exchange may bring.
const INTERIM_ANSWERS: u8 = 16;
