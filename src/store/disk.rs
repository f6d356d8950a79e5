//! The few things that the journal asks of a disk.
//!
//! A trait, so that tests can put a disk in its place that is full, slow or broken. Never retries, never hides an
//! error. Bound: one call, one system call (creation: four).

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// An open journal file.
pub trait DiskFile: Send + Sync {
    /// Writes at an offset; may write less than given.
    ///
    /// # Errors
    /// As the system says, e.g. `StorageFull`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Brings the content to the disk (`fdatasync`).
    ///
    /// # Errors
    /// After one the file must not be written again: what it holds is not known.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Whether the file still has a name: one without holds what nobody can read after this process.
    ///
    /// # Errors
    /// `NotFound` when somebody removed it, or as the system says.
    fn has_name(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with folders.
pub trait Disk: Send + Sync {
    /// Makes a new file (0600) of so many zeros, content and name already synced.
    ///
    /// # Errors
    /// `StorageFull` when there is no room, `AlreadyExists` when the name is taken.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>>;
}

/// The operating system's disk.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        match preallocate(&file, bytes).and_then(|()| file.sync_all()).and_then(|()| sync_folder(path)) {
            Ok(()) => Ok(Box::new(OsFile(file))),
            Err(cause) => {
                // Half made: its room is given back. If that fails too, recovery removes it as never begun.
                let _ = std::fs::remove_file(path);
                Err(cause)
            }
        }
    }
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn has_name(&self) -> io::Result<()> {
        if self.0.metadata()?.nlink() > 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "it was removed while it was written"))
    }
}

/// Makes a folder that is its owner's alone, its name synced; one of ours that others can look into is narrowed.
///
/// # Errors
/// When it cannot be made, read or narrowed.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        sync_folder(folder)?;
    }
    if std::fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(folder = %folder.display(), "others could look into this folder; now only its owner can");
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    // A folder may be there and not be readable: better said now.
    std::fs::read_dir(folder).map(drop)
}

/// Syncs the folder that holds `path`: only then does a new, changed or removed name survive power loss.
///
/// # Errors
/// As the system says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Reserves room; where the file system cannot, the file only gets its length.
fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        Err(cause) => Err(cause.into()),
    }
}
