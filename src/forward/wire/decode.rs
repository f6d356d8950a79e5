//! The body of an answer: from bytes to frames.
//!
//! Chunks are read strictly: CRLF only, no blank but behind the size, sizes of 16 digits at most. Hands data on without
//! copying it; never waits. Bounds: [`EXTENSION_BYTES`], [`TRAILER_BYTES`] and
//! [`TRAILER_FIELDS`] for a body.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::head::Follows;

/// Not a chunked body, or one beyond a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub(super) struct Malformed;

/// How far a body has been read.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks are to come.
    Chunked(Chunks),
    /// Everything that comes belongs to it.
    UntilClose,
}

/// How far a chunked body has been read.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    stage: Stage,
    /// Bytes left of the chunk.
    left: u64,
    /// Digits of its size so far.
    digits: u8,
    /// Bytes of extensions and blanks in this body.
    extension: usize,
    /// Bytes of the trailer section that were searched for its end.
    searched: usize,
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Size,
    /// Blanks behind the size.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
    Malformed,
}

impl Decoder {
    /// A body that was announced so.
    pub(super) fn new(follows: Follows) -> Self {
        match follows {
            Follows::Length(length) => Self::Length(length),
            Follows::Chunked => Self::Chunked(Chunks::default()),
            Follows::UntilClose => Self::UntilClose,
        }
    }

    /// The next frame, if it is there.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        match self {
            Self::Length(left) => Ok(take(input, left).map(Frame::data)),
            Self::Chunked(chunks) => chunks.decode(input),
            Self::UntilClose if input.is_empty() => Ok(None),
            Self::UntilClose => Ok(Some(Frame::data(input.split().freeze()))),
        }
    }

    /// Whether all of it was read.
    pub(super) const fn ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => matches!(chunks.stage, Stage::Done) && chunks.trailers.is_none(),
            Self::UntilClose => false,
        }
    }

    /// The input has ended. True if that is the end of the body, too.
    pub(super) fn end_of_input(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Length(0);
        }
        self.ended()
    }

    /// Bytes that are certainly to come.
    pub(super) const fn needs(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(chunks) => chunks.left,
            Self::UntilClose => 0,
        }
    }

    /// What is known of the length of the rest.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            _ if self.ended() => SizeHint::with_exact(0),
            _ => SizeHint::new(),
        }
    }
}

/// At most `left` bytes from the input.
fn take(input: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= n as u64;
    (n > 0).then(|| input.split_to(n).freeze())
}

impl Chunks {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        if self.stage == Stage::Malformed {
            return Err(Malformed);
        }
        self.skip_framing(input)?;
        if self.stage == Stage::Data
            && let Some(data) = take(input, &mut self.left)
        {
            if self.left == 0 {
                self.stage = Stage::DataCr;
                // If the end has come with the last data, whoever writes the answer need not ask again.
                if self.skip_framing(input).is_err() {
                    self.stage = Stage::Malformed;
                }
            }
            return Ok(Some(Frame::data(data)));
        }
        Ok(self.trailers.take().map(Frame::trailers))
    }

    /// Reads what is between the data of two chunks, as far as it has come.
    fn skip_framing(&mut self, input: &mut BytesMut) -> Result<(), Malformed> {
        let mut read = 0;
        while !matches!(self.stage, Stage::Data | Stage::Trailers | Stage::Done) {
            let Some(byte) = input.get(read) else { break };
            self.stage = self.next(*byte)?;
            read += 1;
        }
        input.advance(read);
        if self.stage == Stage::Trailers { self.read_trailers(input) } else { Ok(()) }
    }

    fn next(&mut self, byte: u8) -> Result<Stage, Malformed> {
        match (self.stage, byte) {
            (Stage::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (Stage::Size, _) if self.digits == 0 => Err(Malformed),
            (Stage::Size | Stage::Blank, b' ' | b'\t') => self.extend(Stage::Blank),
            (Stage::Size | Stage::Blank, b';') => self.extend(Stage::Extension),
            (Stage::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extend(Stage::Extension),
            (Stage::Size | Stage::Blank | Stage::Extension, b'\r') => Ok(Stage::SizeLf),
            (Stage::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(if self.left == 0 { Stage::Trailers } else { Stage::Data })
            }
            (Stage::DataCr, b'\r') => Ok(Stage::DataLf),
            (Stage::DataLf, b'\n') => Ok(Stage::Size),
            _ => Err(Malformed),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<Stage, Malformed> {
        let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
        self.digits += 1;
        if self.digits > SIZE_DIGITS {
            return Err(Malformed);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(Stage::Size)
    }

    fn extend(&mut self, stage: Stage) -> Result<Stage, Malformed> {
        self.extension += 1;
        if self.extension > EXTENSION_BYTES { Err(Malformed) } else { Ok(stage) }
    }

    fn read_trailers(&mut self, input: &mut BytesMut) -> Result<(), Malformed> {
        let length = if input.starts_with(b"\r\n") {
            2
        } else {
            let from = self.searched.saturating_sub(3);
            match memchr::memmem::find(&input[from..], b"\r\n\r\n") {
                Some(at) if from + at + 4 <= TRAILER_BYTES => from + at + 4,
                None if input.len() < TRAILER_BYTES => {
                    self.searched = input.len();
                    return Ok(());
                }
                _ => return Err(Malformed),
            }
        };
        let section = input.split_to(length);
        self.trailers = trailers(&section)?;
        self.stage = Stage::Done;
        Ok(())
    }
}

/// The fields of a whole trailer section; `None` if there are none.
fn trailers(section: &[u8]) -> Result<Option<HeaderMap>, Malformed> {
    let bare = memchr::memchr_iter(b'\n', section).any(|at| at == 0 || section[at - 1] != b'\r');
    let mut room = [httparse::EMPTY_HEADER; TRAILER_FIELDS];
    let fields = match httparse::parse_headers(section, &mut room) {
        Ok(httparse::Status::Complete((length, fields))) if length == section.len() && !bare => fields,
        _ => return Err(Malformed),
    };
    if fields.is_empty() {
        return Ok(None);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Malformed)?;
        trailers.append(name, value);
    }
    Ok(Some(trailers))
}

/// Digits of the size of a chunk: 64 bits.
const SIZE_DIGITS: u8 = 16;
/// Bytes of chunk extensions in one body; they are read and forgotten.
pub(super) const EXTENSION_BYTES: usize = 16 * 1024;
/// Bytes of the trailer section.
pub(super) const TRAILER_BYTES: usize = 16 * 1024;
/// Fields of the trailer section of a body.
pub(super) const TRAILER_FIELDS: usize = 100;

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
