//! The site behind the gateway: real sockets, every request recorded, every header suspected.
//!
//! A handler answers each request; [`Origin::raw`] hands over the connection instead, for sites that misbehave. What
//! arrives is compared with the list of headers that a site may see at all ([`suspect`]): a hop-by-hop field, a header
//! of ours that does not exist, a second framing, an advertising cookie that the test did not grant — each fails the
//! test when the origin is dropped, whatever else the test looked at.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::PATIENCE;
use super::visitor::ADS;
use super::wire::{End, Fields, Reader, content_length, is_chunked};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Target, byte for byte.
    pub target: String,
    /// Fields in order.
    pub headers: Fields,
    /// Body, decoded from chunks if it came so.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Fields,
    /// Whether the body came to its end.
    pub end: End,
}

impl Seen {
    /// The cookies as one text, empty if there are none.
    pub fn cookies(&self) -> &str {
        self.headers.one("cookie").unwrap_or_default()
    }
}

/// What the site answers.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    chunks: Option<Vec<Vec<u8>>>,
    trailers: Vec<(String, String)>,
}

impl Answer {
    /// A status and an empty body.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Vec::new(), chunks: None, trailers: Vec::new() }
    }

    /// A small page.
    pub fn page() -> Self {
        Self::new(200)
            .header("Content-Type", "text/html; charset=utf-8")
            .body("<!doctype html><title>t</title>page")
    }

    /// 200 with a text.
    pub fn text(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).header("Content-Type", "text/plain").body(body)
    }

    /// One more field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The body, sent with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body, sent in chunks.
    pub fn chunked<'a>(mut self, chunks: impl IntoIterator<Item = &'a str>) -> Self {
        self.chunks = Some(chunks.into_iter().map(|chunk| chunk.as_bytes().to_vec()).collect());
        self
    }

    /// A trailer after the last chunk.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }

    fn bytes(&self, head_only: bool) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} Of-The-Test\r\n", self.status).into_bytes();
        let mut field = |name: &str, value: &str| out.extend(format!("{name}: {value}\r\n").bytes());
        self.fields.iter().for_each(|(name, value)| field(name, value));
        let says_length = self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        match &self.chunks {
            Some(_) => field("Transfer-Encoding", "chunked"),
            None if says_length || matches!(self.status, 204 | 304) => {}
            None => field("Content-Length", &self.body.len().to_string()),
        }
        out.extend(b"\r\n");
        if head_only || matches!(self.status, 204 | 304) {
            return out;
        }
        match &self.chunks {
            None => out.extend(&self.body),
            Some(chunks) => {
                for chunk in chunks {
                    out.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    out.extend(chunk);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n");
                for (name, value) in &self.trailers {
                    out.extend(format!("{name}: {value}\r\n").bytes());
                }
                out.extend(b"\r\n");
            }
        }
        out
    }
}

/// A site on a port of its own.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    suspicions: Mutex<Vec<String>>,
    advertising: AtomicBool,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    down: AtomicBool,
    tolerated: Mutex<HashSet<String>>,
}

/// One connection to a site that a test plays itself.
pub struct Connection {
    /// What comes from the gateway.
    pub reader: Reader<TcpStream>,
    shared: Arc<Shared>,
}

impl Origin {
    /// A site that answers each request, on connections that stay open.
    pub fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::raw(move |mut connection| {
            while let Ok(Some(seen)) = connection.request() {
                let answer = handler(&seen);
                let head_only = seen.method == "HEAD";
                if seen.end == End::Broken || connection.send(&answer.bytes(head_only)).is_err() {
                    break;
                }
            }
        })
    }

    /// A site that answers every request with a page.
    pub fn pages() -> Self {
        Self::start(|_| Answer::page())
    }

    /// A site whose every connection is handled by the test.
    pub fn raw(handler: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the origin");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let (handler, own) = (Arc::new(handler), Arc::clone(&shared));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if own.down.load(SeqCst) {
                    return;
                }
                own.connections.fetch_add(1, SeqCst);
                own.open.lock().unwrap().extend(stream.try_clone());
                let (handler, shared) = (Arc::clone(&handler), Arc::clone(&own));
                std::thread::spawn(move || {
                    let ours = stream.try_clone();
                    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).unwrap();
                    let connection = Connection { reader: Reader::new(stream), shared: Arc::clone(&shared) };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(connection))) {
                        let what = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        shared.suspicions.lock().unwrap().push(format!("the site's own code failed: {what}"));
                    }
                    // The list of open connections holds another handle, so dropping would not close.
                    let _ = ours.map(|stream| stream.shutdown(Shutdown::Both));
                });
            }
        });
        Self { address, shared }
    }

    /// `http://address`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on advertising cookies may arrive here, or may not.
    pub fn grant_advertising(&self, granted: bool) {
        self.shared.advertising.store(granted, SeqCst);
    }

    /// This header may arrive, although a gateway in its default state lets it not through.
    pub fn tolerate(&self, name: &str) {
        self.shared.tolerated.lock().unwrap().insert(name.to_ascii_lowercase());
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The last request.
    pub fn last(&self) -> Seen {
        self.shared.seen.lock().unwrap().last().cloned().expect("the site saw a request")
    }

    /// How many requests arrived.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Ends every open connection, as a site does that restarts.
    pub fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.down.store(true, SeqCst);
        self.hang_up();
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        let suspicions = std::mem::take(&mut *self.shared.suspicions.lock().unwrap());
        if !std::thread::panicking() {
            assert!(suspicions.is_empty(), "the site saw what it may not see:\n{}", suspicions.join("\n"));
        }
    }
}

impl Connection {
    /// The next request with its body; `None` when the gateway closed the connection.
    pub fn request(&mut self) -> io::Result<Option<Seen>> {
        let Some(mut seen) = self.head()? else { return Ok(None) };
        if is_chunked(&seen.headers) {
            (seen.body, seen.trailers, seen.end) = self.reader.chunked()?;
        } else if let Some(length) = content_length(&seen.headers) {
            (seen.body, seen.end) = self.reader.exactly(length)?;
        }
        self.record(&seen);
        Ok(Some(seen))
    }

    /// The next head, not recorded: for sites that answer before they have read the body.
    pub fn head(&mut self) -> io::Result<Option<Seen>> {
        let Some(head) = self.reader.head()? else { return Ok(None) };
        let words: Vec<&str> = head.line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else { panic!("request line: {:?}", head.line) };
        Ok(Some(Seen {
            method: method.into(),
            target: target.into(),
            headers: head.fields,
            body: Vec::new(),
            trailers: Fields::default(),
            end: End::Whole,
        }))
    }

    /// Notes a request, and what is wrong with it.
    pub fn record(&self, seen: &Seen) {
        let found =
            suspect(seen, self.shared.advertising.load(SeqCst), &self.shared.tolerated.lock().unwrap());
        self.shared.suspicions.lock().unwrap().extend(found);
        self.shared.seen.lock().unwrap().push(seen.clone());
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends an answer.
    pub fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        self.send(&answer.bytes(false))
    }
}

/// What is wrong with a request that a site sees.
fn suspect(seen: &Seen, advertising: bool, tolerated: &HashSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut wrong = |what: String| found.push(format!("{} {}: {what}", seen.method, seen.target));
    let upgrade = seen.headers.all("upgrade") == ["websocket"];
    for (name, value) in &seen.headers.0 {
        let name = name.to_ascii_lowercase();
        let allowed = match name.as_str() {
            "connection" => upgrade && value.eq_ignore_ascii_case("upgrade"),
            "upgrade" => upgrade,
            "te" => value == "trailers",
            _ => {
                ALLOWED.contains(&name.as_str())
                    || name.starts_with("x-test")
                    || name.starts_with("sec-websocket-")
            }
        };
        if !allowed && !tolerated.contains(&name) {
            wrong(format!("header {name}: {value}"));
        }
    }
    for name in EXACTLY_ONE {
        if seen.headers.all(name).len() != 1 {
            wrong(format!("{name} is there {} times", seen.headers.all(name).len()));
        }
    }
    if seen.headers.all("content-length").len() + seen.headers.all("transfer-encoding").len() > 1 {
        wrong("two framings".into());
    }
    if seen.target.starts_with("/.kelisim") || !(seen.target.starts_with('/')) {
        wrong("this target is not for the site".into());
    }
    for cookie in seen.headers.all("cookie").iter().flat_map(|field| field.split(';')) {
        let name = cookie.split('=').next().unwrap_or_default().trim();
        if name == "kelisim_vid" || (!advertising && ADS.iter().any(|(ad, _)| *ad == name)) {
            wrong(format!("cookie {name}"));
        }
    }
    for trailer in &seen.trailers.0 {
        let name = trailer.0.to_ascii_lowercase();
        if !name.starts_with("x-test") && !tolerated.contains(&name) {
            wrong(format!("trailer {}", trailer.0));
        }
    }
    found
}

/// Headers that a site may see; `x-test…` are the tests' own.
const ALLOWED: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "cookie",
    "dnt",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "kelisim-consent",
    "kelisim-risk",
    "kelisim-signals",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "save-data",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-gpc",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade-insecure-requests",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// Headers that are on every request, once.
const EXACTLY_ONE: &[&str] = &[
    "host",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "kelisim-consent",
];
