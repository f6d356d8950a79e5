//! Rows handed to another program of the same user: Parquet files without a name, in a private folder.
//!
//! A file loses its name as soon as it is made: the other program finds it at [`Lent::paths`] as long as this process
//! lives, and the system frees it with the last of them, also after a kill. The folder (0700), for what that program
//! puts aside, is removed when its [`PrivateFolder`] goes; one that a killed process left is removed by [`sweep`]. Never
//! hands over a column that the scan does not open. Bounds: the bytes given to [`lend`], one [`Table`] per thread.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::query::{Scan, Seen};
use super::segments::Shape;
use super::table::Table;
use crate::record::Column;

/// The folder of such folders below the one of the records.
pub const FOLDER: &str = "sql";

/// A folder that nobody else can enter and that is removed with everything in it.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    /// Held as long as the folder is in use.
    _lock: File,
}

impl PrivateFolder {
    /// Makes one below `parent`, which is made too when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(parent: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        // No sweep between the folder and its lock.
        let _gate = gate(parent)?;
        let mut builder = tempfile::Builder::new();
        let path =
            builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?.keep();
        let lock = lock_file(&path).and_then(|file| file.lock().map(|()| file));
        match lock {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(cause) => {
                let _ = std::fs::remove_dir_all(&path);
                Err(cause)
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_dir_all(&self.path)
            && cause.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.path.display(), %cause, "a private folder could not be removed");
        }
    }
}

/// Removes the folders below `parent` whose process is gone; how many there were.
///
/// # Errors
/// When one cannot be removed.
pub fn sweep(parent: &Path) -> io::Result<u64> {
    let folders = match std::fs::read_dir(parent) {
        Ok(folders) => folders,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(cause) => return Err(cause),
    };
    let mut removed = 0;
    let _gate = gate(parent)?;
    for folder in folders {
        let path = folder?.path();
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if ours && path.is_dir() && lock_file(&path)?.try_lock().is_ok() {
            std::fs::remove_dir_all(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What was handed over.
#[derive(Debug)]
pub struct Lent {
    /// The files; at least one, which has the columns even without rows.
    pub files: Vec<File>,
    /// Rows in them.
    pub rows: u64,
    /// What the scan came across.
    pub seen: Seen,
}

impl Lent {
    /// Where another program of this user finds the files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let process = std::process::id();
        self.files
            .iter()
            .map(|file| PathBuf::from(format!("/proc/{process}/fd/{}", file.as_raw_fd())))
            .collect()
    }
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The rows need more than the bytes that were allowed.
    #[error("the rows need more than {0} bytes on the disk")]
    TooLarge(u64),
    /// Somebody asked the scan to stop.
    #[error("stopped")]
    Stopped,
}

/// Writes every matching row into files in the folder, with these columns, in at most `limit` bytes.
///
/// # Errors
/// When records cannot be read, the rows do not fit, or the scan was stopped.
pub fn lend(
    scan: &Scan,
    columns: &[&'static Column],
    shape: Shape,
    folder: &PrivateFolder,
    limit: u64,
) -> Result<Lent, LendError> {
    let shared = Shared { number: AtomicU64::new(0), bytes: AtomicU64::new(0), limit };
    let make = || Part::new(&shared, folder.path(), Table::parquet(columns, shape));
    let add = |part: &mut Part<'_>, row: &crate::record::Row<'_>| {
        if let Some(table) = &mut part.table {
            let done = table.push(row).and_then(|more| if more { part.write_some() } else { Ok(()) });
            if let Err(cause) = done {
                part.fail(cause);
                scan.work().stop();
            }
        }
    };
    let (parts, seen) = scan.fold(make, add)?;
    let mut handed = Lent { files: Vec::new(), rows: 0, seen };
    let mut failed = None;
    for part in parts {
        match part.finish() {
            Ok((file, rows)) => {
                handed.files.push(file);
                handed.rows += rows;
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(_) if shared.bytes.load(Relaxed) > limit => Err(LendError::TooLarge(limit)),
        Some(cause) => Err(cause.into()),
        None if scan.work().stopped() => Err(LendError::Stopped),
        None => Ok(handed),
    }
}

/// What the threads have in common.
struct Shared {
    number: AtomicU64,
    bytes: AtomicU64,
    limit: u64,
}

/// The file of one thread.
struct Part<'s> {
    shared: &'s Shared,
    table: Option<Table>,
    file: Option<File>,
    failed: Option<io::Error>,
}

impl<'s> Part<'s> {
    fn new(shared: &'s Shared, folder: &Path, table: io::Result<Table>) -> Self {
        let path = folder.join(format!("rows-{}.parquet", shared.number.fetch_add(1, Relaxed)));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.and_then(|file| std::fs::remove_file(&path).map(|()| file));
        let mut part = Self { shared, table: None, file: None, failed: None };
        match table.and_then(|table| file.map(|file| (table, file))) {
            Ok((table, file)) => (part.table, part.file) = (Some(table), Some(file)),
            Err(cause) => part.failed = Some(cause),
        }
        part
    }

    fn write_some(&mut self) -> io::Result<()> {
        let bytes = self.table.as_mut().map(Table::take).unwrap_or_default();
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let all = self.shared.bytes.fetch_add(bytes.len() as u64, Relaxed) + bytes.len() as u64;
        if all > self.shared.limit {
            return Err(io::Error::other("too large"));
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn fail(&mut self, cause: io::Error) {
        self.table = None;
        self.failed = Some(cause);
    }

    fn finish(mut self) -> io::Result<(File, u64)> {
        if let Some(cause) = self.failed {
            return Err(cause);
        }
        let mut rows = 0;
        if let Some(table) = self.table.take() {
            rows = table.rows();
            let bytes = table.finish()?;
            self.write(&bytes)?;
        }
        self.file.map(|file| (file, rows)).ok_or_else(|| io::Error::other("no file"))
    }
}

/// Held while folders are made or removed.
fn gate(parent: &Path) -> io::Result<File> {
    let file = lock_file(parent)?;
    file.lock()?;
    Ok(file)
}

fn lock_file(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"))
}

const PREFIX: &str = "rows-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_and_a_left_one_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join(FOLDER);
        assert_eq!(sweep(&parent).unwrap(), 0);
        let (kept, gone) = (PrivateFolder::make(&parent).unwrap(), PrivateFolder::make(&parent).unwrap());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(kept.path()), mode(&parent)), (0o700, 0o700));
        std::fs::write(gone.path().join("rows"), "x").unwrap();
        let path = gone.path().to_owned();
        drop(gone);
        assert!(!path.exists() && kept.path().exists());
        // As a killed process leaves it: nobody holds its lock.
        let left = parent.join("rows-left");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("rows-0.parquet"), "x").unwrap();
        assert_eq!(sweep(&parent).unwrap(), 1);
        assert!(!left.exists() && kept.path().exists());
    }
}
