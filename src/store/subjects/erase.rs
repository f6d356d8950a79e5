//! Erasing one person's records: everything that was recorded until the order.
//!
//! ```text
//! order (the file that is written is left) → their numbers (hidden from now on) → [new keys for their days] →
//! journal files become segments without them → segments that held them are written anew → [old keys destroyed] →
//! nothing of theirs is found any more → done
//! ```
//!
//! Each arrow is a line in the book, so that an interrupted erasure goes on where it was: by repeating the command, or by
//! the compactor of the next gateway. What the person sends afterwards is recorded anew. The numbers stay in the book:
//! records that come back from a backup under their old numbers are hidden, and erased again when they are met.
//! Bound: see [`super::book`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::block::{PATIENCE, Stop, find, finish_block, without};
use super::book::{Book, Change, Erasure, State, Tombstone};
use super::editor::Editor;
use super::live::wait_until_seen;
use super::person::{Person, Search, SubjectError};
use super::sealing::TagSeal;
use crate::clock::Timestamp;
use crate::regular_file;
use crate::seal::{Day, KeyProvider};
use crate::store::disk::OsDisk;
use crate::store::holds::Holds;
use crate::store::journal::{FOLDER as JOURNAL, Journal, JournalOptions};
use crate::store::segments::Erasing;
use crate::store::terms::Terms;
use crate::store::{files, lock};

/// How long an interrupted block or erasure is left to whoever began it.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(30);

/// What an erasure came to.
#[derive(Clone, Debug)]
pub struct Erased {
    /// Number of the tombstone.
    pub id: u32,
    /// Records up to then were erased.
    pub ordered: Timestamp,
    /// When it was done.
    pub finished: Timestamp,
    /// What was done.
    pub done: Erasure,
}

/// How an erasure is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Whether the days get new keys and lose the old ones.
    pub rotate: bool,
    /// Whether it takes days that something keeps as well.
    pub despite_holds: bool,
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The order is in the book and running gateways know it.
    Ordered,
    /// So many records are hidden and will be erased.
    Hidden(u64),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ordered => f.write_str("ordered; looking for the records"),
            Self::Hidden(records) => write!(f, "{records} records are hidden; writing their files anew"),
        }
    }
}

/// Erases a person's records that were recorded until now. Repeating it after an interruption finishes what was begun:
/// whether something is held is asked before the order, not again.
///
/// # Errors
/// [`SubjectError::Held`] when a legal hold or the minimum term keeps any of them: then nothing was done. When the book or
/// a file cannot be written, a running gateway does not take it up, or records are left: what was found stays hidden.
pub fn erase(
    (dir, keys): (&Path, &Arc<dyn KeyProvider>),
    (person, how): (&Person, How),
    now: fn() -> Timestamp,
    stop: Stop<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Erased, SubjectError> {
    let seal = TagSeal::new(&**keys)?;
    let rotate = how.rotate;
    let begun = |book: &Book| {
        let begun = book
            .tombstones()
            .filter(|t| matches!(t.state, State::Erasing | State::Resolved) && t.rotate == rotate);
        find(begun, person, &seal)
    };
    if !how.despite_holds && begun(&Book::read(dir)?)?.is_none() {
        refuse_held(dir, keys, person, now())?;
    }
    let (id, version) = {
        let mut editor = Editor::open(dir)?;
        let id = match begun(editor.book())? {
            Some(id) => id,
            None => editor.erase((person.tags(), rotate), &seal, now())?,
        };
        (id, editor.book().version())
    };
    stop("ordered")?;
    close_dead(dir, keys, now)?;
    wait_until_seen(dir, version, PATIENCE)?;
    progress(Progress::Ordered);
    stop("seen")?;
    let records = resolve(dir, keys, person, id, now)?;
    progress(Progress::Hidden(records));
    stop("resolved")?;
    Erasing::begin(dir, keys, now)?.carry_out(id, stop)?;
    let book = Book::read(dir)?;
    let tombstone = book.get(id).filter(|t| t.state == State::Erased).ok_or(SubjectError::Left(records))?;
    Ok(Erased {
        id,
        ordered: tombstone.at,
        finished: tombstone.since,
        done: tombstone.done.clone().unwrap_or_default(),
    })
}

/// Refuses what would take records that something keeps.
fn refuse_held(
    dir: &Path,
    keys: &Arc<dyn KeyProvider>,
    person: &Person,
    now: Timestamp,
) -> Result<(), SubjectError> {
    let holds = Holds::read(dir)?;
    if holds.is_empty() {
        return Ok(());
    }
    let found = person.numbers(dir, keys, Some(now))?.found;
    let held = held_days(&holds, found.days.keys(), now);
    if held.is_empty() { Ok(()) } else { Err(SubjectError::Held(held)) }
}

/// The days among these that something keeps, and what.
pub fn held_days<'d>(
    holds: &Holds,
    days: impl IntoIterator<Item = &'d String>,
    now: Timestamp,
) -> Vec<String> {
    let by = |day: &'d String| Some(format!("{day} is kept by {}", holds.on(day, Day::of(now))?));
    days.into_iter().filter_map(by).collect()
}

/// Finds the records of an erasure and hides them; how many there are. Every gateway has taken up the order.
fn resolve(
    dir: &Path,
    keys: &Arc<dyn KeyProvider>,
    person: &Person,
    id: u32,
    now: fn() -> Timestamp,
) -> Result<u64, SubjectError> {
    let state = |book: &Book| book.get(id).map(|t| (t.at, t.state, t.rows.numbers()));
    let Some((at, State::Erasing, _)) = state(&Book::read(dir)?) else {
        return Ok(state(&Book::read(dir)?).map_or(0, |(_, _, records)| records));
    };
    let Search { rows, found, .. } = person.numbers(dir, keys, Some(at))?;
    let mut editor = Editor::open(dir)?;
    // Two may have looked for them; the second adds nothing.
    if let Some(tombstone) = editor.book().get(id).filter(|t| t.state == State::Erasing) {
        let new = without(&rows, &tombstone.rows);
        editor.hide(id, &new, Some(Change::Resolved { id, found }), now())?;
    }
    Ok(rows.numbers())
}

/// Finishes what was interrupted: blocks and erasures whose records are not all found. `fresh` also those that were only
/// just begun, because whoever began them may be gone. How many erasures are left to be carried out.
///
/// # Errors
/// As [`erase`].
pub(in crate::store) fn finish_pending(
    dir: &Path,
    keys: &Arc<dyn KeyProvider>,
    fresh: bool,
    now: fn() -> Timestamp,
) -> Result<Vec<u32>, SubjectError> {
    let book = Book::read(dir)?;
    let due = |t: &&Tombstone| fresh || now().since(t.since) >= LEFT_TO_OTHERS;
    let unfound = |t: &&Tombstone| matches!(t.state, State::Blocking | State::Erasing);
    let mut seal = None;
    for tombstone in book.tombstones().filter(unfound).filter(due) {
        if seal.is_none() {
            seal = Some(TagSeal::new(&**keys)?);
        }
        let Some(seal) = &seal else { continue };
        let Some(person) = Person::with(seal.open(tombstone)?) else { continue };
        tracing::warn!(tombstone = tombstone.id, "an interrupted block or erasure is finished");
        if tombstone.state == State::Blocking {
            match finish_block(dir, keys, &person, (tombstone.id, book.version()), now, &|_| Ok(())) {
                Ok(_) | Err(SubjectError::Lifted) => {}
                Err(error) => return Err(error),
            }
        } else {
            wait_until_seen(dir, book.version(), PATIENCE)?;
            resolve(dir, keys, &person, tombstone.id, now)?;
        }
    }
    let book = Book::read(dir)?;
    let found = book.tombstones().filter(|t| t.state == State::Resolved).filter(due);
    Ok(found.map(|t| t.id).collect())
}

/// Takes out of the book what nobody needs: lifted blocks, and erasures from before that time, of which every copy that
/// could come back is out of its time as well.
///
/// # Errors
/// When the book cannot be read or written.
pub(in crate::store) fn tidy(dir: &Path, before: Timestamp, now: Timestamp) -> Result<u64, SubjectError> {
    if Book::read(dir)?.tombstones().next().is_none() {
        return Ok(0);
    }
    Ok(Editor::open(dir)?.tidy(before, now)?)
}

/// Closes what a killed gateway left, by a journal that starts and stops at once: its gap records are written as ever.
fn close_dead(dir: &Path, keys: &Arc<dyn KeyProvider>, now: fn() -> Timestamp) -> Result<(), SubjectError> {
    let journal = dir.join(JOURNAL);
    let living = lock::living(&journal)?;
    if files::live_marks(&journal)?.iter().all(|instance| living.contains(instance)) {
        return Ok(());
    }
    let options = JournalOptions {
        dir: dir.to_owned(),
        // Not used: the keys are given.
        keys_dir: dir.to_owned(),
        durability: crate::config::Durability::Fsync,
        group_commit: Duration::from_millis(1),
        file_bytes: 1 << 20,
        rotate_after: Duration::MAX,
        ring_bytes: 0,
        max_bytes: u64::MAX,
        terms: Terms::days(u32::MAX),
        hold: Duration::ZERO,
        node: node(&journal)?,
        workers: 1,
    };
    let (closing, _) = Journal::start_on(Arc::new(OsDisk), Arc::clone(keys), options, now)?;
    if closing.stop() {
        Ok(())
    } else {
        Err(std::io::Error::other("the journal could not be stopped").into())
    }
}

/// The name of the gateway that wrote the newest file.
fn node(journal: &Path) -> std::io::Result<String> {
    for name in files::list(journal)?.iter().rev() {
        if let Some((head, _)) = files::head(&regular_file::open(&name.path)?)? {
            return Ok(String::from_utf8_lossy(&head.node).into_owned());
        }
    }
    Ok("kelisim".to_owned())
}
