//! The book of tombstones: who is blocked or was erased, and which records that hides.
//!
//! `subjects/tombstones` below the data folder, append-only: one JSON object per line, after its checksum. It has two
//! halves in one file: the tags of each tombstone, sealed, which only the journal's writer and the subject commands open;
//! and the numbers of the records that it hides, which every scan applies. A last line that is not whole was never
//! promised and is cut off by the next writer; damage before it, and a book with fewer lines than were promised (see
//! `promise`), stop every reader: nothing is shown rather than too much. Appended under a lock, synced before it is told.
//! Bound: [`MOST_TOMBSTONES`], with 4 Mi ranges each.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::promise;
use super::ranges::{MOST_RANGES, Ranges};
use crate::clock::Timestamp;
use crate::regular_file;
use crate::seal::KeyError;

/// The folder inside the data folder.
pub const FOLDER: &str = "subjects";
/// The book's name in it.
pub const NAME: &str = "tombstones";
/// Most tombstones in a book. Fewer where tests reach it.
pub const MOST_TOMBSTONES: usize = if cfg!(test) { 50 } else { 100_000 };

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Change {
    /// A person is blocked from now on.
    Block {
        /// Number of the tombstone.
        id: u32,
        /// The person's tags, sealed, in base64.
        tags: String,
    },
    /// These records are hidden.
    Rows {
        /// Number of the tombstone.
        id: u32,
        /// First and last number of each range.
        ranges: Vec<(u64, u64)>,
    },
    /// Every record of the person that was there is in the book.
    Blocked {
        /// Number of the tombstone.
        id: u32,
    },
    /// The block is lifted.
    Unblock {
        /// Number of the tombstone.
        id: u32,
    },
    /// A person's records up to now are to be erased.
    Erase {
        /// Number of the tombstone.
        id: u32,
        /// The person's tags, sealed, in base64.
        tags: String,
        /// Whether the days get new keys and lose the old ones.
        rotate: bool,
    },
    /// Every record of the person that was there is in the book, so the rest can be done by anybody.
    Resolved {
        /// Number of the tombstone.
        id: u32,
        /// What there is to erase.
        found: Erasure,
    },
    /// The days of the records have new keys; those named are destroyed when nothing needs them any more.
    Rotated {
        /// Number of the tombstone.
        id: u32,
        /// Names of the old keys.
        keys: Vec<String>,
    },
    /// They are erased.
    Erased {
        /// Number of the tombstone.
        id: u32,
        /// What was done.
        done: Erasure,
    },
    /// Tombstones that nobody needs any more were left out: the first line of a book that was written anew.
    Tidied,
}

/// What an erasure came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Records by day and class.
    pub days: BTreeMap<String, Counts>,
    /// Segments that had to be written anew for it.
    pub segments: u64,
    /// Journal files that had to become segments without the person's records.
    pub journal_files: u64,
    /// Torn pieces of journal files, put aside by recovery, that were removed.
    pub torn: u64,
    /// Keys that were destroyed.
    pub keys: Vec<String>,
}

/// Records and, for each class, how many of them have values of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// By the code of the class.
    pub classes: [u64; crate::record::Class::ALL.len()],
}

/// One line.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    /// Number of the line; goes on when the book is written anew.
    pub(super) n: u64,
    /// When, µs since 1970.
    pub(super) at: i64,
    /// What it says.
    #[serde(flatten)]
    pub(super) change: Change,
}

/// How far a tombstone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Blocked, its records still being looked for.
    Blocking,
    /// Blocked.
    Blocked,
    /// Lifted: it hides nothing.
    Lifted,
    /// To be erased, its records still being looked for.
    Erasing,
    /// To be erased: they are all in the book.
    Resolved,
    /// Erased: it hides what might come back.
    Erased,
}

/// One person's tombstone.
#[derive(Clone, Debug)]
pub struct Tombstone {
    /// Its number.
    pub id: u32,
    /// When it was set.
    pub at: Timestamp,
    /// When it came to its state.
    pub since: Timestamp,
    /// How far it is.
    pub state: State,
    /// The records that it hides.
    pub rows: Ranges,
    /// Whether an erasure gives the days new keys.
    pub rotate: bool,
    /// What an erasure came to.
    pub done: Option<Erasure>,
    /// What an erasure found.
    pub found: Erasure,
    /// The keys that an erasure destroys at its end; `None` before the new ones were made.
    pub rotated: Option<Vec<String>>,
    /// Number of the line that last asked the writer to leave its file.
    pub asked: u64,
    /// The tags, sealed.
    pub(in crate::store) sealed: Vec<u8>,
}

impl Tombstone {
    /// Whether it hides records from everybody.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.state != State::Lifted
    }

    /// Whether it is a block that holds.
    #[must_use]
    pub fn blocks(&self) -> bool {
        matches!(self.state, State::Blocking | State::Blocked)
    }

    /// Whether it is of an erasure, finished or not.
    #[must_use]
    pub fn erases(&self) -> bool {
        matches!(self.state, State::Erasing | State::Resolved | State::Erased)
    }
}

/// Why the book cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file cannot be read or written.
    #[error("the book of tombstones cannot be used")]
    File(#[from] io::Error),
    /// A line is damaged. Nothing is shown then.
    #[error(
        "line {0} of the book of tombstones is damaged: nothing is shown, because what it hides is not known"
    )]
    Damaged(u64),
    /// Lines are missing at its end, or all of it. Nothing is shown then.
    #[error(
        "the book of tombstones has {has} changes of {promised}: nothing is shown, because what it hides is not known"
    )]
    Short {
        /// How many there are.
        has: u64,
        /// How many were promised.
        promised: u64,
    },
    /// The promise is damaged. Nothing is shown then.
    #[error(
        "the head of the book of tombstones is damaged: nothing is shown, because what the book hides is not known"
    )]
    Promise,
    /// A key.
    #[error("the keys of the book of tombstones cannot be used")]
    Key(#[from] KeyError),
    /// There are too many.
    #[error("the book of tombstones is full: {MOST_TOMBSTONES} tombstones")]
    Full,
    /// One person has too many.
    #[error("one tombstone would hide more than {MOST_RANGES} ranges of records")]
    TooManyRows,
}

impl From<BookError> for io::Error {
    fn from(error: BookError) -> Self {
        match error {
            BookError::File(cause) => cause,
            other => Self::other(other),
        }
    }
}

/// What the book says.
#[derive(Debug, Default)]
pub struct Book {
    tombstones: BTreeMap<u32, Tombstone>,
    /// Number of the next line: rises with every change.
    version: u64,
    /// Bytes of whole lines.
    pub(super) end: u64,
}

impl Book {
    /// Reads the book of a data folder; where nothing was promised, one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, a line before the last is damaged, or lines that were promised are missing.
    pub fn read(dir: &Path) -> Result<Self, BookError> {
        // Before the book: what is promised by now is in it already.
        let promised = promise::read(dir)?;
        let mut text = Vec::new();
        match regular_file::open(&path(dir)) {
            Ok(mut file) => file.read_to_end(&mut text).map(drop)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause.into()),
        }
        let book = Self::of(&text)?;
        if book.version < promised {
            return Err(BookError::Short { has: book.version, promised });
        }
        Ok(book)
    }

    /// The book of this text; what follows the last line's end is a line that was being written.
    pub(super) fn of(text: &[u8]) -> Result<Self, BookError> {
        let mut book = Self::default();
        let mut lines = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            lines += 1;
            book.take(line, lines)?;
            book.end += line.len() as u64 + 1;
        }
        Ok(book)
    }

    /// Rises with every change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All tombstones, in the order in which they were set.
    pub fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.values()
    }

    /// One tombstone.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Tombstone> {
        self.tombstones.get(&id)
    }

    fn take(&mut self, line: &[u8], number: u64) -> Result<(), BookError> {
        let damaged = || BookError::Damaged(number);
        let (crc, json) = line.split_at_checked(8).ok_or_else(damaged)?;
        let json = json.strip_prefix(b" ").ok_or_else(damaged)?;
        let crc = std::str::from_utf8(crc).ok().and_then(|crc| u32::from_str_radix(crc, 16).ok());
        if crc != Some(crc32c::crc32c(json)) {
            return Err(damaged());
        }
        let line: Line = serde_json::from_slice(json).map_err(|_| damaged())?;
        // A line that is missing was taken away; the first one may have any number.
        if self.end > 0 && line.n != self.version {
            return Err(damaged());
        }
        self.version = line.n;
        self.apply(line.change, Timestamp::from_micros(line.at)).ok_or_else(damaged)?;
        self.version = line.n + 1;
        Ok(())
    }

    /// The next line says this; `None` when it does not fit what was before it.
    pub(super) fn follow(&mut self, change: Change, at: Timestamp) -> Option<()> {
        self.apply(change, at)?;
        self.version += 1;
        Some(())
    }

    fn apply(&mut self, change: Change, at: Timestamp) -> Option<()> {
        let (id, state) = match change {
            Change::Block { id, tags } => return self.set(id, &tags, at, (State::Blocking, false)),
            Change::Erase { id, tags, rotate } => return self.set(id, &tags, at, (State::Erasing, rotate)),
            Change::Rows { id, ranges } => {
                let rows = &mut self.tombstones.get_mut(&id)?.rows;
                ranges.into_iter().for_each(|(first, last)| rows.add(first, last));
                return Some(());
            }
            Change::Erased { id, done } => {
                self.tombstones.get_mut(&id)?.done = Some(done);
                (id, State::Erased)
            }
            Change::Blocked { id } => (id, State::Blocked),
            Change::Unblock { id } => (id, State::Lifted),
            Change::Resolved { id, found } => {
                self.tombstones.get_mut(&id)?.found = found;
                (id, State::Resolved)
            }
            Change::Rotated { id, keys } => {
                let asked = self.version + 1;
                let tombstone = self.tombstones.get_mut(&id)?;
                (tombstone.rotated, tombstone.asked) = (Some(keys), asked);
                return Some(());
            }
            Change::Tidied => return Some(()),
        };
        let tombstone = self.tombstones.get_mut(&id)?;
        (tombstone.state, tombstone.since) = (state, at);
        if state == State::Lifted {
            tombstone.rows = Ranges::default();
        }
        Some(())
    }

    fn set(&mut self, id: u32, tags: &str, at: Timestamp, (state, rotate): (State, bool)) -> Option<()> {
        let sealed = BASE64_STANDARD.decode(tags).ok()?;
        let (rows, found) = (Ranges::default(), Erasure::default());
        let (asked, rotated) = (self.version + 1, None);
        let tombstone =
            Tombstone { id, at, since: at, state, rows, rotate, done: None, found, rotated, asked, sealed };
        self.tombstones.insert(id, tombstone).is_none().then_some(())
    }
}

/// Where the book of a data folder lies.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(FOLDER).join(NAME)
}
