//! One request in frames, for heads and trailers that no library would send, and how it ended.

use std::net::SocketAddr;

use super::HOST;
use super::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, frame, literal};

/// A connection with its one request, on stream 1.
pub struct OneStream(Frames);

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

impl OneStream {
    /// Connects and says the preface.
    pub fn connect(address: SocketAddr) -> Self {
        Self(Frames::connect(address, &[]))
    }

    /// Sends a head, or trailers; `last`: nothing follows.
    pub fn fields(&mut self, fields: &[(&str, &str)], last: bool) -> &mut Self {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
        self.frame(HEADERS, END_HEADERS, last, &block)
    }

    /// Sends a part of the body.
    pub fn data(&mut self, bytes: &[u8], last: bool) -> &mut Self {
        self.frame(DATA, 0, last, bytes)
    }

    /// Waits until the gateway has read all that was sent.
    pub fn settle(&mut self) {
        self.0.settle().expect("a connection");
    }

    /// Reads until the request has ended.
    pub fn ended(&mut self) -> Ended {
        let mut status = None;
        while let Some(next) = self.0.next() {
            let of_ours = next.stream == 1;
            match next.kind {
                HEADERS if of_ours && status.is_none() => status = Some(status_of(&next.payload)),
                RST_STREAM if of_ours => return Ended::Refused,
                GOAWAY if status.is_none() => return Ended::Refused,
                _ => {}
            }
            if of_ours && next.kind <= HEADERS && next.flags & END_STREAM != 0 {
                return Ended::Answered(status.expect("a head before the end"));
            }
        }
        Ended::Refused
    }

    fn frame(&mut self, kind: u8, flags: u8, last: bool, payload: &[u8]) -> &mut Self {
        let flags = flags | if last { END_STREAM } else { 0 };
        // The gateway may have refused already; how it ended tells.
        self.0.send(&frame(kind, flags, 1, payload));
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
