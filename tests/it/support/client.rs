//! A client of one connection: sends bytes as they are, reads exactly one answer, waits for the end.
//!
//! [`Client::fetch`] asks well-formed questions and is suspicious of every answer: a request id on each, no
//! hop-by-hop field, one framing. [`Client::send`] and [`Client::read`] send anything and take anything.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::wire::{End, Fields, Reader, content_length, is_chunked};
use super::{HOST, PATIENCE};

/// A question, for either protocol.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Method.
    pub method: String,
    /// Target, as it is sent.
    pub target: String,
    /// `Host` or `:authority`.
    pub host: String,
    /// Further fields, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A question to the usual host.
pub fn ask(method: &str, target: &str) -> Ask {
    Ask {
        method: method.into(),
        target: target.into(),
        host: HOST.into(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

impl Ask {
    /// One more field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body, sent with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Another host.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        for (name, value) in &self.headers {
            out.extend(format!("{name}: {value}\r\n").bytes());
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            out.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        out.extend(b"\r\n");
        out.extend(&self.body);
        out
    }
}

/// An answer, from either protocol.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Fields in order.
    pub headers: Fields,
    /// Body, without chunks.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Fields,
    /// Whether the body came to its end.
    pub end: End,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    /// The request id, which every answer carries once.
    pub fn id(&self) -> &str {
        self.headers.one("x-request-id").unwrap_or_else(|| panic!("no request id on {self:?}"))
    }

    /// The values of `Set-Cookie`.
    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers.all("set-cookie")
    }

    /// The value of a field, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.one(name).unwrap_or_default()
    }

    /// What must hold for every answer of the gateway, whatever was asked.
    pub fn suspect(&self) {
        assert!(!self.id().is_empty());
        for name in [
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "te",
            "kelisim-consent",
            "kelisim-risk",
            "kelisim-country",
            "kelisim-network",
        ] {
            assert!(!self.headers.has(name), "{name} on {self:?}");
        }
    }
}

/// Anything that a client speaks over.
pub trait Wire: Read + Write + Send {
    /// Ends one direction or both.
    fn shut(&mut self, how: Shutdown) -> io::Result<()>;
}

impl Wire for TcpStream {
    fn shut(&mut self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

impl Wire for UnixStream {
    fn shut(&mut self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

impl Wire for StreamOwned<ClientConnection, UnixStream> {
    fn shut(&mut self, how: Shutdown) -> io::Result<()> {
        self.sock.shutdown(how)
    }
}

impl Wire for StreamOwned<ClientConnection, TcpStream> {
    fn shut(&mut self, how: Shutdown) -> io::Result<()> {
        self.sock.shutdown(how)
    }
}

/// One connection to the gateway.
pub struct Client {
    reader: Reader<Box<dyn Wire>>,
}

impl Client {
    /// Connects in cleartext.
    pub fn connect(address: SocketAddr) -> Self {
        Self { reader: Reader::new(Box::new(dial(address))) }
    }

    /// Speaks over a connection that is there.
    pub fn over(wire: Box<dyn Wire>) -> Self {
        Self { reader: Reader::new(wire) }
    }

    /// Connects in cleartext from another loopback address.
    pub fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("a source address");
        socket.connect(&address.into()).expect("connected");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true)).expect("options");
        Self { reader: Reader::new(Box::new(stream)) }
    }

    /// Speaks over a connection that somebody else opened, and may have said something on.
    pub fn over_tcp(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_nodelay(true))
            .expect("socket options");
        Self::over(Box::new(stream))
    }

    /// The same by TLS.
    pub fn over_tls(stream: TcpStream, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        Self::encrypted(stream, config, name)
    }

    /// The same through a Unix socket.
    pub fn over_unix_tls(stream: UnixStream, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        Self::encrypted(stream, config, name)
    }

    fn encrypted<S>(mut stream: S, config: Arc<ClientConfig>, name: &str) -> io::Result<Self>
    where
        S: Read + Write,
        StreamOwned<ClientConnection, S>: Wire + 'static,
    {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut session = ClientConnection::new(config, name).expect("a session");
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self { reader: Reader::new(Box::new(StreamOwned::new(session, stream))) })
    }

    /// Connects by TLS to a name; fails as the handshake fails.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        Self::over_tls(dial(address), config, name)
    }

    /// Asks and reads the answer, which must be whole.
    pub fn fetch(&mut self, ask: &Ask) -> Reply {
        let reply =
            self.try_fetch(ask).unwrap_or_else(|error| panic!("{} {}: {error}", ask.method, ask.target));
        assert_eq!(reply.end, End::Whole, "{} {}: {reply:?}", ask.method, ask.target);
        reply
    }

    /// Asks and reads the answer, if one comes.
    pub fn try_fetch(&mut self, ask: &Ask) -> io::Result<Reply> {
        self.reader.get_mut().write_all(&ask.bytes())?;
        let reply = self.answer(ask.method == "HEAD")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        reply.suspect();
        Ok(reply)
    }

    /// Asks a server that is not the gateway.
    pub fn fetch_unsuspecting(&mut self, ask: &Ask) -> Reply {
        self.send(ask.bytes());
        self.answer(ask.method == "HEAD").expect("an answer").expect("an answer before the end")
    }

    /// `GET`.
    pub fn get(&mut self, target: &str) -> Reply {
        self.fetch(&ask("GET", target))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("bytes sent");
    }

    /// Sends bytes; false if the gateway has closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next answer, to anything but `HEAD`.
    pub fn read(&mut self) -> Reply {
        self.answer(false).expect("an answer").expect("an answer before the end of the connection")
    }

    /// The next answer, if one comes.
    pub fn try_read(&mut self) -> Option<Reply> {
        self.answer(false).ok().flatten()
    }

    /// The next answer's head and nothing of its body.
    pub fn read_head(&mut self) -> Reply {
        let head = self.reader.head().expect("a head").expect("a head before the end of the connection");
        reply(&head.line, head.fields)
    }

    /// The next chunk of a chunked body.
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        self.reader.chunk().expect("a chunk")
    }

    /// Reads up to `most` bytes of a body and forgets them; how many there were, 0 at the end.
    pub fn discard(&mut self, most: usize) -> usize {
        self.reader.discard(most).expect("bytes")
    }

    /// Waits until the gateway has closed without a further byte.
    pub fn is_closed(&mut self) -> bool {
        self.reader.is_closed()
    }

    /// Everything until the gateway closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        self.reader.rest().expect("the end of the connection")
    }

    /// Ends our direction.
    pub fn half_close(&mut self) {
        self.reader.get_mut().shut(Shutdown::Write).expect("half-closed");
    }

    /// The connection itself.
    pub fn into_wire(self) -> Box<dyn Wire> {
        self.reader.into_inner()
    }

    fn answer(&mut self, to_head: bool) -> io::Result<Option<Reply>> {
        let Some(head) = self.reader.head()? else { return Ok(None) };
        let mut reply = reply(&head.line, head.fields);
        if to_head || matches!(reply.status, 100..=199 | 204 | 304) {
            return Ok(Some(reply));
        }
        if is_chunked(&reply.headers) {
            (reply.body, reply.trailers, reply.end) = self.reader.chunked()?;
        } else if let Some(length) = content_length(&reply.headers) {
            (reply.body, reply.end) = self.reader.exactly(length)?;
        } else {
            reply.body = self.reader.rest()?;
        }
        Ok(Some(reply))
    }
}

fn reply(line: &str, headers: Fields) -> Reply {
    let status =
        line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("status line: {line:?}"));
    Reply { status, headers, body: Vec::new(), trailers: Fields::default(), end: End::Whole }
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true)).expect("socket options");
    stream
}
