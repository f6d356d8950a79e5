//! Who writes in a data folder: every process is an *instance* with a number that is never given twice.
//!
//! During an upgrade two processes write in one folder for a while, so there is no lock on the folder: each instance
//! writes its own files, and its `seq` numbers lie in its own range of 2⁴⁰ (instance 1 begins at 2⁴⁰). `seq` is dense
//! within an instance, unique within the folder, and follows the order of starts; order across instances that overlap
//! is by `ts`. The file `<instance>.live` exists from start to clean stop and is locked while the process lives: so
//! recovery can tell the dead from the living, and the clean from the killed. It has room for what a stop could not tell
//! in a gap record, reserved at the start, because a disk that is full is why. Never waits longer than another
//! instance's start takes. Bound: 2⁴⁰ records per start, 254 days at 50,000 per second; 8,191 starts while `seq` stays
//! below 2⁵³, which some JSON readers need.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::disk::sync_folder;
use super::files;
use super::gap::{self, Note};
use crate::regular_file;

/// A place among the instances of a folder; given back by [`Claim::release`], or by death.
pub(super) struct Claim {
    /// The instance's number, from 1.
    pub(super) instance: u32,
    path: PathBuf,
    live: File,
}

/// The folder while an instance starts: nobody else starts or recovers meanwhile.
pub(super) struct Starting {
    folder: PathBuf,
    counter: File,
}

impl Starting {
    /// Waits until no other instance is starting in `folder`.
    pub(super) fn enter(folder: &Path) -> io::Result<Self> {
        let counter = open(&folder.join("instance.lock"))?;
        counter.lock()?;
        Ok(Self { folder: folder.to_owned(), counter })
    }

    /// The instances that died without a clean stop.
    pub(super) fn dead(&self) -> io::Result<Vec<u32>> {
        let mut dead = Vec::new();
        for instance in files::live_marks(&self.folder)? {
            let file = open(&live_path(&self.folder, instance))?;
            match file.try_lock() {
                Ok(()) => dead.push(instance),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(cause)) => return Err(cause),
            }
        }
        Ok(dead)
    }

    /// What a dead instance left untold at its stop; `None` when it did not come to stop.
    pub(super) fn left(&self, instance: u32) -> Option<Vec<Note>> {
        let mut mark = Vec::new();
        let file = regular_file::open(&live_path(&self.folder, instance)).ok()?;
        file.take(MARK_BYTES as u64).read_to_end(&mut mark).ok()?;
        gap::decode(&mark)
    }

    /// A dead instance has been recovered.
    pub(super) fn bury(&self, instance: u32) -> io::Result<()> {
        let path = live_path(&self.folder, instance);
        std::fs::remove_file(&path)?;
        sync_folder(&path)
    }

    /// Takes the next number. The number is on the disk before it is used.
    pub(super) fn claim(mut self) -> io::Result<Claim> {
        let mut text = String::new();
        // What is not a number counts as none: the file names and the marks tell the rest.
        let counted = match self.counter.read_to_string(&mut text) {
            Ok(_) => text.trim().parse().unwrap_or(0),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => 0,
            Err(cause) => return Err(cause),
        };
        let (listed, others) = (files::list(&self.folder)?, files::no_files(&self.folder)?);
        let listed = listed.iter().chain(&others).map(|f| f.instance).max().unwrap_or(0);
        let marked = files::live_marks(&self.folder)?.into_iter().max().unwrap_or(0);
        let instance = counted.max(listed).max(marked) + 1;
        self.counter.rewind()?;
        self.counter.write_all(format!("{instance:010}\n").as_bytes())?;
        self.counter.sync_all()?;
        let path = live_path(&self.folder, instance);
        let live = open(&path)?;
        live.lock()?;
        // Without room the start goes on: then a stop on a full disk may be told as an unclean one.
        if let Err(cause) = live.write_all_at(&[0; MARK_BYTES], 0).and_then(|()| live.sync_all()) {
            tracing::warn!(error = %cause, "no room could be reserved for what a stop may have to leave");
        }
        sync_folder(&path)?;
        Ok(Claim { instance, path, live })
    }
}

/// The instances that live: those that hold the lock of their mark. Starts nothing and recovers nothing.
pub(super) fn living(folder: &Path) -> io::Result<Vec<u32>> {
    let mut living = Vec::new();
    for instance in files::live_marks(folder)? {
        match regular_file::open(&live_path(folder, instance)) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => living.push(instance),
                Err(TryLockError::Error(cause)) => return Err(cause),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(living)
}

impl Claim {
    /// `seq` of the instance's first record.
    pub(super) const fn first_seq(&self) -> u64 {
        (self.instance as u64) << RANGE_BITS
    }

    /// A stop that could not tell everything: the next start does.
    pub(super) fn leave(self, untold: &[Note]) -> io::Result<()> {
        let mark = gap::encode(untold, MARK_BYTES).ok_or(io::ErrorKind::FileTooLarge)?;
        self.live.write_all_at(&mark, 0)?;
        self.live.sync_data()
    }

    /// The clean stop: everything is written and synced.
    pub(super) fn release(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)?;
        sync_folder(&self.path)
    }
}

fn live_path(folder: &Path, instance: u32) -> PathBuf {
    folder.join(format!("{instance:06}.live"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Bytes of a mark.
pub(super) const MARK_BYTES: usize = 4096;
/// Each instance has 2⁴⁰ numbers.
pub(super) const RANGE_BITS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_get_two_ranges_and_a_number_never_comes_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Starting::enter(dir.path()).and_then(Starting::claim).expect("a claim");
        let second = Starting::enter(dir.path()).and_then(Starting::claim).expect("a claim");
        assert_eq!((first.instance, second.instance), (1, 2));
        assert!(second.first_seq() >= first.first_seq() + (1 << RANGE_BITS));
        assert_eq!(Starting::enter(dir.path()).and_then(|s| s.dead()).expect("a list"), Vec::<u32>::new());
        first.release().expect("released");
        second.release().expect("released");
        let third = Starting::enter(dir.path()).and_then(Starting::claim).expect("a claim");
        assert_eq!(third.instance, 3);
    }

    #[test]
    fn an_instance_that_died_is_told_from_one_that_lives() {
        let dir = tempfile::tempdir().expect("a folder");
        let dies = Starting::enter(dir.path()).and_then(Starting::claim).expect("a claim");
        let _lives = Starting::enter(dir.path()).and_then(Starting::claim).expect("a claim");
        drop(dies);
        let starting = Starting::enter(dir.path()).expect("entered");
        assert_eq!(starting.dead().expect("a list"), [1]);
        starting.bury(1).expect("buried");
        assert_eq!(starting.dead().expect("a list"), Vec::<u32>::new());
    }
}
