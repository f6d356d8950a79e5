//! The journal's figures on the page.
//!
//! Reads atomics that the journal's threads keep. Never touches the disk. Bound: kinds times reasons.

use std::sync::Arc;

use super::metrics as table;
use super::source::{Samples, Source};
use crate::clock;
use crate::record::Kind;
use crate::store::{LossReason, Stats};

/// The figures of one journal.
#[derive(Debug)]
pub struct JournalSource(pub Arc<Stats>);
