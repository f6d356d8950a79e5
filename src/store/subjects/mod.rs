//! The rights of one person: finding, blocking and erasing their records.
//!
//! ```text
//! identifier ──K-subject──► tag ──index of each segment, scan of the journal──► numbers of records
//!                            │                                                       │
//!                     sealed │                                                       │ in the open
//!                            ▼                                                       ▼
//!              writer: marks new records                 book of tombstones: every scan hides them
//! ```
//!
//! Records are linked to a person by tags, keyed hashes of address, visitor cookie and account, made by the journal's
//! writer. A block is effective when [`block()`] returns, also for records that are still on their way; an erasure is
//! finished by whoever comes next if it is interrupted. Rows whose `sec` key is gone cannot be linked to anybody. Never
//! shows a record of somebody else. Bounds: see [`book`].

mod block;
pub mod book;
mod editor;
mod erase;
mod hidden;
mod index;
mod linking;
mod live;
mod lost;
mod person;
mod promise;
mod ranges;
mod sealing;
pub mod tag;
mod watch;

pub use block::{Blocked, PATIENCE, Stop, block, unblock};
pub use book::{Book, BookError, Counts, Erasure, State, Tombstone};
pub use editor::Editor;
pub use erase::{Erased, How, Progress, erase, held_days};
pub(in crate::store) use erase::{finish_pending, tidy};
pub use hidden::{Audience, Hidden, HiddenRows};
pub(in crate::store) use index::{
    ENDING as INDEX_ENDING, IndexBuilder, is_whole as index_is_whole, path_of as index_of,
};
pub(in crate::store) use linking::Linking;
pub use linking::{Board, Listed};
pub use live::Unseen;
pub(in crate::store) use live::{wait_until_closed, wait_until_seen};
pub use lost::unlinked;
pub use person::{Person, SubjectError};
pub use promise::{promise_fault, were_changed};
pub use ranges::Ranges;
pub use sealing::TagSeal;
pub use tag::{Identifier, Tag, Tagger};
pub(in crate::store) use watch::{Watch, Watched};

#[cfg(test)]
mod tests;
