//! One person: their tags and their records.
//!
//! Records are found by the index of each segment, or its columns where there is no index of it, and by going through the
//! journal; what an erasure left is looked for in the columns only. Needs a grant for the purpose `subject-rights`. Shows a
//! record only when one of its tags is the person's. What is behind damage nobody can search: the files are named, and an
//! erasure is not done while there are any. Bound: the numbers of the person's records; one row group or frame of records.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::book::{BookError, Counts, Erasure};
use super::index::{Found, TAG_COLUMNS, look_up, tags_of};
use super::live::Unseen;
use super::ranges::Ranges;
use super::tag::{Identifier, Tag, Tagger};
use crate::clock::Timestamp;
use crate::record::{Class, Column, Row};
use crate::regular_file;
use crate::seal::{Day, KeyError, KeyProvider, Keyring};
use crate::store::files::{self, Begin};
use crate::store::frame::Mark;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::lock;
use crate::store::query::Grant;
use crate::store::query::sources::{Source, sources};
use crate::store::reader::{FrameReader, TimeRange};
use crate::store::sealed::Opener;
use crate::store::segments::{Entry, FOLDER as SEGMENTS, Manifest, Segment, SegmentError, Wanted};

/// How often the records are gone through anew because segments were replaced meanwhile.
const ATTEMPTS: u32 = 20;

/// Whoever has these tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Sorted, each once.
    tags: Vec<Tag>,
    /// Versions of K-subject: everybody whose records bear a tag of one of them. Empty but in [`Self::of_versions`].
    versions: Vec<u32>,
}

/// In what a segment is searched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Its index, where that is what was written for it.
    Index,
    /// Its columns.
    Columns,
}

/// What a search for a person's records came to.
#[derive(Debug, Default)]
pub(in crate::store) struct Search {
    /// The numbers of the records.
    pub(in crate::store) rows: Ranges,
    /// What there is of them.
    pub(in crate::store) found: Erasure,
    /// Files that could not be searched to their end.
    pub(in crate::store) damaged: BTreeSet<PathBuf>,
}

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The book.
    #[error(transparent)]
    Book(#[from] BookError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file of the records.
    #[error("the records cannot be read")]
    Records(#[from] io::Error),
    /// The segments.
    #[error(transparent)]
    Segments(#[from] SegmentError),
    /// A running gateway.
    #[error(transparent)]
    Unseen(#[from] Unseen),
    /// The journal of an earlier run.
    #[error("the journal of an earlier run cannot be closed")]
    Journal(#[from] crate::store::StartError),
    /// The segments changed all the time.
    #[error("segments were replaced or removed while they were read; repeat the command")]
    Restless,
    /// A key that was not destroyed is missing, so nobody knows whose these records are.
    #[error("{} cannot be searched: a key is missing that was not destroyed; name the keys folder with --keys", .0.display())]
    Locked(PathBuf),
    /// Records are left although everything was done.
    #[error(
        "{0} records could not be erased: a journal file is damaged and kept as it is (see the log); they stay hidden"
    )]
    Left(u64),
    /// Nobody can say whether records are left.
    #[error(
        "files are damaged, and nobody can say whether records are left in them: {}; what was found is erased or stays hidden",
        names(.0)
    )]
    Damaged(BTreeSet<PathBuf>),
    /// Something keeps the records of some days.
    #[error("nothing was erased: {}", .0.join(", "))]
    Held(Vec<String>),
    /// Keys are still needed.
    #[error(
        "key {0} is still needed by a file and was not destroyed; the records are erased, repeat the command for the keys"
    )]
    KeyInUse(String),
    /// Somebody else lifted the block.
    #[error("the block was lifted by somebody else while it was set")]
    Lifted,
}

impl Person {
    /// The person with these identifiers and tags; `None` when there are none.
    #[must_use]
    pub fn of(tagger: &Tagger, identifiers: &[Identifier<'_>], tags: &[Tag]) -> Option<Self> {
        let of_identifiers = identifiers.iter().flat_map(|identifier| tagger.every(identifier));
        Self::with(of_identifiers.chain(tags.iter().copied()))
    }

    /// The person with these tags.
    pub(in crate::store) fn with(tags: impl IntoIterator<Item = Tag>) -> Option<Self> {
        let tags: BTreeSet<Tag> = tags.into_iter().collect();
        (!tags.is_empty()).then(|| Self { tags: tags.into_iter().collect(), versions: Vec::new() })
    }

    /// Everybody whose records bear a tag of these versions of K-subject.
    pub(super) fn of_versions(versions: &[u32]) -> Self {
        Self { tags: Vec::new(), versions: versions.to_vec() }
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Whether a record is the person's.
    pub(in crate::store) fn is_of(&self, row: &Row<'_>) -> bool {
        tags_of(row).any(|tag| self.tags.binary_search(&tag).is_ok() || self.versions.contains(&tag.version))
    }

    /// Hands every record of the person to `each`, except those that were erased; the oldest file first. The files that
    /// could not be read to their end.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn records(
        &self,
        dir: &Path,
        grant: &Grant,
        keys: Arc<dyn KeyProvider>,
        mut each: impl FnMut(&Row<'_>),
    ) -> Result<BTreeSet<PathBuf>, SubjectError> {
        let keyring = Keyring::of_a_person(grant, keys);
        let segments = dir.join(SEGMENTS);
        let mut damaged = BTreeSet::new();
        for source in sources(dir, &TimeRange::default())? {
            match source {
                Source::Segment(entry) => {
                    let path = segments.join(&entry.file);
                    let numbers = match look_up((&path, &entry), &keyring, &self.tags)? {
                        Found::Gone => continue,
                        Found::Rows(rows) if rows.is_empty() => continue,
                        Found::Rows(rows) => Some(rows),
                        Found::Unknown => None,
                    };
                    let wanted = Wanted { tried: Vec::new(), shown: None };
                    let opened = Segment::open(&path, &keyring, &wanted);
                    let Some(opened) = or_damaged(opened, &path, &mut damaged)? else { continue };
                    let segment = match opened {
                        Some(segment) => segment,
                        None if is_missing(dir, &entry)? => {
                            damaged.insert(path);
                            continue;
                        }
                        None => return Err(SubjectError::Restless),
                    };
                    for group in segment.groups(&TimeRange::default()) {
                        let read = segment.rows(group, |row| {
                            let near = numbers.as_ref().is_none_or(|numbers| numbers.contains(row.seq));
                            if near && self.is_of(row) {
                                each(row);
                            }
                            ControlFlow::Continue(())
                        });
                        or_damaged(read, &path, &mut damaged)?;
                    }
                }
                source => {
                    self.of_journal(source, &keyring, &mut damaged, &mut each)?;
                }
            }
        }
        Ok(damaged)
    }

    /// The numbers of the person's records that were recorded until then, and what there is of them; complete: what is
    /// replaced while it is read is read again, and a key that is missing is an error.
    pub(in crate::store) fn numbers(
        &self,
        dir: &Path,
        keys: &Arc<dyn KeyProvider>,
        until: Option<Timestamp>,
    ) -> Result<Search, SubjectError> {
        // An index has no list of versions.
        let by = if self.versions.is_empty() { By::Index } else { By::Columns };
        self.search((dir, keys), until, by)
    }

    /// What an erasure left of the records from before that time: as [`Self::numbers`], whatever the indexes say.
    pub(in crate::store) fn left(
        &self,
        dir: &Path,
        keys: &Arc<dyn KeyProvider>,
        until: Timestamp,
    ) -> Result<Search, SubjectError> {
        self.search((dir, keys), Some(until), By::Columns)
    }

    fn search(
        &self,
        (dir, keys): (&Path, &Arc<dyn KeyProvider>),
        until: Option<Timestamp>,
        by: By,
    ) -> Result<Search, SubjectError> {
        let keyring = Keyring::of_the_store(Arc::clone(keys));
        let segments = dir.join(SEGMENTS);
        let (mut known, mut found) = (Ranges::default(), Erasure::default());
        for _ in 0..ATTEMPTS {
            let (mut whole, mut damaged) = (true, BTreeSet::new());
            for source in sources(dir, &TimeRange::default())? {
                let before = known.numbers();
                // Numbers are given once: what was counted in a file that was replaced is not counted again.
                let mut note = |row: &Row<'_>| {
                    if until.is_none_or(|until| row.ts <= until) && !known.contains(row.seq) {
                        known.add(row.seq, row.seq);
                        found.days.entry(Day::of(row.ts).to_string()).or_default().add(row);
                    }
                };
                match source {
                    Source::Segment(entry) => {
                        let segment = (segments.as_path(), &entry);
                        let there = self.of_segment(segment, (&keyring, by), &mut damaged, &mut note)?;
                        if !there && is_missing(dir, &entry)? {
                            damaged.insert(segments.join(&entry.file));
                        } else {
                            whole &= there;
                        }
                        found.segments += u64::from(known.numbers() > before);
                    }
                    source => {
                        whole &= self.of_journal(source, &keyring, &mut damaged, &mut note)?;
                        found.journal_files += u64::from(known.numbers() > before);
                    }
                }
            }
            if whole {
                return Ok(Search { rows: known, found, damaged });
            }
        }
        Err(SubjectError::Restless)
    }

    /// The numbers of the person's records in one segment that were recorded until then; `None` when it cannot be read.
    pub(in crate::store) fn in_segment(
        &self,
        segment: (&Path, &Entry),
        keys: &Arc<dyn KeyProvider>,
        until: Timestamp,
    ) -> Result<Option<BTreeSet<u64>>, SubjectError> {
        let keyring = Keyring::of_the_store(Arc::clone(keys));
        let (mut found, mut damaged) = (BTreeSet::new(), BTreeSet::new());
        self.of_segment(segment, (&keyring, By::Index), &mut damaged, &mut |row| {
            if row.ts <= until {
                found.insert(row.seq);
            }
        })?;
        Ok(damaged.is_empty().then_some(found))
    }

    /// Whether the journal holds a record of the person that was recorded until then.
    pub(in crate::store) fn is_in_journal(
        &self,
        dir: &Path,
        keys: &Arc<dyn KeyProvider>,
        until: Timestamp,
    ) -> Result<bool, SubjectError> {
        let keyring = Keyring::of_the_store(Arc::clone(keys));
        let mut found = false;
        // The search at the end tells.
        let mut damaged = BTreeSet::new();
        for name in files::list(&dir.join(JOURNAL))? {
            let source = Source::Unopened(name);
            self.of_journal(source, &keyring, &mut damaged, &mut |row| found |= row.ts <= until)?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The person's records of a segment of that folder; `false` when it is gone. One that cannot be read to its end is
    /// added to `damaged`.
    fn of_segment(
        &self,
        (folder, entry): (&Path, &Entry),
        (keyring, by): (&Keyring, By),
        damaged: &mut BTreeSet<PathBuf>,
        each: &mut dyn FnMut(&Row<'_>),
    ) -> Result<bool, SubjectError> {
        let path = &*folder.join(&entry.file);
        if by == By::Index {
            match look_up((path, entry), keyring, &self.tags)? {
                Found::Gone => return Ok(true),
                Found::Rows(rows) if rows.is_empty() => return Ok(true),
                Found::Rows(_) | Found::Unknown => {}
            }
        }
        let columns = TAG_COLUMNS.iter().filter_map(|id| Column::by_id(*id)).collect();
        let wanted = Wanted { tried: columns, shown: None };
        let opened = Segment::open(path, keyring, &wanted);
        let Some(opened) = or_damaged(opened, path, damaged)? else { return Ok(true) };
        let Some(segment) = opened else { return Ok(false) };
        if segment.locked() {
            return Err(SubjectError::Locked(path.to_owned()));
        }
        for group in segment.groups(&TimeRange::default()) {
            let mut of_person = |row: &Row<'_>| {
                each(row);
                ControlFlow::Continue(())
            };
            let read = segment.newest_first(group, |row| self.is_of(row), &mut of_person);
            or_damaged(read, path, damaged)?;
        }
        Ok(true)
    }

    /// The person's records of a journal file; `false` when it is gone. One that cannot be read to its end is added to
    /// `damaged`.
    fn of_journal(
        &self,
        source: Source,
        keyring: &Keyring,
        damaged: &mut BTreeSet<PathBuf>,
        each: &mut dyn FnMut(&Row<'_>),
    ) -> Result<bool, SubjectError> {
        let (name, file) = match source {
            Source::Journal(name, file) => (name, file),
            Source::Segment(..) => return Ok(true),
            Source::Damaged(path) => {
                damaged.insert(path);
                return Ok(true);
            }
            Source::Unopened(name) => match regular_file::open(&name.path) {
                Ok(file) => (name, file),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(cause) => return Err(cause.into()),
            },
        };
        let (head, at) = match files::begin(&file)? {
            Begin::Head(head, at) => (head, at),
            Begin::Unbegun => return Ok(true),
            Begin::Damaged => {
                damaged.insert(name.path);
                return Ok(true);
            }
        };
        // Before its frames: a file that is closed meanwhile is read to what it was.
        let end = files::end(&file)?;
        let opener = Opener::new(&head, keyring).map_err(|error| error.of(&name.path))?;
        let Some(mut opener) = opener else { return Ok(true) };
        if opener.locked() {
            return Err(SubjectError::Locked(name.path));
        }
        let mut frames = FrameReader::new(at);
        let mut next_seq = head.first_seq;
        while let Some(frame) = frames.next(&file)?.filter(|frame| frame.mark == Mark::Records) {
            // What was changed on purpose is shown to nobody: no reader gets behind this place.
            let Ok(batch) = opener.open(&frame) else { break };
            next_seq = frame.first_seq + u64::from(frame.count);
            let _: ControlFlow<()> = batch.rows(|row| {
                if self.is_of(&row) {
                    each(&row);
                }
                ControlFlow::Continue(())
            });
        }
        let short = match end {
            Some(end) => end.next_seq != next_seq,
            // While it is being written, what is not whole there is newer than any order.
            None => {
                frames.damaged()
                    && !lock::living(name.path.parent().unwrap_or(&name.path))?.contains(&name.instance)
            }
        };
        if short {
            damaged.insert(name.path);
        }
        Ok(true)
    }
}

/// What was read of a segment; `None` where it is not what was written: then it is named.
fn or_damaged<T>(
    read: Result<T, SegmentError>,
    path: &Path,
    damaged: &mut BTreeSet<PathBuf>,
) -> Result<Option<T>, SubjectError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_damage() => {
            damaged.insert(path.to_owned());
            Ok(None)
        }
        Err(error) => Err(error.of(path).into()),
    }
}

/// Whether a segment should be there and is not.
fn is_missing(dir: &Path, entry: &Entry) -> Result<bool, SubjectError> {
    let folder = dir.join(SEGMENTS);
    let listed = Manifest::read(&folder).map_err(SegmentError::from)?.lists(&entry.file);
    Ok(listed && !folder.join(&entry.file).exists())
}

/// The names of files, for people.
fn names(files: &BTreeSet<PathBuf>) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    names.join(", ")
}

impl Counts {
    /// Counts a record.
    pub fn add(&mut self, row: &Row<'_>) {
        self.records += 1;
        for class in Class::ALL {
            self.classes[class as usize] += u64::from(row.has(class));
        }
    }
}
