//! Removes journal files whose days are over, and the oldest ones when the journal has reached its size.
//!
//! Only closed files go; every removal is logged and counted, and rows that went before their time are told in a gap
//! record. Never touches a file that somebody may still write. Bound: one pass over the folder.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::disk::sync_folder;
use super::files::{self, FileName};
use super::stats::{LossReason, Stats};
use crate::clock::Timestamp;
use crate::record::Kind;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of one file.
    pub(super) file_bytes: u64,
    /// Bytes of all files.
    pub(super) max_bytes: u64,
    /// Days, counted after the file's last day.
    pub(super) retention_days: u32,
}

/// A closed file.
struct Closed {
    name: FileName,
    bytes: u64,
    records: u64,
    last: Timestamp,
}

/// Removes what is due at `now`. An error leaves the file for the next time.
pub(super) fn expire(folder: &Path, now: Timestamp, limits: &Limits, stats: &Stats) {
    if let Err(cause) = try_expire(folder, now, limits, stats) {
        tracing::error!(error = %cause, "old journal files could not be looked for");
    }
}

fn try_expire(folder: &Path, now: Timestamp, limits: &Limits, stats: &Stats) -> io::Result<()> {
    let listed = files::list(folder)?;
    let (mut total, mut count) = (0, 0);
    let mut closed = Vec::new();
    for name in listed {
        let file = match File::open(&name.path) {
            Ok(file) => file,
            // In a segment by now.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        let bytes = file.metadata()?.blocks() * 512;
        total += bytes;
        count += 1;
        if let (Some((head, _)), Some(end)) = (files::head(&file)?, files::end(&file)?) {
            let records = end.next_seq.saturating_sub(head.first_seq);
            closed.push(Closed { name, bytes, records, last: end.ts });
        }
    }
    closed.sort_by_key(|c| c.last);
    for file in closed {
        let over = file.last.day() + i64::from(limits.retention_days) < now.day();
        // Room for the next file belongs to the limit.
        let full = total + limits.file_bytes > limits.max_bytes;
        if !over && !full {
            break;
        }
        match std::fs::remove_file(&file.name.path) {
            // In a segment by now: nothing is lost.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                total -= file.bytes;
                count -= 1;
                continue;
            }
            result => result?,
        }
        sync_folder(&file.name.path)?;
        total -= file.bytes;
        count -= 1;
        if over {
            stats.files_expired.fetch_add(1, Relaxed);
            let days = limits.retention_days;
            tracing::info!(file = %file.name.path.display(), days, "journal file removed: its days are over");
        } else {
            stats.files_over_quota.fetch_add(1, Relaxed);
            stats.lose(Kind::Unknown, LossReason::Quota, file.records, file.last);
            let (records, limit) = (file.records, limits.max_bytes);
            tracing::warn!(file = %file.name.path.display(), records, limit, "journal file removed: the journal is full");
        }
    }
    stats.journal_bytes.store(total, Relaxed);
    stats.files.store(count, Relaxed);
    Ok(())
}
