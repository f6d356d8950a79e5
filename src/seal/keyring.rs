//! The one way from a wrapped key to a [`Dek`] for reading: under a grant, for the classes of its purpose.
//!
//! A class that the purpose does not open is refused before the provider is asked. Nothing is kept between calls, so
//! nothing opened for one purpose can serve another. With the keys goes what nobody is shown: who opens records has the
//! tombstones of their folder. Bound: none of its own.

use std::sync::Arc;

use super::dek::Dek;
use super::key::{KeyClass, KeyId};
use super::provider::{KeyError, KeyProvider};
use crate::record::{Opened, Purpose};
use crate::store::query::Grant;
use crate::store::subjects::{Audience, Hidden};

/// Opens what one purpose may read.
#[derive(Clone, Debug)]
pub struct Keyring {
    provider: Arc<dyn KeyProvider>,
    opened: Opened,
    of_the_store: bool,
    hidden: Arc<Hidden>,
}

impl Keyring {
    /// The keys that a granted read may use.
    #[must_use]
    pub fn new(grant: &Grant, provider: Arc<dyn KeyProvider>) -> Self {
        let from = match grant.purpose() {
            Purpose::SubjectRights => Audience::Officer,
            _ => Audience::Everybody,
        };
        let hidden = Arc::new(Hidden::of(grant.records(), from));
        Self { provider, opened: grant.purpose().opened(), of_the_store: false, hidden }
    }

    /// The keys of the store's own work that rewrites records and shows them to nobody: closing segments, erasing.
    #[must_use]
    pub(crate) fn of_the_store(provider: Arc<dyn KeyProvider>) -> Self {
        Self {
            provider,
            opened: Opened::everything(),
            of_the_store: true,
            hidden: Arc::new(Hidden::nothing()),
        }
    }

    /// The keys for answering a person under the purpose `subject-rights`: every class of what is theirs. Only the code
    /// that compares tags gets one.
    #[must_use]
    pub(crate) fn of_a_person(grant: &Grant, provider: Arc<dyn KeyProvider>) -> Self {
        let mut keyring = Self::new(grant, provider);
        if grant.purpose() == Purpose::SubjectRights {
            keyring.opened = Opened::everything();
        }
        keyring
    }

    /// What must not be shown although it can be opened.
    #[must_use]
    pub const fn hidden(&self) -> &Arc<Hidden> {
        &self.hidden
    }

    /// The classes that may be seen.
    #[must_use]
    pub const fn opened(&self) -> Opened {
        self.opened
    }

    /// The data key; `None` when the purpose does not open its class, or the key was destroyed. [`KeyClass::Ops`] is open
    /// to every purpose: it hides nothing. [`KeyClass::Visit`] is open to none, only to the store itself.
    ///
    /// # Errors
    /// When a key that should be there is not, or does not fit.
    pub fn unwrap(&self, key: &KeyId, wrapped: &[u8]) -> Result<Option<Dek>, KeyError> {
        let opened = match key.class.class() {
            Some(class) => self.opened.allows(class),
            None => key.class != KeyClass::Visit || self.of_the_store,
        };
        if !opened {
            return Ok(None);
        }
        match self.provider.unwrap(Permitted(key), wrapped) {
            Ok(dek) => Ok(Some(dek)),
            Err(KeyError::Destroyed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A key that the purpose of a read opens; made by a [`Keyring`] only.
#[derive(Clone, Copy, Debug)]
pub struct Permitted<'k>(&'k KeyId);

impl Permitted<'_> {
    /// Which.
    #[must_use]
    pub const fn id(&self) -> &KeyId {
        self.0
    }
}
