//! Who visits: facts only, no judgement.
//!
//! [`address`] is the client's address once it is resolved, [`forwarded`] resolves it and tells the site,
//! [`visitor`] is the cookie that recognises a returning browser, [`agent`] what the browser says of itself. Never
//! decides what may pass. Bound: the size of the head.

pub mod address;
pub mod agent;
pub mod forwarded;
pub mod keys;
pub(crate) mod text;
pub mod visitor;

pub use address::ClientAddress;
pub use visitor::{Visitor, VisitorId};
