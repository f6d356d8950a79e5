//! Address and user agent of a choice, sealed under the key of a month.
//!
//! When the proof term of a month is over its key is destroyed, and with it these two fields, while the chain stays
//! whole. Never writes them in the clear. Bound: one key file per month of the term.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::entry::Sealed;
use crate::clock::Timestamp;
use crate::seal::{Cipher, Dek};
use crate::store::disk;

/// What a choice tells of the browser that made it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Address of the client.
    pub address: String,
    /// `User-Agent`, cut to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// Redacted: it is about a person.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(…)")
    }
}

/// The keys, as files `2026-11.key` of 32 random bytes.
#[derive(Clone, Debug)]
pub struct ClientKeys {
    folder: PathBuf,
}

impl ClientKeys {
    /// The keys in `receipts` below the folder of all keys; nothing is looked at yet.
    #[must_use]
    pub fn at(keys: &Path) -> Self {
        Self { folder: keys.join("receipts") }
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn prepare(&self) -> io::Result<()> {
        disk::private_folder(&self.folder)
    }

    /// Seals what a choice tells, bound to its receipt.
    ///
    /// # Errors
    /// When the key of the month cannot be made or read.
    pub fn seal(&self, client: &Client, receipt: &str, now: Timestamp) -> io::Result<Sealed> {
        let month = month(now);
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("no random bytes"))?;
        let mut bytes = nonce.to_vec();
        serde_json::to_writer(&mut bytes, client)?;
        let cipher = self.cipher(&month, true)?;
        cipher.seal_with(nonce, receipt.as_bytes(), &mut bytes, NONCE_BYTES).map_err(io::Error::other)?;
        Ok(Sealed { key: month, sealed: STANDARD.encode(bytes) })
    }

    /// Opens what was sealed; `None` when the key was destroyed.
    ///
    /// # Errors
    /// When the key cannot be read or does not fit.
    pub fn open(&self, sealed: &Sealed, receipt: &str) -> io::Result<Option<Client>> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the sealed client does not fit its key");
        if !is_month(&sealed.key) {
            return Err(wrong());
        }
        let cipher = match self.cipher(&sealed.key, false) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            cipher => cipher?,
        };
        let bytes = STANDARD.decode(&sealed.sealed).map_err(|_| wrong())?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let mut text = text.to_vec();
        let text = cipher.open_with(*nonce, receipt.as_bytes(), &mut text).ok_or_else(wrong)?;
        serde_json::from_slice(text).map(Some).map_err(|_| wrong())
    }

    /// Destroys the keys of months that ended longer than `term` ago; how many.
    ///
    /// # Errors
    /// When one cannot be destroyed.
    pub fn destroy_older(&self, term: Duration, now: Timestamp) -> io::Result<usize> {
        let oldest = month(now.minus(term));
        let mut destroyed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(month) = name.to_str().and_then(|name| name.strip_suffix(".key")) else { continue };
            if is_month(month) && *month < *oldest {
                let path = self.path(month);
                let mut file = OpenOptions::new().write(true).open(&path)?;
                file.write_all(&[0; KEY_BYTES])?;
                file.sync_all()?;
                fs::remove_file(&path)?;
                disk::sync_folder(&path)?;
                destroyed += 1;
            }
        }
        Ok(destroyed)
    }

    fn path(&self, month: &str) -> PathBuf {
        self.folder.join(format!("{month}.key"))
    }

    fn cipher(&self, month: &str, make: bool) -> io::Result<Cipher> {
        let path = self.path(month);
        let key = match read(&path) {
            Err(cause) if make && cause.kind() == io::ErrorKind::NotFound => {
                self.make(&path)?;
                read(&path)?
            }
            key => key?,
        };
        Cipher::new(&Dek::from_bytes(&key)).map_err(io::Error::other)
    }

    /// The whole key under another name first, then its name: nobody reads half a key, and the first one made stays.
    fn make(&self, path: &Path) -> io::Result<()> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(&mut *key).map_err(|_| io::Error::other("no random bytes"))?;
        let fresh = self.folder.join(format!(".new.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&*key)?;
        file.sync_all()?;
        let linked = fs::hard_link(&fresh, path);
        fs::remove_file(&fresh)?;
        match linked {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause),
            _ => disk::sync_folder(path),
        }
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    File::open(path)?.read_exact(&mut *key)?;
    Ok(key)
}

/// `2026-11`, in UTC.
fn month(now: Timestamp) -> String {
    let mut text = now.to_string();
    text.truncate(MONTH_TEXT);
    text
}

fn is_month(text: &str) -> bool {
    text.len() == MONTH_TEXT
        && text.bytes().enumerate().all(|(i, b)| if i == 4 { b == b'-' } else { b.is_ascii_digit() })
}

const MONTH_TEXT: usize = "2026-11".len();
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);
    const DAY: u64 = 86_400;

    fn keys() -> (tempfile::TempDir, ClientKeys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = ClientKeys::at(folder.path());
        keys.prepare().unwrap();
        (folder, keys)
    }

    fn client() -> Client {
        Client { address: "203.0.113.7".into(), user_agent: Some("Mozilla/5.0".into()) }
    }

    #[test]
    fn what_was_sealed_opens_for_its_receipt_only() {
        let (_folder, keys) = keys();
        let sealed = keys.seal(&client(), "r1", NOW).unwrap();
        assert_eq!(sealed.key, "2026-11");
        assert!(!format!("{sealed:?} {:?}", client()).contains("203.0.113.7"));
        assert_eq!(keys.open(&sealed, "r1").unwrap(), Some(client()));
        assert!(keys.open(&sealed, "r2").is_err());
        let moved = Sealed { key: "../2026-11".into(), ..sealed.clone() };
        assert!(keys.open(&moved, "r1").is_err());
        assert_ne!(keys.seal(&client(), "r1", NOW).unwrap(), sealed, "a new nonce each time");
    }

    #[test]
    fn a_month_beyond_the_term_can_be_opened_by_nobody() {
        let (folder, keys) = keys();
        let sealed = keys.seal(&client(), "r1", NOW).unwrap();
        let later = |days: u64| NOW.plus(Duration::from_secs(days * DAY));
        let term = Duration::from_secs(100 * DAY);
        keys.seal(&client(), "r2", later(60)).unwrap();
        assert_eq!(keys.destroy_older(term, later(100)).unwrap(), 0, "the month goes on");
        assert_eq!(keys.destroy_older(term, later(110)).unwrap(), 1);
        assert_eq!(keys.open(&sealed, "r1").unwrap(), None);
        assert_eq!(fs::read_dir(folder.path().join("receipts")).unwrap().count(), 1);
    }
}
