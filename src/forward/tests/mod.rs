//! The upstream side against hostile origins: raw sockets on loopback, byte for byte.

mod conformance;
mod corpus;
mod endpoints;
mod exchange;
mod framing;
mod http2;
mod http2_repeat;
mod origin;
mod play;
mod pool;
mod random;
mod retry;
mod tunnel;
mod upload;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::resolve::{Resolve, tests::Fake};
use super::{Answer, RequestBody, SiteUpstream, Upstreams};
use crate::config;
use crate::error::{Reason, Refusal};
use origin::Origin;

/// Runs a test as a worker thread would. The limit is shorter than every wait that a test does not set itself, so that
/// none of them can end what should have ended at once.
fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guarded = async { tokio::time::timeout(Duration::from_secs(10), test).await.expect("test hangs") };
    LocalSet::new().block_on(&runtime, guarded)
}

struct Setup {
    site: config::Site,
    limits: config::Limits,
    timeouts: config::Timeouts,
}

impl Setup {
    fn new(origins: &[&Origin]) -> Self {
        let long = Duration::from_secs(20);
        let endpoint = |o: &&Origin| config::Endpoint::Host {
            host: o.address.ip().to_string(),
            port: o.address.port(),
            tls: false,
        };
        Self {
            site: config::Site {
                hosts: vec!["example.org".into()],
                upstream: origins.iter().map(endpoint).collect(),
                balance: config::Balance::RoundRobin,
                protocol: config::Protocol::Http1,
                upstream_tls: None,
                health: None,
                trusted_proxies: Vec::new(),
                client_address_from: Default::default(),
                client_address_to: None,
                prefix: "/.kelisim/".into(),
                policy: None,
                body_bytes: 1 << 20,
                rate_limit: None,
                routes: crate::record::route::Routes::default(),
                controller: None,
                notices: vec![],
            },
            limits: config::Limits {
                head_bytes: 65_536,
                head_fields: 200,
                uri_bytes: 16_384,
                body_bytes: 1 << 20,
                linger_bytes: 1 << 18,
                linger_connections: 8,
                min_body_rate: 0,
                rate_memory_bytes: 1 << 16,
                connections: 100,
                connections_per_client: 100,
                requests_per_connection: 100,
                h2_streams: 100,
                h2_stream_window: 1 << 18,
                h2_connection_window: 1 << 20,
                upstream_connections: 8,
                upstream_connections_per_client: 4,
                upstream_queue: 8,
                upstream_head_bytes: 65_536,
                upstream_head_fields: 200,
            },
            timeouts: config::Timeouts {
                tls_handshake: long,
                request_head: long,
                request_body: long,
                response_write: long,
                keep_alive: long,
                linger: long,
                upstream_connect: long,
                upstream_head: long,
                upstream_body: long,
                upstream_idle: long,
                upstream_max_age: long,
                upstream_queue: long,
                upgrade_idle: long,
                drain: long,
            },
        }
    }

    fn build(&self) -> Rc<Upstreams> {
        Upstreams::new(&self.site, self.shared(), &self.limits, &self.timeouts)
    }

    fn build_with(&self, resolver: &Rc<Fake>) -> Rc<Upstreams> {
        let resolver = Rc::clone(resolver) as Rc<dyn Resolve>;
        Upstreams::resolving(&self.site, self.shared(), &self.limits, &self.timeouts, &resolver)
    }

    fn shared(&self) -> Arc<SiteUpstream> {
        SiteUpstream::load(&self.site).unwrap()
    }
}

fn upstreams(origins: &[&Origin]) -> Rc<Upstreams> {
    Setup::new(origins).build()
}

fn request(method: Method, path: &str) -> Request<RequestBody> {
    with_body(method, path, RequestBody::empty())
}

fn with_body(method: Method, path: &str, body: RequestBody) -> Request<RequestBody> {
    Request::builder().method(method).uri(path).header("host", "example.org").body(body).unwrap()
}

fn get(path: &str) -> Request<RequestBody> {
    request(Method::GET, path)
}

/// The body and the trailers of an answer.
async fn read(answer: Answer) -> Result<(Bytes, Option<HeaderMap>), Reason> {
    let whole = answer.response.into_body().collect().await.map_err(|refusal| refusal.reason())?;
    let trailers = whole.trailers().cloned();
    Ok((whole.to_bytes(), trailers))
}

/// Sends and reads to the end.
async fn fetch(upstreams: &Upstreams, mut request: Request<RequestBody>) -> Result<Bytes, Reason> {
    let answer = upstreams.send(&mut request, None).await.map_err(|error| error.refusal.reason())?;
    Ok(read(answer).await?.0)
}

/// A request body fed by the test; ends when the sender is dropped.
struct Feed {
    frames: mpsc::UnboundedReceiver<Result<Frame<Bytes>, Refusal>>,
    left: Option<u64>,
}

type Feeder = mpsc::UnboundedSender<Result<Frame<Bytes>, Refusal>>;

fn feed(length: Option<u64>) -> (Feeder, Feed) {
    let (sender, frames) = mpsc::unbounded_channel();
    (sender, Feed { frames, left: length })
}

fn data(text: &'static str) -> Result<Frame<Bytes>, Refusal> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

impl Feed {
    fn body(self) -> RequestBody {
        RequestBody::stub(self, 1 << 20, Duration::from_secs(20))
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let polled = self.frames.poll_recv(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(left)) = (&polled, &mut self.left) {
            *left -= frame.data_ref().map_or(0, |d| d.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
