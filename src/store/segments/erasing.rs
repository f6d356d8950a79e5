//! Carries out an erasure whose records are known and hidden: afterwards no file below the data folder holds them.
//!
//! Journal files that are closed become segments without them, segments that hold them are written anew, torn pieces of
//! journal files are removed. With new keys for the days, the old ones are destroyed when nothing needs them any more.
//! Then the columns of everything are searched once more. Whoever does this has the sole right to change segments. Never touches a
//! segment without a record of the person, except for new keys. Bound: one segment at a time; [`LONGEST`].

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::SegmentError;
use super::background::SETTLE;
use super::compact::Work;
use super::manifest::{Manifest, Rewritten};
use super::rewrite::{Rewriter, Without};
use super::sole::Sole;
use super::step::NoFaults;
use crate::clock::{Timestamp, monotonic};
use crate::regular_file;
use crate::seal::{Day, KeyClass, KeyId, KeyProvider};
use crate::store::files;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::recovery::QUARANTINE;
use crate::store::subjects::book::Change;
use crate::store::subjects::{
    Book, Editor, Erasure, PATIENCE, Person, State, Stop, SubjectError, TagSeal, Tombstone,
    wait_until_closed, wait_until_seen,
};

/// How long closed journal files are waited for.
const LONGEST: Duration = Duration::from_secs(120);
/// Between two looks at the journal.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The sole right to change the segments of a folder, in the hands of a command that erases.
pub(in crate::store) struct Erasing {
    work: Work,
    now: fn() -> Timestamp,
    _sole: Sole,
}

impl Erasing {
    /// Takes the right as soon as no compactor works.
    ///
    /// # Errors
    /// When it is not free in time.
    pub(in crate::store) fn begin(
        dir: &Path,
        keys: &Arc<dyn KeyProvider>,
        now: fn() -> Timestamp,
    ) -> Result<Self, SubjectError> {
        let work = Work {
            dir: dir.to_owned(),
            keys: Arc::clone(keys),
            stats: Arc::default(),
            stop: Arc::default(),
            faults: Box::new(NoFaults),
            journal: None,
            settle: SETTLE,
            unsettled: false,
            damaged: BTreeSet::new(),
            gone: Arc::default(),
            complete: None,
            stuck: BTreeSet::new(),
        };
        let sole = Sole::wait(&work.folder()?, LONGEST)?;
        work.sweep()?;
        work.accounted()?;
        Ok(Self { work, now, _sole: sole })
    }

    /// See [`Work::carry_out`].
    ///
    /// # Errors
    /// As there.
    pub(in crate::store) fn carry_out(mut self, id: u32, stop: Stop<'_>) -> Result<(), SubjectError> {
        self.work.carry_out(id, self.now, stop)
    }
}

impl Work {
    /// Erases what a tombstone hides, if that is its order and not done yet. The caller has the sole right.
    ///
    /// # Errors
    /// When a file or key cannot be used, or records are left. What was done holds; the rest is done by the next call.
    pub(super) fn carry_out(
        &mut self,
        id: u32,
        now: fn() -> Timestamp,
        stop: Stop<'_>,
    ) -> Result<(), SubjectError> {
        let Some((mut tombstone, person)) = self.order(id)? else { return Ok(()) };
        self.wait_for_files(&tombstone)?;
        if tombstone.rotate && tombstone.rotated.is_none() {
            self.rotate(&tombstone, now)?;
            stop("rotated")?;
            let Some((again, _)) = self.order(id)? else { return Ok(()) };
            tombstone = again;
            self.wait_for_files(&tombstone)?;
        }
        let old_keys = tombstone.rotated.clone().unwrap_or_default();
        self.empty_journal(&person, &tombstone, &old_keys, now)?;
        stop("compacted")?;
        self.rewrite_segments(&person, &tombstone, &old_keys, (now, stop))?;
        let torn = self.remove_torn()?;
        stop("rewritten")?;
        // By the columns themselves: what is certified does not rest on an index.
        let left = person.left(&self.dir, &self.keys, tombstone.at)?;
        if !left.rows.is_empty() {
            return Err(SubjectError::Left(left.rows.numbers()));
        }
        if !left.damaged.is_empty() {
            return Err(SubjectError::Damaged(left.damaged));
        }
        let keys = self.destroy(&old_keys)?;
        stop("destroyed")?;
        let done = Erasure { torn, keys, ..tombstone.found.clone() };
        self.note_done(&person, (id, done), now())
    }

    /// Erases records that were erased before and are there again, because a backup was put back. The journal's are left
    /// out by every pass; these are the segments'. The caller has the sole right.
    ///
    /// # Errors
    /// When a file or key cannot be used.
    pub(super) fn erase_again(&self, now: fn() -> Timestamp) -> Result<(), SubjectError> {
        let book = Book::read(&self.dir)?;
        for tombstone in book.tombstones().filter(|t| t.state == State::Erased) {
            let tags = TagSeal::new(&*self.keys)?.open(tombstone)?;
            let Some(person) = Person::with(tags) else { continue };
            self.rewrite_segments(&person, tombstone, &[], (now, &|_| Ok(())))?;
        }
        Ok(())
    }

    /// The tombstone and whom it is about, if it waits for this.
    fn order(&self, id: u32) -> Result<Option<(Tombstone, Person)>, SubjectError> {
        let book = Book::read(&self.dir)?;
        let Some(tombstone) = book.get(id).filter(|t| t.state == State::Resolved) else { return Ok(None) };
        let tags = TagSeal::new(&*self.keys)?.open(tombstone)?;
        Ok(Person::with(tags).map(|person| (tombstone.clone(), person)))
    }

    /// The files that were written when it was ordered are closed after this.
    fn wait_for_files(&self, tombstone: &Tombstone) -> Result<(), SubjectError> {
        let left = wait_until_seen(&self.dir, tombstone.asked, PATIENCE)?;
        Ok(wait_until_closed(&self.dir, &left, PATIENCE)?)
    }

    /// Gives the days new keys, and has running gateways use them.
    fn rotate(&self, tombstone: &Tombstone, now: fn() -> Timestamp) -> Result<(), SubjectError> {
        let days: BTreeSet<Day> = tombstone.found.days.keys().filter_map(|day| day.parse().ok()).collect();
        let sealing = |key: &KeyId| days.contains(&key.day) && key.class.class().is_some();
        let old: Vec<KeyId> = self.keys.list()?.into_iter().filter(sealing).collect();
        let of_a_day: BTreeSet<(KeyClass, Day)> = old.iter().map(|key| (key.class, key.day)).collect();
        for (class, day) in of_a_day {
            self.keys.rotate(class, day)?;
        }
        let keys = old.iter().map(ToString::to_string).collect();
        Ok(Editor::open(&self.dir)?.append(&[Change::Rotated { id: tombstone.id, keys }], now())?)
    }

    /// Makes segments of the closed journal files until none holds a record of the person or needs an old key.
    fn empty_journal(
        &mut self,
        person: &Person,
        tombstone: &Tombstone,
        old_keys: &[String],
        now: fn() -> Timestamp,
    ) -> Result<(), SubjectError> {
        let deadline = monotonic() + LONGEST;
        loop {
            let folder = self.folder()?;
            self.pass(&mut Manifest::read(&folder).map_err(SegmentError::from)?, now())?;
            let holds = person.is_in_journal(&self.dir, &self.keys, tombstone.at)?
                || self.in_journal(old_keys)?.is_some();
            if !holds || monotonic() >= deadline {
                return Ok(());
            }
            if !self.unsettled {
                // Nothing that time would change: a damaged file, which the search at the end tells.
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn rewrite_segments(
        &self,
        person: &Person,
        tombstone: &Tombstone,
        old_keys: &[String],
        (now, stop): (fn() -> Timestamp, Stop<'_>),
    ) -> Result<(), SubjectError> {
        let folder = self.folder()?;
        let mut manifest = Manifest::read(&folder).map_err(SegmentError::from)?;
        let rewriter =
            Rewriter { folder: &folder, keys: &self.keys, stop: &self.stop, faults: &*self.faults };
        for entry in manifest.entries().to_vec() {
            let rows = if tombstone.rows.touches(entry.first_seq, entry.last_seq) {
                // One that cannot be read is told by the search at the end.
                let found = person.in_segment((&folder, &entry), &self.keys, tombstone.at)?;
                let Some(found) = found else { continue };
                found
            } else {
                BTreeSet::new()
            };
            let needs_old = entry.keys.iter().any(|key| old_keys.contains(key));
            if rows.is_empty() && !needs_old {
                continue;
            }
            let reason = if rows.is_empty() { Rewritten::Keys } else { Rewritten::Erased };
            let without = Without { rows, columns: Vec::new(), reason };
            rewriter.rewrite(&mut manifest, &entry, &without, now())?;
            stop("one rewritten")?;
        }
        self.tell(&manifest);
        Ok(())
    }

    /// Torn pieces may hold anything, and are sealed with keys of files that are gone.
    fn remove_torn(&self) -> Result<u64, SubjectError> {
        let folder = self.dir.join(JOURNAL).join(QUARANTINE);
        let mut removed = 0;
        match std::fs::read_dir(&folder) {
            Ok(pieces) => {
                for piece in pieces {
                    let path = piece?.path();
                    if is_of_a_file(&path) {
                        // Its name remembers that the loss was told.
                        OpenOptions::new().write(true).truncate(true).open(&path)?.sync_all()?;
                    } else {
                        std::fs::remove_file(&path)?;
                    }
                    removed += 1;
                }
                File::open(&folder)?.sync_all()?;
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause.into()),
        }
        Ok(removed)
    }

    /// Destroys keys that nothing needs any more; their names.
    fn destroy(&self, old_keys: &[String]) -> Result<Vec<String>, SubjectError> {
        let folder = self.folder()?;
        let manifest = Manifest::read(&folder).map_err(SegmentError::from)?;
        let in_segment = old_keys.iter().find(|key| manifest.entries().iter().any(|e| e.keys.contains(key)));
        if let Some(key) = in_segment.cloned().or(self.in_journal(old_keys)?) {
            return Err(SubjectError::KeyInUse(key));
        }
        for key in old_keys.iter().filter_map(|key| key.parse().ok()) {
            self.keys.destroy(&key)?;
        }
        Ok(old_keys.to_vec())
    }

    /// A key among these that a file of the journal needs.
    fn in_journal(&self, old_keys: &[String]) -> Result<Option<String>, SubjectError> {
        if old_keys.is_empty() {
            return Ok(None);
        }
        for name in files::list(&self.dir.join(JOURNAL))? {
            let head = match regular_file::open(&name.path) {
                Ok(file) => files::head(&file)?,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
                Err(cause) => return Err(cause.into()),
            };
            let used = head.map(|(head, _)| head.keys).unwrap_or_default();
            if let Some(key) = used.iter().map(|key| key.id.to_string()).find(|key| old_keys.contains(key)) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The end of an erasure, and of blocks that were of the same person: the check is over.
    fn note_done(
        &self,
        person: &Person,
        (id, done): (u32, Erasure),
        now: Timestamp,
    ) -> Result<(), SubjectError> {
        let seal = TagSeal::new(&*self.keys)?;
        let mut editor = Editor::open(&self.dir)?;
        if editor.book().get(id).is_none_or(|t| t.state != State::Resolved) {
            return Ok(());
        }
        let mut changes = vec![Change::Erased { id, done }];
        for block in editor.book().tombstones().filter(|t| t.blocks()) {
            if seal.open(block)?.iter().all(|tag| person.tags().contains(tag)) {
                changes.push(Change::Unblock { id: block.id });
            }
        }
        Ok(editor.append(&changes, now)?)
    }
}

/// Whether the journal file is still there that a piece was copied from.
fn is_of_a_file(piece: &Path) -> bool {
    let stem = piece.file_stem().and_then(|stem| stem.to_str());
    let file = stem.and_then(|stem| stem.rsplit_once('-')).map(|(file, _)| format!("{file}.kjl"));
    let journal = piece.parent().and_then(Path::parent);
    journal.zip(file).is_some_and(|(journal, file)| journal.join(file).is_file())
}
