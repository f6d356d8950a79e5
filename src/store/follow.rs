//! Follows a journal as it grows, over file changes, restarts and several processes.
//!
//! [`Follower::poll`] gives what is new since the last call; the caller decides how often. A frame that is being
//! written is waited for. Never misses a row as long as its file is kept. Bound: one position per instance.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::files::{self, FileName};
use super::frame::Mark;
use super::journal::FOLDER;
use super::reader::FrameReader;
use crate::record::purpose::Opened;
use crate::record::row::Row;

/// Where a reader stands in every instance's files.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    places: BTreeMap<u32, Place>,
    frames: FrameReader,
}

/// A place within one instance.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u32,
    offset: u64,
}

impl Follower {
    /// Begins with the oldest row that is kept.
    #[must_use]
    pub fn from_start(dir: &Path) -> Self {
        Self { folder: dir.join(FOLDER), places: BTreeMap::new(), frames: FrameReader::new(0) }
    }

    /// Begins behind the newest row.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn from_end(dir: &Path, opened: Opened) -> io::Result<Self> {
        let mut follower = Self::from_start(dir);
        let files = files::list(&follower.folder)?;
        for (i, name) in files.iter().enumerate() {
            let newer = files.get(i + 1).filter(|next| next.instance == name.instance);
            if newer.is_some_and(|next| begun(next).unwrap_or(false)) {
                continue;
            }
            follower.places.entry(name.instance).or_insert(Place { number: name.number, offset: 0 });
        }
        follower.poll(opened, |_| ControlFlow::Continue(()))?;
        Ok(follower)
    }

    /// Calls `each` for every new row with the opened classes; how many there were. When `each` breaks, the rest of its
    /// frame is not given again.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn poll(
        &mut self,
        opened: Opened,
        mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<u64> {
        let mut rows = 0;
        for name in files::list(&self.folder)? {
            let place = self.places.get(&name.instance).copied();
            if place.is_some_and(|p| p.number > name.number) {
                continue;
            }
            let mut count = |row: &Row<'_>| {
                rows += 1;
                each(row)
            };
            if let Some(older) = place.filter(|p| p.number < name.number) {
                if !begun(&name)? {
                    continue;
                }
                // The older file may have grown since it was read; now that this one is begun it does not any more.
                let path = files::path(&self.folder, name.instance, older.number);
                let older_name = FileName { instance: name.instance, number: older.number, path };
                if self.read(&older_name, older.offset, opened, &mut count)?.is_break() {
                    break;
                }
            }
            let offset = place.filter(|p| p.number == name.number).map_or(0, |p| p.offset);
            if self.read(&name, offset, opened, &mut count)?.is_break() {
                break;
            }
        }
        Ok(rows)
    }

    /// Reads one file from an offset; nothing when it has not been begun or is gone.
    fn read(
        &mut self,
        name: &FileName,
        offset: u64,
        opened: Opened,
        each: &mut dyn FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let file = match File::open(&name.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
            Err(cause) => return Err(cause),
        };
        let mut flow = ControlFlow::Continue(());
        let Some((head, len)) = files::head(&file)? else { return Ok(flow) };
        self.frames.restart(offset.max(len));
        let node = (&head.node[..], u64::from(head.schema));
        let mut end = offset.max(len);
        while let Some(frame) = self.frames.next(&file)?.filter(|f| f.mark == Mark::Records) {
            flow = frame.rows(node, opened, |row| each(&row));
            end = self.frames.position();
            if flow.is_break() {
                break;
            }
        }
        self.places.insert(name.instance, Place { number: name.number, offset: end });
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
