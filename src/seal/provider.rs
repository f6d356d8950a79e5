//! What a keeper of keys does.
//!
//! Calls block and may fail, so that a provider may ask another machine: they are made by the threads of the store and
//! by commands, never on the request path. A provider never hands out a KEK. Bound: the provider's own.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::dek::Dek;
use super::key::{Day, KeyClass, KeyId};
use super::keyring::Permitted;

/// Keeps KEKs and uses them for others.
pub trait KeyProvider: fmt::Debug + Send + Sync {
    /// The newest key of that class and day; makes a random one when there is none, unless the provider is for reading.
    /// Two processes that ask at the same time get the same.
    ///
    /// # Errors
    /// When keys cannot be read or made.
    fn current(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError>;

    /// Wraps a data key: nonce ‖ ciphertext ‖ tag of AES-256-GCM, with the key id's text as associated data.
    ///
    /// # Errors
    /// When the key is not there or cannot be used.
    fn wrap(&self, key: &KeyId, dek: &Dek) -> Result<Vec<u8>, KeyError>;

    /// The data key that [`Self::wrap`] wrapped. Only a [`super::Keyring`] can ask, having checked the purpose.
    ///
    /// # Errors
    /// [`KeyError::Destroyed`] or [`KeyError::Missing`] when the key is not there; [`KeyError::Unwrap`] when the bytes
    /// were not wrapped by it.
    fn unwrap(&self, key: Permitted<'_>, wrapped: &[u8]) -> Result<Dek, KeyError>;

    /// Makes the next generation: from now on [`Self::current`].
    ///
    /// # Errors
    /// When it cannot be made.
    fn rotate(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError>;

    /// Destroys a key, and with it everything that it wraps; `false` when there was nothing left to destroy. Its name is
    /// remembered, and never given again while it is.
    ///
    /// # Errors
    /// When it cannot be destroyed for certain; then it must be tried again.
    fn destroy(&self, key: &KeyId) -> Result<bool, KeyError>;

    /// Whether a class of a day is over: it had keys, and all were destroyed. Nothing new belongs under such a key.
    ///
    /// # Errors
    /// When the keys cannot be listed.
    fn ended(&self, class: KeyClass, day: Day) -> Result<bool, KeyError> {
        let of_it = |keys: Vec<KeyId>| keys.iter().any(|key| (key.class, key.day) == (class, day));
        Ok(!of_it(self.list()?) && of_it(self.destroyed()?))
    }

    /// The keys that live, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self) -> Result<Vec<KeyId>, KeyError>;

    /// The keys that were destroyed, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn destroyed(&self) -> Result<Vec<KeyId>, KeyError>;

    /// Forgets the name of a destroyed key: nothing that it wrapped is left. `false` when it was not remembered.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    fn forget(&self, key: &KeyId) -> Result<bool, KeyError>;

    /// The versions of a lasting key, the newest last; the first one is made when there is none, unless the provider is
    /// for reading.
    ///
    /// # Errors
    /// When they cannot be read or made.
    fn lasting(&self, which: Lasting) -> Result<Vec<Version>, KeyError>;

    /// Makes the next version of a lasting key; what was made with the older ones keeps them. Its number.
    ///
    /// # Errors
    /// When it cannot be made.
    fn renew(&self, which: Lasting) -> Result<u32, KeyError>;
}

/// A key of no day: kept as long as something that was made with it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// K-subject: makes the tags by which a person's records are found.
    Subject,
    /// Seals the tags of those who are blocked or were erased.
    Tombstones,
}

impl Lasting {
    /// The name, also of its files.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Tombstones => "tombstones",
        }
    }
}

/// One version of a lasting key.
#[derive(Debug)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// The key itself: it never wraps another.
    pub key: Dek,
}

/// Why a key cannot be used. Never tells anything of a key but its name.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It was destroyed on purpose.
    #[error("key {0} was destroyed")]
    Destroyed(KeyId),
    /// It is not there and was not destroyed either: another keys folder, or a lost file.
    #[error("key {0} is missing")]
    Missing(KeyId),
    /// It does not fit what it should unwrap: another key under that name, or changed bytes.
    #[error("key {0} does not fit the data")]
    Unwrap(KeyId),
    /// A file or folder of keys cannot be used.
    #[error("the keys in {} cannot be used", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A version of a lasting key is not there.
    #[error("version {1} of the {0} key is missing")]
    NoVersion(&'static str, u32),
    /// The key has no name left to be called: 2³² generations of one day.
    #[error("no further key can be named for {0} {1}")]
    Exhausted(&'static str, Day),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The cipher refuses.
    #[error("the cipher refuses")]
    Cipher,
}
