//! Keys as files: `<folder>/<class>/<day>#<generation>.key`, and `<folder>/lasting/<name>-<version>.key` for those of no
//! day; 32 random bytes each.
//!
//! Folders are 0700, files 0600; a wider folder is narrowed and the log says so. Everything that makes or destroys a
//! key holds a lock on the folder, so two processes agree; reading needs none, since a key appears whole, by its name.
//! A destroyed key is renamed to `.gone`, then wiped: the empty file that stays keeps its name from being given again,
//! until nothing can need it any more. A key that records name and that is not here was lost, or its folder is not
//! mounted: its name is not given again either, and the log says which it is. A provider for reading makes no key.
//! Honest limit: whoever owns the folder can open everything, and wiped bytes can linger on flash and copy-on-write
//! disks. Never shares a folder with a backup of the records. Bound: one file per class, day and generation.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::aead::NONCE_LEN;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::cipher::{Cipher, TAG_BYTES};
use super::dek::{self, Dek, KEY_BYTES};
use super::key::{Day, KeyClass, KeyId};
use super::keyring::Permitted;
use super::provider::{KeyError, KeyProvider, Lasting, Version};
use crate::regular_file;
use crate::store::disk;
use crate::store::named::Named;

/// Name of the folder inside the data folder, unless `records.keys_dir` names another.
pub const FOLDER: &str = "keys";

/// The provider that keeps keys in a folder.
#[derive(Clone, Debug)]
pub struct LocalKeys {
    folder: PathBuf,
    makes: bool,
    /// The data folder whose records may name keys that are not here.
    records: Option<PathBuf>,
}

impl LocalKeys {
    /// The keys of a folder, for reading: it is not looked at before a key is asked for, and none is made.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), makes: false, records: None }
    }

    /// The keys of a folder, for changing the records of a data folder: a key that is needed is made.
    #[must_use]
    pub fn for_changes(folder: &Path, records: &Path) -> Self {
        Self { folder: folder.to_owned(), makes: true, records: Some(records.to_owned()) }
    }

    /// The same, for the records of a data folder: no key is given a name that they bear.
    #[must_use]
    pub fn of_records(mut self, records: &Path) -> Self {
        self.records = Some(records.to_owned());
        self
    }

    /// The keys of a folder, for writing: makes it if need be, narrows it to its owner, and finishes what a crash
    /// interrupted.
    ///
    /// # Errors
    /// When the folder cannot be made, read or narrowed.
    pub fn prepare(folder: &Path) -> Result<Self, KeyError> {
        let keys = Self { folder: folder.to_owned(), makes: true, records: None };
        disk::private_folder(folder).map_err(|cause| failed(folder, cause))?;
        for class in KeyClass::ALL {
            let folder = keys.class_folder(class);
            disk::private_folder(&folder).map_err(|cause| failed(&folder, cause))?;
        }
        let lock = keys.lock()?;
        for class in KeyClass::ALL {
            let folder = keys.class_folder(class);
            finish_interrupted(&folder).map_err(|cause| failed(&folder, cause))?;
        }
        drop(lock);
        Ok(keys)
    }

    fn class_folder(&self, class: KeyClass) -> PathBuf {
        self.folder.join(class.label())
    }

    fn path(&self, key: &KeyId, ending: &str) -> PathBuf {
        self.class_folder(key.class).join(format!("{}#{}.{ending}", key.day, key.generation))
    }

    /// Waits until no other process makes or destroys keys here.
    fn lock(&self) -> Result<File, KeyError> {
        let path = self.folder.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.and_then(|file| file.lock().map(|()| file)).map_err(|cause| failed(&path, cause))
    }

    /// The keys of a class whose file has that ending.
    fn listed(&self, class: KeyClass, ending: &str) -> Result<Vec<KeyId>, KeyError> {
        let folder = self.class_folder(class);
        names(&folder, ending)
            .map(|names| names.iter().filter_map(|n| format!("{}/{n}", class.label()).parse().ok()).collect())
            .map_err(|cause| failed(&folder, cause))
    }

    fn listed_all(&self, ending: &str) -> Result<Vec<KeyId>, KeyError> {
        let mut found = Vec::new();
        for class in KeyClass::ALL {
            found.extend(self.listed(class, ending)?);
        }
        found.sort_unstable();
        Ok(found)
    }

    fn newest(&self, class: KeyClass, day: Day, ending: &str) -> Result<Option<KeyId>, KeyError> {
        Ok(self.listed(class, ending)?.into_iter().filter(|key| key.day == day).max())
    }

    /// What the records name, if they are known.
    fn named(&self) -> Result<Named, KeyError> {
        let named =
            self.records.as_deref().map(|dir| Named::in_folder(dir).map_err(|cause| failed(dir, cause)));
        named.transpose().map(Option::unwrap_or_default)
    }

    /// The keys among those named that are not here and were not destroyed; the log tells.
    fn missing(&self, named: &Named) -> Result<bool, KeyError> {
        let (live, gone) = (self.listed_all(LIVE)?, self.listed_all(GONE)?);
        let here = |key: &KeyId| live.binary_search(key).is_ok() || gone.binary_search(key).is_ok();
        let missing: Vec<&KeyId> = named.keys.iter().filter(|key| !here(key)).collect();
        if let Some(key) = missing.last() {
            tracing::error!(
                folder = %self.folder.display(),
                %key,
                missing = missing.len(),
                "keys of records are missing: is this the right folder of keys? new records get keys of other names"
            );
        }
        Ok(!missing.is_empty())
    }

    /// Makes the generation after all that live or lived, or that records name. The lock must be held.
    fn make(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        let named = self.named()?;
        let of_day = named.keys.iter().filter(|key| (key.class, key.day) == (class, day)).max().copied();
        let newest = self.newest(class, day, LIVE)?.max(self.newest(class, day, GONE)?).max(of_day);
        let missing = self.missing(&named)?;
        let generation = match newest {
            // The folder that is missing may have one that nothing names yet.
            None if missing => 1,
            None => 0,
            Some(key) => key.generation.checked_add(1).ok_or(KeyError::Exhausted(class.label(), day))?,
        };
        let key = KeyId { class, day, generation };
        let bytes = dek::random()?;
        write_key(&self.path(&key, UNFINISHED), &self.path(&key, LIVE), &bytes)
            .map_err(|cause| failed(&self.class_folder(class), cause))?;
        Ok(key)
    }

    fn lasting_folder(&self) -> PathBuf {
        self.folder.join(LASTING)
    }

    /// The numbers of the versions, sorted.
    fn versions(&self, which: Lasting) -> Result<Vec<u32>, KeyError> {
        let folder = self.lasting_folder();
        let names = names(&folder, LIVE).map_err(|cause| failed(&folder, cause))?;
        let number = |name: &String| name.strip_prefix(which.label())?.strip_prefix('-')?.parse().ok();
        let mut found: Vec<u32> = names.iter().filter_map(number).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Makes the version after all others. The lock must be held.
    fn make_version(&self, which: Lasting) -> Result<u32, KeyError> {
        let folder = self.lasting_folder();
        disk::private_folder(&folder).map_err(|cause| failed(&folder, cause))?;
        let newest = match self.versions(which)?.last() {
            Some(newest) => *newest,
            None => self.lost_version(which)?,
        };
        let number = newest.saturating_add(1);
        let path = |ending: &str| folder.join(format!("{}-{number}.{ending}", which.label()));
        let bytes = dek::random()?;
        write_key(&path(UNFINISHED), &path(LIVE), &bytes).map_err(|cause| failed(&folder, cause))?;
        Ok(number)
    }

    /// The version that was there before and is not: of a key that every record was made with, or that tombstones name;
    /// 0 when there was none.
    fn lost_version(&self, which: Lasting) -> Result<u32, KeyError> {
        let named = self.named()?;
        let lost = match which {
            Lasting::Subject => u32::from(named.records),
            Lasting::Tombstones => named.tombstones.unwrap_or(0),
        };
        if lost > 0 {
            tracing::error!(
                folder = %self.folder.display(),
                key = which.label(),
                version = lost,
                "a lasting key is missing: is this the right folder of keys? what was made with it is not found without it"
            );
        }
        Ok(lost)
    }

    fn version(&self, which: Lasting, number: u32) -> Result<Version, KeyError> {
        let path = self.lasting_folder().join(format!("{}-{number}.{LIVE}", which.label()));
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        match regular_file::open(&path).and_then(|mut file| file.read_exact(&mut *bytes)) {
            Ok(()) => Ok(Version { number, key: Dek::from_bytes(&bytes) }),
            Err(cause) => Err(failed(&path, cause)),
        }
    }

    fn cipher(&self, key: &KeyId) -> Result<Cipher, KeyError> {
        let path = self.path(key, LIVE);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let read = regular_file::open(&path).and_then(|mut file| file.read_exact(&mut *bytes));
        match read {
            Ok(()) => Cipher::of(&bytes),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let gone = self.path(key, GONE).try_exists().unwrap_or(false);
                Err(if gone { KeyError::Destroyed(*key) } else { KeyError::Missing(*key) })
            }
            Err(cause) => Err(failed(&path, cause)),
        }
    }
}

impl KeyProvider for LocalKeys {
    fn current(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        if let Some(key) = self.newest(class, day, LIVE)? {
            return Ok(key);
        }
        if !self.makes {
            return Err(KeyError::Missing(KeyId { class, day, generation: 0 }));
        }
        let _lock = self.lock()?;
        match self.newest(class, day, LIVE)? {
            Some(key) => Ok(key),
            None => self.make(class, day),
        }
    }

    fn wrap(&self, key: &KeyId, dek: &Dek) -> Result<Vec<u8>, KeyError> {
        let cipher = self.cipher(key)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let mut wrapped = Vec::with_capacity(NONCE_LEN + KEY_BYTES + TAG_BYTES);
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(dek.bytes());
        cipher.seal_with(nonce, key.to_string().as_bytes(), &mut wrapped, NONCE_LEN)?;
        Ok(wrapped)
    }

    fn unwrap(&self, key: Permitted<'_>, wrapped: &[u8]) -> Result<Dek, KeyError> {
        let key = key.id();
        let cipher = self.cipher(key)?;
        let (nonce, sealed) = wrapped.split_first_chunk().ok_or(KeyError::Unwrap(*key))?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let text = cipher.open_with(*nonce, key.to_string().as_bytes(), &mut sealed);
        let bytes = text.and_then(|text| text.first_chunk().filter(|_| text.len() == KEY_BYTES));
        bytes.map(Dek::from_bytes).ok_or(KeyError::Unwrap(*key))
    }

    fn rotate(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        let _lock = self.lock()?;
        self.make(class, day)
    }

    fn destroy(&self, key: &KeyId) -> Result<bool, KeyError> {
        let _lock = self.lock()?;
        let (live, gone) = (self.path(key, LIVE), self.path(key, GONE));
        let renamed = match std::fs::rename(&live, &gone) {
            Ok(()) => true,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => false,
            Err(cause) => return Err(failed(&live, cause)),
        };
        if !renamed && !gone.try_exists().map_err(|cause| failed(&gone, cause))? {
            return Ok(false);
        }
        let wiped = wipe(&gone).map_err(|cause| failed(&gone, cause))?;
        Ok(renamed || wiped)
    }

    fn ended(&self, class: KeyClass, day: Day) -> Result<bool, KeyError> {
        Ok(self.newest(class, day, LIVE)?.is_none() && self.newest(class, day, GONE)?.is_some())
    }

    fn list(&self) -> Result<Vec<KeyId>, KeyError> {
        self.listed_all(LIVE)
    }

    fn destroyed(&self) -> Result<Vec<KeyId>, KeyError> {
        self.listed_all(GONE)
    }

    fn forget(&self, key: &KeyId) -> Result<bool, KeyError> {
        let _lock = self.lock()?;
        let gone = self.path(key, GONE);
        match std::fs::remove_file(&gone).and_then(|()| disk::sync_folder(&gone)) {
            Ok(()) => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(failed(&gone, cause)),
        }
    }

    fn lasting(&self, which: Lasting) -> Result<Vec<Version>, KeyError> {
        let mut found = self.versions(which)?;
        if found.is_empty() {
            if !self.makes {
                return Err(KeyError::NoVersion(which.label(), 1));
            }
            let _lock = self.lock()?;
            found = self.versions(which)?;
            if found.is_empty() {
                found.push(self.make_version(which)?);
            }
        }
        found.into_iter().map(|number| self.version(which, number)).collect()
    }

    fn renew(&self, which: Lasting) -> Result<u32, KeyError> {
        let _lock = self.lock()?;
        self.make_version(which)
    }
}

fn failed(path: &Path, source: io::Error) -> KeyError {
    KeyError::Folder { path: path.to_owned(), source }
}

/// Wipes what was destroyed but not wiped, and removes what never became a key.
fn finish_interrupted(folder: &Path) -> io::Result<()> {
    for name in names(folder, UNFINISHED)? {
        std::fs::remove_file(folder.join(format!("{name}.{UNFINISHED}")))?;
    }
    for name in names(folder, GONE)? {
        wipe(&folder.join(format!("{name}.{GONE}")))?;
    }
    Ok(())
}

/// Overwrites and empties a destroyed key; `false` when that was done before.
fn wipe(path: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    if len > 0 {
        file.write_all(&[0; KEY_BYTES])?;
        file.sync_all()?;
        file.set_len(0)?;
        file.sync_all()?;
    }
    disk::sync_folder(path)?;
    Ok(len > 0)
}

/// Content first, name second.
fn write_key(unfinished: &Path, path: &Path, bytes: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(unfinished, path)?;
    disk::sync_folder(path)
}

/// The names in a folder with that ending, without it; none when there is no folder.
fn names(folder: &Path, ending: &str) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(ending)?.strip_suffix('.'));
        found.extend(stem.map(str::to_owned));
    }
    Ok(found)
}

/// The folder of the keys of no day.
const LASTING: &str = "lasting";
/// Ending of a key that can be used.
const LIVE: &str = "key";
/// Ending of the empty file that a destroyed key leaves.
const GONE: &str = "gone";
/// Ending of a key that is being made.
const UNFINISHED: &str = "new";
