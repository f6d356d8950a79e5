//! The index of a segment: which records a tag stands in, sealed under the `sec` key of the segment's day.
//!
//! It lies beside the segment as `<name>.tags` and dies with the key. Sorted by tag, in [`PARTS`] parts that are sealed
//! apart, so that a look-up opens few of them. Every part is bound to the SHA-256 that the manifest has of the segment:
//! the index of another segment, or of an earlier one of that name, opens nothing. It can always be made again from the
//! columns, so one that is missing, damaged or foreign only costs time. Never holds an identifier. Bound: 20 bytes per tag
//! of a record while it is made.
//!
//! ```text
//! magic 8 · key id len u8 · key id · wrapped len u16 · wrapped key · PARTS × (offset u32 · len u32) · parts
//! part, sealed: per tag: version u32 · hash 12 · count varint · per record: difference to the number before, varint
//! ```

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::ranges::Ranges;
use super::tag::{HASH_BYTES, Tag};
use crate::record::wire::{put_varint, take_varint};
use crate::record::{Column, Row, Value};
use crate::regular_file;
use crate::seal::{Cipher, Day, Dek, KeyClass, KeyError, KeyId, KeyProvider, Keyring};
use crate::store::segments::Entry;

/// First bytes of an index.
const MAGIC: [u8; 8] = *b"KELTAGS\x02";
/// First bytes of an index of earlier builds, which was bound to nothing: it is not read.
const UNBOUND: [u8; 8] = *b"KELTAGS\x01";
/// Parts that are sealed apart.
const PARTS: usize = 64;
/// Largest index that is read, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// Gathers the tags of a segment that is being written.
#[derive(Debug, Default)]
pub(in crate::store) struct IndexBuilder {
    first_seq: Option<u64>,
    entries: Vec<(Tag, u32)>,
}

impl IndexBuilder {
    /// Adds a record; records come in the order of `seq`.
    pub(in crate::store) fn push(&mut self, row: &Row<'_>) {
        let first = *self.first_seq.get_or_insert(row.seq);
        // A segment spans fewer numbers than 2³².
        let Ok(at) = u32::try_from(row.seq.saturating_sub(first)) else { return };
        self.entries.extend(tags_of(row).map(|tag| (tag, at)));
    }

    /// Writes the index beside a segment, whose line in the manifest is going to be `entry`, and syncs it: under another
    /// name first.
    ///
    /// # Errors
    /// When a key or the file cannot be made.
    pub(in crate::store) fn save(
        mut self,
        (segment, entry): (&Path, &Entry),
        provider: &dyn KeyProvider,
        day: Day,
    ) -> io::Result<()> {
        if provider.ended(KeyClass::Sec, day).map_err(io::Error::other)? {
            // Nobody can link these rows to anybody any more.
            return Ok(());
        }
        self.entries.sort_unstable();
        let (key, dek) = (provider.current(KeyClass::Sec, day), Dek::random());
        let (key, dek) = (key.map_err(io::Error::other)?, dek.map_err(io::Error::other)?);
        let wrapped = provider.wrap(&key, &dek).map_err(io::Error::other)?;
        let bytes = self.encode(&key, &wrapped, (&dek, entry)).map_err(io::Error::other)?;
        let path = path_of(segment);
        let fresh = path.with_extension("tags.tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)
    }

    /// `entries` are sorted.
    fn encode(&self, key: &KeyId, wrapped: &[u8], (dek, entry): (&Dek, &Entry)) -> Result<Vec<u8>, KeyError> {
        let first = self.first_seq.unwrap_or(0);
        let mut parts = vec![first.to_le_bytes().to_vec(); PARTS];
        for group in self.entries.chunk_by(|a, b| a.0 == b.0) {
            let tag = group[0].0;
            let part = &mut parts[part_of(&tag)];
            part.extend_from_slice(&tag.version.to_le_bytes());
            part.extend_from_slice(&tag.hash);
            put_varint(part, group.len() as u64);
            let mut before = 0;
            for (_, at) in group {
                put_varint(part, u64::from(at - before));
                before = *at;
            }
        }
        let id = key.to_string();
        let mut out = MAGIC.to_vec();
        out.push(id.len() as u8);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&(wrapped.len() as u16).to_le_bytes());
        out.extend_from_slice(wrapped);
        let places = out.len();
        out.resize(places + 8 * PARTS, 0);
        let (cipher, bound) = (Cipher::new(dek)?, bound(entry));
        for (number, mut part) in (0u32..).zip(parts) {
            cipher.seal(number, &bound, &mut part, 0)?;
            let place = places + 8 * number as usize;
            let at = u32::try_from(out.len()).map_err(|_| KeyError::Cipher)?;
            out[place..place + 4].copy_from_slice(&at.to_le_bytes());
            out[place + 4..place + 8].copy_from_slice(&(part.len() as u32).to_le_bytes());
            out.append(&mut part);
        }
        Ok(out)
    }
}

/// What an index knows of some tags.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The numbers of the records.
    Rows(Ranges),
    /// The key was destroyed: nobody can link these records to anybody.
    Gone,
    /// There is no index, or it is not what was written for this segment: the columns have to be looked at.
    Unknown,
}

/// Looks tags up in the index of a segment.
///
/// # Errors
/// When the file cannot be read, or a key that should be there is not.
pub(super) fn look_up(
    (segment, entry): (&Path, &Entry),
    keyring: &Keyring,
    tags: &[Tag],
) -> io::Result<Found> {
    let Some(bytes) = read(segment)? else { return Ok(Found::Unknown) };
    let Some(index) = Index::of(&bytes, entry) else { return Ok(Found::Unknown) };
    let Some(dek) = keyring.unwrap(&index.key, index.wrapped).map_err(io::Error::other)? else {
        return Ok(Found::Gone);
    };
    let cipher = Cipher::new(&dek).map_err(io::Error::other)?;
    let mut rows = Ranges::default();
    for tag in tags {
        let Some(()) = index.find(&cipher, tag, &mut rows) else { return Ok(Found::Unknown) };
    }
    Ok(Found::Rows(rows))
}

/// Whether the index of a segment, if there is one that can be opened, is what was written for it.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::store) fn is_whole((segment, entry): (&Path, &Entry), keyring: &Keyring) -> io::Result<bool> {
    let Some(bytes) = read(segment)? else { return Ok(true) };
    if bytes.starts_with(&UNBOUND) {
        return Ok(true);
    }
    let Some(index) = Index::of(&bytes, entry) else { return Ok(false) };
    // A key that is missing or does not fit is told by itself, for its segment.
    let Ok(Some(dek)) = keyring.unwrap(&index.key, index.wrapped) else { return Ok(true) };
    let cipher = Cipher::new(&dek).map_err(io::Error::other)?;
    Ok((0..PARTS).all(|number| index.part(&cipher, number).is_some()))
}

/// The bytes of a segment's index; `None` when there is none.
fn read(segment: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match regular_file::open(&path_of(segment)) {
        Ok(file) => file.take(MOST_BYTES).read_to_end(&mut bytes)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    Ok(Some(bytes))
}

/// What a part is bound to: the segment as the manifest has it.
fn bound(entry: &Entry) -> Vec<u8> {
    [&MAGIC[..], entry.sha256.as_bytes()].concat()
}

/// An index that was read; its parts are still sealed.
struct Index<'a> {
    bound: Vec<u8>,
    key: KeyId,
    wrapped: &'a [u8],
    places: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Index<'a> {
    /// `None` when it is none, or not of this segment: a key that the segment does not have says nothing about it, least of
    /// all that it was destroyed.
    fn of(bytes: &'a [u8], entry: &Entry) -> Option<Self> {
        let (id_len, rest) = bytes.strip_prefix(&MAGIC)?.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(*id_len))?;
        let id = std::str::from_utf8(id).ok().filter(|id| entry.keys.iter().any(|key| key == id))?;
        let key = id.parse().ok().filter(|key: &KeyId| key.class == KeyClass::Sec)?;
        let (len, rest) = rest.split_first_chunk()?;
        let (wrapped, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        Some(Self { bound: bound(entry), key, wrapped, places: rest.get(..8 * PARTS)?, bytes })
    }

    /// What is in a part, behind the number of the segment's first record; `None` when it is not what was written.
    fn part(&self, cipher: &Cipher, number: usize) -> Option<(u64, Vec<u8>)> {
        let place = self.places.get(8 * number..)?;
        let (at, len) = (u32_of(place)? as usize, u32_of(place.get(4..)?)? as usize);
        let mut part = self.bytes.get(at..at.checked_add(len)?)?.to_vec();
        let text = cipher.open(u32::try_from(number).ok()?, &self.bound, &mut part)?;
        let (first, entries) = text.split_first_chunk()?;
        Some((u64::from_le_bytes(*first), entries.to_vec()))
    }

    /// Adds the records of a tag; `None` when the part is not what was written.
    fn find(&self, cipher: &Cipher, tag: &Tag, rows: &mut Ranges) -> Option<()> {
        let (first, entries) = self.part(cipher, part_of(tag))?;
        let mut left = &entries[..];
        while !left.is_empty() {
            let version = u32_of(left)?;
            let hash: [u8; HASH_BYTES] = left.get(4..4 + HASH_BYTES)?.try_into().ok()?;
            let (count, mut rest) = take_varint(left.get(4 + HASH_BYTES..)?)?;
            let mine = Tag { version, hash } == *tag;
            let mut seq = first;
            for _ in 0..count {
                let (difference, behind) = take_varint(rest)?;
                seq = seq.checked_add(difference)?;
                if mine {
                    rows.add(seq, seq);
                }
                rest = behind;
            }
            if mine {
                break;
            }
            left = rest;
        }
        Some(())
    }
}

/// The tags of a record.
pub(super) fn tags_of(row: &Row<'_>) -> impl Iterator<Item = Tag> {
    let value = |column: Option<&'static Column>| match row.get(column?)? {
        Value::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    };
    COLUMNS.map(value).into_iter().flatten()
}

/// The columns that hold tags.
static COLUMNS: LazyLock<[Option<&'static Column>; 3]> = LazyLock::new(|| TAG_COLUMNS.map(Column::by_id));

/// Where the index of a segment lies.
#[must_use]
pub(in crate::store) fn path_of(segment: &Path) -> PathBuf {
    let mut name = segment.as_os_str().to_owned();
    name.push(ENDING);
    PathBuf::from(name)
}

fn part_of(tag: &Tag) -> usize {
    usize::from(tag.hash[0]) % PARTS
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The ids of the columns that hold tags.
pub(crate) const TAG_COLUMNS: [u8; 3] = [185, 186, 187];
/// What follows the name of a segment in that of its index.
pub(crate) const ENDING: &str = ".tags";
