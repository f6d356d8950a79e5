//! (in work)
pub mod query;
