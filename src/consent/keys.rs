//! The keys that sign consent records and form tokens.
//!
//! One file, `<data>/keys/consent.key`, readable by its owner only: the current key first, then those before it, the
//! newest first, each with an id and the second in which it was replaced. An older key verifies as long as a record that it
//! signed can count. Never prints a key. Bound: [`MAX_KEYS`] keys, [`FILE_BYTES`] bytes.

use std::fmt;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use tempfile::NamedTempFile;

use crate::clock::Timestamp;

/// Length of a truncated MAC in bytes: 128 bits.
pub const MAC_BYTES: usize = 16;

/// The keys, current first.
pub struct ConsentKeys {
    current: Key,
    /// The newest first.
    previous: Vec<Replaced>,
}

/// A key that signs no more.
struct Replaced {
    key: Key,
    /// When; `None` if a file of an earlier build does not say.
    at: Option<Timestamp>,
}

/// What becomes of the older keys at a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// Each goes when it was replaced longer ago than a record can count, which is this long.
    For(Duration),
    /// All go: whatever they signed is nothing any more, and every visitor chooses again.
    Revoked,
}

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    /// The keys from now on.
    pub keys: ConsentKeys,
    /// Ids of the keys that are gone.
    pub dropped: Vec<String>,
}

struct Key {
    id: String,
    secret: [u8; SECRET_BYTES],
    record: hmac::Key,
    form: hmac::Key,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or its folder could not be read or written.
    #[error("cannot use the consent key file {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("the consent key file {path} is open to others: chmod 600 it, and rotate the key")]
    OpenToOthers {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what we wrote.
    #[error("line {line} of the consent key file {path} is not a key")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 means the file as a whole.
        line: usize,
    },
    /// There are as many keys as the file may hold, and a record may still need each.
    #[error("the consent key file {path} holds {MAX_KEYS} keys that records may still need")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for a consent key")]
    Random,
}

impl ConsentKeys {
    /// The keys of a data folder; makes the folder `keys`, the file and a first key if they are not there.
    ///
    /// # Errors
    /// A file that cannot be read or made, that is open to others, or that holds something else.
    pub fn load_or_create(data: &Path) -> Result<Self, KeyError> {
        match Self::load(data) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        let keys = Self { current: Key::generate()?, previous: Vec::new() };
        match keys.write(&file_of(data), Existing::Keep) {
            // Another process was faster: its key counts.
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(data)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(keys),
        }
    }

    /// The keys of a data folder, which must have some.
    ///
    /// # Errors
    /// A file that is not there, cannot be read, is open to others, or holds something else.
    pub fn load(data: &Path) -> Result<Self, KeyError> {
        Self::read(&file_of(data))
    }

    /// Makes a new current key and keeps those before it, so that no visitor has to choose again; drops what no record can
    /// need any more. One at a time.
    ///
    /// # Errors
    /// As for [`ConsentKeys::load`], and when there are too many keys. The file is as it was then.
    pub fn rotate(data: &Path, older: Older, now: Timestamp) -> Result<Rotated, KeyError> {
        let path = file_of(data);
        let io = |source| KeyError::Io { path: path.clone(), source };
        let folder = File::open(path.parent().unwrap_or(Path::new("."))).map_err(io)?;
        folder.lock().map_err(io)?;
        let old = Self::read(&path)?;
        let fresh = loop {
            let key = Key::generate()?;
            if old.all().all(|other| other.id != key.id) {
                break key;
            }
        };
        // What an earlier build replaced at a time that nobody knows counts as replaced now.
        let before = std::iter::once(Replaced { key: old.current, at: None }).chain(old.previous);
        let before = before.map(|replaced| Replaced { at: replaced.at.or(Some(now)), ..replaced });
        let (previous, gone): (Vec<_>, Vec<_>) = before.partition(|replaced| replaced.counts(older, now));
        if previous.len() >= MAX_KEYS {
            return Err(KeyError::Full { path });
        }
        let keys = Self { current: fresh, previous };
        keys.write(&path, Existing::Replace)?;
        Ok(Rotated { keys, dropped: gone.into_iter().map(|replaced| replaced.key.id).collect() })
    }

    /// Ids of the older keys, the newest first, and when each was replaced.
    pub fn older(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        self.previous.iter().map(|replaced| (&*replaced.key.id, replaced.at))
    }

    /// Id of the key that signs.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.current.id
    }

    /// MAC of a record's text for a site, with the current key.
    #[must_use]
    pub fn sign_record(&self, site: &str, text: &[u8]) -> [u8; MAC_BYTES] {
        mac(&self.current.record, &[b"kelisim_consent|", site.as_bytes(), b"|", text])
    }

    /// Whether the key of that id made this MAC; an unknown id made none. Takes the same time for every wrong MAC.
    #[must_use]
    pub fn verify_record(&self, id: &[u8], site: &str, text: &[u8], given: &[u8; MAC_BYTES]) -> bool {
        self.all().find(|key| key.id.as_bytes() == id).is_some_and(|key| {
            equal(&mac(&key.record, &[b"kelisim_consent|", site.as_bytes(), b"|", text]), given)
        })
    }

    /// Token that a form of this site carries in this hour.
    #[must_use]
    pub fn form_token(&self, site: &str, hour: i64) -> String {
        URL_SAFE_NO_PAD.encode(form_mac(&self.current, site, hour))
    }

    /// Whether a form's token is of this hour or the one before, under the current key or the one before it.
    #[must_use]
    pub fn verify_form_token(&self, site: &str, hour: i64, token: &str) -> bool {
        let mut given = [0; 24];
        let Ok(MAC_BYTES) = (match token.len() {
            22 => URL_SAFE_NO_PAD.decode_slice(token, &mut given),
            _ => Ok(0),
        }) else {
            return false;
        };
        let Some(given) = given.first_chunk::<MAC_BYTES>() else { return false };
        self.all().take(2).any(|key| [hour, hour - 1].iter().any(|&h| equal(&form_mac(key, site, h), given)))
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(self.previous.iter().map(|replaced| &replaced.key))
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.into(), source };
        let malformed = |line| KeyError::Malformed { path: path.into(), line };
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::OpenToOthers { path: path.into() });
        }
        let mut text = String::new();
        file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(io)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(malformed(0));
        }
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(Key::parse(line).ok_or_else(|| malformed(index + 1))?);
            if keys.len() > MAX_KEYS {
                return Err(malformed(index + 1));
            }
        }
        let mut keys = keys.into_iter();
        match keys.next() {
            Some((current, None)) => {
                Ok(Self { current, previous: keys.map(|(key, at)| Replaced { key, at }).collect() })
            }
            _ => Err(malformed(0)),
        }
    }

    /// Writes the whole file beside its place, then moves it there: a reader sees the old file or the new one.
    fn write(&self, path: &Path, existing: Existing) -> Result<(), KeyError> {
        let io = |source| KeyError::Io { path: path.into(), source };
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        // Made with mode 0600.
        let mut file = NamedTempFile::new_in(dir).map_err(io)?;
        let mut text = String::from(HEADING);
        let previous = self.previous.iter().map(|replaced| (&replaced.key, replaced.at));
        for (key, at) in std::iter::once((&self.current, None)).chain(previous) {
            text.push_str(&key.id);
            text.push(' ');
            URL_SAFE_NO_PAD.encode_string(key.secret, &mut text);
            if let Some(at) = at {
                text.push(' ');
                text.push_str(&at.as_secs().to_string());
            }
            text.push('\n');
        }
        file.write_all(text.as_bytes()).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        match existing {
            Existing::Keep => file.persist_noclobber(path).map_err(|e| io(e.error))?,
            Existing::Replace => file.persist(path).map_err(|e| io(e.error))?,
        };
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
    }
}

impl Replaced {
    /// Whether a record that it signed can count.
    fn counts(&self, older: Older, now: Timestamp) -> bool {
        match older {
            Older::Revoked => false,
            Older::For(time) => self.at.is_none_or(|at| now <= at.plus(time.saturating_add(SLACK))),
        }
    }
}

#[derive(Clone, Copy)]
enum Existing {
    Keep,
    Replace,
}

impl Key {
    fn new(id: String, secret: [u8; SECRET_BYTES]) -> Self {
        let record = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        // A key of its own, so that no form token is ever a record's MAC, whatever a site is called.
        let form = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&record, b"kelisim_form|key").as_ref());
        Self { id, secret, record, form }
    }

    fn generate() -> Result<Self, KeyError> {
        let (mut id, mut secret) = ([0; 4], [0; SECRET_BYTES]);
        let random = SystemRandom::new();
        random.fill(&mut id).and_then(|()| random.fill(&mut secret)).map_err(|_| KeyError::Random)?;
        Ok(Self::new(format!("{:08x}", u32::from_be_bytes(id)), secret))
    }

    /// A key, and when it was replaced, if the line says so.
    fn parse(line: &str) -> Option<(Self, Option<Timestamp>)> {
        let mut words = line.split(' ');
        let (id, secret) = (words.next()?, words.next()?);
        let at = match words.next() {
            Some(second) => Some(Timestamp::from_secs(second.parse().ok()?)),
            None => None,
        };
        let id_is_good =
            (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let good = id_is_good && words.next().is_none();
        good.then_some((Self::new(id.to_owned(), secret.try_into().ok()?), at))
    }
}

/// Tells ids, never keys.
impl fmt::Debug for ConsentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().map(|key| &key.id)).finish()
    }
}

fn form_mac(key: &Key, site: &str, hour: i64) -> [u8; MAC_BYTES] {
    mac(&key.form, &[b"kelisim_form|", site.as_bytes(), b"|", &hour.to_be_bytes()])
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    let mut out = [0; MAC_BYTES];
    for (to, from) in out.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    out
}

/// Compares without a branch on the bytes. `ring` verifies whole tags only, and ours are cut.
fn equal(a: &[u8; MAC_BYTES], b: &[u8; MAC_BYTES]) -> bool {
    black_box(u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)) == 0
}

/// The file of a data folder.
fn file_of(data: &Path) -> PathBuf {
    data.join("keys").join("consent.key")
}

const HEADING: &str = "# Signs consent records. Current key first, then those before it with the second in which each was replaced.\n";
const SECRET_BYTES: usize = 32;
/// Most keys in the file.
pub const MAX_KEYS: usize = 64;
/// Most bytes of the file.
pub const FILE_BYTES: u64 = 8192;
/// How much longer a key is kept than its records count: clocks differ, and a gateway signs with the old key until it is
/// told.
const SLACK: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
impl ConsentKeys {
    /// Keys for tests, told apart by a number.
    pub(crate) fn for_test(seed: u8) -> Self {
        Self::for_test_named(&format!("t{seed}"), seed)
    }

    /// Keys for tests with an id of one's own.
    pub(crate) fn for_test_named(id: &str, seed: u8) -> Self {
        Self { current: Key::new(id.to_owned(), [seed; SECRET_BYTES]), previous: Vec::new() }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
