//! What no reader is shown: the one place where tombstones meet a scan.
//!
//! Every [`crate::seal::Keyring`] has one, so whoever can open a record has it too, and asks it for each row. The book is
//! looked at again at the beginning of each file, row group and look of a follower: a block counts for reads that are
//! under way. A record of the journal that carries a mark which this reader does not know yet is hidden: its block is
//! newer than what was read. Never opens the tags. Bound: the numbers in the book.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::book::{self, Book, Tombstone};
use crate::record::event::MARK;
use crate::record::wire::take_varint;

/// What is hidden from readers of one data folder.
pub struct Hidden {
    /// The data folder; `None` for the store's own work, which shows nothing to anybody.
    dir: Option<PathBuf>,
    from: Audience,
    read: Mutex<Option<Stamp>>,
    now: ArcSwap<HiddenRows>,
    count: AtomicU64,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reads records: blocked and erased ones are hidden.
    Everybody,
    /// Who answers a person: erased ones are hidden.
    Officer,
}

/// By what a changed book is noticed: length, inode, and time of change in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

/// What is hidden at one moment.
#[derive(Debug, Default)]
pub struct HiddenRows {
    /// First and last numbers, sorted, apart from each other.
    ranges: Vec<(u64, u64)>,
    /// Marks that hide, sorted.
    hiding: Vec<u32>,
    /// Marks above this are of blocks that have not been read.
    newest: u64,
    /// Whether marks hide at all.
    marks: bool,
}

impl Hidden {
    /// What is hidden in a data folder; it is read when it is needed.
    #[must_use]
    pub fn of(dir: &Path, from: Audience) -> Self {
        let now = ArcSwap::from_pointee(HiddenRows::default());
        Self { dir: Some(dir.to_owned()), from, read: Mutex::default(), now, count: AtomicU64::new(0) }
    }

    /// Nothing is hidden: for work that shows nothing to anybody.
    pub(crate) fn nothing() -> Self {
        let now = ArcSwap::from_pointee(HiddenRows::default());
        Self { dir: None, from: Audience::Officer, read: Mutex::default(), now, count: AtomicU64::new(0) }
    }

    /// Looks whether the book has changed, and reads it then.
    ///
    /// # Errors
    /// When it cannot be read or is damaged: then nothing may be shown.
    pub fn refresh(&self) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match std::fs::metadata(book::path(dir)) {
            Ok(metadata) => stamp(&metadata),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Stamp::default(),
            Err(cause) => return Err(cause),
        };
        // Stamped before it is read: a change in between is noticed the next time.
        if *read != Some(stamp) {
            self.now.store(Arc::new(HiddenRows::of(&Book::read(dir)?, self.from)));
            *read = Some(stamp);
        }
        Ok(())
    }

    /// What is hidden as of the last look.
    #[must_use]
    pub fn rows(&self) -> Arc<HiddenRows> {
        self.now.load_full()
    }

    /// How many records have been hidden from this reader.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(in crate::store) fn hid(&self, records: u64) {
        if records > 0 {
            self.count.fetch_add(records, Relaxed);
        }
    }
}

impl HiddenRows {
    fn of(book: &Book, from: Audience) -> Self {
        let hides = |t: &&Tombstone| match from {
            Audience::Everybody => t.hides(),
            Audience::Officer => t.erases(),
        };
        let mut all: Vec<(u64, u64)> = book.tombstones().filter(hides).flat_map(|t| t.rows.iter()).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        let marks = from == Audience::Everybody;
        let hiding = book.tombstones().filter(|t| marks && t.blocks()).map(|t| t.id).collect();
        Self { ranges, hiding, newest: book.version(), marks }
    }

    /// The records of a data folder that were erased, or are to be.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub(in crate::store) fn erased(dir: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self::of(&Book::read(dir)?, Audience::Officer)))
    }

    /// Whether a record of a segment is hidden.
    #[must_use]
    pub fn hides(&self, seq: u64) -> bool {
        let behind = self.ranges.partition_point(|(first, _)| *first <= seq);
        behind > 0 && seq <= self.ranges[behind - 1].1
    }

    /// Whether a record of the journal is hidden; `clear` is its section of that class, which begins with the kind.
    #[must_use]
    pub(crate) fn hides_journal(&self, seq: u64, clear: &[u8]) -> bool {
        (self.marks && marks(clear).any(|mark| self.hides_mark(mark))) || self.hides(seq)
    }

    fn hides_mark(&self, mark: u32) -> bool {
        u64::from(mark) > self.newest || self.hiding.binary_search(&mark).is_ok()
    }
}

/// The tombstones that a record of the journal was marked with when it was written.
pub(crate) fn marks(clear: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut left = clear.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (id, rest) = take_varint(left.strip_prefix(&[MARK])?)?;
        left = rest;
        u32::try_from(id).ok()
    })
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.len(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({:?}, {} ranges)", self.from, self.now.load().ranges.len())
    }
}
