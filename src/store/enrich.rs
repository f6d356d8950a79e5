//! The hook by which facts are added to a record on the writer thread, before anything is sealed.
//!
//! What is added is clear fields, made from what the record holds in any class: the only place where both are there.
//! Never takes a field away. Bound: one record.

use std::sync::atomic::Ordering::Relaxed;

use super::stats::Stats;
use crate::record::event::Encoded;
use crate::record::{Class, Row};

/// Makes clear fields for a record. Called on the writer thread for every record, so it must not wait.
pub trait Enrich: Send {
    /// A batch begins; how many records of the one before got nothing because its time was used up.
    fn begin(&mut self) -> u64;

    /// Encoded fields of the class `clear`, or none.
    fn fields(&mut self, record: &Encoded<'_>) -> &[u8];
}

/// Makes the clear fields that a record still lacks when it goes into a segment: there every class is open once more.
pub trait Complete: Send {
    /// A segment begins.
    fn begin_segment(&mut self);

    /// Encoded fields of the class `clear` that the row lacks, or none.
    fn missing(&mut self, row: &Row<'_>) -> &[u8];
}

/// Puts what an [`Enrich`] makes behind the clear fields of a record.
pub(super) struct Enriched {
    by: Box<dyn Enrich>,
    clear: Vec<u8>,
}

impl Enriched {
    pub(super) fn by(by: Box<dyn Enrich>) -> Self {
        Self { by, clear: Vec::new() }
    }

    pub(super) fn begin(&mut self, stats: &Stats) {
        stats.agents_skipped.fetch_add(self.by.begin(), Relaxed);
    }

    pub(super) fn record<'a>(&'a mut self, record: &Encoded<'a>) -> Encoded<'a> {
        let fields = self.by.fields(record);
        let mut record = *record;
        if !fields.is_empty() {
            self.clear.clear();
            self.clear.extend_from_slice(record.sections[Class::Clear as usize]);
            self.clear.extend_from_slice(fields);
            record.sections[Class::Clear as usize] = &self.clear;
        }
        record
    }
}
