//! Follows a journal as it grows, over file changes, restarts and several processes.
//!
//! [`Follower::poll`] gives what is new since the last call, as far as its keyring opens it; the caller decides how
//! often. A frame that is being written is waited for. Never misses a row as long as its file is kept. Bound: one
//! position and one opened frame per instance.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::files::{self, FileName};
use super::frame::Mark;
use super::journal::FOLDER;
use super::reader::FrameReader;
use super::sealed::Opener;
use crate::record::row::Row;
use crate::seal::Keyring;

/// Where a reader stands in every instance's files.
pub struct Follower {
    folder: PathBuf,
    keyring: Keyring,
    places: BTreeMap<u32, Place>,
    frames: FrameReader,
}

/// A place within one instance.
struct Place {
    number: u32,
    /// Offset and index of the next frame; 0 before the head was read.
    offset: u64,
    index: u32,
    /// What opens the file; `None` before its head was read, and when nobody can read it any more.
    opener: Option<Opener>,
    /// A section was not what was sealed there: nothing behind it is read.
    tampered: bool,
}

impl Place {
    const fn before(number: u32) -> Self {
        Self { number, offset: 0, index: 0, opener: None, tampered: false }
    }
}

impl Follower {
    /// Begins with the oldest row that is kept.
    #[must_use]
    pub fn from_start(dir: &Path, keyring: Keyring) -> Self {
        Self { folder: dir.join(FOLDER), keyring, places: BTreeMap::new(), frames: FrameReader::new(0) }
    }

    /// Begins behind the newest row.
    ///
    /// # Errors
    /// When the folder cannot be read, or the `clear` key of its newest file is missing.
    pub fn from_end(dir: &Path, keyring: Keyring) -> io::Result<Self> {
        let mut follower = Self::from_start(dir, keyring);
        let files = files::list(&follower.folder)?;
        for (i, name) in files.iter().enumerate() {
            let newer = files.get(i + 1).filter(|next| next.instance == name.instance);
            if newer.is_some_and(|next| begun(next).unwrap_or(false)) {
                continue;
            }
            follower.places.entry(name.instance).or_insert(Place::before(name.number));
        }
        follower.poll(|_| ControlFlow::Continue(()))?;
        Ok(follower)
    }

    /// How many of the files that are followed have a section that is not what was sealed there.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.places.values().filter(|place| place.tampered).count() as u64
    }

    /// Calls `each` for every new row with the opened classes; how many there were. When `each` breaks, the rest of its
    /// frame is not given again.
    ///
    /// # Errors
    /// When a file cannot be read, or its `clear` key is missing.
    pub fn poll(&mut self, mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>) -> io::Result<u64> {
        let mut rows = 0;
        for name in files::list(&self.folder)? {
            let place = self.places.get(&name.instance).map(|place| place.number);
            if place.is_some_and(|number| number > name.number) {
                continue;
            }
            let mut count = |row: &Row<'_>| {
                rows += 1;
                each(row)
            };
            if let Some(older) = place.filter(|number| *number < name.number) {
                if !begun(&name)? {
                    continue;
                }
                // The older file may have grown since it was read; now that this one is begun it does not any more.
                let path = files::path(&self.folder, name.instance, older);
                let older_name = FileName { instance: name.instance, number: older, path };
                if self.read(&older_name, &mut count)?.is_break() {
                    break;
                }
            }
            if self.read(&name, &mut count)?.is_break() {
                break;
            }
        }
        Ok(rows)
    }

    /// Reads one file from where it was left; nothing when it has not been begun or is gone.
    fn read(
        &mut self,
        name: &FileName,
        each: &mut dyn FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let mut flow = ControlFlow::Continue(());
        let file = match File::open(&name.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(flow),
            Err(cause) => return Err(cause),
        };
        let known = self.places.get(&name.instance).filter(|place| place.number == name.number);
        if known.is_none_or(|place| place.offset == 0) {
            let Some((head, offset)) = files::head(&file)? else { return Ok(flow) };
            let opener = Opener::new(&head, &self.keyring).map_err(|error| error.of(&name.path))?;
            self.places.insert(name.instance, Place { offset, opener, ..Place::before(name.number) });
        }
        let Some(place) = self.places.get_mut(&name.instance) else { return Ok(flow) };
        self.frames.restart(place.offset, place.index);
        while !place.tampered
            && let Some(opener) = &mut place.opener
            && let Some(frame) = self.frames.next(&file)?.filter(|f| f.mark == Mark::Records)
        {
            match opener.open(&frame) {
                Ok(batch) => flow = batch.rows(|row| each(&row)),
                Err(_) => place.tampered = true,
            }
            (place.offset, place.index) = (self.frames.position(), self.frames.index());
            if flow.is_break() {
                break;
            }
        }
        Ok(flow)
    }
}

/// Whether a file has a head.
fn begun(name: &FileName) -> io::Result<bool> {
    match File::open(&name.path) {
        Ok(file) => Ok(files::head(&file)?.is_some()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}
