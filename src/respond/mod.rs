//! What we add to answers, and the answers that we give ourselves.
//!
//! Step 9 of a request's life. [`status`] is the only place where an error becomes a status; [`error_page`] writes the
//! page, in the form that [`accept`] finds; [`answer`] cleans and completes the site's answer; [`own`] answers what the
//! site never sees, [`nobody`] what belongs to no site; [`body`] passes bodies on and closes the record. Never shows a host name, a version or a cause to
//! the visitor. Bound: error pages of a few KiB.

pub mod accept;
pub mod answer;
pub mod body;
pub mod error_page;
mod error_texts;
pub mod nobody;
pub mod own;
pub mod permissions;
pub mod pieces;
pub mod proxy_status;
pub mod send;
pub mod status;
pub mod to_site;
mod trailers;

pub use body::Body;
pub use nobody::{unparsed, unrecorded};
pub use send::{ours, refuse, site, tunnel};
pub use to_site::to_site;
