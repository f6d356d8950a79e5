//! Who visits: facts only, no judgement.
//!
//! [`address`] is the client's address once it is resolved, [`forwarded`] and [`rfc7239`] resolve it, [`written`] tells
//! the site, [`visitor`] is the cookie that recognises a returning browser, [`agent`] what the browser says of itself. Never
//! decides what may pass. Bound: the size of the head.

pub mod address;
pub mod agent;
pub mod forwarded;
pub mod keys;
pub mod rfc7239;
pub(crate) mod text;
pub mod visitor;
pub mod written;

pub use address::ClientAddress;
pub use visitor::{Visitor, VisitorId};
