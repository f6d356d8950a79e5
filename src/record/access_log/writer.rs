//! The one thread that writes the access log.
//!
//! Takes lines from every worker's queue, in turn, and writes them; opens its file again when told. A disk that is slow
//! or full costs lines, which are counted, and never a request. At the end what is queued is written, unless the file
//! stands still for longer than `LAST_WORDS`. Bound: the queues, and `BATCH_BYTES` in hand.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::{Consumer, RingBuffer};

use super::AccessLog;
use super::line::Form;
use crate::admin::metrics as table;
use crate::admin::source::{Samples, Source};
use crate::clock;
use crate::config;

/// What became of the lines.
#[derive(Debug, Default)]
pub struct Stats {
    /// Written.
    pub written: AtomicU64,
    /// Not queued, because the queue was full.
    pub dropped: AtomicU64,
    /// Lost, because writing failed.
    pub failed: AtomicU64,
}

impl Source for Stats {
    fn collect(&self, out: &mut Samples) {
        out.counter(table::ACCESS_LOG_LINES, ["written"], self.written.load(Relaxed));
        out.counter(table::ACCESS_LOG_LINES, ["dropped"], self.dropped.load(Relaxed));
        out.counter(table::ACCESS_LOG_LINES, ["failed"], self.failed.load(Relaxed));
    }
}

/// The running writer.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    wishes: Arc<Wishes>,
    /// What became of the lines.
    pub stats: Arc<Stats>,
}

/// What the writer is asked to do.
#[derive(Debug, Default)]
struct Wishes {
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl Writer {
    /// Opens the file and starts the thread; the ends for `workers` workers come with it. `None` when `log.access` is
    /// `off`.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread.
    pub fn start(log: &config::Log, workers: usize) -> io::Result<Option<(Self, Vec<AccessLog>)>> {
        let Some(format) = log.access else { return Ok(None) };
        let form = Form { format, user_agent: log.access_user_agent };
        let output = Output::open(log.access_file.as_deref())?;
        let stats = Arc::new(Stats::default());
        let (mut ends, mut queues) = (Vec::with_capacity(workers), Vec::with_capacity(workers));
        for _ in 0..workers {
            let (producer, consumer) = RingBuffer::new(log.access_queue);
            ends.push(AccessLog::new(form, producer, Arc::clone(&stats)));
            queues.push(consumer);
        }
        let wishes = Arc::new(Wishes::default());
        let pump =
            Pump { queues, output, wishes: Arc::clone(&wishes), stats: Arc::clone(&stats), ailing: false };
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(|| pump.run())?;
        Ok(Some((Self { thread, wishes, stats }, ends)))
    }

    /// Asks for the file to be opened again, after it was renamed.
    pub fn reopen(&self) {
        self.wishes.reopen.store(true, Relaxed);
        self.thread.thread().unpark();
    }

    /// Writes what is queued and ends. A file that stands still is left alone, with its lines.
    pub fn stop(self) {
        self.wishes.stop.store(true, Relaxed);
        self.thread.thread().unpark();
        let deadline = clock::monotonic() + LAST_WORDS;
        while !self.thread.is_finished() {
            if clock::monotonic() >= deadline {
                tracing::warn!("the access log stands still; its last lines are lost");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.thread.join().is_err() {
            tracing::error!("the thread of the access log panicked");
        }
    }
}

/// What the thread works on.
struct Pump {
    queues: Vec<Consumer<Box<[u8]>>>,
    output: Output,
    wishes: Arc<Wishes>,
    stats: Arc<Stats>,
    /// Whether the last write failed: said once, not for every batch.
    ailing: bool,
}

impl Pump {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        loop {
            // Asked first: what was queued before the wish is still written.
            let stopping = self.wishes.stop.load(Relaxed);
            if self.wishes.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            let lines = self.take(&mut batch);
            if lines > 0 {
                self.write(&batch, lines);
            } else if stopping {
                return;
            } else {
                std::thread::park_timeout(PAUSE);
            }
        }
    }

    /// Takes lines in turn until the batch is full or the queues are empty.
    fn take(&mut self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let mut lines = 0;
        for queue in &mut self.queues {
            while batch.len() < BATCH_BYTES
                && let Ok(line) = queue.pop()
            {
                batch.extend_from_slice(&line);
                lines += 1;
            }
        }
        // Whoever came last comes first next time.
        self.queues.rotate_left(1);
        lines
    }

    fn write(&mut self, batch: &[u8], lines: u64) {
        match self.output.write(batch) {
            Ok(()) => {
                self.stats.written.fetch_add(lines, Relaxed);
                self.ailing = false;
            }
            Err(error) => {
                self.stats.failed.fetch_add(lines, Relaxed);
                if !std::mem::replace(&mut self.ailing, true) {
                    tracing::error!(%error, "the access log cannot be written");
                }
            }
        }
    }

    fn reopen(&mut self) {
        match self.output.reopen() {
            Ok(()) => tracing::info!("the access log was opened again"),
            Err(error) => {
                tracing::error!(%error, "the access log cannot be opened again; the old file stays");
            }
        }
    }
}

/// Where lines go.
enum Output {
    Stdout,
    File(PathBuf, File),
}

impl Output {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        match path {
            None => Ok(Self::Stdout),
            Some(path) => Ok(Self::File(path.to_owned(), open(path)?)),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            *file = open(path)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(batch)?;
                stdout.flush()
            }
            Self::File(_, file) => file.write_all(batch),
        }
    }
}

/// For us alone to read: lines are about people. Opened for reading too, since opening a FIFO for writing alone would
/// wait for its reader.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Whether the file could be opened, as far as can be told without making it.
///
/// # Errors
/// It could not.
pub fn can_open(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            match std::fs::metadata(folder.unwrap_or(Path::new(".")))?.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        opened => opened.map(|_| ()),
    }
}

/// How long the writer sleeps when nothing is queued.
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the end waits for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessFormat;

    fn log(path: &Path, access_queue: usize) -> config::Log {
        config::Log {
            level: "info".into(),
            access: Some(AccessFormat::Json),
            access_file: Some(path.to_owned()),
            access_queue,
            access_user_agent: true,
        }
    }

    fn push(end: &AccessLog, line: &str) {
        end.0.as_ref().unwrap().push(line.as_bytes().to_vec());
    }

    #[test]
    fn lines_of_all_workers_are_written_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (writer, ends) = Writer::start(&log(&path, 16), 2).unwrap().unwrap();
        for (n, end) in ends.iter().enumerate() {
            (0..8).for_each(|line| push(end, &format!("{n} {line}\n")));
        }
        let stats = Arc::clone(&writer.stats);
        writer.stop();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), stats.written.load(Relaxed)), (16, 16));
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_a_standing_file_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (writer, ends) = Writer::start(&log(&path, 16), 1).unwrap().unwrap();
        // Nobody reads: the pipe takes what it has room for, then the writer stands still and the queue fills up.
        let line = "x".repeat(BATCH_BYTES);
        while writer.stats.dropped.load(Relaxed) < 5 {
            push(&ends[0], &line);
        }
        writer.stop();
    }

    #[test]
    fn a_failed_write_is_counted() {
        let (writer, ends) = Writer::start(&log(Path::new("/dev/full"), 16), 1).unwrap().unwrap();
        push(&ends[0], "lost\n");
        let stats = Arc::clone(&writer.stats);
        writer.stop();
        assert_eq!((stats.failed.load(Relaxed), stats.written.load(Relaxed)), (1, 0));
    }

    #[test]
    fn off_means_no_thread_and_no_file() {
        let off = config::Log { access: None, ..log(Path::new("/nowhere/at/all"), 16) };
        assert!(Writer::start(&off, 1).unwrap().is_none());
        let bad = log(Path::new("/nowhere/at/all"), 16);
        assert!(Writer::start(&bad, 1).is_err());
    }
}
