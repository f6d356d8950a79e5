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
use super::sealing::TagSeal;
use super::tag::{Identifier, Tag, Tagger};
use crate::record::event::{Encoded, MARK, SUBJECT_ACCOUNT, SUBJECT_VISITOR};
use crate::record::wire::{address, octets, put_varint};
use crate::record::{Class, field_of};
use crate::seal::{KeyError, KeyProvider};
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
    recent: Recent<Option<Tag>>,
    board: Arc<Board>,
    listed: Arc<Listed>,
    clear: Vec<u8>,
    sec: Vec<u8>,
}

impl Linking {
    pub(in crate::store) fn new(tagger: Tagger, board: Arc<Board>) -> Self {
        let listed = board.listed.load_full();
        Self { tagger, recent: Recent::new(), board, listed, clear: Vec::new(), sec: Vec::new() }
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

    /// The record with its tags, and with marks if it is of somebody who is blocked; `more` are further clear fields.
    pub(in crate::store) fn record<'a>(&'a mut self, record: &Encoded<'a>, more: &[u8]) -> Encoded<'a> {
        let tags = self.tags(record);
        let mut marks: SmallVec<[u32; 4]> = SmallVec::new();
        let mut record = *record;
        self.sec.clear();
        self.sec.extend_from_slice(record.sections[Class::Sec as usize]);
        for (column, tag) in super::index::TAG_COLUMNS.into_iter().zip(tags) {
            let Some(tag) = tag else { continue };
            // The length is put where it belongs when it is known; it is below 128.
            self.sec.extend_from_slice(&[column, 0]);
            let from = self.sec.len();
            tag.push(&mut self.sec);
            self.sec[from - 1] = (self.sec.len() - from) as u8;
            marks.extend(self.listed.tags.get(&tag).into_iter().flatten().copied());
        }
        record.sections[Class::Sec as usize] = &self.sec;
        if !marks.is_empty() || !more.is_empty() {
            let clear = record.sections[Class::Clear as usize];
            let (kind, fields) = clear.split_at(clear.len().min(1));
            self.clear.clear();
            self.clear.extend_from_slice(kind);
            marks.sort_unstable();
            marks.dedup();
            for mark in &marks {
                self.clear.push(MARK);
                put_varint(&mut self.clear, u64::from(*mark));
            }
            self.clear.extend_from_slice(fields);
            self.clear.extend_from_slice(more);
            record.sections[Class::Clear as usize] = &self.clear;
            self.board.marked.fetch_add(u64::from(!marks.is_empty()), SeqCst);
        }
        record.passing = &[];
        record
    }

    /// How often a tag was known, since this was asked before.
    pub(in crate::store) fn take_found(&mut self) -> Found {
        self.recent.take_found()
    }

    /// In the order of the columns.
    fn tags(&mut self, record: &Encoded<'_>) -> [Option<Tag>; 3] {
        let address = field_of(record.sections[Class::Sec as usize], CLIENT_ADDRESS).and_then(address);
        let visitor = field_of(record.passing, SUBJECT_VISITOR).and_then(|id| id.try_into().ok());
        let account = field_of(record.passing, SUBJECT_ACCOUNT);
        let (tagger, recent) = (&self.tagger, &mut self.recent);
        let mut tag =
            |kind: &[u8], bytes: &[u8], identifier| recent.tag(&[kind, bytes], || tagger.tag(&identifier));
        [
            address.and_then(|ip| tag(b"a", &octets(ip.to_canonical()), Identifier::Address(ip))),
            visitor.and_then(|id: [u8; 16]| tag(b"v", &id, Identifier::Visitor(id))),
            account.and_then(|account| tag(b"c", account, Identifier::Account(account))),
        ]
    }
}

/// The id of `client.address`.
const CLIENT_ADDRESS: u8 = 180;
