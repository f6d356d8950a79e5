//! Reads journal files, of a running gateway or a stopped one, without asking it.
//!
//! Rows are borrowed from one reused buffer and show only the classes that the keyring opens; no other section is
//! decrypted. A file that still grows is read to the last whole frame. Every checksum and seal is verified; behind
//! damage nothing of that file is read, and it is told. Never writes. Bound: `CHUNK_BYTES` or two frames of memory.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::files::{self, FileName};
use super::frame::{FRAME_BYTES, Frame, Mark, Next};
use super::head::FileHead;
use super::journal::FOLDER;
use super::sealed::Opener;
use crate::clock::Timestamp;
use crate::record::row::Row;
use crate::regular_file;
use crate::seal::Keyring;

/// Which frames are of interest. Rows of one frame come together: a few outside the range may be given too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// Not recorded before.
    pub since: Option<Timestamp>,
    /// Did not arrive after.
    pub until: Option<Timestamp>,
}

impl TimeRange {
    /// Whether a frame with these times may hold rows of the range.
    #[must_use]
    pub fn touches(&self, earliest: Timestamp, ts: Timestamp) -> bool {
        self.since.is_none_or(|since| ts >= since) && self.until.is_none_or(|until| earliest <= until)
    }
}

/// What a scan went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Files opened.
    pub files: u64,
    /// Frames whose rows were given.
    pub frames: u64,
    /// Rows given.
    pub rows: u64,
    /// Files with bytes that are neither frames nor zeros, or are not what was sealed there: a write in progress, or
    /// damage.
    pub damaged: u64,
    /// Files whose `clear` key was destroyed: nobody can read them any more.
    pub expired: u64,
    /// Files of which permitted columns are absent because their key is missing, without having been destroyed.
    pub locked: u64,
}

/// The journal files of a data folder, in the order in which they are read.
#[derive(Debug)]
pub struct Reader {
    files: Vec<FileName>,
    frames: FrameReader,
}

impl Reader {
    /// The journal below a data folder, oldest file first. A folder without a journal has no rows.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self::of(files::list(&dir.join(FOLDER))?))
    }

    /// These files, in this order.
    #[must_use]
    pub fn of(files: Vec<FileName>) -> Self {
        Self { files, frames: FrameReader::new(0) }
    }

    /// The newest file first. Rows within a file stay in their order.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.files.reverse();
        self
    }

    /// The files, in reading order.
    #[must_use]
    pub fn files(&self) -> &[FileName] {
        &self.files
    }

    /// Calls `each` for every row of the range with the classes that the keyring opens, until it breaks. Rows of
    /// instances that overlapped in time come one instance after the other.
    ///
    /// # Errors
    /// When a file cannot be read, or its `clear` key is missing. A file that was removed meanwhile is left out.
    pub fn for_each_row(
        &mut self,
        keyring: &Keyring,
        range: &TimeRange,
        mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<Scanned> {
        let mut scanned = Scanned::default();
        for name in &self.files {
            let Some((file, head, len)) = open(name, range)? else { continue };
            scanned.files += 1;
            let Some(mut opener) = Opener::new(&head, keyring).map_err(|error| error.of(&name.path))? else {
                scanned.expired += 1;
                continue;
            };
            scanned.locked += u64::from(opener.locked());
            self.frames.restart(len, 0);
            let mut tampered = false;
            while let Some(frame) = self.frames.next(&file)?.filter(|f| f.mark == Mark::Records) {
                if !range.touches(frame.earliest, frame.ts) {
                    continue;
                }
                let Ok(batch) = opener.open(&frame) else {
                    tampered = true;
                    break;
                };
                scanned.frames += 1;
                let flow = batch.rows(|row| {
                    scanned.rows += 1;
                    each(&row)
                });
                if flow.is_break() {
                    return Ok(scanned);
                }
            }
            scanned.damaged += u64::from(tampered || self.frames.damaged());
        }
        Ok(scanned)
    }
}

/// Opens a file and reads its head; `None` when there is nothing of the range in it.
fn open(name: &FileName, range: &TimeRange) -> io::Result<Option<(File, FileHead, u64)>> {
    let file = match regular_file::open(&name.path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    if let Some(since) = range.since
        && files::end(&file)?.is_some_and(|end| end.ts < since)
    {
        return Ok(None);
    }
    Ok(files::head(&file)?.map(|(head, len)| (file, head, len)))
}

/// Reads one file frame by frame, in large pieces.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: Vec<u8>,
    /// What of the buffer is read but not yet given.
    filled: std::ops::Range<usize>,
    /// Offset in the file of `filled.start`.
    position: u64,
    /// Index that the next frame must have: a frame that is out of its place is damage.
    index: u32,
    damaged: bool,
}

impl FrameReader {
    /// A reader that begins with a file's first frame, at an offset.
    pub(super) fn new(position: u64) -> Self {
        Self { buffer: Vec::new(), filled: 0..0, position, index: 0, damaged: false }
    }

    /// Begins with another file, or again, at the frame of that index, and keeps the buffer.
    pub(super) fn restart(&mut self, position: u64, index: u32) {
        self.filled = 0..0;
        self.position = position;
        self.index = index;
        self.damaged = false;
    }

    /// Index of the frame behind the last that was given.
    pub(super) const fn index(&self) -> u32 {
        self.index
    }

    /// Offset behind the last frame that was given.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Whether it ended at bytes that are neither frame nor zeros.
    pub(super) const fn damaged(&self) -> bool {
        self.damaged
    }

    /// The next frame; `None` where there is none (yet).
    pub(super) fn next(&mut self, file: &File) -> io::Result<Option<Frame<'_>>> {
        loop {
            let wanted = match Frame::decode(&self.buffer[self.filled.clone()]) {
                // Parsed again: a borrow returned from within the loop would last for all of it.
                Next::Frame(frame, len) if frame.index == self.index => {
                    let start = self.filled.start;
                    self.index = self.index.wrapping_add(1);
                    self.filled.start += len;
                    self.position += len as u64;
                    return Ok(Frame::verified(&self.buffer[start..start + len]));
                }
                Next::Frame(..) | Next::Bad => {
                    self.damaged = true;
                    return Ok(None);
                }
                Next::Zeros if self.filled.len() >= 8 => return Ok(None),
                Next::Zeros => 8,
                Next::Short(wanted) => wanted.min(FRAME_BYTES),
            };
            if !self.fill(file, wanted)? {
                self.damaged = self.buffer[self.filled.clone()].iter().any(|b| *b != 0);
                return Ok(None);
            }
        }
    }

    /// Reads until `wanted` bytes are there; `false` when the file ends before.
    fn fill(&mut self, file: &File, wanted: usize) -> io::Result<bool> {
        self.buffer.copy_within(self.filled.clone(), 0);
        let have = self.filled.len();
        self.buffer.resize(wanted.max(CHUNK_BYTES), 0);
        let got = files::read_full(file, &mut self.buffer[have..], self.position + have as u64)?;
        self.filled = 0..have + got;
        Ok(self.filled.len() >= wanted)
    }
}

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;
