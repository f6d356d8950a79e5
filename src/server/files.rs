//! The thread that looks at files which are taken anew when they change: certificates and location databases.
//!
//! They are replaced while requests go on with the old ones. Whoever looks at a disk that hangs, hangs with it; so this
//! thread does nothing else, and nobody waits for it: it ends at its next look, or with the process. Never touches a
//! request. Bound: one thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::config::Geoip;
use crate::error::chain;
use crate::geo::watch::{Reload, Watcher};
use crate::listen::tls::Store;
use crate::snapshot::Shared;

/// Keeps the thread looking; dropping it ends the thread.
pub struct Watch {
    _alive: Sender<()>,
}

/// Starts the thread.
///
/// # Errors
/// The operating system gives no thread.
pub fn spawn(shared: Arc<Shared>) -> io::Result<Watch> {
    let (alive, ended) = mpsc::channel();
    std::thread::Builder::new().name("files".into()).spawn(move || run(&shared, &ended))?;
    Ok(Watch { _alive: alive })
}

fn run(shared: &Shared, ended: &Receiver<()>) {
    let mut certificates: Vec<Certificate> = shared.certificates.iter().map(Certificate::new).collect();
    let mut databases = Databases::new(shared);
    while ended.recv_timeout(databases.config.check_every.min(EVERY)) == Err(RecvTimeoutError::Timeout) {
        certificates.iter_mut().for_each(Certificate::look);
        databases.look(shared);
    }
}

/// The certificate of one listener.
struct Certificate {
    store: Arc<Store>,
    /// Of the files in use.
    stamp: (Option<SystemTime>, Option<SystemTime>),
    /// Why the files that are there now cannot be used.
    refused: Option<String>,
    /// It was told that the certificate in use has expired; so it was if it had when it was read.
    expired: bool,
}

impl Certificate {
    fn new(store: &Arc<Store>) -> Self {
        let (stamp, expired) = (store.stamp(), has_expired(store));
        Self { store: Arc::clone(store), stamp, refused: None, expired }
    }

    fn look(&mut self) {
        self.look_at_files();
        let expired = has_expired(&self.store);
        if expired && !self.expired {
            self.warn();
        }
        self.expired = expired;
    }

    fn look_at_files(&mut self) {
        let now = self.store.stamp();
        if now == self.stamp {
            self.refused = None;
            return;
        }
        match self.store.reload() {
            Ok(()) => {
                let (listener, file) = self.names();
                tracing::info!(listener, file, "a certificate was reloaded");
                (self.stamp, self.refused, self.expired) = (now, None, has_expired(&self.store));
                self.warn();
            }
            // The stamp stays old: the file may be half-written, so it is tried again. What is told, is told once.
            Err(error) => {
                let error = chain(&error).to_string();
                if self.refused.as_ref() != Some(&error) {
                    let (listener, file) = self.names();
                    tracing::warn!(
                        listener,
                        file,
                        %error,
                        "a changed certificate cannot be used; the last good one stays"
                    );
                    self.refused = Some(error);
                }
            }
        }
    }

    /// Which it is.
    fn names(&self) -> (&str, String) {
        (&self.store.address, self.store.path().display().to_string())
    }

    fn warn(&self) {
        self.store.warnings(clock::now()).iter().for_each(|warning| tracing::warn!("{warning}"));
    }
}

fn has_expired(store: &Store) -> bool {
    store.current().facts.is_some_and(|facts| clock::now() > facts.ends)
}

/// The location databases of the configuration in force.
struct Databases {
    config: Geoip,
    watcher: Watcher,
    looked: Instant,
}

impl Databases {
    fn new(shared: &Shared) -> Self {
        let config = shared.snapshot.load().config.geoip.clone();
        Self { watcher: Watcher::new(&config), config, looked: clock::monotonic() }
    }

    fn look(&mut self, shared: &Shared) {
        let now = &shared.snapshot.load().config.geoip;
        if *now != self.config {
            self.config = now.clone();
            self.watcher = Watcher::new(&self.config);
        }
        if clock::monotonic().duration_since(self.looked) < self.config.check_every {
            return;
        }
        self.looked = clock::monotonic();
        let outcome = self.watcher.check(&shared.geo.load(), clock::now());
        outcome.reloads.iter().for_each(|reload| told(shared, reload));
        // A reload in the meantime has opened its own.
        if let Some(databases) = outcome.databases
            && shared.snapshot.load().config.geoip == self.config
        {
            shared.geo.store(Arc::new(databases));
        }
    }
}

/// Counts and logs what became of a changed database.
fn told(shared: &Shared, reload: &Reload) {
    let (database, counts) = (reload.role.label(), &shared.geo_reloads[reload.role as usize]);
    match &reload.result {
        Ok(warnings) => {
            counts.ok.fetch_add(1, Relaxed);
            tracing::info!(database, "a location database was reloaded");
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Err(error) => {
            counts.failed.fetch_add(1, Relaxed);
            tracing::error!(database, error = %chain(error), "the old location database stays");
        }
    }
}

/// How often certificates are looked at, and whether a reload named other databases.
const EVERY: Duration = Duration::from_secs(2);
