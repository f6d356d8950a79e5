//! How many changes the book of tombstones was promised to have.
//!
//! `tombstones.head` in the data folder, one line, written after each change. It lies beside the book's folder and not in
//! it: who loses that folder, empties the book or puts an older one back does not take the promise with it, and a book
//! with fewer changes is damage. A book without a promise was written by an earlier build and gets one with its next
//! change. Whole or not at all; never ahead of the book. Bound: one line.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::book::{Book, BookError};
use crate::regular_file;
use crate::store::disk::sync_folder;

/// Its name in the data folder.
const NAME: &str = "tombstones.head";

/// How many changes were promised: none where nobody was ever blocked or erased.
pub(super) fn read(dir: &Path) -> Result<u64, BookError> {
    let text = match regular_file::read(&path(dir)) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(cause) => return Err(cause.into()),
    };
    parse(&text).ok_or(BookError::Promise)
}

/// Whether anybody was ever blocked or erased in a data folder, as far as its files tell.
#[must_use]
pub fn were_changed(dir: &Path) -> bool {
    path(dir).exists() || super::book::path(dir).exists()
}

/// What is wrong with the promise of a book that can be read: without one, a book that was cut off or taken away looks like
/// one of fewer changes. `erased` is how many records the segments say were erased.
pub fn promise_fault(dir: &Path, book: &Book, erased: u64) -> Option<&'static str> {
    if path(dir).exists() {
        return None;
    }
    match (book.version(), erased) {
        (0, 0) => None,
        (0, _) => Some("records were erased, but the book is gone and so is its head"),
        _ => Some(
            "its head is gone: nobody can tell whether changes are missing; the next change writes it anew",
        ),
    }
}

/// Promises so many changes. They are on the disk.
pub(super) fn write(dir: &Path, changes: u64) -> io::Result<()> {
    let path = path(dir);
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(line(changes).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path)?;
    sync_folder(&path)
}

fn line(changes: u64) -> String {
    let number = format!("{changes:020}");
    format!("{number} {:08x}\n", crc32c::crc32c(number.as_bytes()))
}

fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let changes = text.split_once(' ')?.0.parse().ok()?;
    (text == line(changes)).then_some(changes)
}

/// Where the promise of a data folder lies.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
