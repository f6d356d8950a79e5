//! The frames of a journal file, which follow its [head](super::head) and are followed by zeros.
//!
//! All numbers are little-endian. A frame is `len u32 · crc32c u32 · mark u8 · sections u8 · 0 u16 · count u32 · index
//! u32 · first seq u64 · ts i64 · earliest i64`, then per class `class u8 · seal u8 · 0 u16 · len u32 · bytes`; the bytes
//! are sealed ([`super::sealed`]), so a checksum can be verified without a key. What is sealed is one item per record:
//! varint length and fields. Checksums cover everything but themselves; frames are numbered by `index` from 0.
//! Pure: never touches a file, never panics on any bytes. Bound: [`FRAME_BYTES`] per frame.

use super::sealed::Sealer;
use crate::clock::Timestamp;
use crate::record::Class;
use crate::record::event::Encoded;
use crate::record::wire::put_varint;
use crate::seal::{KeyError, TAG_BYTES};

/// Largest frame in bytes; a longer length is damage.
pub const FRAME_BYTES: usize = 32 << 20;
/// Bytes of a frame before its sections: also the size of a mark, which has none.
pub const FRAME_HEAD_BYTES: usize = 44;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// It holds records.
    Records = 0,
    /// The file ends here; the instance went on with another.
    End = 1,
    /// The instance stopped cleanly.
    Stop = 2,
    /// Recovery found the end here after an unclean stop.
    Recovered = 3,
}

impl Mark {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Records),
            1 => Some(Self::End),
            2 => Some(Self::Stop),
            3 => Some(Self::Recovered),
            _ => None,
        }
    }
}

/// What the journal's writer adds to the own fields of a record, encoded.
#[derive(Default)]
pub struct Added {
    /// For the class `clear`, before its fields.
    pub(super) marks: Vec<u8>,
    /// For the class `clear`, behind its fields.
    pub(super) clear: Vec<u8>,
    /// For the class `sec`, behind its fields.
    pub(super) sec: Vec<u8>,
}

impl Added {
    /// Nothing, and keeps the memory.
    pub(super) fn clear(&mut self) {
        [&mut self.marks, &mut self.clear, &mut self.sec].into_iter().for_each(Vec::clear);
    }
}

/// Gathers the records of one batch; reused for the next.
#[derive(Default)]
pub struct FrameBuilder {
    sections: [Vec<u8>; Class::ALL.len()],
    count: usize,
    earliest: Option<Timestamp>,
}

impl FrameBuilder {
    /// Appends a record with what is added to it.
    pub(super) fn push(&mut self, record: &Encoded<'_>, added: &Added) {
        for (class, fields) in Class::ALL.into_iter().zip(record.sections) {
            match class {
                Class::Clear => {
                    let (kind, fields) = fields.split_at(fields.len().min(1));
                    self.item(class, [kind, &added.marks, fields, &added.clear]);
                }
                Class::Sec => self.item(class, [fields, &added.sec]),
                Class::Fraud | Class::Diag | Class::Ads => self.item(class, [fields]),
            }
        }
        self.count += 1;
        self.earliest = Some(self.earliest.map_or(record.start_ts, |e| e.min(record.start_ts)));
    }

    /// Appends the fields of one class. A class that a record lacks becomes an empty item.
    #[inline]
    fn item<const N: usize>(&mut self, class: Class, parts: [&[u8]; N]) {
        let section = &mut self.sections[class as usize];
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if section.is_empty() {
            if bytes == 0 {
                return;
            }
            // The records before this one did not have the class.
            section.resize(self.count, 0);
        }
        put_varint(section, bytes as u64);
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            section.extend_from_slice(part);
        }
    }

    /// A frame of so many records whose sections have these bytes, whatever they are.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn of_bytes(sections: [Vec<u8>; Class::ALL.len()], count: usize) -> Self {
        Self { sections, count, earliest: None }
    }

    /// Records gathered so far.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the frame will have.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        let present = self.sections.iter().filter(|s| !s.is_empty());
        FRAME_HEAD_BYTES + present.map(|s| SECTION_HEAD_BYTES + s.len() + TAG_BYTES).sum::<usize>()
    }

    /// Appends the frame, sealed. All records get the time `ts`. The records stay: a frame that could not be written is
    /// sealed again, for another file.
    ///
    /// # Errors
    /// When it cannot be sealed; nothing has been appended then.
    pub fn finish(
        &self,
        sealer: &mut Sealer,
        (first_seq, ts): (u64, Timestamp),
        out: &mut Vec<u8>,
    ) -> Result<(), KeyError> {
        let present = self.sections.iter().filter(|s| !s.is_empty()).count();
        let earliest = self.earliest.unwrap_or(ts).min(ts);
        let index = sealer.take_index()?;
        let start =
            head(out, (Mark::Records, present as u8), (self.count as u32, index), first_seq, (ts, earliest));
        for (class, section) in Class::ALL.into_iter().zip(&self.sections).filter(|(_, s)| !s.is_empty()) {
            out.extend_from_slice(&[class as u8, SEALED, 0, 0]);
            out.extend_from_slice(&((section.len() + TAG_BYTES) as u32).to_le_bytes());
            let from = out.len();
            out.extend_from_slice(section);
            if let Err(error) = sealer.seal(class, index, (out, start), from) {
                // No plain byte may stay where bytes are written from.
                out.truncate(start);
                return Err(error);
            }
        }
        check(out, start);
        Ok(())
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.sections.iter_mut().for_each(Vec::clear);
        self.count = 0;
        self.earliest = None;
    }
}

/// Appends a frame without records, number `index` of its file; `next_seq` is the one after the last record before it.
pub fn encode_mark(mark: Mark, index: u32, next_seq: u64, ts: Timestamp, out: &mut Vec<u8>) {
    let start = head(out, (mark, 0), (0, index), next_seq, (ts, ts));
    check(out, start);
}

fn head(
    out: &mut Vec<u8>,
    (mark, sections): (Mark, u8),
    (count, index): (u32, u32),
    first_seq: u64,
    (ts, earliest): (Timestamp, Timestamp),
) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[mark as u8, sections, 0, 0]);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&first_seq.to_le_bytes());
    out.extend_from_slice(&ts.as_micros().to_le_bytes());
    out.extend_from_slice(&earliest.as_micros().to_le_bytes());
    start
}

/// Fills in the length and the checksum.
fn check(out: &mut [u8], start: usize) {
    let len = ((out.len() - start - 8) as u32).to_le_bytes();
    out[start..start + 4].copy_from_slice(&len);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len), &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// What stands at some place of a file.
#[derive(Debug)]
pub enum Next<'a> {
    /// A whole frame; the second is its length in bytes.
    Frame(Frame<'a>, usize),
    /// The place was never written: length zero, or nothing at all.
    Zeros,
    /// The bytes end before the frame does; so many would be needed.
    Short(usize),
    /// No frame: the length or the checksum is wrong.
    Bad,
}

/// One batch of records, borrowed from the reader's buffer; its checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Records, or the end of the file.
    pub mark: Mark,
    /// Number of records.
    pub count: u32,
    /// Number of the frame in its file, from 0.
    pub index: u32,
    /// `seq` of the first; of a mark: the one after the last record before it.
    pub first_seq: u64,
    /// When all of them were recorded.
    pub ts: Timestamp,
    /// The earliest arrival among them.
    pub earliest: Timestamp,
    head: &'a [u8],
    body: Body<'a>,
}

/// The sections; `Debug` tells their size only.
#[derive(Clone, Copy)]
struct Body<'a>(&'a [u8]);

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<'a> Frame<'a> {
    /// What stands at the beginning of these bytes.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Next<'a> {
        let Some(len) = bytes.first_chunk::<4>() else {
            return if bytes.iter().all(|b| *b == 0) { Next::Zeros } else { Next::Short(FRAME_HEAD_BYTES) };
        };
        let whole = u32::from_le_bytes(*len) as usize + 8;
        if whole == 8 {
            // A header that is zero only at its length is damage.
            let head = &bytes[..bytes.len().min(FRAME_HEAD_BYTES)];
            return if head.iter().all(|b| *b == 0) { Next::Zeros } else { Next::Bad };
        }
        if !(FRAME_HEAD_BYTES..=FRAME_BYTES).contains(&whole) {
            return Next::Bad;
        }
        let Some(frame) = bytes.get(..whole) else { return Next::Short(whole) };
        let crc = crc32c::crc32c_append(crc32c::crc32c(len), &frame[8..]);
        if crc.to_le_bytes() != frame[4..8] {
            return Next::Bad;
        }
        Self::parse(&frame[8..]).map_or(Next::Bad, |f| Next::Frame(f, whole))
    }

    /// A whole frame whose checksum has just been verified.
    pub(super) fn verified(bytes: &'a [u8]) -> Option<Self> {
        Self::parse(bytes.get(8..)?)
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cut = Cut(bytes);
        let [mark, _sections, ..] = cut.take::<4>()?;
        Some(Self {
            mark: Mark::from_code(mark)?,
            count: u32::from_le_bytes(cut.take()?),
            index: u32::from_le_bytes(cut.take()?),
            first_seq: u64::from_le_bytes(cut.take()?),
            ts: Timestamp::from_micros(i64::from_le_bytes(cut.take()?)),
            earliest: Timestamp::from_micros(i64::from_le_bytes(cut.take()?)),
            head: bytes.get(..FRAME_HEAD_BYTES - CHECKED)?,
            body: Body(cut.0),
        })
    }

    /// The part of its head that every sealed section is bound to.
    pub(super) const fn bound(&self) -> &'a [u8] {
        self.head
    }

    /// The sealed sections, as they lie. Ends early at one that is cut short.
    pub(super) fn sections(&self) -> impl Iterator<Item = (Class, &'a [u8])> + use<'a> {
        let mut cut = Cut(self.body.0);
        std::iter::from_fn(move || {
            let [class, seal, ..] = cut.take::<4>()?;
            let len = cut.take().map(|l| u32::from_le_bytes(l) as usize)?;
            let section = cut.bytes(len)?;
            Some((Class::from_code(class).filter(|_| seal == SEALED), section))
        })
        // Classes and ways of sealing of a newer version are passed over.
        .filter_map(|(class, section)| Some((class?, section)))
    }
}

/// The part of a frame's head that its sections are bound to, given the whole frame or its beginning.
pub(super) fn bound(frame: &[u8]) -> &[u8] {
    frame.get(CHECKED..FRAME_HEAD_BYTES).unwrap_or_default()
}

/// Cuts fixed pieces off the front.
pub(super) struct Cut<'a>(pub(super) &'a [u8]);

impl<'a> Cut<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (piece, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*piece)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(piece)
    }
}

/// How a section is sealed: AES-256-GCM under the file's key of its class. `0` was not sealed.
const SEALED: u8 = 1;
/// Bytes before a section's own.
const SECTION_HEAD_BYTES: usize = 8;
/// Bytes of a frame before those that its checksum covers.
const CHECKED: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_have_the_size_of_a_head() {
        let mut bytes = Vec::new();
        encode_mark(Mark::Stop, 3, 5, Timestamp::from_secs(1), &mut bytes);
        assert_eq!(bytes.len(), FRAME_HEAD_BYTES);
        assert!(matches!(
            Frame::decode(&bytes),
            Next::Frame(Frame { mark: Mark::Stop, index: 3, first_seq: 5, .. }, _)
        ));
    }

    #[test]
    fn nothing_and_zeros_are_the_end() {
        assert!(matches!(Frame::decode(&[]), Next::Zeros));
        assert!(matches!(Frame::decode(&[0; 100]), Next::Zeros));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
            if let Next::Frame(frame, _) = Frame::decode(&bytes) {
                frame.sections().count();
            }
        }

        #[test]
        fn a_valid_checksum_over_nonsense_does_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![0; 8];
            bytes.extend_from_slice(&[0, 5, 0, 0, 9, 0, 0, 0]);
            bytes.extend_from_slice(&[0; FRAME_HEAD_BYTES - 16]);
            bytes.extend_from_slice(&body);
            check(&mut bytes, 0);
            let Next::Frame(frame, _) = Frame::decode(&bytes) else { panic!("no frame") };
            prop_assert!(frame.sections().map(|(_, s)| s.len()).sum::<usize>() <= body.len());
        }
    }
}
