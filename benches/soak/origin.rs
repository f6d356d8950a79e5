//! The site: small pages, a large file, an answer that trickles, an echo of uploads, an upgrade that echoes bytes.
//!
//! Runs on a thread of its own until the process ends. Never fails a request on purpose. Bound: 1 MiB per answer.

use std::convert::Infallible;
use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Fallible;

/// Starts it.
pub(crate) fn start() -> Fallible<SocketAddr> {
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("origin".into()).spawn(move || {
        if let Err(error) = run(&tell) {
            eprintln!("the origin ended: {error}");
        }
    })?;
    Ok(told.recv()?)
}

fn run(tell: &mpsc::Sender<SocketAddr>) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        tell.send(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream));
        }
    })
}

async fn serve(stream: tokio::net::TcpStream) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let mut builder = http1::Builder::new();
    let connection =
        builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).with_upgrades();
    // The gateway closes connections in the middle of what its own clients gave up.
    let _ = connection.await;
}

async fn answer(mut request: Request<Incoming>) -> Response<Answer> {
    let kind = match request.uri().path() {
        "/large" => Answer::pieces(64, Duration::ZERO),
        "/trickle" => Answer::pieces(8, Duration::from_millis(50)),
        "/upload" => {
            while let Some(Ok(_)) = request.body_mut().frame().await {}
            Answer::pieces(0, Duration::ZERO)
        }
        "/tunnel" => return tunnel(request),
        _ => Answer { left: 1, size: 512, pause: Duration::ZERO, sleep: None },
    };
    let mut response = Response::new(kind);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"));
    fields.append(header::SET_COOKIE, header::HeaderValue::from_static("_fbp=1; Path=/"));
    fields.append(header::SET_COOKIE, header::HeaderValue::from_static("session=1; Path=/; HttpOnly"));
    response
}

/// Echoes every byte until the other side ends.
fn tunnel(request: Request<Incoming>) -> Response<Answer> {
    tokio::task::spawn_local(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut io = TokioIo::new(upgraded);
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = io.read(&mut buffer).await {
            if io.write_all(&buffer[..n]).await.is_err() || io.flush().await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Answer::pieces(0, Duration::ZERO));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    response
}

/// A body of equal pieces with a pause before each.
struct Answer {
    left: usize,
    size: usize,
    pause: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Answer {
    const fn pieces(left: usize, pause: Duration) -> Self {
        Self { left, size: 16 * 1024, pause, sleep: None }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if !self.pause.is_zero() {
            let pause = self.pause;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        self.left -= 1;
        static PAGE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PAGE[..self.size])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}
