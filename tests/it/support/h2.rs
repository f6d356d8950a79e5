//! The same questions over HTTP/2: by prior knowledge in cleartext, or by ALPN.
//!
//! hyper speaks the protocol on one background thread for all tests; a test calls as if it were blocking.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;

use super::PATIENCE;
use super::client::{Ask, Reply};
use super::wire::{End, Fields};

/// One HTTP/2 connection.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    scheme: &'static str,
}

impl Http2 {
    /// Connects in cleartext; the gateway must find the protocol by its preface.
    pub fn connect(address: SocketAddr) -> Self {
        block_on(async { Self::over(TcpStream::connect(address).await.expect("connected"), "http").await })
    }

    /// The same from another loopback address.
    pub fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((source, 0).into()).expect("a source address");
            Self::over(socket.connect(address).await.expect("connected"), "http").await
        })
    }

    /// Connects by TLS; panics unless the gateway chose `h2`.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        block_on(async {
            let stream = TcpStream::connect(address).await.expect("connected");
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.expect("TLS");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Self::over(stream, "https").await
        })
    }

    async fn over<S>(stream: S, scheme: &'static str) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        // Its end is seen by the requests on it.
        tokio::spawn(async move { drop(connection.await) });
        Self { sender, scheme }
    }

    /// Asks and reads the answer, which must be whole.
    pub fn fetch(&mut self, ask: &Ask) -> Reply {
        let reply =
            self.try_fetch(ask).unwrap_or_else(|error| panic!("{} {}: {error}", ask.method, ask.target));
        assert_eq!(reply.end, End::Whole, "{} {}: {reply:?}", ask.method, ask.target);
        reply.suspect();
        reply
    }

    /// Asks and reads the answer's head; the body is read piece by piece, as the caller pleases.
    pub fn open(&mut self, ask: &Ask) -> Streamed {
        let (reply, body) = block_on(self.ask(ask)).expect("an answer");
        reply.suspect();
        Streamed { reply, body }
    }

    /// Asks and reads the answer, if one comes.
    pub fn try_fetch(&mut self, ask: &Ask) -> Result<Reply, hyper::Error> {
        block_on(async {
            let (mut reply, mut body) = self.ask(ask).await?;
            while let Some(frame) = body.frame().await {
                match frame {
                    Err(_) => {
                        reply.end = End::Broken;
                        break;
                    }
                    Ok(frame) => match frame.into_data() {
                        Ok(data) => reply.body.extend(data),
                        Err(frame) => reply.trailers = frame.trailers_ref().map(fields).unwrap_or_default(),
                    },
                }
            }
            Ok(reply)
        })
    }

    async fn ask(&mut self, ask: &Ask) -> Result<(Reply, Incoming), hyper::Error> {
        let uri = format!("{}://{}{}", self.scheme, ask.host, ask.target);
        let mut request = http::Request::builder().method(ask.method.as_str()).uri(uri);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(ask.body.clone())).expect("a request");
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        let reply = Reply {
            status: parts.status.as_u16(),
            headers: fields(&parts.headers),
            body: Vec::new(),
            trailers: Fields::default(),
            end: End::Whole,
        };
        Ok((reply, body))
    }
}

/// An answer whose body has not been read.
pub struct Streamed {
    /// Its head.
    pub reply: Reply,
    body: Incoming,
}

impl Streamed {
    /// The next bytes of the body; `None` at its end.
    pub fn next(&mut self) -> Option<Bytes> {
        let frame = block_on(self.body.frame())?.expect("the body goes on");
        Some(frame.into_data().unwrap_or_default())
    }
}

fn fields(map: &http::HeaderMap) -> Fields {
    let text = |value: &http::HeaderValue| value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
    Fields(map.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

/// The background thread.
static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

/// Lets a future run on the background thread.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    RUNTIME.spawn(future);
}

/// Runs a future on the background thread, for at most [`PATIENCE`].
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("waited in vain for HTTP/2") })
}
