//! The bytes of a journal file: a file header, then frames, then zeros.
//!
//! All numbers are little-endian. A file header is `magic 8 · crc32c u32 · len u32 · version u16 · 0 u16 · schema u32 ·
//! created i64 · instance u32 · number u32 · first seq u64 · node len u16 · node · keys len u32 · keys`; the key area
//! is for wrapped keys and still empty. A frame is `len u32 · crc32c u32 · flags u8 · sections u8 · 0 u16 · count u32 ·
//! first seq u64 · ts i64 · earliest i64`, then per class `class u8 · seal u8 · 0 u16 · len u32 · bytes`; a section is
//! one item per record: varint length and fields. Checksums cover everything but themselves and the magic.
//! Pure: never touches a file, never panics on any bytes. Bound: [`FRAME_BYTES`] per frame.

use std::ops::ControlFlow;

use crate::clock::Timestamp;
use crate::record::event::Encoded;
use crate::record::purpose::Opened;
use crate::record::row::{Row, Sections};
use crate::record::wire::{put_varint, take_varint};
use crate::record::{Class, SCHEMA_VERSION};

/// First bytes of every journal file.
pub const MAGIC: [u8; 8] = *b"KELISIM\x01";
/// Version of this layout.
pub const VERSION: u16 = 1;
/// Largest frame in bytes; a longer length is damage.
pub const FRAME_BYTES: usize = 32 << 20;
/// Bytes of a frame before its sections: also the size of a mark, which has none.
pub const FRAME_HEAD_BYTES: usize = 40;
/// Largest file header in bytes.
pub const FILE_HEAD_BYTES: usize = 64 << 10;

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

/// What stands at the head of a journal file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// When the file was begun.
    pub created: Timestamp,
    /// Number of the process that wrote it; never given twice in one data folder.
    pub instance: u32,
    /// Number of the file within its instance, from 0.
    pub number: u32,
    /// `seq` of its first record.
    pub first_seq: u64,
    /// Version of the column table.
    pub schema: u32,
    /// Name of the gateway.
    pub node: Vec<u8>,
    /// Wrapped keys; empty as long as nothing is sealed.
    pub keys: Vec<u8>,
}

impl FileHead {
    /// The head of a new file.
    #[must_use]
    pub fn new(created: Timestamp, (instance, number): (u32, u32), first_seq: u64, node: &str) -> Self {
        let node = node.as_bytes().iter().copied().take(NODE_BYTES).collect();
        Self { created, instance, number, first_seq, schema: SCHEMA_VERSION as u32, node, keys: Vec::new() }
    }

    /// Appends the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.schema.to_le_bytes());
        out.extend_from_slice(&self.created.as_micros().to_le_bytes());
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&(self.node.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.node);
        out.extend_from_slice(&(self.keys.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.keys);
        let len = (out.len() - start - 16) as u32;
        out[start + 12..start + 16].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c::crc32c(&out[start + 12..]);
        out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    /// The head at the beginning of these bytes, and its length; `None` when there is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut cut = Cut(bytes);
        if cut.take::<8>()? != MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(cut.take()?);
        let len = usize::try_from(u32::from_le_bytes(cut.take()?)).ok()?;
        let checked = bytes.get(12..len.checked_add(16).filter(|l| *l <= FILE_HEAD_BYTES)?)?;
        if crc32c::crc32c(checked) != crc {
            return None;
        }
        let mut cut = Cut(&checked[4..]);
        if u16::from_le_bytes(cut.take()?) != VERSION {
            return None;
        }
        cut.take::<2>()?;
        let schema = u32::from_le_bytes(cut.take()?);
        let created = Timestamp::from_micros(i64::from_le_bytes(cut.take()?));
        let instance = u32::from_le_bytes(cut.take()?);
        let number = u32::from_le_bytes(cut.take()?);
        let first_seq = u64::from_le_bytes(cut.take()?);
        let node_len = usize::from(u16::from_le_bytes(cut.take()?));
        let node = cut.bytes(node_len)?.to_vec();
        let keys_len = usize::try_from(u32::from_le_bytes(cut.take()?)).ok()?;
        let keys = cut.bytes(keys_len)?.to_vec();
        Some((Self { created, instance, number, first_seq, schema, node, keys }, len + 16))
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
    /// Appends a record. A class that it lacks becomes an empty item.
    pub fn push(&mut self, record: &Encoded<'_>) {
        for (section, fields) in self.sections.iter_mut().zip(record.sections) {
            if fields.is_empty() && section.is_empty() {
                continue;
            }
            if section.is_empty() {
                // The records before this one did not have the class.
                section.resize(self.count, 0);
            }
            put_varint(section, fields.len() as u64);
            section.extend_from_slice(fields);
        }
        self.count += 1;
        self.earliest = Some(self.earliest.map_or(record.start_ts, |e| e.min(record.start_ts)));
    }

    /// Records gathered so far.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Appends the frame and forgets the records. All of them get the time `ts`.
    pub fn finish(&mut self, first_seq: u64, ts: Timestamp, out: &mut Vec<u8>) {
        let present = self.sections.iter().filter(|s| !s.is_empty()).count();
        let earliest = self.earliest.unwrap_or(ts).min(ts);
        let start = head(out, (Mark::Records, present as u8), self.count as u32, first_seq, (ts, earliest));
        for (class, section) in self.sections.iter_mut().enumerate().filter(|(_, s)| !s.is_empty()) {
            out.extend_from_slice(&[class as u8, SEAL_NONE, 0, 0]);
            out.extend_from_slice(&(section.len() as u32).to_le_bytes());
            out.extend_from_slice(section);
            section.clear();
        }
        seal(out, start);
        self.clear();
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.sections.iter_mut().for_each(Vec::clear);
        self.count = 0;
        self.earliest = None;
    }
}

/// Appends a frame without records; `next_seq` is the one after the last record before it.
pub fn encode_mark(mark: Mark, next_seq: u64, ts: Timestamp, out: &mut Vec<u8>) {
    let start = head(out, (mark, 0), 0, next_seq, (ts, ts));
    seal(out, start);
}

fn head(
    out: &mut Vec<u8>,
    (mark, sections): (Mark, u8),
    count: u32,
    first_seq: u64,
    (ts, earliest): (Timestamp, Timestamp),
) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[mark as u8, sections, 0, 0]);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&first_seq.to_le_bytes());
    out.extend_from_slice(&ts.as_micros().to_le_bytes());
    out.extend_from_slice(&earliest.as_micros().to_le_bytes());
    start
}

/// Fills in the length and the checksum.
fn seal(out: &mut [u8], start: usize) {
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
    /// `seq` of the first; of a mark: the one after the last record before it.
    pub first_seq: u64,
    /// When all of them were recorded.
    pub ts: Timestamp,
    /// The earliest arrival among them.
    pub earliest: Timestamp,
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
            first_seq: u64::from_le_bytes(cut.take()?),
            ts: Timestamp::from_micros(i64::from_le_bytes(cut.take()?)),
            earliest: Timestamp::from_micros(i64::from_le_bytes(cut.take()?)),
            body: Body(cut.0),
        })
    }

    /// Calls `each` for every record, in order, with the opened classes only. Stops early when `each` breaks or a
    /// section is malformed (which its checksum makes a fault of the writer, not of the disk).
    pub fn rows<B>(
        &self,
        (node, schema): (&'a [u8], u64),
        opened: Opened,
        mut each: impl FnMut(Row<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut cursors = self.sections(opened);
        for i in 0..u64::from(self.count) {
            // Every record has clear fields, so a count that promises more than there are ends here.
            if cursors[Class::Clear as usize].is_empty() {
                return ControlFlow::Continue(());
            }
            let mut items: Sections<'a> = [&[]; Class::ALL.len()];
            for (item, cursor) in items.iter_mut().zip(&mut cursors) {
                if cursor.is_empty() {
                    continue;
                }
                let Some((fields, rest)) = take_item(cursor) else { return ControlFlow::Continue(()) };
                *item = fields;
                *cursor = rest;
            }
            let seq = self.first_seq.wrapping_add(i);
            each(Row::new((seq, self.ts), (node, schema), items, opened))?;
        }
        ControlFlow::Continue(())
    }

    /// The bytes of each opened section.
    fn sections(&self, opened: Opened) -> Sections<'a> {
        let mut found: Sections<'a> = [&[]; Class::ALL.len()];
        let mut cut = Cut(self.body.0);
        while let Some([class, seal, ..]) = cut.take::<4>() {
            let Some(len) = cut.take().map(|l| u32::from_le_bytes(l) as usize) else { break };
            let Some(section) = cut.bytes(len) else { break };
            // A sealed section needs a key; this version has none.
            if let Some(class) = Class::from_code(class).filter(|c| seal == SEAL_NONE && opened.allows(*c)) {
                found[class as usize] = section;
            }
        }
        found
    }
}

#[inline]
fn take_item(cursor: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = take_varint(cursor)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

/// Cuts fixed pieces off the front.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (piece, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*piece)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(piece)
    }
}

/// The section is not sealed. `1` is reserved for AES-256-GCM under a key of the file's key area.
const SEAL_NONE: u8 = 0;
/// Longest node name in bytes.
const NODE_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Column, Event, Purpose, Value};

    fn frame_of(events: &[Event<'_>]) -> Vec<u8> {
        let (mut builder, mut out, mut scratch) = (FrameBuilder::default(), Vec::new(), Vec::new());
        for event in events {
            scratch.clear();
            event.encode(&mut scratch);
            builder.push(&Encoded::take(&scratch).expect("whole").0);
        }
        builder.finish(10, Timestamp::from_secs(100), &mut out);
        out
    }

    fn paths(bytes: &[u8], purpose: Purpose, column: &str) -> Vec<Option<Vec<u8>>> {
        let Next::Frame(frame, len) = Frame::decode(bytes) else { panic!("no frame") };
        assert_eq!(len, bytes.len());
        let column = Column::by_name(column).expect("a column");
        let mut found = Vec::new();
        let _ = frame.rows((b"n", 1), purpose.opened(), |row| {
            found.push(match row.get(column) {
                Some(Value::Text(t)) => Some(t.to_vec()),
                _ => None,
            });
            ControlFlow::<()>::Continue(())
        });
        found
    }

    #[test]
    fn a_class_that_begins_late_stays_with_its_records() {
        let bytes = frame_of(&[
            Event { path: Some(b"/1"), ..Event::default() },
            Event { path: Some(b"/2"), user_agent: Some(b"agent"), ..Event::default() },
            Event { path: Some(b"/3"), ..Event::default() },
        ]);
        let some = |t: &[u8]| Some(t.to_vec());
        assert_eq!(paths(&bytes, Purpose::Support, "url.path"), [some(b"/1"), some(b"/2"), some(b"/3")]);
        assert_eq!(paths(&bytes, Purpose::Diagnostics, "user_agent.original"), [None, some(b"agent"), None]);
        assert_eq!(paths(&bytes, Purpose::Support, "user_agent.original"), [None, None, None]);
    }

    #[test]
    fn a_file_head_comes_back_and_keeps_room_for_keys() {
        let mut head = FileHead::new(Timestamp::from_secs(7), (3, 9), 77, "edge-1");
        head.keys = vec![1, 2, 3];
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        let len = bytes.len();
        bytes.extend_from_slice(&[0; 64]);
        assert_eq!(FileHead::decode(&bytes), Some((head, len)));
    }

    #[test]
    fn marks_have_the_size_of_a_head() {
        let mut bytes = Vec::new();
        encode_mark(Mark::Stop, 5, Timestamp::from_secs(1), &mut bytes);
        assert_eq!(bytes.len(), FRAME_HEAD_BYTES);
        assert!(matches!(
            Frame::decode(&bytes),
            Next::Frame(Frame { mark: Mark::Stop, first_seq: 5, .. }, _)
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
            let _ = FileHead::decode(&bytes);
            if let Next::Frame(frame, _) = Frame::decode(&bytes) {
                let _ = frame.rows((b"", 0), Purpose::Support.opened(), |_| ControlFlow::<()>::Continue(()));
            }
        }

        #[test]
        fn a_changed_byte_is_noticed(at: prop::sample::Index, change in 1u8..) {
            let mut bytes = frame_of(&[Event { path: Some(b"/1"), client_port: Some(1), ..Event::default() }]);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(!matches!(Frame::decode(&bytes), Next::Frame(..)));
        }

        #[test]
        fn a_valid_checksum_over_nonsense_does_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![0; 8];
            bytes.extend_from_slice(&[0, 5, 0, 0, 9, 0, 0, 0]);
            bytes.extend_from_slice(&[0; 24]);
            bytes.extend_from_slice(&body);
            seal(&mut bytes, 0);
            let Next::Frame(frame, _) = Frame::decode(&bytes) else { panic!("no frame") };
            let _ = frame.rows((b"", 0), Purpose::Security.opened(), |_| ControlFlow::<()>::Continue(()));
        }
    }
}
