//! The site's own server: the least that speaks HTTP/1.1 with keep-alive.
//!
//! Answers everything with one page of a fixed size; below [`ECHO`] the page is the request's head as it arrived, and
//! the answer tries to set an advertising cookie. A request that asks for the end of the connection gets it: only the
//! byte copy hands that on. Requests without a body only. Bound: [`MOST_HEAD`] bytes per
//! connection.

use std::io::{self, Write as _};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Fallible;

/// Paths below this are answered with the request's own head.
pub(crate) const ECHO: &str = "/echo/";
/// Bytes of a request's head.
const MOST_HEAD: usize = 64 * 1024;

/// Tells its address on standard output and answers until the process ends. `body`: bytes of the page.
pub(crate) fn run(body: usize) -> Fallible<()> {
    let (page, last): (Rc<[u8]>, Rc<[u8]>) = (page(body, "").into(), page(body, CLOSE).into());
    forever(async move |stream| serve(stream, &page, &last).await)
}

/// Binds a free port, prints it, and hands each connection to `serve`, on one thread.
pub(crate) fn forever(serve: impl AsyncFn(TcpStream) -> io::Result<()> + 'static) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        io::stdout().flush()?;
        let serve = Rc::new(serve);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let serve = Rc::clone(&serve);
            tokio::task::spawn_local(async move {
                // A connection that breaks is the peer's affair, and shows there as an error.
                let _ = serve(stream).await;
            });
        }
    })
}

async fn serve(mut stream: TcpStream, page: &[u8], last: &[u8]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    let end = memchr::memmem::Finder::new(b"\r\n\r\n");
    let close = memchr::memmem::Finder::new(b"\r\nConnection: close\r\n");
    loop {
        let length = loop {
            if let Some(at) = end.find(&buffer) {
                break at + 4;
            }
            if buffer.len() > MOST_HEAD || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let target = buffer.split(|&b| b == b' ').nth(1).unwrap_or_default();
        if target.starts_with(ECHO.as_bytes()) {
            stream.write_all(&echo(&buffer[..length])).await?;
        } else if close.find(&buffer[..length]).is_some() {
            return stream.write_all(last).await;
        } else {
            stream.write_all(page).await?;
        }
        buffer.drain(..length);
    }
}

const CLOSE: &str = "connection: close\r\n";

fn page(body: usize, more: &str) -> Vec<u8> {
    let mut page = head(body, more);
    page.extend((0..body).map(|i| b"<p>ordinary text of a page</p>\n"[i % 31]));
    page
}

fn echo(request: &[u8]) -> Vec<u8> {
    let mut answer =
        head(request.len(), "set-cookie: _fbp=fb.1.1.1; Path=/\r\nset-cookie: lang=kk; Path=/\r\n");
    answer.extend_from_slice(request);
    answer
}

fn head(length: usize, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Sun, 22 Nov 2026 10:00:00 GMT\r\n\
         content-type: text/html; charset=utf-8\r\ncache-control: private, max-age=0\r\n\
         x-content-type-options: nosniff\r\n{more}content-length: {length}\r\n\r\n"
    )
    .into_bytes()
}
