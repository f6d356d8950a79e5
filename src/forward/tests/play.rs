//! One exchange over a pipe in memory, with any client: what was sent, in which pieces it came back, what was seen.

use std::future::poll_fn;

use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::error::Reason;
use crate::forward::RequestBody;
use crate::forward::framing;
use crate::forward::wire::{HeadLimits, State, Wire};

/// What the endpoint does.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) method: Method,
    /// The answer, piece by piece.
    pub(super) pieces: Vec<Vec<u8>>,
    /// Whether the connection ends behind it.
    pub(super) ends: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No answer.
    Nothing(Reason),
    /// A head, and a body that visibly broke.
    Broken(u16),
    /// An answer.
    Whole(Whole),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) status: u16,
    /// The fields after `framing::answer`, in order.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    /// Whether the connection may carry another exchange.
    pub(super) again: bool,
}

impl Script {
    /// An answer in one piece; the connection stays open.
    pub(super) fn whole(method: Method, answer: &[u8], ends: bool) -> Self {
        Self { method, pieces: vec![answer.to_vec()], ends }
    }

    /// The same in pieces that end at these places.
    pub(super) fn cut(&self, at: &[usize]) -> Self {
        let all = self.pieces.concat();
        let mut places: Vec<usize> = at.iter().map(|at| at % (all.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for to in places.into_iter().chain([all.len()]) {
            pieces.push(all[from..to].to_vec());
            from = to;
        }
        Self { pieces, ..self.clone() }
    }

    /// Plays it.
    pub(super) async fn play<W: Wire<DuplexStream>>(&self) -> Seen {
        let (ours, theirs) = duplex(1 << 20);
        let (played, done) = (oneshot::channel(), oneshot::channel());
        let endpoint = tokio::task::spawn_local(endpoint(theirs, self.clone(), played.0, done.1));
        let mut wire = W::open(ours, HeadLimits::USUAL).await.unwrap();
        let seen = self.exchange(&mut wire, played.1).await;
        drop(wire);
        done.0.send(()).unwrap_or_default();
        endpoint.await.unwrap();
        seen
    }

    async fn exchange<W: Wire<DuplexStream>>(&self, wire: &mut W, played: oneshot::Receiver<()>) -> Seen {
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = self.method.clone();
        request.headers_mut().insert("host", "example.org".parse().unwrap());
        let mut response = match wire.exchange(&mut request).await {
            Ok(response) => response,
            Err(failure) => return Seen::Nothing(failure.refusal.reason()),
        };
        let status = response.status().as_u16();
        let reusable = match framing::answer(&mut response, wire.size_hint().exact(), &self.method) {
            Ok(reusable) => reusable,
            Err(reason) => return Seen::Nothing(reason),
        };
        let (mut body, mut trailers) = (Vec::new(), Vec::new());
        while !wire.is_end_stream() {
            match poll_fn(|cx| wire.poll_frame(cx)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => body.extend_from_slice(&data),
                    Err(frame) => trailers = list(&frame.into_trailers().unwrap()),
                },
                Some(Err(_)) => return Seen::Broken(status),
                None => break,
            }
        }
        // An endpoint whose client has closed already stops playing.
        let _ = played.await;
        // hyper puts its exchange away in a task of its own.
        for _ in 0..20 {
            yield_now().await;
        }
        let again = reusable && wire.state() == State::Ready;
        Seen::Whole(Whole { status, fields: list(response.headers()), body, trailers, again })
    }
}

impl Seen {
    /// In short, for tables.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Nothing(reason) => format!("{reason:?}"),
            Self::Broken(status) => format!("{status} broken"),
            Self::Whole(whole) => {
                let body = String::from_utf8_lossy(&whole.body);
                let trailers = if whole.trailers.is_empty() { "" } else { " trailers" };
                let again = if whole.again { "again" } else { "closed" };
                format!("{} <{body}>{trailers} {again}", whole.status)
            }
        }
    }
}

/// The endpoint: reads a head, answers, and waits until the client has looked at everything.
async fn endpoint(
    mut stream: DuplexStream,
    script: Script,
    played: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    for piece in &script.pieces {
        // The client may have refused the answer and gone.
        if stream.write_all(piece).await.is_err() {
            return;
        }
        yield_now().await;
        yield_now().await;
    }
    if script.ends {
        stream.shutdown().await.unwrap_or_default();
    }
    // The client may have gone.
    let _ = played.send(());
    done.await.unwrap_or_default();
}

fn list(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
