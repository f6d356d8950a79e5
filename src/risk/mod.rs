//! Named signals of fraud, in bounded memory.
//!
//! [`Assessor`] looks up the place, judges the signals and says what to do; it is synchronous, and pure given the time,
//! the facts and the memory. Never blocks on Tor, relay or VPN alone, never keeps a raw address, never tells where a
//! visitor is. Bound: `risk.memory_bytes`.
//!
//! What it does not judge yet: impossible travel, network-shift, client-shift and network-reputation. Lists of relays
//! are not read yet; networks that many share are those that the configuration names.

pub mod action;
pub mod assessor;
mod bounded;
pub mod deny;
pub mod headers;
mod leaky;
pub mod memory;
pub mod observe;
mod pages;
pub mod score;
mod session;
mod shared;
pub mod signal;
mod sketch;
mod travel;
mod velocity;

use std::fmt;
use std::net::IpAddr;

use crate::geo::place::Place;
use crate::geo::{Databases, Found, LookupCache};
use crate::identify::address::ClientAddress;

pub use action::{Action, Actions, Applied, decide_action};
pub use assessor::{Assessed, Assessor, Visit};
pub use memory::MemoryStats;
pub use score::Assessment;
pub use signal::{Caps, Level, SignalName, Signals};

/// Proof that a look-up serves security. Only this module makes one.
#[derive(Debug)]
pub struct SecurityPurpose(());

/// A place together with the purpose it was looked up for. Its only reader besides this module is the encoder of the
/// record's `fraud` section; nothing can be serialised or printed from it without taking it apart on purpose.
pub struct Located {
    found: Found,
    purpose: SecurityPurpose,
}

impl Located {
    const fn new(found: Found, purpose: SecurityPurpose) -> Self {
        Self { found, purpose }
    }

    /// What the record's `fraud` section needs to be written.
    #[must_use]
    pub const fn evidence(&self) -> (&SecurityPurpose, &Place) {
        (&self.purpose, &self.found.place)
    }

    /// The place, which tells nothing without a purpose.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.found.place
    }

    /// The organisation of the network, as far as a database tells it. Purpose: security, fraud prevention.
    #[must_use]
    pub fn organisation(&self, _purpose: &SecurityPurpose) -> Option<&str> {
        self.found.organisation.as_deref()
    }

    /// The databases that were asked, by the days on which they were built; `None` when there is none.
    #[must_use]
    pub fn databases(&self) -> Option<&str> {
        Some(&*self.found.databases).filter(|name| !name.is_empty())
    }
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Located(..)")
    }
}

/// Looks up an address that an operator typed (`kelisim geoip lookup`). The purpose is security: checking what the
/// databases say about an address that the operator already has.
#[must_use]
pub fn operator_lookup(databases: &Databases, ip: IpAddr) -> Located {
    let purpose = SecurityPurpose(());
    let (found, _) = LookupCache::default().locate(databases, &purpose, ClientAddress::from_resolved(ip));
    Located::new(found, purpose)
}

#[cfg(test)]
pub(crate) const fn test_purpose() -> SecurityPurpose {
    SecurityPurpose(())
}
