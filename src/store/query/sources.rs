//! Where the records lie at one moment: journal files and segments, each record in exactly one of them.
//!
//! The journal files are opened first, then the manifest is read, then the files that it covers are left out: what
//! becomes a segment meanwhile is read from the open file or from the segment, never from both or from none. A file that
//! cannot be one of them although it holds records is named as damaged, not left out. Never reads a record. Bound:
//! [`HELD_FILES`] open files; those beyond are opened when their turn comes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::super::files::{self, Begin, FileName};
use super::super::journal::FOLDER as JOURNAL;
use super::super::reader::TimeRange;
use super::super::segments::{self, Entry, Manifest, unlisted};
use crate::clock::Timestamp;
use crate::regular_file;

/// Journal files that are held open: the oldest, which become segments next.
const HELD_FILES: usize = 512;

/// A piece of the records.
pub(in crate::store) enum Source {
    /// A journal file.
    Journal(FileName, File),
    /// A journal file that is opened later, after all others.
    Unopened(FileName),
    /// A segment, which another may take the place of before it is opened.
    Segment(Entry),
    /// A file that holds records which nobody can find: a journal file whose head is damaged, or a segment that is in no
    /// line of the manifest.
    Damaged(PathBuf),
}

impl Source {
    /// Bytes of its file: how much there is to be done.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Journal(_, file) => file.metadata().map_or(0, |about| about.len()),
            Self::Unopened(name) => name.path.metadata().map_or(0, |about| about.len()),
            Self::Segment(entry) => entry.bytes,
            Self::Damaged(_) => 0,
        }
    }
}

/// What there is below a data folder, in the order of `seq`; segments outside the range are left out.
pub(in crate::store) fn sources(dir: &Path, range: &TimeRange) -> io::Result<Vec<Source>> {
    let mut found: Vec<(u64, Source)> = Vec::new();
    for name in files::list(&dir.join(JOURNAL))? {
        if found.len() >= HELD_FILES {
            // After every record before it: numbers rise along the names.
            found.push((u64::MAX, Source::Unopened(name)));
            continue;
        }
        let file = match regular_file::open(&name.path) {
            Ok(file) => file,
            // Removed by retention, or in a segment by now.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        match files::begin(&file)? {
            Begin::Head(head, _) => found.push((head.first_seq, Source::Journal(name, file))),
            Begin::Damaged => found.push((u64::MAX, Source::Damaged(name.path))),
            Begin::Unbegun => {}
        }
    }
    let folder = dir.join(segments::FOLDER);
    // Before the manifest: a file that is made meanwhile has its line in it.
    let listed = segments::listed(&folder)?;
    let manifest = Manifest::read(&folder).map_err(io::Error::other)?;
    found.retain(|(first_seq, _)| manifest.covering(*first_seq).is_none());
    for file in unlisted(dir, &listed, &manifest)? {
        found.push((u64::MAX, Source::Damaged(folder.join(file))));
    }
    for entry in manifest.entries() {
        let times = (Timestamp::from_micros(entry.earliest), Timestamp::from_micros(entry.last_ts));
        if range.touches(times.0, times.1) {
            found.push((entry.first_seq, Source::Segment(entry.clone())));
        }
    }
    found.sort_by_key(|(first_seq, _)| *first_seq);
    Ok(found.into_iter().map(|(_, source)| source).collect())
}
