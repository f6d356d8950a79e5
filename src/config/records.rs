//! What is recorded and how long it is kept, as the configuration describes it.
//!
//! Never touches a file. Bound: the configuration.

use std::path::PathBuf;
use std::time::Duration;

/// What is recorded, where and how durably.
#[derive(Clone, Debug)]
pub struct Records {
    /// Data folder; the journal lies in `journal/` below it.
    pub dir: PathBuf,
    /// Folder of the keys; `None`: `keys` in `dir`.
    pub keys_dir: Option<PathBuf>,
    /// What a response waits for.
    pub durability: Durability,
    /// Longest time between two fsyncs at level `group`.
    pub group_commit: Duration,
    /// Bytes of one journal file.
    pub file_bytes: u64,
    /// Bytes of each thread's ring.
    pub ring_bytes: usize,
    /// How long a response is held when the ring or the disk is full, before the record is shed and counted.
    pub hold: Duration,
    /// Bytes of all journal files together; the oldest closed file goes first. Counted, and a gap is recorded.
    pub max_bytes: u64,
    /// Days that each class of fields may be read.
    pub retention: Retention,
    /// Days that a law demands that a class of fields is kept; 0 for none. Wins over `retention`.
    pub minimum: Retention,
    /// Days whose records are kept until the hold is taken out.
    pub legal_holds: Vec<LegalHold>,
    /// Whether closed journal files become Parquet segments.
    pub segments: bool,
    /// Minutes after which a journal file becomes a segment although it is not full.
    pub segment_minutes: u32,
    /// uap-core's rules for browsers and systems, above the built-in table.
    pub user_agent_data: Option<PathBuf>,
    /// crawler-user-agents' rules for crawlers, above the built-in table.
    pub bot_data: Option<PathBuf>,
    /// Query keys whose values may be recorded.
    pub query_values: Vec<String>,
    /// Cookies whose values may be recorded, by name.
    pub cookie_values: Vec<String>,
    /// Path prefixes whose requests are recorded durably before the upstream sees them.
    pub record_before_forward: Vec<String>,
    /// Field of the site's answers that names the account, for a keyed hash in the records.
    pub account_header: Option<String>,
    /// Name of this node in records.
    pub node: String,
}

impl Records {
    /// How long a journal file is written before it becomes a segment; `None` without segments.
    #[must_use]
    pub fn segment_time(&self) -> Option<Duration> {
        self.segments.then(|| Duration::from_secs(60 * u64::from(self.segment_minutes)))
    }

    /// Folder of the keys that seal records.
    #[must_use]
    pub fn keys_dir(&self) -> PathBuf {
        self.keys_dir.clone().unwrap_or_else(|| self.dir.join(crate::seal::local::FOLDER))
    }
}

/// Days that each class of fields may be read, by the purpose that opens it. No sealed class outlives `security`:
/// without its tags a person's rows could not be found for erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Facts without a person.
    pub support: u32,
    /// Addresses and identifiers.
    pub security: u32,
    /// Location and risk.
    pub fraud: u32,
    /// Technical detail.
    pub diagnostics: u32,
    /// Campaign data.
    pub advertising: u32,
}

impl Retention {
    /// Days in the order of [`crate::record::Class::ALL`].
    #[must_use]
    pub const fn by_class(&self) -> [u32; 5] {
        [self.support, self.security, self.fraud, self.diagnostics, self.advertising]
    }
}

/// Days whose records must not be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalHold {
    /// A case or a request.
    pub name: String,
    /// First day, UTC.
    pub from: crate::seal::Day,
    /// Last day, UTC.
    pub until: crate::seal::Day,
    /// Which classes; none for all.
    pub classes: Vec<crate::record::Class>,
}

/// What the end of a response waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing: a crash of the process can lose records.
    Memory,
    /// The write to the file: records survive `kill -9`, and power loss after `group_commit`.
    #[default]
    Group,
    /// The fsync: records survive power loss.
    Fsync,
}
