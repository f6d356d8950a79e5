//! The way of a record from one worker to the journal writer: a bounded ring of bytes.
//!
//! One producer, one consumer, no lock. A record goes in whole or not at all, and comes out whole. Never waits.
//! Bound: the ring's bytes.

use rtrb::{Consumer, Producer, RingBuffer};

/// The worker's end.
pub(super) struct RingWriter(Producer<u8>);

/// The journal writer's end.
pub(super) struct RingReader(Consumer<u8>);

/// A ring of so many bytes.
pub(super) fn ring(bytes: usize) -> (RingWriter, RingReader) {
    let (producer, consumer) = RingBuffer::new(bytes);
    (RingWriter(producer), RingReader(consumer))
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
        self.0.slots()
    }

    /// Moves whole records of together at most `limit` bytes behind `out`, at least one if there is one; how many.
    pub(super) fn drain(&mut self, limit: usize, out: &mut Vec<u8>) -> u64 {
        let Ok(chunk) = self.0.read_chunk(self.0.slots()) else { return 0 };
        let (first, second) = chunk.as_slices();
        let byte = |at: usize| first.get(at).or_else(|| second.get(at - first.len())).copied().unwrap_or(0);
        let (mut end, mut records) = (0, 0);
        while end < first.len() + second.len() {
            let len = u32::from_le_bytes([byte(end), byte(end + 1), byte(end + 2), byte(end + 3)]);
            let next = end + 4 + len as usize;
            if next > limit && end > 0 {
                break;
            }
            end = next;
            records += 1;
        }
        let end = end.min(first.len() + second.len());
        let cut = end.min(first.len());
        out.extend_from_slice(&first[..cut]);
        out.extend_from_slice(&second[..end - cut]);
        chunk.commit(end);
        records
    }
}

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
        assert_eq!(reader.drain(1000, &mut out), 2);
        assert_eq!(out, [record(10), record(2)].concat());
    }

    proptest! {
        #[test]
        fn records_come_out_whole_and_in_order(lens: Vec<u8>, limit in 1usize..600) {
            let (mut writer, mut reader) = ring(300);
            let (mut out, mut sent) = (Vec::new(), Vec::new());
            let (records, mut taken) = (lens.len() as u64, 0);
            for len in lens {
                while !writer.push(&record(len)) {
                    let before = out.len();
                    taken += reader.drain(limit, &mut out);
                    prop_assert!(out.len() > before);
                }
                sent.extend(record(len));
            }
            while reader.fill() > 0 {
                taken += reader.drain(limit, &mut out);
            }
            prop_assert_eq!((out, taken), (sent, records));
        }
    }
}
