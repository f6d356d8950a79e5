//! Counting columns instead of rows.
//!
//! A segment's texts lie in dictionaries: codes are counted, and a text is looked at once for each dictionary. Rows of
//! the journal, and fields that are lists, are counted one by one into the same sums. Never decides what matches.
//! Bound: one number for each text of a dictionary.

use std::io;

use arrow_array::{Array as _, StringArray};

use super::aggregate::{By, Top};
use super::histogram::Histogram;
use super::scan::{Piece, Scan, or_damaged};
use super::seen::Seen;
use crate::record::rebuilt::RowBuilder;
use crate::record::{Column, Kind, Projection, Row, Value};
use crate::store::segments::{Cells, Segment, Values};

/// A sum over rows that can also be made over columns.
pub trait Gather: Send {
    /// Adds one matching row.
    fn row(&mut self, row: &Row<'_>);

    /// Adds the chosen rows of columns.
    fn columns(&mut self, chosen: &Chosen<'_>);

    /// No further columns of this row group come.
    fn end(&mut self) {}
}

impl Scan {
    /// Like [`Self::fold`] for a sum that also takes columns: of segments no row is made but where the filter needs one.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn gather<G: Gather>(&self, make: impl Fn() -> G + Sync) -> io::Result<(Vec<G>, Seen)> {
        self.share(make, |sum, piece, pieces, seen| match piece {
            Piece::Group(segment, group) => {
                self.group_columns(&segment, group, seen, sum)?;
                self.work().did(segment.bytes_of(group));
                Ok(())
            }
            piece => self.piece(piece, pieces, seen, |row| sum.row(row)),
        })
    }

    /// The matching rows of a row group, as columns where that is possible.
    fn group_columns(
        &self,
        segment: &Segment,
        group: usize,
        seen: &mut Seen,
        sum: &mut impl Gather,
    ) -> io::Result<()> {
        let mut builder = RowBuilder::default();
        let read = segment.columns(group, |cells, shown| {
            let mut wanted = vec![true; cells.rows()];
            let plain = self.select.predicate.keep(cells, &mut wanted);
            for (at, wanted) in wanted.iter_mut().enumerate() {
                if !shown[at] {
                    *wanted = false;
                    continue;
                }
                match segment.kind(cells, at) {
                    // Most rows: nothing but the filter has a say.
                    Kind::Access if plain => seen.scanned += 1,
                    Kind::Gap | Kind::Access => {
                        segment.row(cells, at, &mut builder, |row| *wanted = self.select.wants(row, seen));
                        continue;
                    }
                    _ if plain => {
                        seen.scanned += 1;
                        *wanted &= self.select.any_kind;
                    }
                    _ => {
                        segment.row(cells, at, &mut builder, |row| *wanted = self.select.wants(row, seen));
                        continue;
                    }
                }
                seen.matched += u64::from(*wanted);
            }
            sum.columns(&Chosen { cells, wanted: &wanted });
        });
        or_damaged(read, segment.path(), seen)?;
        sum.end();
        Ok(())
    }
}

/// Columns, and which of their rows match.
pub struct Chosen<'c> {
    pub(super) cells: &'c Cells,
    pub(super) wanted: &'c [bool],
}

impl<'c> Chosen<'c> {
    fn values(&self, column: &Column) -> Option<&'c Values> {
        self.cells.values(column)
    }

    fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.wanted.iter().enumerate().filter(|(_, wanted)| **wanted).map(|(row, _)| row)
    }
}

/// Counts by key, over rows or columns.
pub struct TopOf {
    top: Top,
    field: &'static Column,
    measure: Option<&'static Column>,
    projection: Projection,
    codes: Codes,
}

/// Hits and sums by the codes of one dictionary.
#[derive(Default)]
struct Codes {
    texts: Option<StringArray>,
    hits: Vec<u64>,
    sums: Vec<u64>,
}

impl TopOf {
    /// Counts into `top` by a field, and by a second one that is measured.
    #[must_use]
    pub fn new(top: Top, field: &'static Column, measure: Option<&'static Column>) -> Self {
        let columns: Vec<_> = [field].into_iter().chain(measure.filter(|m| m.id != field.id)).collect();
        Self { top, field, measure, projection: Projection::new(&columns), codes: Codes::default() }
    }

    /// What was counted.
    #[must_use]
    pub fn into_top(mut self) -> Top {
        self.end();
        self.top
    }

    fn same(&self) -> bool {
        self.measure.is_some_and(|measure| measure.id == self.field.id)
    }
}

impl Gather for TopOf {
    fn row(&mut self, row: &Row<'_>) {
        let mut values = [None; 2];
        row.project(&self.projection, &mut values);
        let measure = if self.same() { &values[0] } else { &values[1] };
        self.top.add(values[0].as_ref(), measure.as_ref());
    }

    fn columns(&mut self, chosen: &Chosen<'_>) {
        let keys = chosen.values(self.field);
        let measures = self.measure.and_then(|column| chosen.values(column));
        match keys {
            Some(Values::Coded(codes, texts)) if matches!(self.top.by(), By::Hits | By::Bytes) => {
                if !self.codes.are_of(texts) {
                    self.end();
                    self.codes.begin(texts);
                }
                for row in chosen.rows() {
                    let code = codes.is_valid(row).then(|| usize::try_from(codes.value(row)).ok()).flatten();
                    let measure = match measures.and_then(|values| values.value(row)) {
                        Some(Value::U64(n)) => n,
                        _ => 0,
                    };
                    match code.filter(|code| *code < self.codes.hits.len()) {
                        Some(code) => {
                            self.codes.hits[code] += 1;
                            self.codes.sums[code] = self.codes.sums[code].saturating_add(measure);
                        }
                        None => self.top.add(None, None),
                    }
                }
            }
            Some(values @ Values::List(..)) => {
                for row in chosen.rows() {
                    let measure = measures.and_then(|values| values.value(row));
                    self.top.add_items(values.items(row), measure.as_ref());
                }
            }
            values => {
                for row in chosen.rows() {
                    let key = values.and_then(|values| values.value(row));
                    let measure = measures.and_then(|values| values.value(row));
                    self.top.add(key.as_ref(), measure.as_ref());
                }
            }
        }
    }

    fn end(&mut self) {
        if let Some(texts) = self.codes.texts.take() {
            for (code, hits) in self.codes.hits.iter().enumerate().filter(|(_, hits)| **hits > 0) {
                let key = Value::Text(texts.value(code).as_bytes());
                self.top.add_many(&key, *hits, self.codes.sums[code]);
            }
        }
    }
}

impl Codes {
    /// Whether these are the texts that are being counted: the same memory, kept by both.
    fn are_of(&self, texts: &StringArray) -> bool {
        self.texts.as_ref().is_some_and(|known| {
            known.len() == texts.len()
                && known.value_data().as_ptr() == texts.value_data().as_ptr()
                && known.value_offsets().as_ptr() == texts.value_offsets().as_ptr()
        })
    }

    fn begin(&mut self, texts: &StringArray) {
        for counts in [&mut self.hits, &mut self.sums] {
            counts.clear();
            counts.resize(texts.len(), 0);
        }
        self.texts = Some(texts.clone());
    }
}

/// Counts by bucket, over rows or columns.
pub struct HistogramOf {
    histogram: Histogram,
    field: &'static Column,
    projection: Projection,
}

impl HistogramOf {
    /// Counts into `histogram` by a field.
    #[must_use]
    pub fn new(histogram: Histogram, field: &'static Column) -> Self {
        Self { histogram, field, projection: Projection::new(&[field]) }
    }

    /// What was counted.
    #[must_use]
    pub fn into_histogram(self) -> Histogram {
        self.histogram
    }
}

impl Gather for HistogramOf {
    fn row(&mut self, row: &Row<'_>) {
        let mut value = [None];
        row.project(&self.projection, &mut value);
        self.histogram.add(value[0].as_ref());
    }

    fn columns(&mut self, chosen: &Chosen<'_>) {
        let values = chosen.values(self.field);
        for row in chosen.rows() {
            self.histogram.add(values.and_then(|values| values.value(row)).as_ref());
        }
    }
}
