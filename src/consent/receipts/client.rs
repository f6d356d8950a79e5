//! Address and user agent of a choice, sealed under the key of a month.
//!
//! When the proof term of a month is over its key is destroyed, and with it these two fields, while the chain stays
//! whole. Never writes them in the clear, never opens more than a grant does. Bound: one key file per month of the term.

use std::collections::HashMap;
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
use crate::record::{Class, Purpose};
use crate::seal::{Cipher, Dek};
use crate::store::disk;
use crate::store::query::Grant;

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

    /// Writes how long keys are kept after their month, for the commands that tell it.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn note_term(&self, term: Duration) -> io::Result<()> {
        let fresh = self.folder.join(format!(".new.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{}", term.as_secs())?;
        fs::rename(&fresh, self.folder.join(TERM))
    }

    /// When the key of a month is destroyed, by the term that the gateway wrote last; `None` if it wrote none.
    #[must_use]
    pub fn destroyed_at(&self, month: &str) -> Option<Timestamp> {
        let term = fs::read_to_string(self.folder.join(TERM)).ok()?.trim().parse().ok()?;
        Some(end_of(month)?.plus(Duration::from_secs(term)))
    }

    /// The months that ended longer than `term` ago and whose keys are there, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn over(&self, term: Duration, now: Timestamp) -> io::Result<Vec<String>> {
        let oldest = month(now.minus(term));
        let mut over = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(month) = name.to_str().and_then(|name| name.strip_suffix(".key")) else { continue };
            if is_month(month) && *month < *oldest {
                over.push(month.to_owned());
            }
        }
        over.sort_unstable();
        Ok(over)
    }

    /// Destroys the key of a month.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn destroy(&self, month: &str) -> io::Result<()> {
        let path = self.path(month);
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.write_all(&[0; KEY_BYTES])?;
        file.sync_all()?;
        fs::remove_file(&path)?;
        disk::sync_folder(&path)
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

/// Opens clients for a grant, each as far as its purpose goes.
#[derive(Debug)]
pub struct ClientReader<'a> {
    keys: &'a ClientKeys,
    grant: &'a Grant,
    /// By month; `None` for a key that is not there.
    ciphers: HashMap<String, Option<Cipher>>,
}

/// What a grant opens of a client.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its address, for a purpose that opens addresses.
    pub address: Option<String>,
    /// Its user agent, for a purpose that opens technical detail.
    pub user_agent: Option<String>,
}

/// Redacted: it is about a person.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen(…)")
    }
}

impl<'a> ClientReader<'a> {
    /// A reader for a grant.
    #[must_use]
    pub fn new(keys: &'a ClientKeys, grant: &'a Grant) -> Self {
        Self { keys, grant, ciphers: HashMap::new() }
    }

    /// Opens the client of a receipt; `None` when the key is not there. Whoever answers a person sees all of what is
    /// theirs.
    ///
    /// # Errors
    /// When the key cannot be read or does not fit.
    pub fn open(&mut self, sealed: &Sealed, receipt: &str) -> io::Result<Option<Seen>> {
        if !is_month(&sealed.key) {
            return Err(wrong());
        }
        if !self.ciphers.contains_key(&sealed.key) {
            let cipher = match self.keys.cipher(&sealed.key, false) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
                cipher => Some(cipher?),
            };
            self.ciphers.insert(sealed.key.clone(), cipher);
        }
        let Some(cipher) = self.ciphers.get(&sealed.key).and_then(Option::as_ref) else { return Ok(None) };
        let client = unseal(cipher, sealed, receipt)?;
        let purpose = self.grant.purpose();
        let opens = |class| purpose == Purpose::SubjectRights || purpose.opens(class);
        Ok(Some(Seen {
            address: Some(client.address).filter(|_| opens(Class::Sec)),
            user_agent: client.user_agent.filter(|_| opens(Class::Diag)),
        }))
    }
}

fn unseal(cipher: &Cipher, sealed: &Sealed, receipt: &str) -> io::Result<Client> {
    let bytes = STANDARD.decode(&sealed.sealed).map_err(|_| wrong())?;
    let (nonce, text) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
    let mut text = text.to_vec();
    let text = cipher.open_with(*nonce, receipt.as_bytes(), &mut text).ok_or_else(wrong)?;
    serde_json::from_slice(text).map_err(|_| wrong())
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the sealed client does not fit its key")
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

/// The first moment after a month.
fn end_of(month: &str) -> Option<Timestamp> {
    let (year, month) = month.split_once('-')?;
    let first = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
    let next = first.last_of_month().tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_secs(next.timestamp().as_second()))
}

fn is_month(text: &str) -> bool {
    text.len() == MONTH_TEXT
        && text.bytes().enumerate().all(|(i, b)| if i == 4 { b == b'-' } else { b.is_ascii_digit() })
}

const MONTH_TEXT: usize = "2026-11".len();
/// File with the term in seconds.
const TERM: &str = "term";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::query::testing::granted;

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

    fn open(keys: &ClientKeys, purpose: Purpose, sealed: &Sealed, receipt: &str) -> io::Result<Option<Seen>> {
        ClientReader::new(keys, &granted(purpose)).open(sealed, receipt)
    }

    #[test]
    fn what_was_sealed_opens_for_its_receipt_only() {
        let (_folder, keys) = keys();
        let sealed = keys.seal(&client(), "r1", NOW).unwrap();
        assert_eq!(sealed.key, "2026-11");
        let open = |sealed, receipt| open(&keys, Purpose::SubjectRights, sealed, receipt);
        let seen = open(&sealed, "r1").unwrap().unwrap();
        assert!(!format!("{sealed:?} {:?} {seen:?}", client()).contains("203.0.113.7"));
        let Client { address, user_agent } = client();
        assert_eq!(seen, Seen { address: Some(address), user_agent });
        assert!(open(&sealed, "r2").is_err());
        let moved = Sealed { key: "../2026-11".into(), ..sealed.clone() };
        assert!(open(&moved, "r1").is_err());
        assert_ne!(keys.seal(&client(), "r1", NOW).unwrap(), sealed, "a new nonce each time");
    }

    #[test]
    fn a_purpose_opens_its_own_field_and_no_other() {
        let (_folder, keys) = keys();
        let sealed = keys.seal(&client(), "r1", NOW).unwrap();
        for purpose in Purpose::ALL {
            let seen = open(&keys, purpose, &sealed, "r1").unwrap().unwrap();
            let whole = purpose == Purpose::SubjectRights;
            assert_eq!(seen.address.is_some(), whole || purpose == Purpose::Security, "{purpose}");
            assert_eq!(seen.user_agent.is_some(), whole || purpose == Purpose::Diagnostics, "{purpose}");
        }
    }

    #[test]
    fn a_month_beyond_the_term_can_be_opened_by_nobody() {
        let (folder, keys) = keys();
        let sealed = keys.seal(&client(), "r1", NOW).unwrap();
        let later = |days: u64| NOW.plus(Duration::from_secs(days * DAY));
        let term = Duration::from_secs(100 * DAY);
        assert_eq!(keys.destroyed_at("2026-11"), None, "nobody wrote the term");
        keys.note_term(term).unwrap();
        keys.seal(&client(), "r2", later(60)).unwrap();
        let at = keys.destroyed_at("2026-11").unwrap();
        assert_eq!(at.to_string(), "2027-03-11T00:00:00.000000Z");
        assert_eq!(keys.over(term, at.minus(Duration::from_secs(1))).unwrap(), [""; 0], "the month goes on");
        assert_eq!(keys.over(term, at).unwrap(), ["2026-11"]);
        keys.destroy("2026-11").unwrap();
        assert_eq!(open(&keys, Purpose::Security, &sealed, "r1").unwrap(), None);
        let mut left: Vec<_> =
            fs::read_dir(folder.path().join("receipts")).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2027-01.key", "term"]);
    }
}
