//! One exchange on an HTTP/2 connection.
//!
//! The request's body is sent while the answer is awaited and read, so that the endpoint's windows hold the client
//! back, and the client's the endpoint. Dropping the stream before its end resets it (CANCEL) and leaves the connection
//! to others. Never waits for a stream: it has one from the beginning. Bounds: the windows of the connection, and what
//! [`Kept`] keeps of a body until the answer comes.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::h2::client::ResponseFuture;
use ::h2::{RecvStream, SendStream};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};

use super::super::body::RequestBody;
use super::super::kept::Kept;
use super::super::phrase;
use super::super::wire::{Failure, HeadLimits, State, Switched, Transport, Wire};
use super::connection::Connection;
use crate::error::{Reason, Refusal};

/// One stream, from before its request to the end of its answer.
pub(in super::super) struct Http2 {
    connection: Rc<Connection>,
    /// Whether the connection carried a request before.
    pub(in super::super) reused: bool,
    heard: bool,
    sending: Option<Sending>,
    answer: Option<RecvStream>,
    /// Bytes of the body to come, if the answer said how many.
    left: Option<u64>,
    /// Whether the place on the connection was given back without telling those who wait.
    forgotten: bool,
}

impl Http2 {
    /// Takes a stream of a connection that has room.
    pub(super) fn begin(connection: &Rc<Connection>) -> Self {
        let reused = connection.begin();
        let connection = Rc::clone(connection);
        Self { connection, reused, heard: false, sending: None, answer: None, left: None, forgotten: false }
    }

    /// Gives an unused stream back while another is being given away.
    pub(super) fn forget(mut self) {
        self.forgotten = true;
        self.connection.forget();
    }

    /// Waits for the head of the answer while the request's body is sent.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        mut response: Pin<&mut ResponseFuture>,
    ) -> Poll<Result<Response<RecvStream>, Broken>> {
        if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(Broken::Endpoint));
        }
        match self.poll_sending(cx) {
            Poll::Ready(Err(refusal)) => Poll::Ready(Err(Broken::Client(refusal))),
            // The end of sending may have been noticed together with the answer.
            Poll::Ready(Ok(())) => response.poll(cx).map_err(Broken::Endpoint),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready when nothing of the request is left to send, or the endpoint wants no more of it.
    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let Some(sending) = &mut self.sending else { return Poll::Ready(Ok(())) };
        if !sending.over {
            ready!(sending.poll(cx))?;
            sending.over = true;
        }
        // Until the answer comes it may have to be sent once more.
        if self.heard {
            self.sending = None;
        }
        Poll::Ready(Ok(()))
    }

    /// The head of the answer has come: the request is not sent again.
    fn hear(&mut self) {
        self.heard = true;
        match &mut self.sending {
            Some(sending) if sending.over => self.sending = None,
            Some(sending) => sending.kept.give_up(),
            None => {}
        }
    }

    fn failed(&mut self, broken: Broken, request: &mut Request<RequestBody>) -> Failure {
        let error = match broken {
            Broken::Client(refusal) => return Failure { refusal, unwritten: false },
            Broken::Endpoint(error) => error,
        };
        if !error.is_reset() {
            self.connection.retire();
        }
        let unprocessed = is_unprocessed(&error);
        if let Some(sending) = self.sending.take()
            && unprocessed
        {
            if sending.kept.is_whole() {
                request.body_mut().put_back(sending.body, sending.kept);
            } else {
                self.connection.body_is_gone();
            }
        }
        // RFC 9113 §8.7: whatever the method, the endpoint has not acted on it.
        let unwritten = unprocessed && request.body().is_whole();
        Failure { refusal: told(error), unwritten }
    }
}

/// Which side an exchange broke at.
enum Broken {
    Client(Refusal),
    Endpoint(::h2::Error),
}

impl Wire<Transport> for Http2 {
    async fn open(_: Transport, _: HeadLimits) -> Result<Self, Refusal> {
        // Streams come from a connection that has room.
        Err(Reason::Internal.into())
    }

    fn state(&mut self) -> State {
        // A stream carries one exchange; what is kept is its connection.
        State::Closed
    }

    async fn settled(&mut self) -> bool {
        false
    }

    async fn exchange(&mut self, request: &mut Request<RequestBody>) -> Result<Response<()>, Failure> {
        let ended = request.body().is_end_stream();
        let head =
            head(request, self.connection.secure).map_err(|refusal| Failure { refusal, unwritten: false })?;
        let (response, stream) = match self.connection.sender.clone().send_request(head, ended) {
            Ok(both) => both,
            Err(error) => {
                self.connection.retire();
                return Err(Failure { refusal: told(error), unwritten: true });
            }
        };
        if !ended {
            self.sending = Some(Sending::new(request.body_mut().take(), stream));
        }
        let mut response = pin!(response);
        let answer = std::future::poll_fn(|cx| self.poll_answer(cx, response.as_mut())).await;
        let answer = answer.map_err(|broken| self.failed(broken, request))?;
        self.hear();
        let (parts, body) = answer.into_parts();
        if parts.status.is_informational() {
            // RFC 9113 §8.6: there is no 101, and what else is informational is never an answer.
            return Err(Failure { refusal: Reason::UpstreamProtocol.into(), unwritten: false });
        }
        let bodiless = request.method() == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !bodiless && !body.is_end_stream() {
            let length = parts.headers.get(header::CONTENT_LENGTH);
            self.left = length.and_then(|length| length.to_str().ok()?.parse().ok());
            self.answer = Some(body);
        }
        let mut answer = Response::from_parts(parts, ());
        // HTTP/2 has no words.
        let phrase = phrase::of(answer.status(), "");
        phrase::put(&mut answer, phrase);
        Ok(answer)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if let Poll::Ready(Err(refusal)) = self.poll_sending(cx) {
            return Poll::Ready(Some(Err(refusal)));
        }
        let broken = |error| Poll::Ready(Some(Err(Refusal::caused_by(Reason::UpstreamBodyBroken, error))));
        let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
        match ready!(answer.poll_data(cx)) {
            Some(Ok(data)) => {
                if let Err(error) = answer.flow_control().release_capacity(data.len()) {
                    return broken(error);
                }
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Err(error)) => return broken(error),
            None => {}
        }
        match ready!(answer.poll_trailers(cx)) {
            Ok(Some(fields)) => {
                self.answer = None;
                Poll::Ready(Some(Ok(Frame::trailers(fields))))
            }
            Ok(None) => {
                self.answer = None;
                Poll::Ready(None)
            }
            Err(error) => broken(error),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.answer.as_ref().is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.answer, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::new(),
        }
    }

    fn heard(&self) -> bool {
        self.heard
    }

    fn rest(&mut self) {}

    async fn switch(self) -> Result<Switched, Refusal> {
        Err(Reason::UpstreamProtocol.into())
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        // The stream ends before its place is given to another.
        self.answer = None;
        self.sending = None;
        if !self.forgotten {
            self.connection.end();
        }
    }
}

/// A request's body on its way.
struct Sending {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// Read from the client, but not yet taken by the endpoint's window.
    pending: Bytes,
    /// What was read from the client.
    kept: Kept,
    /// Whether nothing is left to send, or the endpoint wants no more.
    over: bool,
}

impl Sending {
    const fn new(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, pending: Bytes::new(), kept: Kept::new(), over: false }
    }

    /// Ready when all of it was sent or the endpoint wants no more; an error is the client's.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        loop {
            if !self.pending.is_empty() {
                match ready!(self.poll_window(cx)) {
                    Some(room) => {
                        let piece = self.pending.split_to(room.min(self.pending.len()));
                        let last = self.pending.is_empty() && self.body.is_end_stream();
                        if self.stream.send_data(piece, last).is_err() || last {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    // What that means is told by the answer, or by its absence.
                    None => return Poll::Ready(Ok(())),
                }
                continue;
            }
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                self.kept.end();
                drop(self.stream.send_data(Bytes::new(), true));
                return Poll::Ready(Ok(()));
            };
            if let Ok(frame) = &frame {
                self.kept.keep(frame);
            }
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() && self.body.is_end_stream() => {
                        drop(self.stream.send_data(data, true));
                        return Poll::Ready(Ok(()));
                    }
                    Ok(data) => self.pending = data,
                    Err(frame) => {
                        if let Ok(fields) = frame.into_trailers() {
                            drop(self.stream.send_trailers(fields));
                        }
                        return Poll::Ready(Ok(()));
                    }
                },
                Err(refusal) => {
                    self.stream.send_reset(::h2::Reason::CANCEL);
                    return Poll::Ready(Err(refusal));
                }
            }
        }
    }

    /// How much the endpoint takes now; `None` if the stream is over.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        self.stream.reserve_capacity(self.pending.len());
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Some(room));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}

/// The head as HTTP/2 has it: no `Host`, nothing about one connection (RFC 9113 §8.2.2, §8.3.1).
fn head(request: &Request<RequestBody>, secure: bool) -> Result<Request<()>, Refusal> {
    let host = request.headers().get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let authority = Authority::try_from(host).map_err(|e| Refusal::caused_by(Reason::Internal, e))?;
    let target = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder()
        .scheme(if secure { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authority)
        .path_and_query(target)
        .build()
        .map_err(|e| Refusal::caused_by(Reason::Internal, e))?;
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = uri;
    *head.version_mut() = Version::HTTP_2;
    let fields = head.headers_mut();
    fields.reserve(request.headers().len());
    for (name, value) in request.headers() {
        if !HOP_BY_HOP.contains(name) && (name != header::TE || value == "trailers") {
            fields.append(name.clone(), value.clone());
        }
    }
    fields.extend(request.body().own().iter());
    Ok(head)
}

/// Whether the endpoint says that it has not acted on the request (RFC 9113 §8.7).
fn is_unprocessed(error: &::h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(::h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// An error of a connection or a stream, with the reason that it stands for.
pub(super) fn told(error: ::h2::Error) -> Refusal {
    Refusal::caused_by(classify(&error), error)
}

fn classify(error: &::h2::Error) -> Reason {
    if error.is_io() || (error.is_remote() && (error.is_go_away() || error.is_reset())) {
        return Reason::UpstreamClosed;
    }
    // The library gives up a connection in these two ways for a head far above the limit. One that is a little above it
    // is a malformed answer to it, like others.
    let too_large = [Some(::h2::Reason::ENHANCE_YOUR_CALM), Some(::h2::Reason::COMPRESSION_ERROR)];
    if error.is_library() && too_large.contains(&error.reason()) {
        Reason::UpstreamHeadTooLarge
    } else {
        Reason::UpstreamProtocol
    }
}

/// Fields that say something about one HTTP/1.1 connection, and `Host`, which is `:authority` here.
const HOP_BY_HOP: [HeaderName; 4] =
    [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::UPGRADE];
