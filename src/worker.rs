//! What one worker thread owns.
//!
//! Its pools, its counters, its end of the journal and its connections. Never leaves its thread, so nothing here is
//! locked. Bound: that of its parts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::admin::worker::WorkerMetrics;
use crate::cookies::expire::Expirer;
use crate::forward::Upstreams;
use crate::identify::visitor::VerifiedCache;
use crate::ingress::request_id::Ids;
use crate::listen::connection::Connection;
use crate::snapshot::{Shared, Snapshot};
use crate::store::journal::Recorder;

/// One worker thread's state.
#[derive(Debug)]
pub struct Worker {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// This thread's end of the journal.
    pub recorder: Recorder,
    /// This thread's counters.
    pub metrics: Rc<WorkerMetrics>,
    /// Makes request ids.
    pub ids: Ids,
    /// Which cookies were expired for whom lately.
    pub expirer: RefCell<Expirer>,
    /// Visitor cookies verified lately.
    pub visitors: RefCell<VerifiedCache>,
    state: RefCell<Rc<State>>,
    connections: RefCell<HashMap<u64, Arc<Connection>>>,
    next_key: Cell<u64>,
    closed: Notify,
}

/// The snapshot in force with this thread's pools for it.
#[derive(Debug)]
pub struct State {
    snapshot: Arc<Snapshot>,
    /// One per site, in the order of the configuration.
    pub upstreams: Vec<Rc<Upstreams>>,
}

impl Deref for State {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl State {
    fn new(snapshot: Arc<Snapshot>) -> Rc<Self> {
        let config = &snapshot.config;
        let upstreams = config
            .sites
            .iter()
            .map(|site| Upstreams::new(site, &config.limits, &config.timeouts))
            .collect();
        Rc::new(Self { snapshot, upstreams })
    }
}

impl Worker {
    /// A worker without connections.
    #[must_use]
    pub fn new(shared: Arc<Shared>, recorder: Recorder, metrics: WorkerMetrics) -> Self {
        let state = State::new(shared.snapshot.load_full());
        Self {
            shared,
            recorder,
            metrics: Rc::new(metrics),
            ids: Ids::new(),
            expirer: RefCell::new(Expirer::new(EXPIRER_BYTES)),
            visitors: RefCell::default(),
            state: RefCell::new(state),
            connections: RefCell::default(),
            next_key: Cell::new(0),
            closed: Notify::new(),
        }
    }

    /// The snapshot in force, with the pools for it. After a reload the old pools end with their last request.
    #[must_use]
    pub fn snapshot(&self) -> Rc<State> {
        let current = self.shared.snapshot.load();
        let mut state = self.state.borrow_mut();
        if !Arc::ptr_eq(&state.snapshot, &current) {
            *state = State::new(Arc::clone(&current));
        }
        Rc::clone(&state)
    }

    /// Keeps the connection, or the tunnel that it became, reachable for a drain until the guard is dropped.
    #[must_use]
    pub fn register(self: &Rc<Self>, connection: &Arc<Connection>) -> Registered {
        let key = self.next_key.get();
        self.next_key.set(key.wrapping_add(1));
        self.connections.borrow_mut().insert(key, Arc::clone(connection));
        Registered { worker: Rc::clone(self), key }
    }

    /// Asks every connection to end in order.
    pub fn close_connections(&self) {
        for connection in self.connections.borrow().values() {
            connection.ask_to_close();
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Resolves when no connection is open.
    pub async fn all_closed(&self) {
        while self.open_connections() > 0 {
            self.closed.notified().await;
        }
    }
}

/// A connection's entry; leaves with it.
#[derive(Debug)]
pub struct Registered {
    worker: Rc<Worker>,
    key: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.key);
        self.worker.closed.notify_one();
    }
}

/// Memory of each thread for cookies that were expired lately.
const EXPIRER_BYTES: usize = 1 << 20;
