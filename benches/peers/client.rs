//! The least HTTP/1.1 client: one request at a time on one connection, answers with `Content-Length`; with TLS if asked.
//!
//! For checks, for gathering visitor cookies, and for a counted number of requests under callgrind. Never for timing.
//! Bound: [`MOST_ANSWER`] bytes and [`PATIENCE`] per answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::{Fallible, workload};

/// Metrics of a thousand sites are some megabytes.
const MOST_ANSWER: usize = 64 << 20;
/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Status line and fields.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Fallible<Self> {
        Ok(Self { stream: Box::new(open(address)?), buffer: Vec::new() })
    }

    /// Connects with TLS.
    pub(crate) fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Fallible<Self> {
        let connection = ClientConnection::new(config, ServerName::try_from(workload::HOST)?)?;
        let stream = StreamOwned::new(connection, open(address)?);
        Ok(Self { stream: Box::new(stream), buffer: Vec::new() })
    }

    /// Sends a request without waiting.
    pub(crate) fn send(&mut self, request: &str) -> Fallible<()> {
        Ok(self.stream.write_all(request.as_bytes())?)
    }

    /// Waits for the next answer.
    pub(crate) fn receive(&mut self) -> Fallible<Answer> {
        loop {
            if let Some(answer) = self.take()? {
                return Ok(answer);
            }
            let mut piece = [0; 64 * 1024];
            let n = self.stream.read(&mut piece)?;
            if n == 0 || self.buffer.len() > MOST_ANSWER {
                return Err("the connection ended within an answer".into());
            }
            self.buffer.extend_from_slice(&piece[..n]);
        }
    }

    /// Both.
    pub(crate) fn exchange(&mut self, request: &str) -> Fallible<Answer> {
        self.send(request)?;
        self.receive()
    }

    fn take(&mut self) -> Fallible<Option<Answer>> {
        let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.buffer[..end + 2]).into_owned();
        let length: usize =
            field(&head, "content-length").ok_or("an answer without Content-Length")?.parse()?;
        let whole = end + 4 + length;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
        let body = self.buffer[end + 4..whole].to_vec();
        self.buffer.drain(..whole);
        Ok(Some(Answer { status, head, body }))
    }
}

/// What can be read and written.
trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

fn open(address: SocketAddr) -> Fallible<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The first value of a field in the text of a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    fields(head, name).next()
}

/// All values of a field in the text of a head.
pub(crate) fn fields<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
