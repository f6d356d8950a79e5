//! The cookie `kelisim_vid`: recognises a returning browser, for security only.
//!
//! Its value is a random id and the day it was first given, under a MAC. It is given when there is no valid one, and
//! **never renewed**: an id lives [`LIFETIME_DAYS`] days from the day it was given and then becomes another one, so that
//! nobody is recognised for longer than security records are kept, and no answer but the first carries it. That end
//! is checked here, not left to the browser. Never an error: what is not genuine is no cookie. Bound: 48 characters;
//! [`VerifyCache::SLOTS`] remembered values per thread.

use std::fmt;
use std::hash::BuildHasher;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use foldhash::quality::RandomState;
use http::HeaderValue;
use ring::hmac;
use uuid::Uuid;

use super::keys::Key;
pub use super::keys::{KeyError, VisitorKeys};
use crate::clock::Timestamp;

/// A visitor's random id (uuid v7). `Debug` is redacted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VisitorId(Uuid);

impl VisitorId {
    /// The id. It identifies a person: for sealed record columns and keyed hashes only.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorId(..)")
    }
}

/// A visitor whose cookie is genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The id.
    pub id: VisitorId,
    /// The day the id was given, in days since 1970-01-01 UTC.
    pub first_seen_day: u16,
    returned: bool,
    tag: [u8; TAG],
}

impl Visitor {
    /// Stands for the visitor in records: a keyed hash of the id, 16 hexadecimal digits. The same cookie always has the
    /// same tag; without the key nobody can tell the id from it.
    #[must_use]
    pub const fn tag(&self) -> &[u8; TAG] {
        &self.tag
    }

    /// Whether the browser sent the cookie back, rather than being given it just now. Only such visitors are admitted
    /// to the risk memory: a flood without cookies cannot push anybody out of it.
    #[must_use]
    pub const fn returned(&self) -> bool {
        self.returned
    }
}

impl VisitorKeys {
    /// The visitor of a cookie value; `None` for a bad MAC, an unknown key or version, an id past its lifetime, or a
    /// day in the future. Costs one HMAC.
    #[must_use]
    pub fn verify(&self, value: &[u8], now: Timestamp) -> Option<Visitor> {
        let (key, id, first_seen_day) = self.opened(value)?;
        is_alive(first_seen_day, now).then(|| Visitor {
            id,
            first_seen_day,
            returned: true,
            tag: tag_of(key, id),
        })
    }

    /// The key, the id and the first day of a genuine value.
    fn opened(&self, value: &[u8]) -> Option<(&Key, VisitorId, u16)> {
        let mut bytes = [0; BYTES];
        if value.len() != TEXT || URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) != Ok(BYTES) {
            return None;
        }
        let (body, mac) = bytes.split_at(BODY);
        let &[version, key_id, ..] = body else { return None };
        let key = self.by_id(key_id)?;
        if version != VERSION || !equal(mac, &mac_of(key, body)) {
            return None;
        }
        let id = VisitorId(Uuid::from_slice(&body[2..18]).ok()?);
        Some((key, id, u16::from_be_bytes(body[18..20].try_into().ok()?)))
    }

    /// The id in a cookie value that this gateway gave, however long ago; `None` when it did not, or its key is gone.
    #[must_use]
    pub fn genuine(&self, value: &[u8]) -> Option<VisitorId> {
        self.opened(value).map(|(_, id, _)| id)
    }

    /// A new visitor and the `Set-Cookie` value that tells the browser. `secure`: the visitor came by https.
    #[must_use]
    pub fn issue(&self, now: Timestamp, secure: bool) -> (Visitor, HeaderValue) {
        let secs = u64::try_from(now.as_secs()).unwrap_or(0);
        let nanos = u32::try_from(now.as_micros().rem_euclid(1_000_000)).unwrap_or(0) * 1000;
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, secs, nanos));
        let first_seen_day = u16::try_from(now.day().max(0)).unwrap_or(u16::MAX);
        let id = VisitorId(id);
        let tag = tag_of(self.current(), id);
        let visitor = Visitor { id, first_seen_day, returned: false, tag };
        let cookie = Cookie::build((NAME, self.value_of(&visitor)))
            .http_only(true)
            .path("/")
            .same_site(SameSite::Lax)
            .secure(secure)
            .max_age(cookie::time::Duration::days(LIFETIME_DAYS.into()));
        // Base64 and attribute names are valid in a header; the fallback deletes instead of lying.
        let header = HeaderValue::try_from(cookie.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("kelisim_vid=; Path=/; Max-Age=0"));
        (visitor, header)
    }

    fn value_of(&self, visitor: &Visitor) -> String {
        let key = self.current();
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1] = key.id;
        bytes[2..18].copy_from_slice(visitor.id.0.as_bytes());
        bytes[18..20].copy_from_slice(&visitor.first_seen_day.to_be_bytes());
        let mac = mac_of(key, &bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The visitors verified last on one thread, so that a kept-alive connection pays for one HMAC, not for each request.
pub struct VerifyCache {
    /// The newest of a set comes first: two visitors that take turns do not push each other out.
    sets: Box<[[Option<Known>; WAYS]]>,
    seed: RandomState,
}

/// A genuine value and its visitor.
type Known = ([u8; TEXT], Visitor);

impl VerifyCache {
    /// Values remembered; about 80 bytes each.
    pub const SLOTS: usize = 4096;

    /// Like [`VisitorKeys::verify`]. A value that was not genuine is never remembered. After a change of keys, use a
    /// new cache.
    pub fn verify(&mut self, keys: &VisitorKeys, value: &[u8], now: Timestamp) -> Option<Visitor> {
        let text: [u8; TEXT] = value.try_into().ok()?;
        // The modulus keeps the index in bounds; the seed is secret, so a client cannot aim at another's set.
        let set = &mut self.sets[self.seed.hash_one(text) as usize % (Self::SLOTS / WAYS)];
        for (known, visitor) in set.iter().flatten() {
            if equal(known, &text) {
                return is_alive(visitor.first_seen_day, now).then_some(*visitor);
            }
        }
        let visitor = keys.verify(value, now)?;
        set.rotate_right(1);
        set[0] = Some((text, visitor));
        Some(visitor)
    }
}

impl Default for VerifyCache {
    fn default() -> Self {
        Self { sets: vec![[None; WAYS]; Self::SLOTS / WAYS].into_boxed_slice(), seed: RandomState::default() }
    }
}

impl fmt::Debug for VerifyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyCache(..)")
    }
}

fn is_alive(first_seen_day: u16, now: Timestamp) -> bool {
    let age = now.day() - i64::from(first_seen_day);
    // One day of tolerance for a node whose clock is behind the one that gave the id.
    (-1..=i64::from(LIFETIME_DAYS)).contains(&age)
}

/// Never the MAC of a cookie: that begins with the version, this with a word.
fn tag_of(key: &Key, id: VisitorId) -> [u8; TAG] {
    let mut body = *b"tag|0123456789abcdef";
    body[4..].copy_from_slice(id.0.as_bytes());
    let hash = hmac::sign(&key.hmac, &body);
    let mut text = [0; TAG];
    for (digits, byte) in text.chunks_exact_mut(2).zip(hash.as_ref()) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 15)];
    }
    text
}

fn mac_of(key: &Key, body: &[u8]) -> [u8; MAC] {
    let tag = hmac::sign(&key.hmac, body);
    let mut mac = [0; MAC];
    mac.copy_from_slice(&tag.as_ref()[..MAC]);
    mac
}

/// Compares in a time that depends on the length only; eight bytes at a time, for it happens on every request.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = a_words.iter().zip(b_words);
    let words =
        words.fold(0, |bits, (a, b)| black_box(bits | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b))));
    let rest = a_rest.iter().zip(b_rest).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
    a.len() == b.len() && words == 0 && rest == 0
}

/// The cookie's name.
pub const NAME: &str = "kelisim_vid";
/// Days that an id lives.
pub const LIFETIME_DAYS: u16 = 30;

/// Values remembered for the same hash.
const WAYS: usize = 2;
const VERSION: u8 = 1;
/// Version, key id, uuid, first-seen day.
const BODY: usize = 1 + 1 + 16 + 2;
/// HMAC-SHA256 cut to 128 bits.
const MAC: usize = 16;
/// Digits of a tag.
pub const TAG: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";
const BYTES: usize = BODY + MAC;
/// Base64url of [`BYTES`], which needs no padding.
const TEXT: usize = BYTES / 3 * 4;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

    fn keys() -> (tempfile::TempDir, VisitorKeys) {
        let data = tempfile::tempdir().unwrap();
        let keys = VisitorKeys::load_or_create(data.path()).unwrap();
        (data, keys)
    }

    fn days(count: i64) -> Timestamp {
        Timestamp::from_secs(NOW.as_secs() + count * 86_400)
    }

    fn value(header: &HeaderValue) -> Vec<u8> {
        let text = header.to_str().unwrap().strip_prefix("kelisim_vid=").unwrap();
        text.split(';').next().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn what_is_issued_verifies_and_only_then_is_returned() {
        let (_data, keys) = keys();
        let (given, header) = keys.issue(NOW, true);
        let back = keys.verify(&value(&header), NOW).unwrap();
        assert_eq!((back.id, back.first_seen_day), (given.id, given.first_seen_day));
        assert!(back.returned() && !given.returned());
        assert_eq!(given.id.uuid().get_version_num(), 7);
        assert!(!format!("{given:?}").contains(&given.id.uuid().to_string()));
    }

    #[test]
    fn the_attributes_are_those_of_a_security_cookie() {
        let (_data, keys) = keys();
        let attributes = |secure| {
            let text = keys.issue(NOW, secure).1.to_str().unwrap().to_owned();
            text.split_once("; ").unwrap().1.to_owned()
        };
        assert_eq!(attributes(true), "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=2592000");
        assert_eq!(attributes(false), "HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");
    }

    #[test]
    fn every_flipped_bit_makes_it_no_cookie() {
        let (_data, keys) = keys();
        let good = value(&keys.issue(NOW, true).1);
        assert_eq!(good.len(), TEXT);
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                assert_eq!(keys.verify(&bad, NOW), None, "byte {index} bit {bit}");
            }
        }
        for bad in [&good[1..], &good[..TEXT - 1], b"", b"=", &[good.as_slice(), b"="].concat()] {
            assert_eq!(keys.verify(bad, NOW), None);
        }
    }

    #[test]
    fn an_id_ends_with_its_lifetime_whatever_the_browser_does() {
        let (_data, keys) = keys();
        let good = value(&keys.issue(NOW, true).1);
        let mut cache = VerifyCache::default();
        for (day, alive) in [(-2, false), (-1, true), (0, true), (30, true), (31, false)] {
            assert_eq!(keys.verify(&good, days(day)).is_some(), alive, "day {day}");
            assert_eq!(cache.verify(&keys, &good, days(day)).is_some(), alive, "cached, day {day}");
        }
    }

    #[test]
    fn a_visitor_keeps_its_tag_and_shares_it_with_nobody() {
        let (data, keys) = keys();
        let (visitor, field) = keys.issue(NOW, true);
        let returned = keys.verify(&value(&field), days(3)).unwrap();
        assert_eq!(returned.tag(), visitor.tag());
        assert!(
            !visitor.id.uuid().simple().to_string().contains(std::str::from_utf8(visitor.tag()).unwrap())
        );
        assert_ne!(keys.issue(NOW, true).0.tag(), visitor.tag());
        let keys = keys.rotate(data.path()).unwrap();
        assert_eq!(
            keys.verify(&value(&field), NOW).unwrap().tag(),
            visitor.tag(),
            "after a change of keys too"
        );
    }

    #[test]
    fn the_previous_key_is_accepted_and_the_one_before_is_not() {
        let (data, keys) = keys();
        let good = value(&keys.issue(NOW, true).1);
        let keys = keys.rotate(data.path()).unwrap();
        assert!(keys.verify(&good, NOW).is_some());
        let keys = keys.rotate(data.path()).unwrap();
        assert!(keys.verify(&good, NOW).is_none());
        let (_other, strangers) = self::keys();
        assert!(strangers.verify(&value(&keys.issue(NOW, true).1), NOW).is_none());
    }

    #[test]
    fn the_cache_is_bounded_and_never_mixes_visitors() {
        let (_data, keys) = keys();
        let mut cache = VerifyCache::default();
        let values: Vec<_> = (0..VerifyCache::SLOTS * 2).map(|_| keys.issue(NOW, true)).collect();
        for _ in 0..2 {
            for (visitor, header) in &values {
                assert_eq!(cache.verify(&keys, &value(header), NOW).unwrap().id, visitor.id);
            }
        }
        assert_eq!(cache.sets.as_flattened().len(), VerifyCache::SLOTS);
        assert!(cache.sets.as_flattened().iter().flatten().count() > VerifyCache::SLOTS / 2);
    }

    #[test]
    fn a_bad_value_is_not_remembered() {
        let (_data, keys) = keys();
        let mut cache = VerifyCache::default();
        let mut bad = value(&keys.issue(NOW, true).1);
        bad[40] ^= 1;
        assert_eq!(cache.verify(&keys, &bad, NOW), None);
        assert!(cache.sets.as_flattened().iter().all(Option::is_none));
        assert_eq!(cache.verify(&keys, b"short", NOW), None);
    }
}
