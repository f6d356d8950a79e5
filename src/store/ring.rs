//! The way of a record from one worker to the journal writer: a bounded ring of bytes.
//!
//! One producer, one consumer, no lock. A record goes in whole or not at all, and comes out whole. Never waits.
//! Bound: the ring's bytes.

use rtrb::{Consumer, Producer, RingBuffer};

/// The worker's end.
pub(super) struct RingWriter(Producer<u8>);

/// The journal writer's end.
pub(super) struct RingReader {
    ring: Consumer<u8>,
    whole: Vec<u8>,
}

/// A ring of so many bytes.
pub(super) fn ring(bytes: usize) -> (RingWriter, RingReader) {
    let (producer, consumer) = RingBuffer::new(bytes);
    (RingWriter(producer), RingReader { ring: consumer, whole: Vec::new() })
}

impl RingWriter {
    /// Puts a record in, whole; `false` when there is no room.
    pub(super) fn push(&mut self, record: &[u8]) -> bool {
        self.0.push_entire_slice(record).is_ok()
    }
}

impl RingReader {
    /// Bytes that wait.
    pub(super) fn fill(&self) -> usize {
        self.ring.slots()
    }

    /// Whether most of the ring is free.
    pub(super) fn has_room(&self) -> bool {
        self.ring.slots() <= self.ring.buffer().capacity() / 4
    }

    /// Takes whole records out, together at most `limit` bytes but at least one if there is one, and shows each of them.
    pub(super) fn drain(&mut self, limit: usize, mut each: impl FnMut(&[u8])) {
        let Ok(chunk) = self.ring.read_chunk(self.ring.slots()) else { return };
        let (first, second) = chunk.as_slices();
        let mut end = 0;
        while end < first.len() + second.len() {
            let record = record_at(first, second, end, &mut self.whole);
            if end + record.len() > limit && end > 0 {
                break;
            }
            each(record);
            end += record.len();
        }
        chunk.commit(end);
    }
}

/// The record that begins at `from`. One that lies in both pieces is put together in `whole`.
fn record_at<'r>(first: &'r [u8], second: &'r [u8], from: usize, whole: &'r mut Vec<u8>) -> &'r [u8] {
    let (head, tail) = match first.get(from..) {
        Some(head) if !head.is_empty() => (head, second),
        _ => (&second[from - first.len()..], &[][..]),
    };
    if let Some(record) = bytes_of(head).and_then(|bytes| head.get(..bytes)) {
        return record;
    }
    let both = || head.iter().chain(tail);
    whole.clear();
    whole.extend(both().take(LEN_BYTES));
    let bytes = bytes_of(whole).unwrap_or(LEN_BYTES);
    whole.extend(both().take(bytes).skip(LEN_BYTES));
    whole
}

/// How many bytes the record has that begins here.
fn bytes_of(record: &[u8]) -> Option<usize> {
    record.first_chunk().map(|len| LEN_BYTES + u32::from_le_bytes(*len) as usize)
}

/// Bytes of the length before a record.
const LEN_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(len: u8) -> Vec<u8> {
        let mut bytes = u32::from(len).to_le_bytes().to_vec();
        bytes.extend(std::iter::repeat_n(len, usize::from(len)));
        bytes
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_no_byte() {
        let (mut writer, mut reader) = ring(20);
        assert!(writer.push(&record(10)));
        assert!(!writer.push(&record(10)));
        assert!(writer.push(&record(2)));
        assert_eq!(reader.fill(), 20);
        let mut out = Vec::new();
        reader.drain(1000, |bytes| out.push(bytes.to_vec()));
        assert_eq!(out, [record(10), record(2)]);
    }

    proptest! {
        #[test]
        fn records_come_out_whole_and_in_order(lens: Vec<u8>, limit in 1usize..600) {
            let (mut writer, mut reader) = ring(300);
            let (mut out, mut sent) = (Vec::new(), Vec::new());
            for len in lens {
                while !writer.push(&record(len)) {
                    let before = out.len();
                    reader.drain(limit, |bytes| out.push(bytes.to_vec()));
                    prop_assert!(out.len() > before);
                }
                sent.push(record(len));
            }
            while reader.fill() > 0 {
                reader.drain(limit, |bytes| out.push(bytes.to_vec()));
            }
            prop_assert_eq!(out, sent);
        }
    }
}
