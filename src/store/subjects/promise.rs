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

use super::book::BookError;
use crate::store::disk::sync_folder;

/// Its name in the data folder.
const NAME: &str = "tombstones.head";

/// How many changes were promised: none where nobody was ever blocked or erased.
pub(super) fn read(dir: &Path) -> Result<u64, BookError> {
    let text = match std::fs::read(path(dir)) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(cause) => return Err(cause.into()),
    };
    parse(&text).ok_or(BookError::Promise)
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
