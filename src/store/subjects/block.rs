//! Blocks a person and lifts it.
//!
//! ```text
//! line in the book ──► every running gateway marks new records ──► their numbers so far ──► hidden, synced
//! ```
//!
//! In this order no record is missed: what a gateway wrote before it took the line up is there to be found, what it
//! writes later carries the mark. Never waits for a gateway longer than [`PATIENCE`]. Bound: see [`super::book`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::book::{Change, State, Tombstone};
use super::editor::Editor;
use super::live::wait_until_seen;
use super::person::{Person, SubjectError};
use super::ranges::Ranges;
use super::sealing::TagSeal;
use crate::clock::Timestamp;
use crate::seal::{KeyError, KeyProvider};

/// How long running gateways are waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A place where a test can stop.
pub type Stop<'a> = &'a dyn Fn(&str) -> io::Result<()>;

/// What a block came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Number of the tombstone.
    pub id: u32,
    /// Records that it hides.
    pub records: u64,
    /// It was there before.
    pub before: bool,
}

/// Blocks a person: when this returns no read shows a record of theirs, nor one that is recorded later. Repeating it is
/// harmless, and finishes one that was interrupted.
///
/// # Errors
/// When the book cannot be written or a running gateway does not take it up. What was done until then stays.
pub fn block(
    dir: &Path,
    keys: &Arc<dyn KeyProvider>,
    person: &Person,
    now: fn() -> Timestamp,
    stop: Stop<'_>,
) -> Result<Blocked, SubjectError> {
    let seal = TagSeal::new(&**keys)?;
    let (id, version, before) = {
        let mut editor = Editor::open(dir)?;
        let known = find(editor.book().tombstones().filter(|t| t.blocks()), person, &seal)?;
        let id = match known {
            Some(id) => id,
            None => editor.block(person.tags(), &seal, now())?,
        };
        (id, editor.book().version(), known.is_some())
    };
    stop("listed")?;
    let records = finish_block(dir, keys, person, (id, version), now, stop)?;
    Ok(Blocked { id, records, before })
}

/// The rest of a block, once its line is in the book: the records that are there.
pub(super) fn finish_block(
    dir: &Path,
    keys: &Arc<dyn KeyProvider>,
    person: &Person,
    (id, version): (u32, u64),
    now: fn() -> Timestamp,
    stop: Stop<'_>,
) -> Result<u64, SubjectError> {
    wait_until_seen(dir, version, PATIENCE)?;
    stop("seen")?;
    let rows = person.numbers(dir, keys, None)?.rows;
    stop("resolved")?;
    let mut editor = Editor::open(dir)?;
    let Some(tombstone) = editor.book().get(id).filter(|t| t.blocks()) else {
        return Err(SubjectError::Lifted);
    };
    let new: Ranges = without(&rows, &tombstone.rows);
    let then = (tombstone.state == State::Blocking).then_some(Change::Blocked { id });
    editor.hide(id, &new, then, now())?;
    stop("hidden")?;
    Ok(editor.book().get(id).map_or(0, |t| t.rows.numbers()))
}

/// Lifts every block that has a tag of the person; their numbers and how many records each hid.
///
/// # Errors
/// When the book cannot be read or written.
pub fn unblock(
    dir: &Path,
    keys: &Arc<dyn KeyProvider>,
    person: &Person,
    now: Timestamp,
) -> Result<Vec<(u32, u64)>, SubjectError> {
    let seal = TagSeal::new(&**keys)?;
    let mut editor = Editor::open(dir)?;
    let mut lifted = Vec::new();
    for tombstone in editor.book().tombstones().filter(|t| t.blocks()) {
        if seal.open(tombstone)?.iter().any(|tag| person.tags().binary_search(tag).is_ok()) {
            lifted.push((tombstone.id, tombstone.rows.numbers()));
        }
    }
    let changes: Vec<Change> = lifted.iter().map(|(id, _)| Change::Unblock { id: *id }).collect();
    editor.append(&changes, now)?;
    Ok(lifted)
}

/// The tombstone with exactly these tags.
pub(super) fn find<'t>(
    among: impl Iterator<Item = &'t Tombstone>,
    person: &Person,
    seal: &TagSeal,
) -> Result<Option<u32>, KeyError> {
    for tombstone in among {
        if Person::with(seal.open(tombstone)?).as_ref() == Some(person) {
            return Ok(Some(tombstone.id));
        }
    }
    Ok(None)
}

/// The numbers of the first that are not in the second.
pub(super) fn without(rows: &Ranges, known: &Ranges) -> Ranges {
    rows.iter().flat_map(|(first, last)| first..=last).filter(|seq| !known.contains(*seq)).collect()
}
