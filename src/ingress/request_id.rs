//! Request ids: a trusted proxy's if it is well-formed, else a new UUID version 7 (RFC 9562).
//!
//! Random bytes come from the operating system in blocks, so that an id costs no system call. Never unique by
//! secrecy: an id is a name, not a permission. Bound: one block of random bytes per thread.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};

use crate::clock::{self, Timestamp};

/// The field that carries the id, in both directions.
pub const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// Makes ids for one thread.
#[derive(Debug)]
pub struct Ids {
    block: RefCell<Box<[u8; BLOCK]>>,
    used: Cell<usize>,
    source: SystemRandom,
}

impl Ids {
    /// A source with an empty block.
    #[must_use]
    pub fn new() -> Self {
        Self {
            block: RefCell::new(Box::new([0; BLOCK])),
            used: Cell::new(BLOCK),
            source: SystemRandom::new(),
        }
    }

    /// The id of a request: the given one if it is 1-64 of `[A-Za-z0-9._-]`, else a new one.
    #[must_use]
    pub fn of_request(&self, given: Option<&HeaderValue>) -> HeaderValue {
        match given {
            Some(id) if is_well_formed(id.as_bytes()) => id.clone(),
            _ => self.fresh(clock::now()),
        }
    }

    /// A new id for a request that arrived at `now`.
    fn fresh(&self, now: Timestamp) -> HeaderValue {
        let millis = u64::try_from(now.as_micros().div_euclid(1000)).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &self.random()).into_uuid();
        let mut text = [0u8; uuid::fmt::Hyphenated::LENGTH];
        id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }

    fn random(&self) -> [u8; 10] {
        let mut block = self.block.borrow_mut();
        let mut at = self.used.get();
        if at + 10 > BLOCK {
            // Without system randomness ids only lose their randomness; requests go on.
            if self.source.fill(&mut block[..]).is_err() {
                tracing::error!("the operating system gives no random bytes");
            }
            at = 0;
        }
        self.used.set(at + 10);
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&block[at..at + 10]);
        bytes
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=64).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Bytes asked of the operating system at once.
const BLOCK: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_version_7() {
        let ids = Ids::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let id = ids.of_request(None);
            let parsed = uuid::Uuid::parse_str(id.to_str().unwrap()).unwrap();
            assert_eq!(parsed.get_version_num(), 7);
            assert!(seen.insert(parsed));
        }
    }

    #[test]
    fn a_given_id_is_kept_only_if_well_formed() {
        let ids = Ids::new();
        let good = HeaderValue::from_static("abc-1.2_3");
        assert_eq!(ids.of_request(Some(&good)), good);
        for bad in ["", "a b", "a\"b", &"a".repeat(65)] {
            let bad = HeaderValue::from_str(bad).unwrap();
            assert_ne!(ids.of_request(Some(&bad)), bad);
        }
    }
}
