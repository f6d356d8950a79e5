//! Changes the book of tombstones: one at a time, synced before it is told.
//!
//! A line that a crash left unfinished is cut off by the next change. The book is written anew only to leave out what
//! nobody needs. Bound: [`LINE_RANGES`] ranges in a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::book::{Book, BookError, Change, FOLDER, Line, MOST_TOMBSTONES, State, Tombstone, path};
use super::promise;
use super::ranges::{MOST_RANGES, Ranges};
use super::sealing::TagSeal;
use super::tag::Tag;
use crate::clock::Timestamp;
use crate::store::disk::{private_folder, sync_folder};

/// Ranges in one line.
const LINE_RANGES: usize = 4096;

/// The book while it is changed: nobody else changes it meanwhile.
pub struct Editor {
    dir: PathBuf,
    book: Book,
    /// Held, not used.
    _lock: File,
}

impl Editor {
    /// Waits for the lock and reads the book.
    ///
    /// # Errors
    /// As [`Book::read`], or when the folder cannot be made.
    pub fn open(dir: &Path) -> Result<Self, BookError> {
        let folder = dir.join(FOLDER);
        private_folder(&folder)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(folder.join("lock"))?;
        lock.lock()?;
        let book = Book::read(dir)?;
        // A crash came before the promise, or an earlier build wrote it.
        if book.version() > promise::read(dir)? {
            promise::write(dir, book.version())?;
        }
        Ok(Self { dir: dir.to_owned(), book, _lock: lock })
    }

    /// What the book says now.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Sets a tombstone that blocks; its number.
    ///
    /// # Errors
    /// When the book is full or cannot be written.
    pub fn block(&mut self, tags: &[Tag], seal: &TagSeal, now: Timestamp) -> Result<u32, BookError> {
        let id = self.next_id()?;
        let tags = seal.seal(id, tags)?;
        self.append(&[Change::Block { id, tags }], now)?;
        Ok(id)
    }

    /// Sets a tombstone that erases; its number.
    ///
    /// # Errors
    /// When the book is full or cannot be written.
    pub fn erase(
        &mut self,
        (tags, rotate): (&[Tag], bool),
        seal: &TagSeal,
        now: Timestamp,
    ) -> Result<u32, BookError> {
        let id = self.next_id()?;
        let tags = seal.seal(id, tags)?;
        self.append(&[Change::Erase { id, tags, rotate }], now)?;
        Ok(id)
    }

    /// Hides records, and what else is to be said at the same time.
    ///
    /// # Errors
    /// When there are too many, or the book cannot be written.
    pub fn hide(
        &mut self,
        id: u32,
        rows: &Ranges,
        then: Option<Change>,
        now: Timestamp,
    ) -> Result<(), BookError> {
        let known = self.book.get(id).map_or(0, |tombstone| tombstone.rows.len());
        if known + rows.len() > MOST_RANGES {
            return Err(BookError::TooManyRows);
        }
        let ranges: Vec<(u64, u64)> = rows.iter().collect();
        let lines = ranges.chunks(LINE_RANGES).map(|part| Change::Rows { id, ranges: part.to_vec() });
        let changes: Vec<Change> = lines.chain(then).collect();
        self.append(&changes, now)
    }

    /// Appends lines and syncs them: from then on they hold.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub fn append(&mut self, changes: &[Change], now: Timestamp) -> Result<(), BookError> {
        if changes.is_empty() {
            return Ok(());
        }
        let path = path(&self.dir);
        let mut text = Vec::new();
        for (n, change) in (self.book.version()..).zip(changes) {
            put_line(&mut text, n, change, now)?;
        }
        let new = !path.exists();
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        // A line that a crash left unfinished goes first.
        file.set_len(self.book.end)?;
        file.seek(SeekFrom::Start(self.book.end))?;
        file.write_all(&text)?;
        file.sync_all()?;
        if new {
            sync_folder(&path)?;
        }
        self.book.end += text.len() as u64;
        for change in changes {
            let fits = self.book.follow(change.clone(), now);
            debug_assert!(fits.is_some(), "a change that does not fit");
        }
        promise::write(&self.dir, self.book.version())?;
        Ok(())
    }

    /// Writes the book anew without what nobody needs: lifted blocks, and erasures of which nothing can come back.
    ///
    /// # Errors
    /// When it cannot be written; the old book stays then.
    pub fn tidy(&mut self, erased_before: Timestamp, now: Timestamp) -> Result<u64, BookError> {
        let useless = |t: &Tombstone| match t.state {
            State::Lifted => true,
            State::Erased => t.since < erased_before,
            _ => false,
        };
        let gone: Vec<u32> = self.book.tombstones().filter(|t| useless(t)).map(|t| t.id).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let mut text = Vec::new();
        let mut n = self.book.version();
        put_line(&mut text, n, &Change::Tidied, now)?;
        for tombstone in self.book.tombstones().filter(|t| !useless(t)) {
            for (change, at) in lines_of(tombstone) {
                n += 1;
                put_line(&mut text, n, &change, at)?;
            }
        }
        let path = path(&self.dir);
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        sync_folder(&path)?;
        self.book = Book::of(&text)?;
        promise::write(&self.dir, self.book.version())?;
        Ok(gone.len() as u64)
    }

    fn next_id(&self) -> Result<u32, BookError> {
        if self.book.tombstones().count() >= MOST_TOMBSTONES {
            return Err(BookError::Full);
        }
        // Never above the version that the book has then, and never given again: marks in the journal may name one that
        // was tidied away.
        u32::try_from(self.book.version() + 1).map_err(|_| BookError::Full)
    }
}

/// The lines that make a tombstone what it is.
fn lines_of(tombstone: &Tombstone) -> Vec<(Change, Timestamp)> {
    let (id, tags, rotate) = (tombstone.id, BASE64_STANDARD.encode(&tombstone.sealed), tombstone.rotate);
    let begin =
        if tombstone.erases() { Change::Erase { id, tags, rotate } } else { Change::Block { id, tags } };
    let mut lines = vec![(begin, tombstone.at)];
    let ranges: Vec<(u64, u64)> = tombstone.rows.iter().collect();
    let parts = ranges.chunks(LINE_RANGES).map(|part| Change::Rows { id, ranges: part.to_vec() });
    lines.extend(parts.map(|part| (part, tombstone.at)));
    let resolved = Change::Resolved { id, found: tombstone.found.clone() };
    let end = match tombstone.state {
        State::Blocking | State::Erasing => Vec::new(),
        State::Blocked => vec![Change::Blocked { id }],
        State::Lifted => vec![Change::Unblock { id }],
        State::Resolved => {
            let rotated = tombstone.rotated.clone().map(|keys| Change::Rotated { id, keys });
            std::iter::once(resolved).chain(rotated).collect()
        }
        State::Erased => {
            vec![resolved, Change::Erased { id, done: tombstone.done.clone().unwrap_or_default() }]
        }
    };
    lines.extend(end.into_iter().map(|end| (end, tombstone.since)));
    lines
}

fn put_line(text: &mut Vec<u8>, n: u64, change: &Change, at: Timestamp) -> io::Result<()> {
    let json = serde_json::to_vec(&Line { n, at: at.as_micros(), change: change.clone() })?;
    text.extend_from_slice(format!("{:08x} ", crc32c::crc32c(&json)).as_bytes());
    text.extend_from_slice(&json);
    text.push(b'\n');
    Ok(())
}
