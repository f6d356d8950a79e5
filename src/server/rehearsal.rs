//! A worker without sockets, threads of its own or a past: what a dry run sends its one request through.
//!
//! Compiled from the configuration as at a start, in a temporary data folder that is removed afterwards. The keys and
//! the begin of the observation are those of the real data folder, as far as they can be read, so that a visitor's real
//! cookies are recognised. Never listens, never writes into the real data folder. Bound: one small journal.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::start::{self, Parts, StartError};
use crate::admin::metrics::Metrics;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::consent::receipts::Receipts;
use crate::forward::SiteUpstream;
use crate::geo::Databases;
use crate::listen::tls::Store;
use crate::store::{Journal, JournalOptions};
use crate::worker::Worker;

/// A worker for one request, and what it stands on.
pub struct Rehearsal {
    /// The worker.
    pub worker: Rc<Worker>,
    /// The certificates of the listeners, in the order of the configuration.
    pub certificates: Vec<Option<Arc<Store>>>,
    /// Files of the data folder that are not there or may not be read: what they say is made up anew for this run.
    pub missing: Vec<&'static str>,
    journal: Journal,
    _folder: TempDir,
}

impl Rehearsal {
    /// Compiles the configuration.
    ///
    /// # Errors
    /// Whatever would stop a start, but for sockets.
    pub fn new(config: &Config, now: Timestamp) -> Result<Self, StartError> {
        let mut config = config.clone();
        let real = config.records.dir.clone();
        let failed = |source| StartError::Data { path: real.clone(), source };
        // The folder of a TempDir is open to its owner only.
        let folder = TempDir::new().map_err(failed)?;
        let missing = borrow(&real, folder.path()).map_err(failed)?;
        config.records.dir = folder.path().to_owned();
        config.workers = 1;
        config.timeouts.request_body = BODY_WAIT;
        let records = &mut config.records;
        (records.file_bytes, records.ring_bytes) = (JOURNAL_BYTES, RING_BYTES);
        let cookies = start::cookie_policy(&config)?;
        let (geo, _) = Databases::open(&config.geoip, now)?;
        let certificates = start::open_certificates(&config)?;
        let (metrics, handles) = Metrics::new(&start::labels(&config), 1)?;
        let upstreams = SiteUpstream::load_all(&config.sites, &[])?;
        let parts = Parts { cookies, geo, upstreams, receipts: Receipts::none() };
        let shared = start::shared(&config, parts, &certificates, &metrics, now)?;
        let options = JournalOptions::from_config(&config.records, 1);
        let (journal, recorders) = Journal::start(options, crate::clock::now)?;
        let (Some(handle), Some(recorder)) = (handles.into_iter().next(), recorders.into_iter().next())
        else {
            // One worker was asked for, so there is one handle of each.
            return Err(StartError::Thread(std::io::ErrorKind::NotFound.into()));
        };
        let worker = Rc::new(Worker::new(Arc::new(shared), recorder.attach(), handle));
        Ok(Self { worker, certificates, missing, journal, _folder: folder })
    }

    /// Ends the journal; its files go with the folder.
    pub fn end(self) {
        if !self.journal.stop() {
            tracing::debug!("the journal of a dry run did not stop cleanly");
        }
    }
}

/// Links to the real files, so that no secret is copied. Gives those that are not there or may not be read.
fn borrow(real: &Path, folder: &Path) -> std::io::Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for name in BORROWED {
        let (from, to) = (real.join(name), folder.join(name));
        if fs::File::open(&from).is_err() {
            missing.push(name);
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(fs::canonicalize(from)?, to)?;
    }
    Ok(missing)
}

/// What is read once and never written again by a start.
const BORROWED: [&str; 3] = ["keys/consent.key", "keys/visitor.key", "risk-observe-since"];
/// A body that is not there does not come: there is no use in waiting for it.
const BODY_WAIT: Duration = Duration::from_millis(50);
/// A journal for no record needs no room.
const JOURNAL_BYTES: u64 = 1 << 20;
const RING_BYTES: usize = 1 << 20;
