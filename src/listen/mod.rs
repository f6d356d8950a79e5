//! Accepts connections and hands requests to the gateway.
//!
//! Step 1 of a request's life: [`socket`] binds, [`accept`] admits or refuses a connection, [`proxy_protocol`] hears
//! from a load balancer who it is, [`tls`] and [`sniff`] find the protocol, [`serve`] lets hyper read requests from it, and
//! [`deadline`] and [`patience`] end what takes too long. Never looks at a request. Bound: `limits.connections`,
//! `limits.connections_per_client`.

pub mod accept;
pub mod admission;
pub mod connection;
pub mod deadline;
mod http10;
pub mod linger;
pub mod link;
pub mod patience;
pub mod proxy_protocol;
mod round_trip;
pub mod scan;
pub mod serve;
pub mod sniff;
pub mod socket;
pub mod stream;
pub mod tls;
pub mod unix;
