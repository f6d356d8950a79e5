//! (in work)
pub mod logs;
