//! The thread by which a running gateway learns of blocks and erasures, and says so.
//!
//! It looks at the book a few times a second, gives the journal's writer the new list, waits until the writer works with
//! it, and writes that down in `subjects/seen-<instance>`: who blocks or erases waits for it. A book that cannot be read
//! is tried again; nothing is said then. Never touches a request. Bound: one book in memory.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::book::{self, Book, FOLDER, State};
use super::linking::{Board, Listed};
use crate::seal::KeyProvider;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::lock;
use crate::store::recorder::Shared;
use crate::store::sync::SyncQueue;

/// How often the book is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two looks whether the writer works with the list.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// What the thread works with.
pub(in crate::store) struct Watch {
    pub(in crate::store) watched: Watched,
    pub(in crate::store) shared: Arc<Shared>,
    pub(in crate::store) queue: Arc<SyncQueue>,
    pub(in crate::store) instance: u32,
}

/// The book that is watched.
pub(in crate::store) struct Watched {
    dir: PathBuf,
    keys: Arc<dyn KeyProvider>,
    board: Arc<Board>,
    stamp: Option<(u64, u64, i64, i64)>,
    failing: bool,
}

impl Watched {
    /// Reads the book for the first time, before anything is written. One that cannot be read stops no start.
    pub(in crate::store) fn begin(dir: &Path, keys: Arc<dyn KeyProvider>) -> Self {
        let board = Arc::<Board>::default();
        let mut watched = Self { dir: dir.to_owned(), keys, board, stamp: None, failing: false };
        if let Some(listed) = watched.look() {
            watched.board.listed.store(Arc::new(listed));
        }
        watched
    }

    pub(in crate::store) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// The new list, if the book has changed.
    fn look(&mut self) -> Option<Listed> {
        let stamp = match std::fs::metadata(book::path(&self.dir)) {
            Ok(m) => Ok((m.len(), m.ino(), m.mtime(), m.mtime_nsec())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok((0, 0, 0, 0)),
            Err(cause) => Err(cause),
        };
        let listed = stamp.and_then(|stamp| {
            if self.stamp == Some(stamp) {
                return Ok(None);
            }
            let book = Book::read(&self.dir)?;
            let listed = Listed::of(&book, &*self.keys).map_err(io::Error::other)?;
            self.tell(&book);
            self.stamp = Some(stamp);
            Ok(Some(listed))
        });
        match listed {
            Ok(listed) => {
                self.failing = false;
                listed
            }
            Err(error) => {
                self.board.errors.fetch_add(1, Relaxed);
                if !self.failing {
                    tracing::error!(%error, "the book of tombstones cannot be read: blocks are not taken up");
                }
                self.failing = true;
                None
            }
        }
    }

    fn tell(&self, book: &Book) {
        let count = |wanted: &[State]| book.tombstones().filter(|t| wanted.contains(&t.state)).count() as u64;
        let [blocked, erasing, erased] = &self.board.tombstones;
        blocked.store(count(&[State::Blocking, State::Blocked]), Relaxed);
        erasing.store(count(&[State::Erasing, State::Resolved]), Relaxed);
        erased.store(count(&[State::Erased]), Relaxed);
    }
}

impl Watch {
    /// Works until the journal is closed.
    pub(in crate::store) fn run(mut self) -> bool {
        let mut said = None;
        if let Err(error) = forget_the_dead(&self.watched.dir) {
            tracing::warn!(%error, "what killed processes said of blocks could not be removed");
        }
        while !self.shared.finished.load(SeqCst) && !self.shared.closed.load(SeqCst) {
            if let Some(listed) = self.watched.look() {
                // First: a file that is begun with the new list must not have the old keys.
                if listed.erasures > self.watched.board.listed.load().erasures {
                    self.queue.forget_keys();
                }
                self.watched.board.listed.store(Arc::new(listed));
                // Interrupted work may be its to finish.
                if let Some(compactor) = self.shared.compactor.get() {
                    compactor.unpark();
                }
            }
            let wanted = self.watched.board.listed.load().version;
            match self.watched.board.seen() {
                Some((version, left)) if version == wanted && !self.watched.failing => {
                    if said != Some((version, left)) {
                        match self.say(version, left) {
                            Ok(()) => said = Some((version, left)),
                            Err(error) => {
                                tracing::error!(%error, "it cannot be said that a block was taken up");
                            }
                        }
                    }
                    std::thread::park_timeout(LOOK_EVERY);
                }
                _ if self.watched.failing => std::thread::park_timeout(LOOK_EVERY),
                _ => {
                    self.shared.wake_writer();
                    std::thread::park_timeout(ASK_EVERY);
                }
            }
        }
        // Nobody asks a process that is gone.
        let _ = std::fs::remove_file(seen_path(&self.watched.dir, self.instance));
        true
    }

    /// Whole or not at all.
    fn say(&self, version: u64, left: u64) -> io::Result<()> {
        let path = seen_path(&self.watched.dir, self.instance);
        crate::store::disk::private_folder(&self.watched.dir.join(FOLDER))?;
        let fresh = path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(format!("{version} {left}\n").as_bytes())?;
        std::fs::rename(&fresh, &path)
    }
}

/// Removes what processes said that were killed: nobody asks them, and their numbers are not given again.
fn forget_the_dead(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir.join(FOLDER)) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    };
    let living = lock::living(&dir.join(JOURNAL))?;
    for entry in entries {
        let path = entry?.path();
        let number = |path: &Path| path.file_stem()?.to_str()?.strip_prefix(SEEN)?.parse::<u32>().ok();
        if number(&path).is_some_and(|instance| !living.contains(&instance)) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Where a process says what it has seen.
pub(super) fn seen_path(dir: &Path, instance: u32) -> PathBuf {
    dir.join(FOLDER).join(format!("{SEEN}{instance:06}"))
}

/// How the names of those files begin.
const SEEN: &str = "seen-";
