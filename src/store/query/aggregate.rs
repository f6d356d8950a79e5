//! Counts by key: what `top` shows.
//!
//! Counts are exact until a limit is reached; what is beyond it is counted apart and shown. Never drops a row silently.
//! Bounds, for each scanning thread: [`Limits`].

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::key::{OwnedValue, with_key};
use super::quantile;
use crate::record::Value;
use crate::record::event::Type;

/// What `top` orders by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Number of records.
    Hits,
    /// Number of distinct values of a second column.
    Visitors,
    /// The same, of tags that last a day.
    Visits,
    /// Sum of a second column.
    Bytes,
    /// 95th percentile of a second column, at most 1/64 too high.
    P95,
}

/// How much one [`Top`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Distinct keys.
    pub keys: usize,
    /// Bytes of all keys together.
    pub key_bytes: usize,
    /// Distinct pairs of a key and a visitor, or of a key and a class of durations.
    pub pairs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 1 << 20, key_bytes: 64 << 20, pairs: 1 << 21 }
    }
}

/// Counts by key, being gathered.
#[derive(Debug)]
pub struct Top {
    by: By,
    ty: Type,
    limits: Limits,
    index: HashMap<Box<[u8]>, u32, RandomState>,
    entries: Vec<Entry>,
    key_bytes: usize,
    pairs: HashMap<(u32, u64), u64, RandomState>,
    hasher: RandomState,
    absent: u64,
    over: Entry,
    unmeasured: u64,
    records: u64,
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    hits: u64,
    sum: u64,
}

/// Counts by key, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopResult {
    /// What the order is by.
    pub by: By,
    /// The leading keys, greatest first.
    pub rows: Vec<TopRow>,
    /// Records that matched.
    pub records: u64,
    /// Records without the field.
    pub absent: u64,
    /// How many keys were left out by `limit` or `min`, and their hits and sum.
    pub other: Rest,
    /// What came after [`Limits::keys`] or [`Limits::key_bytes`] was reached; zero keys when all counts are exact.
    pub over: Rest,
    /// Hits that were counted but not measured, because [`Limits::pairs`] was reached.
    pub unmeasured: u64,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    /// The value of the field.
    pub key: OwnedValue,
    /// Records that have it.
    pub hits: u64,
    /// What [`By`] asks for: hits, visitors, bytes or microseconds.
    pub measure: u64,
}

/// Several keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Distinct keys; for what came after the limit, unknown and 0.
    pub keys: u64,
    /// Their records.
    pub hits: u64,
    /// Their sum, when ordered by bytes.
    pub sum: u64,
}

impl Top {
    /// Nothing counted yet, for a field of that type.
    #[must_use]
    pub fn new(ty: Type, by: By, limits: Limits) -> Self {
        Self {
            by,
            ty,
            limits,
            index: HashMap::default(),
            entries: Vec::new(),
            key_bytes: 0,
            pairs: HashMap::default(),
            hasher: RandomState::default(),
            absent: 0,
            over: Entry::default(),
            unmeasured: 0,
            records: 0,
        }
    }

    /// A second, empty one to count beside this one and be merged into it.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { hasher: self.hasher.clone(), ..Self::new(self.ty, self.by, self.limits) }
    }

    /// What is counted besides hits.
    #[must_use]
    pub const fn by(&self) -> By {
        self.by
    }

    /// Counts records that have the same value of the field: how many, and the sum of what is measured; for hits and
    /// bytes only.
    pub(super) fn add_many(&mut self, key: &Value<'_>, hits: u64, sum: u64) {
        self.records += hits;
        let sum = if self.by == By::Bytes { sum } else { 0 };
        let added = Entry { hits, sum };
        match with_key(key, |key| self.place(key)) {
            Some(place) => self.entries[place as usize].add(added),
            None => self.over.add(added),
        }
    }

    /// Counts one record whose field is a list: each item is a key.
    pub(super) fn add_items<'i>(
        &mut self,
        items: Option<impl Iterator<Item = &'i [u8]>>,
        measure: Option<&Value<'_>>,
    ) {
        self.records += 1;
        let mut none = true;
        for item in items.into_iter().flatten() {
            none = false;
            self.add_key(&Value::Text(item), measure);
        }
        self.absent += u64::from(none);
    }

    /// Counts one record: the value of the field, and of the column that [`By`] needs. Each item of a list is a key.
    pub fn add(&mut self, key: Option<&Value<'_>>, measure: Option<&Value<'_>>) {
        self.records += 1;
        match key {
            None => self.absent += 1,
            Some(Value::List(list)) => list.iter().for_each(|item| self.add_key(&Value::Text(item), measure)),
            Some(value) => self.add_key(value, measure),
        }
    }

    /// Adds what a sibling has counted.
    pub fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.absent += other.absent;
        self.unmeasured += other.unmeasured;
        self.over.add(other.over);
        let mut places = vec![None; other.entries.len()];
        for (key, from) in other.index {
            let entry = other.entries[from as usize];
            match self.place(&key) {
                Some(place) => {
                    self.entries[place as usize].add(entry);
                    places[from as usize] = Some(place);
                }
                None => self.over.add(entry),
            }
        }
        for ((from, what), count) in other.pairs {
            if let Some(place) = places[from as usize] {
                self.pair(place, what, count);
            }
        }
    }

    /// The keys in order: at most `limit` of those with at least `min` hits.
    #[must_use]
    pub fn finish(self, limit: usize, min: u64) -> TopResult {
        let measures = self.measures();
        let ty = self.ty;
        let mut rows: Vec<TopRow> = self
            .index
            .into_iter()
            .map(|(key, at)| TopRow {
                key: OwnedValue::from_key(ty, key),
                hits: self.entries[at as usize].hits,
                measure: measures[at as usize],
            })
            .collect();
        rows.sort_unstable_by(|a, b| (b.measure, b.hits, &a.key).cmp(&(a.measure, a.hits, &b.key)));
        let mut other = Rest::default();
        let mut kept = 0;
        rows.retain(|row| {
            let keep = kept < limit && row.hits >= min;
            if keep {
                kept += 1;
            } else {
                other.keys += 1;
                other.hits += row.hits;
                other.sum = other.sum.saturating_add(row.measure);
            }
            keep
        });
        TopResult {
            by: self.by,
            rows,
            records: self.records,
            absent: self.absent,
            other,
            over: Rest { keys: 0, hits: self.over.hits, sum: self.over.sum },
            unmeasured: self.unmeasured,
        }
    }

    fn add_key(&mut self, key: &Value<'_>, measure: Option<&Value<'_>>) {
        let number = if let Some(Value::U64(n)) = measure { Some(*n) } else { None };
        let entry = Entry { hits: 1, sum: number.unwrap_or(0) };
        let Some(place) = with_key(key, |bytes| self.place(bytes)) else {
            self.over.add(entry);
            return;
        };
        self.entries[place as usize].add(entry);
        match (self.by, measure, number) {
            (By::Visitors | By::Visits, Some(Value::Text(tag)), _) => {
                let visitor = self.hasher.hash_one(*tag);
                self.pair(place, visitor, 1);
            }
            (By::P95, _, Some(n)) => self.pair(place, quantile::class_of(n), 1),
            _ => {}
        }
    }

    /// The place of a key, made when there is room.
    fn place(&mut self, key: &[u8]) -> Option<u32> {
        if let Some(place) = self.index.get(key) {
            return Some(*place);
        }
        let full =
            self.entries.len() >= self.limits.keys || self.key_bytes + key.len() > self.limits.key_bytes;
        let place = u32::try_from(self.entries.len()).ok().filter(|_| !full)?;
        self.index.insert(Box::from(key), place);
        self.entries.push(Entry::default());
        self.key_bytes += key.len();
        Some(place)
    }

    /// What each key is ordered by.
    fn measures(&self) -> Vec<u64> {
        let mut measures: Vec<u64> = match self.by {
            By::Hits => self.entries.iter().map(|e| e.hits).collect(),
            By::Bytes => self.entries.iter().map(|e| e.sum).collect(),
            By::Visitors | By::Visits | By::P95 => vec![0; self.entries.len()],
        };
        if matches!(self.by, By::Visitors | By::Visits) {
            self.pairs.keys().for_each(|(place, _)| measures[*place as usize] += 1);
        }
        if self.by == By::P95 {
            let mut classes: Vec<_> =
                self.pairs.iter().map(|((place, class), n)| (*place, *class, *n)).collect();
            classes.sort_unstable();
            for of_key in classes.chunk_by(|a, b| a.0 == b.0) {
                measures[of_key[0].0 as usize] = quantile::percentile(of_key.iter().map(|c| (c.1, c.2)), 95);
            }
        }
        measures
    }

    fn pair(&mut self, place: u32, what: u64, count: u64) {
        if let Some(known) = self.pairs.get_mut(&(place, what)) {
            *known += count;
        } else if self.pairs.len() < self.limits.pairs {
            self.pairs.insert((place, what), count);
        } else {
            self.unmeasured += count;
        }
    }
}

impl Entry {
    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.sum = self.sum.saturating_add(other.sum);
    }
}

#[cfg(test)]
mod tests;
