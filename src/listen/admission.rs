//! How many connections may be open, in all and per client.
//!
//! Counted over all threads, at accept and close only; a request never comes here. Keeps addresses in memory while
//! their connections are open, and no longer. Bound: `limits.connections` entries.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::identify::ClientAddress;

/// The counters of open connections.
#[derive(Debug)]
pub struct Admission {
    limit: AtomicUsize,
    per_client: AtomicUsize,
    open: AtomicUsize,
    clients: Mutex<HashMap<IpNet, usize>>,
}

/// A place for one connection; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    client: Option<IpNet>,
}

/// This client has as many connections open as one client may.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyOfClient;

impl Admission {
    /// Limits in connections.
    #[must_use]
    pub fn new(limit: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            per_client: AtomicUsize::new(per_client),
            open: AtomicUsize::new(0),
            clients: Mutex::default(),
        })
    }

    /// Takes over new limits; open connections stay.
    pub fn set_limits(&self, limit: usize, per_client: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.per_client.store(per_client, Ordering::Relaxed);
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether there is no place left for anybody: then nothing should be accepted.
    #[must_use]
    pub fn full(&self) -> bool {
        self.open() >= self.limit.load(Ordering::Relaxed)
    }

    /// Takes a place for a connection from `peer`, counted by its address, for IPv6 by its /64. `exempt` peers (trusted proxies) count in all, not per client.
    ///
    /// # Errors
    /// The client has its share already.
    pub fn enter(self: &Arc<Self>, peer: ClientAddress, exempt: bool) -> Result<Place, TooManyOfClient> {
        let client = (!exempt).then(|| peer.subscriber());
        if let Some(client) = client {
            self.count(client)?;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Place { admission: Arc::clone(self), client })
    }
}

impl Admission {
    fn count(&self, client: IpNet) -> Result<(), TooManyOfClient> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= self.per_client.load(Ordering::Relaxed) {
            return Err(TooManyOfClient);
        }
        *count += 1;
        Ok(())
    }
}

impl Place {
    /// Counts the connection for a client that was heard of only after accept, by a PROXY header. Once is enough.
    ///
    /// # Errors
    /// The client has its share already.
    pub fn claim(&mut self, client: ClientAddress) -> Result<(), TooManyOfClient> {
        if self.client.is_none() {
            let client = client.subscriber();
            self.admission.count(client)?;
            self.client = Some(client);
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut clients = self.admission.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> ClientAddress {
        ClientAddress::from_resolved(text.parse().unwrap())
    }

    #[test]
    fn a_client_is_an_address_or_an_ipv6_subscriber() {
        let admission = Admission::new(100, 1);
        let first = admission.enter(peer("192.0.2.1"), false).unwrap();
        assert_eq!(admission.enter(peer("::ffff:192.0.2.1"), false).unwrap_err(), TooManyOfClient);
        let _neighbour = admission.enter(peer("192.0.2.2"), false).unwrap();
        let _six = admission.enter(peer("2001:db8:1:2::1"), false).unwrap();
        assert_eq!(admission.enter(peer("2001:db8:1:2:ffff::1"), false).unwrap_err(), TooManyOfClient);
        let _next = admission.enter(peer("2001:db8:1:3::1"), false).unwrap();
        let _trusted = admission.enter(peer("192.0.2.1"), true).unwrap();
        assert_eq!(admission.open(), 5);
        drop(first);
        assert!(admission.enter(peer("192.0.2.1"), false).is_ok());
    }

    #[test]
    fn a_place_that_is_given_back_leaves_no_trace() {
        let admission = Admission::new(2, 2);
        let places: Vec<_> = (0..2).map(|_| admission.enter(peer("192.0.2.1"), false).unwrap()).collect();
        assert!(admission.full());
        drop(places);
        assert!(!admission.full() && admission.clients.lock().unwrap().is_empty());
    }
}
