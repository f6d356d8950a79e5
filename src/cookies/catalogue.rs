//! The cookie rules, compiled.

/// The compiled rules.
#[derive(Debug)]
pub struct Catalogue;
