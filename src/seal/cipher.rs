//! AES-256-GCM under a data key, with a number as nonce.
//!
//! The caller never uses a number twice under one key: journal files count their frames and get new keys for every
//! start, so it cannot happen there. Never allocates but for the tag. Bound: 2³² numbers per key.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::dek::{Dek, KEY_BYTES};
use super::provider::KeyError;

/// Bytes by which sealing makes a text longer.
pub const TAG_BYTES: usize = 16;

/// A key made ready for sealing and opening. `Debug` shows nothing of it.
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// The cipher of a data key.
    ///
    /// # Errors
    /// [`KeyError::Cipher`]; a key of 32 bytes is always taken.
    pub fn new(dek: &Dek) -> Result<Self, KeyError> {
        Self::of(dek.bytes())
    }

    pub(super) fn of(key: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| KeyError::Cipher)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals everything in `bytes` from `from` on, in place, and appends the tag.
    ///
    /// # Errors
    /// [`KeyError::Cipher`] when the text is too long for the cipher (64 GiB).
    pub fn seal(&self, number: u32, aad: &[u8], bytes: &mut Vec<u8>, from: usize) -> Result<(), KeyError> {
        self.seal_with(nonce(number), aad, bytes, from)
    }

    /// Opens sealed bytes in place; the text, or `None` when key, number, `aad` or bytes are not those of the sealing.
    #[must_use]
    pub fn open<'b>(&self, number: u32, aad: &[u8], bytes: &'b mut [u8]) -> Option<&'b mut [u8]> {
        self.open_with(nonce(number), aad, bytes)
    }

    /// Seals a text of which there are few under one key, with a random nonce, which stands before it.
    ///
    /// # Errors
    /// When the system gives no random bytes, or the cipher refuses.
    pub fn seal_alone(&self, aad: &[u8], text: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(text);
        self.seal_with(nonce, aad, &mut sealed, NONCE_LEN)?;
        Ok(sealed)
    }

    /// What [`Self::seal_alone`] sealed; `None` when it is not that.
    #[must_use]
    pub fn open_alone(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk()?;
        let mut sealed = sealed.to_vec();
        let len = self.open_with(*nonce, aad, &mut sealed)?.len();
        sealed.truncate(len);
        Some(sealed)
    }

    pub(crate) fn seal_with(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        bytes: &mut Vec<u8>,
        from: usize,
    ) -> Result<(), KeyError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = bytes.get_mut(from..).ok_or(KeyError::Cipher)?;
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        bytes.extend_from_slice(tag.map_err(|_| KeyError::Cipher)?.as_ref());
        Ok(())
    }

    pub(crate) fn open_with<'b>(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        bytes: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), bytes).ok()
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(…)")
    }
}

/// The number, little-endian, then zeros.
fn nonce(number: u32) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    nonce
}
