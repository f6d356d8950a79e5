//! HTTP/1.1 as bytes: heads, bodies and chunks, read without believing anything.
//!
//! Strict where the gateway must be exact (line ends, lengths, chunk sizes), so that sloppy output of the gateway
//! fails a test instead of being understood. Header names and values keep their bytes and order.

use std::io::{self, Read};

/// Header fields in the order in which they came. Names keep their case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// All values of a name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The value of a name that must not be there twice.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// Whether a name is there.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// The first line of a message and its fields.
#[derive(Clone, Debug)]
pub struct Head {
    /// Request line or status line, without its end.
    pub line: String,
    /// The fields.
    pub fields: Fields,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing says.
    Whole,
    /// Before that: the connection broke off.
    Broken,
}

/// A connection read with a buffer of our own, so that what follows a message stays there for the next.
pub struct Reader<R> {
    inner: R,
    buffer: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Nothing read yet.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    /// The connection, for writing.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The connection alone.
    ///
    /// # Panics
    /// If bytes were read from it that nobody took.
    pub fn into_inner(self) -> R {
        assert!(self.buffer.is_empty(), "bytes left: {:?}", String::from_utf8_lossy(&self.buffer));
        self.inner
    }

    /// Reads once. False at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let n = loop {
            match self.inner.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n > 0)
    }

    /// The next head; `None` if the connection ended before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if !self.more()? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        };
        let text: Vec<u8> = self.buffer.drain(..end + 4).take(end).collect();
        let text = text.iter().map(|&byte| char::from(byte)).collect::<String>();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .map(|line| {
                assert!(!line.starts_with([' ', '\t']), "folded line: {line:?}");
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
                assert!(
                    !name.contains([' ', '\t', '\n', '\r']) && !value.contains(['\n', '\r']),
                    "bad: {line:?}"
                );
                (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
            })
            .collect();
        Ok(Some(Head { line, fields: Fields(fields) }))
    }

    /// Exactly `length` bytes.
    pub fn exactly(&mut self, length: usize) -> io::Result<(Vec<u8>, End)> {
        while self.buffer.len() < length {
            if !self.read_or_reset()? {
                return Ok((std::mem::take(&mut self.buffer), End::Broken));
            }
        }
        Ok((self.buffer.drain(..length).collect(), End::Whole))
    }

    /// Reads up to `most` bytes and forgets them; how many there were, 0 at the end.
    pub fn discard(&mut self, most: usize) -> io::Result<usize> {
        if self.buffer.is_empty() {
            let mut chunk = vec![0; most];
            // A signal to the process of the tests is nobody's fault.
            return loop {
                match self.inner.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
        }
        let n = most.min(self.buffer.len());
        self.buffer.drain(..n);
        Ok(n)
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.read_or_reset()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// One line without its end; `None` if the connection broke off.
    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if !self.read_or_reset()? {
                return Ok(None);
            }
        }
    }

    /// The next chunk; an empty one is the last. `None` if the connection broke off.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(size) = self.line()? else { return Ok(None) };
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        if size == 0 {
            return Ok(Some(Vec::new()));
        }
        let (data, end) = self.exactly(size)?;
        if end == End::Broken || self.line()?.is_none_or(|line| !line.is_empty()) {
            return Ok(None);
        }
        Ok(Some(data))
    }

    /// A whole chunked body and its trailers.
    pub fn chunked(&mut self) -> io::Result<(Vec<u8>, Fields, End)> {
        let mut body = Vec::new();
        loop {
            match self.chunk()? {
                None => return Ok((body, Fields::default(), End::Broken)),
                Some(data) if data.is_empty() => break,
                Some(data) => body.extend(data),
            }
        }
        let mut trailers = Fields::default();
        loop {
            match self.line()? {
                None => return Ok((body, trailers, End::Broken)),
                Some(line) if line.is_empty() => return Ok((body, trailers, End::Whole)),
                Some(line) => {
                    let (name, value) =
                        line.split_once(':').unwrap_or_else(|| panic!("no trailer: {line:?}"));
                    trailers.0.push((name.to_owned(), value.trim().to_owned()));
                }
            }
        }
    }

    /// Waits for the end of the connection; bytes before it are a failure of the test.
    pub fn is_closed(&mut self) -> bool {
        match self.rest() {
            Ok(rest) => rest.is_empty(),
            Err(_) => false,
        }
    }

    /// A reset counts as the end here: who cuts a connection may do it either way.
    fn read_or_reset(&mut self) -> io::Result<bool> {
        match self.more() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Ok(false)
            }
            other => other,
        }
    }
}

/// Whether `Transfer-Encoding` of a message is chunked; anything else in the field fails the test.
pub fn is_chunked(fields: &Fields) -> bool {
    match fields.one("transfer-encoding") {
        None => false,
        Some(coding) => {
            assert_eq!(coding, "chunked", "transfer coding");
            assert!(!fields.has("content-length"), "two framings: {fields:?}");
            true
        }
    }
}

/// The length that a message declares.
pub fn content_length(fields: &Fields) -> Option<usize> {
    fields.one("content-length").map(|text| {
        assert!(text.bytes().all(|b| b.is_ascii_digit()), "content-length: {text:?}");
        text.parse().expect("a length")
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
