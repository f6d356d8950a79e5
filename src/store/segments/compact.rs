//! One pass over the journal: what is closed becomes segments, and only then goes.
//!
//! Order of every segment: temporary file, sync, name, sync of the folders, line in the manifest, sync; then the
//! journal files that it covers are removed. A crash between any two steps loses nothing and shows nothing twice: what
//! has no line is an orphan and is removed at the next start if its records are elsewhere ([`super::orphans`]), journal
//! files that are covered are removed by the next pass. A closed file that cannot be read to its end is kept as it is.
//! Bound: [`SEGMENT_ROWS`] rows of a segment.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::SegmentError;
use super::manifest::{Change, Entry, Manifest};
use super::orphans::{listed, unlisted};
use super::schema;
use super::stats::SegmentStats;
use super::step::{Faults, Step};
use super::write::{Origin, SegmentWriter, Written};
use crate::clock::Timestamp;
use crate::record::{Row, SCHEMA_VERSION};
use crate::regular_file;
use crate::seal::{Day, KeyProvider, Keyring};
use crate::store::disk::sync_folder;
use crate::store::enrich::Complete;
use crate::store::files::{self, Begin, End, FileName};
use crate::store::frame::Mark;
use crate::store::head::FileHead;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::reader::FrameReader;
use crate::store::sealed::Opener;
use crate::store::stats::Stats;
use crate::store::subjects::{Editor, HiddenRows, INDEX_ENDING, Ranges, Tombstone};

/// Rows after which a segment takes no further journal file.
const SEGMENT_ROWS: u64 = 1_000_000;
/// Bytes of journal files after which a segment takes no further one.
const SEGMENT_SOURCE_BYTES: u64 = 512 << 20;

/// What a pass works with.
pub(super) struct Work {
    /// The data folder.
    pub(super) dir: PathBuf,
    pub(super) keys: Arc<dyn KeyProvider>,
    pub(super) stats: Arc<SegmentStats>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) faults: Box<dyn Faults>,
    /// The figures of the journal, whose writer tells what is lost; `None` for a command, which leaves that to a gateway.
    pub(super) journal: Option<Arc<Stats>>,
    /// How long a closed file stays where it is, so that who follows the journal reads it to its end.
    pub(super) settle: Duration,
    /// A closed file was left because it had not stayed long enough.
    pub(super) unsettled: bool,
    /// Closed files that cannot be read to their end.
    pub(super) damaged: BTreeSet<PathBuf>,
    /// Adds what records had no time for when they were written.
    pub(super) complete: Option<Box<dyn Complete>>,
    /// Segments with dead columns that cannot be written anew.
    pub(super) stuck: BTreeSet<String>,
    /// Records that were erased: those that are met in the journal are left out.
    pub(super) gone: Arc<HiddenRows>,
}

/// How far a closed file could be copied.
enum Copied {
    Whole,
    /// A key is not there that may come back, or nobody can read the file any more.
    Locked,
    /// To this record, and this place in the file.
    Until {
        next_seq: u64,
        at: u64,
    },
}

/// A closed journal file.
struct Closed {
    name: FileName,
    file: File,
    head: FileHead,
    /// Where its first frame begins.
    at: u64,
    end: End,
    bytes: u64,
    modified: Timestamp,
}

impl Work {
    /// The folder of the segments; made when it is not there.
    pub(super) fn folder(&self) -> Result<PathBuf, SegmentError> {
        let folder = self.dir.join(super::FOLDER);
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            sync_folder(&folder)?;
        }
        Ok(folder)
    }

    /// Makes segments of everything that is closed; how many. The caller has the lock.
    pub(super) fn pass(&mut self, manifest: &mut Manifest, now: Timestamp) -> Result<u64, SegmentError> {
        let folder = self.folder()?;
        self.gone = HiddenRows::erased(&self.dir)?;
        let closed = self.uncovered(manifest, now)?;
        self.stats.waiting(closed.iter().map(|c| c.end.ts).min());
        let mut made = 0;
        for group in groups(closed) {
            match self.close(&folder, manifest, &group, now) {
                Ok(()) => made += 1,
                // The rest of the journal does not wait for it.
                Err(SegmentError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let closed = self.uncovered(manifest, now)?;
        self.stats.waiting(closed.iter().map(|c| c.end.ts).min());
        self.tell(manifest);
        Ok(made)
    }

    /// Removes what a crash left: temporary files, and segments without a line in the manifest whose records are
    /// elsewhere; how many. Other segments without a line stay, and [`Self::accounted`] tells.
    pub(super) fn sweep(&self) -> Result<u64, SegmentError> {
        let folder = self.folder()?;
        let listed = listed(&folder)?;
        let manifest = Manifest::read(&folder)?;
        let unlisted = unlisted(&self.dir, &listed, &manifest)?;
        let entries = manifest.entries().iter().map(|e| &e.file);
        let stays: HashSet<&str> = entries.chain(&unlisted).map(String::as_str).collect();
        let mut removed = 0;
        for file in &listed {
            // The index of a segment stays with it.
            if stays.contains(file.strip_suffix(INDEX_ENDING).unwrap_or(file)) {
                continue;
            }
            let path = folder.join(file);
            tracing::warn!(file = %path.display(), "an unfinished segment of an earlier run is removed");
            std::fs::remove_file(&path)?;
            sync_folder(&path)?;
            removed += 1;
        }
        self.stats.unlisted.store(unlisted.len() as u64, Relaxed);
        self.tell(&manifest);
        Ok(removed)
    }

    /// Whether every segment had its line when [`Self::sweep`] looked: without that the manifest is not to be believed,
    /// and nothing is added to it.
    pub(super) fn accounted(&self) -> Result<(), SegmentError> {
        match self.stats.unlisted.load(Relaxed) {
            0 => Ok(()),
            unlisted => Err(SegmentError::Unlisted(unlisted)),
        }
    }

    /// Brings the figures up to date.
    pub(super) fn tell(&self, manifest: &Manifest) {
        self.stats.segments.store(manifest.entries().len() as u64, Relaxed);
        self.stats.bytes.store(manifest.entries().iter().map(|e| e.bytes).sum(), Relaxed);
        self.stats.damaged.store(self.damaged.len() as u64, Relaxed);
    }

    /// The closed files that are not in a segment yet. Those that are in one are removed on the way, and so are those
    /// without a record.
    fn uncovered(&mut self, manifest: &Manifest, now: Timestamp) -> Result<Vec<Closed>, SegmentError> {
        self.unsettled = false;
        let mut found = Vec::new();
        let mut covered = Vec::new();
        for name in files::list(&self.dir.join(JOURNAL))? {
            if self.damaged.contains(&name.path) {
                continue;
            }
            let Some(closed) = self.open(name, manifest)? else { continue };
            let empty = closed.end.next_seq == closed.head.first_seq;
            let segment = manifest.covering(closed.head.first_seq);
            if segment.is_some_and(|s| closed.end.next_seq <= s.last_seq + 1) || empty {
                covered.push(closed);
            } else if now.since(closed.modified) < self.settle {
                self.unsettled = true;
            } else if u64::from(closed.head.schema) <= SCHEMA_VERSION {
                // A newer version's columns would be lost: its own compactor takes them.
                found.push(closed);
            }
        }
        self.remove(&covered)?;
        Ok(found)
    }

    /// A file's head and end; `None` when it is not closed, gone, or damaged in its head.
    fn open(&mut self, name: FileName, manifest: &Manifest) -> Result<Option<Closed>, SegmentError> {
        let file = match regular_file::open(&name.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause.into()),
        };
        let Some(end) = files::end(&file)? else { return Ok(None) };
        let (head, at) = match files::begin(&file)? {
            Begin::Head(head, at) => (head, at),
            Begin::Unbegun => return Ok(None),
            Begin::Damaged => {
                self.headless(&name, &file, &end, manifest)?;
                return Ok(None);
            }
        };
        let metadata = file.metadata()?;
        let modified =
            Timestamp::from_secs(metadata.mtime()).plus(Duration::from_nanos(metadata.mtime_nsec() as u64));
        Ok(Some(Closed { name, file, head, at, end, bytes: metadata.len(), modified }))
    }

    /// Makes one segment of some files and removes them.
    fn close(
        &mut self,
        folder: &Path,
        manifest: &mut Manifest,
        group: &[Closed],
        now: Timestamp,
    ) -> Result<(), SegmentError> {
        let Some(first) = group.first() else { return Ok(()) };
        let origin = origin(&first.head);
        let day = folder.join(format!("dt={}", origin.day));
        if !day.is_dir() {
            DirBuilder::new().mode(0o700).create(&day)?;
            sync_folder(&day)?;
        }
        let name = name(&first.head);
        let temporary = day.join(format!("{name}.tmp"));
        let mut marked = Marked::new();
        let written = match self.write(&temporary, &origin, group, &mut marked) {
            Ok(written) => written,
            Err(error) => {
                // What cannot be removed now is an orphan for the next start.
                let _ = std::fs::remove_file(&temporary);
                return Err(error);
            }
        };
        self.faults.at(Step::FileSynced)?;
        let path = day.join(&name);
        let entry = entry(&origin, &written, &name);
        written.index.save((&path, &entry), &*self.keys, origin.day)?;
        std::fs::rename(&temporary, &path)?;
        self.faults.at(Step::Renamed)?;
        sync_folder(&path)?;
        self.faults.at(Step::NameSynced)?;
        // Marks end with the journal: before its rows can be read elsewhere, the book has their numbers.
        hide(&self.dir, &marked, now)?;
        let rows = entry.rows;
        manifest.append(folder, Change::Add(entry), now.as_micros(), &*self.faults)?;
        self.stats.records.fetch_add(rows, Relaxed);
        self.remove(group)?;
        Ok(())
    }

    fn write(
        &mut self,
        path: &Path,
        origin: &Origin,
        group: &[Closed],
        marked: &mut Marked,
    ) -> Result<Written, SegmentError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut writer = SegmentWriter::new(file, origin, schema::columns(), &*self.keys)?;
        let keyring = Keyring::of_the_store(Arc::clone(&self.keys));
        let mut reader = FrameReader::new(0);
        if let Some(complete) = &mut self.complete {
            complete.begin_segment();
        }
        for closed in group {
            match self.copy(closed, &keyring, &mut reader, (&mut writer, marked))? {
                Copied::Whole => {}
                Copied::Locked => return Err(self.keeps(&closed.name, "its keys are not there")),
                Copied::Until { next_seq, at } => {
                    self.lost(&closed.name, &closed.file, (at, Some(next_seq)), &closed.end)?;
                    return Err(self.keeps(&closed.name, "it is damaged"));
                }
            }
        }
        self.faults.at(Step::Begun)?;
        writer.finish()
    }

    /// Copies the rows of a file, as far as it is whole.
    fn copy(
        &mut self,
        closed: &Closed,
        keyring: &Keyring,
        reader: &mut FrameReader,
        (writer, marked): (&mut SegmentWriter, &mut Marked),
    ) -> Result<Copied, SegmentError> {
        let mut next = closed.head.first_seq;
        let opener = Opener::new(&closed.head, keyring).map_err(|error| error.of(&closed.name.path))?;
        // Without a key that may come back, its class would be lost.
        let Some(mut opener) = opener.filter(|opener| !opener.locked()) else { return Ok(Copied::Locked) };
        let mut room = Vec::new();
        reader.restart(closed.at, 0);
        let mut at = closed.at;
        while let Some(frame) = reader.next(&closed.file)?.filter(|f| f.mark == Mark::Records) {
            if self.stop.load(Relaxed) {
                return Err(SegmentError::Stopped);
            }
            let Ok(batch) = opener.open(&frame) else { break };
            if frame.first_seq != next {
                break;
            }
            let (complete, gone) = (&mut self.complete, &self.gone);
            let flow = batch.rows(|row| {
                next = row.seq + 1;
                if gone.hides(row.seq) {
                    writer.skip(&row);
                    return ControlFlow::Continue(());
                }
                row.marks().for_each(|mark| marked.entry(mark).or_default().add(row.seq, row.seq));
                match push(writer, &row, complete, &mut room) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => ControlFlow::Break(error),
                }
            });
            if let ControlFlow::Break(error) = flow {
                return Err(error);
            }
            if next != frame.first_seq + u64::from(frame.count) {
                break;
            }
            at = reader.position();
        }
        let whole = next == closed.end.next_seq;
        Ok(if whole { Copied::Whole } else { Copied::Until { next_seq: next, at } })
    }

    /// Removes journal files whose rows are in a segment for certain.
    fn remove(&self, files: &[Closed]) -> Result<(), SegmentError> {
        for closed in files {
            match std::fs::remove_file(&closed.name.path) {
                // Retention may have been faster.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
            self.faults.at(Step::Unlinked)?;
        }
        if let Some(closed) = files.first() {
            sync_folder(&closed.name.path)?;
            self.faults.at(Step::Done)?;
        }
        Ok(())
    }
}

/// Adds a row with what it still lacks.
fn push(
    writer: &mut SegmentWriter,
    row: &Row<'_>,
    complete: &mut Option<Box<dyn Complete>>,
    room: &mut Vec<u8>,
) -> Result<(), SegmentError> {
    match complete.as_mut().map_or(&[][..], |complete| complete.missing(row)) {
        [] => writer.push(row),
        more => writer.push(&row.with_clear(more, room)),
    }
}

/// The rows that marks hide, by tombstone.
type Marked = BTreeMap<u32, Ranges>;

/// Puts the numbers of marked rows into the book, for blocks that still hold.
fn hide(dir: &Path, marked: &Marked, now: Timestamp) -> Result<(), SegmentError> {
    if marked.is_empty() {
        return Ok(());
    }
    let mut editor = Editor::open(dir).map_err(io::Error::from)?;
    for (id, rows) in marked {
        if editor.book().get(*id).is_some_and(Tombstone::blocks) {
            editor.hide(*id, rows, None, now).map_err(io::Error::from)?;
        }
    }
    Ok(())
}

/// The files that go into one segment each: of one process and one day, without a hole between them.
fn groups(closed: Vec<Closed>) -> Vec<Vec<Closed>> {
    let mut groups: Vec<Vec<Closed>> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for file in closed {
        let of_file = file.end.next_seq - file.head.first_seq;
        let fits = groups.last().and_then(|group| group.last()).is_some_and(|before| {
            origin(&before.head) == origin(&file.head)
                && before.end.next_seq == file.head.first_seq
                && rows + of_file <= SEGMENT_ROWS
                && bytes + file.bytes <= SEGMENT_SOURCE_BYTES
        });
        if !fits {
            groups.push(Vec::new());
            (rows, bytes) = (0, 0);
        }
        rows += of_file;
        bytes += file.bytes;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups
}

fn origin(head: &FileHead) -> Origin {
    Origin {
        instance: head.instance,
        day: Day::of(head.created),
        schema: head.schema,
        node: head.node.clone(),
    }
}

/// `<hour>-<node>-<first seq>.parquet`
fn name(head: &FileHead) -> String {
    let hour = head.created.as_secs().div_euclid(3600).rem_euclid(24);
    let plain = |b: &u8| if b.is_ascii_alphanumeric() || b"._-".contains(b) { *b as char } else { '_' };
    let node: String = head.node.iter().map(plain).collect();
    format!("{hour:02}-{node}-{}.parquet", head.first_seq)
}

fn entry(origin: &Origin, written: &Written, name: &str) -> Entry {
    let span = &written.span;
    Entry {
        file: format!("dt={}/{name}", origin.day),
        bytes: written.bytes,
        sha256: written.sha256.clone(),
        rows: span.rows,
        erased: span.skipped,
        instance: origin.instance,
        first_seq: span.first_seq,
        last_seq: span.last_seq,
        first_ts: span.first_ts.as_micros(),
        last_ts: span.last_ts.as_micros(),
        earliest: span.earliest.as_micros(),
        schema: origin.schema,
        node: String::from_utf8_lossy(&origin.node).into_owned(),
        keys: written.keys.iter().map(ToString::to_string).collect(),
    }
}
