//! Sealing and opening of frames: AES-256-GCM under one data key for each file and class.
//!
//! The nonce is the frame's index: a file is written by one start only and gets new keys with it, so no number comes
//! twice. What is sealed is bound to node, instance, file, class and the frame's own head (index, count, `seq`, times):
//! nothing can be moved, renumbered or dated otherwise unnoticed. A [`Sealer`] seals, an [`Opener`] opens what its
//! [`Keyring`] permits; columns of other classes are absent. Never writes, never shows a key.
//! Bound: the opened sections of one frame.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{Frame, bound};
use super::head::{FileHead, WrappedKey};
use crate::clock::Timestamp;
use crate::record::Class;
use crate::record::purpose::Opened;
use crate::record::row::{Row, Sections};
use crate::record::wire::take_varint;
use crate::seal::{Cipher, Day, Dek, KeyError, KeyProvider, Keyring};
use crate::store::subjects::Hidden;

/// New keys for a file that is going to be written.
pub struct FileKeys {
    day: Day,
    wrapped: Vec<WrappedKey>,
    ciphers: Ciphers,
}

type Ciphers = [Option<Cipher>; Class::ALL.len()];

impl FileKeys {
    /// One data key for each class, wrapped under the keys of that day.
    ///
    /// # Errors
    /// When the provider cannot make or use a key.
    pub fn make(provider: &dyn KeyProvider, day: Day) -> Result<Self, KeyError> {
        let (mut wrapped, mut ciphers) = (Vec::new(), Ciphers::default());
        for class in Class::ALL {
            let (id, dek) = (provider.current(class.into(), day)?, Dek::random()?);
            wrapped.push(WrappedKey { id, wrapped: provider.wrap(&id, &dek)? });
            ciphers[class as usize] = Some(Cipher::new(&dek)?);
        }
        Ok(Self { day, wrapped, ciphers })
    }

    /// The day whose records they may seal.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// Puts the wrapped keys into the head of the file; what seals its frames.
    #[must_use]
    pub fn seal_file(self, head: &mut FileHead) -> Sealer {
        head.keys = self.wrapped;
        Sealer { ciphers: self.ciphers, place: Place::of(head), frames: 0 }
    }
}

/// Seals the frames of one file, each under its own number.
pub struct Sealer {
    ciphers: Ciphers,
    place: Place,
    /// Numbers given.
    frames: u32,
}

impl Sealer {
    /// A number that was not given before.
    pub(super) fn take_index(&mut self) -> Result<u32, KeyError> {
        let index = self.frames;
        self.frames = index.checked_add(1).ok_or(KeyError::Cipher)?;
        Ok(index)
    }

    /// Seals what stands in `out` from `from` on; its frame begins at `start`.
    pub(super) fn seal(
        &mut self,
        class: Class,
        index: u32,
        (out, start): (&mut Vec<u8>, usize),
        from: usize,
    ) -> Result<(), KeyError> {
        let cipher = self.ciphers[class as usize].as_ref().ok_or(KeyError::Cipher)?;
        let aad = self.place.bind(class, bound(out.get(start..).unwrap_or_default()));
        cipher.seal(index, aad, out, from)
    }
}

/// Where a section stands, as associated data: `class u8 · instance u32 · number u32 · frame head · node`.
struct Place {
    file: [u8; 8],
    node: Vec<u8>,
    aad: Vec<u8>,
}

impl Place {
    fn of(head: &FileHead) -> Self {
        let mut file = [0; 8];
        file[..4].copy_from_slice(&head.instance.to_le_bytes());
        file[4..].copy_from_slice(&head.number.to_le_bytes());
        Self { file, node: head.node.clone(), aad: Vec::new() }
    }

    fn bind(&mut self, class: Class, frame_head: &[u8]) -> &[u8] {
        self.aad.clear();
        self.aad.push(class as u8);
        self.aad.extend_from_slice(&self.file);
        self.aad.extend_from_slice(frame_head);
        self.aad.extend_from_slice(&self.node);
        &self.aad
    }
}

/// Opens the frames of one file, as far as its reader's purpose goes; keeps the text of one frame.
pub struct Opener {
    opened: Opened,
    ciphers: Ciphers,
    place: Place,
    node: Vec<u8>,
    schema: u64,
    texts: [Vec<u8>; Class::ALL.len()],
    locked: bool,
    hidden: Arc<Hidden>,
}

impl Opener {
    /// What the keyring opens of a file; `None` when its `clear` key was destroyed: then nobody can read any of it.
    ///
    /// # Errors
    /// [`Unreadable`] when the key of `clear` should be there and is not. A missing key of another class makes its
    /// columns absent, as if the purpose did not open them.
    pub fn new(head: &FileHead, keyring: &Keyring) -> Result<Option<Self>, Unreadable> {
        keyring.hidden().refresh().map_err(Unreadable::Tombstones)?;
        let (mut ciphers, mut locked) = (Ciphers::default(), false);
        for class in Class::ALL.into_iter().filter(|class| keyring.opened().allows(*class)) {
            let dek = match head.key(class) {
                Some(key) => keyring.unwrap(&key.id, &key.wrapped).map_err(Unreadable::Key),
                None => Err(Unreadable::NoKey),
            };
            ciphers[class as usize] = match dek {
                Ok(Some(dek)) => Some(Cipher::new(&dek).map_err(Unreadable::Key)?),
                Ok(None) if class == Class::Clear => return Ok(None),
                Ok(None) => None,
                Err(error) if class == Class::Clear => return Err(error),
                Err(_) => {
                    locked = true;
                    None
                }
            };
        }
        Ok(Some(Self {
            opened: keyring.opened(),
            ciphers,
            place: Place::of(head),
            node: head.node.clone(),
            schema: u64::from(head.schema),
            texts: Default::default(),
            locked,
            hidden: Arc::clone(keyring.hidden()),
        }))
    }

    /// Whether columns are absent because a key is missing that was not destroyed.
    #[must_use]
    pub const fn locked(&self) -> bool {
        self.locked
    }

    /// Opens the permitted sections of a frame.
    ///
    /// # Errors
    /// [`Tampered`] when a section is not what was sealed at this place.
    pub fn open(&mut self, frame: &Frame<'_>) -> Result<Batch<'_>, Tampered> {
        self.texts.iter_mut().for_each(Vec::clear);
        for (class, section) in frame.sections() {
            let Some(cipher) = &self.ciphers[class as usize] else { continue };
            let text = &mut self.texts[class as usize];
            // A second section of a class would take the place of the first, and its number is used up.
            if !text.is_empty() {
                return Err(Tampered);
            }
            text.extend_from_slice(section);
            let aad = self.place.bind(class, frame.bound());
            let len = cipher.open(frame.index, aad, text).ok_or(Tampered)?.len();
            text.truncate(len);
        }
        // Every record has clear fields.
        if frame.count > 0 && self.texts[Class::Clear as usize].is_empty() {
            return Err(Tampered);
        }
        Ok(Batch {
            count: frame.count,
            first_seq: frame.first_seq,
            ts: frame.ts,
            of_file: (&self.node, self.schema),
            sections: std::array::from_fn(|class| &self.texts[class][..]),
            opened: self.opened,
            hidden: &self.hidden,
        })
    }
}

/// The records of one frame, opened.
pub struct Batch<'o> {
    count: u32,
    first_seq: u64,
    ts: Timestamp,
    of_file: (&'o [u8], u64),
    sections: Sections<'o>,
    opened: Opened,
    hidden: &'o Hidden,
}

/// A record of a batch.
pub enum Item<'o> {
    /// It may be shown.
    Row(Row<'o>),
    /// It must not be: its number, so that it is not taken for lost.
    Hidden(u64),
}

impl<'o> Batch<'o> {
    /// Calls `each` for every record that may be shown, in order, with the opened classes only. Stops early when `each`
    /// breaks or a section is malformed (which its seal makes a fault of the writer, not of the disk).
    pub fn rows<B>(&self, mut each: impl FnMut(Row<'o>) -> ControlFlow<B>) -> ControlFlow<B> {
        self.items(|item| match item {
            Item::Row(row) => each(row),
            Item::Hidden(_) => ControlFlow::Continue(()),
        })
    }

    /// The same with the numbers of those that must not be shown.
    pub fn items<B>(&self, mut each: impl FnMut(Item<'o>) -> ControlFlow<B>) -> ControlFlow<B> {
        let hidden = self.hidden.rows();
        let mut hid = 0;
        let flow = self.walk(|row, clear| {
            if hidden.hides_journal(row.seq, clear) {
                hid += 1;
                return each(Item::Hidden(row.seq));
            }
            each(Item::Row(row))
        });
        self.hidden.hid(hid);
        flow
    }

    fn walk<B>(&self, mut each: impl FnMut(Row<'o>, &'o [u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        let mut cursors = self.sections;
        for i in 0..u64::from(self.count) {
            // A count that promises more records than there are ends here.
            if cursors[Class::Clear as usize].is_empty() {
                return ControlFlow::Continue(());
            }
            let mut items: Sections<'o> = [&[]; Class::ALL.len()];
            for (item, cursor) in items.iter_mut().zip(&mut cursors) {
                if cursor.is_empty() {
                    continue;
                }
                let Some((fields, rest)) = take_item(cursor) else { return ControlFlow::Continue(()) };
                *item = fields;
                *cursor = rest;
            }
            let seq = self.first_seq.wrapping_add(i);
            let clear = items[Class::Clear as usize];
            each(Row::new((seq, self.ts), self.of_file, items, self.opened), clear)?;
        }
        ControlFlow::Continue(())
    }
}

#[inline]
fn take_item(cursor: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = take_varint(cursor)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

/// A section is not what was sealed at its place, although its checksum fits: changed on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a section is not what was sealed at its place")]
pub struct Tampered;

/// Why a file cannot be read by anybody.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its head holds no key for the class `clear`.
    #[error("it holds no key for class clear")]
    NoKey,
    /// The key is not there.
    #[error(transparent)]
    Key(KeyError),
    /// What must not be shown is not known.
    #[error(transparent)]
    Tombstones(io::Error),
}

impl Unreadable {
    /// As an error of reading that file.
    pub(super) fn of(self, path: &std::path::Path) -> io::Error {
        io::Error::other(FileUnreadable { path: path.to_owned(), source: self })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{} cannot be opened: {source}", path.display())]
struct FileUnreadable {
    path: PathBuf,
    source: Unreadable,
}
