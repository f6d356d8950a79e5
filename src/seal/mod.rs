//! The keys that seal records, and who may use them.
//!
//! ```text
//! KEK(class, day)  random, kept by a KeyProvider, never leaves it; destroying it destroys what it wraps
//!    └─ wraps ─► DEK  random, one for each file and class (or column); stands wrapped in the file
//!                  └─ seals ─► sections of a journal file, columns of a segment
//! ```
//!
//! [`KeyProvider`] wraps and unwraps; [`LocalKeys`] is the one that keeps keys as files; a [`Keyring`] is how a reader
//! gets a [`Dek`] back: only under a grant, only for the classes of its purpose. No key is derived from another: what
//! can be derived cannot be destroyed. Never called on the request path. Bound: one key per class, day and generation.

pub mod cipher;
pub mod dek;
pub mod key;
pub mod keyring;
pub mod local;
pub mod provider;

pub use cipher::{Cipher, TAG_BYTES};
pub use dek::Dek;
pub use key::{Day, KeyClass, KeyId};
pub use keyring::{Keyring, Permitted};
pub use local::LocalKeys;
pub use provider::{KeyError, KeyProvider, Lasting, Version};

#[cfg(test)]
mod tests;
