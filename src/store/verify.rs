//! Checks the journal of a data folder as far as that needs no key, then whether the keys open what they should, and
//! counts the gaps that the segments tell of.
//!
//! Every frame must have its checksum and its place, and a closed file must reach to its end. A file that is being written
//! is whole up to its last frame. Gaps are records of their own, which anybody can read in a segment; those of the
//! journal are sealed, and are counted as soon as they are in one. Opens data keys, the tags of tombstones and no record.
//! Bound: one frame, one row group; where K-subject was lost, a search of all tags.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::files::{self, Begin, FileName};
use super::frame::Mark;
use super::journal::FOLDER;
use super::lock;
use super::query::Seen;
use super::reader::{FrameReader, TimeRange};
use super::recovery::QUARANTINE;
use super::segments::{self, Manifest, Segment, Wanted, told};
use super::subjects::{Book, TagSeal, Tagger, unlinked};
use crate::record::{Column, Kind};
use crate::regular_file;
use crate::seal::{KeyProvider, Keyring, LocalKeys};

/// The outcome of a check of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Files that have been begun.
    pub files: u64,
    /// What is wrong: the file, and what with it.
    pub findings: Vec<(String, &'static str)>,
    /// Damaged pieces that were put aside, and their bytes.
    pub quarantined: (u64, u64),
}

/// The gaps that the segments tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// How many.
    pub gaps: u64,
    /// Records that they say are missing; gaps of unknown size add nothing.
    pub missing: u64,
}

/// Checks the journal below a data folder.
///
/// # Errors
/// When the folder or a file cannot be read at all.
pub fn verify_journal(dir: &Path) -> io::Result<JournalReport> {
    let folder = dir.join(FOLDER);
    let mut report = JournalReport { quarantined: quarantined(&folder)?, ..JournalReport::default() };
    for name in files::list(&folder)? {
        let file = match regular_file::open(&name.path) {
            Ok(file) => file,
            // In a segment by now, or removed.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        let fault = match files::begin(&file)? {
            Begin::Unbegun => continue,
            Begin::Damaged => Some("its head is damaged"),
            Begin::Head(head, at) => fault(&folder, &name, &file, (head.first_seq, at))?,
        };
        report.files += 1;
        let called = name.path.file_name().unwrap_or_default().to_string_lossy();
        report.findings.extend(fault.map(|fault| (called.into_owned(), fault)));
    }
    for name in files::no_files(&folder)? {
        let called = name.path.file_name().unwrap_or_default().to_string_lossy();
        report.findings.push((called.into_owned(), "it is no regular file: nobody reads it"));
    }
    Ok(report)
}

/// Checks that the keys open the files of the journal, the tags of tombstones, and the tags of records; what is wrong: of
/// what, and what with it.
///
/// # Errors
/// When the folder or a file cannot be read at all.
pub fn verify_other_keys(dir: &Path, keys: &Arc<dyn KeyProvider>) -> io::Result<Vec<(String, String)>> {
    let keyring = Keyring::of_the_store(Arc::clone(keys));
    let mut found = Vec::new();
    let mut records =
        !Manifest::read(&dir.join(segments::FOLDER)).map_err(io::Error::other)?.entries().is_empty();
    for name in files::list(&dir.join(FOLDER))? {
        let head = match regular_file::open(&name.path) {
            Ok(file) => files::head(&file)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        let Some((head, _)) = head else { continue };
        records = true;
        let called = name.path.file_name().unwrap_or_default().to_string_lossy();
        let wrong = head.keys.iter().filter_map(|key| keyring.unwrap(&key.id, &key.wrapped).err());
        found.extend(wrong.map(|error| (called.clone().into_owned(), told(&error))));
    }
    found.extend(unopened_tombstones(dir, &**keys));
    if records {
        found.extend(unlinked_records(dir, keys));
    }
    Ok(found)
}

/// Tombstones whose tags cannot be opened: who is blocked cannot be recognised any more.
fn unopened_tombstones(dir: &Path, keys: &dyn KeyProvider) -> Vec<(String, String)> {
    // A book that cannot be read is a finding of its own.
    let Ok(book) = Book::read(dir) else { return Vec::new() };
    if book.tombstones().next().is_none() {
        return Vec::new();
    }
    let seal = match TagSeal::new(keys) {
        Ok(seal) => seal,
        Err(error) => return vec![("tombstones".to_owned(), told(&error))],
    };
    let wrong = book.tombstones().filter_map(|t| Some((t.id, seal.open(t).err()?)));
    wrong.map(|(id, error)| (format!("tombstone {id}"), told(&error))).collect()
}

/// Records that cannot be found for anybody, because the key of their tags was lost.
fn unlinked_records(dir: &Path, keys: &Arc<dyn KeyProvider>) -> Option<(String, String)> {
    let lost = match Tagger::new(&**keys) {
        Ok(tagger) => tagger.lost(),
        Err(error) => return Some(("records".to_owned(), told(&error))),
    };
    match unlinked(dir, keys, &lost) {
        Ok(0) => None,
        Ok(records) => {
            let versions: Vec<String> = lost.iter().map(u32::to_string).collect();
            let versions = versions.join(", ");
            let what =
                format!("version {versions} of the subject key is missing: nobody can be found in them");
            Some((format!("{records} records"), what))
        }
        Err(error) => Some(("records".to_owned(), format!("they cannot be searched by their tags: {error}"))),
    }
}

/// What is wrong with a file whose head is whole.
fn fault(
    folder: &Path,
    name: &FileName,
    file: &File,
    (first_seq, at): (u64, u64),
) -> io::Result<Option<&'static str>> {
    // Before its frames: a file that is closed meanwhile is read to what it was.
    if let Some(end) = files::end(file)? {
        let (next_seq, _) = walk(file, first_seq, at)?;
        return Ok((next_seq != end.next_seq).then_some("it is damaged before its end"));
    }
    if !files::live_marks(folder)?.contains(&name.instance) {
        // Its process stopped cleanly, and wrote the end before it said so.
        return Ok(files::end(file)?.is_none().then_some("its end is missing"));
    }
    for _ in 0..LOOKS {
        if !walk(file, first_seq, at)?.1 {
            return Ok(None);
        }
        if !lock::living(folder)?.contains(&name.instance) {
            return Ok(Some("a process that was killed left a torn end; the next start puts it aside"));
        }
        // Half of a frame that is being written.
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(Some("it is damaged before its end"))
}

/// The number behind the last whole record, and whether something follows that is no frame.
fn walk(file: &File, first_seq: u64, at: u64) -> io::Result<(u64, bool)> {
    let (mut frames, mut next_seq) = (FrameReader::new(at), first_seq);
    while let Some(frame) = frames.next(file)?.filter(|frame| frame.mark == Mark::Records) {
        if frame.first_seq != next_seq {
            return Ok((next_seq, true));
        }
        next_seq += u64::from(frame.count);
    }
    Ok((next_seq, frames.damaged()))
}

/// How many pieces were put aside, and their bytes.
fn quarantined(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut pieces, mut bytes) = (0, 0);
    match std::fs::read_dir(folder.join(QUARANTINE)) {
        Ok(entries) => {
            for entry in entries {
                pieces += 1;
                bytes += entry?.metadata()?.len();
            }
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(cause),
    }
    Ok((pieces, bytes))
}

/// Counts the gaps in the segments below a data folder. What cannot be read is left out: [`segments::verify()`] tells.
///
/// # Errors
/// When the manifest cannot be read.
pub fn gaps(dir: &Path) -> io::Result<Gaps> {
    let folder = dir.join(segments::FOLDER);
    // No column that is asked for is sealed, so no key is.
    let keyring = Keyring::of_the_store(Arc::new(LocalKeys::at(dir)));
    let wanted =
        Wanted { tried: Column::by_name("gap.count").into_iter().collect(), shown: Some(Vec::new()) };
    let mut seen = Seen::default();
    for entry in Manifest::read(&folder).map_err(io::Error::other)?.entries() {
        let Ok(Some(segment)) = Segment::open(&folder.join(&entry.file), &keyring, &wanted) else { continue };
        for group in segment.groups(&TimeRange::default()) {
            // A row group that is damaged is damage of its file.
            let _ = segment.rows(group, |row| {
                if row.kind == Kind::Gap {
                    seen.count_gap(row);
                }
                ControlFlow::Continue(())
            });
        }
    }
    Ok(Gaps { gaps: seen.gaps, missing: seen.missing })
}

/// Looks at the end of a file that is being written before it is taken for damaged.
const LOOKS: u32 = 5;
/// Pause between two of them.
const BETWEEN_LOOKS: std::time::Duration = std::time::Duration::from_millis(2);
