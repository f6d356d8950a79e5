//! What the journal's writer does for the rights of a person: tags in every record, marks in those of the blocked.
//!
//! The tags are made here, off the request path, and the identifiers that came for it end here. A mark is a field of the
//! record itself, so there is no moment in which a record of a blocked person is in the file and not hidden. The writer
//! takes a new list at the top of its round, when all it wrote before can be read and nothing of the next round is
//! decided: from the moment it says so ([`Board::seen`]), every record of the person is either in the files or will be
//! marked. Never waits. Bound: the tags of the blocked, those made last.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use arc_swap::ArcSwap;
use smallvec::SmallVec;

use super::book::Book;
use super::index::TAG_COLUMNS;
use super::sealing::TagSeal;
use super::tag::{Kind, Tag, Tagger, text};
use crate::record::event::MARK;
use crate::record::wire::put_varint;
use crate::seal::{KeyError, KeyProvider};
use crate::store::enrich::Facts;
use crate::store::frame::Added;
use crate::store::recent::{Found, Recent};

/// The tags of the blocked, as the writer needs them.
#[derive(Debug, Default)]
pub struct Listed {
    /// The book's.
    pub version: u64,
    /// Rises when an erasure asks that the file that is written is left.
    pub erasures: u64,
    tags: HashMap<Tag, SmallVec<[u32; 1]>>,
}

impl Listed {
    /// What the book says.
    ///
    /// # Errors
    /// When the tags cannot be opened.
    pub fn of(book: &Book, provider: &dyn KeyProvider) -> Result<Self, KeyError> {
        let mut tags: HashMap<Tag, SmallVec<[u32; 1]>> = HashMap::new();
        let blocks: Vec<_> = book.tombstones().filter(|t| t.blocks()).collect();
        // Without a block there need not be a key.
        if !blocks.is_empty() {
            let seal = TagSeal::new(provider)?;
            for tombstone in blocks {
                for tag in seal.open(tombstone)? {
                    tags.entry(tag).or_default().push(tombstone.id);
                }
            }
        }
        let asked = book.tombstones().filter(|t| t.erases()).map(|t| t.asked).max();
        Ok(Self { version: book.version(), erasures: asked.unwrap_or(0), tags })
    }
}

/// Where the writer learns of blocks and says what it has seen.
#[derive(Debug, Default)]
pub struct Board {
    /// The newest list.
    pub listed: ArcSwap<Listed>,
    /// Version of the list that the writer works with, plus one; 0 before the first round.
    seen: AtomicU64,
    /// The files of this process with lower numbers are not written any more.
    left: AtomicU64,
    /// Records that were marked.
    pub marked: AtomicU64,
    /// The book could not be read: tried again, and those who block wait.
    pub errors: AtomicU64,
    /// Gauges: tombstones by state: blocked, being erased, erased.
    pub tombstones: [AtomicU64; 3],
}

impl Board {
    /// The list that the writer works with, and the number below which its files are left; `None` before its first round.
    #[must_use]
    pub fn seen(&self) -> Option<(u64, u64)> {
        // The order matters: the number is stored before the version.
        let version = self.seen.load(SeqCst).checked_sub(1)?;
        Some((version, self.left.load(SeqCst)))
    }

    /// The writer works with that list from now on.
    pub(in crate::store) fn saw(&self, version: u64, left: u64) {
        self.left.store(left, SeqCst);
        self.seen.store(version + 1, SeqCst);
    }
}

/// The writer's part.
pub(in crate::store) struct Linking {
    tagger: Tagger,
    recent: Recent<Option<Linked>>,
    /// What is hashed.
    text: Vec<u8>,
    board: Arc<Board>,
    listed: Arc<Listed>,
}

impl Linking {
    pub(in crate::store) fn new(tagger: Tagger, board: Arc<Board>) -> Self {
        let listed = board.listed.load_full();
        Self { tagger, recent: Recent::new(), text: Vec::new(), board, listed }
    }

    /// Takes the newest list; `Some` when it is another one, with whether an erasure was begun.
    pub(in crate::store) fn adopt(&mut self) -> Option<(u64, bool)> {
        let newest = self.board.listed.load();
        if self.board.seen.load(SeqCst) == newest.version + 1 {
            return None;
        }
        let erases = newest.erasures > self.listed.erasures;
        self.listed = Arc::clone(&newest);
        Some((self.listed.version, erases))
    }

    /// Adds the tags of a record's person, and marks if it is somebody who is blocked.
    pub(in crate::store) fn fields(&mut self, facts: &Facts<'_>, added: &mut Added) {
        // In the order of the columns.
        let identifiers =
            [(Kind::Address, facts.address), (Kind::Visitor, facts.visitor), (Kind::Account, facts.account)];
        let mut marks: SmallVec<[u32; 4]> = SmallVec::new();
        for (column, (kind, identifier)) in TAG_COLUMNS.into_iter().zip(identifiers) {
            let text = identifier.and_then(|identifier| text(kind, identifier, &mut self.text));
            let Some(text) = text else { continue };
            let linked = self.recent.tag(text, || Some(Linked::by(column, self.tagger.tag_of(text)?)));
            let Some(linked) = linked else { continue };
            added.sec.extend_from_slice(&linked.field);
            if let Some(ids) = self.listed.tags.get(&linked.tag) {
                marks.extend_from_slice(ids);
            }
        }
        if !marks.is_empty() {
            self.mark(&mut marks, added);
        }
    }

    /// How often a tag was known, since this was asked before.
    pub(in crate::store) fn take_found(&mut self) -> Found {
        self.recent.take_found()
    }

    #[cold]
    fn mark(&self, marks: &mut SmallVec<[u32; 4]>, added: &mut Added) {
        marks.sort_unstable();
        marks.dedup();
        for mark in marks {
            added.marks.push(MARK);
            put_varint(&mut added.marks, u64::from(*mark));
        }
        self.board.marked.fetch_add(1, SeqCst);
    }
}

/// A tag, and the field that records get by it.
struct Linked {
    tag: Tag,
    field: SmallVec<[u8; 30]>,
}

impl Linked {
    fn by(column: u8, tag: Tag) -> Self {
        let mut text = Vec::new();
        tag.push(&mut text);
        // At most 27 bytes.
        let mut field = SmallVec::from_slice(&[column, text.len() as u8]);
        field.extend_from_slice(&text);
        Self { tag, field }
    }
}
