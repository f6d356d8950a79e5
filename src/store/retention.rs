//! Removes the oldest journal files when the journal has reached its size.
//!
//! Only closed files go, and none that is held; every removal is logged, told in the audit log and counted by kind, and
//! its rows are told in a gap record ([`Going`]). Never touches a file that somebody may still write; what goes because
//! its days are over, the compactor's thread removes. Bound: one pass over the folder.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::disk::sync_folder;
use super::files::{self, FileName};
use super::gap::Held;
use super::journal::FOLDER;
use super::quota::Going;
use super::reader::{Reader, TimeRange};
use super::stats::Stats;
use super::terms::Terms;
use crate::clock::Timestamp;
use crate::regular_file;
use crate::seal::{Day, KeyProvider, Keyring};

/// How much is kept.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes of one file.
    pub(super) file_bytes: u64,
    /// Bytes of all files.
    pub(super) max_bytes: u64,
    /// What is held stays.
    pub(super) terms: Terms,
}

/// A closed file.
struct Closed {
    name: FileName,
    bytes: u64,
    records: u64,
    last: Timestamp,
}

/// Removes what is due at `now`. An error leaves the file for the next time.
pub(super) fn expire(of: (&Path, &Arc<dyn KeyProvider>), now: Timestamp, limits: &Limits, stats: &Stats) {
    if let Err(cause) = try_expire(of, now, limits, stats) {
        tracing::error!(error = %cause, "old journal files could not be looked for");
    }
}

fn try_expire(
    (dir, keys): (&Path, &Arc<dyn KeyProvider>),
    now: Timestamp,
    limits: &Limits,
    stats: &Stats,
) -> io::Result<()> {
    let listed = files::list(&dir.join(FOLDER))?;
    let (mut total, mut count) = (0, 0);
    let mut closed = Vec::new();
    for name in listed {
        let file = match regular_file::open(&name.path) {
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
        // Room for the next file belongs to the limit.
        if total + limits.file_bytes <= limits.max_bytes {
            break;
        }
        if limits.terms.holds_day(Day::of(file.last), Day::of(now)) {
            continue;
        }
        let (records, limit) = (file.records, limits.max_bytes);
        let going = Going { dir, last: file.last, records, limit, now };
        let gone = going.carry_out(&held(&file.name, keys), stats, || {
            match std::fs::remove_file(&file.name.path) {
                // In a segment by now: nothing is lost.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
                result => result.and_then(|()| sync_folder(&file.name.path)).map(|()| true),
            }
        })?;
        total -= file.bytes;
        count -= 1;
        if !gone {
            continue;
        }
        stats.files_over_quota.fetch_add(1, Relaxed);
        tracing::warn!(file = %file.name.path.display(), records, limit, "journal file removed: the journal is full");
    }
    stats.journal_bytes.store(total, Relaxed);
    stats.files.store(count, Relaxed);
    Ok(())
}

/// What a file holds, as far as it can be read.
fn held(name: &FileName, keys: &Arc<dyn KeyProvider>) -> Held {
    let mut held = Held::default();
    let keyring = Keyring::of_the_store(Arc::clone(keys));
    let read = Reader::of(vec![name.clone()]).for_each_row(&keyring, &TimeRange::default(), |row| {
        held.take(row);
        ControlFlow::Continue(())
    });
    if let Err(cause) = read {
        tracing::warn!(file = %name.path.display(), error = %cause, "what goes could not be counted by kind");
    }
    held
}
