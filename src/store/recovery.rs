//! What a killed process left behind is made whole: every intact frame stays, the rest is put aside and counted.
//!
//! Needs no key: checksums cover what is sealed, and what is put aside stays sealed. A file is scanned to its first
//! place that is no frame. Zeros from there on are a clean end; anything else is a torn
//! tail: copied to `quarantine/`, cut off, counted, and told in a gap record. Never stops a start: what cannot be read
//! is left for the next one. Bound: the files of dead instances that were not closed; [`TAIL_BYTES`] per tail and
//! [`TAILS`] tails are kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::disk::sync_folder;
use super::files::{self, FileName};
use super::frame::{Mark, encode_mark};
use super::gap::{self, Note};
use super::lock::Starting;
use super::reader::FrameReader;
use super::stats::{LossReason, Stats};
use crate::clock::Timestamp;

/// Recovers every dead instance; what has to be told in gap records.
pub(super) fn recover_dead(starting: &Starting, folder: &Path, stats: &Stats, now: Timestamp) -> Vec<Note> {
    let mut notes = Vec::new();
    let dead = starting.dead().unwrap_or_else(|cause| {
        tracing::error!(error = %cause, "earlier runs cannot be looked for");
        Vec::new()
    });
    for instance in dead {
        match recover(folder, instance, now) {
            Ok(found) => {
                tracing::warn!(
                    instance,
                    torn_bytes = found.torn_bytes,
                    "an earlier run did not stop cleanly"
                );
                stats.torn_bytes.fetch_add(found.torn_bytes, Relaxed);
                let at = found.last_ts.unwrap_or(now);
                if found.torn_bytes > 0 {
                    notes.push(Note::uncounted(LossReason::TornTail, found.torn_bytes, at));
                }
                match starting.left(instance) {
                    // It ended in order, on a disk that took no gap record any more.
                    Some(left) => left.iter().for_each(|note| gap::join(&mut notes, note)),
                    None if found.stopped => {}
                    None => notes.push(Note::uncounted(LossReason::UncleanStop, 0, at)),
                }
                if let Err(cause) = starting.bury(instance) {
                    tracing::warn!(instance, error = %cause, "the recovered run keeps its mark");
                }
            }
            // Its mark stays, so that the next start tries again.
            Err(cause) => tracing::error!(instance, error = %cause, "an earlier run cannot be recovered"),
        }
    }
    notes
}

/// What recovery found in one instance.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Bytes cut off.
    pub(super) torn_bytes: u64,
    /// Time of the last intact record.
    pub(super) last_ts: Option<Timestamp>,
    /// The stop was clean after all; only its mark on the folder was left.
    pub(super) stopped: bool,
}

fn recover(folder: &Path, instance: u32, now: Timestamp) -> io::Result<Found> {
    let mut found = Found::default();
    for name in files::list(folder)?.into_iter().filter(|f| f.instance == instance) {
        recover_file(folder, &name, now, &mut found)?;
    }
    Ok(found)
}

fn recover_file(folder: &Path, name: &FileName, now: Timestamp, found: &mut Found) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(&name.path)?;
    if let Some(end) = files::end(&file)? {
        found.last_ts = Some(end.ts);
        found.stopped = end.mark == Mark::Stop;
        return Ok(());
    }
    let len = file.metadata()?.len();
    let Some((head, head_len)) = files::head(&file)? else {
        // Never begun, or not readable from its first byte on.
        found.torn_bytes += put_aside(folder, name, &file, 0, len)?;
        std::fs::remove_file(&name.path)?;
        return sync_folder(&name.path);
    };
    found.stopped = false;
    let (mut next_seq, mut last_ts) = (head.first_seq, head.created);
    let mut reader = FrameReader::new(head_len);
    while let Some(frame) = reader.next(&file)?.filter(|f| f.mark == Mark::Records) {
        next_seq = frame.first_seq + u64::from(frame.count);
        last_ts = frame.ts;
        found.last_ts = Some(frame.ts);
    }
    let end = reader.position();
    found.torn_bytes += put_aside(folder, name, &file, end, len)?;
    tracing::info!(file = %name.path.display(), bytes = end, at = %now, "journal file recovered");
    let mut mark = Vec::new();
    encode_mark(Mark::Recovered, reader.index(), next_seq, last_ts, &mut mark);
    file.set_len(end)?;
    file.write_all_at(&mark, end)?;
    file.sync_all()?;
    sync_folder(&name.path)
}

/// Copies what is not zeros behind `from`; how many bytes that are, up to the last that is not zero.
fn put_aside(folder: &Path, name: &FileName, file: &File, from: u64, len: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut at, mut torn_end) = (from, from);
    let mut kept = Vec::new();
    while at < len {
        let got = files::read_full(file, &mut buffer, at)?;
        if got == 0 {
            break;
        }
        if let Some(last) = buffer[..got].iter().rposition(|b| *b != 0) {
            torn_end = at + last as u64 + 1;
        }
        let room = TAIL_BYTES - kept.len();
        kept.extend_from_slice(&buffer[..got.min(room)]);
        at += got as u64;
    }
    let torn = torn_end - from;
    if torn > 0 {
        kept.truncate(usize::try_from(torn).unwrap_or(usize::MAX));
        let (instance, number) = (name.instance, name.number);
        let path = folder.join("quarantine").join(format!("{instance:06}-{number:06}-{from}.torn"));
        // What is put aside helps an inquiry; the start does not depend on it.
        if let Err(cause) = keep(&path, &kept) {
            tracing::warn!(error = %cause, "the torn tail could not be put aside");
        }
    }
    Ok(torn)
}

fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if std::fs::read_dir(folder)?.count() >= TAILS {
        return Err(io::Error::other("the quarantine is full"));
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_folder(path)
}

/// Bytes of a torn tail that are kept.
const TAIL_BYTES: usize = 1 << 20;
/// Torn tails that are kept.
const TAILS: usize = 16;
const CHUNK_BYTES: usize = 256 << 10;
