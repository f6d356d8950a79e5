//! Why somebody reads records, and what that opens.
//!
//! Every read names a [`Purpose`]; [`Opened`] is the set of classes it may see and can be made from a purpose only.
//! Never opens more than the policy's table. Bound: one byte.

use std::fmt;

use super::Class;

/// Why records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Purpose {
    /// Help with technical problems (policy 2.2.7). Opens nothing sealed.
    #[default]
    Support,
    /// Security of the site: addresses and identifiers.
    Security,
    /// Prevention of fraud (policy 2.2.4): location and risk.
    Fraud,
    /// Technical diagnosis: high-entropy detail.
    Diagnostics,
    /// Advertising (policy 2.2.8): campaign data of consenting visitors.
    Advertising,
    /// Answering a person about their own records (policy 4.2.4): the identifiers by which they are found.
    SubjectRights,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::Support,
        Self::Security,
        Self::Fraud,
        Self::Diagnostics,
        Self::Advertising,
        Self::SubjectRights,
    ];

    /// The name used on the command line and in the audit log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Support => "support",
            Self::Security => "security",
            Self::Fraud => "fraud",
            Self::Diagnostics => "diagnostics",
            Self::Advertising => "advertising",
            Self::SubjectRights => "subject-rights",
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.label() == label)
    }

    /// Whether this purpose may see columns of that class. `clear` is open to all.
    #[must_use]
    pub const fn opens(self, class: Class) -> bool {
        match class {
            Class::Clear => true,
            Class::Sec => matches!(self, Self::Security | Self::SubjectRights),
            Class::Fraud => matches!(self, Self::Fraud),
            Class::Diag => matches!(self, Self::Diagnostics),
            Class::Ads => matches!(self, Self::Advertising),
        }
    }

    /// The classes that this purpose opens. A reader gets them from its grant, which is in the audit log.
    #[must_use]
    pub(crate) fn opened(self) -> Opened {
        let bits = Class::ALL.into_iter().filter(|c| self.opens(*c)).fold(0, |bits, c| bits | 1 << c as u8);
        Opened(bits)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The set of classes that a reader may see. A sealed class is in it only with a grant, or for the store's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened(u8);

impl Opened {
    /// Every class: for the store's own work, which shows records to nobody.
    pub(crate) fn everything() -> Self {
        Self(Class::ALL.into_iter().fold(0, |bits, c| bits | 1 << c as u8))
    }
    /// Facts without a person.
    pub const CLEAR: Self = Self(1 << Class::Clear as u8);

    /// Whether columns of that class may be seen.
    #[must_use]
    pub const fn allows(self, class: Class) -> bool {
        self.0 & (1 << class as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_opens_nothing_sealed() {
        let opened = Purpose::Support.opened();
        assert!(opened.allows(Class::Clear));
        assert_eq!(opened, Opened::CLEAR);
        assert!(Class::ALL[1..].iter().all(|c| !opened.allows(*c)));
    }

    #[test]
    fn location_is_open_to_the_fraud_purpose_alone() {
        let who: Vec<_> = Purpose::ALL.into_iter().filter(|p| p.opens(Class::Fraud)).collect();
        assert_eq!(who, [Purpose::Fraud]);
    }

    #[test]
    fn labels_come_back() {
        for p in Purpose::ALL {
            assert_eq!(Purpose::from_label(p.label()), Some(p));
        }
    }
}
