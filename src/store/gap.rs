//! Gap records: how they are written, what those of a removed file said, and what a stop leaves for the next start.
//!
//! A gap record tells for good: when the file that holds it goes before its time, what it said is told again in a new
//! one ([`Held`]); when the disk takes none at a stop, it waits in the mark of the run ([`encode`]). Never counts
//! anything itself. Bound: one note for each reason, kind, and whether the number is known.

use super::frame::{Added, FrameBuilder};
use super::stats::{Gap, KindCounts, LossReason};
use crate::clock::Timestamp;
use crate::record::event::Encoded;
use crate::record::{Column, Event, Kind, Row, Value};

/// What a gap record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) reason: LossReason,
    /// Of the missing records; `None` when not known.
    pub(super) kind: Option<Kind>,
    /// How many are missing; `None` when not known.
    pub(super) count: Option<u64>,
    /// Bytes that could not be read as records.
    pub(super) bytes: u64,
    /// Time of the first missing record; `None` when not known.
    pub(super) first: Option<Timestamp>,
    pub(super) last: Timestamp,
}

impl Note {
    /// What recovery found: no exact count.
    pub(super) const fn uncounted(reason: LossReason, bytes: u64, at: Timestamp) -> Self {
        Self { reason, kind: None, count: None, bytes, first: None, last: at }
    }

    /// What a gap record says; `None` for one of a newer version.
    fn of(row: &Row<'_>) -> Option<Self> {
        let value = |name: &str| row.get(Column::by_name(name)?);
        let text = |name: &str| match value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        };
        let number = |name: &str| match value(name)? {
            Value::U64(number) => Some(number),
            _ => None,
        };
        let time = |name: &str| match value(name)? {
            Value::Time(time) => Some(time),
            _ => None,
        };
        Some(Self {
            reason: LossReason::from_label(text("gap.reason")?)?,
            kind: text("gap.kind").map(Kind::from_label),
            count: number("gap.count"),
            bytes: number("gap.bytes").unwrap_or_default(),
            first: time("gap.first_ts"),
            last: time("gap.last_ts").unwrap_or(row.ts),
        })
    }

    /// The line in the mark of a run that has stopped.
    fn line(&self) -> String {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let first = self.first.map_or_else(|| "-".to_owned(), |first| first.as_micros().to_string());
        let (reason, kind) = (self.reason.label(), self.kind.map_or("-", Kind::label));
        let (count, bytes, last) = (number(self.count), self.bytes, self.last.as_micros());
        format!("{reason} {kind} {count} {bytes} {first} {last}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next();
        let reason = LossReason::from_label(word()?.as_bytes())?;
        let known = |word: &str| (word != "-").then(|| word.to_owned());
        let kind = known(word()?).map(|label| Kind::from_label(label.as_bytes()));
        let count = known(word()?).map(|count| count.parse()).transpose().ok()?;
        let bytes = word()?.parse().ok()?;
        let first = known(word()?).map(|at| at.parse().map(Timestamp::from_micros)).transpose().ok()?;
        let last = Timestamp::from_micros(word()?.parse().ok()?);
        Some(Self { reason, kind, count, bytes, first, last })
    }
}

impl From<&Gap> for Note {
    fn from(gap: &Gap) -> Self {
        let (kind, count, first) = (Some(gap.kind), Some(gap.count), Some(gap.first));
        Self { reason: gap.reason, kind, count, bytes: 0, first, last: gap.last }
    }
}

/// Adds a note to others: one of the same sort takes it in.
pub(super) fn join(notes: &mut Vec<Note>, note: &Note) {
    let sort = |n: &Note| (n.reason, n.kind, n.count.is_some());
    match notes.iter_mut().find(|known| sort(known) == sort(note)) {
        Some(known) => {
            known.count = known.count.zip(note.count).map(|(a, b)| a.saturating_add(b));
            known.bytes = known.bytes.saturating_add(note.bytes);
            known.first = known.first.min(note.first).or(known.first).or(note.first);
            known.last = known.last.max(note.last);
        }
        None => notes.push(*note),
    }
}

/// Puts a gap record into a frame.
pub(super) fn put(builder: &mut FrameBuilder, scratch: &mut Vec<u8>, note: &Note) {
    scratch.clear();
    let event = Event {
        kind: Kind::Gap,
        start_ts: Some(note.first.unwrap_or(note.last)),
        gap_reason: Some(note.reason.label().as_bytes()),
        gap_kind: note.kind.map(|kind| kind.label().as_bytes()),
        gap_count: note.count,
        gap_bytes: (note.bytes > 0).then_some(note.bytes),
        gap_first: note.first,
        gap_last: Some(note.last),
        ..Event::default()
    };
    event.encode(scratch);
    if let Some((record, _)) = Encoded::take(scratch) {
        builder.push(&record, &Added::default());
    }
}

/// What a file holds that is about to go: records by kind, and what its gap records say.
#[derive(Debug, Default)]
pub(super) struct Held {
    counts: KindCounts,
    pub(super) notes: Vec<Note>,
}

impl Held {
    /// The columns that it needs.
    pub(super) fn columns() -> Vec<&'static Column> {
        COLUMNS.iter().filter_map(|name| Column::by_name(name)).collect()
    }

    /// Counts a record.
    pub(super) fn take(&mut self, row: &Row<'_>) {
        self.counts[row.kind as usize] += 1;
        if let Some(note) = (row.kind == Kind::Gap).then(|| Note::of(row)).flatten() {
            join(&mut self.notes, &note);
        }
    }

    /// What is lost with it, of so many records: those that could not be read are of no known kind, and a gap record is
    /// not lost, since it is told again.
    pub(super) fn lost(&self, records: u64) -> KindCounts {
        let mut lost = self.counts;
        lost[Kind::Unknown as usize] += records.saturating_sub(self.counts.iter().sum());
        lost[Kind::Gap as usize] = 0;
        lost
    }
}

/// What waits in the mark of a run, with its checksum; what does not fit into `room` is left out whole.
pub(super) fn encode(notes: &[Note], room: usize) -> Option<Vec<u8>> {
    let lines: String = notes.iter().map(Note::line).collect();
    let text = format!("{:08x} {}\n{lines}", crc32c::crc32c(lines.as_bytes()), lines.len());
    (text.len() <= room).then(|| text.into_bytes())
}

/// What waits in a mark; `None` when nothing was left there.
pub(super) fn decode(mark: &[u8]) -> Option<Vec<Note>> {
    let line_end = mark.iter().position(|byte| *byte == b'\n')?;
    let (crc, len) = std::str::from_utf8(&mark[..line_end]).ok()?.split_once(' ')?;
    let lines = mark.get(line_end + 1..)?.get(..len.parse().ok()?)?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(lines) {
        return None;
    }
    std::str::from_utf8(lines).ok()?.lines().map(Note::parse).collect()
}

/// What a gap record says.
const COLUMNS: [&str; 6] =
    ["gap.reason", "gap.kind", "gap.count", "gap.bytes", "gap.first_ts", "gap.last_ts"];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn counted(count: u64, first: i64, last: i64) -> Note {
        let (kind, first) = (Some(Kind::Access), Some(at(first)));
        Note { reason: LossReason::DiskFull, kind, count: Some(count), bytes: 0, first, last: at(last) }
    }

    #[test]
    fn notes_of_one_sort_become_one_and_nothing_of_them_is_lost() {
        let mut notes = Vec::new();
        let torn = |bytes, last| Note::uncounted(LossReason::TornTail, bytes, at(last));
        for note in [counted(3, 20, 30), torn(7, 5), counted(4, 10, 15), torn(2, 9)] {
            join(&mut notes, &note);
        }
        assert_eq!(notes, [counted(7, 10, 30), torn(9, 9)]);
    }

    #[test]
    fn what_a_stop_leaves_is_read_back_whole_or_not_at_all() {
        let notes = [counted(3, 20, 30), Note::uncounted(LossReason::TornTail, 7, at(5))];
        let mark = encode(&notes, 4096).expect("room");
        let mut padded = mark.clone();
        padded.resize(4096, 0);
        assert_eq!(decode(&padded), Some(notes.to_vec()));
        for at in 0..mark.len() {
            let mut bytes = padded.clone();
            bytes[at] ^= 1;
            assert!(decode(&bytes).is_none_or(|read| read == notes), "byte {at}");
        }
        assert_eq!(decode(&[0; 4096]), None);
        assert_eq!(decode(b""), None);
        assert_eq!(encode(&notes, mark.len() - 1), None);
    }

    #[test]
    fn every_sort_of_note_has_room_in_a_mark() {
        let far = Timestamp::from_micros(i64::MAX);
        let kinds = Kind::ALL.into_iter().map(Some).chain([None]);
        let notes: Vec<Note> = kinds
            .flat_map(|kind| LossReason::ALL.map(|reason| (kind, reason)))
            .map(|(kind, reason)| Note {
                reason,
                kind,
                count: Some(u64::MAX >> 20),
                bytes: 0,
                first: Some(far),
                last: far,
            })
            .collect();
        assert!(encode(&notes, super::super::lock::MARK_BYTES).is_some());
    }
}
