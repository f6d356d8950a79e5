//! Tells the browser to forget advertising cookies that it still holds.
//!
//! A `Cookie` field tells neither path nor domain, so a cookie is expired in every scope in which this host could have
//! set it. [`Expirer`] remembers whom it told what, so that a site which sets a cookie on every hit does not start a
//! loop. Never touches a cookie that the request did not carry. Bounds: [`Limits`] per response; the memory has a fixed
//! size, and what it forgets is merely told again.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::Duration;

use http::HeaderValue;
use smallvec::SmallVec;

pub use super::shareable::make_private;
use crate::clock::Timestamp;

/// How long a name is not expired again for the same visitor.
pub const QUIET: Duration = Duration::from_secs(24 * 60 * 60);

/// How much one response may carry.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `Set-Cookie` fields.
    pub fields: usize,
    /// Bytes of these fields with their names and line ends.
    pub bytes: usize,
}

/// `Set-Cookie` fields for one response.
#[derive(Debug, Default)]
pub struct Plan {
    /// The values, in the order in which they are to be added.
    pub fields: SmallVec<[HeaderValue; 4]>,
    /// How many of the names given were seen to; the rest waits for another response.
    pub names: usize,
}

/// Remembers which name was expired for which visitor in the last 24 hours. One per thread.
pub struct Expirer {
    /// Rows of [`WAYS`] entries; an entry lives in the row that its fingerprint picks.
    entries: Box<[Entry]>,
    hasher: foldhash::quality::RandomState,
}

/// All copies of `NAME=; Max-Age=0; …` that are sent for a name from one host.
struct Scopes<'a> {
    /// Values of `Domain`, `None` for host-only, in the order in which they are sent.
    domains: SmallVec<[Option<&'a str>; 8]>,
    https: bool,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    /// 0 for an empty entry.
    fingerprint: u64,
    at: Timestamp,
}

/// The fields that expire these names, name by name; a name's fields are sent together or, beside other names, not at
/// all. `host` is the request's host without port; `names` may repeat.
#[must_use]
pub fn plan<'a>(names: impl Iterator<Item = &'a [u8]>, host: &str, https: bool, limits: Limits) -> Plan {
    let host = lower(host);
    let scopes = Scopes::of(&host, https);
    let mut plan = Plan::default();
    let mut done: SmallVec<[&[u8]; 16]> = SmallVec::new();
    let mut bytes = 0;
    for name in names {
        if !done.contains(&name) {
            let mut fields = scopes.fields(name, limits.fields);
            let mut size = size_of_fields(&fields);
            // A name that would never fit must not keep the others waiting for ever.
            while plan.fields.is_empty() && size > limits.bytes {
                fields.pop();
                size = size_of_fields(&fields);
            }
            if plan.fields.len() + fields.len() > limits.fields || bytes + size > limits.bytes {
                break;
            }
            bytes += size;
            plan.fields.extend(fields);
            done.push(name);
        }
        plan.names += 1;
    }
    plan
}

/// The fields that expire a cookie of ours which somebody set in another scope than ours, which is host-only with the
/// path `/`: for other domains at `/`, and for every domain at these paths. Likelier scopes first, as far as the limits go.
#[must_use]
pub fn elsewhere<'a>(
    name: &str,
    paths: impl Iterator<Item = &'a str>,
    host: &str,
    https: bool,
    limits: Limits,
) -> SmallVec<[HeaderValue; 4]> {
    let host = lower(host);
    let scopes = Scopes::of(&host, https);
    let secure = if https { "; Secure" } else { "" };
    let is_writable = |path: &&str| path.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b';');
    let roots = scopes.domains.iter().filter(|domain| domain.is_some()).map(|domain| ("/", *domain));
    let below =
        paths.filter(is_writable).flat_map(|path| scopes.domains.iter().map(move |domain| (path, *domain)));
    let mut fields: SmallVec<[HeaderValue; 4]> = SmallVec::new();
    let mut bytes = 0;
    for (path, domain) in roots.chain(below) {
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={domain}"));
        let end = EXPIRED.strip_suffix('/').unwrap_or(EXPIRED);
        let Ok(field) = HeaderValue::try_from(format!("{name}{end}{path}{domain}{secure}")) else { continue };
        if fields.contains(&field) {
            continue;
        }
        bytes += field.len() + FIELD_OVERHEAD;
        if fields.len() == limits.fields || bytes > limits.bytes {
            break;
        }
        fields.push(field);
    }
    fields
}

impl Expirer {
    /// A memory of at most `bytes` bytes; at least one row.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let rows = (bytes / (WAYS * size_of::<Entry>())).max(1);
        Self {
            entries: vec![Entry::default(); rows * WAYS].into(),
            hasher: foldhash::quality::RandomState::default(),
        }
    }

    /// The fields that expire what this visitor still has to be told, and remembers that they were told. `visitor` is
    /// any number that stands for the visitor; names that cannot be written in a header are passed over.
    pub fn expire<'a>(
        &mut self,
        visitor: u64,
        names: impl Iterator<Item = &'a [u8]>,
        host: &str,
        https: bool,
        now: Timestamp,
    ) -> SmallVec<[HeaderValue; 4]> {
        let due: SmallVec<[&[u8]; 16]> = names.filter(|name| !self.was_told(visitor, name, now)).collect();
        if due.is_empty() {
            return SmallVec::new();
        }
        let plan = plan(due.iter().copied(), host, https, Limits::default());
        for name in &due[..plan.names] {
            self.remember(visitor, name, now);
        }
        plan.fields
    }

    /// Whether this name was expired for this visitor in the last 24 hours, as far as we remember.
    #[must_use]
    pub fn was_told(&self, visitor: u64, name: &[u8], now: Timestamp) -> bool {
        let fingerprint = self.fingerprint(visitor, name);
        self.row(fingerprint)
            .is_some_and(|row| row.iter().any(|e| e.fingerprint == fingerprint && e.is_fresh(now)))
    }

    /// Forgets that these names were expired for this visitor.
    pub fn forget<'a>(&mut self, visitor: u64, names: impl Iterator<Item = &'a [u8]>) {
        for name in names {
            let fingerprint = self.fingerprint(visitor, name);
            let at = self.row_start(fingerprint);
            let row = self.entries.get_mut(at..at + WAYS).unwrap_or_default();
            row.iter_mut().filter(|e| e.fingerprint == fingerprint).for_each(|e| *e = Entry::default());
        }
    }

    fn remember(&mut self, visitor: u64, name: &[u8], now: Timestamp) {
        let fingerprint = self.fingerprint(visitor, name);
        let at = self.row_start(fingerprint);
        let Some(row) = self.entries.get_mut(at..at + WAYS) else { return };
        let place = row.iter().position(|e| e.fingerprint == fingerprint).or_else(|| {
            let oldest = row.iter().enumerate().min_by_key(|(_, e)| (e.is_fresh(now), e.at));
            oldest.map(|(index, _)| index)
        });
        if let Some(index) = place {
            row[index] = Entry { fingerprint, at: now };
        }
    }

    fn row(&self, fingerprint: u64) -> Option<&[Entry]> {
        let at = self.row_start(fingerprint);
        self.entries.get(at..at + WAYS)
    }

    fn row_start(&self, fingerprint: u64) -> usize {
        let rows = (self.entries.len() / WAYS).max(1) as u64;
        usize::try_from(fingerprint % rows).unwrap_or(0) * WAYS
    }

    /// Keyed, so that nobody can choose names that collide. Two that do by chance: one is told a day later.
    fn fingerprint(&self, visitor: u64, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        visitor.hash(&mut hasher);
        name.hash(&mut hasher);
        hasher.finish().max(1)
    }
}

impl Entry {
    /// Not when the clock was set back behind it: then we would be silent for too long.
    fn is_fresh(self, now: Timestamp) -> bool {
        self.fingerprint != 0 && self.at <= now && now.since(self.at) < QUIET
    }
}

/// Size only: the entries stand for visitors.
impl std::fmt::Debug for Expirer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expirer({} entries)", self.entries.len())
    }
}

/// 16 fields and 4 KiB.
impl Default for Limits {
    fn default() -> Self {
        Self { fields: 16, bytes: 4096 }
    }
}

impl Limits {
    /// Half of it, where two have something to expire.
    #[must_use]
    pub const fn half(self) -> Self {
        Self { fields: self.fields / 2, bytes: self.bytes / 2 }
    }

    /// What is left beside fields that a response has already.
    #[must_use]
    pub fn beside<'a>(self, fields: impl Iterator<Item = &'a HeaderValue>) -> Self {
        fields.fold(self, |left, field| Self {
            fields: left.fields.saturating_sub(1),
            bytes: left.bytes.saturating_sub(field.len() + FIELD_OVERHEAD),
        })
    }
}

impl<'a> Scopes<'a> {
    /// The registrable domain, the host alone, the host as a domain, then each parent between: the likeliest first.
    fn of(host: &'a str, https: bool) -> Self {
        let mut domains = SmallVec::new();
        if let Some(registrable) = registrable(host) {
            domains.extend([Some(registrable), None]);
            let mut domain = host;
            while domain.len() > registrable.len() {
                domains.push(Some(domain));
                domain = domain.split_once('.').map_or(registrable, |(_, parent)| parent);
            }
        } else {
            domains.push(None);
        }
        Self { domains, https }
    }

    /// At most `most` fields for a name; none if it cannot be written, or if the browser would refuse them.
    fn fields(&self, name: &[u8], most: usize) -> SmallVec<[HeaderValue; 4]> {
        let host_only = has_prefix(name, b"__Host-");
        if name.is_empty() || (!self.https && (host_only || has_prefix(name, b"__Secure-"))) {
            return SmallVec::new();
        }
        let secure = if self.https { "; Secure" } else { "" };
        let mut fields = SmallVec::new();
        for domain in self.domains.iter().filter(|domain| !host_only || domain.is_none()) {
            fields.extend(expiry(name, *domain, secure));
            if self.https && domain.is_none() {
                fields.extend(expiry(name, None, "; Secure; Partitioned"));
            }
        }
        fields.truncate(most);
        fields
    }
}

/// `None` if the name has a byte that cannot stand in a header or would end the name.
fn expiry(name: &[u8], domain: Option<&str>, attributes: &str) -> Option<HeaderValue> {
    if name.iter().any(|byte| matches!(byte, b';' | b'=')) {
        return None;
    }
    let mut value = Vec::with_capacity(name.len() + EXPIRED.len() + 64);
    value.extend_from_slice(name);
    value.extend_from_slice(EXPIRED.as_bytes());
    if let Some(domain) = domain {
        value.extend_from_slice(b"; Domain=");
        value.extend_from_slice(domain.as_bytes());
    }
    value.extend_from_slice(attributes.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).ok()
}

/// The registrable domain of a host name; `None` for an address, a single label, a public suffix, or what is no plain
/// host name.
fn registrable(host: &str) -> Option<&str> {
    let is_plain = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    // A last label of digits alone makes it an IPv4 address, however it is written.
    let is_address = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if is_address || !host.split('.').all(is_plain) {
        return None;
    }
    psl::domain_str(host)
}

/// Bytes that these fields take in a response.
fn size_of_fields(fields: &[HeaderValue]) -> usize {
    fields.iter().map(|field| field.len() + FIELD_OVERHEAD).sum()
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Browsers compare these prefixes without regard to case.
fn has_prefix(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

const EXPIRED: &str = "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/";
/// `set-cookie: ` and CRLF.
const FIELD_OVERHEAD: usize = 14;
const WAYS: usize = 4;

#[cfg(test)]
#[path = "expire_tests.rs"]
mod tests;
