//! What was found for a user agent, by its text.
//!
//! Two generations: what is not asked for while a generation fills up is forgotten. So the usual agents stay, and a
//! client that sends a new text with every request pushes out nothing but its own. Bound: twice [`GENERATION`] texts
//! or twice [`GENERATION_BYTES`], whichever comes first.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Texts in one generation.
pub const GENERATION: usize = 4096;
/// Bytes of texts and values in one generation.
pub const GENERATION_BYTES: usize = 2 << 20;

/// A bounded map from a text to encoded fields.
#[derive(Default)]
pub(super) struct Cache {
    young: Generation,
    old: Generation,
    forgotten: u64,
}

#[derive(Default)]
struct Generation {
    found: HashMap<Box<[u8]>, Box<[u8]>, RandomState>,
    bytes: usize,
}

impl Cache {
    /// Appends what was put in for the text; `false` when that is not known. What is found among the old becomes young
    /// again.
    pub(super) fn append(&mut self, text: &[u8], out: &mut Vec<u8>) -> bool {
        if let Some(value) = self.young.found.get(text) {
            out.extend_from_slice(value);
            return true;
        }
        let Some((known, value)) = self.old.found.remove_entry(text) else { return false };
        out.extend_from_slice(&value);
        self.put(known, value);
        true
    }

    /// Whether something was put in for the text.
    pub(super) fn knows(&self, text: &[u8]) -> bool {
        self.young.found.contains_key(text) || self.old.found.contains_key(text)
    }

    /// Puts a value in.
    pub(super) fn put(&mut self, text: Box<[u8]>, value: Box<[u8]>) {
        let bytes = text.len() + value.len();
        if self.young.found.len() >= GENERATION || self.young.bytes + bytes > GENERATION_BYTES {
            let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.forgotten += old.found.len() as u64;
        }
        self.young.bytes += bytes;
        self.young.found.insert(text, value);
    }

    /// How many texts were forgotten for want of room since this was asked before.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// Forgets everything: other rules are in force.
    pub(super) fn clear(&mut self) {
        (self.young, self.old) = Default::default();
    }
}

#[cfg(test)]
impl Cache {
    /// Texts of both generations.
    pub(super) fn len(&self) -> usize {
        self.young.found.len() + self.old.found.len()
    }

    /// Bytes of both generations, as they were put in.
    pub(super) fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}
