//! What the tests share: options, a runtime, disks that fail on demand, and a way to read everything back.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::clock::{self, Timestamp};
use crate::config::Durability;
use crate::record::{Column, Event, Kind, Purpose, Value};
use crate::seal::{KeyClass, Keyring, LocalKeys};
use crate::store::disk::{Disk, DiskFile, OsDisk};
use crate::store::query::testing::granted;
use crate::store::{Journal, JournalOptions, Reader, Recorder, RecorderHandle, TimeRange};

pub(super) fn options(dir: &Path) -> JournalOptions {
    JournalOptions {
        dir: dir.to_owned(),
        keys_dir: dir.join("keys"),
        durability: Durability::Group,
        group_commit: Duration::from_millis(20),
        file_bytes: 1 << 20,
        ring_bytes: 1 << 20,
        max_bytes: 1 << 30,
        terms: crate::store::Terms::days(90),
        rotate_after: Duration::from_secs(900),
        hold: Duration::from_millis(5),
        node: "node-1".into(),
        workers: 1,
    }
}

/// A journal with one worker, on any disk.
pub(super) fn start(disk: Arc<dyn Disk>, options: JournalOptions) -> (Journal, RecorderHandle) {
    let keys = LocalKeys::prepare(&options.keys_dir).expect("keys");
    let (journal, mut handles) =
        Journal::start_on(disk, Arc::new(keys), options, clock::now).expect("a journal");
    (journal, handles.remove(0))
}

/// Runs a worker until `work` ends.
pub(super) fn work<T>(handle: RecorderHandle, work: impl AsyncFnOnce(Recorder) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let recorder = handle.attach();
        tokio::task::spawn_local(recorder.run());
        work(recorder).await
    })
}

pub(super) fn access(path: &str) -> Event<'_> {
    Event { start_ts: Some(clock::now()), path: Some(path.as_bytes()), ..Event::default() }
}

/// What a purpose opens in a data folder.
pub(super) fn keyring(dir: &Path, purpose: Purpose) -> Keyring {
    let grant = granted(purpose);
    Keyring::new(&grant, Arc::new(LocalKeys::at(&dir.join("keys"))))
}

/// One row, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) seq: u64,
    pub(super) ts: Timestamp,
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) gap: String,
    pub(super) count: Option<u64>,
}

pub(super) fn read(dir: &Path) -> Vec<Read> {
    let text = |value: Option<Value<'_>>| match value {
        Some(Value::Text(t)) => String::from_utf8_lossy(t).into_owned(),
        _ => String::new(),
    };
    let column = |name| Column::by_name(name).expect("a column");
    let mut rows = Vec::new();
    let mut reader = Reader::open(dir).expect("a folder");
    reader
        .for_each_row(&keyring(dir, Purpose::Support), &TimeRange::default(), |row| {
            let count = match row.get(column("gap.count")) {
                Some(Value::U64(n)) => Some(n),
                _ => None,
            };
            let (path, gap) = (text(row.get(column("url.path"))), text(row.get(column("gap.reason"))));
            rows.push(Read { seq: row.seq, ts: row.ts, kind: row.kind, path, gap, count });
            ControlFlow::Continue(())
        })
        .expect("readable files");
    rows
}

pub(super) fn paths(dir: &Path) -> Vec<String> {
    read(dir).into_iter().filter(|r| r.kind == Kind::Access).map(|r| r.path).collect()
}

pub(super) fn gaps(dir: &Path) -> Vec<(String, Option<u64>)> {
    read(dir).into_iter().filter(|r| r.kind == Kind::Gap).map(|r| (r.gap, r.count)).collect()
}

/// A disk that can be told to fail, and that shows a second, unsynced world: with `volatile`, bytes reach the real file
/// only at a sync, so a copy of the folder is what power loss would leave.
#[derive(Clone, Default)]
pub(super) struct TestDisk(Arc<Knobs>);

#[derive(Default)]
struct Knobs {
    full: AtomicBool,
    sync_fails: AtomicBool,
    volatile: AtomicBool,
    /// Bytes that a write takes before it stops short.
    short: AtomicU64,
    stuck: Mutex<bool>,
    freed: Condvar,
}

impl TestDisk {
    pub(super) fn full(&self, on: bool) {
        self.0.full.store(on, SeqCst);
    }

    pub(super) fn sync_fails(&self, on: bool) {
        self.0.sync_fails.store(on, SeqCst);
    }

    pub(super) fn volatile(&self) {
        self.0.volatile.store(true, SeqCst);
    }

    /// The next write stops after so many bytes, then the disk is full.
    pub(super) fn short(&self, bytes: u64) {
        self.0.short.store(bytes, SeqCst);
    }

    pub(super) fn stuck(&self, on: bool) {
        *self.0.stuck.lock().expect("unpoisoned") = on;
        self.0.freed.notify_all();
    }
}

impl Disk for TestDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        if self.0.full.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OsDisk.create(path, bytes)?;
        Ok(Box::new(TestFile { file, knobs: self.0.clone(), pending: Mutex::default() }))
    }
}

struct TestFile {
    file: Box<dyn DiskFile>,
    knobs: Arc<Knobs>,
    pending: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl DiskFile for TestFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut stuck = self.knobs.stuck.lock().expect("unpoisoned");
        while *stuck {
            stuck = self.knobs.freed.wait(stuck).expect("unpoisoned");
        }
        if self.knobs.full.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let short = self.knobs.short.swap(0, SeqCst) as usize;
        if short > 0 {
            self.knobs.full.store(true, SeqCst);
            return self.file.write_at(&bytes[..short.min(bytes.len())], offset);
        }
        if self.knobs.volatile.load(SeqCst) {
            self.pending.lock().expect("unpoisoned").push((offset, bytes.to_vec()));
            return Ok(bytes.len());
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.knobs.sync_fails.load(SeqCst) {
            return Err(io::Error::other("broken"));
        }
        for (offset, bytes) in self.pending.lock().expect("unpoisoned").drain(..) {
            self.file.write_at(&bytes, offset)?;
        }
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// A disk that remembers every write that was asked for, and fails some of them half-way.
#[derive(Clone, Default)]
pub(super) struct RecordingDisk(Arc<Recording>);

/// File, offset and bytes.
pub(super) type Write = (std::path::PathBuf, u64, Vec<u8>);

#[derive(Default)]
struct Recording {
    writes: Mutex<Vec<Write>>,
    failing: AtomicU64,
}

impl RecordingDisk {
    /// So many of the next writes stop half-way.
    pub(super) fn fail_writes(&self, count: u64) {
        self.0.failing.store(count, SeqCst);
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        self.0.writes.lock().expect("unpoisoned").clone()
    }
}

impl Disk for RecordingDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OsDisk.create(path, bytes)?;
        Ok(Box::new(RecordingFile { file, path: path.to_owned(), recording: self.0.clone() }))
    }
}

struct RecordingFile {
    file: Box<dyn DiskFile>,
    path: std::path::PathBuf,
    recording: Arc<Recording>,
}

impl DiskFile for RecordingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.recording.writes.lock().expect("unpoisoned").push((self.path.clone(), offset, bytes.to_vec()));
        if self.recording.failing.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("half a write"));
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// Copies a data folder as it is now: what a crash at this moment would leave.
pub(super) fn snapshot(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let journal = copy.path().join("journal");
    std::fs::create_dir(&journal).expect("a folder");
    for entry in std::fs::read_dir(dir.join("journal")).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), journal.join(entry.file_name())).expect("a copy");
        }
    }
    for class in KeyClass::ALL.map(KeyClass::label) {
        let keys = copy.path().join("keys").join(class);
        std::fs::create_dir_all(&keys).expect("a folder");
        for entry in std::fs::read_dir(dir.join("keys").join(class)).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), keys.join(entry.file_name())).expect("a copy");
        }
    }
    copy
}

/// A place for what a worker's tasks find.
pub(super) fn shared<T: Default>() -> Rc<RefCell<T>> {
    Rc::default()
}
