//! Rows made of values that come from elsewhere than a journal file: from the columns of a segment.
//!
//! The values are put into sections as the journal has them, so every reader of rows reads both alike. Never shows a
//! class that is not opened. Bound: the bytes of one row, reused for the next.

use super::event::Column;
use super::purpose::Opened;
use super::row::{Row, Sections};
use super::wire::{BYTES, put_varint};
use super::{Class, Kind};
use crate::clock::Timestamp;

/// Builds one row after the other.
#[derive(Default)]
pub(crate) struct RowBuilder {
    sections: [Vec<u8>; Class::ALL.len()],
    item: Vec<u8>,
}

impl RowBuilder {
    /// Begins a row and forgets the one before.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.sections.iter_mut().for_each(Vec::clear);
        self.sections[Class::Clear as usize].push(kind as u8);
    }

    /// Adds a number, a time (µs since 1970) or a flag.
    pub(crate) fn number(&mut self, column: &Column, value: u64) {
        if column.id < BYTES && !column.of_row() {
            let section = &mut self.sections[column.class as usize];
            section.push(column.id);
            put_varint(section, value);
        }
    }

    /// Adds a text or the 16 bytes of an address.
    pub(crate) fn bytes(&mut self, column: &Column, value: &[u8]) {
        if column.id >= BYTES && !column.of_row() {
            put(&mut self.sections[column.class as usize], column.id, value);
        }
    }

    /// Adds a list.
    pub(crate) fn list<'i>(&mut self, column: &Column, items: impl Iterator<Item = &'i [u8]>) {
        self.item.clear();
        for item in items {
            put_varint(&mut self.item, item.len() as u64);
            self.item.extend_from_slice(item);
        }
        if column.id >= BYTES && !self.item.is_empty() {
            put(&mut self.sections[column.class as usize], column.id, &self.item);
        }
    }

    /// The row with what has been added since it was begun, as far as its class is opened.
    pub(crate) fn row<'a>(
        &'a self,
        at: (u64, Timestamp),
        (node, schema): (&'a [u8], u64),
        opened: Opened,
    ) -> Row<'a> {
        let mut sections: Sections<'a> = [&[]; Class::ALL.len()];
        sections.iter_mut().zip(&self.sections).for_each(|(to, from)| *to = from);
        Row::new(at, (node, schema), sections, opened)
    }
}

fn put(section: &mut Vec<u8>, id: u8, value: &[u8]) {
    section.push(id);
    put_varint(section, value.len() as u64);
    section.extend_from_slice(value);
}
