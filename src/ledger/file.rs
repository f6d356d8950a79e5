//! The file, and the one way to append to it.
//!
//! Entries are appended under a lock of the file, so that several writers make one chain, and are on the disk when
//! [`Ledger::append`] returns. What a killed writer left stays where it is and is told by an entry of its own. Never
//! removes or changes a byte. Bound: [`TAIL_BYTES`] are read for one append.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use rustix::fs::OFlags;

use super::chain::{ENTRY_BYTES, Link, NO_HASH, hex, open, seal};
use super::place::{keep_owner, make_folder};
use super::{Chained, Interruption};
use crate::regular_file;

/// Where a ledger lies.
#[derive(Clone, Debug)]
pub struct Ledger {
    records: PathBuf,
    folder: PathBuf,
    name: &'static str,
}

impl Ledger {
    /// The records folder in which it lies.
    #[must_use]
    pub fn records(&self) -> &Path {
        &self.records
    }

    /// The ledger `<records>/<name>/<name>.log`; nothing is looked at yet.
    #[must_use]
    pub fn at(records: &Path, name: &'static str) -> Self {
        Self { records: records.to_owned(), folder: records.join(name), name }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is a log or was one, as far as its files tell.
    #[must_use]
    pub fn was_begun(&self) -> bool {
        [self.log(), self.head(), self.witness()].iter().any(|path| path.exists())
    }

    /// Its file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn head(&self) -> PathBuf {
        self.folder.join(format!("{}.head", self.name))
    }

    /// The head beside the folder: it stays when the folder goes.
    fn witness(&self) -> PathBuf {
        self.records.join(format!("{}.head", self.name))
    }

    /// Opens the file, made with its folder when it is not there.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn open(&self) -> io::Result<File> {
        make_folder(&self.folder, &self.records)?;
        let path = self.log();
        // Through no link: what is appended here belongs to nobody else's file, and no pipe is waited for.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600).custom_flags(flags.bits().cast_signed());
        match options.open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let file = options.create(true).open(&path)?;
                keep_owner(&file, &self.records)?;
                File::open(&self.folder)?.sync_all()?;
                Ok(file)
            }
            opened => opened,
        }
    }

    /// Appends entries, all of them or, after an error, perhaps some; the number of the last. One write and one sync.
    ///
    /// # Errors
    /// When the file cannot be written, an entry is longer than [`ENTRY_BYTES`], or there is no whole entry near the
    /// end of the file ([`Damaged`]).
    pub fn append<E: Chained>(&self, entries: Vec<E>) -> io::Result<u64> {
        let mut file = self.open()?;
        file.lock()?;
        let tail = Tail::of(&mut file)?;
        let (mut n, mut prev) = tail
            .last
            .as_ref()
            .map_or((0, NO_HASH.to_owned()), |l: &Link<E>| (l.entry.link().0, l.hash.clone()));
        let mut bytes = Vec::new();
        if let Some((interruption, next)) = self.interruption(&tail)?.zip(entries.first()) {
            if !tail.left.is_empty() && !tail.left.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            (n, prev) = link(&mut bytes, E::telling(interruption, next), n, &prev)?;
        }
        for entry in entries {
            (n, prev) = link(&mut bytes, entry, n, &prev)?;
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        let head = Head { n, hash: prev };
        head.write(self)?;
        head.leave_witness(self)?;
        Ok(n)
    }

    /// What is wrong with the end of the log, if anything is.
    fn interruption<E: Chained>(&self, tail: &Tail<E>) -> io::Result<Option<Interruption>> {
        let (last_n, last_hash) =
            tail.last.as_ref().map_or((0, NO_HASH), |l| (l.entry.link().0, &l.hash[..]));
        let head = match Head::read(self)? {
            // Nothing of the log is left, but somebody knows that there was one.
            None if last_n == 0 && tail.left.is_empty() => Head::witness(self)?,
            head => head,
        };
        let (lost, state) = match head {
            Some(head) if head.n > last_n => (Some(head.n - last_n), None),
            Some(head) if head.n == last_n && head.hash != last_hash => (None, Some("differs")),
            Some(_) => (None, None),
            None if last_n == 0 && tail.left.is_empty() => (None, None),
            None => (None, Some("missing")),
        };
        if tail.left.is_empty() && lost.is_none() && state.is_none() {
            return Ok(None);
        }
        let mut left = tail.left.clone();
        if !left.is_empty() && !left.ends_with(b"\n") {
            left.push(b'\n');
        }
        Ok(Some(Interruption {
            bytes: Some(left.len() as u64),
            sha256: Some(hex(digest(&SHA256, &left).as_ref())),
            lost,
            head: state.map(str::to_owned),
        }))
    }
}

/// Gives an entry its place, appends its line, and returns its number and hash.
fn link<E: Chained>(bytes: &mut Vec<u8>, mut entry: E, before: u64, prev: &str) -> io::Result<(u64, String)> {
    let n = before + 1;
    entry.set_link(n, prev);
    let (line, hash) = seal(&entry).ok_or_else(|| io::Error::other("the entry is too long"))?;
    bytes.extend_from_slice(line.as_bytes());
    Ok((n, hash))
}

/// The end of the file.
struct Tail<E> {
    /// The last whole entry.
    last: Option<Link<E>>,
    /// What follows it.
    left: Vec<u8>,
}

impl<E: Chained> Tail<E> {
    fn of(file: &mut File) -> io::Result<Self> {
        // Nearly every entry is short.
        Self::within(file, USUAL_BYTES).or_else(|_| Self::within(file, TAIL_BYTES))
    }

    fn within(file: &mut File, most: u64) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let from = len.saturating_sub(most);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        io::Read::by_ref(file).take(most).read_to_end(&mut bytes)?;
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
    pub(super) fn read(ledger: &Ledger) -> io::Result<Option<Self>> {
        Self::at(&ledger.head())
    }

    /// What stands beside the folder. The log holds that entry, though perhaps newer ones as well.
    pub(super) fn witness(ledger: &Ledger) -> io::Result<Option<Self>> {
        Self::at(&ledger.witness())
    }

    fn at(path: &Path) -> io::Result<Option<Self>> {
        let text = match regular_file::read(path) {
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

    fn write(&self, ledger: &Ledger) -> io::Result<()> {
        let (file, new) = self.put(&ledger.head(), &ledger.records)?;
        file.sync_data()?;
        if new {
            File::open(&ledger.folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Not synced, since it only has to outlive the folder: after a loss of power it tells of an earlier entry.
    fn leave_witness(&self, ledger: &Ledger) -> io::Result<()> {
        self.put(&ledger.witness(), &ledger.records).map(drop)
    }

    /// Writes the head to a file; whether the file is new.
    fn put(&self, path: &Path, records: &Path) -> io::Result<(File, bool)> {
        let new = !path.exists();
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all(format!("{:020} {}\n", self.n, self.hash).as_bytes())?;
        if new {
            keep_owner(&file, records)?;
        }
        Ok((file, new))
    }
}

/// No whole entry was found where one must be.
#[derive(Debug, thiserror::Error)]
#[error("no whole entry near the end")]
pub struct Damaged;

/// Bytes of the head: 20 digits, a space, 64 digits, an end of line.
const HEAD_BYTES: usize = 86;
/// How much of the end of the log is read first.
const USUAL_BYTES: u64 = 16 << 10;
/// How much of the end of the log is read to find its last entry.
pub(crate) const TAIL_BYTES: u64 = 4 * ENTRY_BYTES as u64;
