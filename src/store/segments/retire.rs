//! The oldest segments go when the records have reached their size; others lose the columns that nobody can open.
//!
//! The manifest says first that a segment is gone, then its file is removed: a crash between the two leaves an orphan,
//! which the next turn removes. What went before its time is told in the audit log and counted as lost, and so told in
//! a gap record ([`Going`]); what is held does not go. Bound: one pass over the manifest, [`REWRITES`] segments written anew.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::SegmentError;
use super::compact::Work;
use super::manifest::{Change, Entry, Manifest, Removed, Rewritten};
use super::read::{Segment, Wanted};
use super::rewrite::{Rewriter, Without};
use super::step::Step;
use crate::clock::Timestamp;
use crate::record::Row;
use crate::seal::{Day, KeyId, Keyring};
use crate::store::disk::sync_folder;
use crate::store::files;
use crate::store::gap::Held;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::quota::Going;
use crate::store::reader::TimeRange;
use crate::store::stats::Stats;
use crate::store::subjects::index_of;
use crate::store::terms::Terms;

/// Removes the index of a segment, if it has one.
pub(super) fn remove_index(segment: &Path) -> io::Result<()> {
    match std::fs::remove_file(index_of(segment)) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Work {
    /// Removes the oldest segments until journal and segments together have at most so many bytes. What is held stays.
    pub(super) fn retire(
        &self,
        manifest: &mut Manifest,
        now: Timestamp,
        (terms, most): (&Terms, u64),
        journal: &Stats,
    ) -> Result<(), SegmentError> {
        let mut oldest: Vec<Entry> = manifest.entries().to_vec();
        oldest.sort_by_key(|e| e.last_ts);
        let mut total = self.measure(journal)? + oldest.iter().map(|e| e.bytes).sum::<u64>();
        for entry in oldest {
            if total <= most {
                break;
            }
            let last = Timestamp::from_micros(entry.last_ts);
            if terms.holds_day(Day::of(last), Day::of(now)) {
                continue;
            }
            total = total.saturating_sub(entry.bytes);
            let (file, rows) = (entry.file.as_str(), entry.rows);
            let going = Going { dir: &self.dir, last, records: rows, limit: most, now };
            let held = self.held(&entry);
            going.carry_out(&held, journal, || {
                self.forget(manifest, file, Removed::Size, now).map(|()| true)
            })?;
            self.stats.removed_size.fetch_add(1, Relaxed);
            tracing::warn!(file, rows, limit = most, "segment removed: the records are full");
        }
        self.tell(manifest);
        Ok(())
    }

    /// What a segment holds, as far as it can be read.
    fn held(&self, entry: &Entry) -> Held {
        let mut held = Held::default();
        let keyring = Keyring::of_the_store(Arc::clone(&self.keys));
        let wanted = Wanted { tried: Held::columns(), shown: Some(Vec::new()) };
        let mut count = || -> Result<(), SegmentError> {
            let path = self.folder()?.join(&entry.file);
            let Some(segment) = Segment::open(&path, &keyring, &wanted)? else { return Ok(()) };
            for group in segment.groups(&TimeRange::default()) {
                let take = |row: &Row<'_>| {
                    held.take(row);
                    false
                };
                let _: ControlFlow<()> = segment.newest_first(group, take, |_| ControlFlow::Continue(()))?;
            }
            Ok(())
        };
        if let Err(error) = count() {
            tracing::warn!(file = entry.file, %error, "what goes could not be counted by kind");
        }
        held
    }

    /// Removes one segment: the pointer first, then the file.
    pub(super) fn forget(
        &self,
        manifest: &mut Manifest,
        file: &str,
        reason: Removed,
        now: Timestamp,
    ) -> Result<(), SegmentError> {
        let folder = self.folder()?;
        let change = Change::Remove { file: file.to_owned(), reason };
        manifest.append(&folder, change, now.as_micros(), &*self.faults)?;
        let path = folder.join(file);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        remove_index(&path)?;
        self.faults.at(Step::Unlinked)?;
        sync_folder(&path)?;
        if let Some(day) = path.parent() {
            // Only the last of its day leaves an empty folder.
            let _ = std::fs::remove_dir(day);
        }
        Ok(())
    }

    /// Writes segments anew that have columns whose keys of the day were all destroyed, a few at a time; whether there
    /// may be more.
    pub(super) fn drop_columns(
        &mut self,
        manifest: &mut Manifest,
        now: Timestamp,
    ) -> Result<bool, SegmentError> {
        let folder = self.folder()?;
        let without = Without { rows: BTreeSet::new(), columns: Vec::new(), reason: Rewritten::Expired };
        let classes =
            |keys: Vec<KeyId>| keys.into_iter().map(|key| (key.class, key.day)).collect::<BTreeSet<_>>();
        let (live, gone) = (classes(self.keys.list()?), classes(self.keys.destroyed()?));
        let mut done = 0;
        for entry in manifest.entries().to_vec() {
            let keys = entry.keys.iter().filter_map(|key| key.parse::<KeyId>().ok());
            let dead = keys
                .filter(|key| key.class.class().is_some())
                .map(|key| (key.class, key.day))
                .any(|of| gone.contains(&of) && !live.contains(&of));
            if !dead || self.stuck.contains(&entry.file) {
                continue;
            }
            if done == REWRITES {
                return Ok(true);
            }
            done += 1;
            let rewriter =
                Rewriter { folder: &folder, keys: &self.keys, stop: &self.stop, faults: &*self.faults };
            match rewriter.rewrite(manifest, &entry, &without, now) {
                Ok(_) => {
                    self.stats.columns_dropped.fetch_add(1, Relaxed);
                }
                Err(
                    error @ (SegmentError::Locked(_)
                    | SegmentError::Newer(_)
                    | SegmentError::Name(_)
                    | SegmentError::Damaged(_)),
                ) => {
                    tracing::warn!(%error, "columns that nobody can open stay in it");
                    self.stuck.insert(entry.file);
                }
                Err(error) if error.is_damage() => {
                    tracing::error!(file = entry.file, %error, "a segment is damaged; it stays as it is");
                    self.stuck.insert(entry.file);
                }
                Err(error) => return Err(error),
            }
        }
        self.tell(manifest);
        Ok(false)
    }

    /// The bytes of all journal files now, which its own figures learn only when a file is closed.
    fn measure(&self, journal: &Stats) -> io::Result<u64> {
        let (mut bytes, mut count) = (0, 0);
        for name in files::list(&self.dir.join(JOURNAL))? {
            match std::fs::metadata(&name.path) {
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(cause),
            }
            count += 1;
        }
        journal.journal_bytes.store(bytes, Relaxed);
        journal.files.store(count, Relaxed);
        Ok(bytes)
    }
}

/// Segments written anew before the journal is looked at again.
const REWRITES: usize = 8;
