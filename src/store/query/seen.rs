//! What a scan came across, besides the records that it shows.
//!
//! Each thread of a scan has its own; they are added up at the end. Bound: one name for each damaged file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::record::{Column, Row, Value};

/// What a scan came across.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records looked at.
    pub scanned: u64,
    /// Records that matched.
    pub matched: u64,
    /// Gap records in the asked time, whatever the filter.
    pub gaps: u64,
    /// Records that those gaps say are missing; gaps of unknown size add nothing.
    pub missing: u64,
    /// Files that are damaged, were changed or are missing; what is behind such a place is not shown.
    pub damaged: BTreeSet<PathBuf>,
    /// Files of which permitted fields are absent because their key is missing, without having been destroyed.
    pub locked: u64,
    /// Records of the asked numbers in segments, whatever the filter; counted by [`super::Scan::between`] only.
    pub in_segments: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.scanned += other.scanned;
        self.matched += other.matched;
        self.gaps += other.gaps;
        self.missing += other.missing;
        self.damaged.extend(other.damaged);
        self.locked += other.locked;
        self.in_segments += other.in_segments;
    }

    pub(in crate::store) fn count_gap(&mut self, row: &Row<'_>) {
        self.gaps += 1;
        if let Some(Value::U64(count)) = Column::by_name("gap.count").and_then(|column| row.get(column)) {
            self.missing = self.missing.saturating_add(count);
        }
    }

    /// A file is not what was written. One that has several such places is one file.
    pub(super) fn damaged(&mut self, file: &Path) {
        self.damaged.insert(file.to_owned());
    }
}
