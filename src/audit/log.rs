//! The file, and the one way to append to it.
//!
//! An entry is appended under a lock of the file, so that several readers make one chain, and is on the disk when
//! [`AuditLog::begin`] returns. What a killed writer left stays where it is and is told by an entry of its own. Never
//! removes or changes a byte. Bound: [`TAIL_BYTES`] are read for one append.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use super::chain::{ENTRY_BYTES, Link, NO_HASH, hex, open, seal};
use super::entry::{Entry, Kind, Outcome, Reading, TEXT_BYTES};
use super::place::{keep_owner, make_folder};
use super::secret::Literals;
use super::who::Who;
use crate::clock::Timestamp;

/// Why an entry could not be written; the read is refused then.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder, the key or the file cannot be used.
    #[error("the audit log in {} cannot be written: {cause}", folder.display())]
    Disk {
        /// The folder of the log.
        folder: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// There is no whole entry near the end of the file.
    #[error("the audit log in {} is damaged; `kelisim logs audit verify` tells where", .0.display())]
    Damaged(PathBuf),
    /// A text is longer than an entry may hold.
    #[error("{0} is longer than {TEXT_BYTES} bytes, which the audit log does not hold")]
    TooLong(&'static str),
}

/// The audit log of a records folder.
pub struct AuditLog {
    records: PathBuf,
    folder: PathBuf,
    who: Who,
    literals: Literals,
}

/// Proof that the entry of a read is on the disk. Only [`AuditLog::begin`] makes one.
#[must_use = "the read must be ended with its number of rows"]
pub struct Audited {
    log: AuditLog,
    n: u64,
}

impl AuditLog {
    /// The log of a records folder (the one above `journal`); made when there is none.
    ///
    /// # Errors
    /// When the folder or its key cannot be made or read.
    pub fn open(records: &Path) -> Result<Self, AuditError> {
        let folder = records.join(FOLDER);
        let prepare = || {
            make_folder(&folder, records)?;
            let file = open_log(&folder, records)?;
            // One at a time makes the key.
            file.lock()?;
            Literals::of(records)
        };
        let literals = prepare().map_err(|cause| AuditError::Disk { folder: folder.clone(), cause })?;
        Ok(Self { records: records.to_owned(), folder, who: Who::of_this_process(), literals })
    }

    /// What stands in the log for a value of a sealed column.
    #[must_use]
    pub fn hash(&self, column: &str, literal: &str) -> String {
        self.literals.hash(column, literal)
    }

    /// Writes the entry of a read and brings it to the disk.
    ///
    /// # Errors
    /// When that is not possible: then nothing may be read.
    pub fn begin(self, reading: &Reading<'_>, now: Timestamp) -> Result<Audited, AuditError> {
        let texts = [
            ("the reason", reading.reason.map_or(0, str::len)),
            ("the recipient", reading.disclosure.map_or(0, |d| d.recipient.len())),
            ("the filter", reading.filter.len()),
            ("the statement", reading.sql.map_or(0, str::len)),
        ];
        if let Some((what, _)) = texts.into_iter().find(|(_, len)| *len > TEXT_BYTES) {
            return Err(AuditError::TooLong(what));
        }
        let entry = Entry::reading(reading, &self.who, now);
        let n = self.append(entry)?;
        Ok(Audited { log: self, n })
    }

    /// Appends an entry; its number.
    fn append(&self, entry: Entry) -> Result<u64, AuditError> {
        self.try_append(entry).map_err(|cause| match cause.downcast::<Damaged>() {
            Ok(Damaged) => AuditError::Damaged(self.folder.clone()),
            Err(cause) => AuditError::Disk { folder: self.folder.clone(), cause },
        })
    }

    fn try_append(&self, mut entry: Entry) -> io::Result<u64> {
        let mut file = open_log(&self.folder, &self.records)?;
        file.lock()?;
        let tail = Tail::of(&mut file)?;
        let (mut n, mut prev) =
            tail.last.as_ref().map_or((0, NO_HASH.to_owned()), |l| (l.entry.n, l.hash.clone()));
        let mut bytes = Vec::new();
        if let Some(told) = self.interruption(&tail, &entry)? {
            if !tail.left.is_empty() && !tail.left.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            (n, prev) = link(&mut bytes, told, n, &prev)?;
        }
        entry.n = n;
        (n, prev) = link(&mut bytes, entry, n, &prev)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        Head { n, hash: prev }.write(&self.folder, &self.records)?;
        Ok(n)
    }

    /// The entry that tells what is wrong with the end of the log, if anything is.
    fn interruption(&self, tail: &Tail, next: &Entry) -> io::Result<Option<Entry>> {
        let (last_n, last_hash) = tail.last.as_ref().map_or((0, NO_HASH), |l| (l.entry.n, &l.hash[..]));
        let (lost, state) = match Head::read(&self.folder)? {
            Some(head) if head.n > last_n => (Some(head.n - last_n), None),
            Some(head) if head.n == last_n && head.hash != last_hash => (None, Some("differs")),
            Some(_) => (None, None),
            None if last_n == 0 && tail.left.is_empty() => (None, None),
            None => (None, Some("missing")),
        };
        if tail.left.is_empty() && lost.is_none() && state.is_none() {
            return Ok(None);
        }
        let mut told = Entry { kind: Kind::Interrupted, ..bare(next) };
        let mut left = tail.left.clone();
        if !left.is_empty() && !left.ends_with(b"\n") {
            left.push(b'\n');
        }
        told.bytes = Some(left.len() as u64);
        told.sha256 = Some(hex(digest(&SHA256, &left).as_ref()));
        told.lost = lost;
        told.head = state.map(str::to_owned);
        Ok(Some(told))
    }
}

impl Audited {
    /// The number of the entry.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.n
    }

    /// Writes how the read ended: how many records were shown, counted or given.
    ///
    /// # Errors
    /// When the log cannot be written; the entry of the beginning is there.
    pub fn end(self, rows: u64, outcome: Outcome, now: Timestamp) -> Result<(), AuditError> {
        let mut entry = Entry::new(Kind::End, &self.log.who, now);
        (entry.of, entry.rows, entry.outcome) = (Some(self.n), Some(rows), Some(outcome));
        self.log.append(entry).map(drop)
    }
}

/// Redacted: what was read is in the log, not in a message.
impl std::fmt::Debug for Audited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audited({})", self.n)
    }
}

/// Gives an entry its place, appends its line, and returns its number and hash.
fn link(bytes: &mut Vec<u8>, mut entry: Entry, before: u64, prev: &str) -> io::Result<(u64, String)> {
    entry.n = before + 1;
    entry.prev = prev.to_owned();
    let (line, hash) = seal(&entry).ok_or_else(|| io::Error::other("the entry is too long"))?;
    bytes.extend_from_slice(line.as_bytes());
    Ok((entry.n, hash))
}

/// An entry with the time and user of another, and nothing else.
fn bare(other: &Entry) -> Entry {
    Entry { time: other.time.clone(), ..Entry::new(Kind::Interrupted, &other.who, Timestamp::default()) }
}

fn open_log(folder: &Path, records: &Path) -> io::Result<File> {
    let path = folder.join(LOG);
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    match options.open(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let file = options.create(true).open(&path)?;
            keep_owner(&file, records)?;
            File::open(folder)?.sync_all()?;
            Ok(file)
        }
        opened => opened,
    }
}

/// The end of the file.
struct Tail {
    /// The last whole entry.
    last: Option<Link>,
    /// What follows it.
    left: Vec<u8>,
}

impl Tail {
    fn of(file: &mut File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let from = len.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        io::Read::by_ref(file).take(TAIL_BYTES).read_to_end(&mut bytes)?;
        let mut end = bytes.len();
        while let Some(newline) = memchr::memrchr(b'\n', &bytes[..end]) {
            let start = memchr::memrchr(b'\n', &bytes[..newline]).map_or(0, |at| at + 1);
            if let Some(link) = open(&bytes[start..newline]) {
                return Ok(Self { last: Some(link), left: bytes.split_off(newline + 1) });
            }
            end = newline;
        }
        if from > 0 {
            return Err(io::Error::other(Damaged));
        }
        Ok(Self { last: None, left: bytes })
    }
}

/// The newest entry, in a file of its own that is overwritten in place: one sector, so it is old or new.
pub(super) struct Head {
    pub(super) n: u64,
    pub(super) hash: String,
}

impl Head {
    /// `None` when there is none or it cannot be understood.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read(folder.join(HEAD)) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let parsed = text.strip_suffix('\n').and_then(|line| line.split_once(' ')).and_then(|(n, hash)| {
            let whole =
                text.len() == HEAD_BYTES && n.bytes().chain(hash.bytes()).all(|b| b.is_ascii_hexdigit());
            whole.then_some(Self { n: n.parse().ok()?, hash: hash.to_owned() })
        });
        Ok(parsed)
    }

    fn write(&self, folder: &Path, records: &Path) -> io::Result<()> {
        let path = folder.join(HEAD);
        let new = !path.exists();
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.write_all(format!("{:020} {}\n", self.n, self.hash).as_bytes())?;
        file.sync_data()?;
        if new {
            keep_owner(&file, records)?;
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// No whole entry was found where one must be.
#[derive(Debug, thiserror::Error)]
#[error("no whole entry near the end")]
struct Damaged;

/// The folder of the log, below the records folder.
pub(super) const FOLDER: &str = "audit";
/// The log.
pub(super) const LOG: &str = "audit.log";
const HEAD: &str = "audit.head";
/// Bytes of the head: 20 digits, a space, 64 digits, an end of line.
const HEAD_BYTES: usize = 86;
/// How much of the end of the log is read to find its last entry.
const TAIL_BYTES: u64 = 4 * ENTRY_BYTES as u64;

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
