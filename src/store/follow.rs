//! Follows a journal as it grows, over file changes, restarts and several processes.
//!
//! [`Follower::poll`] gives what is new since the last call, as far as its keyring opens it; the caller decides how
//! often. A frame that is being written is waited for. Never misses a row as long as its file is kept: where a file has
//! become a segment before it was read to its end, [`Came::Hole`] tells which numbers are to be looked for there. Bound:
//! one position and one opened frame per instance.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::files::{self, FileName};
use super::frame::Mark;
use super::journal::FOLDER;
use super::reader::FrameReader;
use super::sealed::{Item, Opener};
use super::segments::{self, Manifest};
use crate::record::row::Row;
use crate::regular_file;
use crate::seal::Keyring;

/// Where a reader stands in every instance's files.
pub struct Follower {
    folder: PathBuf,
    keyring: Keyring,
    places: BTreeMap<u32, Place>,
    frames: FrameReader,
    segments: PathBuf,
    /// Bytes of the manifest when it was read last, and the greatest number in segments of each instance then.
    manifest: u64,
    covered: BTreeMap<u32, u64>,
}

/// What came since the last call.
pub enum Came<'a, 'r> {
    /// A row.
    Row(&'a Row<'r>),
    /// Rows of these numbers are not in the journal any more; newer rows of their process follow.
    Hole {
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
}

/// A place within one instance.
struct Place {
    number: u32,
    /// The greatest number that was read, or told as missing.
    last: u64,
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
        Self { number, last: 0, offset: 0, index: 0, opener: None, tampered: false }
    }
}

impl Follower {
    /// Begins with the oldest row that is kept.
    #[must_use]
    pub fn from_start(dir: &Path, keyring: Keyring) -> Self {
        Self {
            folder: dir.join(FOLDER),
            keyring,
            places: BTreeMap::new(),
            frames: FrameReader::new(0),
            segments: dir.join(segments::FOLDER),
            manifest: 0,
            covered: BTreeMap::new(),
        }
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
        // What is in segments by now is not new; what becomes one from now on may be.
        let _: ControlFlow<()> = follower.finished(&[], &mut |_| ControlFlow::Continue(()))?;
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
        self.poll_all(|came| match came {
            Came::Row(row) => each(row),
            Came::Hole { .. } => ControlFlow::Continue(()),
        })
    }

    /// Like [`Self::poll`], and tells of rows that have left the journal unread.
    ///
    /// # Errors
    /// When a file cannot be read, or its `clear` key is missing.
    pub fn poll_all(&mut self, mut each: impl FnMut(Came<'_, '_>) -> ControlFlow<()>) -> io::Result<u64> {
        self.keyring.hidden().refresh()?;
        let mut rows = 0;
        let names = files::list(&self.folder)?;
        // First, because those processes came before the ones that still have files.
        if self.finished(&names, &mut each)?.is_break() {
            return Ok(rows);
        }
        for name in names {
            let place = self.places.get(&name.instance).map(|place| place.number);
            if place.is_some_and(|number| number > name.number) {
                continue;
            }
            let mut count = |came: Came<'_, '_>| {
                rows += u64::from(matches!(came, Came::Row(_)));
                each(came)
            };
            if let Some(older) = place.filter(|number| *number < name.number) {
                if !begun(&name)? {
                    continue;
                }
                // The older file may have grown since it was read; now that this one is begun it does not any more.
                let path = files::path(&self.folder, name.instance, older);
                let older_name = FileName { instance: name.instance, number: older, path };
                if self.read(&older_name, &mut count)?.is_break() {
                    return Ok(rows);
                }
            }
            if self.read(&name, &mut count)?.is_break() {
                return Ok(rows);
            }
        }
        Ok(rows)
    }

    /// Tells of rows in new segments whose process has no journal file any more: its last ones were not read there.
    fn finished(
        &mut self,
        names: &[FileName],
        each: &mut dyn FnMut(Came<'_, '_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let bytes = Manifest::bytes(&self.segments)?;
        if bytes == self.manifest {
            return Ok(ControlFlow::Continue(()));
        }
        let manifest = Manifest::read(&self.segments).map_err(io::Error::other)?;
        let mut all = true;
        for entry in manifest.entries() {
            let known = self.covered.get(&entry.instance).copied().unwrap_or(0);
            let place = self.places.get_mut(&entry.instance);
            let last = place.as_ref().map_or(0, |place| place.last).max(known);
            if entry.last_seq <= last {
                continue;
            }
            if names.iter().any(|name| name.instance == entry.instance) {
                all = false;
                continue;
            }
            self.covered.insert(entry.instance, entry.last_seq);
            if let Some(place) = place {
                place.last = entry.last_seq;
            }
            let first = entry.first_seq.max(last + 1);
            if each(Came::Hole { first, last: entry.last_seq }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if all {
            self.manifest = bytes;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads one file from where it was left; nothing when it has not been begun or is gone.
    fn read(
        &mut self,
        name: &FileName,
        each: &mut dyn FnMut(Came<'_, '_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let mut flow = ControlFlow::Continue(());
        let file = match regular_file::open(&name.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(flow),
            Err(cause) => return Err(cause),
        };
        let known = self.places.get(&name.instance).filter(|place| place.number == name.number);
        if known.is_none_or(|place| place.offset == 0) {
            let Some((head, offset)) = files::head(&file)? else { return Ok(flow) };
            let opener = Opener::new(&head, &self.keyring).map_err(|error| error.of(&name.path))?;
            let before = head.first_seq.saturating_sub(1);
            let last = self.places.get(&name.instance).map(|place| place.last).filter(|last| *last > 0);
            let place = Place { last: before, offset, opener, ..Place::before(name.number) };
            self.places.insert(name.instance, place);
            if let Some(last) = last.filter(|last| *last < before)
                && each(Came::Hole { first: last + 1, last: before }).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        let Some(place) = self.places.get_mut(&name.instance) else { return Ok(flow) };
        self.frames.restart(place.offset, place.index);
        while !place.tampered
            && let Some(opener) = &mut place.opener
            && let Some(frame) = self.frames.next(&file)?.filter(|f| f.mark == Mark::Records)
        {
            match opener.open(&frame) {
                Ok(batch) => {
                    // One that must not be shown is not missing either.
                    flow = batch.items(|item| match item {
                        Item::Row(row) => {
                            place.last = place.last.max(row.seq);
                            each(Came::Row(&row))
                        }
                        Item::Hidden(seq) => {
                            place.last = place.last.max(seq);
                            ControlFlow::Continue(())
                        }
                    });
                }
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
    match regular_file::open(&name.path) {
        Ok(file) => Ok(files::head(&file)?.is_some()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}
