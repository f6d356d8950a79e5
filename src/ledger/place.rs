//! Folders and files of a ledger, with the owner that the records have.
//!
//! Root may be the first to read; what it makes must stay usable for the gateway's own user. Never widens a mode.
//! Bound: one system call each.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Gid, Uid, fchown};

/// Makes a folder (0700) and its parents up to `records`, which must be there.
pub(crate) fn make_folder(folder: &Path, records: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| parent.starts_with(records)) {
        make_folder(parent, records)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => {
            keep_owner(&File::open(folder)?, records)?;
            folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        }
    }
}

/// Gives what root has made to the owner of the records.
pub(crate) fn keep_owner(made: &File, records: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let like = records.metadata()?;
    fchown(made, Some(Uid::from_raw(like.uid())), Some(Gid::from_raw(like.gid()))).map_err(io::Error::from)
}
