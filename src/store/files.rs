//! The names in a journal folder, and the ends of its files.
//!
//! A file is `<instance, 6 digits>-<number, 6 digits>.kjl`: sorted by name, files are in the order of starts and,
//! within an instance, in the order of `seq`. Never reads records. Bound: one folder.

use std::fs::{File, FileType};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::frame::{FRAME_HEAD_BYTES, Frame, Mark, Next};
use super::head::{FILE_HEAD_BYTES, FileHead};
use crate::clock::Timestamp;

/// A journal file by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    /// Number of the process that wrote it.
    pub instance: u32,
    /// Number of the file within its instance.
    pub number: u32,
    /// Where it lies.
    pub path: PathBuf,
}

/// The mark at the end of a closed file.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How it ended.
    pub mark: Mark,
    /// `seq` after its last record.
    pub next_seq: u64,
    /// No record of the file is newer.
    pub ts: Timestamp,
}

/// The path of a journal file.
pub(super) fn path(folder: &Path, instance: u32, number: u32) -> PathBuf {
    folder.join(format!("{instance:06}-{number:06}.kjl"))
}

/// The journal files of a folder, sorted; empty when the folder does not exist. What has such a name and is no file is
/// left out, since nobody reads or writes it: `no_files` has it.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> io::Result<Vec<FileName>> {
    Ok(named(folder)?.into_iter().filter(|(_, is_file)| *is_file).map(|(name, _)| name).collect())
}

/// What has the name of a journal file and is none, but a folder or a pipe, sorted.
pub(super) fn no_files(folder: &Path) -> io::Result<Vec<FileName>> {
    Ok(named(folder)?.into_iter().filter(|(_, is_file)| !is_file).map(|(name, _)| name).collect())
}

/// What has the name of a journal file, sorted, and whether it is one. A link counts as what it leads to.
fn named(folder: &Path) -> io::Result<Vec<(FileName, bool)>> {
    let mut found = Vec::new();
    for (name, path, kind) in names(folder)? {
        let Some((instance, number)) = name.strip_suffix(".kjl").and_then(|stem| stem.split_once('-')) else {
            continue;
        };
        if let (Ok(instance), Ok(number)) = (instance.parse(), number.parse()) {
            let is_file = kind.is_file() || (kind.is_symlink() && (path.is_file() || !path.exists()));
            found.push((FileName { instance, number, path }, is_file));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The instances that have not stopped cleanly: running or dead.
pub(super) fn live_marks(folder: &Path) -> io::Result<Vec<u32>> {
    let files = names(folder)?.into_iter().filter(|(.., kind)| !kind.is_fifo());
    let stems = files.filter_map(|(name, ..)| name.strip_suffix(".live")?.parse().ok());
    let mut found: Vec<u32> = stems.collect();
    found.sort_unstable();
    Ok(found)
}

fn names(folder: &Path) -> io::Result<Vec<(String, PathBuf, FileType)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is not ours.
        if let Ok(name) = entry.file_name().into_string() {
            match entry.file_type() {
                Ok(kind) => found.push((name, entry.path(), kind)),
                // Gone meanwhile, on a file system that has to be asked.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
    }
    Ok(found)
}

/// What stands at the beginning of a file.
#[derive(Debug)]
pub(super) enum Begin {
    /// Its head, and where its first frame begins.
    Head(FileHead, u64),
    /// Nothing yet: a spare.
    Unbegun,
    /// Neither: damage. What is behind it cannot be opened.
    Damaged,
}

/// What stands at the beginning of a file. A head that is being written meanwhile is not taken for damage.
pub(super) fn begin(file: &File) -> io::Result<Begin> {
    for _ in 0..LOOKS {
        let begin = look(file)?;
        if !matches!(begin, Begin::Damaged) {
            return Ok(begin);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    look(file)
}

fn look(file: &File) -> io::Result<Begin> {
    let mut bytes = vec![0; 1024];
    let mut len = read_full(file, &mut bytes, 0)?;
    if let Some((head, used)) = FileHead::decode(&bytes[..len]) {
        return Ok(Begin::Head(head, used as u64));
    }
    bytes.resize(FILE_HEAD_BYTES, 0);
    len = read_full(file, &mut bytes, 0)?;
    if let Some((head, used)) = FileHead::decode(&bytes[..len]) {
        return Ok(Begin::Head(head, used as u64));
    }
    // A file with an end has been begun, whatever has become of its beginning.
    let unbegun = bytes[..len].iter().all(|b| *b == 0) && end(file)?.is_none();
    Ok(if unbegun { Begin::Unbegun } else { Begin::Damaged })
}

/// The head of a file and its length; `None` when the file has not been begun or is damaged there, for those to whom
/// that is the same.
pub(super) fn head(file: &File) -> io::Result<Option<(FileHead, u64)>> {
    Ok(match look(file)? {
        Begin::Head(head, len) => Some((head, len)),
        Begin::Unbegun | Begin::Damaged => None,
    })
}

/// The mark at the end of a file; `None` when the file is not closed.
pub(super) fn end(file: &File) -> io::Result<Option<End>> {
    let len = file.metadata()?.len();
    let Some(at) = len.checked_sub(FRAME_HEAD_BYTES as u64) else { return Ok(None) };
    let mut bytes = [0; FRAME_HEAD_BYTES];
    read_full(file, &mut bytes, at)?;
    Ok(match Frame::decode(&bytes) {
        Next::Frame(frame, FRAME_HEAD_BYTES) if frame.mark != Mark::Records => {
            Some(End { mark: frame.mark, next_seq: frame.first_seq, ts: frame.ts })
        }
        _ => None,
    })
}

/// Reads until `out` is full or the file ends; how many bytes there were.
pub(super) fn read_full(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < out.len() {
        match file.read_at(&mut out[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(have)
}

/// Looks at a head that is none before it is taken for damaged.
const LOOKS: u32 = 3;
/// Pause between two of them: a head is one write.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
