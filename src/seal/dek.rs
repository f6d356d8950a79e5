//! A data key: 32 random bytes that seal one file's records of one class.
//!
//! Never shown, never written unwrapped, wiped when dropped. Bound: 32 bytes.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::provider::KeyError;

/// Bytes of a key, for AES-256.
pub const KEY_BYTES: usize = 32;

/// A data key. `Debug` shows nothing of it.
pub struct Dek(Zeroizing<[u8; KEY_BYTES]>);

impl Dek {
    /// A new key from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the system gives none.
    pub fn random() -> Result<Self, KeyError> {
        random().map(Self)
    }

    /// A key from bytes that were unwrapped; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The key itself, for a cipher. A copy of it is the caller's to wipe.
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(…)")
    }
}

/// Random bytes for a key.
pub(super) fn random() -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}
