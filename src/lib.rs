//! Kelisim keeps a website's privacy policy by machine.
//!
//! # The life of a request
//!
//! A connection is accepted, the request is made unambiguous, the visitor identified, consent decided, cookies
//! filtered, location assessed for risk, the request forwarded, the answer's cookies filtered, one record written.
//!
//! | step | module | what comes out |
//! |---|---|---|
//! | 1 accept, TLS, protocol | [`listen`] | a connection with deadlines |
//! | 2 make unambiguous | [`ingress`] | [`ingress::Normalised`]: one host, one client address, no hop-by-hop field |
//! | 3 identify | [`identify`] | the visitor cookie, if it is genuine |
//! | 4 consent | [`consent`] | [`consent::Decision`], with a [`consent::Permit`] only after a real yes |
//! | 5 cookies | [`cookies`] | the `Cookie` field the site may see, the `Set-Cookie` fields the browser may see |
//! | 6 geo | [`geo`] | a place, for the security purpose; its country for the site only as a [`geo::disclosure`] opens it |
//! | 7 risk | [`risk`] | signals and a level |
//! | 8 forward | [`forward`] | the site's answer |
//! | 9 respond | [`respond`] | the headers we add; error pages |
//! | 10 record | [`record`] | one typed event |
//! | 11 store | [`store`] | that event on the disk, before the client has the end of the answer |
//!
//! [`gateway`] is this story as one function.
//!
//! # What Kelisim does not do
//!
//! It reads no body but that of a choice on its own endpoint, caches nothing, compresses nothing, sends nothing to a
//! third party, and tells nobody where a visitor is, but the site where the configuration names a purpose for that.

pub mod admin;
pub mod agents;
pub mod audit;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod cookies;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod gateway;
pub mod geo;
pub mod identify;
pub mod ingress;
pub mod ledger;
pub mod listen;
pub mod log;
pub mod pages;
pub mod record;
pub mod regular_file;
pub mod respond;
pub mod risk;
pub mod seal;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod worker;
