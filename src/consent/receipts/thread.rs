//! The thread that writes receipts, and the workers' end of it.
//!
//! All choices that wait are written with one sync. Never drops one in silence: what is not stored is an error to who
//! waits. Bounds: [`QUEUE`], [`PATIENCE`].

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::client::{Client, ClientKeys};
use super::entry::Receipt;
use super::{TEXTS, find, hash_of, ledger};
use crate::admin::metrics as table;
use crate::admin::source::{Samples, Source};
use crate::audit::{AuditLog, Destruction, Method, Outcome};
use crate::clock::Timestamp;
use crate::ledger::Ledger;
use crate::store::disk;

/// Most choices that wait for the disk.
pub const QUEUE: usize = 256;
/// How long a choice waits for the disk.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A choice to be stored.
#[derive(Debug)]
pub struct Filing {
    /// The end of the choice before it, if it had ended.
    pub expired: Option<Receipt>,
    /// The choice.
    pub receipt: Receipt,
    /// Who made it.
    pub client: Client,
    /// The texts that the receipt names by hash, as far as they are ours.
    pub texts: Vec<String>,
}

/// Why a choice was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfiled {
    /// Too many wait.
    #[error("too many choices wait for the disk")]
    Full,
    /// The disk refuses.
    #[error("the receipt cannot be written")]
    Failed,
    /// The disk takes longer than [`PATIENCE`]. The receipt may still come to be there, without effect.
    #[error("the receipt is not written in time")]
    Late,
}

/// The workers' end.
#[derive(Debug)]
pub struct Receipts {
    /// `None`: nothing is stored, for a dry run.
    sender: Option<SyncSender<Job>>,
    stats: Arc<Stats>,
}

/// Figures for the metrics page.
#[derive(Debug, Default)]
pub struct Stats {
    stored: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

enum Job {
    File(Box<Filing>, oneshot::Sender<bool>),
    Find(Uuid, oneshot::Sender<Option<String>>),
}

impl Receipts {
    /// Starts the thread; it ends with the last of the workers' ends.
    ///
    /// # Errors
    /// When the log or the keys cannot be opened, or there is no thread to be had.
    pub fn start(
        records: &Path,
        keys: &Path,
        proof_term: Duration,
        clock: fn() -> Timestamp,
    ) -> io::Result<Self> {
        let ledger = ledger(records);
        drop(ledger.open()?);
        let texts = ledger.folder().join(TEXTS);
        disk::private_folder(&texts)?;
        let keys = ClientKeys::at(keys);
        keys.prepare()?;
        keys.note_term(proof_term)?;
        let stats = Arc::new(Stats::default());
        let (sender, jobs) = sync_channel(QUEUE);
        let mut writer = Writer { ledger, texts, keys, proof_term, clock, kept: HashSet::new() };
        std::thread::Builder::new().name("receipts".into()).spawn(move || writer.run(&jobs))?;
        Ok(Self { sender: Some(sender), stats })
    }

    /// Stores nothing and finds nothing: for a dry run.
    #[must_use]
    pub fn none() -> Self {
        Self { sender: None, stats: Arc::default() }
    }

    /// Figures for the metrics page.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Stores a choice; it is on the disk when this returns well.
    ///
    /// # Errors
    /// When it is not; the choice must not take effect then.
    pub async fn file(&self, filing: Filing) -> Result<(), Unfiled> {
        let Some(sender) = &self.sender else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        let result = match sender.try_send(Job::File(Box::new(filing), tell)) {
            Err(TrySendError::Full(_)) => Err(Unfiled::Full),
            Err(TrySendError::Disconnected(_)) => Err(Unfiled::Failed),
            Ok(()) => match tokio::time::timeout(PATIENCE, told).await {
                Ok(Ok(true)) => Ok(()),
                Ok(_) => Err(Unfiled::Failed),
                Err(_) => Err(Unfiled::Late),
            },
        };
        let counter = match result {
            Ok(()) => &self.stats.stored,
            Err(Unfiled::Full) => &self.stats.full,
            Err(Unfiled::Failed) => &self.stats.failed,
            Err(Unfiled::Late) => &self.stats.late,
        };
        counter.fetch_add(1, Relaxed);
        result
    }

    /// The line of a receipt; `None` when it is not there, or the thread is too busy to look.
    pub async fn find(&self, id: Uuid) -> Option<String> {
        let (tell, told) = oneshot::channel();
        self.sender.as_ref()?.try_send(Job::Find(id, tell)).ok()?;
        tokio::time::timeout(PATIENCE, told).await.ok()?.ok()?
    }
}

struct Writer {
    ledger: Ledger,
    texts: PathBuf,
    keys: ClientKeys,
    proof_term: Duration,
    clock: fn() -> Timestamp,
    /// Hashes of texts that are known to be on the disk.
    kept: HashSet<String>,
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut day = None;
        loop {
            let now = (self.clock)();
            if day != Some(now.day()) {
                day = Some(now.day());
                self.destroy_keys(now);
            }
            let first = match jobs.recv_timeout(LOOK_AT_THE_CLOCK) {
                Ok(job) => job,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => continue,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let mut waiting = Vec::new();
            for job in std::iter::once(first).chain(jobs.try_iter().take(QUEUE)) {
                match job {
                    Job::File(filing, tell) => waiting.push((*filing, tell)),
                    Job::Find(id, tell) => {
                        let found = find::line_of(&self.ledger, id).unwrap_or_else(|error| {
                            tracing::error!(%error, "the receipts cannot be read");
                            None
                        });
                        // Whoever asked may have left.
                        let _ = tell.send(found);
                    }
                }
            }
            self.file_all(waiting);
        }
    }

    fn file_all(&mut self, waiting: Vec<(Filing, oneshot::Sender<bool>)>) {
        if waiting.is_empty() {
            return;
        }
        let (filings, tells): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let stored = self.store(filings);
        if let Err(error) = &stored {
            tracing::error!(%error, "receipts of consent cannot be written; the choices are refused");
        }
        for tell in tells {
            // Whoever waited may have left: then the receipt is there without effect.
            let _ = tell.send(stored.is_ok());
        }
    }

    fn store(&mut self, filings: Vec<Filing>) -> io::Result<()> {
        let mut entries = Vec::new();
        for filing in filings {
            for text in &filing.texts {
                self.keep_text(text)?;
            }
            let mut receipt = filing.receipt;
            if let (Some(details), Some(id)) = (&mut receipt.details, &receipt.receipt) {
                details.client = Some(self.keys.seal(&filing.client, id, (self.clock)())?);
            }
            entries.extend(filing.expired);
            entries.push(receipt);
        }
        self.ledger.append(entries).map(|_| ())
    }

    /// Puts a text where its hash finds it, unless it is there.
    fn keep_text(&mut self, text: &str) -> io::Result<()> {
        let hash = hash_of(text);
        if self.kept.contains(&hash) {
            return Ok(());
        }
        let path = self.texts.join(&hash);
        if !path.is_file() {
            let fresh = self.texts.join(format!(".new.{}", std::process::id()));
            let mut file: File =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            disk::sync_folder(&path)?;
        }
        self.kept.insert(hash);
        Ok(())
    }

    fn destroy_keys(&self, now: Timestamp) {
        let done = self.keys.over(self.proof_term, now).and_then(|months| {
            months.iter().try_for_each(|month| {
                self.destroy_key(month, now)?;
                tracing::info!(month, "address and user agent of old receipts can be opened no more");
                Ok(())
            })
        });
        if let Err(error) = done {
            tracing::error!(%error, "keys of old receipts cannot be destroyed");
        }
    }

    /// Destroys the key of a month, with an entry in the audit log before and after it.
    fn destroy_key(&self, month: &str, now: Timestamp) -> io::Result<()> {
        let log = AuditLog::open(self.ledger.records()).map_err(io::Error::other)?;
        let what = Destruction {
            class: CLASS,
            day: month,
            method: Method::Keys,
            files: 0,
            rows: 0,
            keys: 1,
            reason: "consent.proof_term",
        };
        let number = log.intend(&what, now).map_err(io::Error::other)?;
        self.keys.destroy(month)?;
        log.destroyed(number, &what, Outcome::Complete, now).map_err(io::Error::other)
    }
}

impl Source for Stats {
    fn collect(&self, out: &mut Samples) {
        for (result, counter) in
            [("stored", &self.stored), ("full", &self.full), ("failed", &self.failed), ("late", &self.late)]
        {
            out.counter(table::CONSENT_RECEIPTS, [result], counter.load(Relaxed));
        }
    }
}

/// What the audit log calls address and user agent of receipts.
pub const CLASS: &str = "receipt";
/// How often the day is looked at while nobody chooses.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn filing() -> Filing {
        let receipt = Receipt {
            n: 0,
            time: Timestamp::from_secs(1_795_341_600).to_string(),
            event: Kind::Refused,
            prev: String::new(),
            receipt: None,
            site: None,
            details: None,
            found: None,
        };
        let client = Client { address: "203.0.113.7".into(), user_agent: None };
        Filing { expired: None, receipt, client, texts: vec!["text".into()] }
    }

    fn now(future: impl Future<Output = Result<(), Unfiled>>) -> Result<(), Unfiled> {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_full_queue_and_a_dead_thread_refuse_at_once_and_are_counted() {
        let (sender, jobs) = sync_channel(QUEUE);
        let receipts = Receipts { sender: Some(sender.clone()), stats: Arc::default() };
        for _ in 0..QUEUE {
            assert!(sender.try_send(Job::Find(Uuid::nil(), oneshot::channel().0)).is_ok());
        }
        assert_eq!(now(receipts.file(filing())), Err(Unfiled::Full));
        drop(jobs);
        assert_eq!(now(receipts.file(filing())), Err(Unfiled::Failed));
        let counted = (receipts.stats.full.load(Relaxed), receipts.stats.failed.load(Relaxed));
        assert_eq!((counted, receipts.stats.stored.load(Relaxed)), ((1, 1), 0));
    }

    #[test]
    fn texts_are_kept_once_under_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let clock = || Timestamp::from_secs(1_795_341_600);
        let keys = folder.path().join("keys");
        let receipts = Receipts::start(folder.path(), &keys, Duration::from_secs(86_400), clock).unwrap();
        for _ in 0..2 {
            assert_eq!(now(receipts.file(filing())), Ok(()));
        }
        let texts = folder.path().join("receipts").join(TEXTS);
        let kept: Vec<_> = fs::read_dir(&texts).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(kept, [hash_of("text").as_str()]);
        assert_eq!(receipts.stats.stored.load(Relaxed), 2);
    }
}
