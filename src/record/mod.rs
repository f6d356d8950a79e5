//! (in work)

pub mod redact;
