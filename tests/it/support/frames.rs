//! HTTP/2 as frames, for clients that break its rules or wear them out (RFC 9113 §4, §6).
//!
//! Writes exactly what it is told and keeps no state of the protocol. Reading is for what a test wants to know: which
//! frames came, and when the connection ended.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{HOST, PATIENCE};

/// `DATA`.
pub const DATA: u8 = 0;
/// `HEADERS`.
pub const HEADERS: u8 = 1;
/// `PRIORITY`.
pub const PRIORITY: u8 = 2;
/// `RST_STREAM`.
pub const RST_STREAM: u8 = 3;
/// `SETTINGS`.
pub const SETTINGS: u8 = 4;
/// `PING`.
pub const PING: u8 = 6;
/// `GOAWAY`.
pub const GOAWAY: u8 = 7;
/// `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 8;
/// `CONTINUATION`.
pub const CONTINUATION: u8 = 9;

/// `END_STREAM`, and `ACK` of PING and SETTINGS.
pub const END_STREAM: u8 = 1;
/// `END_HEADERS`.
pub const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A connection of frames.
pub struct Frames {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// Connects, sends the preface and these settings (identifier and value), and reads nothing.
    pub fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("connected");
        socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(PATIENCE))).expect("options");
        socket.set_write_timeout(Some(PATIENCE)).expect("options");
        let mut frames = Self { socket, buffer: Vec::new() };
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &payload));
        assert!(frames.send(&bytes), "the preface sent");
        frames
    }

    /// Sends bytes; false if the gateway has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let head = self.take(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.take(length)?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Frames up to the first of a type; `None` if the connection ends before.
    pub fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// All frames until the gateway closes.
    pub fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Frames up to the end of a stream, or of the connection.
    pub fn rest_after_close_of(&mut self, stream: u32) -> Vec<Frame> {
        let mut seen = Vec::new();
        while let Some(next) = self.next() {
            let ends = next.stream == stream
                && (next.kind == RST_STREAM || (next.kind <= HEADERS && next.flags & END_STREAM != 0));
            seen.push(next);
            if ends {
                break;
            }
        }
        seen
    }

    /// From now on a write that has to wait for longer counts as the end.
    pub fn give_up_writing_after(&self, time: Duration) {
        self.socket.set_write_timeout(Some(time)).expect("an option");
    }

    /// A PING, and everything until its answer: then the gateway has read all that was sent before. `None` if it closed.
    pub fn settle(&mut self) -> Option<Vec<Frame>> {
        if !self.send(&frame(PING, 0, 0, b"settled?")) {
            return None;
        }
        let mut seen = Vec::new();
        loop {
            let next = self.next()?;
            if (next.kind, next.flags) == (PING, END_STREAM) && next.payload == b"settled?" {
                return Some(seen);
            }
            seen.push(next);
        }
    }

    /// A second handle to the socket, to read on another thread.
    pub fn reader(&self) -> Self {
        Self { socket: self.socket.try_clone().expect("a handle"), buffer: Vec::new() }
    }

    /// Ends both directions.
    pub fn close(&self) {
        // It may be gone already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            let mut chunk = [0; 16 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("waited in vain for a frame")
                }
                // A reset is an end too.
                Err(_) => return None,
            }
        }
        Some(self.buffer.drain(..length).collect())
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A field as a literal that no table remembers (RFC 7541 §6.2.2).
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        integer(&mut out, text.len());
        out.extend(text.as_bytes());
    }
    out
}

/// The block of a request to the usual host, with more fields at its end.
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", HOST)];
    head.iter().chain(more).flat_map(|(name, value)| literal(name, value)).collect()
}

/// A whole `GET` on a stream.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path, &[]))
}

/// The start of a `POST` on a stream; its body follows.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path, &[]))
}

/// `RST_STREAM` with CANCEL.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// Client streams from the `from`-th (counted from 0) on.
pub fn streams(from: u32) -> impl Iterator<Item = u32> {
    (from..).map(|n| 2 * n + 1)
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn integer(out: &mut Vec<u8>, value: usize) {
    if value < 127 {
        out.push(value as u8);
        return;
    }
    out.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}
