//! Segments whose days are over go, and the oldest when the records have reached their size.
//!
//! The manifest says first that a segment is gone, then its file is removed: a crash between the two leaves an orphan,
//! which the next start removes. What went before its time is counted as lost, and so told in a gap record. Bound: one
//! pass over the manifest.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::Ordering::Relaxed;

use super::SegmentError;
use super::compact::Work;
use super::manifest::{Change, Entry, Manifest, Removed};
use crate::clock::Timestamp;
use crate::record::Kind;
use crate::store::disk::sync_folder;
use crate::store::files;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::stats::{LossReason, Stats};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Days, counted after the segment's last.
    pub(super) days: u32,
    /// Bytes of journal and segments together.
    pub(super) bytes: u64,
}

impl Work {
    /// Removes what is due at `now`.
    pub(super) fn retire(&self, now: Timestamp, kept: Kept, journal: &Stats) -> Result<(), SegmentError> {
        let folder = self.folder()?;
        let mut manifest = Manifest::read(&folder)?;
        let mut oldest: Vec<Entry> = manifest.entries().to_vec();
        oldest.sort_by_key(|e| e.last_ts);
        let mut total = self.measure(journal)? + oldest.iter().map(|e| e.bytes).sum::<u64>();
        for entry in oldest {
            let last = Timestamp::from_micros(entry.last_ts);
            let over = last.day() + i64::from(kept.days) < now.day();
            if !over && total <= kept.bytes {
                break;
            }
            total = total.saturating_sub(entry.bytes);
            let reason = if over { Removed::Age } else { Removed::Size };
            let change = Change::Remove { file: entry.file.clone(), reason };
            manifest.append(&folder, change, now.as_micros(), &*self.faults)?;
            let path = folder.join(&entry.file);
            std::fs::remove_file(&path)?;
            sync_folder(&path)?;
            if let Some(day) = path.parent() {
                // Only the last of its day leaves an empty folder.
                let _ = std::fs::remove_dir(day);
            }
            let (file, rows) = (entry.file.as_str(), entry.rows);
            if over {
                self.stats.removed_age.fetch_add(1, Relaxed);
                tracing::info!(file, rows, days = kept.days, "segment removed: its days are over");
            } else {
                self.stats.removed_size.fetch_add(1, Relaxed);
                journal.lose(Kind::Unknown, LossReason::Quota, rows, last);
                tracing::warn!(file, rows, limit = kept.bytes, "segment removed: the records are full");
            }
        }
        self.tell(&manifest);
        Ok(())
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
