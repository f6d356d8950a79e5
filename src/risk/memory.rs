//! What is remembered of subjects and addresses, in so many bytes and no more.
//!
//! Lives in memory only and is lost with the process: learning then starts again and nothing fires. Holds no raw
//! address: every key is a hash made with a secret of this process (SipHash; it never leaves, so it need not be an
//! HMAC). A subject is admitted only when a visitor *returns* a genuine cookie, so that a flood without cookies evicts
//! nobody. Bound: the bytes given to `SharedMemory::new`.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

use super::bounded::BoundedMap;
use super::deny::DenyList;
use super::pages::Pages;
use super::score::{Assessment, Score};
use super::session::{Axis, Logins, Spread};
use super::shared::Crowds;
use super::signal::{Caps, Level, SignalName, Signals};
use super::sketch::Sketch;
use super::travel::{Origin, Travel};
use super::velocity::{Addresses, Answer};
use crate::clock::Timestamp;

/// Whole seconds since a day before the memory was made; never 0 for an event.
pub(super) type Tick = u32;

/// What is known of one request. Hashes only.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Facts {
    /// Whose counters the address' events go to.
    pub(super) counted: Counted,
    /// Keyed hash of the visitor's id; `None` unless the cookie was returned.
    pub(super) subject: Option<u64>,
    pub(super) origin: Origin,
    /// The request is a login attempt.
    pub(super) login: bool,
    /// Keyed hash of the path, when the request asks for a page.
    pub(super) page: Option<u64>,
}

/// Whose counters the events of an address go to.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Counted {
    /// The address' own: its keyed hash (IPv6: of the /64).
    Alone(u64),
    /// Many share the address: keyed hash of address and user agent, for login attempts only.
    Shared(u64),
}

impl Counted {
    const fn key(self) -> u64 {
        match self {
            Self::Alone(key) | Self::Shared(key) => key,
        }
    }
}

/// What is remembered of one visitor.
#[derive(Clone, Copy, Default)]
struct Subject {
    travel: Travel,
    spread: Spread,
    logins: Logins,
    score: Score,
}

/// Subjects and addresses of one shard.
#[derive(Clone)]
pub(super) struct Memory {
    subjects: BoundedMap<Subject>,
    addresses: Addresses,
    pages: Pages,
    crowds: Crowds,
}

impl Memory {
    fn with_bytes(bytes: usize) -> Self {
        let part = bytes.saturating_sub(Sketch::BYTES) / 32;
        Self {
            subjects: BoundedMap::with_bytes(part * 22),
            addresses: Addresses::with_bytes(part * 6),
            // Entries are small, and free again within seconds.
            pages: Pages::with_bytes(part * 3),
            crowds: Crowds::with_bytes(part),
        }
    }

    /// The whole judgement on one memory: what [`SharedMemory::assess`] does on two shards. Pure given its arguments.
    #[cfg(test)]
    pub(super) fn assess(&mut self, now: Tick, day: u16, facts: &Facts, caps: &Caps) -> Assessment {
        let velocity = self.judge_address(now, facts);
        self.judge_subject(now, day, facts, velocity, caps)
    }

    fn judge_address(&mut self, now: Tick, facts: &Facts) -> Level {
        match facts.counted {
            Counted::Alone(key) => {
                let counted = self.addresses.observe(key, facts.login, now);
                counted.max(self.pages.observe(key, facts.page, now))
            }
            Counted::Shared(key) => self.crowds.observe(key, facts.login, now),
        }
    }

    /// `velocity` is what the address deserves. Without a subject nothing else is judged and nothing remembered.
    fn judge_subject(
        &mut self,
        now: Tick,
        day: u16,
        facts: &Facts,
        velocity: Level,
        caps: &Caps,
    ) -> Assessment {
        let Some(key) = facts.subject else { return judge_stranger(now, velocity, caps) };
        let subject = self.subjects.get_or_insert(key, Subject::default);
        let mut signals = Signals::default();
        signals.raise(SignalName::Velocity, velocity);
        subject.travel.observe(&facts.origin, now, day, &mut signals);
        let origin = &facts.origin;
        let values = [
            (Axis::Network, Some(origin.net)),
            (Axis::Country, origin.country.map(|country| u32::from(u16::from_be_bytes(country.bytes())))),
            (Axis::Asn, origin.asn),
        ];
        signals.raise(SignalName::SessionSpread, subject.spread.observe(values, now));
        if facts.login {
            subject.logins.attempt(now);
        }
        signals.raise(SignalName::Velocity, subject.logins.judge(now));
        signals.lower(caps);
        subject.score.apply(&signals, now)
    }
}

fn judge_stranger(now: Tick, velocity: Level, caps: &Caps) -> Assessment {
    let mut signals = Signals::default();
    signals.raise(SignalName::Velocity, velocity);
    signals.lower(caps);
    Score::default().apply(&signals, now)
}

/// The memory of all threads.
///
/// A visitor's connections land on any thread, and spread is only seen by who sees all of them. So this is the one
/// thing on a request's way that threads share: shards behind locks, each held for some hundred instructions, never
/// two at once, never across an await. Right before lock-free.
pub(super) struct SharedMemory {
    shards: Box<[Mutex<Memory>]>,
    denied: Mutex<DenyList>,
    seed: RandomState,
    /// What every hash of a path begins with.
    paths: DefaultHasher,
    base: Timestamp,
}

/// Fill of the memory, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Subjects remembered.
    pub subjects: usize,
    /// Subjects that have room.
    pub subject_capacity: usize,
    /// Subjects that made room for others since the start.
    pub subject_evictions: u64,
    /// Addresses counted exactly.
    pub addresses: usize,
    /// Addresses that have room.
    pub address_capacity: usize,
    /// Addresses whose pages are counted.
    pub pages: usize,
    /// Addresses whose pages have room.
    pub page_capacity: usize,
    /// User agents whose logins are counted behind addresses that many share.
    pub crowds: usize,
    /// Such user agents that have room.
    pub crowd_capacity: usize,
    /// Shards whose table was full, so that a sketch was needed.
    pub sketches_in_use: usize,
    /// Entries of the deny list, ended ones included.
    pub denied: usize,
}

/// What a hash is for, so that equal bytes of two kinds never meet.
#[derive(Clone, Copy, Hash)]
pub(super) enum Kind {
    Address,
    Network,
    Subject,
    AddressAndAgent,
}

impl SharedMemory {
    /// At most `bytes` of memory; less than [`MIN_BYTES`] is taken for that.
    pub(super) fn new(bytes: usize, now: Timestamp) -> Self {
        let bytes = bytes.max(MIN_BYTES);
        let denied = bytes / 16;
        let shards = (bytes / BYTES_PER_SHARD).clamp(1, MAX_SHARDS);
        let each = (bytes - denied) / shards;
        let seed = RandomState::new();
        let mut paths = seed.build_hasher();
        // No other kind begins so.
        paths.write(&[u8::MAX; 8]);
        Self {
            shards: (0..shards).map(|_| Mutex::new(Memory::with_bytes(each))).collect(),
            denied: Mutex::new(DenyList::with_bytes(denied)),
            seed,
            paths,
            base: now.minus(Duration::from_secs(86_400)),
        }
    }

    /// A hash with this process' secret.
    pub(super) fn hash(&self, kind: Kind, value: impl Hash) -> u64 {
        self.seed.hash_one((kind, value))
    }

    /// The same for a path, in one piece.
    pub(super) fn hash_path(&self, path: &[u8]) -> u64 {
        let mut hasher = self.paths.clone();
        hasher.write(path);
        hasher.finish()
    }

    /// The same for a network, in one block: the general way feeds it to the hash in pieces.
    pub(super) fn hash_net(&self, kind: Kind, net: IpNet) -> u64 {
        let (family, bits) = match net {
            IpNet::V4(net) => (4, u128::from(net.addr().to_bits())),
            IpNet::V6(net) => (6, net.addr().to_bits()),
        };
        let mut block = [0; 24];
        block[..16].copy_from_slice(&bits.to_le_bytes());
        block[16..19].copy_from_slice(&[kind as u8, family, net.prefix_len()]);
        let mut hasher = self.seed.build_hasher();
        hasher.write(&block);
        hasher.finish()
    }

    /// Judges one request and remembers it.
    pub(super) fn assess(&self, now: Timestamp, facts: &Facts, caps: &Caps) -> Assessment {
        let tick = self.tick(now);
        let velocity = lock(self.shard(facts.counted.key())).judge_address(tick, facts);
        match facts.subject {
            Some(key) => lock(self.shard(key)).judge_subject(tick, day(now), facts, velocity, caps),
            None => judge_stranger(tick, velocity, caps),
        }
    }

    /// Counts an answer of the site.
    pub(super) fn observe_answer(
        &self,
        now: Timestamp,
        counted: Counted,
        subject: Option<u64>,
        answer: Answer,
    ) {
        let tick = self.tick(now);
        if let Counted::Alone(key) = counted {
            lock(self.shard(key)).addresses.observe_answer(key, answer, tick);
        }
        if answer.failed_login
            && let Some(key) = subject
            && let Some(subject) = lock(self.shard(key)).subjects.get_mut(key)
        {
            subject.logins.fail(tick);
        }
    }

    /// How much longer a key is refused.
    pub(super) fn denied_for(&self, key: u64, now: Timestamp) -> Option<Duration> {
        lock(&self.denied).remaining(key, self.tick(now))
    }

    /// Refuses a key from now on. Says how long.
    pub(super) fn deny(&self, key: u64, now: Timestamp) -> Duration {
        lock(&self.denied).deny(key, self.tick(now))
    }

    /// Fill of all shards. Takes each lock once.
    pub(super) fn stats(&self) -> MemoryStats {
        let mut stats = MemoryStats { denied: lock(&self.denied).len(), ..MemoryStats::default() };
        for shard in &self.shards {
            let memory = lock(shard);
            stats.subjects += memory.subjects.len();
            stats.subject_capacity += memory.subjects.capacity();
            stats.subject_evictions += memory.subjects.evictions();
            stats.addresses += memory.addresses.len();
            stats.address_capacity += memory.addresses.capacity();
            stats.pages += memory.pages.len();
            stats.page_capacity += memory.pages.capacity();
            stats.crowds += memory.crowds.len();
            stats.crowd_capacity += memory.crowds.capacity();
            stats.sketches_in_use += usize::from(memory.addresses.sketch_in_use());
        }
        stats
    }

    fn tick(&self, now: Timestamp) -> Tick {
        // A clock set back by more than a day stands still at 1; it must not look like "never".
        Tick::try_from(now.since(self.base).as_secs()).unwrap_or(Tick::MAX).max(1)
    }

    fn shard(&self, key: u64) -> &Mutex<Memory> {
        // The upper bits: the lower ones place the key inside the shard.
        &self.shards[(key >> 32) as usize % self.shards.len()]
    }
}

fn day(now: Timestamp) -> u16 {
    u16::try_from(now.day().max(0)).unwrap_or(u16::MAX)
}

/// Nothing panics while a lock is held; were it otherwise, counters that are a little off are better than none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The least memory there is.
pub const MIN_BYTES: usize = 1024 * 1024;
const BYTES_PER_SHARD: usize = 2 * 1024 * 1024;
const MAX_SHARDS: usize = 16;

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
