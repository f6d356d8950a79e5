//! HTTP/2 as bytes, for heads and trailers that no library would send. One request per connection.
//!
//! Writes literal fields without Huffman coding; of an answer it reads how it ended and the status.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{HOST, PATIENCE};

/// A connection with its one request, on stream 1.
pub struct Frames {
    stream: TcpStream,
}

/// How the request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an answer of this status, whole.
    Answered(u16),
    /// By a reset of the stream, or the end of the connection.
    Refused,
}

/// The pseudo-fields of a request to the usual host.
pub fn pseudo<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", HOST)]
}

impl Frames {
    /// Connects and says the preface.
    pub fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true)).expect("options");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("the preface");
        Self { stream }
    }

    /// Sends a head, or trailers; `last`: nothing follows.
    pub fn fields(&mut self, fields: &[(&str, &str)], last: bool) -> &mut Self {
        let mut block = Vec::new();
        for text in fields.iter().map(|(name, value)| [*name, *value]) {
            // A literal without indexing.
            block.push(0);
            for text in text {
                block.push(u8::try_from(text.len()).ok().filter(|&n| n < 127).expect("a short text"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.frame(1, 4 | u8::from(last), &block)
    }

    /// Sends a part of the body.
    pub fn data(&mut self, bytes: &[u8], last: bool) -> &mut Self {
        self.frame(0, u8::from(last), bytes)
    }

    /// Reads until the request has ended.
    pub fn ended(&mut self) -> Ended {
        let mut status = None;
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).is_err() {
                return Ended::Refused;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if self.stream.read_exact(&mut payload).is_err() {
                return Ended::Refused;
            }
            let of_ours = head[8] == 1;
            match head[3] {
                1 if of_ours && status.is_none() => status = Some(status_of(&payload)),
                // RST_STREAM, GOAWAY.
                3 if of_ours => return Ended::Refused,
                7 if status.is_none() => return Ended::Refused,
                _ => {}
            }
            if of_ours && head[3] <= 1 && head[4] & 1 == 1 {
                return Ended::Answered(status.expect("a head before the end"));
            }
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, payload: &[u8]) -> &mut Self {
        let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        // The gateway may have refused already; how it ended tells.
        let _ = self.stream.write_all(&head).and_then(|()| self.stream.write_all(payload));
        self
    }
}

/// The status is the first field of a block: indexed, or a literal whose value has Huffman-coded digits (RFC 7541).
fn status_of(block: &[u8]) -> u16 {
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).expect("a field");
    match block[start] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        _ => {
            let huffman = block[start + 1] & 0x80 != 0;
            let value = &block[start + 2..][..usize::from(block[start + 1] & 0x7f)];
            if !huffman {
                return std::str::from_utf8(value).unwrap().parse().unwrap();
            }
            let bits = value.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            let (mut left, mut status) = (value.len() * 8, 0);
            for _ in 0..3 {
                let five = bits >> (left - 5) & 31;
                let digit = if five < 3 {
                    left -= 5;
                    five
                } else {
                    left -= 6;
                    (bits >> left & 63) - 22
                };
                status = status * 10 + digit;
            }
            u16::try_from(status).unwrap()
        }
    }
}
