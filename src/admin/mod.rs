//! What an operator's tools may ask: figures, liveness, readiness, version.
//!
//! [`metrics`] has the one table of figures and sums the threads' counters when asked; [`server`] answers on the admin
//! address, never on the traffic listeners. Never shows anything that came from the wire: no path, address, cookie or
//! unknown host. Bound: the table times the configured names, and [`server::Limits`].

pub mod cells;
#[cfg(test)]
mod deploy_check;
pub mod family;
pub mod health;
pub mod hosts;
pub mod journal;
pub mod labels;
pub mod metrics;
mod plan;
pub mod process;
pub mod server;
pub mod source;
pub mod state;
pub mod upstreams;
pub mod worker;
