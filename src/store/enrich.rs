//! The hook by which facts are added to a record on the writer thread, before anything is sealed.
//!
//! What is added is clear fields, made from what the record holds in any class, and the tags by which a person's records
//! are found: the only place where all of it is there. Never takes a field away. Bound: one record.

use std::sync::atomic::Ordering::Relaxed;

use super::stats::Stats;
use super::subjects::Linking;
use super::visit::VisitTags;
use crate::record::Row;
use crate::record::event::Encoded;
use crate::seal::Day;

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

/// Puts what an [`Enrich`] makes and the visit tag behind the clear fields of a record, and its tags behind those of `sec`.
pub(super) struct Enriched {
    by: Box<dyn Enrich>,
    visits: VisitTags,
    linking: Linking,
    added: Vec<u8>,
}

impl Enriched {
    pub(super) fn by(by: Box<dyn Enrich>, visits: VisitTags, linking: Linking) -> Self {
        Self { by, visits, linking, added: Vec::new() }
    }

    /// Records of that day come next.
    pub(super) fn begin(&mut self, stats: &Stats, day: Day) {
        stats.agents_skipped.fetch_add(self.by.begin(), Relaxed);
        // Of the batch before.
        stats.count_tags([self.visits.take_found(), self.linking.take_found()]);
        self.visits.begin(day);
    }

    /// While nothing comes: what belongs to another day is not kept.
    pub(super) fn forget_all_but(&mut self, today: Day) {
        self.visits.forget_all_but(today);
    }

    /// Takes a new list of the blocked; see [`Linking::adopt`].
    pub(super) fn adopt(&mut self) -> Option<(u64, bool)> {
        self.linking.adopt()
    }

    pub(super) fn record<'a>(&'a mut self, record: &Encoded<'a>) -> Encoded<'a> {
        self.added.clear();
        self.added.extend_from_slice(self.by.fields(record));
        self.added.extend_from_slice(self.visits.field(record));
        self.linking.record(record, &self.added)
    }
}
