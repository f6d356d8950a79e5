//! Closed journal files that cannot be read to their end: they are kept, and what they lost is told once.
//!
//! A file stays, because each frame behind the damage may still be whole. The damaged part is copied to the quarantine of
//! the journal, whose name for it remembers over restarts that the records behind it were counted and told in a gap
//! record. Never changes a journal file. Bound: that of the quarantine.

use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;

use super::SegmentError;
use super::compact::Work;
use super::manifest::Manifest;
use crate::record::Kind;
use crate::store::disk::sync_folder;
use crate::store::files::{End, FileName};
use crate::store::frame::FRAME_HEAD_BYTES;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::recovery;
use crate::store::stats::LossReason;

impl Work {
    /// A file that no segment is made of; the log says why, once for each process.
    pub(super) fn keeps(&mut self, name: &FileName, why: &str) -> SegmentError {
        let file = name.path.display().to_string();
        tracing::error!(file, "a closed journal file becomes no segment and stays as it is: {why}");
        self.damaged.insert(name.path.clone());
        SegmentError::Damaged(file)
    }

    /// A closed file without a head. One that is in a segment goes like any other.
    pub(super) fn headless(
        &mut self,
        name: &FileName,
        file: &File,
        end: &End,
        manifest: &Manifest,
    ) -> Result<(), SegmentError> {
        if manifest.covering(end.next_seq.saturating_sub(1)).is_some() {
            std::fs::remove_file(&name.path)?;
            return Ok(sync_folder(&name.path)?);
        }
        let first = match recovery::first_seq(&self.dir.join(JOURNAL), name)? {
            Some(first) => Some(first),
            // The file before it is in a segment.
            None => {
                let before = |e: &&super::Entry| e.instance == name.instance && e.last_seq < end.next_seq;
                manifest.entries().iter().filter(before).map(|e| e.last_seq + 1).max()
            }
        };
        self.lost(name, file, (0, first), end)?;
        self.keeps(name, "its head is damaged");
        Ok(())
    }

    /// What is behind a place of a closed file is lost: from that record on, if its number is known.
    pub(super) fn lost(
        &self,
        name: &FileName,
        file: &File,
        (at, next_seq): (u64, Option<u64>),
        end: &End,
    ) -> Result<(), SegmentError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let to = file.metadata()?.len().saturating_sub(FRAME_HEAD_BYTES as u64);
        let noted = recovery::note_damage(&self.dir.join(JOURNAL), name, file, (at, to))?;
        let Some(bytes) = noted else { return Ok(()) };
        journal.torn_bytes.fetch_add(bytes, Relaxed);
        let missing = next_seq.map_or(0, |next_seq| end.next_seq.saturating_sub(next_seq));
        if missing > 0 {
            journal.lose(Kind::Unknown, LossReason::TornTail, missing, end.ts);
        }
        Ok(())
    }
}
