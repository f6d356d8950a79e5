//! The bytes of a field: a one-byte id, then a number or a length and bytes.
//!
//! Ids below [`BYTES`] carry a varint (little-endian base 128), the others a varint length and that many bytes: so a
//! reader can skip a column it does not know. Never panics on any bytes. Bound: [`TEXT_BYTES`] per field.

use std::net::{IpAddr, Ipv6Addr};

use super::list::List;
use crate::clock::Timestamp;

/// The first id whose value is bytes.
pub const BYTES: u8 = 128;
/// Longest text or list in bytes; the rest is cut off and `record.truncated` is set.
pub const TEXT_BYTES: usize = 2048;

/// Appends fields to a section.
pub(super) struct Writer<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) truncated: bool,
}

impl Writer<'_> {
    fn number(&mut self, id: u8, value: u64) {
        self.out.push(id);
        put_varint(self.out, value);
    }

    fn bytes(&mut self, id: u8, value: &[u8]) {
        // Nearly every text is this short: its head is written at once.
        if value.len() < 0x80 {
            self.out.extend_from_slice(&[id, value.len() as u8]);
        } else {
            self.long_head(id, value.len());
        }
        self.out.extend_from_slice(value);
    }

    #[inline(never)]
    fn text(&mut self, id: u8, value: &[u8]) {
        let kept = &value[..value.len().min(TEXT_BYTES)];
        self.truncated |= kept.len() < value.len();
        self.bytes(id, kept);
    }

    #[cold]
    fn long_head(&mut self, id: u8, length: usize) {
        self.out.push(id);
        put_varint(self.out, length as u64);
    }
}

/// A value that can be put into a section; absent values leave no byte.
pub(super) trait Field {
    /// Appends the field.
    fn put(&self, id: u8, writer: &mut Writer<'_>);
}

impl Field for Option<u64> {
    fn put(&self, id: u8, writer: &mut Writer<'_>) {
        if let Some(value) = *self {
            writer.number(id, value);
        }
    }
}

impl Field for Option<bool> {
    fn put(&self, id: u8, writer: &mut Writer<'_>) {
        if let Some(value) = *self {
            writer.number(id, u64::from(value));
        }
    }
}

/// Times before 1970 do not occur; they are kept as their two's complement.
impl Field for Option<Timestamp> {
    fn put(&self, id: u8, writer: &mut Writer<'_>) {
        if let Some(value) = *self {
            writer.number(id, value.as_micros().cast_unsigned());
        }
    }
}

impl Field for Option<&[u8]> {
    // Inline always: half of the texts are absent, and then nothing is called.
    #[inline(always)]
    fn put(&self, id: u8, writer: &mut Writer<'_>) {
        if let Some(value) = *self {
            writer.text(id, value);
        }
    }
}

/// 16 bytes, IPv4 as mapped.
impl Field for Option<IpAddr> {
    fn put(&self, id: u8, writer: &mut Writer<'_>) {
        if let Some(value) = *self {
            writer.bytes(id, &octets(value));
        }
    }
}

/// An empty list is absent; `ListBuf` keeps the bound.
impl Field for List<'_> {
    fn put(&self, id: u8, writer: &mut Writer<'_>) {
        writer.truncated |= self.cut();
        if !self.is_empty() {
            writer.bytes(id, self.as_bytes());
        }
    }
}

/// A field's value before its type is known.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// Of an id below [`BYTES`].
    Number(u64),
    /// Of the others.
    Bytes(&'a [u8]),
}

/// The next field of a section, and the section behind it; `None` at its end or where it is malformed.
#[inline]
pub(super) fn next_field(section: &[u8]) -> Option<(u8, Raw<'_>, &[u8])> {
    let (&id, rest) = section.split_first()?;
    let (number, rest) = take_varint(rest)?;
    if id < BYTES {
        return Some((id, Raw::Number(number), rest));
    }
    let (bytes, rest) = rest.split_at_checked(usize::try_from(number).ok()?)?;
    Some((id, Raw::Bytes(bytes), rest))
}

/// The 16 bytes of an address, IPv4 as mapped.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    }
}

/// The bytes of one field of a section; `None` when it is not there or is a number.
#[must_use]
pub fn field_of(section: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut left = section;
    while let Some((id, raw, rest)) = next_field(left) {
        if id == wanted {
            return if let Raw::Bytes(bytes) = raw { Some(bytes) } else { None };
        }
        left = rest;
    }
    None
}

/// The address of a 16-byte field.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.try_into().ok()?;
    Some(Ipv6Addr::from(octets).to_canonical())
}

/// Appends a number: seven bits per byte, lowest first.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// A number and what follows it; `None` when it does not end or is longer than 64 bits.
#[inline]
pub(crate) fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((u64::from(first), rest));
    }
    let mut value = u64::from(first & 0x7f);
    for (i, &byte) in rest.iter().take(9).enumerate() {
        let shift = 7 * (i + 1);
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value, &rest[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(value: u64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            out.extend_from_slice(&tail);
            prop_assert_eq!(take_varint(&out), Some((value, &tail[..])));
        }

        #[test]
        fn any_bytes_end_without_panic(mut bytes: Vec<u8>) {
            let mut left = &bytes[..];
            let mut steps = 0;
            while let Some((_, _, rest)) = next_field(left) {
                prop_assert!(rest.len() < left.len());
                left = rest;
                steps += 1;
            }
            prop_assert!(steps <= bytes.len());
            bytes.clear();
        }
    }

    #[test]
    fn an_endless_varint_is_refused() {
        assert_eq!(take_varint(&[0xff; 11]), None);
        assert_eq!(take_varint(&[0x80]), None);
    }
}
