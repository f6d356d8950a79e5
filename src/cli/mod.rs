//! (in work)

pub mod cookies;
