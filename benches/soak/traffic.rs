//! Everything that clients do, each kind in tasks of its own until they are aborted.
//!
//! Pauses keep the load moderate: the run is about time, not about speed. An error that a kind provokes on purpose is
//! not counted; any other is. Bound: a few dozen tasks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::{self, finish, page, patient, upload};
use crate::gateway::Gateway;
use crate::{Args, Fallible};

/// What the clients saw.
#[derive(Default)]
pub(crate) struct Tally {
    /// Answers that were whole.
    pub(crate) answers: Cell<u64>,
    /// Answers with a status from 500 on.
    pub(crate) server_errors: Cell<u64>,
    /// Exchanges that failed although the client did nothing wrong.
    pub(crate) failures: Cell<u64>,
    /// The last of them.
    pub(crate) last_failure: RefCell<String>,
}

impl Tally {
    fn answered(&self, status: u16) {
        self.answers.set(self.answers.get() + 1);
        if status >= 500 {
            self.server_errors.set(self.server_errors.get() + 1);
        }
    }

    fn failed(&self, kind: &str, error: &dyn std::error::Error) {
        self.failures.set(self.failures.get() + 1);
        let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
        *self.last_failure.borrow_mut() = format!("{kind}: {error}{source}");
    }
}

/// Starts every kind of client.
pub(crate) fn start(args: &Args, gateway: &Rc<Gateway>, tally: &Rc<Tally>) -> Vec<JoinHandle<()>> {
    let address = gateway.address;
    let mut tasks = Vec::new();
    for _ in 0..args.clients {
        for _ in 0..4 {
            tasks.push(again(tally, "keep-alive", 20, move |tally| keep_alive(address, tally)));
            tasks.push(again(tally, "new connection", 50, move |tally| one(address, tally)));
        }
        for _ in 0..2 {
            tasks.push(again(tally, "http2", 100, move |tally| multiplexed(address, tally)));
            tasks.push(again(tally, "upload", 100, move |tally| uploads(address, tally)));
            tasks.push(again(tally, "give up", 50, move |_| give_up(address)));
            tasks.push(again(tally, "slow", 100, move |tally| slow(address, tally)));
            tasks.push(again(tally, "tunnel", 100, move |_| tunnel(address)));
            tasks.push(again(tally, "choice", 200, move |tally| choice(address, tally)));
        }
        tasks.push(again(tally, "nonsense", 200, move |_| nonsense(address)));
    }
    let gateway = Rc::clone(gateway);
    tasks.push(again(tally, "reload", 5000, move |_| {
        let gateway = Rc::clone(&gateway);
        async move { gateway.reload() }
    }));
    tasks
}

/// Does something again and again, with a pause in milliseconds.
fn again<F: Future<Output = Fallible<()>> + 'static>(
    tally: &Rc<Tally>,
    kind: &'static str,
    pause: u64,
    work: impl Fn(Rc<Tally>) -> F + 'static,
) -> JoinHandle<()> {
    let tally = Rc::clone(tally);
    tokio::task::spawn_local(async move {
        loop {
            if let Err(error) = work(Rc::clone(&tally)).await {
                tally.failed(kind, &*error);
            }
            sleep(Duration::from_millis(pause)).await;
        }
    })
}

/// Two hundred pages on one connection.
async fn keep_alive(address: SocketAddr, tally: Rc<Tally>) -> Fallible<()> {
    let mut sender = client::http1(address).await?;
    for n in 0..200 {
        let path = if n % 20 == 19 { "/large" } else { "/small" };
        let response = patient(sender.send_request(page(path, false)?)).await??;
        tally.answered(finish(response).await?);
        patient(sender.ready()).await??;
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// One page on a new connection.
async fn one(address: SocketAddr, tally: Rc<Tally>) -> Fallible<()> {
    let mut sender = client::http1(address).await?;
    let response = patient(sender.send_request(page("/small", false)?)).await??;
    tally.answered(finish(response).await?);
    Ok(())
}

/// Many pages at once on one HTTP/2 connection; every fourth is reset in the middle.
async fn multiplexed(address: SocketAddr, tally: Rc<Tally>) -> Fallible<()> {
    let sender = client::http2(address).await?;
    let mut open = Vec::new();
    for n in 0..20 {
        let (mut sender, tally) = (sender.clone(), Rc::clone(&tally));
        open.push(tokio::task::spawn_local(async move {
            patient(sender.ready()).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
            let request =
                page(if n % 4 == 0 { "/large" } else { "/trickle" }, true).map_err(|e| e.to_string())?;
            let answer = patient(sender.send_request(request)).await.map_err(|e| e.to_string())?;
            let mut response = answer.map_err(|e| e.to_string())?;
            if n % 4 == 0 {
                // Dropped after its first piece.
                response.body_mut().frame().await;
                return Ok(());
            }
            tally.answered(finish(response).await.map_err(|e| e.to_string())?);
            Ok::<(), String>(())
        }));
    }
    for task in open {
        task.await??;
    }
    Ok(())
}

/// Uploads with a length and in chunks on one connection.
async fn uploads(address: SocketAddr, tally: Rc<Tally>) -> Fallible<()> {
    let mut sender = client::http1(address).await?;
    for n in 0..10 {
        let response = patient(sender.send_request(upload(16, n % 2 == 0)?)).await??;
        tally.answered(finish(response).await?);
        patient(sender.ready()).await??;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A download and an upload that are given up half way.
async fn give_up(address: SocketAddr) -> Fallible<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: kz.example\r\n\r\n").await?;
    let mut buffer = vec![0; 20_000];
    patient(stream.read_exact(&mut buffer)).await??;
    drop(stream);
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"POST /upload HTTP/1.1\r\nHost: kz.example\r\nContent-Length: 100000\r\n\r\n").await?;
    stream.write_all(&buffer).await?;
    Ok(())
}

/// A head that comes byte by byte, and an answer that is read the same way.
async fn slow(address: SocketAddr, tally: Rc<Tally>) -> Fallible<()> {
    let mut stream = TcpStream::connect(address).await?;
    for piece in b"GET /large HTTP/1.1\r\nHost: kz.example\r\nConnection: close\r\n\r\n".chunks(8) {
        stream.write_all(piece).await?;
        stream.flush().await?;
        sleep(Duration::from_millis(20)).await;
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut first = true;
    loop {
        let n = patient(stream.read(&mut buffer)).await??;
        if n == 0 {
            return Ok(());
        }
        if std::mem::take(&mut first) {
            let status = std::str::from_utf8(buffer.get(9..12).unwrap_or_default())?.parse()?;
            tally.answered(status);
        }
        sleep(Duration::from_millis(30)).await;
    }
}

/// An upgrade, some bytes there and back, and an end without ceremony.
async fn tunnel(address: SocketAddr) -> Fallible<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(
            b"GET /tunnel HTTP/1.1\r\nHost: kz.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        patient(stream.read_exact(&mut byte)).await??;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(format!("no upgrade: {}", head.escape_ascii()).into());
    }
    for n in 1..20_u8 {
        let sent = vec![n; 1000];
        stream.write_all(&sent).await?;
        let mut back = vec![0; 1000];
        patient(stream.read_exact(&mut back)).await??;
        if back != sent {
            return Err("the tunnel changed bytes".into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The consent page, and a choice.
async fn choice(address: SocketAddr, tally: Rc<Tally>) -> Fallible<()> {
    let mut sender = client::http1(address).await?;
    let response = patient(sender.send_request(page("/.kelisim/", false)?)).await??;
    tally.answered(finish(response).await?);
    patient(sender.ready()).await??;
    let request = Request::builder()
        .method(Method::POST)
        .uri("/.kelisim/consent")
        .header(header::HOST, "kz.example")
        .header(header::ORIGIN, "http://kz.example")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from("{\"advertising\":true}").boxed_unsync())?;
    let response = patient(sender.send_request(request)).await??;
    tally.answered(finish(response).await?);
    Ok(())
}

/// What is no request, and half of one.
async fn nonsense(address: SocketAddr) -> Fallible<()> {
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET / HTTP/1.1\r\nHost: kz.exa", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
