//! The keys that sign consent records and form tokens.
//!
//! One file, `<data>/keys/consent.key`, readable by its owner only: the current key first, then the previous one, each
//! with an id. Never prints a key. Bound: [`MAX_KEYS`] keys, [`FILE_BYTES`] bytes.

use std::fmt;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use tempfile::NamedTempFile;

/// Length of a truncated MAC in bytes: 128 bits.
pub const MAC_BYTES: usize = 16;

/// The keys, current first.
pub struct ConsentKeys {
    current: Key,
    previous: Option<Key>,
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
        let path = data.join("keys").join("consent.key");
        match Self::load(&path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        let keys = Self { current: Key::generate()?, previous: None };
        match keys.write(&path, Existing::Keep) {
            // Another process was faster: its key counts.
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(&path)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(keys),
        }
    }

    /// Makes a new current key and keeps the one before, so that no visitor has to choose again.
    ///
    /// # Errors
    /// As for [`ConsentKeys::load_or_create`].
    pub fn rotate(data: &Path) -> Result<Self, KeyError> {
        let path = data.join("keys").join("consent.key");
        let old = Self::load(&path)?;
        let keys = Self { current: Key::generate()?, previous: Some(old.current) };
        keys.write(&path, Existing::Replace)?;
        Ok(keys)
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

    /// Whether a form's token is of this hour or the one before, under the current or the previous key.
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
        self.all().any(|key| [hour, hour - 1].iter().any(|&h| equal(&form_mac(key, site, h), given)))
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn load(path: &Path) -> Result<Self, KeyError> {
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
        let current = keys.next().ok_or_else(|| malformed(0))?;
        Ok(Self { current, previous: keys.next() })
    }

    /// Writes the whole file beside its place, then moves it there: a reader sees the old file or the new one.
    fn write(&self, path: &Path, existing: Existing) -> Result<(), KeyError> {
        let io = |source| KeyError::Io { path: path.into(), source };
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        // Made with mode 0600.
        let mut file = NamedTempFile::new_in(dir).map_err(io)?;
        let mut text = String::from("# Signs consent records. Current key first, then the previous one.\n");
        for key in self.all() {
            text.push_str(&key.id);
            text.push(' ');
            URL_SAFE_NO_PAD.encode_string(key.secret, &mut text);
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

    fn parse(line: &str) -> Option<Self> {
        let (id, secret) = line.split_once(' ')?;
        let id_is_good =
            (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        id_is_good.then_some(Self::new(id.to_owned(), secret.try_into().ok()?))
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

const SECRET_BYTES: usize = 32;
/// Most keys in the file.
pub const MAX_KEYS: usize = 2;
/// Most bytes of the file.
pub const FILE_BYTES: u64 = 4096;

#[cfg(test)]
impl ConsentKeys {
    /// Keys for tests, told apart by a number.
    pub(crate) fn for_test(seed: u8) -> Self {
        Self::for_test_named(&format!("t{seed}"), seed)
    }

    /// Keys for tests with an id of one's own.
    pub(crate) fn for_test_named(id: &str, seed: u8) -> Self {
        Self { current: Key::new(id.to_owned(), [seed; SECRET_BYTES]), previous: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_made_once_and_private() {
        let data = tempfile::tempdir().unwrap();
        let first = ConsentKeys::load_or_create(data.path()).unwrap();
        let again = ConsentKeys::load_or_create(data.path()).unwrap();
        assert_eq!(first.sign_record("s", b"x"), again.sign_record("s", b"x"));
        let path = data.path().join("keys/consent.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(data.path().join("keys")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn rotation_keeps_the_previous_key_and_no_more() {
        let data = tempfile::tempdir().unwrap();
        let a = ConsentKeys::load_or_create(data.path()).unwrap();
        let b = ConsentKeys::rotate(data.path()).unwrap();
        let signed = a.sign_record("s", b"x");
        assert_ne!(a.current_id(), b.current_id());
        assert!(b.verify_record(a.current_id().as_bytes(), "s", b"x", &signed));
        let c = ConsentKeys::rotate(data.path()).unwrap();
        assert!(!c.verify_record(a.current_id().as_bytes(), "s", b"x", &signed));
        let loaded = ConsentKeys::load_or_create(data.path()).unwrap();
        assert!(loaded.verify_record(b.current_id().as_bytes(), "s", b"x", &b.sign_record("s", b"x")));
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let data = tempfile::tempdir().unwrap();
        ConsentKeys::load_or_create(data.path()).unwrap();
        let path = data.path().join("keys/consent.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(ConsentKeys::load_or_create(data.path()), Err(KeyError::OpenToOthers { .. })));
    }

    #[test]
    fn a_broken_file_is_never_replaced() {
        let data = tempfile::tempdir().unwrap();
        ConsentKeys::load_or_create(data.path()).unwrap();
        let path = data.path().join("keys/consent.key");
        let good = fs::read_to_string(&path).unwrap();
        let key = good.lines().last().unwrap();
        let three = format!("{key}\n{key}\n{key}\n");
        let huge = "#".repeat(usize::try_from(FILE_BYTES).unwrap() + 1);
        for (text, line) in
            [("", 0), ("a b\n", 1), ("# x\nUPPER AAAA\n", 2), (three.as_str(), 3), (huge.as_str(), 0)]
        {
            fs::write(&path, text).unwrap();
            match ConsentKeys::load_or_create(data.path()) {
                Err(KeyError::Malformed { line: found, .. }) => assert_eq!(found, line),
                other => panic!("{other:?}"),
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn debug_has_no_secret() {
        let data = tempfile::tempdir().unwrap();
        let keys = ConsentKeys::load_or_create(data.path()).unwrap();
        let text = fs::read_to_string(data.path().join("keys/consent.key")).unwrap();
        let secret = text.lines().last().unwrap().split(' ').nth(1).unwrap();
        assert!(!format!("{keys:?}").contains(secret));
        assert!(format!("{keys:?}").contains(keys.current_id()));
    }

    #[test]
    fn form_tokens_last_this_hour_and_the_next() {
        let keys = ConsentKeys::for_test(1);
        let token = keys.form_token("s", 100);
        assert!(keys.verify_form_token("s", 100, &token));
        assert!(keys.verify_form_token("s", 101, &token));
        assert!(!keys.verify_form_token("s", 102, &token));
        assert!(!keys.verify_form_token("s", 99, &token));
        assert!(!keys.verify_form_token("other", 100, &token));
        assert!(!ConsentKeys::for_test(2).verify_form_token("s", 100, &token));
        for junk in ["", "x", &token[..21], &format!("{token}A"), "!!!!!!!!!!!!!!!!!!!!!!"] {
            assert!(!keys.verify_form_token("s", 100, junk), "{junk}");
        }
    }
}
