//! What a killed process left behind is made whole: every intact frame stays, the rest is put aside and counted.
//!
//! Needs no key: checksums cover what is sealed, and what is put aside stays sealed. A file is scanned to its first
//! place that is no frame. Zeros from there on are a clean end; anything else is a torn
//! tail: copied to `quarantine/`, cut off, counted, and told in a gap record. So is a file that lost its end although its
//! process stopped cleanly. Never stops a start: what cannot be read is left for the next one. Bound: the files that were
//! not closed; [`TAIL_BYTES`] per tail and [`TAILS`] tails are kept.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::disk::{private_folder, sync_folder};
use super::files::{self, FileName};
use super::frame::{Mark, encode_mark};
use super::gap::{self, Note};
use super::lock::{RANGE_BITS, Starting};
use super::reader::FrameReader;
use super::stats::{LossReason, Stats};
use crate::clock::Timestamp;
use crate::record::Kind;
use crate::regular_file;

/// Recovers every dead instance, and every file that lost its end; what has to be told in gap records.
pub(super) fn recover_all(starting: &Starting, folder: &Path, stats: &Stats, now: Timestamp) -> Vec<Note> {
    let mut notes = recover_dead(starting, folder, stats, now);
    let cut = cut_instances(folder).unwrap_or_else(|cause| {
        tracing::error!(error = %cause, "journal files without an end cannot be looked for");
        BTreeSet::new()
    });
    for instance in cut {
        match recover(folder, instance, now) {
            Ok(found) => {
                found.count(stats, now);
                // How many are missing is told by their number where it is known.
                if found.files > 0 && (found.missing == 0 || found.torn_bytes > 0) {
                    let (bytes, at) = (found.torn_bytes, found.last_ts.unwrap_or(now));
                    notes.push(Note::uncounted(LossReason::TornTail, bytes, at));
                }
            }
            Err(cause) => tracing::error!(instance, error = %cause, "a cut journal file cannot be recovered"),
        }
    }
    notes
}

/// The instances that stopped cleanly and have files without an end. While nobody else starts, one without a mark does
/// not come to life.
fn cut_instances(folder: &Path) -> io::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for name in files::list(folder)? {
        let file = match regular_file::open(&name.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        if files::end(&file)?.is_none() {
            found.insert(name.instance);
        }
    }
    // Behind the files: whoever stops meanwhile writes the end before the mark goes, and the end is looked for again.
    let marked = files::live_marks(folder)?;
    found.retain(|instance| !marked.contains(instance));
    Ok(found)
}

/// Recovers every dead instance; what has to be told in gap records.
fn recover_dead(starting: &Starting, folder: &Path, stats: &Stats, now: Timestamp) -> Vec<Note> {
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
                found.count(stats, now);
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
    /// Files that were given an end.
    pub(super) files: u64,
    /// Bytes cut off.
    pub(super) torn_bytes: u64,
    /// Records that are missing before a file that goes on behind them.
    pub(super) missing: u64,
    /// Time of the last intact record.
    pub(super) last_ts: Option<Timestamp>,
    /// The stop was clean after all; only its mark on the folder was left.
    pub(super) stopped: bool,
}

impl Found {
    fn count(&self, stats: &Stats, now: Timestamp) {
        stats.torn_bytes.fetch_add(self.torn_bytes, Relaxed);
        if self.missing > 0 {
            let at = self.last_ts.unwrap_or(now);
            stats.lose(Kind::Unknown, LossReason::TornTail, self.missing, at);
        }
    }
}

fn recover(folder: &Path, instance: u32, now: Timestamp) -> io::Result<Found> {
    let mut found = Found::default();
    // Number of the file that was recovered last, and of the record behind its last.
    let mut before: Option<(u32, u64)> = None;
    for name in files::list(folder)?.into_iter().filter(|f| f.instance == instance) {
        let behind = before.take().filter(|(number, _)| number + 1 == name.number);
        if let Some((_, next_seq)) = behind
            && let Some((head, _)) = files::head(&regular_file::open(&name.path)?)?
        {
            found.missing += head.first_seq.saturating_sub(next_seq);
        }
        let next_seq = recover_file(folder, &name, now, &mut found)?;
        before = next_seq.map(|next_seq| (name.number, next_seq));
    }
    Ok(found)
}

/// Gives a file an end; the number behind its last record, when it had none.
fn recover_file(
    folder: &Path,
    name: &FileName,
    now: Timestamp,
    found: &mut Found,
) -> io::Result<Option<u64>> {
    let file = OpenOptions::new().read(true).write(true).open(&name.path)?;
    if let Some(end) = files::end(&file)? {
        found.last_ts = Some(end.ts);
        found.stopped = end.mark == Mark::Stop;
        return Ok(None);
    }
    let len = file.metadata()?.len();
    let Some((head, head_len)) = files::head(&file)? else {
        // Never begun, or not readable from its first byte on.
        found.torn_bytes += put_aside(folder, name, &file, 0, len)?;
        std::fs::remove_file(&name.path)?;
        sync_folder(&name.path)?;
        return Ok(None);
    };
    found.stopped = false;
    found.files += 1;
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
    sync_folder(&name.path)?;
    Ok(Some(next_seq))
}

/// Copies what is not frames between two places of a file that stays as it is; how many bytes that are, `None` when it
/// was done before. The copy's name remembers it, also when there is no room for what it held.
pub(super) fn note_damage(
    folder: &Path,
    name: &FileName,
    file: &File,
    (from, to): (u64, u64),
) -> io::Result<Option<u64>> {
    let path = aside(folder, name, from);
    if path.try_exists()? {
        return Ok(None);
    }
    let torn = put_aside(folder, name, file, from, to)?;
    if !path.try_exists()? {
        private_folder(&folder.join(QUARANTINE))?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?.sync_all()?;
        sync_folder(&path)?;
    }
    Ok(Some(torn))
}

/// The number of the first record of a file whose head is damaged, if the file before it tells.
pub(super) fn first_seq(folder: &Path, name: &FileName) -> io::Result<Option<u64>> {
    let Some(before) = name.number.checked_sub(1) else {
        return Ok(Some(u64::from(name.instance) << RANGE_BITS));
    };
    match regular_file::open(&files::path(folder, name.instance, before)) {
        Ok(file) => Ok(files::end(&file)?.map(|end| end.next_seq)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn aside(folder: &Path, name: &FileName, from: u64) -> PathBuf {
    let (instance, number) = (name.instance, name.number);
    folder.join(QUARANTINE).join(format!("{instance:06}-{number:06}-{from}.torn"))
}

/// Copies what is not zeros behind `from`; how many bytes that are, up to the last that is not zero.
fn put_aside(folder: &Path, name: &FileName, file: &File, from: u64, len: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut at, mut torn_end) = (from, from);
    let mut kept = Vec::new();
    while at < len {
        let room = buffer.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        let got = files::read_full(file, &mut buffer[..room], at)?;
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
        let path = aside(folder, name, from);
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

/// The folder of what was put aside, inside that of the journal.
pub(super) const QUARANTINE: &str = "quarantine";
/// Bytes of a torn tail that are kept.
const TAIL_BYTES: usize = 1 << 20;
/// Torn tails that are kept.
const TAILS: usize = 16;
const CHUNK_BYTES: usize = 256 << 10;
