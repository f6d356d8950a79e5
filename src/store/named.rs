//! Which keys the records of a folder name.
//!
//! A key that is only not there, because its folder was not mounted or a file was lost, may come back. So whoever makes
//! a new one asks here first, and gives it a name that nothing bears. Opens no record. Bound: one pass over the heads of
//! the journal and the manifest, when a key is made.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::files::{self, Begin};
use super::journal::FOLDER as JOURNAL;
use super::segments::{self, Manifest, ManifestError};
use super::subjects::Book;
use crate::regular_file;
use crate::seal::KeyId;

/// What the records of a folder name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Keys of a class and day.
    pub(crate) keys: BTreeSet<KeyId>,
    /// The newest version of the key that seals the tags of tombstones.
    pub(crate) tombstones: Option<u32>,
    /// Whether there are records, even if they cannot say which keys they need.
    pub(crate) records: bool,
}

impl Named {
    /// What the records below a data folder name; nothing when there are none.
    ///
    /// # Errors
    /// When a file cannot be read. What is damaged names nothing.
    pub(crate) fn in_folder(dir: &Path) -> io::Result<Self> {
        let mut named = Self::default();
        for name in files::list(&dir.join(JOURNAL))? {
            let file = match regular_file::open(&name.path) {
                Ok(file) => file,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(cause),
            };
            match files::begin(&file)? {
                Begin::Head(head, _) => {
                    named.keys.extend(head.keys.iter().map(|key| key.id));
                    named.records = true;
                }
                Begin::Damaged => named.records = true,
                Begin::Unbegun => {}
            }
        }
        match Manifest::read(&dir.join(segments::FOLDER)) {
            Ok(manifest) => {
                for entry in manifest.entries() {
                    named.keys.extend(entry.keys.iter().filter_map(|key| key.parse::<KeyId>().ok()));
                    named.records = true;
                }
            }
            Err(ManifestError::Read(cause)) => return Err(cause),
            Err(ManifestError::Line { .. }) => named.records = true,
        }
        if let Ok(book) = Book::read(dir) {
            let version = |sealed: &[u8]| Some(u32::from_le_bytes(*sealed.first_chunk()?));
            named.tombstones = book.tombstones().filter_map(|t| version(&t.sealed)).max();
        }
        Ok(named)
    }
}
