//! (in work)

pub mod check;
pub mod config;
