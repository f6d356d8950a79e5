//! Keeps the rules in force up to date with the operator's files, on a thread of its own.
//!
//! [`AgentData`] is what records are enriched by; [`Loader`] looks at the files that the configuration names, compiles
//! those that changed and puts them in force. A file that cannot be used costs a count and a message; what was in force
//! stays. The same thread parses user agents that the journal's writer had no time for. Never delays a start, a request or
//! the journal. Bounds: two files, one being compiled; [`MOST_WANTED`] texts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::data::{Data, DataError, Role};
use super::enrich;
use super::patterns::Scratch;

/// The rules in force, the figures about them, and the texts that the journal's writer had no time for.
pub struct AgentData {
    pub(super) data: ArcSwap<Data>,
    /// Figures for the metrics page.
    pub figures: Figures,
    wanted: Mutex<Vec<Box<[u8]>>>,
    learned: Mutex<Vec<Learned>>,
    learner: OnceLock<Thread>,
}

/// What a text says, in encoded fields, by certain rules.
pub(super) struct Learned {
    pub(super) text: Box<[u8]>,
    pub(super) fields: Box<[u8]>,
    pub(super) data: Arc<Data>,
}

/// Figures about files and caches.
#[derive(Debug, Default)]
pub struct Figures {
    /// Texts that a cache knew.
    pub hits: AtomicU64,
    /// Texts that had to be parsed.
    pub misses: AtomicU64,
    /// Texts that a cache forgot because its room was used up.
    pub evicted: AtomicU64,
    /// Texts whose rules took longer than they may.
    pub given_up: AtomicU64,
    /// Texts that the writer had no time for and that were parsed beside it.
    pub learned: AtomicU64,
    /// Records that got these fields only on their way into a segment.
    pub completed: AtomicU64,
    /// Files put in force, by [`Role`].
    pub loaded: [AtomicU64; Role::ALL.len()],
    /// Files refused, by [`Role`].
    pub refused: [AtomicU64; Role::ALL.len()],
}

impl Default for AgentData {
    fn default() -> Self {
        Self {
            data: ArcSwap::from_pointee(Data::built_in()),
            figures: Figures::default(),
            wanted: Mutex::default(),
            learned: Mutex::default(),
            learner: OnceLock::new(),
        }
    }
}

impl AgentData {
    /// The rules in force.
    #[must_use]
    pub fn in_force(&self) -> Arc<Data> {
        self.data.load_full()
    }

    /// Has a text parsed by the loader's thread, if that has room. Never waits.
    pub(super) fn ask(&self, text: &[u8]) {
        let Ok(mut wanted) = self.wanted.try_lock() else { return };
        if wanted.len() < MOST_WANTED && !wanted.iter().any(|asked| **asked == *text) {
            wanted.push(text.into());
            if let Some(learner) = self.learner.get() {
                learner.unpark();
            }
        }
    }

    /// What was parsed since this was asked before. Never waits.
    pub(super) fn take_learned(&self) -> Vec<Learned> {
        self.learned.try_lock().map(|mut learned| std::mem::take(&mut *learned)).unwrap_or_default()
    }

    /// Parses what was asked for.
    pub(super) fn learn(&self, scratch: &mut Scratch) {
        let wanted = std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        let data = self.in_force();
        for text in wanted {
            let Some(fields) = enrich::fields_within(&data, &text, scratch, enrich::COMPLETE_BUDGET) else {
                self.figures.given_up.fetch_add(1, Relaxed);
                continue;
            };
            self.figures.learned.fetch_add(1, Relaxed);
            let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
            if learned.len() < MOST_WANTED {
                learned.push(Learned { text, fields, data: Arc::clone(&data) });
            }
        }
    }
}

/// Which files are wanted, by [`Role`].
pub type Files = [Option<PathBuf>; Role::ALL.len()];

/// The thread that watches the files.
pub struct Loader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Loader {
    /// Starts the thread. `files` tells which files the configuration in force names.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(live: Arc<AgentData>, files: impl Fn() -> Files + Send + 'static) -> io::Result<Self> {
        let learner = Arc::clone(&live);
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("agent-data".to_owned()).spawn(move || {
            // Linux: of this thread only. Compiling rules is never in a hurry.
            if let Err(cause) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(error = %io::Error::from(cause), "rules are compiled with normal priority");
            }
            let (mut watched, mut scratch) = (Watched::default(), Scratch::default());
            while !stopped.load(Relaxed) {
                watched.look(&live, &files());
                live.learn(&mut scratch);
                std::thread::park_timeout(LOOK_EVERY);
            }
        })?;
        // Set before only where a test starts two.
        let _ = learner.learner.set(thread.thread().clone());
        Ok(Self { stop, thread })
    }

    /// Ends the thread, and does not wait for it: a file on a disk that hangs is read for ever.
    pub fn stop(self) {
        if self.thread.is_finished() {
            tracing::error!("the thread that watches the rules for user agents ended early");
        }
        self.stop.store(true, Relaxed);
        self.thread.thread().unpark();
    }
}

/// What was seen of the files.
#[derive(Default)]
pub(super) struct Watched([Option<Seen>; Role::ALL.len()]);

/// A file as it was looked at last, whether it was taken or refused.
#[derive(PartialEq)]
struct Seen {
    path: PathBuf,
    /// `None`: it was not there.
    stamp: Option<Stamp>,
}

/// What changes with a file: size, modification time in nanoseconds, inode.
type Stamp = (u64, i64, i64, u64);

impl Watched {
    /// Looks at each file once; what changed is put in force or refused.
    pub(super) fn look(&mut self, live: &AgentData, files: &Files) {
        for role in Role::ALL {
            match &files[role as usize] {
                Some(path) => self.look_at(live, role, path),
                None if self.0[role as usize].take().is_some() => {
                    live.data.store(Arc::new(live.data.load().without(role)));
                    tracing::info!(key = role.key(), "no rules are configured any more");
                }
                None => {}
            }
        }
    }

    fn look_at(&mut self, live: &AgentData, role: Role, path: &Path) {
        let stamp = stamp(path);
        let seen = Seen { path: path.to_owned(), stamp: stamp.as_ref().ok().copied() };
        if self.0[role as usize].as_ref() == Some(&seen) {
            return;
        }
        let loaded = stamp.map_err(DataError::from).and_then(|_| Data::load(role, path));
        // A file that changed in the meantime is looked at again, whatever came of it.
        if self::stamp(path).ok() != seen.stamp {
            return;
        }
        self.0[role as usize] = Some(seen);
        match loaded {
            Ok(loaded) => {
                let data = live.data.load().with(loaded);
                let counts = data.counts(role).unwrap_or_default();
                tracing::info!(
                    key = role.key(),
                    rules = counts.rules,
                    unusable = counts.unusable,
                    version = data.version(),
                    "rules for user agents were read"
                );
                live.data.store(Arc::new(data));
                live.figures.loaded[role as usize].fetch_add(1, Relaxed);
            }
            Err(error) => {
                live.figures.refused[role as usize].fetch_add(1, Relaxed);
                let file = path.display();
                let error = crate::error::chain(&error);
                tracing::error!(key = role.key(), %file, %error, "the file cannot be used; what was in force stays");
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino()))
}

/// Most texts that wait to be parsed, and most that wait to be taken over.
pub const MOST_WANTED: usize = 256;
/// How often the files and the configuration are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Behind requests and the journal.
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const BOTS: &[u8] = br#"[{"pattern": "MineBot", "tags": ["seo"]}]"#;

    fn put(path: &Path, bytes: &[u8]) {
        let fresh = path.with_extension("new");
        fs::write(&fresh, bytes).unwrap();
        fs::rename(&fresh, path).unwrap();
    }

    fn counts(live: &AgentData) -> (u64, u64) {
        let of = |n: &[AtomicU64; 2]| n[Role::Bots as usize].load(Relaxed);
        (of(&live.figures.loaded), of(&live.figures.refused))
    }

    #[test]
    fn a_file_that_cannot_be_used_leaves_the_one_before_in_force_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bots.json");
        let (live, mut watched) = (AgentData::default(), Watched::default());
        let files: Files = [None, Some(path.clone())];
        let version = |live: &AgentData| live.in_force().version().to_owned();
        let built_in = version(&live);

        watched.look(&live, &files);
        watched.look(&live, &files);
        assert_eq!((counts(&live), version(&live)), ((0, 1), built_in.clone()), "it is not there");
        put(&path, BOTS);
        watched.look(&live, &files);
        watched.look(&live, &files);
        let good = version(&live);
        assert_eq!((counts(&live), good.starts_with("builtin-")), ((1, 1), true));
        assert_ne!(good, built_in);
        for bad in [&b"[{"[..], b"\xff", b"[]", &vec![b' '; crate::agents::data::FILE_BYTES + 1]] {
            put(&path, bad);
            let before = counts(&live).1;
            watched.look(&live, &files);
            watched.look(&live, &files);
            assert_eq!((counts(&live), version(&live)), ((1, before + 1), good.clone()));
        }
        put(&path, br#"[{"pattern": "OtherBot"}]"#);
        watched.look(&live, &files);
        assert!(counts(&live).0 == 2 && version(&live) != good);
        watched.look(&live, &[None, None]);
        assert_eq!(version(&live), built_in, "no longer configured");
    }

    #[test]
    fn texts_wait_up_to_a_limit_and_each_once() {
        let live = AgentData::default();
        for _ in 0..2 {
            (0..2 * MOST_WANTED).for_each(|n| live.ask(n.to_string().as_bytes()));
        }
        assert_eq!(live.wanted.lock().unwrap().len(), MOST_WANTED);
        for _ in 0..2 {
            live.learn(&mut Scratch::default());
            (0..MOST_WANTED).for_each(|n| live.ask(n.to_string().as_bytes()));
        }
        let learned = live.take_learned();
        assert_eq!(learned.len(), MOST_WANTED, "nobody took them over");
        assert!(learned.iter().all(|learned| !learned.fields.is_empty()));
        assert!(live.take_learned().is_empty());
    }

    #[test]
    fn the_thread_puts_a_file_in_force_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bots.json");
        put(&path, BOTS);
        let live = Arc::new(AgentData::default());
        let loader = Loader::start(Arc::clone(&live), move || [None, Some(path.clone())]).unwrap();
        while counts(&live).0 == 0 {
            std::thread::yield_now();
        }
        loader.stop();
        assert!(live.in_force().counts(Role::Bots).is_some_and(|c| c.rules == 1));
    }
}
