//! `visit_tag`: by it the requests of one browser on one day and site belong together, and of no other day.
//!
//! HMAC-SHA256 over address, user agent and host under a key that is random for each day. The key lies wrapped in
//! `visit/<day>.key` under a key of its own that the keeper of keys destroys 48 hours after the day began: from then on
//! nobody can try whether a tag is that of an address. Computed on the journal's writer thread, before the address is
//! sealed. A record without an address has no tag; a key that cannot be had leaves tags out, never records. Never keeps
//! the key of a day that has passed. Bound: one key, the tags made last.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

use super::disk;
use super::enrich::Facts;
use super::recent::{Found, Recent};
use crate::clock::monotonic;
use crate::seal::{Day, Dek, KeyClass, KeyError, KeyId, KeyProvider, Keyring};

/// Makes the tags of today.
pub(super) struct VisitTags {
    dir: PathBuf,
    keys: Arc<dyn KeyProvider>,
    key: Option<(Day, hmac::Key)>,
    recent: Recent<[u8; 16]>,
    /// Not tried again before.
    failed: Option<Instant>,
    /// What is hashed.
    text: Vec<u8>,
}

impl VisitTags {
    /// Tags for the records of a data folder.
    pub(super) fn of(dir: PathBuf, keys: Arc<dyn KeyProvider>) -> Self {
        Self { dir, keys, key: None, recent: Recent::new(), failed: None, text: Vec::new() }
    }

    /// Records of that day come next.
    pub(super) fn begin(&mut self, day: Day) {
        self.forget_all_but(day);
        if self.key.is_some() || self.failed.is_some_and(|at| at.elapsed() < TRY_AGAIN) {
            return;
        }
        self.failed = None;
        match load(&self.dir, &self.keys, day) {
            Ok(Some(key)) => self.key = Some((day, key)),
            // Destroyed: the clock went back to a day whose tags nobody may compute any more.
            Ok(None) => self.failed = Some(monotonic()),
            Err(error) => {
                tracing::warn!(%error, "records have no visit tag: its key cannot be used");
                self.failed = Some(monotonic());
            }
        }
    }

    /// Drops a key of another day, and what was made with it.
    pub(super) fn forget_all_but(&mut self, today: Day) {
        if self.key.take_if(|(day, _)| *day != today).is_some() {
            self.recent.clear();
        }
    }

    /// How often a tag was known, since this was asked before.
    pub(super) fn take_found(&mut self) -> Found {
        self.recent.take_found()
    }

    /// Appends the encoded field of a record; nothing without a tag.
    pub(super) fn field(&mut self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let (Some((_, key)), Some(address)) = (&self.key, facts.address) else { return };
        self.text.clear();
        // The lengths go in, so that no two inputs are the same bytes.
        for part in [address, facts.agent.unwrap_or_default(), facts.site.unwrap_or_default()] {
            self.text.extend_from_slice(&(part.len() as u32).to_le_bytes());
            self.text.extend_from_slice(part);
        }
        let tag = *self.recent.tag(&self.text, || tag(key, &self.text));
        out.extend_from_slice(&[TAG, tag.len() as u8]);
        out.extend_from_slice(&tag);
    }
}

/// Makes the key of a day, unless there is one or it was destroyed. Whoever is first decides for all processes.
///
/// # Errors
/// When it cannot be made.
pub(super) fn prepare(dir: &Path, keys: &dyn KeyProvider, day: Day) -> Result<(), KeyError> {
    let path = path(dir, day);
    if path.exists() || keys.ended(KeyClass::Visit, day)? {
        return Ok(());
    }
    let key = keys.current(KeyClass::Visit, day)?;
    let text = format!("{key} {}\n", BASE64_STANDARD.encode(keys.wrap(&key, &Dek::random()?)?));
    write(&path, text.as_bytes()).map_err(|source| KeyError::Folder { path, source })
}

/// Removes the wrapped key of a day; its wrapping key is destroyed by whoever calls.
pub(super) fn remove(dir: &Path, day: Day) -> io::Result<()> {
    let path = path(dir, day);
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => disk::sync_folder(&path),
    }
}

fn load(dir: &Path, keys: &Arc<dyn KeyProvider>, day: Day) -> Result<Option<hmac::Key>, KeyError> {
    if let Some(key) = open(dir, keys, day)? {
        return Ok(Some(key));
    }
    if keys.ended(KeyClass::Visit, day)? {
        return Ok(None);
    }
    // A newer generation took the place of the one that wraps it: the rest of the day has other tags.
    remove(dir, day).map_err(|source| KeyError::Folder { path: path(dir, day), source })?;
    open(dir, keys, day)
}

/// The key that lies there, made if need be; `None` when what wraps it was destroyed.
fn open(dir: &Path, keys: &Arc<dyn KeyProvider>, day: Day) -> Result<Option<hmac::Key>, KeyError> {
    prepare(dir, &**keys, day)?;
    let path = path(dir, day);
    let failed = |source| KeyError::Folder { path: path.clone(), source };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let parsed = text.trim_end().split_once(' ').and_then(|(key, wrapped)| {
        let key: KeyId = key.parse().ok()?;
        let fits = (key.class, key.day) == (KeyClass::Visit, day);
        fits.then_some((key, BASE64_STANDARD.decode(wrapped).ok()?))
    });
    let (key, wrapped) = parsed.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    let dek = Keyring::of_the_store(Arc::clone(keys)).unwrap(&key, &wrapped)?;
    Ok(dek.map(|dek| hmac::Key::new(hmac::HMAC_SHA256, dek.bytes())))
}

/// The whole key under another name first: nobody reads half of one, and the first one made stays.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        disk::private_folder(folder)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&fresh, path);
    std::fs::remove_file(&fresh)?;
    match linked {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause),
        _ => path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()),
    }
}

fn path(dir: &Path, day: Day) -> PathBuf {
    dir.join(FOLDER).join(format!("{day}.key"))
}

/// 16 hexadecimal digits.
fn tag(key: &hmac::Key, text: &[u8]) -> [u8; 16] {
    let mac = hmac::sign(key, text);
    let mut tag = [0; 16];
    for (digits, byte) in tag.chunks_exact_mut(2).zip(mac.as_ref()) {
        digits.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    tag
}

/// The folder inside the data folder.
const FOLDER: &str = "visit";
/// Pause after a key could not be had.
const TRY_AGAIN: Duration = Duration::from_secs(60);
const HEX: &[u8; 16] = b"0123456789abcdef";
/// The id of `visit_tag`.
const TAG: u8 = 167;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::Timestamp;
    use crate::record::Column;
    use crate::seal::LocalKeys;

    const TODAY: i64 = 20_000;

    fn day(number: i64) -> Day {
        Day::of(Timestamp::from_secs(number * 86_400))
    }

    fn keys(dir: &Path) -> Arc<dyn KeyProvider> {
        Arc::new(LocalKeys::prepare(&dir.join("keys")).expect("keys"))
    }

    fn tag_of(tags: &mut VisitTags, number: i64, ip: u8, agent: &str, site: &str) -> String {
        tags.begin(day(number));
        let address = Ipv4Addr::new(192, 0, 2, ip).to_ipv6_mapped().octets();
        let (agent, site) = (Some(agent.as_bytes()), Some(site.as_bytes()));
        let mut field = Vec::new();
        tags.field(&Facts { address: Some(&address), agent, site, ..Facts::default() }, &mut field);
        String::from_utf8(field.get(2..).unwrap_or_default().to_vec()).expect("digits")
    }

    #[test]
    fn the_id_is_that_of_the_column() {
        assert_eq!(Column::by_name("visit_tag").map(|c| c.id), Some(TAG));
    }

    #[test]
    fn a_tag_is_the_same_for_one_browser_site_and_day_in_every_process() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut one = VisitTags::of(dir.path().to_owned(), keys(dir.path()));
        let mut other = VisitTags::of(dir.path().to_owned(), keys(dir.path()));
        let tag = tag_of(&mut one, TODAY, 1, "a", "kz.example");
        assert_eq!(tag.len(), 16);
        assert_eq!(tag_of(&mut other, TODAY, 1, "a", "kz.example"), tag);
        for (number, ip, agent, site) in [
            (TODAY, 2, "a", "kz.example"),
            (TODAY, 1, "b", "kz.example"),
            (TODAY, 1, "a", "other.example"),
            (TODAY, 1, "ak", "z.example"),
            (TODAY + 1, 1, "a", "kz.example"),
        ] {
            assert_ne!(tag_of(&mut one, number, ip, agent, site), tag, "{number} {ip} {agent} {site}");
        }
    }

    #[test]
    fn after_its_key_is_destroyed_no_process_makes_a_tag_of_that_day() {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = keys(dir.path());
        let mut tags = VisitTags::of(dir.path().to_owned(), Arc::clone(&keys));
        assert!(!tag_of(&mut tags, TODAY, 1, "a", "s").is_empty());
        let wrapped = std::fs::read(path(dir.path(), day(TODAY))).expect("a key");
        for key in keys.list().expect("keys") {
            assert!(keys.destroy(&key).expect("destroyed"));
        }
        remove(dir.path(), day(TODAY)).expect("removed");
        // The clock goes on, and back again.
        assert!(!tag_of(&mut tags, TODAY + 2, 1, "a", "s").is_empty());
        assert_eq!(tag_of(&mut tags, TODAY, 1, "a", "s"), "");
        // Not even with the file from a backup.
        std::fs::write(path(dir.path(), day(TODAY)), wrapped).expect("written");
        let mut fresh = VisitTags::of(dir.path().to_owned(), Arc::clone(&keys));
        assert_eq!(tag_of(&mut fresh, TODAY, 1, "a", "s"), "");
        assert!(keys.list().expect("keys").iter().all(|key| key.day != day(TODAY)), "no new key for it");
    }

    #[test]
    fn a_newer_generation_of_the_key_begins_new_tags() {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = keys(dir.path());
        let tag = || {
            let mut tags = VisitTags::of(dir.path().to_owned(), Arc::clone(&keys));
            tag_of(&mut tags, TODAY, 1, "a", "s")
        };
        let before = tag();
        let old = keys.current(KeyClass::Visit, day(TODAY)).expect("a key");
        keys.rotate(KeyClass::Visit, day(TODAY)).expect("a key");
        assert!(keys.destroy(&old).expect("destroyed"));
        assert!(!tag().is_empty() && tag() != before && tag() == tag());
    }

    #[test]
    fn a_key_that_cannot_be_used_leaves_the_tag_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = keys(dir.path());
        prepare(dir.path(), &*keys, day(TODAY)).expect("made");
        std::fs::write(path(dir.path(), day(TODAY)), "nonsense").expect("written");
        let mut tags = VisitTags::of(dir.path().to_owned(), keys);
        assert_eq!(tag_of(&mut tags, TODAY, 1, "a", "s"), "");
    }
}
