//! One person: their tags and their records.
//!
//! Records are found by the index of each segment, or its columns where there is no index, and by going through the
//! journal. Needs a grant for the purpose `subject-rights`. Shows a record only when one of its tags is the person's.
//! Bound: the numbers of the person's records; one row group or frame of records.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::book::{BookError, Counts, Erasure};
use super::index::{Found, TAG_COLUMNS, look_up, tags_of};
use super::live::Unseen;
use super::ranges::Ranges;
use super::tag::{Identifier, Tag, Tagger};
use crate::clock::Timestamp;
use crate::record::{Class, Column, Row};
use crate::seal::{Day, KeyError, KeyProvider, Keyring};
use crate::store::files;
use crate::store::frame::Mark;
use crate::store::journal::FOLDER as JOURNAL;
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
    /// Sorted, each once; never empty.
    tags: Vec<Tag>,
}

/// What could not be searched for a person's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Files that are damaged or were changed: what is behind such a place is not found.
    pub damaged: u64,
}

/// How far a journal file was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// To its end, as far as anybody can.
    Whole,
    /// To a place that is damaged or was changed.
    Damaged,
    /// It is not there any more.
    Gone,
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
    Locked(std::path::PathBuf),
    /// Records are left although everything was done.
    #[error(
        "{0} records could not be erased: a journal file is damaged and kept as it is (see the log); they stay hidden"
    )]
    Left(u64),
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
        (!tags.is_empty()).then(|| Self { tags: tags.into_iter().collect() })
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Whether a record is the person's.
    pub(in crate::store) fn is_of(&self, row: &Row<'_>) -> bool {
        tags_of(row).any(|tag| self.tags.binary_search(&tag).is_ok())
    }

    /// Hands every record of the person to `each`, except those that were erased; the oldest file first. What could not
    /// be searched for them is told.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn records(
        &self,
        dir: &Path,
        grant: &Grant,
        keys: Arc<dyn KeyProvider>,
        mut each: impl FnMut(&Row<'_>),
    ) -> Result<Unread, SubjectError> {
        let keyring = Keyring::of_a_person(grant, keys);
        let segments = dir.join(SEGMENTS);
        let mut unread = Unread::default();
        for source in sources(dir, &TimeRange::default())? {
            match source {
                Source::Segment(entry) => {
                    let path = segments.join(&entry.file);
                    let numbers = match look_up(&path, &keyring, &self.tags)? {
                        Found::Gone => continue,
                        Found::Rows(rows) if rows.is_empty() => continue,
                        Found::Rows(rows) => Some(rows),
                        Found::Unknown => None,
                    };
                    let wanted = Wanted { tried: Vec::new(), shown: None };
                    let Some(segment) = Segment::open(&path, &keyring, &wanted)? else {
                        if !is_lost(&segments, &entry)? {
                            return Err(SubjectError::Restless);
                        }
                        unread.damaged += 1;
                        continue;
                    };
                    for group in segment.groups(&TimeRange::default()) {
                        let _: ControlFlow<()> = segment.rows(group, |row| {
                            let near = numbers.as_ref().is_none_or(|numbers| numbers.contains(row.seq));
                            if near && self.is_of(row) {
                                each(row);
                            }
                            ControlFlow::Continue(())
                        })?;
                    }
                }
                source => {
                    let read = self.of_journal(source, &keyring, &mut each)?;
                    unread.damaged += u64::from(read == Read::Damaged);
                }
            }
        }
        Ok(unread)
    }

    /// The numbers of the person's records that were recorded until then, and what there is of them; complete: what is
    /// replaced while it is read is read again, and a key that is missing is an error.
    pub(in crate::store) fn numbers(
        &self,
        dir: &Path,
        keys: &Arc<dyn KeyProvider>,
        until: Option<Timestamp>,
    ) -> Result<(Ranges, Erasure), SubjectError> {
        let keyring = Keyring::of_the_store(Arc::clone(keys));
        let segments = dir.join(SEGMENTS);
        let (mut known, mut found) = (Ranges::default(), Erasure::default());
        for _ in 0..ATTEMPTS {
            let mut whole = true;
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
                        whole &= self.of_segment(&segments.join(&entry.file), &keyring, &mut note)?;
                        found.segments += u64::from(known.numbers() > before);
                    }
                    source => {
                        whole &= self.of_journal(source, &keyring, &mut note)? != Read::Gone;
                        found.journal_files += u64::from(known.numbers() > before);
                    }
                }
            }
            if whole {
                return Ok((known, found));
            }
        }
        Err(SubjectError::Restless)
    }

    /// The numbers of the person's records in one segment that were recorded until then.
    pub(in crate::store) fn in_segment(
        &self,
        path: &Path,
        keys: &Arc<dyn KeyProvider>,
        until: Timestamp,
    ) -> Result<BTreeSet<u64>, SubjectError> {
        let keyring = Keyring::of_the_store(Arc::clone(keys));
        let mut found = BTreeSet::new();
        self.of_segment(path, &keyring, &mut |row| {
            if row.ts <= until {
                found.insert(row.seq);
            }
        })?;
        Ok(found)
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
        for name in files::list(&dir.join(JOURNAL))? {
            self.of_journal(Source::Unopened(name), &keyring, &mut |row| found |= row.ts <= until)?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The person's records of a segment; `false` when it is gone.
    fn of_segment(
        &self,
        path: &Path,
        keyring: &Keyring,
        each: &mut dyn FnMut(&Row<'_>),
    ) -> Result<bool, SubjectError> {
        match look_up(path, keyring, &self.tags)? {
            Found::Gone => return Ok(true),
            Found::Rows(rows) if rows.is_empty() => return Ok(true),
            Found::Rows(_) | Found::Unknown => {}
        }
        let columns = TAG_COLUMNS.iter().filter_map(|id| Column::by_id(*id)).collect();
        let wanted = Wanted { tried: columns, shown: None };
        let Some(segment) = Segment::open(path, keyring, &wanted)? else { return Ok(false) };
        if segment.locked() {
            return Err(SubjectError::Locked(path.to_owned()));
        }
        for group in segment.groups(&TimeRange::default()) {
            let _: ControlFlow<()> = segment.newest_first(
                group,
                |row| self.is_of(row),
                |row| {
                    each(row);
                    ControlFlow::Continue(())
                },
            )?;
        }
        Ok(true)
    }

    /// The person's records of a journal file.
    fn of_journal(
        &self,
        source: Source,
        keyring: &Keyring,
        each: &mut dyn FnMut(&Row<'_>),
    ) -> Result<Read, SubjectError> {
        let (name, file) = match source {
            Source::Journal(name, file) => (name, file),
            Source::Segment(..) => return Ok(Read::Whole),
            Source::Unopened(name) => match std::fs::File::open(&name.path) {
                Ok(file) => (name, file),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Read::Gone),
                Err(cause) => return Err(cause.into()),
            },
        };
        let Some((head, at)) = files::head(&file)? else { return Ok(Read::Whole) };
        let opener = Opener::new(&head, keyring).map_err(|error| error.of(&name.path))?;
        let Some(mut opener) = opener else { return Ok(Read::Whole) };
        if opener.locked() {
            return Err(SubjectError::Locked(name.path));
        }
        let mut frames = FrameReader::new(at);
        while let Some(frame) = frames.next(&file)?.filter(|frame| frame.mark == Mark::Records) {
            // What was changed on purpose is shown to nobody: no reader gets behind this place.
            let Ok(batch) = opener.open(&frame) else { return Ok(Read::Damaged) };
            let _: ControlFlow<()> = batch.rows(|row| {
                if self.is_of(&row) {
                    each(&row);
                }
                ControlFlow::Continue(())
            });
        }
        Ok(if frames.damaged() { Read::Damaged } else { Read::Whole })
    }
}

/// Whether a segment that is not there should be: neither removed nor replaced since the manifest was read.
fn is_lost(segments: &Path, entry: &Entry) -> io::Result<bool> {
    let manifest = Manifest::read(segments).map_err(io::Error::other)?;
    Ok(manifest.covering(entry.first_seq).is_some_and(|now| now.file == entry.file))
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
