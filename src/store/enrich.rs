//! The hook by which facts are added to a record on the writer thread, before anything is sealed.
//!
//! What is added is clear fields, made from what the record holds in any class, and the tags by which a person's records
//! are found: the only place where all of it is there. Never takes a field away. Bound: one record.

use std::sync::atomic::Ordering::Relaxed;

use super::frame::Added;
use super::stats::Stats;
use super::subjects::Linking;
use super::visit::VisitTags;
use crate::record::event::{Encoded, SUBJECT_ACCOUNT, SUBJECT_VISITOR};
use crate::record::{Class, Row, field_of};
use crate::seal::Day;

/// What fields are made of: found in a record once, for all who make some. Not for `Debug`: it is about a person.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// `client.address`: 16 bytes, IPv4 as mapped.
    pub address: Option<&'a [u8]>,
    /// `user_agent.original`.
    pub agent: Option<&'a [u8]>,
    /// `url.domain`.
    pub site: Option<&'a [u8]>,
    /// The id in the visitor cookie: 16 bytes, which are not written.
    pub visitor: Option<&'a [u8]>,
    /// What the site named as the account, which is not written.
    pub account: Option<&'a [u8]>,
}

impl<'a> Facts<'a> {
    /// Those of a record.
    #[must_use]
    pub fn of(record: &Encoded<'a>) -> Self {
        // Its first byte is the kind.
        let clear = record.sections[Class::Clear as usize].get(1..).unwrap_or_default();
        Self {
            address: field_of(record.sections[Class::Sec as usize], ADDRESS),
            agent: field_of(record.sections[Class::Diag as usize], AGENT),
            site: field_of(clear, SITE),
            visitor: field_of(record.passing, SUBJECT_VISITOR),
            account: field_of(record.passing, SUBJECT_ACCOUNT),
        }
    }
}

/// Makes clear fields for a record. Called on the writer thread for every record, so it must not wait.
pub trait Enrich: Send {
    /// A batch begins; how many records of the one before got nothing because its time was used up.
    fn begin(&mut self) -> u64;

    /// Appends encoded fields of the class `clear`, or none.
    fn fields(&mut self, facts: &Facts<'_>, out: &mut Vec<u8>);
}

/// Makes the clear fields that a record still lacks when it goes into a segment: there every class is open once more.
pub trait Complete: Send {
    /// A segment begins.
    fn begin_segment(&mut self);

    /// Encoded fields of the class `clear` that the row lacks, or none.
    fn missing(&mut self, row: &Row<'_>) -> &[u8];
}

/// Makes what a record gets: what an [`Enrich`] makes, the visit tag, the tags of its person and the marks of the blocked.
pub(super) struct Enriched {
    by: Box<dyn Enrich>,
    visits: VisitTags,
    linking: Linking,
    added: Added,
}

impl Enriched {
    pub(super) fn by(by: Box<dyn Enrich>, visits: VisitTags, linking: Linking) -> Self {
        Self { by, visits, linking, added: Added::default() }
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

    /// What goes into the frame beside the record's own fields.
    pub(super) fn added(&mut self, record: &Encoded<'_>) -> &Added {
        let facts = Facts::of(record);
        self.added.clear();
        self.by.fields(&facts, &mut self.added.clear);
        self.visits.field(&facts, &mut self.added.clear);
        self.linking.fields(&facts, &mut self.added);
        &self.added
    }
}

/// The ids of the columns.
const SITE: u8 = 132;
const ADDRESS: u8 = 180;
const AGENT: u8 = 222;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Column;

    #[test]
    fn the_ids_are_those_of_the_columns() {
        let names = ["url.domain", "client.address", "user_agent.original"];
        for (name, id) in names.into_iter().zip([SITE, ADDRESS, AGENT]) {
            assert_eq!(Column::by_name(name).map(|c| c.id), Some(id), "{name}");
        }
    }
}
