//! How a record is read back: one row, its columns, and only the classes that the reader's purpose opens.
//!
//! [`Row::get`] finds one value, [`Row::project`] several in one pass. Never allocates, never panics on any bytes,
//! never shows a class that is not opened. Bound: the bytes of the row.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::event::{self, Column, Type};
use super::list::List;
use super::purpose::Opened;
use super::wire::{self, Raw, next_field};
use super::{Class, Kind};
use crate::clock::Timestamp;

/// A column's value in one row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    U64(u64),
    /// A time.
    Time(Timestamp),
    /// Bytes that are usually UTF-8.
    Text(&'a [u8]),
    /// Yes or no.
    Bool(bool),
    /// An IP address.
    Address(IpAddr),
    /// Short texts.
    List(List<'a>),
}

impl<'a> Value<'a> {
    /// The value of a field; `None` when the bytes do not fit the type.
    #[inline]
    fn of(ty: Type, raw: Raw<'a>) -> Option<Self> {
        Some(match (ty, raw) {
            (Type::U64, Raw::Number(n)) => Self::U64(n),
            (Type::Time, Raw::Number(n)) => Self::Time(Timestamp::from_micros(n.cast_signed())),
            (Type::Bool, Raw::Number(n)) => Self::Bool(n != 0),
            (Type::Text, Raw::Bytes(b)) => Self::Text(b),
            (Type::Address, Raw::Bytes(b)) => Self::Address(wire::address(b)?),
            (Type::List, Raw::Bytes(b)) => Self::List(List::from_bytes(b)),
            _ => return None,
        })
    }
}

/// Redacted: texts and addresses are told by length or kind only.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(n) => write!(f, "U64({n})"),
            Self::Time(t) => write!(f, "Time({t})"),
            Self::Bool(b) => write!(f, "Bool({b})"),
            Self::Text(t) => write!(f, "Text({} bytes)", t.len()),
            Self::Address(IpAddr::V4(_)) => f.write_str("Address(IPv4)"),
            Self::Address(IpAddr::V6(_)) => f.write_str("Address(IPv6)"),
            Self::List(l) => l.fmt(f),
        }
    }
}

/// How much of an address a row shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// All of it, as far as the purpose opens it.
    #[default]
    Full,
    /// Its network: /24, or /48 for IPv6.
    Network,
    /// Nothing.
    Hidden,
}

impl Precision {
    fn of<'a>(self, value: Value<'a>) -> Option<Value<'a>> {
        match (self, value) {
            (Self::Full, value) => Some(value),
            (Self::Network, Value::Address(ip)) => Some(Value::Address(network(ip))),
            (Self::Hidden, Value::Address(_)) => None,
            (_, value) => Some(value),
        }
    }
}

/// The first address of the /24 or /48.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & !0xff)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 48))),
    }
}

/// One record as a reader sees it, borrowed from the reader's buffer.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// Number of the record within its journal instance.
    pub seq: u64,
    /// When it was recorded.
    pub ts: Timestamp,
    /// What sort of record it is.
    pub kind: Kind,
    node: &'a [u8],
    schema: u64,
    addresses: Precision,
    sections: Sections<'a>,
}

/// The fields of each class, by its code; empty when absent or not opened.
pub(crate) type Sections<'a> = [&'a [u8]; Class::ALL.len()];

impl<'a> Row<'a> {
    /// A row of these sections; those that are not opened are dropped here, once. The class `clear` begins with the
    /// kind's code.
    pub(crate) fn new(
        (seq, ts): (u64, Timestamp),
        (node, schema): (&'a [u8], u64),
        mut sections: Sections<'a>,
        opened: Opened,
    ) -> Self {
        for class in Class::ALL {
            if !opened.allows(class) {
                sections[class as usize] = &[];
            }
        }
        let clear = &mut sections[Class::Clear as usize];
        let kind = clear.first().map_or(Kind::Unknown, |code| Kind::from_code(*code));
        *clear = clear.get(1..).unwrap_or_default();
        Self { seq, ts, kind, node, schema, addresses: Precision::Full, sections }
    }

    /// The same row, showing only so much of its addresses.
    #[must_use]
    pub const fn with_addresses(mut self, precision: Precision) -> Self {
        self.addresses = precision;
        self
    }

    /// The same row with further clear fields behind its own, which stand in `room` afterwards.
    pub(crate) fn with_clear<'b>(&self, more: &[u8], room: &'b mut Vec<u8>) -> Row<'b>
    where
        'a: 'b,
    {
        room.clear();
        room.extend_from_slice(self.sections[Class::Clear as usize]);
        room.extend_from_slice(more);
        let mut sections: Sections<'b> = self.sections;
        sections[Class::Clear as usize] = room;
        Row { sections, ..*self }
    }

    /// The tombstones that the record was marked with when it was written; of records of the journal only.
    pub(crate) fn marks(&self) -> impl Iterator<Item = u32> + 'a {
        let mut left = self.sections[Class::Clear as usize];
        std::iter::from_fn(move || match next_field(left)? {
            (event::MARK, Raw::Number(mark), rest) => {
                left = rest;
                u32::try_from(mark).ok()
            }
            _ => None,
        })
    }

    /// Whether the record has values of a class that is opened.
    pub(crate) fn has(&self, class: Class) -> bool {
        !self.sections[class as usize].is_empty()
    }

    /// The value of one column; `None` when absent or not opened.
    #[must_use]
    pub fn get(&self, column: &Column) -> Option<Value<'a>> {
        if column.of_row() {
            return self.of_row(column.id);
        }
        let mut left = self.sections[column.class as usize];
        while let Some((id, raw, rest)) = next_field(left) {
            if id == column.id {
                return Value::of(column.ty, raw).and_then(|value| self.addresses.of(value));
            }
            left = rest;
        }
        None
    }

    /// The values of the projection's columns, in its order, in one pass over the classes that it needs. Entries of
    /// `out` beyond the projection's length are set to `None`; columns beyond the length of `out` are left out. The
    /// values borrow from the row, so `out` is best a small array made anew for each row.
    #[inline]
    pub fn project(&self, projection: &Projection, out: &mut [Option<Value<'a>>]) {
        out.fill(None);
        self.each(projection, |slot, value| {
            if let Some(place) = out.get_mut(slot) {
                *place = Some(value);
            }
        });
    }

    /// Shows those of the projection's columns that have a value, with their places in its order: most rows lack most
    /// columns. One pass over the classes that it needs.
    #[inline]
    pub(crate) fn each(&self, projection: &Projection, mut show: impl FnMut(usize, Value<'a>)) {
        for &(id, slot) in &projection.of_row {
            if let Some(value) = self.of_row(id) {
                show(usize::from(slot), value);
            }
        }
        for (section, &wanted) in self.sections.iter().zip(&projection.wanted) {
            let mut left = *section;
            let mut missing = wanted;
            while missing > 0 {
                let Some((id, raw, rest)) = next_field(left) else { break };
                left = rest;
                if let Some((slot, ty)) = projection.slots[usize::from(id)] {
                    missing -= 1;
                    if let Some(value) = Value::of(ty, raw).and_then(|value| self.addresses.of(value)) {
                        show(usize::from(slot), value);
                    }
                }
            }
        }
    }

    fn of_row(&self, id: u8) -> Option<Value<'a>> {
        Some(match id {
            event::TS => Value::Time(self.ts),
            event::SEQ => Value::U64(self.seq),
            event::SCHEMA => Value::U64(self.schema),
            event::KIND => Value::Text(self.kind.label().as_bytes()),
            event::NODE => Value::Text(self.node),
            _ => return None,
        })
    }
}

/// The columns that a reader wants, prepared once for [`Row::project`].
#[derive(Clone)]
pub struct Projection {
    slots: Box<[Option<(u8, Type)>; 256]>,
    of_row: Vec<(u8, u8)>,
    wanted: [u8; Class::ALL.len()],
    len: usize,
}

impl Projection {
    /// Prepares columns; a column that is given twice is filled at its last place only. At most 256.
    #[must_use]
    pub fn new(columns: &[&Column]) -> Self {
        let mut made =
            Self { slots: Box::new([None; 256]), of_row: Vec::new(), wanted: [0; _], len: columns.len() };
        for (slot, column) in (0..=u8::MAX).zip(columns) {
            if column.of_row() {
                made.of_row.push((column.id, slot));
            } else if made.slots[usize::from(column.id)].replace((slot, column.ty)).is_none() {
                made.wanted[column.class as usize] += 1;
            }
        }
        made
    }

    /// How many columns there are: the length that `out` needs.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no column is wanted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Purpose;
    use crate::store::query::testing::{Stored, event};

    #[test]
    fn addresses_are_cut_or_hidden_wherever_they_are_read() {
        let columns = ["client.address", "network.peer.address"].map(|name| Column::by_name(name).unwrap());
        let projection = Projection::new(&columns);
        for (full, network) in [("203.0.113.77", "203.0.113.0"), ("2001:db8:1:2::3", "2001:db8:1::")] {
            let address = |text: &str| Some(Value::Address(text.parse().unwrap()));
            let at = full.parse().ok();
            let stored = Stored::new(&event::Event { client_address: at, peer_address: at, ..event() });
            let row = stored.row(Purpose::Security, 1, Timestamp::default());
            for (precision, shown) in [
                (Precision::Full, address(full)),
                (Precision::Network, address(network)),
                (Precision::Hidden, None),
            ] {
                let row = row.with_addresses(precision);
                let mut out = [None; 2];
                row.project(&projection, &mut out);
                assert!(out == [shown; 2] && row.get(columns[0]) == shown, "{precision:?}");
            }
        }
    }
}
