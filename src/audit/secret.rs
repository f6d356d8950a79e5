//! The key of the hashes that stand for values of sealed columns.
//!
//! The same value has the same hash, so two reads about one person can be seen to be that; without the key nobody can
//! try values against the log. The key lies with the other keys, outside the backup of the data. Never leaves this
//! module. Bound: 32 bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::ledger::{hex, keep_owner, make_folder};
use crate::regular_file;

/// Makes keyed hashes.
pub(super) struct Literals(hmac::Key);

impl Literals {
    /// The key of a records folder; made when there is none. The caller lets one at a time in.
    pub(super) fn of(records: &Path) -> io::Result<Self> {
        let folder = records.join("keys").join("audit");
        make_folder(&folder, records)?;
        let path = folder.join("literals.key");
        let key = match read(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                make(&folder, &path, records)?;
                read(&path)?
            }
            read => read?,
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// `hmac:` and 16 hexadecimal digits.
    pub(super) fn hash(&self, column: &str, literal: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(column.as_bytes());
        context.update(&[0]);
        context.update(literal.as_bytes());
        format!("hmac:{}", hex(&context.sign().as_ref()[..8]))
    }
}

fn read(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    regular_file::open(path)?.read_exact(&mut key)?;
    Ok(key)
}

/// The whole key under another name first, then its name: nobody reads half a key, and the first one made stays.
fn make(folder: &Path, path: &Path, records: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random bytes"))?;
    let fresh = folder.join(format!(".literals.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    keep_owner(&file, records)?;
    let linked = std::fs::hard_link(&fresh, path);
    std::fs::remove_file(&fresh)?;
    match linked {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause),
        _ => File::open(folder)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let first = Literals::of(dir.path()).expect("a key");
        let again = Literals::of(dir.path()).expect("a key");
        assert_eq!(first.hash("a", "b"), again.hash("a", "b"));
        assert_ne!(first.hash("a", "b"), first.hash("", "ab"));
        let other = tempfile::tempdir().expect("a folder");
        assert_ne!(first.hash("a", "b"), Literals::of(other.path()).expect("a key").hash("a", "b"));
        let file = dir.path().join("keys/audit/literals.key");
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
        let left = std::fs::read_dir(dir.path().join("keys/audit")).expect("a folder").count();
        assert_eq!(left, 1, "no temporary file stays");
    }
}
