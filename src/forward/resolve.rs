//! From a host name to its addresses, remembered by each thread for each endpoint.
//!
//! A name is looked up again after 30 s, and when connecting to what is known fails; two look-ups never run at once,
//! and never begin within a second of each other. The system's resolver blocks, so it runs on tokio's blocking pool
//! and a look-up goes on when nobody waits for it any more. While one is under way, or after it failed, what was
//! known before is used. Never connects. Bounds: eight addresses, one look-up for each name.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::clock;
use crate::error::{Reason, Refusal};

/// Whoever knows addresses: the system, or a test.
pub(super) trait Resolve {
    /// The addresses of a host, in order of preference.
    fn look_up(&self, host: &str, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;
}

/// The system's resolver.
pub(super) struct System;

impl Resolve for System {
    fn look_up(&self, host: &str, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.take(MAX_ADDRESSES).collect()) })
    }
}

/// A name and what is known of it.
pub(super) struct Name {
    shared: Rc<Inner>,
}

struct Inner {
    host: String,
    port: u16,
    resolver: Rc<dyn Resolve>,
    known: RefCell<Option<Known>>,
    /// When the last look-up began.
    began: Cell<Option<Instant>>,
    running: Cell<bool>,
    failure: RefCell<Option<Arc<io::Error>>>,
    done: Notify,
}

/// Addresses of one look-up.
#[derive(Clone)]
pub(super) struct Known {
    addresses: Rc<[SocketAddr]>,
    since: Instant,
    /// Where the next connection begins, so that all addresses get connections.
    next: Rc<Cell<usize>>,
    /// One bit for each address that could not be connected to; these are tried last.
    failed: Rc<Cell<u8>>,
}

impl Known {
    fn new(addresses: &[SocketAddr], since: Instant) -> Self {
        let addresses = Rc::from(&addresses[..addresses.len().min(MAX_ADDRESSES)]);
        Self { addresses, since, next: Rc::default(), failed: Rc::default() }
    }

    /// The addresses with their indices, in the order to try them.
    pub(super) fn order(&self) -> SmallVec<[(usize, SocketAddr); MAX_ADDRESSES]> {
        let start = self.next.replace(self.next.get().wrapping_add(1));
        let n = self.addresses.len();
        let turn = (0..n).map(|step| start.wrapping_add(step) % n);
        let mut order: SmallVec<_> = turn.map(|index| (index, self.addresses[index])).collect();
        order.sort_by_key(|(index, _)| self.failed.get() >> index & 1);
        order
    }

    /// Notes that an address could not be connected to.
    pub(super) fn note_failed(&self, index: usize) {
        self.failed.set(self.failed.get() | 1 << index);
    }

    /// Whether both hold the same addresses.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }
}

impl Name {
    /// A name that nothing is known of.
    pub(super) fn new(host: &str, port: u16, resolver: Rc<dyn Resolve>) -> Self {
        let shared = Inner {
            host: host.to_owned(),
            port,
            resolver,
            known: RefCell::default(),
            began: Cell::default(),
            running: Cell::default(),
            failure: RefCell::default(),
            done: Notify::new(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// The addresses, looked up if they are not known.
    ///
    /// # Errors
    /// `DnsTimeout` at the deadline, `Dns` if there are none.
    pub(super) async fn addresses(&self, now: Instant, deadline: Instant) -> Result<Known, Refusal> {
        let known = self.shared.known.borrow().clone();
        let age = |known: &Known| now.saturating_duration_since(known.since);
        match known {
            Some(known) if age(&known) < KEEP => Ok(known),
            // Nobody waits for a renewal while what is known is not old.
            Some(known) if age(&known) < KEEP_AT_MOST => {
                self.start(now);
                Ok(known)
            }
            old => self.renewed(now, deadline).await.or_else(|refusal| old.ok_or(refusal)),
        }
    }

    /// The addresses after a look-up that begins now, unless one is under way or ended just now.
    pub(super) async fn renewed(&self, now: Instant, deadline: Instant) -> Result<Known, Refusal> {
        self.start(now);
        let inner = &self.shared;
        let ended = async {
            while inner.running.get() {
                inner.done.notified().await;
            }
        };
        if let Err(elapsed) = timeout_at(deadline.into(), ended).await {
            return Err(Refusal::caused_by(Reason::DnsTimeout, elapsed));
        }
        if let Some(failure) = &*inner.failure.borrow() {
            // The cause is shared by all who waited.
            return Err(Refusal::caused_by(Reason::Dns, Arc::clone(failure)));
        }
        inner.known.borrow().clone().ok_or_else(|| Refusal::from(Reason::Dns))
    }

    /// Starts a look-up, unless one is under way or began just now.
    fn start(&self, now: Instant) {
        let inner = &self.shared;
        let rests = inner.began.get().is_some_and(|began| now.saturating_duration_since(began) < REST);
        if rests || inner.running.replace(true) {
            return;
        }
        inner.began.set(Some(now));
        let inner = Rc::clone(inner);
        tokio::task::spawn_local(async move {
            let found = inner.resolver.look_up(&inner.host, inner.port).await;
            let failure = match found {
                Ok(addresses) if !addresses.is_empty() => {
                    inner.known.replace(Some(Known::new(&addresses, clock::monotonic())));
                    None
                }
                Ok(_) => Some(Arc::new(io::ErrorKind::NotFound.into())),
                Err(error) => Some(Arc::new(error)),
            };
            if let Some(error) = &failure {
                tracing::debug!(%error, "a name of an upstream cannot be looked up");
            }
            inner.failure.replace(failure);
            inner.running.set(false);
            inner.done.notify_waiters();
        });
    }
}

/// How long addresses are taken for new.
pub(super) const KEEP: Duration = Duration::from_secs(30);
/// How long they are used while their renewal is under way.
pub(super) const KEEP_AT_MOST: Duration = Duration::from_mins(10);
/// Shortest time between the beginnings of two look-ups.
pub(super) const REST: Duration = Duration::from_secs(1);
/// Addresses used of one name; one bit each.
const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub(super) mod tests;
