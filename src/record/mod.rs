//! What is written down about a request: one typed event, its columns and how they are read back.
//!
//! [`event`] holds the one table of columns; a field that is not in it cannot be recorded. [`row`] reads a record and
//! shows only the classes that a [`Purpose`] opens. Never keeps a body, a credential, or the value of a cookie that the
//! operator did not list; never touches the disk. Bound: [`event::RECORD_BYTES`] per record, [`wire::TEXT_BYTES`] per field.

pub mod access_log;
pub mod decisions;
pub mod emit;
pub mod event;
pub mod kept;
pub mod list;
pub mod purpose;
pub(crate) mod rebuilt;
pub mod redact;
pub mod referrer;
pub mod route;
pub mod row;
pub mod wire;

pub use event::{Ads, COLUMNS, Column, Event, Fraud, Subject};
pub use list::{List, ListBuf, ListSpan, Lists, Word};
pub use purpose::{Opened, Purpose};
pub use row::{Precision, Projection, Row, Value};
pub use wire::field_of;

/// Version of the column table. Columns are only ever added; an id is never used again.
pub const SCHEMA_VERSION: u64 = 1;

/// The seal class of a column: fields of one class lie together and are opened together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Facts without a person. Kept 90 days by default.
    Clear = 0,
    /// Addresses and identifiers. Kept 30 days by default.
    Sec = 1,
    /// Location and risk. Kept 30 days by default.
    Fraud = 2,
    /// High-entropy technical detail. Kept 7 days by default.
    Diag = 3,
    /// Campaign data, only with consent to advertising. Kept 30 days by default.
    Ads = 4,
}

impl Class {
    /// Every class, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Clear, Self::Sec, Self::Fraud, Self::Diag, Self::Ads];

    /// The class of that code; `None` for a code of a newer version.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Clear),
            1 => Some(Self::Sec),
            2 => Some(Self::Fraud),
            3 => Some(Self::Diag),
            4 => Some(Self::Ads),
            _ => None,
        }
    }

    /// Days that columns of the class are kept by default.
    #[must_use]
    pub const fn default_days(self) -> u32 {
        match self {
            Self::Clear => 90,
            Self::Sec | Self::Fraud | Self::Ads => 30,
            Self::Diag => 7,
        }
    }

    /// The name used in configuration and output.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Sec => "sec",
            Self::Fraud => "fraud",
            Self::Diag => "diag",
            Self::Ads => "ads",
        }
    }
}

/// What sort of record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Kind {
    /// A code that this version does not know.
    Unknown = 0,
    /// One completed request.
    #[default]
    Access = 1,
    /// A request that was recorded before the upstream saw it; joined to its `access` record by `request.id`.
    Open = 2,
    /// A measurement that a browser sent (reserved).
    Beacon = 3,
    /// Records that are missing: how many, of which kind, when and why.
    Gap = 4,
}

impl Kind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Unknown, Self::Access, Self::Open, Self::Beacon, Self::Gap];

    /// The kind of that code; [`Kind::Unknown`] for a code of a newer version.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Access,
            2 => Self::Open,
            3 => Self::Beacon,
            4 => Self::Gap,
            _ => Self::Unknown,
        }
    }

    /// The kind of that label; [`Kind::Unknown`] for one of a newer version.
    #[must_use]
    pub fn from_label(label: &[u8]) -> Self {
        Self::ALL.into_iter().find(|kind| kind.label().as_bytes() == label).unwrap_or(Self::Unknown)
    }

    /// The value of column `record.kind`, also a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Access => "access",
            Self::Open => "open",
            Self::Beacon => "beacon",
            Self::Gap => "gap",
        }
    }
}
