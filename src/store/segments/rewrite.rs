//! Writes a segment anew, without rows that were erased and without columns that nobody can read any more.
//!
//! Order: temporary file, sync, name, sync of the folder, a `replace` line in the manifest, sync; then the old file is
//! removed. One line takes the old out and puts the new in, so each row that remains is in exactly one of them at every
//! moment. The new file has new data keys under the newest keys of its day. It keeps the numbers that the old one
//! covered, so that what was erased is a known hole and not a loss. Never changes a file in place. Bound: one row group
//! and one batch of memory.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::SegmentError;
use super::compact::Work;
use super::manifest::{Change, Entry, Manifest, Rewritten};
use super::read::{Segment, Wanted};
use super::retire::remove_index;
use super::schema;
use super::sole::Sole;
use super::stats::SegmentStats;
use super::step::{Faults, NoFaults, Step};
use super::write::{Origin, SegmentWriter, Written};
use crate::clock::Timestamp;
use crate::record::{Column, Row, SCHEMA_VERSION};
use crate::seal::{Day, KeyProvider, Keyring};
use crate::store::disk::sync_folder;
use crate::store::reader::TimeRange;

/// What a segment is written anew without, and why.
#[derive(Clone, Debug)]
pub struct Without {
    /// Numbers (`seq`) of rows; those that are not in the segment change nothing.
    pub rows: BTreeSet<u64>,
    /// Columns. Those whose keys of the day were all destroyed are left out in any case.
    pub columns: Vec<&'static Column>,
    /// What the manifest says.
    pub reason: Rewritten,
}

/// Writes segments anew; whoever has it has the [`Sole`] right to change them.
pub(super) struct Rewriter<'a> {
    pub(super) folder: &'a Path,
    pub(super) keys: &'a Arc<dyn KeyProvider>,
    pub(super) stop: &'a AtomicBool,
    pub(super) faults: &'a dyn Faults,
}

impl Rewriter<'_> {
    /// Writes one segment anew; its new entry in the manifest.
    ///
    /// # Errors
    /// [`SegmentError::Newer`] and [`SegmentError::Locked`] when something would be lost that nobody asked to lose; the
    /// segment stays as it is. The others leave the old segment or the new one in force, never none or both.
    pub(super) fn rewrite(
        &self,
        manifest: &mut Manifest,
        old: &Entry,
        without: &Without,
        now: Timestamp,
    ) -> Result<Entry, SegmentError> {
        if u64::from(old.schema) > SCHEMA_VERSION {
            return Err(SegmentError::Newer(old.file.clone()));
        }
        let name = next_name(&old.file).ok_or_else(|| SegmentError::Name(old.file.clone()))?;
        let origin = origin(old)?;
        let path = self.folder.join(&name);
        let temporary = PathBuf::from(format!("{}.tmp", path.display()));
        let written = match self.copy(old, &origin, without, &temporary) {
            Ok(written) => written,
            Err(error) => {
                // What cannot be removed now is an orphan for the next start.
                let _ = std::fs::remove_file(&temporary);
                return Err(error);
            }
        };
        self.faults.at(Step::FileSynced)?;
        let new = entry(old, &written, name);
        written.index.save((&path, &new), &**self.keys, origin.day)?;
        std::fs::rename(&temporary, &path)?;
        self.faults.at(Step::Renamed)?;
        sync_folder(&path)?;
        self.faults.at(Step::NameSynced)?;
        let change = Change::Replace { old: old.file.clone(), reason: without.reason, new: new.clone() };
        manifest.append(self.folder, change, now.as_micros(), self.faults)?;
        let gone = self.folder.join(&old.file);
        match std::fs::remove_file(&gone) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        remove_index(&gone)?;
        self.faults.at(Step::Unlinked)?;
        sync_folder(&gone)?;
        self.faults.at(Step::Done)?;
        Ok(new)
    }

    /// Copies what remains into a new file.
    fn copy(
        &self,
        old: &Entry,
        origin: &Origin,
        without: &Without,
        to: &Path,
    ) -> Result<Written, SegmentError> {
        let keyring = Keyring::of_the_store(Arc::clone(self.keys));
        let everything = Wanted { tried: Vec::new(), shown: None };
        let from = self.folder.join(&old.file);
        let segment = Segment::open(&from, &keyring, &everything)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, old.file.clone()))?;
        if segment.locked() {
            // A key that may come back: without it the new file would lose the column for good.
            return Err(SegmentError::Locked(old.file.clone()));
        }
        let mut columns = schema::columns();
        columns.retain(|column| !without.columns.iter().any(|c| c.id == column.id));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
        let mut writer = SegmentWriter::new(file, origin, columns, &**self.keys)?;
        let (mut seen, mut failed) = (0, None);
        for group in segment.groups(&TimeRange::default()) {
            let push = |row: &Row<'_>| {
                seen += 1;
                let result = if self.stop.load(Relaxed) {
                    Err(SegmentError::Stopped)
                } else if without.rows.contains(&row.seq) {
                    Ok(())
                } else {
                    writer.push(row)
                };
                failed = result.err();
                if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            if segment.rows(group, push)?.is_break() {
                break;
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if seen != old.rows {
            return Err(SegmentError::Damaged(old.file.clone()));
        }
        self.faults.at(Step::Begun)?;
        writer.finish()
    }
}

/// Segments of a folder in the hands of a command: no compactor touches them until it is dropped. The gateway goes on
/// recording meanwhile; its closed journal files wait.
pub struct Editor {
    folder: PathBuf,
    keys: Arc<dyn KeyProvider>,
    manifest: Manifest,
    _sole: Sole,
}

impl Editor {
    /// Takes the segments of a data folder as soon as no compactor works, within `patience`, and removes what a crash
    /// left of an earlier work: then a segment is in the manifest or not on the disk.
    ///
    /// # Errors
    /// When they are not free in time or cannot be read.
    pub fn wait(dir: &Path, keys: Arc<dyn KeyProvider>, patience: Duration) -> Result<Self, SegmentError> {
        let work = Work {
            dir: dir.to_owned(),
            keys: Arc::clone(&keys),
            stats: Arc::<SegmentStats>::default(),
            stop: Arc::default(),
            faults: Box::new(NoFaults),
            journal: None,
            settle: Duration::ZERO,
            unsettled: false,
            damaged: BTreeSet::new(),
            complete: None,
            stuck: BTreeSet::new(),
            gone: Arc::default(),
        };
        let folder = work.folder()?;
        let sole = Sole::wait(&folder, patience)?;
        work.sweep()?;
        work.accounted()?;
        let manifest = Manifest::read(&folder)?;
        Ok(Self { folder, keys, manifest, _sole: sole })
    }

    /// The segments that exist.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.manifest.entries()
    }

    /// Writes a segment anew; its new entry. When it returns, the old file has no name any more, on the disk.
    ///
    /// # Errors
    /// See [`SegmentError`]: the old segment or the new one is in force. Another [`Self::wait`] finishes what was begun.
    pub fn rewrite(&mut self, old: &Entry, without: &Without, now: Timestamp) -> Result<Entry, SegmentError> {
        let rewriter = Rewriter {
            folder: &self.folder,
            keys: &self.keys,
            stop: &AtomicBool::new(false),
            faults: &NoFaults,
        };
        rewriter.rewrite(&mut self.manifest, old, without, now)
    }
}

fn origin(entry: &Entry) -> Result<Origin, SegmentError> {
    let day = day(&entry.file).ok_or_else(|| SegmentError::Name(entry.file.clone()))?;
    Ok(Origin { instance: entry.instance, day, schema: entry.schema, node: entry.node.clone().into_bytes() })
}

/// The day of a segment, which is that of its keys: `dt=2026-11-22/…`
pub(super) fn day(file: &str) -> Option<Day> {
    file.strip_prefix("dt=")?.split_once('/')?.0.parse().ok()
}

/// What covers the same numbers as the old one.
fn entry(old: &Entry, written: &Written, file: String) -> Entry {
    let span = &written.span;
    let mut new = Entry {
        file,
        bytes: written.bytes,
        sha256: written.sha256.clone(),
        rows: span.rows,
        erased: old.erased + (old.rows - span.rows),
        keys: written.keys.iter().map(ToString::to_string).collect(),
        ..old.clone()
    };
    if span.rows > 0 {
        (new.first_ts, new.last_ts) = (span.first_ts.as_micros(), span.last_ts.as_micros());
        new.earliest = span.earliest.as_micros();
    }
    new
}

/// The name of what takes a segment's place: `…-5.parquet`, `…-5.r1.parquet`, `…-5.r2.parquet`.
fn next_name(file: &str) -> Option<String> {
    let (before, number) = file.strip_suffix(".parquet")?.rsplit_once('-')?;
    let (first_seq, times) = match number.split_once(".r") {
        Some((first_seq, times)) => (first_seq, times.parse::<u32>().ok()?),
        None => (number, 0),
    };
    Some(format!("{before}-{first_seq}.r{}.parquet", times.checked_add(1)?))
}
