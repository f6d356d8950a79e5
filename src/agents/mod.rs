//! What a user agent says it is: browser, system, sort of device, and which crawler.
//!
//! Works without any file: the built-in tables hold the families that make up nearly all traffic and the crawlers
//! that name themselves. The operator's files (uap-core, crawler-user-agents) go before them and are compiled by
//! [`live`] in the background. Parsing happens on the journal's writer thread, before a record is sealed: the families are
//! facts without a person, the text itself is not. Never asks whether what is said is true, never drops a bot: that
//! is for whoever reads. Bound: a cache of [`cache::GENERATION`] texts twice, [`enrich::BUDGET`] per batch.

pub mod cache;
mod crawlers;
pub mod data;
pub mod enrich;
mod family;
mod find;
mod literals;
pub mod live;
mod patterns;
pub mod table;
mod uap;
mod yaml;

pub use data::{Data, DataError, Role};
pub use enrich::Agents;
pub use find::{Agent, Bot, parse};
pub use live::{AgentData, Loader};
