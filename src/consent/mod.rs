//! Whether the visitor consented, to what, and how we know.
//!
//! [`decide`] turns [`Signals`] into a [`Decision`]; it alone can make a [`Permit`]. The default is no. Never reads a
//! request body except that of the choice itself, never asks the network. Bound: a handful of signals per request.
//!
//! | file | job |
//! |---|---|
//! | [`signal`] | what one source says |
//! | [`sources`] | reads our own record and the header signals |
//! | [`banner`] | reads the cookies of banners, and Consent Mode |
//! | [`tcf`], [`gpp`] | the strings of TCF, GPP and US Privacy |
//! | [`record`], [`keys`] | our own signed record and its keys |
//! | [`receipts`] | proof of every choice |
//! | [`notice`] | what visitors are told |
//! | [`policy`], [`markdown`] | versions of the published policy |
//! | [`precedence`] | many signals, one decision |
//! | [`gate`] | paths that need acceptance of the policy |
//! | [`endpoints`] | the visitor's own page and the API |

pub mod banner;
pub mod endpoints;
pub mod gate;
pub mod gpp;
pub mod keys;
pub mod markdown;
pub mod notice;
pub mod policy;
pub mod precedence;
pub mod receipts;
pub mod record;
pub mod signal;
pub mod site;
pub mod sources;
pub mod tcf;

mod bits;
mod choice;
mod form;
mod origin;
mod problem;
mod reply;
mod return_path;
mod script;
mod state;
mod strays;
mod unread;

pub use banner::Banners;
pub(crate) use endpoints::NO_RECEIPT;
pub use endpoints::{
    Answer, BODY_BYTES, Choice, Event, Method, OwnRequest, handle, not_stored, receipt, well_known_gpc,
};
pub(crate) use form::encode;
pub use gate::Gate;
pub use keys::{ConsentKeys, KeyError, Older, Rotated};
pub use policy::{Policies, VersionId};
pub use precedence::{Decision, Outcome, Permit, Reason, Rules, decide};
pub use record::{COOKIE, ConsentRecord, Mask, TWIN_COOKIE};
pub use signal::{Signal, Signals, Source, Verdict};
pub use site::SiteConsent;
pub use sources::Sources;
pub use unread::refused_unread;

/// Marker: advertising.
#[derive(Debug)]
pub enum Advertising {}
/// Marker: analytics.
#[derive(Debug)]
pub enum Analytics {}
/// Marker: functional cookies.
#[derive(Debug)]
pub enum Functional {}
