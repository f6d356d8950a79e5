//! The tags of a tombstone in the book: sealed, so that who reads the records cannot link them to people.
//!
//! AES-256-GCM under a lasting key of its own, bound to the number of the tombstone. Never opens them for a scan.
//! Bound: the tags of one tombstone.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::book::Tombstone;
use super::tag::Tag;
use crate::seal::{Cipher, KeyError, KeyProvider, Lasting};

/// Seals and opens the tags of tombstones.
pub struct TagSeal {
    ciphers: Vec<(u32, Cipher)>,
}

impl TagSeal {
    /// With every version of its key.
    ///
    /// # Errors
    /// When the provider cannot give it.
    pub fn new(provider: &dyn KeyProvider) -> Result<Self, KeyError> {
        let versions = provider.lasting(Lasting::Tombstones)?;
        let ciphers = versions.iter().map(|v| Ok((v.number, Cipher::new(&v.key)?)));
        Ok(Self { ciphers: ciphers.collect::<Result<_, KeyError>>()? })
    }

    /// The tags of a tombstone.
    ///
    /// # Errors
    /// When the key is not there, or what is sealed is not what was sealed for this tombstone.
    pub fn open(&self, tombstone: &Tombstone) -> Result<Vec<Tag>, KeyError> {
        let name = Lasting::Tombstones.label();
        let (version, sealed) = tombstone.sealed.split_first_chunk().ok_or(KeyError::Cipher)?;
        let version = u32::from_le_bytes(*version);
        let cipher = self.ciphers.iter().find(|(number, _)| *number == version);
        let (_, cipher) = cipher.ok_or(KeyError::NoVersion(name, version))?;
        let text = cipher.open_alone(&bound(tombstone.id), sealed).ok_or(KeyError::Cipher)?;
        let text = String::from_utf8(text).map_err(|_| KeyError::Cipher)?;
        text.split_whitespace().map(|tag| tag.parse().map_err(|_| KeyError::Cipher)).collect()
    }

    /// The tags for the book, in base64.
    pub(super) fn seal(&self, id: u32, tags: &[Tag]) -> Result<String, KeyError> {
        let (version, cipher) = self.ciphers.last().ok_or(KeyError::Cipher)?;
        let text: Vec<String> = tags.iter().map(ToString::to_string).collect();
        let sealed = cipher.seal_alone(&bound(id), text.join(" ").as_bytes())?;
        Ok(BASE64_STANDARD.encode([&version.to_le_bytes()[..], &sealed].concat()))
    }
}

/// To what the tags of a tombstone are bound.
fn bound(id: u32) -> Vec<u8> {
    format!("tombstone {id}").into_bytes()
}
