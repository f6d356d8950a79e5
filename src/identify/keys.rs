//! The keys of the visitor cookie, and how they are kept.
//!
//! A text file `keys/visitor.key` in the data folder, mode 0600, made whole or not at all: one line per key, the
//! current one first, then the previous one. Never leaves this process; `Debug` shows nothing. Bound: two keys.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// The current key and, after a rotation, the one before.
pub struct VisitorKeys {
    current: Key,
    previous: Option<Key>,
}

pub(super) struct Key {
    pub(super) id: u8,
    pub(super) hmac: hmac::Key,
    secret: [u8; SECRET_BYTES],
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the visitor key file cannot be read or written")]
    Io(#[from] io::Error),
    /// Others than its owner may read or write the file.
    #[error("the visitor key file must be accessible to its owner only (mode 0600)")]
    Exposed,
    /// The file is not a list of one or two keys.
    #[error("the visitor key file is malformed; move it away to start with a new key")]
    Malformed,
    /// There is no file.
    #[error("the visitor key file is not there")]
    Missing,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl VisitorKeys {
    /// Reads `keys/visitor.key` below the data folder, and makes nothing.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(data: &Path) -> Result<Self, KeyError> {
        let text = read_private(&data.join(FILE))?.ok_or(KeyError::Missing)?;
        Self::from_text(&text).ok_or(KeyError::Malformed)
    }

    /// Reads `keys/visitor.key` below the data folder, or makes it.
    ///
    /// # Errors
    /// See [`KeyError`]. A damaged file is not replaced silently: every visitor would become a stranger.
    pub fn load_or_create(data: &Path) -> Result<Self, KeyError> {
        let path = data.join(FILE);
        let text = match read_private(&path)? {
            Some(text) => text,
            None => {
                let fresh = Self { current: Key::random(1)?, previous: None };
                if create_once(&path, fresh.to_text().as_bytes())? {
                    return Ok(fresh);
                }
                // Another process was faster: its key counts.
                read_private(&path)?.ok_or(KeyError::Malformed)?
            }
        };
        Self::from_text(&text).ok_or(KeyError::Malformed)
    }

    /// Makes a new current key, keeps the old one as previous, and writes both.
    ///
    /// # Errors
    /// See [`KeyError`]; the keys in use are then unchanged.
    pub fn rotate(self, data: &Path) -> Result<Self, KeyError> {
        let current = Key::random(self.current.id.wrapping_add(1))?;
        let rotated = Self { current, previous: Some(self.current) };
        let path = data.join(FILE);
        write_beside(&path, rotated.to_text().as_bytes())?.persist(&path).map_err(|error| error.error)?;
        sync_folder(&path)?;
        Ok(rotated)
    }

    pub(super) const fn current(&self) -> &Key {
        &self.current
    }

    pub(super) fn by_id(&self, id: u8) -> Option<&Key> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.id == id)
    }

    fn to_text(&self) -> String {
        let mut text = String::from(HEADING);
        for key in std::iter::once(&self.current).chain(&self.previous) {
            text.push_str(&format!("{} {}\n", key.id, URL_SAFE_NO_PAD.encode(key.secret)));
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut keys = text.lines().filter(|line| !line.starts_with('#')).map(Key::from_line);
        let current = keys.next()??;
        let previous = match keys.next() {
            Some(line) => Some(line?),
            None => None,
        };
        let distinct = previous.as_ref().is_none_or(|previous| previous.id != current.id);
        (distinct && keys.next().is_none()).then_some(Self { current, previous })
    }
}

impl fmt::Debug for VisitorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorKeys(..)")
    }
}

impl Key {
    fn new(id: u8, secret: [u8; SECRET_BYTES]) -> Self {
        Self { id, hmac: hmac::Key::new(hmac::HMAC_SHA256, &secret), secret }
    }

    fn random(id: u8) -> Result<Self, KeyError> {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).map_err(|_| KeyError::NoRandom)?;
        Ok(Self::new(id, secret))
    }

    fn from_line(line: &str) -> Option<Self> {
        let (id, secret) = line.split_once(' ')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self::new(id.parse().ok()?, secret.try_into().ok()?))
    }
}

/// Makes a file of mode 0600 with these contents, and its folder with mode 0700; both are on the disk before this
/// returns. `false`: the file was there already and is untouched.
pub(crate) fn create_once(path: &Path, contents: &[u8]) -> io::Result<bool> {
    match write_beside(path, contents)?.persist_noclobber(path) {
        Ok(_) => sync_folder(path).map(|()| true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

fn write_beside(path: &Path, contents: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let folder = folder_of(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Made with mode 0600 from the first moment.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn read_private(path: &Path) -> Result<Option<String>, KeyError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Exposed);
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(KeyError::Malformed);
    }
    Ok(Some(fs::read_to_string(path)?))
}

const FILE: &str = "keys/visitor.key";
const HEADING: &str =
    "# Kelisim: keys of the visitor cookie. Current first, then the previous one. Secret.\n";
const SECRET_BYTES: usize = 32;
const MAX_FILE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let data = tempfile::tempdir().unwrap();
        let first = VisitorKeys::load_or_create(data.path()).unwrap();
        let second = VisitorKeys::load_or_create(data.path()).unwrap();
        assert_eq!(first.current.secret, second.current.secret);
        let mode = |name: &str| fs::metadata(data.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("keys"), mode(FILE)), (0o700, 0o600));
        assert_eq!(format!("{first:?}"), "VisitorKeys(..)");
    }

    #[test]
    fn a_rotation_keeps_one_previous_key() {
        let data = tempfile::tempdir().unwrap();
        let first = VisitorKeys::load_or_create(data.path()).unwrap();
        let first_secret = first.current.secret;
        let second = first.rotate(data.path()).unwrap();
        let read = VisitorKeys::load_or_create(data.path()).unwrap();
        assert_eq!(read.current.secret, second.current.secret);
        assert_eq!(read.by_id(1).unwrap().secret, first_secret);
        assert_eq!(read.rotate(data.path()).unwrap().by_id(1).map(|key| key.id), None, "two at most");
    }

    #[test]
    fn an_exposed_or_damaged_file_stops_the_start() {
        let data = tempfile::tempdir().unwrap();
        VisitorKeys::load_or_create(data.path()).unwrap();
        let path = data.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(VisitorKeys::load_or_create(data.path()), Err(KeyError::Exposed)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let line = good.lines().last().unwrap();
        for bad in
            [String::new(), "1".into(), format!("{line}x"), format!("{line}\n{line}"), "x".repeat(5000)]
        {
            fs::write(&path, bad).unwrap();
            assert!(matches!(VisitorKeys::load_or_create(data.path()), Err(KeyError::Malformed)));
        }
    }

    #[test]
    fn a_file_is_never_overwritten_by_its_creation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(create_once(&path, b"first").unwrap());
        assert!(!create_once(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }
}
