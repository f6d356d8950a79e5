//! The framing of a chunked body, byte by byte (RFC 9112 §7.1).
//!
//! Stricter than hyper: no blank after a size, no size of more than 16 digits, extensions of text and not empty, and trailers
//! with the syntax of fields. Never keeps a byte. Bound: [`EXTENSIONS`], [`TRAILERS`], `limits.head_fields`.

use super::Rules;
use super::line::is_token;

/// Bytes of chunk extensions in one body. hyper gives up at the next.
const EXTENSIONS: u32 = 16_383;
/// Bytes of trailers in one body. hyper gives up at the next.
const TRAILERS: u32 = 16_383;
/// Digits of a chunk size.
const DIGITS: u8 = 16;

/// Where a chunked body is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    extensions: u32,
    trailers: u32,
    fields: usize,
}

/// What the next bytes are.
pub(super) enum Part {
    /// So many bytes of the body.
    Data(usize),
    /// So many bytes around it.
    Framing(usize),
    /// So many bytes up to the end of the body.
    End(usize),
    /// Not a chunked body.
    Broken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    ExtensionStart,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    /// Reads from `bytes`, which are not empty.
    pub(super) fn read(&mut self, bytes: &[u8], rules: &Rules) -> Part {
        if self.at == At::Data {
            let n = usize::try_from(self.size).map_or(bytes.len(), |size| size.min(bytes.len()));
            self.size -= n as u64;
            if self.size == 0 {
                self.at = At::DataCr;
            }
            return Part::Data(n);
        }
        for (n, &byte) in bytes.iter().enumerate() {
            match self.next(byte, rules) {
                Some(At::Data) => {
                    self.at = At::Data;
                    return Part::Framing(n + 1);
                }
                Some(At::End) => return Part::End(n + 1),
                Some(next) => self.at = next,
                // What came before passes: hyper has to see where the body broke.
                None if n > 0 => return Part::Framing(n),
                None => return Part::Broken,
            }
        }
        Part::Framing(bytes.len())
    }

    fn next(&mut self, byte: u8, rules: &Rules) -> Option<At> {
        match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                self.size = self.size << 4 | u64::from(digit);
                self.digits += 1;
                Some(At::Size)
            }
            (At::Size, b';') if self.digits > 0 => Some(At::ExtensionStart),
            (At::Size, b'\r') if self.digits > 0 => Some(At::SizeLf),
            (At::Extension, b'\r') => Some(At::SizeLf),
            // An extension has a name, so there is at least one byte of it.
            (At::ExtensionStart | At::Extension, _) if is_text(byte) && self.extensions < EXTENSIONS => {
                self.extensions += 1;
                Some(At::Extension)
            }
            (At::SizeLf, b'\n') if self.size == 0 => Some(At::TrailerStart),
            (At::SizeLf, b'\n') => Some(At::Data),
            (At::DataCr, b'\r') => Some(At::DataLf),
            (At::DataLf, b'\n') => {
                self.digits = 0;
                Some(At::Size)
            }
            (At::EndLf, b'\n') => Some(At::End),
            _ => self.trailer(byte, rules),
        }
    }

    fn trailer(&mut self, byte: u8, rules: &Rules) -> Option<At> {
        // The two bytes of the last line count as well.
        self.trailers += 1;
        if self.trailers > TRAILERS - 2 {
            return None;
        }
        match (self.at, byte) {
            (At::TrailerStart, b'\r') => Some(At::EndLf),
            (At::TrailerStart, _) if is_token(byte) && self.fields < rules.head_fields => {
                self.fields += 1;
                Some(At::TrailerName)
            }
            (At::TrailerName, b':') => Some(At::TrailerValue),
            (At::TrailerName, _) if is_token(byte) => Some(At::TrailerName),
            (At::TrailerValue, b'\r') => Some(At::TrailerLf),
            (At::TrailerValue, _) if is_text(byte) => Some(At::TrailerValue),
            (At::TrailerLf, b'\n') => Some(At::TrailerStart),
            _ => None,
        }
    }
}

/// A byte of a value: no control byte but HTAB.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
