//! The manifest: an append-only list of what the segment files are, the one truth about which exist.
//!
//! One JSON object per line, with the SHA-256 of the line before it and a checksum of its own, so that a torn, changed
//! or missing line is noticed. A last line that is not whole was never promised and is cut off. Appended only under the
//! compactor's lock. Never rewritten. Bound: one line of at most [`LINE_BYTES`] per segment made or removed; of those that
//! are no more, their names.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::step::{Faults, Step};
use crate::regular_file;
use crate::store::disk::sync_folder;

/// Name of the manifest in the folder of segments.
pub(super) const NAME: &str = "MANIFEST";
/// Longest line in bytes.
const LINE_BYTES: usize = 8 << 10;

/// One segment file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path below the folder of segments.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// Number of rows.
    pub rows: u64,
    /// Rows between the first and the last that were taken out since.
    #[serde(default, skip_serializing_if = "is_none")]
    pub erased: u64,
    /// The process that recorded them.
    pub instance: u32,
    /// `seq` of the first row that was recorded, though it may have been erased since.
    pub first_seq: u64,
    /// `seq` of the last row that was recorded, though it may have been erased since.
    pub last_seq: u64,
    /// When the first row was recorded, µs since 1970.
    pub first_ts: i64,
    /// When the last row was recorded, µs since 1970.
    pub last_ts: i64,
    /// Earliest arrival among the rows, µs since 1970.
    pub earliest: i64,
    /// Version of the column table that the rows were recorded with.
    pub schema: u32,
    /// Name of the gateway.
    pub node: String,
    /// Ids of the keys that wrap the file's data keys.
    pub keys: Vec<String>,
}

/// Why a segment was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removed {
    /// Its days are over.
    Age,
    /// The records had reached their size.
    Size,
}

/// Why a segment was written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewritten {
    /// Rows were erased.
    Erased,
    /// The keys of some columns had been destroyed: nobody could read them, and now they are gone.
    Expired,
    /// Nothing was left out: the data keys are wrapped by a newer key.
    Keys,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Change {
    /// There is a segment.
    Add(Entry),
    /// A segment is no more.
    Remove {
        /// Its path below the folder of segments.
        file: String,
        /// Why.
        reason: Removed,
    },
    /// A segment takes the place of another, in one step.
    Replace {
        /// Path of the one that is no more.
        old: String,
        /// Why.
        reason: Rewritten,
        /// The one that holds instead.
        new: Entry,
    },
}

fn is_none(rows: &u64) -> bool {
    *rows == 0
}

#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    /// Number of the line, from 0.
    line: u64,
    /// When it was written, µs since 1970.
    at: i64,
    /// SHA-256 of the line before; of nothing for the first.
    previous: String,
    #[serde(flatten)]
    change: Change,
}

/// A manifest that cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("the manifest of the segments cannot be read")]
    Read(#[from] io::Error),
    /// A line is damaged, missing or of an unknown version.
    #[error("line {line} of the manifest of the segments {fault}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// What the manifest says: the segments that exist, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Manifest {
    entries: Vec<Entry>,
    /// The names of those that are no more.
    removed: HashSet<String>,
    lines: u64,
    last: Option<String>,
    /// Bytes of whole lines.
    end: u64,
}

impl Manifest {
    /// Bytes of the manifest in a folder of segments, 0 when there is none: it only grows.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn bytes(folder: &Path) -> io::Result<u64> {
        match folder.join(NAME).metadata() {
            Ok(about) => Ok(about.len()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(cause) => Err(cause),
        }
    }

    /// Reads the manifest of a folder of segments; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, or a line before the last is damaged.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let mut text = Vec::new();
        match regular_file::open(&folder.join(NAME)) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(cause.into()),
        };
        let mut manifest = Self::default();
        // What follows the last line's end is a line that was being written.
        while let Some(len) = text[manifest.end as usize..].iter().position(|b| *b == b'\n') {
            let start = manifest.end as usize;
            manifest.take(&text[start..start + len])?;
            manifest.end += len as u64 + 1;
        }
        Ok(manifest)
    }

    /// The segments that exist.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of lines.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// The segment that holds a record of that number, or held it before it was erased.
    #[must_use]
    pub fn covering(&self, seq: u64) -> Option<&Entry> {
        self.entries.iter().find(|e| (e.first_seq..=e.last_seq).contains(&seq))
    }

    /// Whether there is a segment of that name.
    #[must_use]
    pub fn lists(&self, file: &str) -> bool {
        self.entries.iter().any(|e| e.file == file)
    }

    /// Whether there was a segment of that name, and the manifest says that it is no more.
    #[must_use]
    pub fn was_removed(&self, file: &str) -> bool {
        self.removed.contains(file)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ManifestError> {
        let number = self.lines + 1;
        let wrong = |fault| ManifestError::Line { line: number, fault };
        let (json, crc) = split_crc(bytes).ok_or_else(|| wrong("is damaged"))?;
        if crc32c::crc32c(json) != crc {
            return Err(wrong("is damaged"));
        }
        // The checksum is the last member: without it the object lacks its brace.
        let line: Line =
            serde_json::from_slice(bytes).map_err(|_| wrong("is not of a version that is understood"))?;
        if line.line != self.lines || line.previous != self.last.as_deref().unwrap_or_default() {
            return Err(wrong("does not follow the line before it"));
        }
        match line.change {
            Change::Add(entry) => self.entries.push(entry),
            Change::Remove { file, .. } => {
                self.entries.retain(|e| e.file != file);
                self.removed.insert(file);
            }
            Change::Replace { old, new, .. } => match self.entries.iter_mut().find(|e| e.file == old) {
                Some(entry) => {
                    *entry = new;
                    self.removed.insert(old);
                }
                None => return Err(wrong("replaces a segment that is not there")),
            },
        }
        self.lines += 1;
        self.last = Some(sha256(bytes));
        Ok(())
    }

    /// Appends a line and syncs it: from then on it holds. The caller has the compactor's lock.
    pub(super) fn append(
        &mut self,
        folder: &Path,
        change: Change,
        at: i64,
        faults: &dyn Faults,
    ) -> Result<(), ManifestError> {
        if let Change::Replace { old, .. } = &change
            && !self.entries.iter().any(|e| e.file == *old)
        {
            return Err(io::Error::other("the segment to replace is not in the manifest").into());
        }
        let previous = self.last.clone().unwrap_or_default();
        let line = Line { version: 1, line: self.lines, at, previous, change };
        let mut bytes = serde_json::to_vec(&line).map_err(io::Error::from)?;
        bytes.pop();
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(format!("{CRC}{crc:08x}\"}}").as_bytes());
        if bytes.len() > LINE_BYTES {
            return Err(io::Error::other("a line of the manifest would be too long").into());
        }
        let path = folder.join(NAME);
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        // A line that a crash left unfinished goes first.
        file.set_len(self.end)?;
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(&[&bytes[..], b"\n"].concat())?;
        faults.at(Step::ManifestWritten)?;
        file.sync_all()?;
        sync_folder(&path)?;
        faults.at(Step::ManifestSynced)?;
        self.take(&bytes)?;
        self.end += bytes.len() as u64 + 1;
        Ok(())
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // A string takes everything.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What stands before the checksum, and the checksum.
fn split_crc(line: &[u8]) -> Option<(&[u8], u32)> {
    let at = line.len().checked_sub(CRC.len() + 8 + 2)?;
    let (json, tail) = line.split_at(at);
    let digits = tail.strip_prefix(CRC.as_bytes())?.strip_suffix(b"\"}")?;
    Some((json, u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?))
}

/// What stands between a line's content and its checksum.
const CRC: &str = ",\"crc\":\"";

#[cfg(test)]
mod tests {
    use super::super::step::NoFaults;
    use super::*;

    fn entry(n: u64) -> Entry {
        Entry {
            file: format!("dt=2026-11-22/10-node-{n}.parquet"),
            bytes: 1,
            sha256: sha256(b""),
            rows: 10,
            erased: 0,
            instance: 1,
            first_seq: 10 * n,
            last_seq: 10 * n + 9,
            first_ts: 1,
            last_ts: 2,
            earliest: 0,
            schema: 1,
            node: "node".to_owned(),
            keys: vec!["sec/2026-11-22#0".to_owned()],
        }
    }

    fn three(folder: &Path) -> Manifest {
        let mut manifest = Manifest::read(folder).expect("empty");
        for n in 0..3 {
            manifest.append(folder, Change::Add(entry(n)), 5, &NoFaults).expect("appended");
        }
        manifest
    }

    #[test]
    fn what_is_appended_comes_back_and_covers_its_records() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut manifest = three(dir.path());
        let gone = Change::Remove { file: entry(1).file, reason: Removed::Age };
        manifest.append(dir.path(), gone, 6, &NoFaults).expect("appended");
        let read = Manifest::read(dir.path()).expect("whole");
        assert_eq!(read.entries(), [entry(0), entry(2)]);
        assert_eq!(read.lines(), 4);
        assert_eq!(read.covering(29), Some(&entry(2)));
        assert!(read.covering(10).is_none() && read.covering(30).is_none());
    }

    #[test]
    fn a_replaced_segment_gives_its_place_and_its_numbers() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut manifest = three(dir.path());
        let new =
            Entry { file: "dt=2026-11-22/10-node-1.r1.parquet".to_owned(), rows: 8, erased: 2, ..entry(1) };
        let change = Change::Replace { old: entry(1).file, reason: Rewritten::Erased, new: new.clone() };
        manifest.append(dir.path(), change.clone(), 6, &NoFaults).expect("appended");
        let read = Manifest::read(dir.path()).expect("whole");
        assert_eq!(read.entries(), [entry(0), new.clone(), entry(2)]);
        assert_eq!(read.covering(15), Some(&new));
        let wrong = manifest.append(dir.path(), change, 7, &NoFaults).expect_err("nothing to replace");
        assert!(matches!(wrong, ManifestError::Read(_)));
        assert_eq!(Manifest::read(dir.path()).expect("whole").lines(), 4, "nothing was written");
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_takes_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        three(dir.path());
        let path = dir.path().join(NAME);
        let whole = std::fs::read(&path).expect("a file");
        std::fs::write(&path, &whole[..whole.len() - 7]).expect("written");
        let mut torn = Manifest::read(dir.path()).expect("the whole lines");
        assert_eq!(torn.entries().len(), 2);
        torn.append(dir.path(), Change::Add(entry(7)), 6, &NoFaults).expect("appended");
        assert_eq!(Manifest::read(dir.path()).expect("whole").entries(), [entry(0), entry(1), entry(7)]);
    }

    #[test]
    fn a_changed_line_and_a_missing_line_are_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        three(dir.path());
        let path = dir.path().join(NAME);
        let text = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(&path, text.replacen("\"rows\":10", "\"rows\":11", 1)).expect("written");
        let wrong = Manifest::read(dir.path()).expect_err("changed").to_string();
        assert_eq!(wrong, "line 1 of the manifest of the segments is damaged");
        let kept: String =
            text.split_inclusive('\n').enumerate().filter(|(n, _)| *n != 1).map(|(_, l)| l).collect();
        std::fs::write(&path, kept).expect("written");
        let wrong = Manifest::read(dir.path()).expect_err("a line is missing").to_string();
        assert_eq!(wrong, "line 2 of the manifest of the segments does not follow the line before it");
    }
}
