//! Going through the records, in segments and journal: newest first, or all of them by several threads.
//!
//! Needs a [`Grant`], decrypts and shows only what it opens, and counts the gaps that it passes. Files, frames and row
//! groups outside the asked time are not read further than their heads. Never writes. Bound: one block per thread; the
//! places of the frames of one file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::files::{self, Begin};
use super::super::frame::{Frame, Mark};
use super::super::journal::FOLDER;
use super::super::reader::{FrameReader, TimeRange};
use super::super::sealed::{Opener, Tampered};
use super::super::segments::{self, Entry, Manifest, Segment, SegmentError, Wanted};
use super::access::Grant;
use super::backwards;
use super::filter::Filter;
use super::predicate::Predicate;
use super::seen::Seen;
use super::sources::{Source, sources};
use super::work::Work;
use crate::clock::Timestamp;
use crate::record::{Column, Kind, Precision, Row};
use crate::regular_file;
use crate::seal::{KeyProvider, Keyring};

/// A granted scan of a data folder.
pub struct Scan {
    dir: PathBuf,
    keyring: Keyring,
    wanted: Wanted,
    range: TimeRange,
    pub(super) select: Select,
    work: Arc<Work>,
    addresses: Precision,
}

/// A file that is read: its opener, and where its first frame begins.
struct Part {
    path: PathBuf,
    file: File,
    opener: Opener,
    at: u64,
}

/// A piece of work for one thread.
pub(super) enum Piece {
    Source(Source),
    /// A row group of a segment.
    Group(Arc<Segment>, usize),
}

/// Which rows are wanted.
pub struct Select {
    pub(super) predicate: Predicate,
    /// Records of every kind; otherwise finished requests only.
    pub(super) any_kind: bool,
}

/// The folder above `journal` for a data folder: itself, or `records` in it.
#[must_use]
pub fn records_folder(data: &Path) -> Option<PathBuf> {
    [data.to_owned(), data.join("records")].into_iter().find(|folder| folder.join(FOLDER).is_dir())
}

impl Scan {
    /// A scan of a folder (the one above `journal`) for what the filter wants; `now` fixes its relative times.
    #[must_use]
    pub fn new(
        folder: &Path,
        grant: &Grant,
        keys: Arc<dyn KeyProvider>,
        filter: &Filter,
        now: Timestamp,
    ) -> Self {
        let predicate = Predicate::new(filter, now);
        let any_kind = filter.columns().any(|column| column.name == KIND);
        let (since, until) = predicate.range();
        let always = TRIED.iter().filter_map(|name| Column::by_name(name));
        Self {
            dir: folder.to_owned(),
            keyring: Keyring::new(grant, keys),
            wanted: Wanted { tried: filter.columns().chain(always).collect(), shown: None },
            range: TimeRange { since: Some(since), until: Some(until) },
            select: Select { predicate, any_kind },
            work: Arc::default(),
            addresses: Precision::Full,
        }
    }

    /// Says how much of addresses the rows show.
    #[must_use]
    pub const fn with_addresses(mut self, precision: Precision) -> Self {
        self.addresses = precision;
        self
    }

    /// How far the scan has come, for who shows it or wants to end it.
    #[must_use]
    pub const fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// Says that rows are asked for these columns only: of segments, no other is read.
    #[must_use]
    pub fn showing(mut self, columns: &[&'static Column]) -> Self {
        self.wanted.shown = Some(columns.to_vec());
        self
    }

    /// The keys of this read, for rows that come from elsewhere.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Which rows are wanted, for rows that come from elsewhere.
    #[must_use]
    pub const fn select(&self) -> &Select {
        &self.select
    }

    /// Hands every matching row to `each`, the newest first, until it breaks. Records of two processes that ran at the
    /// same time come one process after the other.
    ///
    /// # Errors
    /// When a file cannot be read. A file that retention removes meanwhile is passed over.
    pub fn newest_first(&self, mut each: impl FnMut(&Row<'_>) -> ControlFlow<()>) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for source in self.sources()?.into_iter().rev() {
            if self.work.stopped() || !self.source_backwards(source, &mut seen, &mut each)? {
                break;
            }
        }
        Ok(seen)
    }

    /// The matching rows of one file, the newest first; whether `each` always went on.
    pub(super) fn source_backwards(
        &self,
        source: Source,
        seen: &mut Seen,
        each: &mut impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        let bytes = source.bytes();
        let went_on = match source {
            Source::Segment(entry) => self.segment_backwards(&entry, seen, each)?,
            source => self.journal_backwards(source, seen, each)?,
        };
        self.work.did(bytes);
        Ok(went_on)
    }

    /// Hands every matching row whose number is at least `seq` to `each`, in the order of the files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn from_seq(&self, seq: u64, each: impl FnMut(&Row<'_>)) -> io::Result<Seen> {
        self.between(seq, u64::MAX, each)
    }

    /// Like [`Self::from_seq`], up to a last number.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn between(&self, seq: u64, last: u64, mut each: impl FnMut(&Row<'_>)) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut newer = |row: &Row<'_>| {
            if (seq..=last).contains(&row.seq) {
                each(row);
            }
        };
        // A part is looked for wherever it is: what is there counts, also when it is outside the asked time.
        let everywhere = TimeRange::default();
        for source in self.sources_of(if last == u64::MAX { &self.range } else { &everywhere })? {
            if self.work.stopped() {
                break;
            }
            let bytes = source.bytes();
            match source {
                Source::Segment(entry) if entry.last_seq < seq || entry.first_seq > last => {}
                Source::Segment(entry) => {
                    let Some(segment) = self.segment(&entry, &mut seen)? else { continue };
                    seen.in_segments += entry.last_seq.min(last) - entry.first_seq.max(seq) + 1;
                    for group in segment.groups(&self.range) {
                        self.group(&segment, group, &mut seen, &mut newer)?;
                    }
                }
                source => {
                    let Some(part) = self.open(source, &mut seen)? else { continue };
                    if files::end(&part.file)?.is_some_and(|end| end.next_seq <= seq) {
                        continue;
                    }
                    self.forwards(part, &mut seen, &mut newer)?;
                }
            }
            self.work.did(bytes);
        }
        Ok(seen)
    }

    /// Adds every matching row to one of several sums, which are made by `make` and returned. Rows come in order of
    /// `seq` within a file; files and row groups are shared out among the threads.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn fold<T: Send>(
        &self,
        make: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, &Row<'_>) + Sync,
    ) -> io::Result<(Vec<T>, Seen)> {
        self.share(make, |sum, piece, pieces, seen| self.piece(piece, pieces, seen, |row| add(sum, row)))
    }

    /// Shares the pieces out among threads, each with a sum of its own.
    pub(super) fn share<T: Send>(
        &self,
        make: impl Fn() -> T + Sync,
        each: impl Fn(&mut T, Piece, &Mutex<VecDeque<Piece>>, &mut Seen) -> io::Result<()> + Sync,
    ) -> io::Result<(Vec<T>, Seen)> {
        let pieces: VecDeque<_> = self.sources()?.into_iter().map(Piece::Source).collect();
        let pieces = Mutex::new(pieces);
        let work = || -> io::Result<(T, Seen)> {
            let (mut sum, mut seen) = (make(), Seen::default());
            while let Some(piece) = next(&pieces).filter(|_| !self.work.stopped()) {
                each(&mut sum, piece, &pieces, &mut seen)?;
            }
            Ok((sum, seen))
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let parts = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut parts = vec![work()];
            parts.extend(others.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a scanning thread ended early")))
            }));
            parts
        });
        let mut sums = Vec::new();
        let mut seen = Seen::default();
        for part in parts {
            let (sum, of_part) = part?;
            sums.push(sum);
            seen.add(of_part);
        }
        Ok((sums, seen))
    }

    /// Hands the matching rows of a piece to `each`, in order. A segment becomes one piece per row group.
    pub(super) fn piece(
        &self,
        piece: Piece,
        pieces: &Mutex<VecDeque<Piece>>,
        seen: &mut Seen,
        each: impl FnMut(&Row<'_>),
    ) -> io::Result<()> {
        match piece {
            Piece::Group(segment, group) => {
                self.group(&segment, group, seen, each)?;
                self.work.did(segment.bytes_of(group));
            }
            Piece::Source(Source::Segment(entry)) => {
                // What is not in a row group that is read counts as done.
                let mut rest = entry.bytes;
                if let Some(segment) = self.segment(&entry, seen)?.map(Arc::new) {
                    let mut pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
                    for group in segment.groups(&self.range).into_iter().rev() {
                        rest = rest.saturating_sub(segment.bytes_of(group));
                        pieces.push_front(Piece::Group(Arc::clone(&segment), group));
                    }
                }
                self.work.did(rest);
            }
            Piece::Source(source) => {
                let bytes = source.bytes();
                if let Some(part) = self.open(source, seen)? {
                    self.forwards(part, seen, each)?;
                }
                self.work.did(bytes);
            }
        }
        Ok(())
    }

    /// Where the records lie.
    pub(super) fn sources(&self) -> io::Result<Vec<Source>> {
        self.sources_of(&self.range)
    }

    fn sources_of(&self, range: &TimeRange) -> io::Result<Vec<Source>> {
        let found = sources(&self.dir, range)?;
        self.work.begin(found.iter().map(Source::bytes).sum());
        Ok(found)
    }

    /// The matching rows of a journal file, the newest first; whether `each` always went on.
    fn journal_backwards(
        &self,
        source: Source,
        seen: &mut Seen,
        each: &mut impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        let Some(Part { path, file, mut opener, at }) = self.open(source, seen)? else { return Ok(true) };
        let mut tampered = false;
        let walk = backwards::frames(&file, at, &self.range, |frame| {
            let mut rows = Vec::new();
            tampered |= self.select.rows(frame, &mut opener, seen, |row| rows.push(*row)).is_err();
            !tampered && rows.iter().rev().all(|row| each(&row.with_addresses(self.addresses)).is_continue())
        })?;
        if tampered || walk.damaged {
            seen.damaged(&path);
        }
        Ok(!walk.ended || tampered)
    }

    /// The matching rows of a segment, the newest first; whether `each` always went on.
    fn segment_backwards(
        &self,
        entry: &Entry,
        seen: &mut Seen,
        each: &mut impl FnMut(&Row<'_>) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        let Some(segment) = self.segment(entry, seen)? else { return Ok(true) };
        for group in segment.groups(&self.range).into_iter().rev() {
            let wants = |row: &Row<'_>| self.select.wants(row, seen);
            let shown = |row: &Row<'_>| each(&row.with_addresses(self.addresses));
            let flow = segment.newest_first(group, wants, shown);
            if or_damaged(flow, segment.path(), seen)?.is_some_and(|flow| flow.is_break()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The matching rows of a row group, in order.
    fn group(
        &self,
        segment: &Segment,
        group: usize,
        seen: &mut Seen,
        mut each: impl FnMut(&Row<'_>),
    ) -> io::Result<()> {
        let flow = segment.rows(group, |row| {
            if self.select.wants(row, seen) {
                each(&row.with_addresses(self.addresses));
            }
            ControlFlow::Continue(())
        });
        or_damaged(flow, segment.path(), seen).map(drop)
    }

    /// A segment, or what has taken its place since the manifest was read; `None` when retention removed it, or when it
    /// should be there and is not, or is not what was written: then it counts as damaged.
    fn segment(&self, entry: &Entry, seen: &mut Seen) -> io::Result<Option<Segment>> {
        let folder = self.dir.join(segments::FOLDER);
        let mut file = entry.file.clone();
        let segment = loop {
            let path = folder.join(&file);
            let opened = Segment::open(&path, &self.keyring, &self.wanted);
            let Some(opened) = or_damaged(opened, &path, seen)? else { return Ok(None) };
            if let Some(segment) = opened {
                break segment;
            }
            let manifest = Manifest::read(&folder).map_err(io::Error::other)?;
            match manifest.covering(entry.first_seq) {
                None => return Ok(None),
                Some(now) if now.file == file => {
                    seen.damaged(&path);
                    return Ok(None);
                }
                Some(now) => file.clone_from(&now.file),
            }
        };
        seen.locked += u64::from(segment.locked());
        Ok(Some(segment))
    }

    /// Hands the matching rows of one file to `each`, in order.
    fn forwards(
        &self,
        Part { path, file, mut opener, at }: Part,
        seen: &mut Seen,
        mut each: impl FnMut(&Row<'_>),
    ) -> io::Result<()> {
        let mut frames = FrameReader::new(at);
        while let Some(frame) = frames.next(&file)?.filter(|frame| frame.mark == Mark::Records) {
            if self.range.touches(frame.earliest, frame.ts)
                && self
                    .select
                    .rows(&frame, &mut opener, seen, |row| each(&row.with_addresses(self.addresses)))
                    .is_err()
            {
                seen.damaged(&path);
                return Ok(());
            }
        }
        if frames.damaged() {
            seen.damaged(&path);
        }
        Ok(())
    }

    /// A file to be read; `None` when it is gone, not begun or too old, or nobody can read it since its keys were
    /// destroyed.
    fn open(&self, source: Source, seen: &mut Seen) -> io::Result<Option<Part>> {
        let (name, file) = match source {
            Source::Journal(name, file) => (name, file),
            Source::Segment(..) => return Ok(None),
            Source::Damaged(path) => {
                seen.damaged(&path);
                return Ok(None);
            }
            Source::Unopened(name) => match regular_file::open(&name.path) {
                Ok(file) => (name, file),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(cause) => return Err(cause),
            },
        };
        let (since, _) = self.select.predicate.range();
        if files::end(&file)?.is_some_and(|end| end.ts < since) {
            return Ok(None);
        }
        let (head, at) = match files::begin(&file)? {
            Begin::Head(head, at) => (head, at),
            Begin::Unbegun => return Ok(None),
            Begin::Damaged => {
                seen.damaged(&name.path);
                return Ok(None);
            }
        };
        let opener = Opener::new(&head, &self.keyring).map_err(|error| error.of(&name.path))?;
        seen.locked += u64::from(opener.as_ref().is_some_and(Opener::locked));
        Ok(opener.map(|opener| Part { path: name.path, file, opener, at }))
    }
}

impl Select {
    /// Whether a row is wanted; counts it.
    pub fn wants(&self, row: &Row<'_>, seen: &mut Seen) -> bool {
        seen.scanned += 1;
        if row.kind == Kind::Gap && self.predicate.in_time(row) {
            seen.count_gap(row);
        }
        let wanted = (self.any_kind || row.kind == Kind::Access) && self.predicate.matches(row);
        seen.matched += u64::from(wanted);
        wanted
    }

    /// Hands the matching rows of a frame to `each`, in order.
    fn rows<'a>(
        &self,
        frame: &Frame<'_>,
        opener: &'a mut Opener,
        seen: &mut Seen,
        mut each: impl FnMut(&Row<'a>),
    ) -> Result<(), Tampered> {
        let _: ControlFlow<()> = opener.open(frame)?.rows(|row| {
            if self.wants(&row, seen) {
                each(&row);
            }
            ControlFlow::Continue(())
        });
        Ok(())
    }
}

/// What was read of a segment; `None` where it is not what was written: that is told, and the rest is read.
pub(super) fn or_damaged<T>(
    read: Result<T, SegmentError>,
    path: &Path,
    seen: &mut Seen,
) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_damage() => {
            seen.damaged(path);
            Ok(None)
        }
        Err(error) => Err(error.of(path).into()),
    }
}

fn next(pieces: &Mutex<VecDeque<Piece>>) -> Option<Piece> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// What the filter looks at besides its own columns.
const TRIED: [&str; 2] = ["start_ts", "gap.count"];
/// The column that a filter must name to get more than finished requests.
const KIND: &str = "record.kind";
/// Most threads of one scan.
const THREADS: usize = 4;
